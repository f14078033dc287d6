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

GAP = 900_000
"""Milliseconds without attempts, or without hits, that end an excursion."""
LONG_STRETCH = 60_000
"""Milliseconds after which a stretch ends."""
LEAST_OF_STRETCH = 10
"""Attempts that a long stretch needs to end."""
LATER_EXTRA = 1.0
"""Nats that it takes beyond `sensitivity` at least when stretches have been added up."""
MOST_EXTRA = 3.0
"""Nats beyond `sensitivity` that it takes at most, of a scope in which excursions often begin."""
FALSE_A_DAY = 0.005
"""What is needed is made for so many false starts a day, within these bounds."""
WINDOWS_A_DAY = 1_440.0
STARTS, STARTS_MEMORY = 0.1, 60.0
"""Excursions that begin in a window: of a newcomer; and how many windows their mean is of."""
CLUMP = 5_000
"""Milliseconds: hits that come together within this time may have one cause, which is over."""
BESIDE_CLUMP = 3.5
"""Nats that there have to be without the largest clump."""
SLOW_EXTRA = 2.0
"""Nats that the slow path needs beyond `sensitivity`."""
SLOW_WINDOWS = 3
"""Windows before the open one that the slow path needs."""
SLOW_ODDS = 1.5
"""Times the odds of the limit are those of the slow path's alternative."""
CONFIDENCE = 0.95
"""Of the lower bound of the rate, which has to be above the limit."""
BACK = 4.0
"""Nats for the usual rate, against that of the incident, after which it is over,"""
HOLD = 25_000
"""if they were gathered over so many milliseconds at least."""
LEAST_INCIDENT = 0.35
"""The rate of an incident is taken to be no higher than this, so that it can be told from the usual
in few attempts, or than `SLOW_ODDS` times the odds of the limit."""
MOST_SKIPPED = 300
"""Windows in a row that are not learned; then what was an excursion becomes what is usual."""
DOUBTFUL, DOUBTFUL_IF_MOST_FAIL = 0.7, 0.5
"""Shares of `sensitivity`: with as much evidence nothing is learned."""
SURE_BASELINE = 200.0
"""Independent attempts: a baseline of so many does not learn windows that are clearly above L"""
SURE_EVIDENCE = 4.0
"""and have so many nats of evidence: a rate that varies much is to be learned as such;"""
NEWCOMER_LIMIT = 0.3
"""and one of fewer does not learn those that are clearly above this rate."""
SURE_CONFIDENCE = 0.99
"""Of the lower bound of the rate that says so."""
MODELS = 4_096
"""Hypotheses that are kept worked out; they change with each window of each scope."""


class Settings(NamedTuple):
    """What operators set.

    Attributes:
        sensitivity: nats of evidence that it takes at least, c: by chance it comes once in e^c
            starts.
        rise: from which rate on it is worth an alert.
        patience: seconds that an excursion has to last,
        lost: or seconds of sends that it has to cost beyond what is usual.
    """

    sensitivity: float = 10.0
    rise: Rise = Rise()
    patience: float = 45.0
    lost: float = 6.0


class Excursion(Struct, array_like=True, gc=False):
    """A time in which the rate may have risen. Times are those of records.

    Attributes:
        since: when it began (ms, UTC).
        last: time of the newest record with attempts (ms after `since`, as all further times).
        last_hit: time of the newest record with hits.
        attempts: since it began; of a firing scope, up to where the run of `Live` begins.
        hits: of these.
        evidence: of stretches before the present one, in nats.
        stretch_since: when the present stretch began.
        stretch_attempts: since then.
        stretch_hits: of these.
        rate: the usual rate m by which the stretch is judged.
        weight: of its null, a + b.
        clump_since: when the present clump began, which is of records with hits.
        clump_attempts: in these records.
        clump_hits: of these.
        most_attempts: in the clump with most hits.
        most_hits: of these.
    """

    since: int
    rate: float
    weight: float
    last: int = 0
    last_hit: int = 0
    attempts: int = 0
    hits: int = 0
    evidence: float = 0.0
    stretch_since: int = 0
    stretch_attempts: int = 0
    stretch_hits: int = 0
    clump_since: int = 0
    clump_attempts: int = 0
    clump_hits: int = 0
    most_attempts: int = 0
    most_hits: int = 0

    def add(self, attempts: int, hits: int, at: int) -> None:
        """Add the counts of a record at a time (ms after `since`)."""
        self.last = max(self.last, at)
        self.attempts += attempts
        self.stretch_attempts += attempts
        if not hits:
            return
        self.last_hit = max(self.last_hit, at)
        self.hits += hits
        self.stretch_hits += hits
        if at - self.clump_since > CLUMP:
            self.clump_since = at
            self.clump_attempts = self.clump_hits = 0
        self.clump_attempts += attempts
        self.clump_hits += hits
        # Of two with as many hits, the one with fewer attempts says more.
        if (self.clump_hits, -self.clump_attempts) > (self.most_hits, -self.most_attempts):
            self.most_attempts, self.most_hits = self.clump_attempts, self.clump_hits

    def begin_stretch(self, at: int, evidence: float, null: tuple[float, float]) -> None:
        """Begin another stretch (ms after `since`), with the evidence of those before it."""
        self.evidence = round(evidence, DECIMALS)
        self.stretch_since = at
        self.stretch_attempts = self.stretch_hits = 0
        self.rate, self.weight = null


class Live(Struct, array_like=True, gc=False):
    """What fires, and the newest records that may say that it is over.

    Attributes:
        at: time of the record with which it began (ms after `since` of the excursion).
        is_slow: whether it was the evidence of windows, not that of the excursion.
        run_since: when the run began that speaks for the usual rate (as `at`).
        run_attempts: since then.
        run_hits: of these.
    """

    at: int
    is_slow: bool
    run_since: int
    run_attempts: int = 0
    run_hits: int = 0


class SpikeState(Struct, array_like=True, gc=False):
    """What is remembered of one scope.

    Attributes:
        baseline: what is usual.
        skipped: windows in a row that were not learned.
        slow: evidence of windows in a row, in nats.
        slow_windows: how many windows it has been above 0, up to `SLOW_WINDOWS`.
        starts: excursions that begin in a window with attempts, on average.
        started: those that began since a window closed.
        excursion: null if there is none.
        live: null if it does not fire; with an excursion.
        fired_until: time of the last record of what fired last, in whole s; 0 while it fires, and
            if it never did.
    """

    baseline: Baseline
    skipped: int = 0
    slow: float = 0.0
    slow_windows: int = 0
    starts: float = STARTS
    started: int = 0
    excursion: Excursion | None = None
    live: Live | None = None
    fired_until: int = 0


class SpikeFigures(NamedTuple):
    """Why an excursion is one, in figures from which its evidence can be worked out again.

    Attributes:
        since: when it began (ms, UTC).
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
        most_attempts: in the clump with most hits.
        most_hits: of these.
        evidence: all of it: `evidence_before` and ln E of the present stretch.
        needed: evidence that it takes.
        lost_seconds: seconds' worth of sends that it cost beyond what is usual.
    """

    since: int
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
    most_attempts: int
    most_hits: int
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
        self._slow_need = settings.sensitivity + SLOW_EXTRA
        self._model = lru_cache(maxsize=MODELS)(self._make_model)
        self._shifted = lru_cache(maxsize=MODELS)(self._make_shifted)

    def add(  # noqa: PLR0913, PLR0917 - what a record says of a scope
        self,
        state: SpikeState,
        attempts: int,
        hits: int,
        now: int,
        window: WindowCounts,
        hold: int = HOLD,
    ) -> None:
        """Add the counts of one record. Without hits it matters only if there is an excursion.

        Args:
            state: of the scope; it is changed.
            attempts: in the record, at least 1.
            hits: of these.
            now: time of the record (ms, UTC).
            window: the counts of the record's window, those of the record included.
            hold: ms over which at least it has to be told that what fires is over.
        """
        excursion = state.excursion
        if excursion is not None:
            at = now - excursion.since
            if at - excursion.last > GAP:
                _end(state)
            elif state.live is not None:
                excursion.last = max(excursion.last, at)
                state.live.run_attempts += attempts
                state.live.run_hits += hits
                self._follow(state, excursion, state.live, hold, has_hits=hits > 0)
                return
            elif at - excursion.last_hit > GAP or (
                hits and not self._goes_on(state, excursion, at)
            ):
                state.excursion = None
            excursion = state.excursion
        if excursion is None:
            if not hits:
                return
            state.started += 1
            excursion = state.excursion = Excursion(now, *state.baseline.null())
        excursion.add(attempts, hits, now - excursion.since)
        if hits:
            state.live = self._crossed(state, excursion, now - excursion.since, window)

    def _goes_on(self, state: SpikeState, excursion: Excursion, at: int) -> bool:
        """Tell whether an excursion, as it is before new hits, is not over yet.

        A stretch that is long or strong enough ends with that.
        """
        n, k = excursion.stretch_attempts, excursion.stretch_hits
        above, before = self._model(excursion.rate, excursion.weight).above, excursion.evidence
        if not above.exceeds(n, k, -before):
            return False
        most = self._later_need(state)
        if n >= LEAST_OF_STRETCH and at - excursion.stretch_since >= LONG_STRETCH:
            evidence = min(most, before + above.log_ratio(n, k))
            excursion.begin_stretch(at, evidence, state.baseline.null())
        elif above.exceeds(n, k, most - before):
            excursion.begin_stretch(at, most, state.baseline.null())
        return True

    def _crossed(
        self, state: SpikeState, excursion: Excursion, at: int, window: WindowCounts
    ) -> Live | None:
        """Tell whether a scope fires with new hits, at a time (ms after the excursion began)."""
        is_slow = not self._is_fast_rise(state, excursion, at)
        if is_slow and not self._is_slow_rise(state, at, window):
            return None
        lowest = wilson_lower_bound(excursion.hits, excursion.attempts, CONFIDENCE)
        limit = self._model(excursion.rate, excursion.weight).found.limit
        if lowest <= limit:
            return None
        # What firing makes needless is not written down.
        excursion.last_hit = excursion.clump_since = 0
        excursion.clump_attempts = excursion.clump_hits = 0
        state.fired_until = 0
        return Live(at, is_slow, at)

    def needed(self, state: SpikeState, excursion: Excursion) -> float:
        """Return how much evidence an excursion needs, in nats."""
        return self._later_need(state) if excursion.evidence > 0.0 else self._first_need(state)

    def _first_need(self, state: SpikeState) -> float:
        """Return what makes one false start of as many as there are in a day rare enough."""
        least = self.settings.sensitivity
        starts = max(state.starts, 1e-6) * WINDOWS_A_DAY
        return min(max(log(starts / FALSE_A_DAY), least), least + MOST_EXTRA)

    def _later_need(self, state: SpikeState) -> float:
        return max(self.settings.sensitivity + LATER_EXTRA, self._first_need(state))

    def _is_fast_rise(self, state: SpikeState, excursion: Excursion, at: int) -> bool:
        """Tell whether the evidence of an excursion is enough, not of one clump alone."""
        if not self._evidence_exceeds(excursion, self.needed(state, excursion)):
            return False
        patient = at >= self.settings.patience * 1_000
        if not patient and lost_seconds(excursion, at) < self.settings.lost:
            return False
        n, k = excursion.attempts - excursion.most_attempts, excursion.hits - excursion.most_hits
        above = self._model(excursion.rate, excursion.weight).above
        return k > 0 and above.exceeds(n, k, BESIDE_CLUMP)

    def _is_slow_rise(self, state: SpikeState, at: int, window: WindowCounts) -> bool:
        if state.slow_windows < SLOW_WINDOWS or at < self.settings.patience * 1_000:
            return False
        more = self._slow_evidence(state.baseline, window)
        return more > 0.0 and state.slow + more >= self._slow_need

    def is_over(self, excursion: Excursion) -> bool:
        """Tell whether nothing is left of an excursion: its next hit would begin another one."""
        return not self._evidence_exceeds(excursion, 0.0)

    def _evidence_exceeds(self, excursion: Excursion, level: float) -> bool:
        above = self._model(excursion.rate, excursion.weight).above
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return above.exceeds(*seen, level - excursion.evidence)

    def _follow(
        self, state: SpikeState, excursion: Excursion, live: Live, hold: int, *, has_hits: bool
    ) -> None:
        """Test whether what fires is over, with a record that is in the run already."""
        now = excursion.last
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
        more_starts = (state.started - state.starts) / STARTS_MEMORY
        state.starts, state.started = round(state.starts + more_starts, DECIMALS), 0
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
        state.slow = round(min(self._slow_need, max(0.0, evidence)), DECIMALS)
        state.slow_windows = min(SLOW_WINDOWS, state.slow_windows + 1) if state.slow else 0

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
            if self._evidence_exceeds(excursion, share * self.settings.sensitivity):
                return True
        if not window.hits:
            return False
        lowest = wilson_lower_bound(window.hits, window.attempts, SURE_CONFIDENCE)
        if state.baseline.weight < SURE_BASELINE:
            return lowest > NEWCOMER_LIMIT
        found, above = self._model(*state.baseline.null())
        return lowest > found.limit and above.exceeds(window.attempts, window.hits, SURE_EVIDENCE)

    def evidence_of(self, excursion: Excursion) -> float:
        """Return the evidence of an excursion in nats, ln M."""
        above = self._model(excursion.rate, excursion.weight).above
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return excursion.evidence + above.log_ratio(*seen)

    def figures(self, state: SpikeState, excursion: Excursion, now: int) -> SpikeFigures:
        """Return why an excursion is one, at `now` (ms, UTC)."""
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
            most_attempts=excursion.most_attempts,
            most_hits=excursion.most_hits,
            needed=self.needed(state, excursion),
            lost_seconds=lost_seconds(excursion, now - excursion.since),
        )

    def _make_shifted(self, rate: float, weight: float) -> Shifted:
        found = self._model(rate, weight).found
        return Shifted(found.a, found.b, times_odds(found.limit, SLOW_ODDS))

    def _make_model(self, rate: float, weight: float) -> Model:
        found = Hypotheses.of(rate, weight, self.settings.rise)
        return Model(found, AboveLimit(found.a, found.b, found.limit))


def lost_seconds(excursion: Excursion, at: int) -> float:
    """Return how many seconds' worth of sends an excursion has cost beyond what is usual.

    n attempts span n - 1 intervals, so the time that they stand for is longer than the span.

    Args:
        excursion: with at least one attempt.
        at: ms after it began.
    """
    n = excursion.attempts
    excess = excursion.hits / n - excursion.rate
    return excess * at / 1_000 * (n / (n - 1) if n > 1 else 1.0)


def _end(state: SpikeState) -> None:
    """End an excursion; of a scope that fired, the slow evidence too."""
    if state.live is not None and state.excursion is not None:
        state.slow, state.slow_windows = 0.0, 0
        state.fired_until = (state.excursion.since + state.excursion.last) // 1_000
    state.excursion = state.live = None
