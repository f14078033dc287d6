"""Detectors that fold: what they know of a scope follows from partial counts, record by record.

Other detectors are shown windows when rules are evaluated. A folding detector is given the counts
of each record of the repartition topic that has any to say, and those of each window when it
closes. So its states are a function of the log alone, whenever rules are evaluated, and whatever
is restarted: `streams.domain.folds` drives it, and writes the states down.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors.accounts import Account
from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.hits import NewCounts
from streams.domain.pools import Pooled

Integers: TypeAlias = NDArray[np.int64]


class Height(NamedTuple):
    """Attempts and hits since an excursion began, up to a record (event times, ms)."""

    attempts: int
    hits: int
    since: int
    last: int


class FoldFigures(NamedTuple):
    """The evidence in an excursion: counts that a folding detector has added up.

    Attributes:
        since: event time (ms) at which the excursion began.
        last: event time (ms) of the newest counts.
        attempts: since then.
        hits: since then.
        lower_bound: of the rate; null for a detector that has no such bound.
        baseline_rate: the usual rate, 0 to 1; null for a detector that knows none.
        others: any other figures from which the decision can be worked out again, by name.
        highest: when the rate was highest; null for a detector that does not look at that.
    """

    since: int
    last: int
    attempts: int
    hits: int
    lower_bound: float | None = None
    baseline_rate: float | None = None
    others: Mapping[str, float] = {}
    highest: Height | None = None


class Increment(NamedTuple):
    """Counts that one record adds to a scope.

    Attributes:
        at: event time (ms): the newest of the log so far.
        attempts: above 0.
        hits: of these.
        before: attempts without hits since the last record with any; 0 while a breach goes on.
        so_far: reads, for a place, attempts and hits in the newest window that they are in, these
            included. It costs some microseconds.
    """

    at: int
    attempts: int
    hits: int
    before: int
    so_far: Callable[[int], tuple[int, int]]


class Series(NamedTuple):
    """Counts that records in a row add to scopes, one of each array for a record and scope.

    Rows of one scope follow one another, in the order of records. No window closes meanwhile.

    Attributes:
        first_rows: of each scope.
        places: of the scopes.
        times: event time (ms), `at` of `Increment`.
        attempts: above 0.
        hits: of these; above 0 unless a breach goes on.
        before: as `Increment` has it.
        so_far: reads, for a row, what that of `Increment` does.
    """

    first_rows: Integers
    places: Integers
    times: Integers
    attempts: Integers
    hits: Integers
    before: Integers
    so_far: Callable[[int], tuple[int, int]]

    def at(self, rows: Integers) -> "Series":
        """Return some of the rows, each as if it was of a scope of its own."""
        return Series(
            np.arange(len(rows)),
            self.places[rows],
            self.times[rows],
            self.attempts[rows],
            self.hits[rows],
            self.before[rows],
            lambda row: self.so_far(rows.item(row)),
        )

    def increment(self, row: int) -> Increment:
        """Return one row."""
        return Increment(
            self.times.item(row),
            self.attempts.item(row),
            self.hits.item(row),
            self.before.item(row),
            lambda _: self.so_far(row),
        )


class Prepared(NamedTuple):
    """What counts would do to scopes.

    Attributes:
        others: first rows of the scopes to which it would do more than `apply` can: `add` is called
            for each of their rows. So it is where a breach begins or ends, or nothing is easier
            together.
        apply: does it, but to these; nothing else may have been done meanwhile.
    """

    others: list[int]
    apply: Callable[[], None]


def _nothing() -> None:
    pass


class ClosedWindow(NamedTuple):
    """The counts of a window that closes, one of each array for a scope.

    Attributes:
        start: of the window (s).
        places: of the scopes; each is there once.
        attempts: above 0.
        hits: of these.
        unseen: attempts without hits, in this window and closed ones, since the last record with
            any; there may be more of them in open windows.
    """

    start: int
    places: Integers
    attempts: Integers
    hits: Integers
    unseen: Integers

    def at(self, which: Integers | slice) -> Self:
        """Return the counts of those scopes alone that are at these positions."""
        columns = (column[which] for column in self[1:])
        return type(self)(self.start, *columns)


class Turn(NamedTuple):
    """A breach that begins or ends with counts just added, and the evidence at that moment."""

    begins: bool
    figures: FoldFigures


class Folded(NamedTuple):
    """What evaluations see of the fold of one scope: its evidence, and whether a breach goes on."""

    figures: FoldFigures
    is_breaching: bool


class Pending(NamedTuple):
    """What there is of a scope that no record has made its detector look at yet.

    Attributes:
        at: event time (ms): the newest of the log.
        unseen: attempts without hits since the last record with any.
        so_far: attempts and hits in the newest window.
        interval: between two attempts, at the present pace (ms).
        hold: as `ScopeStates.add` is given it (s).
    """

    at: int
    unseen: int
    so_far: tuple[int, int]
    interval: int
    hold: float


class ScopeStates(ABC):
    """What a folding detector knows of the scopes of one rule in one partition.

    Each scope has a place, a number from 0 on. Each method depends on what was called before and on
    its arguments alone. One that raises has changed nothing.
    """

    @abstractmethod
    def begin(self, places: Integers, pooled: Pooled) -> None:
        """Make the states at some places those of scopes of which nothing is known.

        Args:
            places: of scopes of one app; they may have been those of others.
            pooled: what the scopes of that app have learned, and all scopes.
        """

    @abstractmethod
    def add(self, place: int, new: Increment, hold: float) -> Sequence[Turn]:
        """Add counts of one record; tell which breaches begin or end with it, in order.

        It is called for each record with hits and, while a breach goes on, with attempts. Never do
        two breaches begin without the end of the first.

        Args:
            place: of the scope.
            new: the counts.
            hold: for how long (s of event time) there has to be no reason for a breach any more
                before it ends.
        """

    def prepare(self, series: Series, hold: float) -> Prepared:  # noqa: ARG002 - nothing is easier together
        """Work out what `add` would do with counts of many scopes and records, and change nothing.

        Args:
            series: the counts.
            hold: as `add` is given it.
        """
        return Prepared(series.first_rows.tolist(), _nothing)

    @abstractmethod
    def learn(self, window: ClosedWindow) -> Integers | None:
        """Learn the counts of a window that has closed, after all of them were added.

        Returns:
            What to add to the sums of each scope's app, a row of `pooled_sums` numbers for each
            scope; null for nothing.
        """

    @abstractmethod
    def figures(self, place: int) -> FoldFigures:
        """Return the evidence in the present excursion; without one, in no counts."""

    def usual_rate(self, place: int) -> float | None:
        """Return the usual rate of a scope; null if it is not known."""
        return self.figures(place).baseline_rate

    @abstractmethod
    def write(self, places: Sequence[int]) -> bytes:
        """Return the states at some places, to be written down."""

    @abstractmethod
    def read(self, places: Sequence[int], written: bytes) -> None:
        """Take the states that `write` returned.

        Raises:
            ValueError: if they are no states of as many scopes.
        """


class FoldingDetector(Detector):
    """Decides on counts as they come, and learns from closed windows."""

    hits_only: ClassVar[bool] = True
    """Attempts without hits are given to it with the next hits (`Increment.before`), or when their
    window closes; but for those while a breach goes on."""
    state_lifetime: ClassVar[float] = 30 * 86_400.0
    """After so many seconds of event time without attempts, the state of a scope is forgotten."""
    pooled_sums: ClassVar[int] = 0
    """How many sums are kept of what the scopes of an app have learned."""

    @property
    def lookback(self) -> int:
        """No closed windows are read."""
        return 1

    @abstractmethod
    def new_states(self) -> ScopeStates:
        """Return what is known of the scopes of a rule in a partition: nothing yet."""

    def account_of(self, states: ScopeStates, place: int, pending: Pending) -> Account:  # noqa: ARG002 - some need it
        """Say in figures why a scope breaches, or why not; nothing is changed.

        Args:
            states: of the scopes of the rule.
            place: of the scope.
            pending: what was not added yet.
        """
        figures = states.figures(place)
        since = figures.since if figures.attempts else None
        counts = figures.attempts, figures.hits, since
        return Account(*counts, figures.baseline_rate, figures=figures.others)

    def triggers(self, counts: NewCounts) -> Collection[str]:  # noqa: ARG002 - it is not asked
        """Return no campaigns: they are evaluated when a breach begins or ends."""
        return ()

    def evaluate(self, history: ScopeHistory, state: Any) -> Evaluation:
        """Show what the fold has come to; the decision was made there."""
        if not isinstance(state, Folded):
            return Evaluation(Reason.NOT_ENOUGH_ATTEMPTS, None, None, True)
        figures = shown(state.figures, history)
        if not state.is_breaching:
            return Evaluation(Reason.BELOW_LEVEL, None, figures, True)
        highest = highest_of(state.figures, history.size) or figures.stretch
        return Evaluation(Reason.BREACHING, figures, figures, False, highest=highest)


def shown(figures: FoldFigures, history: ScopeHistory) -> Figures:
    """Return the evidence as alerts have it; its counts by status are those of open windows."""
    start, last = (_window_of(at, history.size) for at in (figures.since, figures.last))
    counts: dict[str, int] = {}
    for at, seen in history.open.items():
        if at >= start:
            for status, count in seen.counts.items():
                counts[status] = counts.get(status, 0) + count
    return Figures(
        Stretch(start, last, Observation(figures.attempts, figures.hits, counts)),
        figures.lower_bound,
        figures.baseline_rate,
        figures.others,
        figures.since,
    )


def highest_of(figures: FoldFigures, size: int) -> Stretch | None:
    """Return the windows, `size` s long, up to where the rate was highest; null if not known."""
    if figures.highest is None:
        return None
    attempts, hits, since, last = figures.highest
    seen = Observation(attempts, hits, {})
    return Stretch(_window_of(since, size), _window_of(last, size), seen)


def _window_of(time: int, size: int) -> int:
    """Return the start (s) of the window, `size` s long, that an event time (ms) is in."""
    seconds = time // 1000
    return seconds - seconds % size
