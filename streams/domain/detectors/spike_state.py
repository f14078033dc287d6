"""What `spike` remembers of a scope, and how each record of counts changes it.

The state is a fold over records of partial counts, in the order of the repartition topic: it
depends on them and on the settings alone. Evidence rises with hits only, so a scope is looked at
when it has new ones, or while it fires.

- An excursion begins with a hit, and is over when nothing is left of its evidence. It consists of
  stretches: the evidence of a stretch that grew long or strong is kept as a number, and the next
  one is judged by what has been learned until then.
- The slow path adds up the evidence of whole windows, for a rate that rose a little, and stays.
- What fires is over when a run of records speaks for the usual rate instead of that of the
  incident: a sequential test of the one against the other, begun anew whenever it is at its worst.
"""

from functools import lru_cache
from math import log
from typing import NamedTuple

import msgspec
from msgspec import Struct

from streams.domain.detectors.baseline import DECIMALS, Baseline, Hypotheses, Rise, times_odds
from streams.domain.detectors.evidence import AboveLimit, Shifted
from streams.domain.detectors.threshold import wilson_lower_bound

GAP = 900.0
"""Seconds without attempts, or without hits, that end an excursion."""
LONG_STRETCH = 60.0
"""Seconds after which a stretch ends."""
LEAST_OF_STRETCH = 10
"""Attempts that a long stretch needs to end."""
LATER_EXTRA = 2.0
"""Nats that it takes beyond `sensitivity` when stretches have been added up, or windows."""
SLOW_WINDOWS = 3
"""Windows before the open one that the slow path needs."""
SLOW_ODDS = 1.5
"""Times the odds of the limit are those of the slow path's alternative."""
CONFIDENCE = 0.95
"""Of the lower bound of the rate, which has to be above the limit."""
BACK = 4.0
"""Nats for the usual rate, against that of the incident, after which it is over,"""
HOLD = 25.0
"""if they were gathered over so many seconds at least."""
LEAST_INCIDENT = 0.35
"""The rate of an incident is taken to be no higher than this, so that it can be told from the usual
in few attempts, or than `SLOW_ODDS` times the odds of the limit."""
MOST_SKIPPED = 300
"""Windows in a row that are not learned; then what was an excursion becomes what is usual."""
DOUBTFUL, DOUBTFUL_IF_MOST_FAIL = 0.7, 0.5
"""Shares of `sensitivity`: with as much evidence nothing is learned."""
SURE_BASELINE = 200.0
"""Independent attempts: a baseline of so many does not learn windows that are clearly above L,"""
NEWCOMER_LIMIT = 0.3
"""and one of fewer does not learn those that are clearly above this rate."""
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
        last_hit: time of the newest record with hits.
        attempts: since it began; of a firing scope, up to where the run of `Live` begins.
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
    last_hit: float
    attempts: int
    hits: int
    evidence: float
    stretch_since: float
    stretch_attempts: int
    stretch_hits: int
    rate: float
    weight: float


class Live(Struct, array_like=True, gc=False):
    """What fires, and the newest records that may say that it is over.

    Attributes:
        at: time (s) of the record with which it began.
        is_slow: whether it was the evidence of windows, not that of the excursion.
        run_since: when the run began that speaks for the usual rate (s).
        run_attempts: since then.
        run_hits: of these.
    """

    at: float
    is_slow: bool
    run_since: float
    run_attempts: int = 0
    run_hits: int = 0


class SpikeState(Struct, array_like=True, gc=False):
    """What is remembered of one scope.

    Attributes:
        baseline: what is usual.
        skipped: windows in a row that were not learned.
        slow: evidence of windows in a row, in nats.
        slow_windows: how many windows it has been above 0.
        excursion: null if there is none.
        live: null if it does not fire; with an excursion.
        fired_until: time of the newest record while it fired, in whole s; 0 if it never did.
    """

    baseline: Baseline
    skipped: int = 0
    slow: float = 0.0
    slow_windows: int = 0
    excursion: Excursion | None = None
    live: Live | None = None
    fired_until: int = 0


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


_encode = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(SpikeState).decode
"""Read a state from bytes."""


def pack(state: SpikeState) -> bytes:
    """Write a state as bytes: so it is kept, as objects take three times as much."""
    # What the encoder returns has room for more behind it; a copy has not.
    return bytes(memoryview(_encode(state)))


class WindowCounts(NamedTuple):
    """Attempts, and hits among them, of a scope in one window that begins at `start` (s)."""

    start: float
    attempts: int
    hits: int


class Model(NamedTuple):
    """What an excursion is judged by, worked out."""

    found: Hypotheses
    above: AboveLimit


class Fold:
    """Changes states by counts.

    Args:
        settings: what operators set.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._first_need = settings.sensitivity
        self._later_need = settings.sensitivity + LATER_EXTRA
        self._model = lru_cache(maxsize=MODELS)(self._make_model)
        self._shifted = lru_cache(maxsize=MODELS)(self._make_shifted)

    def add(  # noqa: PLR0913, PLR0917 - what a record says of a scope
        self,
        state: SpikeState,
        attempts: int,
        hits: int,
        now: float,
        window: WindowCounts,
        hold: float = HOLD,
    ) -> None:
        """Add the counts of one record. Without hits it matters only if there is an excursion.

        Args:
            state: of the scope; it is changed.
            attempts: in the record.
            hits: of these.
            now: time of the record (s, UTC).
            window: the counts of the record's window, those of the record included.
            hold: seconds over which at least it has to be told that what fires is over.
        """
        excursion = state.excursion
        if excursion is not None and now - excursion.last > GAP:
            _end(state)
            excursion = None
        if excursion is not None and state.live is not None:
            excursion.last = max(excursion.last, now)
            state.live.run_attempts += attempts
            state.live.run_hits += hits
            self._follow(state, excursion, state.live, hold, has_hits=hits > 0)
            return
        if excursion is not None and now - excursion.last_hit > GAP:
            excursion = None
        if hits:
            if excursion is not None:
                excursion = self._go_on(excursion, state.baseline, now)
            if excursion is None:
                excursion = _begin(state.baseline, now)
            excursion.last_hit = max(excursion.last_hit, now)
        state.excursion = excursion
        if excursion is not None:
            excursion.last = max(excursion.last, now)
            excursion.attempts += attempts
            excursion.hits += hits
            excursion.stretch_attempts += attempts
            excursion.stretch_hits += hits
            if hits:
                state.live = self._crossed(state, excursion, now, window)

    def _go_on(self, excursion: Excursion, baseline: Baseline, now: float) -> Excursion | None:
        """Look at an excursion as it is before new hits; return null if it was over."""
        n, k = excursion.stretch_attempts, excursion.stretch_hits
        above, before = self._model(excursion.rate, excursion.weight).above, excursion.evidence
        if not above.exceeds(n, k, -before):
            return None
        if n >= LEAST_OF_STRETCH and now - excursion.stretch_since >= LONG_STRETCH:
            evidence = min(self._later_need, before + above.log_ratio(n, k))
        elif above.exceeds(n, k, self._later_need - before):
            evidence = self._later_need
        else:
            return excursion
        excursion.evidence = round(evidence, DECIMALS)
        excursion.stretch_since = now
        excursion.stretch_attempts = excursion.stretch_hits = 0
        excursion.rate, excursion.weight = baseline.null()
        return excursion

    def _crossed(
        self, state: SpikeState, excursion: Excursion, now: float, window: WindowCounts
    ) -> Live | None:
        """Tell whether a scope fires with new hits."""
        sure = self._evidence_exceeds(excursion, self.needed(excursion))
        is_slow = not (sure and self._is_worth_it(excursion, now))
        if is_slow and not self._is_slow_rise(state, window):
            return None
        lowest = wilson_lower_bound(excursion.hits, excursion.attempts, CONFIDENCE)
        limit = self._model(excursion.rate, excursion.weight).found.limit
        return Live(now, is_slow, now) if lowest > limit else None

    def _is_slow_rise(self, state: SpikeState, window: WindowCounts) -> bool:
        if state.slow_windows < SLOW_WINDOWS:
            return False
        more = self._slow_evidence(state.baseline, window)
        return more > 0.0 and state.slow + more >= self._later_need

    def needed(self, excursion: Excursion) -> float:
        """Return how much evidence an excursion needs, in nats."""
        return self._later_need if excursion.evidence > 0.0 else self._first_need

    def is_over(self, excursion: Excursion) -> bool:
        """Tell whether nothing is left of an excursion: its next hit would begin another one."""
        return not self._evidence_exceeds(excursion, 0.0)

    def _evidence_exceeds(self, excursion: Excursion, level: float) -> bool:
        above = self._model(excursion.rate, excursion.weight).above
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return above.exceeds(*seen, level - excursion.evidence)

    def _is_worth_it(self, excursion: Excursion, now: float) -> bool:
        """Tell whether an excursion lasted, or cost, enough for a person to hear of it."""
        age = now - excursion.since
        return age >= self.settings.patience or lost_seconds(excursion, now) >= self.settings.lost

    def _follow(
        self, state: SpikeState, excursion: Excursion, live: Live, hold: float, *, has_hits: bool
    ) -> None:
        """Test whether what fires is over, with a record that is in the run already."""
        now = excursion.last
        state.fired_until = int(now)
        nats = self._nats_for_usual(excursion, live)
        if has_hits and nats <= 0.0:
            excursion.attempts += live.run_attempts
            excursion.hits += live.run_hits
            live.run_attempts = live.run_hits = 0
            live.run_since = now
        elif nats >= BACK and now - live.run_since >= hold:
            _end(state)

    def _nats_for_usual(self, excursion: Excursion, live: Live) -> float:
        """Return the logarithm of the likelihood ratio of the tolerated rate and the incident's."""
        found = self._model(excursion.rate, excursion.weight).found
        most = max(LEAST_INCIDENT, times_odds(found.limit, SLOW_ODDS))
        rate = (excursion.hits + 0.5) / (excursion.attempts + 1.0)
        rate = min(max(rate, found.limit), most)
        misses = live.run_attempts - live.run_hits
        usual = found.tolerated
        return misses * log((1.0 - usual) / (1.0 - rate)) - live.run_hits * log(rate / usual)

    def close(self, state: SpikeState, window: WindowCounts) -> None:
        """Learn a window that has closed, by the counts that it closed with."""
        if not window.attempts:
            return
        doubtful = self._is_doubtful(state, window)
        self._add_slow(state, window)
        if not doubtful:
            state.skipped = 0
        elif state.skipped < MOST_SKIPPED:
            state.skipped += 1
            return
        state.baseline.learn(window.attempts, window.hits)

    def _add_slow(self, state: SpikeState, window: WindowCounts) -> None:
        if not window.hits and not state.slow:
            return
        evidence = state.slow + self._slow_evidence(state.baseline, window)
        state.slow = round(min(self._later_need, max(0.0, evidence)), DECIMALS)
        state.slow_windows = state.slow_windows + 1 if state.slow else 0

    def _slow_evidence(self, baseline: Baseline, window: WindowCounts) -> float:
        return self._shifted(*baseline.null()).log_ratio(window.attempts, window.hits)

    def _is_doubtful(self, state: SpikeState, window: WindowCounts) -> bool:
        """Tell whether a window may be part of an incident, which must not become usual."""
        if state.live is not None or state.fired_until >= window.start:
            return True
        excursion = state.excursion
        if excursion is not None:
            most_fail = 2 * window.hits > window.attempts
            share = DOUBTFUL_IF_MOST_FAIL if most_fail else DOUBTFUL
            if self._evidence_exceeds(excursion, share * self._first_need):
                return True
        if not window.hits:
            return False
        limit = NEWCOMER_LIMIT
        if state.baseline.weight >= SURE_BASELINE:
            limit = self._model(*state.baseline.null()).found.limit
        return wilson_lower_bound(window.hits, window.attempts, SURE_CONFIDENCE) > limit

    def evidence_of(self, excursion: Excursion) -> float:
        """Return the evidence of an excursion in nats, ln M."""
        above = self._model(excursion.rate, excursion.weight).above
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return excursion.evidence + above.log_ratio(*seen)

    def figures(self, excursion: Excursion, now: float) -> SpikeFigures:
        """Return why an excursion is one, at `now` (s, UTC)."""
        found = self._model(excursion.rate, excursion.weight).found
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
            needed=self.needed(excursion),
            lost_seconds=lost_seconds(excursion, now),
        )

    def _make_shifted(self, rate: float, weight: float) -> Shifted:
        found = self._model(rate, weight).found
        return Shifted(found.a, found.b, times_odds(found.limit, SLOW_ODDS))

    def _make_model(self, rate: float, weight: float) -> Model:
        found = Hypotheses.of(rate, weight, self.settings.rise)
        return Model(found, AboveLimit(found.a, found.b, found.limit))


def lost_seconds(excursion: Excursion, now: float) -> float:
    """Return how many seconds' worth of sends an excursion has cost beyond what is usual.

    n attempts span n - 1 intervals, so the time that they stand for is longer than the span.
    """
    n = excursion.attempts
    if n < 2:  # noqa: PLR2004 - one attempt spans nothing
        return 0.0
    excess = excursion.hits / n - excursion.rate
    return excess * (now - excursion.since) * n / (n - 1)


def _begin(baseline: Baseline, now: float) -> Excursion:
    return Excursion(now, now, now, 0, 0, 0.0, now, 0, 0, *baseline.null())


def _end(state: SpikeState) -> None:
    state.excursion = state.live = None
