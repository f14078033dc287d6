"""Tumbling windows: aligned to the Unix epoch, half-open, whole seconds long.

A window is named by its start, in seconds since the epoch, UTC. Event times are milliseconds.
"""

from dataclasses import dataclass

MS = 1000


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """The size of windows, their grace period and their retention.

    Args:
        size: length of a window, in whole seconds.
        grace: how far, in seconds, event time must pass a window's end before it is closed.
        retention: how long, in seconds of event time, a closed window is kept for corrections
            and queries.
    """

    size: int = 60
    grace: int = 30
    retention: int = 86_400

    def start_of(self, time_ms: int) -> int:
        """Return the start (s) of the window that holds an event time (ms)."""
        seconds = time_ms // MS
        return seconds - seconds % self.size

    def closes_at(self, start: int) -> int:
        """Return the event time (ms) from which the window is closed."""
        return (start + self.size + self.grace) * MS

    def expires_at(self, start: int) -> int:
        """Return the event time (ms) from which the window is expired: no longer retained."""
        return (start + self.size + self.grace + self.retention) * MS

    def is_closed(self, start: int, event_time: int) -> bool:
        """Tell whether the window is closed at an event time (ms)."""
        return event_time >= self.closes_at(start)

    def is_expired(self, start: int, event_time: int) -> bool:
        """Tell whether the window is expired at an event time (ms)."""
        return event_time >= self.expires_at(start)

    def oldest_countable(self, event_time: int) -> int:
        """Return the smallest event time (ms) whose window is not expired at `event_time` (ms)."""
        kept_from = event_time // MS - self.size - self.grace - self.retention
        return (kept_from - kept_from % self.size + self.size) * MS

    def oldest_open(self, event_time: int) -> int:
        """Return the start (s) of the oldest window that is open at `event_time` (ms)."""
        return self.start_of(max(0, event_time - self.grace * 1000))
