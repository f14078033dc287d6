"""Detectors that judge the counts of windows, and remember nothing.

A window with fewer attempts than the detector asks for says nothing by itself: the windows before
it are added to it, newest first, until there are enough, as far back as the detector allows. Any
open window that breaches is a breach; whether it is over is told by the newest one.
"""

from abc import abstractmethod
from collections.abc import Collection
from functools import reduce
from typing import Any, ClassVar, NamedTuple

from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.hits import NewCounts


class Stretches(NamedTuple):
    """What there is to judge.

    Attributes:
        enough: for each open window, newest first, its counts together with those before it that
            are needed; without those that have too few attempts even so.
        again_after: as in `Evaluation`.
    """

    enough: list[Stretch]
    again_after: int | None


class WindowDetector(Detector):
    """Judges the counts of windows.

    A subclass says how many attempts are enough, when counts breach, and when they are low.
    """

    hits_only: ClassVar[bool] = True

    @property
    @abstractmethod
    def least_attempts(self) -> int:
        """How many attempts are enough for counts to say anything."""

    @property
    @abstractmethod
    def least_hits(self) -> int:
        """With fewer hits no number of attempts is a breach."""

    @abstractmethod
    def is_breach(self, seen: Observation) -> bool:
        """Tell whether counts are a breach. Attempts without a hit make no breach of what is none.

        But for `least_attempts`: it may take attempts without a hit to have enough of them.
        """

    @abstractmethod
    def is_low(self, seen: Observation) -> bool:
        """Tell whether counts of the newest windows say that an alert is over."""

    @abstractmethod
    def figures(self, stretch: Stretch) -> Figures:
        """Return the evidence in the counts of windows."""

    def triggers(self, counts: NewCounts) -> Collection[str]:
        """Return the campaigns with new hits that have enough of them in recent windows."""
        return counts.with_hits(self.least_hits)

    def evaluate(self, history: ScopeHistory, state: Any = None) -> Evaluation:  # noqa: ARG002 - it has none
        """Judge the open windows of a scope, each with those before it that are needed."""
        enough, again_after = self.stretches(history)
        high = [each for each in enough if self.is_breach(each.seen)]
        breaches = [each for each in high if self._is_news(history, each)]
        # A producer whose clock is ahead has windows after the one that event time is in.
        of_now = [each for each in enough if each.last <= history.newest]
        current = next(iter(of_now or enough), None)
        recovered = self._recovered(history, current, breaches)
        return Evaluation(
            reason=_reason(history, current, high, breaches, recovered),
            breach=self.figures(breaches[0]) if breaches else None,
            current=self.figures(current) if current is not None else None,
            recovered=recovered,
            first=min(breaches, key=lambda each: each.start, default=None),
            highest=max(
                enough, key=lambda each: (each.seen.rate, each.seen.attempts), default=None
            ),
            again_after=again_after,
        )

    def stretches(self, history: ScopeHistory) -> Stretches:
        """Add up windows until there are enough attempts, from each open one back."""
        enough: list[Stretch] = []
        waits: list[int] = []
        least, notified = self.least_attempts, history.notified_through
        for last, alone in history.open.items():
            start, attempts, hits, without_oldest = last, alone.attempts, alone.hits, 0
            parts: list[Observation] = []
            if attempts < least:
                # The next alert has to have evidence of its own.
                oldest = max(notified + 1, last - (self.lookback - 1) * history.size)
                for before, more in history.before(last, oldest):
                    start, without_oldest = before, attempts
                    attempts, hits = attempts + more.attempts, hits + more.hits
                    parts.append(more)
                    if attempts >= least:
                        break
            if attempts >= least:
                enough.append(Stretch(start, last, reduce(Observation.plus, parts, alone)))
            if hits and last <= notified:
                waits.append(1)
            elif hits and attempts < least:
                waits.append(least - attempts)
            elif hits and start < last:
                waits.append(least - without_oldest)
        return Stretches(enough, min(waits, default=None))

    def _is_news(self, history: ScopeHistory, stretch: Stretch) -> bool:
        """Tell whether a breach is more than what an alert that has ended was about already."""
        notified = history.notified
        if notified is None or stretch.last > notified.through:
            return True
        was_closed = notified.since <= stretch.last <= notified.closed_through
        if was_closed and stretch.last not in notified.counted:
            # It was closed while the alert was live, and is open again as the settings changed.
            return False
        attempts, hits = notified.counted.get(stretch.last, (0, 0))
        since = Observation(stretch.seen.attempts - attempts, stretch.seen.hits - hits, {})
        return since.attempts >= self.least_attempts and self.is_breach(since)

    def _recovered(
        self, history: ScopeHistory, current: Stretch | None, breaches: list[Stretch]
    ) -> bool | None:
        if current is None or not history.has_new_attempts:
            return None
        has_new_hits = any(history.has_new_hits(each.last) for each in breaches)
        return self.is_low(current.seen) and not has_new_hits


def _reason(
    history: ScopeHistory,
    current: Stretch | None,
    high: list[Stretch],
    breaches: list[Stretch],
    recovered: bool | None,
) -> Reason:
    is_live = history.evaluated is not None
    if is_live and recovered:
        return Reason.RECOVERED
    if breaches:
        return Reason.BREACHING
    if current is None:
        return Reason.NOT_ENOUGH_ATTEMPTS
    if is_live:
        return Reason.NO_NEW_ATTEMPTS if recovered is None else Reason.ABOVE_RECOVERY_LEVEL
    return Reason.ALREADY_NOTIFIED if high else Reason.BELOW_LEVEL
