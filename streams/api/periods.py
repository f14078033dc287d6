"""A campaign's totals by hours and days, as the clocks of a time zone have them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import asdict

from streams.api.answers import Periods, PeriodTotals
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import Parameter, choice
from streams.api.problems import refuse
from streams.api.reading import CooperativeYield, add_totals, empty, include, totals
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.api.windows import CAMPAIGN_ID, FROM, TO, sees, unknown_campaign
from streams.domain.calendar_periods import Period, PeriodKind, period_of
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339

MOST_PERIODS = 10_000
_HOUR = 3600


@lru_cache(maxsize=64)
def _read_zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # none of that name, or the name of something else
        raise ValueError("expected a name of the IANA time zones, such as Europe/Berlin") from None


PER = choice("per", ("hour", "day"), "How long the periods are; day without it.")
ZONE = Parameter(
    "tz",
    _read_zone,
    {"type": "string", "examples": ["Europe/Berlin", "America/New_York", "Asia/Kolkata"]},
    "The time zone whose hours and days are meant, by its IANA name; UTC without it.",
)


class _Wanted(NamedTuple):
    """What is asked: periods with windows between `first` and before `last` (s)."""

    campaign_id: str
    first: float
    last: float
    kind: PeriodKind
    zone: ZoneInfo


async def periods(context: Context, ask: Ask) -> Periods:
    """Answer with a campaign's totals by periods."""
    campaign_id = ask.path["campaign_id"]
    first, last = ask.get(FROM, 0) / 1000, ask.get(TO, None)
    kind: PeriodKind = "hour" if ask.get(PER, "day") == "hour" else "day"
    zone = ask.get(ZONE, None) or ZoneInfo("UTC")
    end = float("inf") if last is None else last / 1000
    if first >= end:
        refuse("from: expected a time before to")
    wanted = _Wanted(campaign_id, first, end, kind, zone)

    async def local(partitions: Sequence[CampaignPartition]) -> Periods | None:
        found = await _read(partitions, wanted) if sees(ask, partitions, campaign_id) else None
        return None if found is None else _answer(context, wanted, found)

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Periods, local, unknown)
    answer = gathered.parts[0]
    same: dict[str, list[PeriodTotals]] = {}
    for part in gathered.parts:
        for each in part.periods:
            same.setdefault(each.start, []).append(each)
    answer.periods = [add_totals(same[start], context.settings.groups) for start in sorted(same)]
    return context.stamp(answer, gathered.missing)


def _answer(context: Context, wanted: _Wanted, found: dict[Period, Cell]) -> Periods:
    groups = context.settings.groups
    shown = [
        PeriodTotals(
            **asdict(totals(found[period], groups)),
            period=period.name,
            start=rfc3339(period.start),
            end=rfc3339(period.end),
        )
        for period in sorted(found)
    ]
    return Periods(
        as_of="",
        campaign_id=wanted.campaign_id,
        per=wanted.kind,
        time_zone=str(wanted.zone),
        periods=shown,
    )


async def _read(
    partitions: Sequence[CampaignPartition], wanted: _Wanted
) -> dict[Period, Cell] | None:
    """Add up a campaign's windows by periods; null if none of the partitions knows it."""
    found: dict[Period, Cell] = {}
    yield_now = CooperativeYield()
    for partition in partitions:
        size, period = partition.settings.windows.size, None
        for start in partition.table.starts():
            if start + size <= wanted.first or start >= wanted.last:
                continue
            cell = partition.table.cell(wanted.campaign_id, start)
            await yield_now()
            if cell is None:
                continue
            if period is None or not period.start <= start < period.end:
                period = period_of(start, wanted.kind, wanted.zone)
                _check_fits(period, size, wanted)
            include(found.setdefault(period, empty()), cell)
            if len(found) > MOST_PERIODS:
                refuse(f"more than {MOST_PERIODS} periods: narrow from and to")
    if not found and not any(each.table.knows(wanted.campaign_id) for each in partitions):
        return None
    return found


def _check_fits(period: Period, size: int, wanted: _Wanted) -> None:
    """Refuse periods that would part windows."""
    if period.start % size or period.end % size:
        refuse(
            f"windows are {size} s long, and a {wanted.kind} of {wanted.zone} begins or ends in "
            "the middle of one: choose another time zone or longer periods"
        )


ROUTES = (
    Route(
        "/v1/campaigns/{campaign_id}/totals",
        periods,
        "A campaign's totals by hours or days of a time zone, oldest first",
        Periods,
        (CAMPAIGN_ID, FROM, TO, PER, ZONE),
        rows=Rows("periods", PeriodTotals),
        for_some=True,
    ),
)
