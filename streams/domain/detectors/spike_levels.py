"""What `spike` compares the windows of one scope with: worked out again from their counts.

A live scope learns from the same windows, and also knows what came within them: of an excursion,
here, whole windows are all that there is.
"""

from collections.abc import Iterable, Iterator

from streams.domain.detectors import wilson
from streams.domain.detectors.accounts import Level, WindowSeen, fewest
from streams.domain.detectors.baseline import NEWCOMER_ATTEMPTS, NEWCOMER_LIMIT, Rise
from streams.domain.detectors.excursions import CONFIDENCE, Judge
from streams.domain.detectors.one_baseline import OneBaseline
from streams.domain.detectors.spike_learning import (
    DOUBTFUL,
    DOUBTFUL_IF_MOST_FAIL,
    LEAST_LEARNED,
    MOST_SKIPPED,
    MOST_WAITING,
    SURE_CONFIDENCE,
    SURE_EVIDENCE,
)
from streams.domain.detectors.spike_table import SURE_BASELINE, Settings


def levels(
    settings: Settings, windows: Iterable[WindowSeen], needed: float | None
) -> Iterator[Level]:
    """Yield for each window the usual rate before it, and the rate at which it would fire.

    Args:
        settings: what operators set.
        windows: those with attempts, oldest first.
        needed: evidence that it takes (nats); null for the least that there is.
    """
    learner = _Learner(settings)
    enough = max(settings.sensitivity, needed or 0.0)
    guess = 0.0
    for window in windows:
        judge = learner.judge()
        rate = _firing_rate(judge, window.attempts, enough, guess)
        guess = guess if rate is None else rate
        learned = learner.learned
        yield Level(window.start, learned.rate, learned.known, judge.found.limit, rate)
        learner.add(window)


def _firing_rate(judge: Judge, attempts: int, needed: float, guess: float) -> float | None:
    """Return the least share of the attempts of a window that fires by itself; null if none does.

    That is, if they are spread over all of it: then neither patience nor a clump is in the way.
    """

    def fires(hits: int) -> bool:
        lowest = wilson.lower_bound(hits, attempts, CONFIDENCE)
        return lowest > judge.found.limit and judge.above.exceeds(attempts, hits, needed)

    least = fewest(fires, round((guess or judge.found.limit) * attempts), attempts)
    return least / attempts if least is not None and attempts else None


class _Learner:
    """Learns the windows of one scope as `SpikeStates.learn` does.

    Attributes:
        learned: what is usual.
    """

    def __init__(self, settings: Settings) -> None:
        self.learned = OneBaseline()
        self._settings = settings
        self._skipped = 0
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        self._attempts = self._hits = self._pairs = self._windows = 0
        self._is_doubtful = False

    @property
    def _is_newcomer(self) -> bool:
        return self.learned.known < NEWCOMER_ATTEMPTS

    def judge(self) -> Judge:
        """Return what the next window is judged by."""
        rise = self._settings.rise
        return self._judge(rise.of_newcomers if self._is_newcomer else rise)

    def _judge(self, rise: Rise) -> Judge:
        return Judge(self.learned.rate, self.learned.weight, rise)

    def add(self, window: WindowSeen) -> None:
        """Learn a window, or keep it for the next ones."""
        self._attempts += window.attempts
        self._hits += window.hits
        self._pairs += window.attempts * (window.attempts - 1)
        self._windows += 1
        self._is_doubtful |= window.has_fired
        if self._attempts < LEAST_LEARNED and self._windows < MOST_WAITING:
            return
        if self._attempts and (not self._may_be_incident() or self._skipped >= MOST_SKIPPED):
            pairs = self._attempts * (self._attempts - 1)
            together = self._pairs / pairs if pairs else 1.0
            self.learned.learn(self._attempts, self._hits, together)
            self._skipped = 0
        else:
            self._skipped += 1
        self._begin_waiting()

    def _may_be_incident(self) -> bool:
        """Tell whether the windows that wait are not to be learned."""
        attempts, hits, known = self._attempts, self._hits, self.learned.known
        lowest = wilson.lower_bound(hits, attempts, SURE_CONFIDENCE)
        if self._is_doubtful or (known < SURE_BASELINE and lowest > NEWCOMER_LIMIT):
            return True
        judge = self._judge(self._settings.rise)
        if known >= SURE_BASELINE and lowest > judge.found.limit:
            return judge.above.exceeds(attempts, hits, SURE_EVIDENCE)
        if self._is_newcomer and hits <= NEWCOMER_LIMIT * attempts:
            return False
        share = DOUBTFUL_IF_MOST_FAIL if 2 * hits > attempts else DOUBTFUL
        return self.judge().above.exceeds(attempts, hits, share * self._settings.sensitivity)
