"""The closed windows of a rule's lookback.

A campaign with few attempts a minute has enough of them only in several windows together. Its
counts in closed windows are read from the window table, so a restart changes nothing. Decoded
counts are kept, as a clean bucket is bytes that have to be decoded.
"""

from collections.abc import Iterator, Sequence

from streams.domain.counts import Cell
from streams.domain.partial_counts import WindowCounts
from streams.domain.table import WindowTable

MOST_CELLS = 50_000
"""Decoded cells that are kept; past this number all are dropped, and read again when needed."""


class ClosedWindows:
    """The closed windows of one partition that are within the longest lookback of its rules.

    Args:
        table: all windows of the partition.
        size: of a window (s).
        windows: length of the lookback, in windows, the open one included.
    """

    def __init__(self, table: WindowTable, size: int, windows: int) -> None:
        self._table = table
        self._reach = (windows - 1) * size
        self._starts: list[int] = []
        """Starts (s) of the closed windows within reach, oldest first."""
        self._newest: dict[str, int] = {}
        """By campaign, the newest closed window (s) within reach that has it."""
        self._cells: dict[str, dict[int, Cell | None]] = {}
        """By campaign and start of a window (s), decoded counts; null where there are none."""
        self._cells_kept = 0

    @property
    def starts(self) -> Sequence[int]:
        """Starts (s) of the closed windows within reach, oldest first."""
        return self._starts

    def update(self, oldest_open: int) -> None:
        """Follow the table after a window opened, closed or expired, or event time went on.

        Args:
            oldest_open: start (s) of the oldest window that event time leaves open.
        """
        if not self._reach:
            return
        first = oldest_open - self._reach
        known = set(self._starts)
        starts = [start for start in self._table.starts() if first <= start < oldest_open]
        for start in starts:
            if start not in known:
                self._index(start)
        if known.difference(starts):
            self._forget_before(starts[0] if starts else oldest_open)
        self._starts = starts

    def _index(self, start: int) -> None:
        names = dict.fromkeys(self._table.campaigns_in(start), start)
        if self._starts and start < self._starts[-1]:
            names = {name: max(start, self._newest.get(name, start)) for name in names}
        self._newest.update(names)

    def _forget_before(self, first: int) -> None:
        """Forget the windows that begin before `first` (s)."""
        self._newest = {name: at for name, at in self._newest.items() if at >= first}
        cells: dict[str, dict[int, Cell | None]] = {}
        for name, by_start in self._cells.items():
            if name in self._newest:
                cells[name] = {start: cell for start, cell in by_start.items() if start >= first}
        self._cells = cells
        self._cells_kept = sum(map(len, cells.values()))

    def corrected(self, start: int, counts: WindowCounts) -> None:
        """Note late counts, as they were added to the closed window that begins at `start` (s)."""
        if start not in self._starts:
            # Either out of reach, or closed since the last update: that will read all of it.
            return
        for name in counts.campaigns:
            self._newest[name] = max(start, self._newest.get(name, start))
            self._cells.get(name, {}).pop(start, None)

    def campaigns_since(self, first: int) -> set[str]:
        """Return the campaigns that have counts in a closed window from `first` (s) on."""
        return {name for name, newest in self._newest.items() if newest >= first}

    def __contains__(self, campaign_id: str) -> bool:
        """Tell whether a campaign has counts in any closed window within reach."""
        return campaign_id in self._newest

    def cells(self, campaign_id: str) -> Iterator[tuple[int, Cell]]:
        """Yield a campaign's counts in closed windows within reach, newest first."""
        newest = self._newest.get(campaign_id)
        if newest is None:
            return
        for start in reversed(self._starts):
            if start <= newest:
                cell = self._cell(campaign_id, start)
                if cell is not None:
                    yield start, cell

    def _cell(self, campaign_id: str, start: int) -> Cell | None:
        if self._cells_kept > MOST_CELLS:
            self._cells.clear()
            self._cells_kept = 0
        by_start = self._cells.setdefault(campaign_id, {})
        if start not in by_start:
            by_start[start] = self._table.cell(campaign_id, start)
            self._cells_kept += 1
        return by_start[start]
