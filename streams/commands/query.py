"""`campaign-streams query`: what the API knows, in the terminal."""

from collections.abc import Callable
from typing import Any

import click

from streams.api import answers, count_answers
from streams.api.client import ApiClient
from streams.commands.asking import asking, cursor, limit
from streams.commands.common import PROGRAM, examples, say
from streams.commands.following import Followed
from streams.commands.rows import Columns, Found, Item, shown_name
from streams.commands.tables import Column
from streams.commands.trends import failed_and_attempts, failed_lately
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import fields
from streams.terminal import printable

_TREND = 20
"""Windows of a campaign's trend."""


_NAME = Column("name", 1, 12)


@click.group(
    "query",
    epilog=examples(
        f"{PROGRAM} query campaigns --sort=-failure_lower_bound --trend",
        f"{PROGRAM} query windows spring-sale --from 2026-11-23T10:00:00Z --step 300",
        f"{PROGRAM} query alerts --state firing --follow",
        f"{PROGRAM} query campaigns --output csv > campaigns.csv",
    ),
)
def command() -> None:
    """Ask the API about campaigns, windows, alerts, groups, rules, receivers and deliveries.

    Times are in UTC. A table is as wide as the terminal; in a pipe it has all columns.
    """


@command.command(epilog=examples(f"{PROGRAM} query campaigns --active-within 1h --sort=-attempts"))
@click.option("--active-within", metavar="TIME", help="Such as 15m (the default), 24h or 7d.")
@click.option(
    "--sort", metavar="KEY", help="Such as -failure_lower_bound, -failure_change or attempts."
)
@click.option("--app-id", help="Only campaigns of this app.")
@click.option(
    "--trend", is_flag=True, help=f"Show the failed share of the newest {_TREND} windows."
)
@limit
@cursor
@asking(Followed(("campaign_id",), ("counts", "alerts", "last_window")))
def campaigns(api: ApiClient, *, trend: bool, **options: Any) -> Found:
    """List campaigns that were active lately."""
    answer = api.get("v1", "campaigns", recent=_TREND if trend else None, **options)
    rows = answer["campaigns"]
    columns: Columns = {
        Column("campaign", 0, 12): lambda row: shown_name(row["campaign_id"]),
        _NAME: _campaign_name,
        Column("app", 4): lambda row: shown_name(row["app_id"]),
        **_FIGURES,
        Column("usual", 4): lambda row: _percent(row["usual_rates"]["failure"]),
        Column("certain rise", 4): lambda row: _percent(row["changes"]["failure"]),
        Column("firing", 1): lambda row: sum(a["state"] == "firing" for a in row["alerts"]) or "",
        Column("last window", 3, 20): lambda row: row["last_window"],
    }
    if trend:
        title, line = failed_lately(rows, answer["window_seconds"], _TREND)
        columns[Column(title, 2, _TREND)] = line
    return Found(answer, rows, columns, answers.CampaignRow)


@command.command(epilog=examples(f"{PROGRAM} query campaign spring-sale"))
@click.argument("campaign_id")
@asking()
def campaign(api: ApiClient, campaign_id: str) -> Found:
    """Show one campaign: all that is retained of it, and its open window."""
    answer = api.get("v1", "campaigns", campaign_id)
    rows: list[Item] = [{"what": "all that is retained", **answer["totals"]}]
    if answer["current_window"]:
        start = answer["current_window"]["start"]
        rows.append({"what": f"open window {start}", **answer["current_window"]})
    rows += [{"what": f"alert {alert['rule']}: {alert['state']}"} for alert in answer["alerts"]]
    columns: Columns = {
        Column("", 0, 16): lambda row: row["what"],
        **{column: _if_any(show) for column, show in (_FIGURES | _COUNTS).items()},
    }
    return Found(answer, rows, columns, _Part)


class _Part(count_answers.Totals, kw_only=True):
    """A part of what is shown of one campaign."""

    what: str


@command.command(
    epilog=examples(f"{PROGRAM} query windows spring-sale --step 300 --by treatment_id")
)
@click.argument("campaign_id")
@click.option("--from", "from_", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.option("--to", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.option("--step", type=int, help="Seconds, a multiple of the window size: merges windows.")
@click.option("--by", help="treatment_id, delivery_type, channel_type, or some with commas.")
@asking(
    Followed(
        ("start", "treatment_id", "delivery_type", "channel_type"),
        ("state", "counts", "late_events"),
    )
)
def windows(
    api: ApiClient, campaign_id: str, from_: str | None, by: str | None, **options: Any
) -> Found:
    """List a campaign's windows, oldest first, and draw them."""
    answer = api.get(
        "v1", "campaigns", campaign_id, "windows", **{"from": from_, "by": by, **options}
    )
    rows = answer["windows"]
    if answer.get("complete_from"):
        kept = "windows have expired, or are kept in longer ones: try --step 3600"
        click.echo(f"before {answer['complete_from']} {kept}", err=True)
    groups: Columns = {}
    if by:
        rows = [{**window, **group} for window in rows for group in window["groups"]]
        groups = {Column(name, 1): _value_of(name) for name in by.split(",")}
    columns: Columns = {
        Column("start", 0, 20): lambda row: row["start"],
        Column("state", 4, 6, is_state=True): lambda row: row["state"],
        **groups,
        **_FIGURES,
        Column("late", 3): lambda row: row["late_events"],
        **_COUNTS,
    }
    step = options["step"] or answer["window_seconds"]
    return Found(
        answer,
        rows,
        columns,
        count_answers.WindowPart,
        failed_and_attempts(answer["windows"], step),
    )


@command.command(epilog=examples(f"{PROGRAM} query compare spring-sale --by channel_type"))
@click.argument("campaign_id")
@click.option("--by", help="treatment_id (the default), delivery_type or channel_type.")
@click.option("--status", help="failure (the default) or throttled.")
@click.option("--reference", help="What the others are compared with: the largest without it.")
@click.option("--from", "from_", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.option("--to", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@asking()
def compare(api: ApiClient, campaign_id: str, from_: str | None, **options: Any) -> Found:
    """Compare a campaign's treatments, channels or delivery types: which is really worse."""
    answer = api.get("v1", "campaigns", campaign_id, "compare", **{"from": from_, **options})
    return Found(answer, answer["groups"], _compared(answer["by"]), count_answers.ComparedGroup)


def _compared(by: str) -> Columns:
    return {
        Column(by, 0, 8): _value_of("value"),
        Column("attempts", 2): lambda row: row["attempts"],
        Column("hits", 3): lambda row: row["hits"],
        Column("rate", 1): lambda row: _percent(row["rate"]),
        Column("from", 2): lambda row: _percent(row["rate_low"]),
        Column("to", 2): lambda row: _percent(row["rate_high"]),
        Column("verdict", 0, 11): _verdict,
        Column("difference", 1): _of_difference("difference"),
        Column("at least", 1): _of_difference("low"),
        Column("at most", 1): _of_difference("high"),
    }


def _verdict(row: Item) -> str:
    if row["is_reference"]:
        return "reference"
    found = row["difference"]
    return "no window together" if found is None else str(found["verdict"]).replace("_", " ")


def _of_difference(name: str) -> Callable[[Item], object]:
    return lambda row: f"{row['difference'][name]:+.2%}" if row["difference"] else ""


@command.command(epilog=examples(f"{PROGRAM} query alerts --state firing"))
@click.option("--state", help="pending, firing, resolved or expired.")
@click.option("--campaign-id", help="Only what is about this campaign.")
@click.option("--treatment-id", help="Only alerts about this treatment.")
@click.option("--channel-type", help="Only alerts about this channel.")
@click.option("--rule", help="Only alerts of this rule.")
@click.option("--severity", help="Only alerts of this severity.")
@limit
@cursor
@asking(Followed(("alert_id",), ("state", "sequence", "acknowledged"), newest_first=True))
def alerts(api: ApiClient, **options: Any) -> Found:
    """List alerts, current and past, newest first."""
    answer = api.get("v1", "alerts", **options)
    columns: Columns = {
        Column("since", 2, 20): lambda row: row["starts_at"],
        Column("until", 5, 20): lambda row: row["ends_at"] or "",
        Column("state", 0, 8, is_state=True): lambda row: row["state"],
        Column("severity", 4): lambda row: row["severity"],
        Column("rule", 1, 10): lambda row: row["rule"],
        Column("campaign", 0, 12): lambda row: shown_name(row["campaign_id"]),
        _NAME: _campaign_name,
        Column("treatment", 3): lambda row: shown_name(row["treatment_id"]),
        Column("channel", 3): lambda row: shown_name(row["channel_type"]),
        Column("rate", 1): lambda row: _percent(row["evidence"]["rate"]),
        Column("hits", 6): lambda row: (
            f"{row['evidence']['hits']} of {row['evidence']['attempts']}"
        ),
        Column("peak", 6): lambda row: _percent(row["peak"]["rate"]),
        Column("slice", 6, 12): lambda row: _slice(row.get("explanation")),
        Column("acknowledged by", 5): lambda row: shown_name((row["acknowledged"] or {}).get("by")),
        Column("alert", 1, 12): lambda row: row["alert_id"],
    }
    return Found(answer, answer["alerts"], columns, answers.Alert)


@command.command(epilog=examples(f"{PROGRAM} query groups --state firing"))
@click.option("--state", help="firing or ended.")
@click.option("--reason", help="cause, labels or rate-limit.")
@click.option("--rule", help="Only groups of alerts of this rule.")
@limit
@cursor
@asking(Followed(("group_id",), ("state", "firing", "joined", "receivers"), newest_first=True))
def groups(api: ApiClient, **options: Any) -> Found:
    """List groups of alerts that receivers are told of together, newest first."""
    answer = api.get("v1", "groups", **options)
    columns: Columns = {
        Column("since", 2, 20): lambda row: row["starts_at"],
        Column("until", 5, 20): lambda row: row["ends_at"] or "",
        Column("state", 0, 6, is_state=True): lambda row: row["state"],
        Column("reason", 4): lambda row: row["reason"],
        Column("group of", 0, 12): lambda row: shown_name(row["title"]),
        Column("rule", 2, 10): lambda row: row["rule"] or "",
        Column("severity", 4): lambda row: row["severity"],
        Column("firing", 1): lambda row: row["firing"],
        Column("alerts", 1): lambda row: row["joined"],
        Column("told", 3, 12): lambda row: ", ".join(_told(each) for each in row["receivers"]),
        Column("group", 1, 12): lambda row: row["group_id"],
    }
    return Found(answer, answer["groups"], columns, answers.AlertGroup)


def _told(receiver: Item) -> str:
    return f"{receiver['receiver']} {receiver['told_at'] or 'not yet'}"


def _slice(explanation: Item | None) -> str:
    """Name the slice that explains an alert, and its share of the excess; nothing for none."""
    part = explanation["slice"] if explanation is not None else None
    if part is None:
        return ""
    named = ", ".join(shown_name(value) or "none" for value in part["dimensions"].values())
    return f"{named} ({_percent(part['share'])})"


@command.command(epilog=examples(f"{PROGRAM} query rules"))
@asking()
def rules(api: ApiClient) -> Found:
    """List the rules that raise alerts."""
    answer = api.get("v1", "rules")
    columns: Columns = {
        Column("rule", 0, 12): lambda row: row["name"],
        Column("severity", 1): lambda row: row["severity"],
        Column("scope", 4): lambda row: row["scope"],
        Column("detector", 1): lambda row: row["detector"]["kind"],
        Column("settings", 2, 16): lambda row: _detector_settings(row["detector"]),
        Column("campaigns", 4): lambda row: ", ".join(row["match"]["campaigns"]),
        Column("receivers", 2, 10): lambda row: ", ".join(row["receivers"]),
        Column("statuses", 5, 12): lambda row: ", ".join(row["statuses"]),
    }
    return Found(answer, answer["rules"], columns, answers.Rule)


@command.command(epilog=examples(f"{PROGRAM} query deliveries --state given-up"))
@click.option("--state", help="pending, given-up or delivered.")
@click.option("--receiver", help="Only deliveries to this receiver.")
@click.option("--alert-id", help="Only what is about this alert.")
@click.option("--campaign-id", help="Only what is about this campaign.")
@click.option("--rule", help="Only what is about alerts of this rule.")
@click.option("--from", "from_", metavar="TIME", help="Only what was decided then or later.")
@click.option("--to", metavar="TIME", help="Only what was decided before.")
@limit
@cursor
@asking(Followed(("delivery_id",), ("state", "attempted"), newest_first=True))
def deliveries(api: ApiClient, from_: str | None, **options: Any) -> Found:
    """List webhooks: still to be delivered, given up, or delivered lately; newest first."""
    answer = api.get("v1", "deliveries", **{"from": from_, **options})
    columns: Columns = {
        Column("created", 2, 20): lambda row: row["created_at"],
        Column("state", 0, 9, is_state=True): lambda row: row["state"],
        Column("receiver", 0, 8): lambda row: row["receiver"],
        Column("campaign", 3, 10): lambda row: shown_name(row["campaign_id"]),
        _NAME: _campaign_name,
        Column("rule", 4): lambda row: row["rule"] or "",
        Column("attempts", 3): lambda row: row["attempted"],
        Column("ms", 6): lambda row: (row["last_attempt"] or {}).get("duration_ms", ""),
        Column("next attempt", 5, 20): lambda row: row["next_attempt_at"] or "",
        Column("last error", 2, 10): lambda row: row["last_error"] or "",
        Column("delivery", 1, 12): lambda row: row["delivery_id"],
    }
    return Found(answer, answer["deliveries"], columns, answers.Delivery)


@command.command(epilog=examples(f"{PROGRAM} query delivery 5f0c9d52-….1.ops"))
@click.argument("delivery_id")
@asking()
def delivery(api: ApiClient, delivery_id: str) -> Found:
    """Show the attempts at one delivery, oldest first."""
    answer = api.get("v1", "deliveries", delivery_id)
    found = answer["delivery"]
    columns: Columns = {
        Column("attempt", 1): lambda row: row["number"],
        Column("at", 2, 20): lambda row: row["at"],
        Column("ms", 3): lambda row: row["duration_ms"],
        Column("result", 0, 10, is_state=True): lambda row: row["result"],
        Column("status", 1): lambda row: row["status"] or "",
        Column("answer", 1, 12): lambda row: "; ".join(
            filter(None, (row["error"] or row["answer"], *row.get("warnings", [])))
        ),
    }
    say(_in_short(found), err=True)
    return Found(answer, found["history"], columns, answers.DeliveryAttempt)


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
@asking(Followed(("name",), ("state", "until", "reason")))
def receivers(api: ApiClient) -> Found:
    """List receivers: who of them asked for a pause, or answered 410 Gone."""
    answer = api.get("v1", "receivers")
    columns: Columns = {
        Column("receiver", 0, 10): lambda row: row["name"],
        Column("state", 0, 8, is_state=True): lambda row: row["state"],
        Column("since", 2, 20): lambda row: row["since"] or "",
        Column("until", 3, 20): lambda row: row["until"] or "",
        Column("reason", 1, 12): lambda row: row["reason"] or "",
    }
    return Found(answer, answer["receivers"], columns, answers.Receiver)


def _campaign_name(row: Item) -> str:
    return shown_name(row.get("campaign_name"))


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
    Column("attempts", 1): lambda row: row["attempts"],
    Column("failed", 0): lambda row: _percent(row["rates"]["failure"]),
    Column("throttled", 2): lambda row: _percent(row["rates"]["throttled"]),
}
_COUNTS: Columns = {
    Column("counts", 2, 16): lambda row: ", ".join(
        f"{shown_name(status)} {n}" for status, n in row["counts"].items()
    )
}


def _if_any(show: Callable[[Item], object]) -> Callable[[Item], object]:
    return lambda row: show(row) if "attempts" in row else ""


def _value_of(name: str) -> Callable[[Item], object]:
    return lambda row: "-" if row[name] is None else shown_name(row[name])
