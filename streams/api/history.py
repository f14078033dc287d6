"""What a campaign's windows add up to, of which most have not changed since it was asked last.

A day of minutes takes some ten milliseconds to add up. So the sums of stretches of windows are kept
for the campaigns that were asked for last, each with what tells whether it is still right.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple
from weakref import ref

from streams.api.reading import empty, include, newest_cells
from streams.api.time_slices import TimeSlices
from streams.domain.counts import Cell
from streams.domain.table import WindowTable

STRETCH = 60
"""Windows that are added up to one sum that is kept."""
MOST_KEPT = 4_096
"""Sums, of all campaigns together: those of 170 campaigns with a day of minutes."""
_ROLLED_UP = -1
"""Stands for a stretch: all windows of roll-ups."""
_LARGEST_KEPT = 64
"""Count keys of a sum that is kept."""


class History(NamedTuple):
    """The sum of a campaign's windows, and when (s) the first and the last of them begin."""

    total: Cell
    first: int
    last: int


class _State(NamedTuple):
    """What tells whether windows are the same, with the same counts.

    Windows expire from the oldest on, and change ever more often: so nothing goes unnoticed here.

    Attributes:
        first: start (s) of the first one.
        last: of the last one.
        windows: how many there are.
        changes: how often they have changed, in all.
    """

    first: int
    last: int
    windows: int
    changes: int


class _Kept(NamedTuple):
    state: tuple[int, ...]
    history: History | None


class _Key(NamedTuple):
    table: "ref[WindowTable]"
    campaign_id: str
    stretch: int


class HistoryReader:
    """Adds up all retained windows of campaigns.

    Args:
        size: of a window (s).
    """

    def __init__(self, size: int) -> None:
        self._length = size * STRETCH
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    async def read(
        self, tables: Iterable[WindowTable], campaign_id: str, slices: TimeSlices
    ) -> History | None:
        """Return the sum of a campaign's windows, also of roll-ups; null if there are none."""
        parts: list[History | None] = []
        for table in tables:
            if table.rollups.knows(campaign_id):
                parts.append(await self._read_rolled_up(table, campaign_id, slices))
            windows = table.windows_with(campaign_id)
            if windows is not None and windows <= STRETCH:
                parts.append(await _add_up(table, campaign_id, table.starts(), slices))
                continue
            for stretch, starts in groupby(table.starts(), lambda start: start // self._length):
                key = _Key(ref(table), campaign_id, stretch)
                parts.append(await self._read(key, table, list(starts), slices))
        return _sum(part for part in parts if part is not None)

    async def _read_rolled_up(
        self, table: WindowTable, campaign_id: str, slices: TimeSlices
    ) -> History | None:
        """Return the sum of a campaign's windows of roll-ups."""
        key, state = _Key(ref(table), campaign_id, _ROLLED_UP), (table.rollups.changes,)
        kept = self._kept.pop(key, None)
        if kept is None or kept.state != state:
            parts = []
            for span in table.rollups.spans():
                cell = table.rollups.cell(campaign_id, span)
                await slices()
                if cell is not None:
                    parts.append(History(cell, span.start, span.start))
            kept = _Kept(state, _sum(parts))
        self._keep(key, kept)
        return kept.history

    async def _read(
        self, key: _Key, table: WindowTable, starts: Sequence[int], slices: TimeSlices
    ) -> History | None:
        """Return the sum of a stretch of windows, as it is kept or as it is now."""
        changes = sum(table.changes(start) or 0 for start in starts)
        state = _State(starts[0], starts[-1], len(starts), changes)
        kept = self._kept.pop(key, None)
        if kept is None or kept.state != state:
            kept = _Kept(state, await _add_up(table, key.campaign_id, starts, slices))
        self._keep(key, kept)
        await slices()
        return kept.history

    def _keep(self, key: _Key, kept: _Kept) -> None:
        if kept.history is not None:
            total = kept.history.total
            if len(total.sends) + len(total.engagement) > _LARGEST_KEPT:
                return
        self._kept[key] = kept
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


async def _add_up(
    table: WindowTable, campaign_id: str, starts: Sequence[int], slices: TimeSlices
) -> History | None:
    """Return the sum of those of some windows in which a campaign has counts."""
    cells = [each async for each in newest_cells(table, campaign_id, starts, slices)]
    return _sum(History(cell, start, start) for start, cell in reversed(cells))


def _sum(parts: Iterable[History]) -> History | None:
    """Return the sum of parts, of which the last one that names an app is right about that."""
    total, first, last = empty(), math.inf, -math.inf
    for part in parts:
        include(total, part.total)
        first, last = min(first, part.first), max(last, part.last)
    return None if first == math.inf else History(total, int(first), int(last))
