"""A campaign's windows."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import cost_of_windows, narrow_range
from streams.api.count_answers import OneWindow, Window, WindowPart, Windows
from streams.api.parameters import choices, moment, text, whole
from streams.api.problems import ProblemError, not_found, refuse
from streams.api.readers import WindowRows, decode_windows, encode_windows
from streams.api.reading import DIMENSIONS, add_windows, empty, include, window
from streams.api.representations import Rows
from streams.api.retained import (
    complete_from,
    latest,
    misfits_until,
    read_as_one,
    shown_complete_from,
)
from streams.api.routing import Route
from streams.api.stretches import Part, Parts, WindowRange
from streams.api.time_slices import TimeSlices
from streams.domain.counts import Dimension, StatusGroups
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339

MOST_WINDOWS = 10_000
_LONGEST_STEP = 366 * 86_400

CAMPAIGN_ID = text("campaign_id", "The campaign's id, percent-encoded.")
START = moment("start", "The window's start: a time (RFC 3339) or milliseconds since the epoch.")
FROM = moment("from", "Windows that end after this time; without it, from the oldest retained.")
TO = moment("to", "Windows that start before this time; without it, to the newest.")
STEP = whole(
    "step",
    1,
    _LONGEST_STEP,
    "Seconds, a multiple of the window size: windows are merged to ones so long, aligned to the "
    "epoch. Without it, the window size. Steps that hold windows of roll-ups whole reach back "
    "further, such as 3600 and 86400.",
)
BY = choices("by", DIMENSIONS, "Adds groups to each window: by these dimensions, with commas.")


class _Wanted(NamedTuple):
    """What is asked: windows of a campaign, `step` (s) long, from `first` to before `last` (s)."""

    campaign_id: str
    first: int
    last: int | None
    step: int
    by: tuple[Dimension, ...]
    groups: StatusGroups


async def windows(context: Context, ask: Ask) -> Windows:
    """Answer with a campaign's windows in a range."""
    campaign_id = ask.path["campaign_id"]
    size = context.settings.windows.size
    step = ask.get(STEP, size)
    if step % size:
        near = max(size, round(step / size) * size)
        refuse(f"step={step}: expected a multiple of the window size ({size} s), such as {near}")
    groups = context.settings.groups
    wanted = _Wanted(campaign_id, *_range(ask, step), step, ask.get(BY, ()), groups)

    async def local(partitions: Sequence[CampaignPartition]) -> Windows | None:
        found = await _find(context, ask, partitions, wanted)
        if found is None:
            return None
        return Windows(
            as_of="",
            campaign_id=campaign_id,
            window_seconds=size,
            complete_from=shown_complete_from(found.complete_from),
            windows=found.windows,
        )

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Windows, local, unknown)
    answer = gathered.parts[0]
    answer.complete_from = latest([part.complete_from for part in gathered.parts])
    answer.windows = add_windows((p.windows for p in gathered.parts), context.settings.groups)
    answer.campaign_name = context.names.of_campaign(campaign_id)
    return context.stamp(answer, gathered.missing)


def sees(ask: Ask, partitions: Sequence[CampaignPartition], campaign_id: str) -> bool:
    """Tell whether the caller may see a campaign, whose app these partitions may know."""
    if not ask.caller.visible.needs_app:
        return ask.sees(campaign_id, None)
    apps = (partition.table.app_of(campaign_id) for partition in partitions)
    return ask.sees(campaign_id, next((app for app in apps if app is not None), None))


def _range(ask: Ask, step: int) -> tuple[int, int | None]:
    """Return the range (s) that the question is about, widened to whole steps."""
    begin, end = ask.get(FROM, None), ask.get(TO, None)
    if begin is not None and end is not None and begin >= end:
        refuse("from: expected a time before to")
    first = 0 if begin is None else begin // 1000
    last = None if end is None else -(-end // (1000 * step)) * step
    return first - first % step, last


class _Found(NamedTuple):
    """Windows, and since when (s) none are missing; 0 for ever."""

    windows: list[Window]
    complete_from: int


def _end(wanted: _Wanted) -> float:
    return math.inf if wanted.last is None else wanted.last


async def _find(
    context: Context, ask: Ask, partitions: Sequence[CampaignPartition], wanted: _Wanted
) -> _Found | None:
    """Find what is asked, for whoever may see the campaign; null if it is not known here.

    Raises:
        ProblemError: 400 or 429, if it costs too much, or if there is too much of it.
    """
    if not sees(ask, partitions, wanted.campaign_id):
        return None
    tables = [partition.table for partition in partitions]
    cost = cost_of_windows(tables, wanted.campaign_id, wanted.first, _end(wanted))
    ask.budget.spend(cost, narrow_range)
    read = partial(_read, context.readers.windows, partitions, wanted)
    return await read_as_one(partitions, read)


async def _read(
    rows: WindowRows, partitions: Sequence[CampaignPartition], wanted: _Wanted, slices: TimeSlices
) -> _Found | None:
    """Read a campaign's windows; null if none of the partitions knows it.

    Raises:
        ProblemError: 400, if there are too many.
    """
    begin = _first_whole(partitions, wanted.step)
    in_range = WindowRange(wanted.campaign_id, max(wanted.first, begin), _end(wanted))
    make, about = partial(_merge, wanted), (wanted.step, wanted.by)
    stretches: list[list[Window]] = []
    for partition in partitions:
        newest = rows.newest(partition, in_range, make, slices, about)
        stretches += [decode_windows(stretch) async for stretch in newest]
    if not stretches and not any(each.table.knows(wanted.campaign_id) for each in partitions):
        return None
    found = add_windows(reversed(stretches), wanted.groups)
    if len(found) > MOST_WINDOWS:
        enough = -(-len(found) // MOST_WINDOWS) * wanted.step
        refuse(
            f"{len(found)} windows, and an answer has at most {MOST_WINDOWS}: narrow from and to, "
            f"or merge windows: step={enough} or more"
        )
    return _Found(found, max(begin, complete_from(partitions)))


def _first_whole(partitions: Sequence[CampaignPartition], step: int) -> int:
    """Return the start (s) of the first step that parts no window of a roll-up; 0 for any."""
    until = misfits_until(partitions, lambda start, end: start // step == (end - 1) // step)
    return -(-until // step) * step


def _merge(wanted: _Wanted, parts: Parts) -> bytes:
    """Return a stretch of windows, merged to steps, as they are kept."""
    step = wanted.step
    if any(part.end - part.start != step for part in parts):
        steps = groupby(parts, lambda part: part.start // step * step)
        parts = [_merged(start, step, of_step) for start, of_step in steps]
    by, groups = wanted.by, wanted.groups
    return encode_windows(
        [
            window((start, end), cell, by, groups, is_open=is_open)
            for start, end, cell, is_open in parts
        ]
    )


def _merged(start: int, step: int, parts: Iterable[Part]) -> Part:
    """Merge the windows of a step, which begins at `start` (s)."""
    total, is_open = empty(), False
    for part in parts:
        include(total, part.cell)
        is_open |= part.is_open
    return Part(start, start + step, total, is_open)


async def one_window(context: Context, ask: Ask) -> OneWindow:
    """Answer with one window of a campaign."""
    campaign_id = ask.path["campaign_id"]
    size = context.settings.windows.size
    start = _start(ask.path["start"], size)
    groups = context.settings.groups
    wanted = _Wanted(campaign_id, start, start + size, size, ask.get(BY, ()), groups)

    async def local(partitions: Sequence[CampaignPartition]) -> OneWindow | None:
        found = await _find(context, ask, partitions, wanted)
        if found is None or not found.windows:
            return None
        (only,) = found.windows
        return OneWindow(as_of="", campaign_id=campaign_id, window_seconds=size, window=only)

    homes = context.cluster.homes_of(campaign_id)
    nothing = not_found(
        f"campaign {campaign_id} has nothing in the window that starts at {rfc3339(start)}: "
        "nothing happened in it, it has expired, or it was rolled up: ask for longer windows"
    )
    gathered = await context.cluster.require(ask, homes, OneWindow, local, nothing)
    answer = gathered.parts[0]
    (answer.window,) = add_windows(([p.window] for p in gathered.parts), context.settings.groups)
    answer.campaign_name = context.names.of_campaign(campaign_id)
    return context.stamp(answer, gathered.missing)


def _start(value: str, size: int) -> int:
    time = START.value(value)
    start, rest = divmod(time, size * 1000)
    if rest:
        nearest = rfc3339((start + (rest >= size * 500)) * size)
        refuse(f"start={value}: windows are {size} s long; the nearest one starts at {nearest}")
    return start * size


def unknown_campaign(campaign_id: str) -> ProblemError:
    """Return the problem of a campaign that no partition knows."""
    return not_found(
        f"no retained window has a campaign {campaign_id}: /v1/campaigns lists those there are"
    )


def _parts(windows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the groups of windows, as rows; a window without groups is one row."""
    for each in windows:
        groups = each.get("groups")
        if groups is None:
            yield each
        else:
            span = {name: each[name] for name in ("start", "end", "state")}
            yield from ({**group, **span} for group in groups)


ROUTES = (
    Route(
        "/v1/campaigns/{campaign_id}/windows",
        windows,
        "A campaign's windows, oldest first",
        Windows,
        (CAMPAIGN_ID, FROM, TO, STEP, BY),
        rows=Rows("windows", Window, WindowPart, _parts),
        for_some=True,
        has_cost=True,
    ),
    Route(
        "/v1/campaigns/{campaign_id}/windows/{start}",
        one_window,
        "One window of a campaign",
        OneWindow,
        (CAMPAIGN_ID, START, BY),
        for_some=True,
        has_cost=True,
    ),
)
