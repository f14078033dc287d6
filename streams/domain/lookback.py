"""Closed windows that rules look back on, when open ones say too little.

A campaign with few attempts a minute says enough only over several windows. Which closed windows
have the campaign, and what, is worked out from the window table, so a restart changes nothing; what
was read of it is kept, as closed windows are bytes that have to be decoded.
"""

from collections.abc import Iterator, Sequence

from streams.domain.counts import Cell
from streams.domain.partial_counts import WindowCounts
from streams.domain.table import WindowTable

MOST_CELLS = 50_000
"""How many decoded cells are kept; past it all are dropped and read again as they are needed."""


class ClosedWindows:
    """The closed windows of one partition that are recent enough to be looked back on.

    Args:
        table: has all windows.
        size: of a window (s).
        windows: how many windows in a row are looked at, the open one included.
    """

    def __init__(self, table: WindowTable, size: int, windows: int) -> None:
        self._table = table
        self._reach = (windows - 1) * size
        self._starts: list[int] = []
        """Starts (s) of the closed windows within reach, oldest first."""
        self._newest: dict[str, int] = {}
        """By campaign, the newest closed window (s) within reach that has it."""
        self._cells: dict[str, dict[int, Cell | None]] = {}
        """What was decoded, by campaign and window."""
        self._kept = 0

    @property
    def starts(self) -> Sequence[int]:
        """Starts (s) of the closed windows within reach, oldest first."""
        return self._starts

    def update(self, open_starts: Sequence[int]) -> None:
        """Follow the table after a window opened, closed or expired.

        Args:
            open_starts: of the open windows (s), newest first; nothing is done if there are none.
        """
        if not (self._reach and open_starts):
            return
        oldest_open = open_starts[-1]
        first = oldest_open - self._reach
        known = set(self._starts)
        starts = [start for start in self._table.starts() if first <= start < oldest_open]
        for start in starts:
            if start not in known:
                self._index(start)
        if known.difference(starts):
            self._let_go(starts[0] if starts else oldest_open)
        self._starts = starts

    def _index(self, start: int) -> None:
        names = dict.fromkeys(self._table.campaigns_in(start), start)
        if self._starts and start < self._starts[-1]:
            names = {name: max(start, self._newest.get(name, start)) for name in names}
        self._newest.update(names)

    def _let_go(self, first: int) -> None:
        self._newest = {name: at for name, at in self._newest.items() if at >= first}
        cells: dict[str, dict[int, Cell | None]] = {}
        for name, of_it in self._cells.items():
            if name in self._newest:
                cells[name] = {start: cell for start, cell in of_it.items() if start >= first}
        self._cells = cells
        self._kept = sum(map(len, cells.values()))

    def corrected(self, start: int, counts: WindowCounts) -> None:
        """Take note of late counts for the closed window that begins at `start` (s).

        They are under the campaigns that they were added to.
        """
        if start not in self._starts:
            # Either out of reach, or closed since the last update: that will read all of it.
            return
        for name in counts.campaigns:
            self._newest[name] = max(start, self._newest.get(name, start))
            self._cells.get(name, {}).pop(start, None)

    def __contains__(self, campaign_id: str) -> bool:
        """Tell whether a campaign has counts in any of them."""
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
        if self._kept > MOST_CELLS:
            self._cells.clear()
            self._kept = 0
        of_it = self._cells.setdefault(campaign_id, {})
        if start not in of_it:
            of_it[start] = self._table.cell(campaign_id, start)
            self._kept += 1
        return of_it[start]
