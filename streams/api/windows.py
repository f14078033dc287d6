"""A campaign's windows."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from streams.api.answers import OneWindow, Window, WindowPart, Windows
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import choices, moment, text, whole
from streams.api.problems import ProblemError, not_found, refuse
from streams.api.reading import DIMENSIONS, CooperativeYield, add_windows, empty, include, window
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain.counts import Dimension
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
    "epoch. Without it, the window size.",
)
BY = choices("by", DIMENSIONS, "Adds groups to each window: by these dimensions, with commas.")


class _Wanted(NamedTuple):
    """What is asked: windows of a campaign, `step` (s) long, from `first` to before `last` (s)."""

    campaign_id: str
    first: int
    last: int | None
    step: int
    by: tuple[Dimension, ...]


async def windows(context: Context, ask: Ask) -> Windows:
    """Answer with a campaign's windows in a range."""
    campaign_id = ask.path["campaign_id"]
    size = context.settings.windows.size
    step = ask.get(STEP, size)
    if step % size:
        near = max(size, round(step / size) * size)
        refuse(f"step={step}: expected a multiple of the window size ({size} s), such as {near}")
    wanted = _Wanted(campaign_id, *_range(ask, step), step, ask.get(BY, ()))

    async def local(partitions: Sequence[CampaignPartition]) -> Windows | None:
        found = await _read(partitions, wanted) if sees(ask, partitions, campaign_id) else None
        if found is None:
            return None
        return Windows(as_of="", campaign_id=campaign_id, window_seconds=size, windows=found)

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Windows, local, unknown)
    answer = gathered.parts[0]
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
    begin, end = ask.get(FROM, 0), ask.get(TO, None)
    if end is not None and begin >= end:
        refuse("from: expected a time before to")
    first = begin // 1000
    last = None if end is None else -(-end // (1000 * step)) * step
    return first - first % step, last


async def _read(partitions: Sequence[CampaignPartition], wanted: _Wanted) -> list[Window] | None:
    """Read a campaign's windows; null if none of the partitions knows it."""
    steps: dict[int, list[tuple[CampaignPartition, int]]] = {}
    yield_now = CooperativeYield()
    for partition in partitions:
        for start in partition.table.starts():
            if start < wanted.first or (wanted.last is not None and start >= wanted.last):
                continue
            if partition.table.has(wanted.campaign_id, start):
                steps.setdefault(start - start % wanted.step, []).append((partition, start))
            await yield_now()
    if len(steps) > MOST_WINDOWS:
        enough = -(-len(steps) // MOST_WINDOWS) * wanted.step
        refuse(
            f"{len(steps)} windows, and an answer has at most {MOST_WINDOWS}: narrow from and to, "
            f"or merge windows: step={enough} or more"
        )
    if not steps and not any(each.table.knows(wanted.campaign_id) for each in partitions):
        return None
    return [await _merge(wanted, start, steps[start], yield_now) for start in sorted(steps)]


async def _merge(
    wanted: _Wanted,
    start: int,
    parts: list[tuple[CampaignPartition, int]],
    yield_now: CooperativeYield,
) -> Window:
    total = empty()
    for partition, part in parts:
        cell = partition.table.cell(wanted.campaign_id, part)
        if cell is not None:  # it may have expired since
            include(total, cell)
        await yield_now()
    is_open = any(partition.table.is_open(part) for partition, part in parts)
    groups = parts[0][0].settings.groups
    span = (start, start + wanted.step)
    return window(span, total, wanted.by, groups, is_open=is_open)


async def one_window(context: Context, ask: Ask) -> OneWindow:
    """Answer with one window of a campaign."""
    campaign_id = ask.path["campaign_id"]
    size = context.settings.windows.size
    start = _start(ask.path["start"], size)
    wanted = _Wanted(campaign_id, start, start + size, size, ask.get(BY, ()))

    async def local(partitions: Sequence[CampaignPartition]) -> OneWindow | None:
        found = await _read(partitions, wanted) if sees(ask, partitions, campaign_id) else None
        if not found:
            return None
        return OneWindow(as_of="", campaign_id=campaign_id, window_seconds=size, window=found[0])

    homes = context.cluster.homes_of(campaign_id)
    nothing = not_found(
        f"campaign {campaign_id} has nothing in the window that starts at {rfc3339(start)}: "
        "nothing happened in it, or it has expired"
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
    ),
    Route(
        "/v1/campaigns/{campaign_id}/windows/{start}",
        one_window,
        "One window of a campaign",
        OneWindow,
        (CAMPAIGN_ID, START, BY),
        for_some=True,
    ),
)
