"""`campaign-streams silence`: silences, made, listed and ended in the terminal."""

import getpass
import time
from typing import Any

import click

from streams.api import answers
from streams.api.client import ApiClient
from streams.commands.asking import asking, cursor, limit
from streams.commands.common import PROGRAM, examples
from streams.commands.following import Followed
from streams.commands.rows import Columns, Found, Item, shown_name
from streams.commands.tables import Column
from streams.commands.times import Duration, Moment
from streams.domain.silences.recurrence import DAYS
from streams.domain.transitions import rfc3339
from streams.terminal import abbreviated

_MATCHERS_MOST = 60
_COMMENT_MOST = 40
"""Characters of a column; other forms have all of it."""


@click.group(
    "silence",
    epilog=examples(
        f"{PROGRAM} silence add campaign_id=spring-sale --for 2h --comment 'new certificate'",
        f"{PROGRAM} silence list --state active",
        f"{PROGRAM} silence end 0b9b2c1e-3f0f-4f0e-9d5c-6d2f1d0c1a11",
    ),
)
def command() -> None:
    """Make, list and end silences: which alerts nobody is notified of, for a while.

    A silenced alert goes on as ever, and is told once it is not silenced any more and still fires.
    """


@command.command(
    "add",
    epilog=examples(
        f"{PROGRAM} silence add campaign_id=spring-sale --for 2h --comment 'new certificate'",
        f"{PROGRAM} silence add 'app_id=~\"shop|club\"' severity=warning --for 30m --comment test",
        f"{PROGRAM} silence add severity=warning --from-time 22:00 --to-time 06:00 --days sat,sun "
        "--time-zone Europe/Berlin --comment 'nobody is there'",
    ),
)
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@click.option("--comment", required=True, help="Why.")
@click.option("--by", "created_by", help="Who makes it; your name on this machine without it.")
@click.option("--for", "lasts", type=Duration(), help="How long, such as 30m, 2h or 1d.")
@click.option("--start", type=Moment(), metavar="TIME", help="When it starts; now without it.")
@click.option("--end", type=Moment(), metavar="TIME", help="When it ends, in place of --for.")
@click.option("--from-time", metavar="HH:MM", help="For hours that recur: when they begin.")
@click.option("--to-time", metavar="HH:MM", help="When they end; 24:00 is midnight.")
@click.option("--days", metavar="DAY,…", help=f"On which days: some of {','.join(DAYS)}.")
@click.option("--time-zone", default="UTC", show_default=True, help="Whose hours and days.")
@asking()
def add(
    api: ApiClient,
    matchers: tuple[str, ...],
    comment: str,
    created_by: str | None,
    lasts: float | None,
    start: float | None,
    end: float | None,
    from_time: str | None,
    to_time: str | None,
    days: str | None,
    time_zone: str,
) -> Found:
    """Make a silence for alerts that match all MATCHERs.

    A MATCHER is label=value, label!=value, label=~pattern or label!~pattern, as in Prometheus. The
    labels are rule, severity, campaign_id, app_id, treatment_id, channel_type, and those of the
    alert's rule.
    """
    recurs = from_time is not None or to_time is not None
    if lasts is not None and end is not None:
        raise click.UsageError("choose one: --for or --end")
    if lasts is None and end is None and not recurs:
        raise click.UsageError("say how long: --for 2h, --end TIME, or --from-time and --to-time")
    if recurs and None in {from_time, to_time}:
        raise click.UsageError("--from-time needs --to-time, and the other way round")
    if lasts is not None:
        end = (time.time() if start is None else start) + lasts
    body: Item = {
        "matchers": list(matchers),
        "created_by": created_by or _user(),
        "comment": comment,
        "starts_at": None if start is None else rfc3339(start),
        "ends_at": None if end is None else rfc3339(end),
    }
    if recurs:
        hours = {"start": from_time, "end": to_time, "time_zone": time_zone}
        body["recurrence"] = {**hours, "days": days.split(",") if days else []}
    answer = api.post("v1", "silences", body=body)
    return Found(answer, [answer["silence"]], _COLUMNS, answers.Silence)


@command.command("list", epilog=examples(f"{PROGRAM} silence list --state active"))
@click.option("--state", help="pending, active or expired.")
@limit
@cursor
@asking(Followed(("silence_id",), ("state", "ended_at"), newest_first=True))
def list_(api: ApiClient, **options: Any) -> Found:
    """List silences, newest first."""
    answer = api.get("v1", "silences", **options)
    return Found(answer, answer["silences"], _COLUMNS, answers.Silence)


@command.command("end", epilog=examples(f"{PROGRAM} silence end SILENCE_ID --by anna"))
@click.argument("silence_id")
@click.option("--by", "ended_by", help="Who ends it; your name on this machine without it.")
@asking()
def end_(api: ApiClient, silence_id: str, ended_by: str | None) -> Found:
    """End a silence before its time."""
    answer = api.delete("v1", "silences", silence_id, ended_by=ended_by or _user())
    return Found(answer, [answer["silence"]], _COLUMNS, answers.Silence)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "terminal"


def _hours(row: Item) -> str:
    """Write when a silence recurs: `22:00-06:00 sat,sun Europe/Berlin`."""
    recurrence = row["recurrence"]
    if recurrence is None:
        return ""
    days = ",".join(recurrence.get("days", ())) or "daily"
    return f"{recurrence['start']}-{recurrence['end']} {days} {recurrence['time_zone']}"


_COLUMNS: Columns = {
    Column("state", 0, 7, is_state=True): lambda row: row["state"],
    Column("alerts", 0, 12): lambda row: abbreviated(", ".join(row["matchers"]), _MATCHERS_MOST),
    Column("from", 4, 20): lambda row: row["starts_at"],
    Column("until", 1, 20): lambda row: row["ended_at"] or row["ends_at"] or "",
    Column("hours", 3, 16): _hours,
    Column("by", 3): lambda row: shown_name(row["created_by"]),
    Column("comment", 3, 10): lambda row: abbreviated(row["comment"], _COMMENT_MOST),
    Column("silence", 1, 12): lambda row: row["silence_id"],
}
