"""Excursions of `spike`: times in which the rate of a scope may have risen, and their evidence.

Evidence rises with hits only, so an excursion is looked at when it has new ones, or while it fires.

- An excursion begins with a hit, and is over when nothing is left of its evidence. It consists of
  stretches: the evidence of a stretch that grew long or strong is kept as a number, and the next
  one is judged by what has been learned until then. A stretch ends with a hit, so that what comes
  next does not decide where. Until it fires, attempts without hits are added with the hits that
  come next.
- One that began before what it is about says less than what came since: it begins anew with its
  newest clump of hits, if these say clearly more.
- What fires is over when a run of records speaks for the usual rate instead of that of the
  incident: a sequential test of the one against the other, begun anew whenever it is at its worst.
"""

from math import log
from typing import Self

import numpy as np
from msgspec import Struct

from streams.domain.detectors import wilson
from streams.domain.detectors.baseline import DECIMALS, Hypotheses, Rise, times_odds
from streams.domain.detectors.evidence import AboveLimit

GAP = 900_000
"""Milliseconds without attempts, or without hits, that end an excursion."""
LONG_STRETCH = 60_000
"""Milliseconds after which a stretch ends."""
LEAST_OF_STRETCH = 10
"""Attempts that a long stretch needs to end."""
CLUMP = 5_000
"""Milliseconds: hits that come together within this time may have one cause, which is over."""
LEAST_OF_CLUMP = 3
"""Hits that a clump needs for an excursion to begin anew with it."""
BESIDE_CLUMP = 3.2
"""Nats that there have to be without the largest clump; and by which a clump has to say more by
itself than all of an excursion, for it to begin anew."""
CONFIDENCE = 0.95
"""Of the lower bound of the rate, which has to be above the limit."""
BACK = 7.0
"""Nats for the usual rate, against that of the incident, after which it is over,"""
HOLD = 60_000
"""if they were gathered over so many milliseconds at least."""
MOST_INCIDENT = 0.5
"""The rate of an incident is taken to be no higher than this, so that it can be told from the usual
in few attempts, or than `INCIDENT_ODDS` times the odds of the limit."""
INCIDENT_ODDS = 1.5


class Live(Struct, array_like=True, gc=False):
    """What fires, and the newest records that may say that it is over.

    Attributes:
        most_at: time of the record that made the rate since the excursion began the highest while
            it fired (ms after `since` of the excursion).
        is_slow: whether it was the evidence of windows, not that of the excursion.
        run_since: when the run began that speaks for the usual rate (as `most_at`).
        run_attempts: since then.
        run_hits: of these.
        most_attempts: since the excursion began, up to `most_at`.
        most_hits: of these.
    """

    most_at: int
    is_slow: bool
    run_since: int
    run_attempts: int = 0
    run_hits: int = 0
    most_attempts: int = 0
    most_hits: int = 0

    def see(self, attempts: int, hits: int, at: int) -> None:
        """Take note of the rate since the excursion began; of two that are equal, of the later."""
        if hits * self.most_attempts >= self.most_hits * attempts:
            self.most_attempts, self.most_hits, self.most_at = attempts, hits, at


class Excursion(Struct, array_like=True, gc=False):
    """A time in which the rate may have risen. Times are those of records.

    Attributes:
        since: when it began (ms, UTC).
        rate: the usual rate m by which the stretch is judged.
        weight: of its null, a + b.
        last: time of the newest record with hits or, if it fires, with attempts (ms after `since`,
            as all further times).
        attempts: since it began, up to the newest record with hits; of a firing scope, up to where
            the run of `Live` begins.
        hits: of these.
        evidence: of stretches before the present one, in nats.
        stretch_since: when the present stretch began.
        stretch_attempts: since then.
        stretch_hits: of these.
        clump_since: when the present clump began, which is of records with hits.
        clump_attempts: since then.
        clump_hits: of these.
        most_attempts: in the clump with most hits.
        most_hits: of these.
        live: null if it does not fire.
    """

    since: int
    rate: float
    weight: float
    last: int = 0
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
    live: Live | None = None

    @classmethod
    def begun(cls, since: int, null: tuple[float, float], attempts: int, hits: int) -> Self:
        """Begin one with the counts of a record at `since` (ms, UTC).

        Args:
            since: event time of the record.
            null: the usual rate of the scope, and the weight of its null.
            attempts: in the record.
            hits: of these, above 0.
        """
        counts = attempts, hits
        return cls(since, *null, 0, *counts, 0.0, 0, *counts, 0, *counts, *counts)

    def has_one_record_of(self, attempts: int) -> bool:
        """Tell whether a record with so many attempts is all of it, as `begun` makes it.

        The stretch of one that was enough at once has ended.
        """
        return self.attempts == attempts == self.stretch_attempts

    def has_gap_before(self, at: int) -> bool:
        """Tell whether a record at `at` (ms, UTC) comes so late that this is over."""
        return at - self.since - self.last > GAP

    def add(self, attempts: int, hits: int, at: int) -> None:
        """Add the counts of a record with hits, at a time (ms after `since`)."""
        self.last = max(self.last, at)
        if at - self.clump_since > CLUMP:
            self.clump_since = at
            self.clump_attempts = self.clump_hits = 0
        self.add_attempts(attempts)
        self.hits += hits
        self.stretch_hits += hits
        self.clump_hits += hits
        # Of two with as many hits, the one with fewer attempts says more.
        if (self.clump_hits, -self.clump_attempts) > (self.most_hits, -self.most_attempts):
            self.most_attempts, self.most_hits = self.clump_attempts, self.clump_hits

    def add_attempts(self, attempts: int) -> None:
        """Add attempts that came before the next record with hits."""
        self.attempts += attempts
        self.stretch_attempts += attempts
        self.clump_attempts += attempts

    @property
    def has_clump_of_hits(self) -> bool:
        """Whether most attempts of the present clump are hits, and it is not all that there is."""
        attempts, hits = self.clump_attempts, self.clump_hits
        return hits >= LEAST_OF_CLUMP and 2 * hits >= attempts and attempts < self.attempts

    def begin_with_clump(self, null: tuple[float, float]) -> None:
        """Begin anew with the present clump, judged by this usual rate and weight of its null."""
        self.begin_stretch(0, 0.0, null)
        self.since += self.clump_since
        self.last -= self.clump_since
        self.clump_since = 0
        self.attempts = self.stretch_attempts = self.most_attempts = self.clump_attempts
        self.hits = self.stretch_hits = self.most_hits = self.clump_hits

    def begin_stretch(self, at: int, evidence: float, null: tuple[float, float]) -> None:
        """Begin another stretch (ms after `since`), with the evidence of those before it."""
        self.evidence = round(evidence, DECIMALS)
        self.stretch_since = at
        self.stretch_attempts = self.stretch_hits = 0
        self.rate, self.weight = null

    def fire(self, at: int, *, is_slow: bool) -> None:
        """Begin to fire (ms after `since`). What that makes needless is not written down."""
        self.stretch_since = self.clump_since = self.clump_attempts = self.clump_hits = 0
        self.live = Live(at, is_slow, at)
        self.live.see(self.attempts, self.hits, at)

    @property
    def ends_at(self) -> int:
        """Time of the newest record (ms, UTC)."""
        return self.since + self.last

    def lost_seconds(self, at: int) -> float:
        """Return how many seconds' worth of sends it has cost beyond what is usual.

        n attempts span n - 1 intervals, so the time that they stand for is longer than the span.

        Args:
            at: ms after it began; it has at least one attempt.
        """
        n = self.attempts
        excess = self.hits / n - self.rate
        return excess * at / 1_000 * (n / (n - 1) if n > 1 else 1.0)


LARGEST = 2**32 - 1
"""An excursion with more attempts, or that began so many ms ago, is over."""
_TYPES = {"since": "<i8", "rate": "<f8", "weight": "<f8", "evidence": "<f8"}
NUMBERS = np.dtype(
    [(name, _TYPES.get(name, "<u4")) for name in Excursion.__struct_fields__ if name != "live"]
)
"""All that there is of an excursion that does not fire."""


class Judge:
    """What an excursion's counts are judged by: the null and the limit of its present stretch.

    Args:
        rate: the usual rate m.
        weight: of the null, a + b.
        rise: from which rate on it is worth an alert.
    """

    __slots__ = ("_null", "_rise", "above", "found")

    def __init__(self, rate: float, weight: float, rise: Rise) -> None:
        self._null = rate, weight
        self._rise = rise
        self.found = Hypotheses.of(rate, weight, rise)
        self.above = AboveLimit(self.found.a, self.found.b, self.found.limit)

    def is_of(self, excursion: Excursion, rise: Rise) -> bool:
        """Tell whether it is what the present stretch of an excursion is judged by."""
        return self._rise is rise and self._null == (excursion.rate, excursion.weight)

    def exceeds(self, excursion: Excursion, level: float) -> bool:
        """Tell whether the evidence of an excursion is above a level, in nats."""
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return self.above.exceeds(*seen, level - excursion.evidence)

    def evidence_of(self, excursion: Excursion) -> float:
        """Return the evidence of an excursion in nats, ln M."""
        seen = excursion.stretch_attempts, excursion.stretch_hits
        return excursion.evidence + self.above.log_ratio(*seen)

    def beside_clump(self, excursion: Excursion, *, is_sure: bool) -> float:
        """Return how much evidence there is without the clump with most hits, in nats.

        Args:
            excursion: the excursion.
            is_sure: whether it is well known what is usual. Then, of several stretches, it is what
                there is beyond the evidence of the clump by itself: that is more than all their
                counts together say, as the rate of each is drawn anew.
        """
        n, k = _beside_clump(excursion)
        if k <= 0:
            return 0.0
        alone = self.above.log_ratio(n, k)
        if not (is_sure and excursion.evidence):
            return alone
        clump = self.above.log_ratio(excursion.most_attempts, excursion.most_hits)
        return max(alone, self.evidence_of(excursion) - clump)

    def is_of_one_clump(self, excursion: Excursion, *, is_sure: bool) -> bool:
        """Tell whether there is too little of `beside_clump`; the arguments are the same."""
        n, k = _beside_clump(excursion)
        if k > 0 and self.above.exceeds(n, k, BESIDE_CLUMP):
            return False
        return self.beside_clump(excursion, is_sure=is_sure) < BESIDE_CLUMP

    def is_above_limit(self, excursion: Excursion) -> bool:
        """Tell whether the rate since it began is above the limit, by its lower bound."""
        return lower_bound(excursion) > self.found.limit

    def nats_for_usual(self, excursion: Excursion, live: Live) -> float:
        """Return the logarithm of the likelihood ratio of the tolerated rate and the incident's."""
        usual, limit = self.found.tolerated, self.found.limit
        rate = (excursion.hits + 0.5) / (excursion.attempts + 1.0)
        rate = min(max(rate, limit), max(MOST_INCIDENT, times_odds(limit, INCIDENT_ODDS)))
        misses = live.run_attempts - live.run_hits
        return misses * log((1.0 - usual) / (1.0 - rate)) - live.run_hits * log(rate / usual)

    def is_over(self, excursion: Excursion, live: Live, hold: int, *, has_hits: bool) -> bool:
        """Tell whether what fires is over, with a record that is in the run already.

        Args:
            excursion: its counts since it began grow by the run if that speaks for the incident.
            live: of the excursion.
            hold: ms over which at least it has to be told.
            has_hits: whether the record has any.
        """
        nats = self.nats_for_usual(excursion, live)
        if has_hits and nats <= 0.0:
            excursion.attempts += live.run_attempts
            excursion.hits += live.run_hits
            live.run_attempts = live.run_hits = 0
            live.run_since = excursion.last
            return False
        return nats >= BACK and excursion.last - live.run_since >= hold


def _beside_clump(excursion: Excursion) -> tuple[int, int]:
    """Return attempts and hits without the clump with most hits."""
    return excursion.attempts - excursion.most_attempts, excursion.hits - excursion.most_hits


def lower_bound(excursion: Excursion) -> float:
    """Return the lower bound of the rate since an excursion began: Wilson's, of `CONFIDENCE`."""
    return wilson.lower_bound(excursion.hits, excursion.attempts, CONFIDENCE)
