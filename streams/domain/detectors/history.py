"""What a detector is shown: the counts of one scope in the windows of its campaign."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple


class Observation(NamedTuple):
    """Counts of one scope: of `attempts` sends, `hits` had a status of the rule.

    `counts` has the attempts by status.
    """

    attempts: int
    hits: int
    counts: dict[str, int]

    @property
    def rate(self) -> float:
        """Share of hits; 0 without attempts."""
        return self.hits / self.attempts if self.attempts else 0.0

    def plus(self, other: "Observation") -> "Observation":
        """Return both together."""
        counts = dict(self.counts)
        for status, count in other.counts.items():
            counts[status] = counts.get(status, 0) + count
        return Observation(self.attempts + other.attempts, self.hits + other.hits, counts)


class Stretch(NamedTuple):
    """Counts of windows in a row, together: the first begins at `start`, the last at `last` (s)."""

    start: int
    last: int
    seen: Observation


class Notified(NamedTuple):
    """What an alert that has ended was about: no evidence for the next alert of its scope.

    Attributes:
        since: start (s) of the first window that breached.
        through: start (s) of the newest window that breached.
        closed_through: start (s) of the newest window that was closed when the alert ended.
        counted: attempts and hits in the windows that were open then, by start (s).
    """

    since: int
    through: int
    closed_through: int
    counted: Mapping[int, tuple[int, int]]


class Closing(NamedTuple):
    """How far event time has closed windows.

    Attributes:
        through: start (s) of the newest window that it has closed, whether that has counts or not.
        observed: starts (s) of the windows that event time was in, as far back as the lookback of
            any detector that is evaluated on closing. Over others it jumped: the whole stream
            stood still.
        is_new: whether windows were closed since the campaign was evaluated on closing.
    """

    through: int
    observed: Collection[int]
    is_new: bool


class ScopeHistory(NamedTuple):
    """What the windows of a campaign say of one scope.

    Attributes:
        open: counts in each open window with any attempts, by its start (s), newest first.
        closed: reads the counts in closed windows with any attempts, with their starts (s), newest
            first, as far back as `lookback_windows` of any rule. Only what is taken is read.
        newest: start (s) of the window that event time is in. Windows after that, of a producer
            whose clock is ahead, do not say that anything is over.
        size: of a window (s).
        evaluated: attempts and hits in each open window at the last evaluation, by its start (s);
            null without a live alert.
        notified: what the newest alert that has ended was about; null without one.
        closing: how far windows are closed; null for a detector that is not evaluated on closing.
    """

    open: Mapping[int, Observation]
    closed: Callable[[], Iterator[tuple[int, Observation]]]
    newest: int
    size: int
    evaluated: Mapping[int, tuple[int, int]] | None
    notified: Notified | None
    closing: Closing | None = None

    @property
    def is_live(self) -> bool:
        """Whether the scope has a live alert."""
        return self.evaluated is not None

    @property
    def notified_through(self) -> int:
        """Start (s) of the newest window that an alert which has ended was about; -1 if none."""
        return self.notified.through if self.notified is not None else -1

    @property
    def has_new_attempts(self) -> bool:
        """Whether there are attempts in open windows that were not there at the last evaluation."""
        return any(self.has_more_attempts(start) for start in self.open)

    @property
    def has_new_closing(self) -> bool:
        """Whether windows were closed since the last evaluation on closing."""
        return self.closing is not None and self.closing.is_new

    def has_new_hits(self, start: int) -> bool:
        """Tell whether an open window has hits that were not there at the last evaluation."""
        return self.open[start].hits > self._evaluated(start)[1]

    def has_more_attempts(self, start: int) -> bool:
        """Tell whether an open window has attempts that were not there at the last evaluation."""
        return self.open[start].attempts > self._evaluated(start)[0]

    def before(self, last: int, oldest: int) -> Iterator[tuple[int, Observation]]:
        """Yield the windows before `last` and not before `oldest` (starts, s), newest first."""
        for start, seen in self.open.items():
            if oldest <= start < last:
                yield start, seen
        for start, seen in self.closed():
            if start < oldest:
                return
            yield start, seen

    def _evaluated(self, start: int) -> tuple[int, int]:
        return (self.evaluated or {}).get(start, (0, 0))
