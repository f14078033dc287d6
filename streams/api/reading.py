"""From cells to figures, without keeping the event loop from other work."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from streams.api.count_answers import CorrectedTotals, Group, Rates, Totals, Window
from streams.api.time_slices import TimeSlices
from streams.domain.counts import (
    Cell,
    Dimension,
    StatusGroups,
    Summary,
    summarise,
    summarise_by,
    summary_of,
)
from streams.domain.table import WindowTable
from streams.domain.transitions import rfc3339

T = TypeVar("T", bound=Totals)
DIMENSIONS: tuple[Dimension, ...] = ("treatment_id", "delivery_type", "channel_type")


@lru_cache(maxsize=4_096)
def written(start: int) -> str:
    """Return the start or end (s) of a window as answers have it."""
    return rfc3339(start)


def empty() -> Cell:
    """Return a cell to add others to."""
    return Cell(None, {}, {})


def include(total: Cell, cell: Cell) -> None:
    """Add a cell to a total."""
    total.add(cell.app_id, cell.sends, cell.engagement)
    total.late_events += cell.late_events


async def newest_cells(
    table: WindowTable, campaign_id: str, starts: Sequence[int], slices: TimeSlices
) -> AsyncIterator[tuple[int, Cell]]:
    """Yield a campaign's counts in those of some windows in which it has any, newest first.

    Args:
        table: which has the windows.
        campaign_id: of the campaign.
        starts: of the windows (s), oldest first.
        slices: lets others work.
    """
    found = 0
    for start in reversed(starts):
        cell = table.cell(campaign_id, start)
        await slices()
        if cell is None:
            continue
        yield start, cell
        found += 1
        if found == table.windows_with(campaign_id):
            break  # there are no others


def figures(summary: Summary) -> dict[str, Any]:
    """Return the fields that all `Totals` have."""
    return {
        "counts": summary.counts,
        "attempts": summary.attempts,
        "unrecognised": summary.unrecognised or UNSET,
        "rates": Rates(summary.rates["failure"], summary.rates["throttled"]),
        "engagement": summary.engagement,
    }


def totals(cell: Cell, groups: StatusGroups) -> CorrectedTotals:
    """Return a cell's figures."""
    return CorrectedTotals(**figures(summarise([cell], groups)), late_events=cell.late_events)


def window(
    span: tuple[int, int],
    cell: Cell,
    by: tuple[Dimension, ...],
    groups: StatusGroups,
    *,
    is_open: bool,
) -> Window:
    """Return one window's figures; `span` is its start and end (s)."""
    summary = summarise([cell], groups)
    return Window(
        start=written(span[0]),
        end=written(span[1]),
        state="open" if is_open else "closed",
        counts=summary.counts,
        attempts=summary.attempts,
        unrecognised=summary.unrecognised or UNSET,
        rates=Rates(summary.rates["failure"], summary.rates["throttled"]),
        engagement=summary.engagement,
        late_events=cell.late_events,
        groups=[
            _group(of_it, by, values) for values, of_it in summarise_by([cell], by, groups).items()
        ]
        if by
        else msgspec.UNSET,
    )


def _group(summary: Summary, by: tuple[Dimension, ...], values: tuple[str | None, ...]) -> Group:
    fields: dict[str, Any] = {**figures(summary), **dict(zip(by, values, strict=True))}
    return Group(**fields)


def add_totals(all_of_them: Iterable[T], groups: StatusGroups) -> T:
    """Add up figures of which each worker has a part."""
    first, *others = all_of_them
    for other in others:
        summary = summary_of(
            _sum(first.counts, other.counts), _sum(first.engagement, other.engagement), groups
        )
        for name, value in figures(summary).items():
            setattr(first, name, value)
        if isinstance(first, CorrectedTotals) and isinstance(other, CorrectedTotals):
            first.late_events += other.late_events
    return first


def add_windows(parts: Iterable[list[Window]], groups: StatusGroups) -> list[Window]:
    """Merge the windows of several workers, oldest first."""
    same: dict[str, list[Window]] = {}
    for part in parts:
        for each in part:
            same.setdefault(each.start, []).append(each)
    return [_add_same(same[start], groups) for start in sorted(same)]


def _add_same(windows: list[Window], groups: StatusGroups) -> Window:
    if len(windows) == 1:
        return windows[0]
    same: dict[tuple[Any, ...], list[Group]] = {}
    for each in windows:
        for group in each.groups or ():
            key = (group.treatment_id, group.delivery_type, group.channel_type)
            same.setdefault(key, []).append(group)
    first = add_totals(windows, groups)
    if any(each.state == "open" for each in windows):
        first.state = "open"
    if first.groups is not msgspec.UNSET:
        first.groups = [add_totals(each, groups) for each in same.values()]
    return first


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Counter[str]:
    return Counter(one) + Counter(other)
