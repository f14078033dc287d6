"""The watermark of one partition of campaigns: how far its event time has come.

A partition of campaigns gets counts from several source partitions, its inputs, each with an event
time of its own. While an input lags behind (during catch-up they never move in step) its events are
not late yet, so the watermark is the smallest event time of the inputs, as in Flink. An input
without events for a while is idle and left out, or one silent source partition would hold every
window open.
"""

from collections.abc import Iterable
from math import inf


class Watermark:
    """Event time of a partition: never goes back, never ahead of the slowest active input.

    Args:
        inputs: the source partitions that counts may come from.
        idle_timeout: seconds without events after which an input is idle.
        now: wall-clock time (s, UTC) from which silence is counted.

    Attributes:
        event_time: the watermark (ms); 0 before the first event.
        observed_at: by input, when (s) it last had an event, or was added.
    """

    def __init__(self, inputs: Iterable[int], idle_timeout: float, now: float) -> None:
        self._idle_timeout = idle_timeout
        self.observed_at = dict.fromkeys(inputs, now)
        self._times: dict[int, int] = {}
        self.event_time = 0

    @property
    def times(self) -> dict[int, int]:
        """By input, its largest event time (ms); none for one without events so far."""
        return self._times

    @property
    def newest(self) -> int:
        """Largest event time (ms) of all inputs; 0 before the first event."""
        return max(self._times.values(), default=0)

    def restore(self, times: dict[int, int], event_time: int) -> None:
        """Go on from where an earlier owner of the partition stood (ms)."""
        self._times.update(times)
        self.event_time = max(self.event_time, event_time)

    def add_inputs(self, inputs: Iterable[int], now: float) -> None:
        """Wait for further inputs, from wall-clock `now` (s) on."""
        for source in inputs:
            self.observed_at.setdefault(source, now)

    def observe(self, source: int, event_time: int, now: float) -> None:
        """Note that an input has reached an event time (ms), at wall-clock `now` (s)."""
        self.observed_at[source] = now
        if event_time > self._times.get(source, -1):
            self._times[source] = event_time

    def next_idle_at(self, now: float) -> float:
        """Return when (s, UTC) the next input is idle, if none has events until then.

        Args:
            now: wall-clock time (s, UTC).

        Returns:
            The time; infinity if all inputs are idle at `now`.
        """
        active = [at for at in self.observed_at.values() if now - at < self._idle_timeout]
        return min(active, default=inf) + self._idle_timeout

    def advance(self, now: float, last_close: int) -> bool:
        """Move the event time as far as the inputs allow.

        Args:
            now: wall-clock time (s, UTC).
            last_close: event time (ms) at which the newest window would close. When every input is
                idle, event time goes on to there, but not past the present.

        Returns:
            Whether the event time moved.
        """
        active = [
            source for source, at in self.observed_at.items() if now - at < self._idle_timeout
        ]
        if active:
            reached = min(self._times.get(source, 0) for source in active)
        else:
            reached = max(self.newest, min(int(now * 1000), last_close))
        if reached <= self.event_time:
            return False
        self.event_time = reached
        return True
