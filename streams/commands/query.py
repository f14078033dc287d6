"""`campaign-streams query`: what the API knows, in the terminal."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from streams.api.client import ApiClient
from streams.commands.common import PROGRAM, examples, print_json, say
from streams.commands.tables import print_table
from streams.configuration.files import read_small
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import fields
from streams.errors import UsageError
from streams.terminal import abbreviated, printable

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "CAMPAIGN_STREAMS_URL"
TOKEN_VARIABLE = "CAMPAIGN_STREAMS_TOKEN"  # noqa: S105 - where the token is, not the token
_WIDE = 10_000
NAME_MOST = 64
"""Characters of a name in a table, where the vendor's have 32; `--json` has all of it."""

_limit = click.option("--limit", type=int, help="How many at most, up to 1000.")

Item = dict[str, Any]
Columns = dict[str, Callable[[Item], object]]


@click.group(
    "query",
    epilog=examples(
        f"{PROGRAM} query campaigns --sort=-failure_rate",
        f"{PROGRAM} query windows spring-sale --from 2026-11-23T10:00:00Z --step 300",
        f"{PROGRAM} query alerts --state firing --json",
    ),
)
def command() -> None:
    """Ask the API about campaigns, windows, alerts, rules, receivers and deliveries.

    Times are in UTC.
    """


def asking(ask: Callable[..., tuple[Item, list[Item], Columns]]) -> Callable[..., None]:
    """Add `--url`, `--token-file` and `--json`, and print what `ask` returns.

    That is the API's answer, the rows of the table, and its columns.
    """

    @click.option(
        "--url",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        help=f"The API of any worker; otherwise {URL_VARIABLE}.",
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"A file that holds the token; otherwise {TOKEN_VARIABLE}.",
    )
    @click.option("--json", "as_json", is_flag=True, help="The API's answer as it is.")
    @functools.wraps(ask)
    def run(*, url: str, token_file: Path | None, as_json: bool, **options: Any) -> None:
        answer, rows, columns = ask(ApiClient(url, _token(token_file)), **options)
        if as_json:
            print_json(answer, indent=2)
        else:
            _print_table(rows, columns)
        _print_notes(answer)

    return run


@command.command(epilog=examples(f"{PROGRAM} query campaigns --active-within 1h --sort=-attempts"))
@click.option("--active-within", metavar="TIME", help="Such as 15m (the default), 24h or 7d.")
@click.option("--sort", metavar="KEY", help="Such as -failure_rate, attempts or campaign_id.")
@click.option("--app-id", help="Only campaigns of this app.")
@_limit
@asking
def campaigns(api: ApiClient, **options: Any) -> tuple[Item, list[Item], Columns]:
    """List campaigns that were active lately."""
    answer = api.get("v1", "campaigns", **options)
    columns: Columns = {
        "campaign": lambda row: _name(row["campaign_id"]),
        "app": lambda row: _name(row["app_id"]),
        **_FIGURES,
        "firing": lambda row: sum(alert["state"] == "firing" for alert in row["alerts"]) or "",
        "last window": lambda row: row["last_window"],
    }
    return answer, answer["campaigns"], columns


@command.command(epilog=examples(f"{PROGRAM} query campaign spring-sale"))
@click.argument("campaign_id")
@asking
def campaign(api: ApiClient, campaign_id: str) -> tuple[Item, list[Item], Columns]:
    """Show one campaign: all that is retained of it, and its open window."""
    answer = api.get("v1", "campaigns", campaign_id)
    rows = [{"what": "all that is retained", **answer["totals"]}]
    if answer["current_window"]:
        start = answer["current_window"]["start"]
        rows.append({"what": f"open window {start}", **answer["current_window"]})
    rows += [{"what": f"alert {alert['rule']}: {alert['state']}"} for alert in answer["alerts"]]
    columns: Columns = {
        "": lambda row: row["what"],
        **{name: _if_any(show) for name, show in (_FIGURES | _COUNTS).items()},
    }
    return answer, rows, columns


@command.command(
    epilog=examples(f"{PROGRAM} query windows spring-sale --step 300 --by treatment_id")
)
@click.argument("campaign_id")
@click.option("--from", "from_", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.option("--to", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.option("--step", type=int, help="Seconds, a multiple of the window size: merges windows.")
@click.option("--by", help="treatment_id, delivery_type, channel_type, or some with commas.")
@asking
def windows(
    api: ApiClient, campaign_id: str, from_: str | None, by: str | None, **options: Any
) -> tuple[Item, list[Item], Columns]:
    """List a campaign's windows, oldest first."""
    answer = api.get(
        "v1", "campaigns", campaign_id, "windows", **{"from": from_, "by": by, **options}
    )
    rows = answer["windows"]
    groups: Columns = {}
    if by:
        rows = [{**window, **group} for window in rows for group in window["groups"]]
        groups = {name: _value_of(name) for name in by.split(",")}
    columns: Columns = {
        "start": lambda row: row["start"],
        "state": lambda row: row["state"],
        **groups,
        **_FIGURES,
        "late": lambda row: row["late_events"],
        **_COUNTS,
    }
    return answer, rows, columns


@command.command(epilog=examples(f"{PROGRAM} query alerts --state firing"))
@click.option("--state", help="pending, firing, resolved or expired.")
@click.option("--campaign-id", help="Only what is about this campaign.")
@click.option("--treatment-id", help="Only alerts about this treatment.")
@click.option("--channel-type", help="Only alerts about this channel.")
@click.option("--rule", help="Only alerts of this rule.")
@click.option("--severity", help="Only alerts of this severity.")
@_limit
@asking
def alerts(api: ApiClient, **options: Any) -> tuple[Item, list[Item], Columns]:
    """List alerts, current and past, newest first."""
    answer = api.get("v1", "alerts", **options)
    columns: Columns = {
        "since": lambda row: row["starts_at"],
        "until": lambda row: row["ends_at"] or "",
        "state": lambda row: row["state"],
        "severity": lambda row: row["severity"],
        "rule": lambda row: row["rule"],
        "campaign": lambda row: _name(row["campaign_id"]),
        "treatment": lambda row: _name(row["treatment_id"]),
        "channel": lambda row: _name(row["channel_type"]),
        "rate": lambda row: _percent(row["evidence"]["rate"]),
        "hits": lambda row: f"{row['evidence']['hits']} of {row['evidence']['attempts']}",
        "peak": lambda row: _percent(row["peak"]["rate"]),
        "slice": lambda row: _slice(row.get("explanation")),
        "acknowledged by": lambda row: _name((row["acknowledged"] or {}).get("by")),
        "alert": lambda row: row["alert_id"],
    }
    return answer, answer["alerts"], columns


def _slice(explanation: Item | None) -> str:
    """Name the slice that explains an alert, and its share of the excess; nothing for none."""
    part = explanation["slice"] if explanation is not None else None
    if part is None:
        return ""
    named = ", ".join(_name(value) or "none" for value in part["dimensions"].values())
    return f"{named} ({_percent(part['share'])})"


@command.command(epilog=examples(f"{PROGRAM} query rules"))
@asking
def rules(api: ApiClient) -> tuple[Item, list[Item], Columns]:
    """List the rules that raise alerts."""
    answer = api.get("v1", "rules")
    columns: Columns = {
        "rule": lambda row: row["name"],
        "severity": lambda row: row["severity"],
        "scope": lambda row: row["scope"],
        "detector": lambda row: row["detector"]["kind"],
        "settings": lambda row: _detector_settings(row["detector"]),
        "campaigns": lambda row: ", ".join(row["match"]["campaigns"]),
        "receivers": lambda row: ", ".join(row["receivers"]),
        "statuses": lambda row: ", ".join(row["statuses"]),
    }
    return answer, answer["rules"], columns


@command.command(epilog=examples(f"{PROGRAM} query deliveries --state given-up"))
@click.option("--state", help="pending or given-up.")
@click.option("--receiver", help="Only deliveries to this receiver.")
@_limit
@asking
def deliveries(api: ApiClient, **options: Any) -> tuple[Item, list[Item], Columns]:
    """List webhooks that are still to be delivered, or were given up."""
    answer = api.get("v1", "deliveries", **options)
    columns: Columns = {
        "created": lambda row: row["created_at"],
        "state": lambda row: row["state"],
        "receiver": lambda row: row["receiver"],
        "campaign": lambda row: _name(row["campaign_id"]),
        "attempts": lambda row: row["attempts"],
        "next attempt": lambda row: row["next_attempt_at"] or "",
        "last error": lambda row: row["last_error"] or "",
        "delivery": lambda row: row["delivery_id"],
    }
    return answer, answer["deliveries"], columns


@command.command(epilog=examples(f"{PROGRAM} query receivers"))
@asking
def receivers(api: ApiClient) -> tuple[Item, list[Item], Columns]:
    """List receivers: who of them asked for a pause, or answered 410 Gone."""
    answer = api.get("v1", "receivers")
    columns: Columns = {
        "receiver": lambda row: row["name"],
        "state": lambda row: row["state"],
        "since": lambda row: row["since"] or "",
        "until": lambda row: row["until"] or "",
        "reason": lambda row: row["reason"] or "",
    }
    return answer, answer["receivers"], columns


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return read_small(file).decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {file}: is not UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--token-file {file}: {error}") from None


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"


def _detector_settings(row: Item) -> str:
    """Write the settings of a detector: `level 10.00%, min_attempts 50`."""
    units = {
        each.name: each.setting.unit
        for detector in DETECTORS
        if detector.kind == row["kind"]
        for each in fields(detector)
    }
    return ", ".join(
        f"{name} {_percent(value) if units.get(name) == 'share' else value}"
        for name, value in row.items()
        if name != "kind"
    )


_FIGURES: Columns = {
    "attempts": lambda row: row["attempts"],
    "failed": lambda row: _percent(row["rates"]["failure"]),
    "throttled": lambda row: _percent(row["rates"]["throttled"]),
}
_COUNTS: Columns = {
    "counts": lambda row: ", ".join(f"{_name(status)} {n}" for status, n in row["counts"].items())
}


def _if_any(show: Callable[[Item], object]) -> Callable[[Item], object]:
    return lambda row: show(row) if "attempts" in row else ""


def _value_of(name: str) -> Callable[[Item], object]:
    return lambda row: "-" if row[name] is None else _name(row[name])


def _name(name: str | None) -> str:
    return abbreviated(name or "", NAME_MOST)


def _print_table(rows: Iterable[Item], columns: Columns) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [[show(row) for show in columns.values()] for row in rows]
    for at, name in enumerate(columns):
        numbers = any(isinstance(row[at], int | float) for row in cells)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(printable(str("" if c is None else c))) for c in row))
    print_table(table, _WIDE)


def _print_notes(answer: Item) -> None:
    if answer.get("next_cursor"):
        say("there are more: --limit shows up to 1000, --json has next_cursor", err=True)
    if answer.get("partial"):
        names = ", ".join(map(str, answer["missing_partitions"]))
        say(f"incomplete: partition {names} cannot be asked now, try again", err=True)
