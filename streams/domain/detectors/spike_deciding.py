"""What hits do to an excursion of `spike`: it goes on, begins anew, fires, or is over."""

from math import log
from typing import overload

import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors import baseline
from streams.domain.detectors.baseline import Reals, times_odds
from streams.domain.detectors.excursions import (
    BESIDE_CLUMP,
    LARGEST,
    LEAST_OF_STRETCH,
    LONG_STRETCH,
    Excursion,
    Judge,
    Live,
)
from streams.domain.detectors.folding import Increment, Integers
from streams.domain.detectors.spike_learning import Learning
from streams.domain.detectors.spike_table import SpikeTable

BURST_HITS = 30
"""Hits of one clump that need no patience, if most of its attempts are hits, and if the scope is
sent to in bursts: what is broken in a burst has no time to last,"""
BURST_SHARE = 3
"""which is to say that as many times the clump's attempts are no fewer than all in its window and
in the one before. A steady stream that falters for some seconds has many more."""


class Deciding:
    """Decides what hits do to excursions, and changes nothing else.

    Args:
        table: of the scopes.
        learning: of their windows.
    """

    def __init__(self, table: SpikeTable, learning: Learning) -> None:
        self._table = table
        self._settings = table.settings
        self._excursions = table.excursions
        self._learning = learning
        self._nats_a_hit = -log(table.settings.rise.usual_up_to)
        """A bound of the evidence in a hit, as `AboveLimit` has it,"""
        self._bounded_up_to = times_odds(0.5, 1.0 / baseline.TOLERANCE)
        """if the usual rate is not higher than this."""

    def goes_on(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Add the attempts before new hits to an excursion; tell whether it is not over."""
        excursion.add_attempts(new.before)
        longest = max(new.at - excursion.since, excursion.attempts + new.attempts)
        if longest > LARGEST or excursion.has_gap_before(new.at):
            return False
        return self._excursions.judge(place, excursion).exceeds(excursion, 0.0)

    def with_hits(
        self, place: int, excursion: Excursion | None, new: Increment
    ) -> tuple[Excursion, int, bool]:
        """Add new hits to an excursion, or begin one with them.

        Returns:
            The excursion, how many begin with these hits, and whether it fires.
        """
        if excursion is None:
            excursion, starts = self.begun_by(place, new), 1
            if not self.may_fire_at_once(excursion.hits, excursion.rate):
                return excursion, starts, False
        else:
            attempts, hits = counted(new)
            excursion.add(attempts, hits, new.at - excursion.since)
            is_new = excursion.has_clump_of_hits and self._begins_with_clump(place, excursion)
            starts = int(is_new)
        return excursion, starts, self._has_risen(place, excursion, new)

    def begun_by(self, place: int, new: Increment) -> Excursion:
        """Return the excursion that begins with hits."""
        return Excursion.begun(new.at, self._table.null(place), *counted(new))

    def _begins_with_clump(self, place: int, excursion: Excursion) -> bool:
        """Begin an excursion anew with its present clump, if all of it is not enough and says less.

        Less by as much as it would have to gather beside the clump. Tell whether that is so.
        """
        judge, null = self._excursions.judge(place, excursion), self._table.null(place)
        is_new = null != (excursion.rate, excursion.weight)
        of_clump = self._excursions.new_judge(place, null) if is_new else judge
        seen = excursion.clump_attempts, excursion.clump_hits
        # Most clumps do not say as much, whatever the excursion does.
        if not of_clump.above.exceeds(*seen, BESIDE_CLUMP):
            return False
        least = max(judge.evidence_of(excursion), 0.0) + BESIDE_CLUMP
        if not of_clump.above.exceeds(*seen, least) or self._is_enough(place, excursion, judge):
            return False
        excursion.begin_with_clump(null)
        return True

    def _end_stretch(
        self, place: int, excursion: Excursion, judge: Judge, at: int, *, is_enough: bool
    ) -> None:
        """End a stretch that is long or strong enough, with its newest hit."""
        if is_enough:
            excursion.begin_stretch(at, self._table.needed(place), self._table.null(place))
            return
        is_long = at - excursion.stretch_since >= LONG_STRETCH
        if is_long and excursion.stretch_attempts >= LEAST_OF_STRETCH:
            evidence = judge.evidence_of(excursion)
            if evidence > 0.0:
                excursion.begin_stretch(at, evidence, self._table.null(place))

    def may_fire_at_once(self, hits: int, rate: float) -> bool:
        """Tell whether an excursion that begins with so many hits may fire, by a bound."""
        return self._settings.patience <= 0.0 or self.may_be_enough(0.0, hits, rate)

    @overload
    def may_be_enough(self, evidence: float, hits: int, rate: float) -> bool: ...
    @overload
    def may_be_enough(self, evidence: float, hits: Integers, rate: Reals) -> NDArray[np.bool_]: ...
    def may_be_enough(
        self, evidence: float, hits: int | Integers, rate: float | Reals
    ) -> bool | NDArray[np.bool_]:
        """Tell whether evidence and further hits may be what an excursion needs, by a bound."""
        most = evidence + hits * self._nats_a_hit
        return (most >= self._settings.sensitivity) | (rate > self._bounded_up_to)

    def _is_enough(self, place: int, excursion: Excursion, judge: Judge) -> bool:
        """Tell whether an excursion has more evidence than it needs."""
        evidence, hits = excursion.evidence, excursion.stretch_hits
        if not self.may_be_enough(evidence, hits, excursion.rate):
            return False
        least = self._settings.sensitivity
        return judge.exceeds(excursion, least) and judge.exceeds(
            excursion, self._table.needed(place)
        )

    def _has_risen(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Let an excursion with new hits fire if it has to, or else end its stretch.

        Returns:
            Whether it fires.
        """
        at = new.at - excursion.since
        judge = self._excursions.judge(place, excursion)
        is_enough = self._is_enough(place, excursion, judge)
        is_fast = is_enough and self._is_fast_rise(place, excursion, judge, at, new)
        if (is_fast or self._is_slow_rise(place, at, new)) and judge.is_above_limit(excursion):
            excursion.fire(at, is_slow=not is_fast)
            return True
        self._end_stretch(place, excursion, judge, at, is_enough=is_enough)
        return False

    def _is_fast_rise(
        self, place: int, excursion: Excursion, judge: Judge, at: int, new: Increment
    ) -> bool:
        """Tell whether an excursion with enough evidence has it not of one clump alone, and lasts.

        The clump of a scope that is sent to in bursts may be all that there is.
        """
        if self._is_broken_burst(place, excursion, new):
            return True
        is_patient = at >= self._settings.patience * 1_000
        if not is_patient and excursion.lost_seconds(at) < self._settings.lost:
            return False
        return not judge.is_of_one_clump(excursion, is_sure=self._table.is_sure(place))

    def _is_broken_burst(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Tell whether the present clump is most of what a scope sends, and most of it hits."""
        attempts, hits = excursion.clump_attempts, excursion.clump_hits
        if hits < BURST_HITS or 2 * hits < attempts:
            return False
        others = new.so_far(place)[0] + int(self._table.rows["last_attempts"][place])
        return BURST_SHARE * attempts >= others

    def _is_slow_rise(self, place: int, at: int, new: Increment) -> bool:
        if at < self._settings.patience * 1_000:
            return False
        return self._learning.is_slow_rise(place, new.so_far)

    def follow(
        self, place: int, excursion: Excursion, live: Live, new: Increment, hold: float
    ) -> bool:
        """Add counts to what fires; tell whether it is over, in `hold` s at the earliest."""
        excursion.last = max(excursion.last, new.at - excursion.since)
        live.run_attempts += new.attempts
        live.run_hits += new.hits
        attempts, hits = excursion.attempts + live.run_attempts, excursion.hits + live.run_hits
        live.see(attempts, hits, excursion.last)
        judge, hold_ms = self._excursions.judge(place, excursion), round(hold * 1_000)
        return judge.is_over(excursion, live, hold_ms, has_hits=new.hits > 0)


def counted(new: Increment) -> tuple[int, int]:
    """Return attempts and hits of a record, as far as an excursion counts them."""
    attempts = min(new.attempts, LARGEST)
    return attempts, min(new.hits, attempts)
