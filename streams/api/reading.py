"""From cells to figures."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from streams.api.count_answers import CorrectedTotals, Group, Rates, Totals, Window
from streams.domain.counts import (
    Cell,
    Dimension,
    StatusGroups,
    Summary,
    nulls_first,
    summarise,
    summarise_by,
    summary_of,
)
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


def figures(summary: Summary) -> dict[str, Any]:
    """Return the fields that all `Totals` have."""
    return {
        "counts": summary.counts,
        "attempts": summary.attempts,
        "unrecognised": summary.unrecognised or UNSET,
        "rates": Rates(summary.rate("failure"), summary.rate("throttled")),
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
        rates=Rates(summary.rate("failure"), summary.rate("throttled")),
        engagement=summary.engagement,
        late_events=cell.late_events,
        groups=_groups(cell, by, groups) if by else UNSET,
    )


def _groups(cell: Cell, by: tuple[Dimension, ...], groups: StatusGroups) -> list[Group]:
    return [_group(of_it, by, value) for value, of_it in summarise_by([cell], by, groups).items()]


def _group(summary: Summary, by: tuple[Dimension, ...], values: tuple[str | None, ...]) -> Group:
    fields: dict[str, Any] = {**figures(summary), **dict(zip(by, values, strict=True))}
    return Group(**fields)


def add_totals(all_of_them: Iterable[T], groups: StatusGroups) -> T:
    """Add up figures of which each worker, or each stretch of windows, has a part."""
    first, *others = all_of_them
    if not others:
        return first
    # What was read is used again, so it stays as it is.
    added = replace(first)
    for other in others:
        summary = summary_of(
            _sum(added.counts, other.counts), _sum(added.engagement, other.engagement), groups
        )
        for name, value in figures(summary).items():
            setattr(added, name, value)
        if isinstance(added, CorrectedTotals) and isinstance(other, CorrectedTotals):
            added.late_events += other.late_events
    return added


def add_windows(parts: Iterable[list[Window]], groups: StatusGroups) -> list[Window]:
    """Merge the windows of several workers, or stretches of windows; oldest first."""
    windows = [each for part in parts for each in part]
    if all(before.start < after.start for before, after in pairwise(windows)):
        return windows
    same: dict[str, list[Window]] = {}
    for each in windows:
        same.setdefault(each.start, []).append(each)
    return [_add_same(same[start], groups) for start in sorted(same)]


def _add_same(windows: list[Window], groups: StatusGroups) -> Window:
    if len(windows) == 1:
        return windows[0]
    added = add_totals(windows, groups)
    if any(each.state == "open" for each in windows):
        added.state = "open"
    if added.groups is not msgspec.UNSET:
        added.groups = _add_groups(windows, groups)
    return added


def _add_groups(windows: Iterable[Window], groups: StatusGroups) -> list[Group]:
    same: dict[tuple[Any, ...], list[Group]] = {}
    for each in windows:
        for group in each.groups or ():
            key = (group.treatment_id, group.delivery_type, group.channel_type)
            same.setdefault(key, []).append(group)
    return [add_totals(same[key], groups) for key in sorted(same, key=nulls_first)]


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Counter[str]:
    return Counter(one) + Counter(other)
