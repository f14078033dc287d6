"""Tumbling windows: aligned to the Unix epoch, half-open, whole seconds long.

A window is named by its start, in seconds since the epoch, UTC. Event times are milliseconds.
"""

from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from streams.domain.calendar_periods import Period, period_of

MS = 1000
DAY = 86_400
UTC = "UTC"


@dataclass(frozen=True, slots=True, order=True)
class RollupStep:
    """How long the windows of a roll-up are, and where they begin.

    A day of a time zone begins at the first instant of its date, and has 23 or 25 hours where the
    clocks change. All others are aligned to the Unix epoch.

    Args:
        seconds: the length; of a day, its usual one.
        time_zone: of days, whose they are.
    """

    seconds: int
    time_zone: str = UTC

    def start_of(self, time: int) -> int:
        """Return the start (s) of the window that holds a time (s)."""
        if self.time_zone != UTC:
            return self._day_of(time).start
        return time - time % self.seconds

    def end_of(self, time: int) -> int:
        """Return the end (s) of the window that holds a time (s)."""
        if self.time_zone != UTC:
            return self._day_of(time).end
        return time - time % self.seconds + self.seconds

    def _day_of(self, time: int) -> Period:
        return _day_of(self.time_zone, time)


@lru_cache(maxsize=8_192)
def _day_of(time_zone: str, time: int) -> Period:
    """Return the day that a time (s) is in. The same are asked for again: starts of windows."""
    return period_of(time, "day", ZoneInfo(time_zone))


@dataclass(frozen=True, slots=True)
class Rollup:
    """Windows that counts go into when shorter ones expire.

    Args:
        step: how long they are.
        retention: how long, in seconds of event time, they are kept after their end and grace.
    """

    step: RollupStep
    retention: int


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """The size of windows, their grace period and their retention.

    Args:
        size: length of a window, in whole seconds.
        grace: how far, in seconds, event time must pass a window's end before it is closed.
        retention: how long, in seconds of event time, a closed window is kept for corrections
            and queries. With roll-ups, all that go into one of the first roll-up's windows expire
            together, when the last of them would.
        rollups: where the counts of windows that expire go, shortest step first; from each on to
            the next when its own retention has passed. They outlive the ones before them.
        late_into_rollups: whether events that come after the retention are counted in roll-ups, as
            long as these are retained.
    """

    size: int = 60
    grace: int = 30
    retention: int = 86_400
    rollups: tuple[Rollup, ...] = ()
    late_into_rollups: bool = False

    def start_of(self, time_ms: int) -> int:
        """Return the start (s) of the window that holds an event time (ms)."""
        seconds = time_ms // MS
        return seconds - seconds % self.size

    def closes_at(self, start: int) -> int:
        """Return the event time (ms) from which the window is closed."""
        return (start + self.size + self.grace) * MS

    def expires_at(self, start: int) -> int:
        """Return the event time (ms) from which the window is expired: no longer retained."""
        end = self.rollups[0].step.end_of(start) if self.rollups else start + self.size
        return (end + self.grace + self.retention) * MS

    def is_closed(self, start: int, event_time: int) -> bool:
        """Tell whether the window is closed at an event time (ms)."""
        return event_time >= self.closes_at(start)

    def is_expired(self, start: int, event_time: int) -> bool:
        """Tell whether the window is expired at an event time (ms)."""
        return event_time >= self.expires_at(start)

    def oldest_retained(self, event_time: int) -> int:
        """Return the start (s) of the oldest window that is not expired at `event_time` (ms)."""
        kept_from = event_time // MS - self.grace - self.retention
        if not self.rollups:
            return self._start(kept_from)
        return self.rollups[0].step.start_of(max(0, kept_from))

    def oldest_countable(self, event_time: int) -> int:
        """Return the smallest event time (ms) that is counted at `event_time` (ms).

        Before it, the retention of windows has passed; or that of the last roll-up, if events that
        come so late are counted there.
        """
        if not (self.rollups and self.late_into_rollups):
            return self._start(event_time // MS - self.grace - self.retention) * MS
        last = self.rollups[-1]
        return last.step.start_of(max(0, event_time // MS - self.grace - last.retention)) * MS

    def uncountable_from(self, time: int) -> int:
        """Return the event time (ms) from which events of `time` (s) are not counted any more."""
        if not (self.rollups and self.late_into_rollups):
            return (self._start(time) + self.size + self.grace + self.retention) * MS
        return self.gone_from(time)

    def gone_from(self, time: int) -> int:
        """Return the event time (ms) from which counts of `time` (s) are retained nowhere."""
        if not self.rollups:
            return self.expires_at(self._start(time))
        last = self.rollups[-1]
        return (last.step.end_of(time) + self.grace + last.retention) * MS

    def _start(self, time: int) -> int:
        return time - time % self.size

    def oldest_open(self, event_time: int) -> int:
        """Return the start (s) of the oldest window that is open at `event_time` (ms)."""
        return self.start_of(max(0, event_time - self.grace * 1000))
