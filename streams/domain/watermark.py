"""Event time of one partition of counts.

Such a partition is fed by several source partitions, each with an event time of its own. While one
of them lags behind (during catch-up they never move in step) its events are not late yet, so the
partition's event time is the smallest of its inputs', as a watermark is in Flink. A feeder that
brings nothing for a while is left out, or one silent source partition would hold every window open.
"""

from collections.abc import Iterable


class Watermark:
    """Event time of a partition: never goes back, never ahead of the slowest active feeder.

    Args:
        inputs: the source partitions that may feed this one.
        idle_timeout: seconds without events after which a feeder is left out.
        now: wall-clock time (s, UTC) from which silence is counted.
    """

    def __init__(self, inputs: Iterable[int], idle_timeout: float, now: float) -> None:
        self._idle_timeout = idle_timeout
        self._heard_at = dict.fromkeys(inputs, now)
        self._times: dict[int, int] = {}
        self.event_time = 0

    @property
    def times(self) -> dict[int, int]:
        """Largest event time (ms) heard of each feeder."""
        return self._times

    @property
    def newest(self) -> int:
        """Largest event time (ms) heard of any feeder, 0 before the first."""
        return max(self._times.values(), default=0)

    def restore(self, times: dict[int, int], event_time: int) -> None:
        """Go on from where an earlier owner of the partition stood (ms)."""
        self._times.update(times)
        self.event_time = max(self.event_time, event_time)

    def add_inputs(self, inputs: Iterable[int], now: float) -> None:
        """Wait for these inputs too, from wall-clock `now` (s) on."""
        for feeder in inputs:
            self._heard_at.setdefault(feeder, now)

    def observe(self, feeder: int, event_time: int, now: float) -> None:
        """Take note that a feeder has reached an event time (ms) at wall-clock `now` (s)."""
        self._heard_at[feeder] = now
        if event_time > self._times.get(feeder, -1):
            self._times[feeder] = event_time

    def advance(self, now: float, last_close: int) -> bool:
        """Move the event time as far as the inputs allow.

        Args:
            now: wall-clock time (s, UTC).
            last_close: event time (ms) at which the newest window would close. When every feeder
                is silent, event time goes on to there, but not past the present.

        Returns:
            Whether the event time moved.
        """
        active = [f for f, heard in self._heard_at.items() if now - heard < self._idle_timeout]
        if active:
            reached = min(self._times.get(feeder, 0) for feeder in active)
        else:
            reached = max(self.newest, min(int(now * 1000), last_close))
        if reached <= self.event_time:
            return False
        self.event_time = reached
        return True
