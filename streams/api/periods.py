"""A campaign's totals by hours and days, as the clocks of a time zone have them."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import asdict

from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import cost_of_windows, narrow_range
from streams.api.count_answers import Periods, PeriodTotals
from streams.api.parameters import Parameter, choice
from streams.api.problems import refuse
from streams.api.readers import PeriodSums
from streams.api.reading import add_totals, empty, include, totals
from streams.api.representations import Rows
from streams.api.retained import (
    complete_from,
    latest,
    misfits_until,
    read_as_one,
    shown_complete_from,
)
from streams.api.routing import Route
from streams.api.stretches import Parts, WindowRange
from streams.api.time_slices import TimeSlices
from streams.api.windows import CAMPAIGN_ID, FROM, TO, sees, unknown_campaign
from streams.domain.calendar_periods import Period, PeriodKind, period_of
from streams.domain.counts import Cell, StatusGroups
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339
from streams.settings import iana_zone

MOST_PERIODS = 10_000
_HOUR = 3600


@lru_cache(maxsize=64)
def _read_zone(value: str) -> ZoneInfo:
    try:
        return iana_zone(value)
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

    @property
    def names(self) -> str:
        """What the periods are, in words."""
        return f"{self.kind}s of {self.zone}"


class _Found(NamedTuple):
    """Counts by period; those of periods that begin before `complete_from` (s) may be too few."""

    cells: dict[Period, Cell]
    complete_from: int


async def periods(context: Context, ask: Ask) -> Periods:
    """Answer with a campaign's totals by periods."""
    campaign_id = ask.path["campaign_id"]
    begin, last = ask.get(FROM, None), ask.get(TO, None)
    kind: PeriodKind = "hour" if ask.get(PER, "day") == "hour" else "day"
    zone = ask.get(ZONE, None) or ZoneInfo("UTC")
    if begin is not None and last is not None and begin >= last:
        refuse("from: expected a time before to")
    # As windows are: whole periods, also where the range ends in the middle of one.
    first = -math.inf if begin is None else float(period_of(begin // 1000, kind, zone).start)
    end = math.inf if last is None else float(period_of((last - 1) // 1000, kind, zone).end)
    wanted = _Wanted(campaign_id, first, end, kind, zone)

    async def local(partitions: Sequence[CampaignPartition]) -> Periods | None:
        if not sees(ask, partitions, campaign_id):
            return None
        tables = [partition.table for partition in partitions]
        ask.budget.spend(cost_of_windows(tables, campaign_id, first, end), narrow_range)
        read = partial(_read, context.readers.periods, partitions, wanted)
        found = await read_as_one(partitions, read)
        return None if found is None else await _answer(context, wanted, found)

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Periods, local, unknown)
    answer = gathered.parts[0]
    answer.complete_from = latest([part.complete_from for part in gathered.parts])
    same: dict[str, list[PeriodTotals]] = {}
    for part in gathered.parts:
        for each in part.periods:
            same.setdefault(each.start, []).append(each)
    answer.periods = [_add(same[start], context.settings.groups) for start in sorted(same)]
    return context.stamp(answer, gathered.missing)


def _add(same: list[PeriodTotals], groups: StatusGroups) -> PeriodTotals:
    """Add up the parts of one period."""
    is_complete = all(part.complete for part in same)
    added = add_totals(same, groups)
    added.complete = is_complete
    return added


async def _answer(context: Context, wanted: _Wanted, found: _Found) -> Periods:
    groups, slices = context.settings.groups, TimeSlices()
    shown = []
    for period in sorted(found.cells):
        is_complete = period.start >= found.complete_from
        shown.append(_show(period, found.cells[period], groups, is_complete=is_complete))
        await slices()
    return Periods(
        as_of="",
        campaign_id=wanted.campaign_id,
        per=wanted.kind,
        time_zone=str(wanted.zone),
        complete_from=shown_complete_from(found.complete_from),
        periods=shown,
    )


def _show(period: Period, cell: Cell, groups: StatusGroups, *, is_complete: bool) -> PeriodTotals:
    return PeriodTotals(
        **asdict(totals(cell, groups)),
        period=period.name,
        start=rfc3339(period.start),
        end=rfc3339(period.end),
        complete=is_complete,
    )


async def _read(
    sums: PeriodSums, partitions: Sequence[CampaignPartition], wanted: _Wanted, slices: TimeSlices
) -> _Found | None:
    """Add up a campaign's windows by periods; null if none of the partitions knows it."""
    found: dict[Period, Cell] = {}
    begin = _first_whole(partitions, wanted)
    in_range = WindowRange(wanted.campaign_id, max(wanted.first, begin), wanted.last)
    about = wanted.kind, str(wanted.zone)
    for partition in partitions:
        make = partial(_add_up, wanted, partition.settings.windows.size)
        newest = sums.newest(partition, in_range, make, slices, about)
        async for stretch in newest:
            for period, cell in stretch.items():
                include(found.setdefault(period, empty()), cell)
            if len(found) > MOST_PERIODS:
                refuse(f"more than {MOST_PERIODS} periods: narrow from and to")
    if not found and not any(each.table.knows(wanted.campaign_id) for each in partitions):
        return None
    return _Found(found, max(begin, complete_from(partitions)))


def _add_up(wanted: _Wanted, size: int, parts: Parts) -> dict[Period, Cell]:
    """Return what a stretch of windows, each `size` (s) long, adds up to in each period."""
    found: dict[Period, Cell] = {}
    period = None
    for part in parts:
        if period is None or not period.start <= part.start < period.end:
            period = period_of(part.start, wanted.kind, wanted.zone)
            _check_fits(period, size, wanted)
        include(found.setdefault(period, empty()), part.cell)
    return found


def _first_whole(partitions: Sequence[CampaignPartition], wanted: _Wanted) -> int:
    """Return the start (s) of the first period that parts no window of a roll-up; 0 for any.

    Refuses to answer for those before, if they are asked for.
    """
    period = Period(0, 0, "")

    def fits(start: int, end: int) -> bool:
        nonlocal period
        if not period.start <= start < period.end:
            period = period_of(start, wanted.kind, wanted.zone)
        return end <= period.end

    until = misfits_until(partitions, fits)
    if not until:
        return 0
    begin = period_of(until - 1, wanted.kind, wanted.zone).end
    if -math.inf < wanted.first < begin or wanted.last <= begin:
        refuse(
            f"before {rfc3339(begin)} counts are only retained in longer windows, which "
            f"{wanted.names} would part: ask from={rfc3339(begin)} on, or for the days of another "
            "time zone (windows.rollups says which are kept)"
        )
    return begin


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
        has_cost=True,
    ),
)
