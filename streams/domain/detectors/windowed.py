"""Detectors that judge the counts of windows, and remember nothing.

Each open window is judged together with windows before it: by itself first, then one more at a
time, as far back as the detector allows. Any open window that breaches is a breach; whether it is
over is told by the newest one.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial, reduce
from typing import Any, ClassVar, NamedTuple

from streams.domain.detectors.accounts import (
    MOST_HITS_MISSING,
    Account,
    Level,
    Requirement,
    WindowSeen,
    fewest,
)
from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.hits import NewCounts


class Judgement(NamedTuple):
    """What an open window says, together with those before it.

    Attributes:
        breach: the fewest windows up to this one that are a breach together; null if none are.
        enough: the fewest of them that can tell whether an alert is over; null if none can.
        again_after: as in `Evaluation`.
        hits_left: as in `Evaluation`.
        others: figures of the breach, beside those that `WindowDetector.figures` gives.
    """

    breach: Stretch | None
    enough: Stretch | None
    again_after: int | None
    hits_left: int | None = None
    others: Mapping[str, float] = {}


class WindowDetector(Detector):
    """Judges the counts of windows.

    A subclass says how many attempts are enough, when counts breach, and when they are low.
    """

    hits_only: ClassVar[bool] = True

    @property
    @abstractmethod
    def least_attempts(self) -> int:
        """How many attempts are enough for counts to be a breach."""

    @property
    def attempts_to_recover(self) -> int:
        """How many attempts are enough to tell whether an alert is over."""
        return self.least_attempts

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
        """Tell whether counts of the newest windows say that an alert is over.

        What was before windows that are low together is no part of a breach.
        """

    @abstractmethod
    def figures(self, stretch: Stretch) -> Figures:
        """Return the evidence in the counts of windows."""

    def missing_hits(self, attempts: int, hits: int) -> int:
        """Return a number of hits, such that fewer more of them make no breach of counts.

        0 if they are a breach; or if attempts that are no hits can make them one, as there are
        fewer than `least_attempts`.
        """
        if attempts < self.least_attempts:
            return max(0, self.least_hits - hits)
        return 0 if self.is_breach(Observation(attempts, hits, {})) else 1

    def hits_to_rise(self, seen: Observation) -> int:  # noqa: ARG002 - one may be enough
        """Return a number of hits, such that counts that are low remain so with fewer more."""
        return 1

    def triggers(self, counts: NewCounts) -> Collection[str]:
        """Return the campaigns with new hits that have enough of them in recent windows."""
        return counts.with_hits(self.least_hits)

    def evaluate(self, history: ScopeHistory, state: Any = None) -> Evaluation:  # noqa: ARG002 - it has none
        """Judge the open windows of a scope, each with those before it that are needed."""
        judged = {last: self.judge(history, last) for last in history.open}
        high = [each.breach for each in judged.values() if each.breach is not None]
        enough = [each.enough for each in judged.values() if each.enough is not None]
        breaches = [each for each in high if self._is_news(history, each)]
        # A producer whose clock is ahead has windows after the one that event time is in.
        of_now = [each for each in enough if each.last <= history.newest]
        current = next(iter(of_now or enough), None)
        recovered = self._recovered(history, current, breaches)
        waits = [each.again_after for each in judged.values() if each.again_after is not None]
        # Figures cost more than the decision does, so there are none that nobody is shown.
        is_shown = history.is_live and (recovered or not breaches)
        return Evaluation(
            reason=_reason(history, current, high, breaches, recovered),
            breach=self._figures(breaches[0], judged) if breaches else None,
            current=self.figures(current) if current and is_shown else None,
            recovered=recovered,
            first=min(breaches, key=lambda each: each.start, default=None),
            highest=max(
                enough, key=lambda each: (each.seen.rate, each.seen.attempts), default=None
            ),
            again_after=min(waits, default=None),
            hits_left=self._hits_left(history, judged.values()),
        )

    def _hits_left(self, history: ScopeHistory, judged: Collection[Judgement]) -> int | None:
        """Return the fewest that any open window may lack; null if that may change by itself.

        Windows later than this one are judged together with those that are here, so they lack as
        many. With an alert about them that has ended, there is more to a breach than counts.
        """
        oldest = min(history.open, default=0) - (self.lookback - 1) * history.size
        if history.is_live or history.notified_through >= oldest:
            return None
        left = [each.hits_left for each in judged if each.hits_left is not None]
        return min(left) if left and len(left) == len(judged) else None

    def _figures(self, breach: Stretch, judged: Mapping[int, Judgement]) -> Figures:
        figures = self.figures(breach)
        return figures._replace(others={**figures.others, **judged[breach.last].others})

    def judge(self, history: ScopeHistory, last: int) -> Judgement:
        """Judge the open window that begins at `last` (s), with those before it."""
        breach = enough = again_after = None
        hits_left = self.least_hits
        least, to_recover = self.least_attempts, self.attempts_to_recover
        parts: list[Observation] = []
        attempts = hits = 0
        for start, part in self.windows(history, last):
            parts.append(part)
            attempts, hits = attempts + part.attempts, hits + part.hits
            if breach is None:
                missing = self.missing_hits(attempts, hits)
                if missing:
                    hits_left = min(hits_left, missing)
                elif attempts < least:
                    again_after = least - attempts
                else:
                    breach = together(start, last, parts)
            if attempts >= to_recover:
                enough = enough or together(start, last, parts)
                if breach is not None:
                    break
                seen = Observation(attempts, hits, {})
                if self.is_low(seen):
                    hits_left = min(hits_left, self.hits_to_rise(seen))
                    break
        if last <= history.notified_through and history.open[last].hits:
            again_after = 1
        return Judgement(breach, enough, again_after, None if breach else hits_left)

    def windows(self, history: ScopeHistory, last: int) -> Iterator[tuple[int, Observation]]:
        """Yield the window `last` (s), and those before it, newest first."""
        yield last, history.open[last]
        # The next alert has to have evidence of its own.
        oldest = max(history.notified_through + 1, last - (self.lookback - 1) * history.size)
        if oldest < last:
            yield from history.before(last, oldest)

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

    # Asked

    @abstractmethod
    def requirements(self, history: ScopeHistory, last: int) -> tuple[Requirement, ...]:
        """Return what has to hold of the open window `last` (s), with those before it."""

    def account(self, history: ScopeHistory, state: Any = None) -> Account:  # noqa: ARG002 - it has none
        """Say how the newest open window stands, together with those before it."""
        of_now = [start for start in history.open if start <= history.newest]
        last = next(iter(of_now or history.open), None)
        if last is None:
            return Account(0, 0, None, notes=("no open window has any attempts",))
        judged = self.judge(history, last)
        seen = history.open[last]
        shown = judged.breach or Stretch(last, last, seen)
        notes: tuple[str, ...] = ()
        if last <= history.notified_through:
            notes = ("an alert that has ended was about this window: it takes new evidence",)
        return Account(
            shown.seen.attempts,
            shown.seen.hits,
            1_000 * shown.start,
            requirements=self.requirements(history, last),
            hits_missing=self._hits_missing(history, last),
            figures=self.figures(shown).others,
            notes=notes,
        )

    def _hits_missing(self, history: ScopeHistory, last: int) -> int | None:
        """Return how many more hits in the open window `last` (s) would be news of a breach."""
        seen = history.open[last]

        def is_breach(more: int) -> bool:
            raised = Observation(seen.attempts + more, seen.hits + more, seen.counts)
            new = history._replace(open={**history.open, last: raised})
            breach = self.judge(new, last).breach
            return breach is not None and self._is_news(new, breach)

        return fewest(is_breach, 0, MOST_HITS_MISSING)

    def levels(
        self,
        windows: Iterable[WindowSeen],
        size: int,  # noqa: ARG002 - each window is by itself
        now: Account | None,  # noqa: ARG002 - nothing is learned
    ) -> Iterator[Level]:
        """Yield for each window the share that would be a breach by itself."""
        guess = 0.0
        for start, attempts, _, _ in windows:
            least = fewest(partial(self._breaches, attempts), round(guess * attempts), attempts)
            rate = least / attempts if least is not None and attempts else None
            guess = guess if rate is None else rate
            yield Level(start, None, 0.0, self.limit_rate, rate)

    @property
    def limit_rate(self) -> float | None:
        """The share of hits that has to be exceeded; null if it is not a matter of the share."""
        return None

    def _breaches(self, attempts: int, hits: int) -> bool:
        return attempts >= self.least_attempts and self.is_breach(Observation(attempts, hits, {}))


def together(start: int, last: int, parts: Iterable[Observation]) -> Stretch:
    """Return the counts of windows from `start` to `last` (s) together."""
    return Stretch(start, last, reduce(Observation.plus, parts))


def _reason(
    history: ScopeHistory,
    current: Stretch | None,
    high: list[Stretch],
    breaches: list[Stretch],
    recovered: bool | None,
) -> Reason:
    is_live = history.is_live
    if is_live and recovered:
        return Reason.RECOVERED
    if breaches:
        return Reason.BREACHING
    if current is None:
        return Reason.NOT_ENOUGH_ATTEMPTS
    if is_live:
        return Reason.NO_NEW_ATTEMPTS if recovered is None else Reason.ABOVE_RECOVERY_LEVEL
    return Reason.ALREADY_NOTIFIED if high else Reason.BELOW_LEVEL
