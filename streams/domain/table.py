"""Every retained window of one partition, and what of it must be written down.

Counts change in memory. What changed since the last flush is handed out as records for the state
topic, one for each campaign and window, with null for a window that has expired; reading them back
in any later life gives the same table. A cell that is not being counted in stays packed, as the
bytes that were written for it: a closed window costs little more than those.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from streams.domain.blocks import CampaignCounts, WindowCounts
from streams.domain.clock import EventClock
from streams.domain.counts import Cell, pack, unpack
from streams.domain.windows import WindowPolicy


class Touched(NamedTuple):
    """Counts that were added to a window that is still open."""

    campaign_id: str
    start: int


class WindowTable:
    """The windows of one partition of campaigns.

    Args:
        policy: when windows close and expire.
        clock: the partition's event time.
    """

    def __init__(self, policy: WindowPolicy, clock: EventClock) -> None:
        self._policy = policy
        self.clock = clock
        self._windows: dict[int, dict[str, Cell | bytes]] = {}
        self._closed: set[int] = set()
        self._changed: set[tuple[str, int]] = set()
        self._names: dict[str, str] = {}
        self.late_events = 0

    # Counting

    def add(self, counts: CampaignCounts) -> list[Touched]:
        """Add a campaign's counts; return the open windows that they went to.

        Counts for a closed window correct it, and are marked as late.
        """
        touched = []
        name = self._names.setdefault(counts.campaign_id, counts.campaign_id)
        for window in counts.windows:
            late = self._policy.is_closed(window.start, self.clock.event_time)
            self._add_window(name, counts.app_id, window, late=late)
            if not late:
                touched.append(Touched(name, window.start))
        return touched

    def _add_window(
        self, name: str, app_id: str | None, window: WindowCounts, *, late: bool
    ) -> None:
        cell = self._cell_to_change(name, window.start, app_id)
        added = cell.add(app_id, window.sends, window.engagement)
        if late:
            cell.late_events += added
            self.late_events += added
            self._closed.discard(window.start)

    def _cell_to_change(self, name: str, start: int, app_id: str | None) -> Cell:
        self._changed.add((name, start))
        cells = self._windows.setdefault(start, {})
        cell = cells.get(name)
        if cell is None:
            cell = cells[name] = Cell(app_id, {}, {})
        elif isinstance(cell, bytes):
            cell = cells[name] = unpack(cell)
        return cell

    def advance(self, now: float) -> None:
        """Move event time on, drop the windows that expire, pack those that close.

        Args:
            now: wall-clock time (s, UTC).
        """
        last_close = self._policy.closes_at(max(self._windows, default=0))
        self.clock.advance(now, last_close)
        event_time = self.clock.event_time
        for start in self._windows.keys() - self._closed:
            if self._policy.is_closed(start, event_time):
                self._close(start)
        while self._windows and self._policy.is_expired(min(self._windows), event_time):
            self._expire(min(self._windows))

    def _expire(self, start: int) -> None:
        self._changed.update((name, start) for name in self._windows.pop(start))
        self._closed.discard(start)
        self._forget_names()

    def _close(self, start: int) -> None:
        cells = self._windows[start]
        for name, cell in cells.items():
            if isinstance(cell, Cell):
                cells[name] = pack(cell)
        self._closed.add(start)

    def _forget_names(self) -> None:
        cells = sum(map(len, self._windows.values()))
        if len(self._names) > 2 * cells + 1000:
            self._names = {n: n for cells in self._windows.values() for n in cells}

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Hand out what changed since the last call, as keys and values for the state topic."""
        changed, self._changed = self._changed, set()
        if changed:
            times = {"event_time": self.clock.event_time, "feeders": self.clock.times}
            yield CLOCK_KEY, orjson.dumps(times, option=orjson.OPT_NON_STR_KEYS)
        for name, start in changed:
            cell = self._windows.get(start, {}).get(name)
            value = pack(cell) if isinstance(cell, Cell) else cell
            yield orjson.dumps(("window", name, start)), value

    @property
    def changes(self) -> int:
        """How many cells wait to be written."""
        return len(self._changed)

    def restore_clock(self, value: bytes) -> None:
        """Read the clock back."""
        times = orjson.loads(value)
        feeders = {int(feeder): time for feeder, time in times["feeders"].items()}
        self.clock.restore(feeders, times["event_time"])

    def restore(self, name: str, start: int, value: bytes | None) -> None:
        """Read one cell back; null removes it."""
        cells = self._windows.setdefault(start, {})
        if value is not None:
            cells[self._names.setdefault(name, name)] = value
        else:
            cells.pop(name, None)
            if not cells:
                del self._windows[start]

    # Asked

    def starts(self) -> list[int]:
        """Return the starts (s) of all retained windows, oldest first."""
        return sorted(self._windows)

    def is_open(self, start: int) -> bool:
        """Tell whether a window is still open."""
        return not self._policy.is_closed(start, self.clock.event_time)

    def open_starts(self) -> list[int]:
        """Return the starts (s) of the open windows, oldest first."""
        return [start for start in self.starts() if self.is_open(start)]

    def starts_of(self, campaign_id: str) -> list[int]:
        """Return the starts (s) of the windows in which a campaign has counts, oldest first."""
        return sorted(s for s, cells in self._windows.items() if campaign_id in cells)

    def cell(self, campaign_id: str, start: int) -> Cell | None:
        """Return the counts of a campaign in one window; they may go on changing."""
        cell = self._windows.get(start, {}).get(campaign_id)
        return unpack(cell) if isinstance(cell, bytes) else cell

    def cells(self, campaign_id: str, starts: Iterable[int]) -> Iterator[tuple[int, Cell]]:
        """Yield a campaign's counts in those of the windows in which it has any."""
        for start in starts:
            cell = self.cell(campaign_id, start)
            if cell is not None:
                yield start, cell

    def knows(self, campaign_id: str) -> bool:
        """Tell whether any retained window has the campaign."""
        return any(campaign_id in cells for cells in self._windows.values())

    def campaigns(self, since: int = 0) -> set[str]:
        """Return the campaigns that have a window starting at `since` (s) or later."""
        names: set[str] = set()
        for start, cells in self._windows.items():
            if start >= since:
                names.update(cells)
        return names

    def __len__(self) -> int:
        """Return the number of cells."""
        return sum(map(len, self._windows.values()))

    @property
    def packed_bytes(self) -> int:
        """Size of the packed cells, in bytes: most of what the table occupies."""
        return sum(
            len(cell)
            for cells in self._windows.values()
            for cell in cells.values()
            if isinstance(cell, bytes)
        )


CLOCK_KEY = orjson.dumps(("clock",))
