"""When something is due about live alerts: reminders, ends without data, ends of silences."""

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from math import inf


class AlertTimers:
    """One timer for each alert; what is not due costs nothing.

    A timer may be earlier than what it is for, as attempts put off when an alert expires. It is
    set anew when it goes off.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}
        """By alert, the time (s) of its entry in the heap that counts; any other is outdated."""

    @property
    def next_at(self) -> float:
        """When (s, UTC) the first one goes off, at the earliest; infinity for never."""
        return self._heap[0][0] if self._heap else inf

    def set(self, record_id: str, at: float) -> None:
        """Set the timer of an alert to `at` (s), if it is not set to an earlier time."""
        if at < self._at.get(record_id, inf):
            self._at[record_id] = at
            heappush(self._heap, (at, record_id))

    def drop(self, record_id: str) -> None:
        """Forget the timer of an alert, if it has one."""
        self._at.pop(record_id, None)

    def take(self, now: float) -> Iterator[str]:
        """Yield the alerts whose timers have gone off by `now` (s); they have none any more."""
        while self._heap and self._heap[0][0] <= now:
            at, record_id = heappop(self._heap)
            if self._at.get(record_id) == at:
                del self._at[record_id]
                yield record_id

    def reset(self, times: Mapping[str, float]) -> None:
        """Set the timers to these times (s), by alert, and forget all others."""
        self._at = dict(times)
        self._heap = [(at, record_id) for record_id, at in times.items()]
        heapify(self._heap)
