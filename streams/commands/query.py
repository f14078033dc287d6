"""`campaign-streams query`: what the API knows, in the terminal."""

from collections.abc import Callable
from typing import Any

import click

from streams.api.client import ApiClient
from streams.commands.asking import Columns, Item, asking, limit, shown_name
from streams.commands.common import PROGRAM, examples, say
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import fields
from streams.terminal import printable


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


@command.command(epilog=examples(f"{PROGRAM} query campaigns --active-within 1h --sort=-attempts"))
@click.option("--active-within", metavar="TIME", help="Such as 15m (the default), 24h or 7d.")
@click.option("--sort", metavar="KEY", help="Such as -failure_rate, attempts or campaign_id.")
@click.option("--app-id", help="Only campaigns of this app.")
@limit
@asking
def campaigns(api: ApiClient, **options: Any) -> tuple[Item, list[Item], Columns]:
    """List campaigns that were active lately."""
    answer = api.get("v1", "campaigns", **options)
    columns: Columns = {
        "campaign": lambda row: shown_name(row["campaign_id"]),
        "app": lambda row: shown_name(row["app_id"]),
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
@limit
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
        "campaign": lambda row: shown_name(row["campaign_id"]),
        "treatment": lambda row: shown_name(row["treatment_id"]),
        "channel": lambda row: shown_name(row["channel_type"]),
        "rate": lambda row: _percent(row["evidence"]["rate"]),
        "hits": lambda row: f"{row['evidence']['hits']} of {row['evidence']['attempts']}",
        "peak": lambda row: _percent(row["peak"]["rate"]),
        "slice": lambda row: _slice(row.get("explanation")),
        "acknowledged by": lambda row: shown_name((row["acknowledged"] or {}).get("by")),
        "alert": lambda row: row["alert_id"],
    }
    return answer, answer["alerts"], columns


def _slice(explanation: Item | None) -> str:
    """Name the slice that explains an alert, and its share of the excess; nothing for none."""
    part = explanation["slice"] if explanation is not None else None
    if part is None:
        return ""
    named = ", ".join(shown_name(value) or "none" for value in part["dimensions"].values())
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
@click.option("--state", help="pending, given-up or delivered.")
@click.option("--receiver", help="Only deliveries to this receiver.")
@click.option("--alert-id", help="Only what is about this alert.")
@click.option("--campaign-id", help="Only what is about this campaign.")
@click.option("--rule", help="Only what is about alerts of this rule.")
@click.option("--from", "from_", metavar="TIME", help="Only what was decided then or later.")
@click.option("--to", metavar="TIME", help="Only what was decided before.")
@click.option("--cursor", help="The next page: next_cursor of the one before.")
@limit
@asking
def deliveries(
    api: ApiClient, from_: str | None, **options: Any
) -> tuple[Item, list[Item], Columns]:
    """List webhooks: still to be delivered, given up, or delivered lately; newest first."""
    answer = api.get("v1", "deliveries", **{"from": from_, **options})
    columns: Columns = {
        "created": lambda row: row["created_at"],
        "state": lambda row: row["state"],
        "receiver": lambda row: row["receiver"],
        "campaign": lambda row: shown_name(row["campaign_id"]),
        "rule": lambda row: row["rule"] or "",
        "attempts": lambda row: row["attempted"],
        "ms": lambda row: (row["last_attempt"] or {}).get("duration_ms", ""),
        "next attempt": lambda row: row["next_attempt_at"] or "",
        "last error": lambda row: row["last_error"] or "",
        "delivery": lambda row: row["delivery_id"],
    }
    return answer, answer["deliveries"], columns


@command.command(epilog=examples(f"{PROGRAM} query delivery 5f0c9d52-….1.ops"))
@click.argument("delivery_id")
@asking
def delivery(api: ApiClient, delivery_id: str) -> tuple[Item, list[Item], Columns]:
    """Show the attempts at one delivery, oldest first."""
    answer = api.get("v1", "deliveries", delivery_id)
    found = answer["delivery"]
    columns: Columns = {
        "attempt": lambda row: row["number"],
        "at": lambda row: row["at"],
        "ms": lambda row: row["duration_ms"],
        "result": lambda row: row["result"],
        "status": lambda row: row["status"] or "",
        "answer": lambda row: row["error"] or row["answer"],
    }
    say(_in_short(found), err=True)
    return answer, found["history"], columns


def _in_short(found: Item) -> str:
    """Say what has become of a delivery."""
    text = f"{found['state']}, {found['attempted']} attempts"
    if found["dropped_attempts"]:
        text += f", of which {found['dropped_attempts']} after the first are not kept"
    if found["next_attempt_at"]:
        text += f", next attempt {found['next_attempt_at']}"
    if found["ended_at"]:
        text += f" at {found['ended_at']}"
    return printable(text)


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
    "counts": lambda row: ", ".join(
        f"{shown_name(status)} {n}" for status, n in row["counts"].items()
    )
}


def _if_any(show: Callable[[Item], object]) -> Callable[[Item], object]:
    return lambda row: show(row) if "attempts" in row else ""


def _value_of(name: str) -> Callable[[Item], object]:
    return lambda row: "-" if row[name] is None else shown_name(row[name])
