"""The windows that event time was in: whether a window without counts was silence.

A window in which a campaign has no counts says something of it only if others had any meanwhile.
Where the whole stream stood still, event time jumps over windows, and these are not here.
"""

from collections.abc import Collection, Iterable
from typing import TypeAlias

Ranges: TypeAlias = list[tuple[int, int]]
"""Windows in a row: the start (s) of the first, and of the last one."""


class EventTimeLog:
    """The windows that the event time of an input was in, as far back as rules look.

    Args:
        size: of a window (s).
        reach: how far before the oldest open window they are kept (s); null to keep none.
    """

    def __init__(self, size: int, reach: int | None) -> None:
        self._size = size
        self._reach = reach
        self._starts: set[int] = set()

    @property
    def starts(self) -> Collection[int]:
        """Starts (s) of the windows."""
        return self._starts

    def add(self, start: int, oldest_open: int) -> bool:
        """Note that event time was in a window (start, s); return whether that is news.

        A window that is closed stays as it was: what it said has been decided on.
        """
        if self._reach is None or start in self._starts or start < oldest_open:
            return False
        self._starts.add(start)
        return True

    def forget(self, oldest_open: int) -> None:
        """Forget the windows out of reach of the oldest open one (start, s)."""
        if self._starts and self._reach is not None:
            first = oldest_open - self._reach
            self._starts = {start for start in self._starts if start >= first}

    def ranges(self) -> Ranges:
        """Return the windows, to be written down."""
        ranges: Ranges = []
        for start in sorted(self._starts):
            if ranges and start == ranges[-1][1] + self._size:
                ranges[-1] = ranges[-1][0], start
            else:
                ranges.append((start, start))
        return ranges

    def restore(self, ranges: Iterable[tuple[int, int]], size: int) -> None:
        """Take the windows as they were written down, when a window was `size` s long."""
        if self._reach is not None:
            self._starts = {
                start - start % self._size
                for first, last in ranges
                for start in range(first, last + 1, size)
            }
