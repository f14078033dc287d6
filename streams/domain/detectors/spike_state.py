"""What `spike` remembers of a scope, and how each record of counts changes it.

The state is a fold over records of partial counts, in the order of the repartition topic: it
depends on them and on the settings alone. Evidence rises with hits only, so a scope is looked at
when it has new ones.

- An excursion begins with a hit, and is over when nothing is left of its evidence. It consists of
  stretches: the evidence of a stretch that grew long or strong is kept as a number, and the next
  one is judged by what has been learned until then.
- The slow path adds up the evidence of whole windows, for a rate that rose a little, and stays.
- A firing state is over when both have had nothing to say for a while.
"""

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from streams.domain.detectors.baseline import DECIMALS, Baseline, Hypotheses, Rise, times_odds
from streams.domain.detectors.evidence import AboveLimit, Shifted
from streams.domain.detectors.threshold import wilson_lower_bound

Path: TypeAlias = Literal["fast", "slow"]

GAP = 900.0
"""Seconds without attempts that end an excursion."""
LONG_STRETCH = 60.0
"""Seconds after which a stretch ends."""
LEAST_OF_STRETCH = 10
"""Attempts that a long stretch needs to end."""
SLOW_EXTRA = 2.0
"""Nats that the slow path needs beyond the fast one."""
SLOW_EASE = 3.0
"""Nats below what it needs at which the slow path has nothing to say any more."""
SLOW_WINDOWS = 3
"""Windows before the open one that the slow path needs."""
SLOW_ODDS = 1.5
"""Times the odds of the limit are those of the slow path's alternative."""
CONFIDENCE = 0.95
"""Of the lower bound of the rate, which has to be above the limit."""
RESOLVE_AFTER = 30.0
"""Seconds without evidence after which a firing state is over."""
MOST_SKIPPED = 300
"""Windows in a row that are not learned; then what was an excursion becomes what is usual."""
DOUBTFUL, DOUBTFUL_IF_MOST_FAIL = 0.7, 0.5
"""Shares of the evidence needed: with as much of it nothing is learned."""
SURE_BASELINE = 200.0
"""Independent attempts: a baseline of so many does not learn windows that are clearly above L."""
SURE_CONFIDENCE = 0.99
"""Of the lower bound of the rate that says so."""
MODELS = 4_096
"""Hypotheses that are kept worked out; they change with each window of each scope."""


class Settings(NamedTuple):
    """What operators set.

    Attributes:
        sensitivity: nats of evidence that it takes, c: once in e^c starts it comes by chance.
        rise: from which rate on it is worth an alert.
        patience: seconds that an excursion has to last,
        lost: or seconds of sends that it has to cost beyond what is usual.
    """

    sensitivity: float = 10.0
    rise: Rise = Rise()
    patience: float = 45.0
    lost: float = 8.0


class Excursion(Struct, array_like=True, gc=False):
    """A time in which the rate may have risen. Times are those of records, in s (UTC).

    Attributes:
        since: when it began.
        last: time of the newest record with attempts.
        attempts: since it began.
        hits: of these.
        evidence: of stretches before the present one, in nats.
        stretch_since: when the present stretch began.
        stretch_attempts: since then.
        stretch_hits: of these.
        rate: the usual rate m by which the stretch is judged.
        weight: of its null, a + b.
    """

    since: float
    last: float
    attempts: int
    hits: int
    evidence: float
    stretch_since: float
    stretch_attempts: int
    stretch_hits: int
    rate: float
    weight: float


class Slow(Struct, array_like=True, gc=False):
    """Windows in a row that together speak for a rate that has risen.

    Attributes:
        since: start (s) of the first of them.
        evidence: in nats.
        windows: how many.
        attempts: in them.
        hits: of these.
    """

    since: float
    evidence: float
    windows: int
    attempts: int
    hits: int


class Firing(Struct, array_like=True, gc=False):
    """What crossed the line, until it is over.

    Attributes:
        at: time (s) of the record that did.
        path: which evidence.
        since: when the excursion began (s).
        low_since: since when (s) there is no evidence; null while there is.
    """

    at: float
    path: Path
    since: float
    low_since: float | None = None


class SpikeState(Struct, array_like=True, gc=False):
    """What is remembered of one scope.

    Attributes:
        baseline: what is usual.
        skipped: windows in a row that were not learned.
        excursion: null if there is none.
        slow: null if there is no evidence in windows before.
        firing: null if the line is not crossed.
    """

    baseline: Baseline
    skipped: int = 0
    excursion: Excursion | None = None
    slow: Slow | None = None
    firing: Firing | None = None


class SpikeFigures(NamedTuple):
    """Why an excursion is one, in figures from which its evidence can be worked out again.

    Attributes:
        since: when it began (s, UTC).
        attempts: since then.
        hits: of these.
        lower_bound: of the rate since then, Wilson's, one-sided with `CONFIDENCE`.
        usual_rate: m.
        null_weight: a + b: two attempts are correlated by 1 / (a + b + 1).
        tolerated_rate: m0.
        limit: L.
        evidence_before: of stretches before the present one, in nats.
        stretch_attempts: of the present stretch.
        stretch_hits: of these.
        evidence: all of it: `evidence_before` and ln E of the present stretch.
        needed: evidence that it takes.
        lost_seconds: seconds' worth of sends that it cost beyond what is usual.
    """

    since: float
    attempts: int
    hits: int
    lower_bound: float
    usual_rate: float
    null_weight: float
    tolerated_rate: float
    limit: float
    evidence_before: float
    stretch_attempts: int
    stretch_hits: int
    evidence: float
    needed: float
    lost_seconds: float


pack = msgspec.msgpack.Encoder().encode
"""Write a state as bytes: so it is kept, as objects take three times as much."""
unpack = msgspec.msgpack.Decoder(SpikeState).decode
"""Read a state from bytes."""


class WindowCounts(NamedTuple):
    """Attempts and hits of a scope in one window that begins at `start` (s)."""

    start: float
    attempts: int
    hits: int


class Fold:
    """Changes states by counts.

    Args:
        settings: what operators set.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.slow_need = settings.sensitivity + SLOW_EXTRA
        self._need = settings.sensitivity
        self._above = lru_cache(maxsize=MODELS)(self._make_above)

    def add(
        self, state: SpikeState, attempts: int, hits: int, now: float, window: WindowCounts
    ) -> None:
        """Add the counts of one record. Without hits it matters to an excursion and to a firing.

        Args:
            state: of the scope; it is changed.
            attempts: in the record.
            hits: of these.
            now: time of the record (s, UTC).
            window: the counts of the record's window, those of the record included.
        """
        excursion = state.excursion
        if excursion is not None and now - excursion.last > GAP:
            excursion = None
        if hits:
            if excursion is not None:
                excursion = self._go_on(excursion, state.baseline, now)
            if excursion is None:
                excursion = _begin(state.baseline, now)
        state.excursion = excursion
        if excursion is not None:
            excursion.last = max(excursion.last, now)
            excursion.attempts += attempts
            excursion.hits += hits
            excursion.stretch_attempts += attempts
            excursion.stretch_hits += hits
        if state.firing is not None:
            self._recover(state, state.firing, now)
        elif hits:
            state.firing = self._crossed(state, now, window)

    def _go_on(self, excursion: Excursion, baseline: Baseline, now: float) -> Excursion | None:
        """Look at an excursion as it is before new hits; return null if it was over."""
        n, k = excursion.stretch_attempts, excursion.stretch_hits
        above, before = self._above(excursion.rate, excursion.weight), excursion.evidence
        if not above.exceeds(n, k, -before):
            return None
        if n >= LEAST_OF_STRETCH and now - excursion.stretch_since >= LONG_STRETCH:
            evidence = min(self._need, before + above.log_ratio(n, k))
        elif above.exceeds(n, k, self._need - before):
            evidence = self._need
        else:
            return excursion
        excursion.evidence = round(evidence, DECIMALS)
        excursion.stretch_since = now
        excursion.stretch_attempts = excursion.stretch_hits = 0
        excursion.rate, excursion.weight = _frozen(baseline)
        return excursion

    def _crossed(self, state: SpikeState, now: float, window: WindowCounts) -> Firing | None:
        """Tell whether new hits made evidence cross the line."""
        excursion, slow = state.excursion, state.slow
        if excursion is not None and self._is_sure(excursion):
            limit = self._above(excursion.rate, excursion.weight).limit
            lowest = wilson_lower_bound(excursion.hits, excursion.attempts, CONFIDENCE)
            if lowest > limit and self._is_worth_it(excursion, now):
                return Firing(now, "fast", excursion.since)
        if slow is not None and slow.windows >= SLOW_WINDOWS:
            found = self.hypotheses(*_frozen(state.baseline))
            more = self._shifted(found).log_ratio(window.attempts, window.hits)
            seen = slow.attempts + window.attempts, slow.hits + window.hits
            if (
                more > 0
                and slow.evidence + more >= self.slow_need
                and wilson_lower_bound(seen[1], seen[0], CONFIDENCE) > found.limit
            ):
                return Firing(now, "slow", slow.since)
        return None

    def _is_sure(self, excursion: Excursion) -> bool:
        return self.evidence_exceeds(excursion, self._need)

    def evidence_exceeds(self, excursion: Excursion, level: float) -> bool:
        """Tell whether the evidence of an excursion is above a level (nats)."""
        above = self._above(excursion.rate, excursion.weight)
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return above.exceeds(*seen, level - excursion.evidence)

    def _is_worth_it(self, excursion: Excursion, now: float) -> bool:
        """Tell whether an excursion lasted, or cost, enough for a person to hear of it."""
        age = now - excursion.since
        return age >= self.settings.patience or lost_seconds(excursion, now) >= self.settings.lost

    def _recover(self, state: SpikeState, firing: Firing, now: float) -> None:
        """Take note that there is no evidence any more, and end a firing state after a while."""
        excursion, slow = state.excursion, state.slow
        if excursion is not None and not self.evidence_exceeds(excursion, 0.0):
            excursion = state.excursion = None
        if excursion is not None or (
            slow is not None and slow.evidence > self.slow_need - SLOW_EASE
        ):
            firing.low_since = None
        elif firing.low_since is None:
            firing.low_since = now
        elif now - firing.low_since >= RESOLVE_AFTER:
            state.firing = None

    def close(self, state: SpikeState, window: WindowCounts) -> None:
        """Learn a window that has closed, by the counts that it closed with."""
        if not window.attempts:
            return
        state.slow = self._slow_after(state, window)
        if self._is_doubtful(state, window):
            if state.skipped < MOST_SKIPPED:
                state.skipped += 1
                return
        else:
            state.skipped = 0
        state.baseline.learn(window.attempts, window.hits, spread=state.firing is None)

    def _slow_after(self, state: SpikeState, window: WindowCounts) -> Slow | None:
        """Return what windows in a row say, this one included."""
        before = state.slow
        if before is None and not window.hits:
            return None
        found = self.hypotheses(*_frozen(state.baseline))
        evidence = self._shifted(found).log_ratio(window.attempts, window.hits)
        if before is None:
            before = Slow(window.start, 0.0, 0, 0, 0)
        evidence = round(min(self.slow_need, before.evidence + evidence), DECIMALS)
        if evidence <= 0.0:
            return None
        return Slow(
            before.since,
            evidence,
            before.windows + 1,
            before.attempts + window.attempts,
            before.hits + window.hits,
        )

    def _is_doubtful(self, state: SpikeState, window: WindowCounts) -> bool:
        """Tell whether a window may be part of an incident, which must not become usual."""
        if state.firing is not None:
            return True
        excursion = state.excursion
        if excursion is not None:
            most_fail = 2 * window.hits > window.attempts
            share = DOUBTFUL_IF_MOST_FAIL if most_fail else DOUBTFUL
            if self.evidence_exceeds(excursion, share * self._need):
                return True
        if state.baseline.weight < SURE_BASELINE or not window.hits:
            return False
        limit = self.hypotheses(*_frozen(state.baseline)).limit
        return wilson_lower_bound(window.hits, window.attempts, SURE_CONFIDENCE) > limit

    def evidence_of(self, excursion: Excursion) -> float:
        """Return the evidence of an excursion in nats, ln M."""
        above = self._above(excursion.rate, excursion.weight)
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return excursion.evidence + above.log_ratio(*seen)

    def figures(self, excursion: Excursion, now: float) -> SpikeFigures:
        """Return why an excursion is one, at `now` (s, UTC)."""
        found = self.hypotheses(excursion.rate, excursion.weight)
        return SpikeFigures(
            since=excursion.since,
            attempts=excursion.attempts,
            hits=excursion.hits,
            lower_bound=wilson_lower_bound(excursion.hits, excursion.attempts, CONFIDENCE),
            usual_rate=excursion.rate,
            null_weight=excursion.weight,
            tolerated_rate=found.tolerated,
            limit=found.limit,
            evidence_before=excursion.evidence,
            stretch_attempts=excursion.stretch_attempts,
            stretch_hits=excursion.stretch_hits,
            evidence=self.evidence_of(excursion),
            needed=self._need,
            lost_seconds=lost_seconds(excursion, now),
        )

    def hypotheses(self, rate: float, weight: float) -> Hypotheses:
        """Return what the usual rate and the weight of the null lead to."""
        return Hypotheses.of(rate, weight, self.settings.rise)

    def _make_above(self, rate: float, weight: float) -> AboveLimit:
        found = self.hypotheses(rate, weight)
        return AboveLimit(found.a, found.b, found.limit)

    @staticmethod
    def _shifted(found: Hypotheses) -> Shifted:
        return Shifted(found.a, found.b, times_odds(found.limit, SLOW_ODDS))


def lost_seconds(excursion: Excursion, now: float) -> float:
    """Return how many seconds' worth of sends an excursion has cost beyond what is usual."""
    rate = excursion.hits / excursion.attempts
    return (rate - excursion.rate) * (now - excursion.since)


def _begin(baseline: Baseline, now: float) -> Excursion:
    return Excursion(now, now, 0, 0, 0.0, now, 0, 0, *_frozen(baseline))


def _frozen(baseline: Baseline) -> tuple[float, float]:
    """Return the usual rate and the weight of the null, as they are shown and reckoned with."""
    return round(baseline.rate, DECIMALS), round(baseline.null_weight, DECIMALS)
