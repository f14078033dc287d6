"""What `spike` learns when windows close: what is usual, and the evidence of whole windows.

Windows of few attempts say next to nothing of a rate, and are learned together. What may be part of
an incident is not learned. The slow path adds up the evidence of whole windows, for a rate that
rose a little and stays.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors import baseline, wilson
from streams.domain.detectors.baseline import (
    NEWCOMER_LIMIT,
    Null,
    Reals,
    are_newcomers,
    times_odds,
)
from streams.domain.detectors.evidence import Shifted
from streams.domain.detectors.excursions import Judge
from streams.domain.detectors.folding import ClosedWindow, Integers
from streams.domain.detectors.rows import put, take
from streams.domain.detectors.spike_table import POOLED_UNIT, SURE_BASELINE, SpikeTable

LEAST_LEARNED = 30
"""Attempts: windows with fewer are learned together, when they have as many"""
MOST_WAITING = 10
"""or are so many windows."""
STARTS_MEMORY = 60.0
"""Windows that the mean of the excursions that begin in one is of."""
SLOW_EXTRA = 2.5
"""Nats that the slow path needs beyond `sensitivity`."""
SLOW_WINDOWS = 3
"""Windows before the open one that the slow path needs."""
SLOW_ODDS = 1.5
"""Times the odds of the limit are those of the slow path's alternative."""
MOST_SKIPPED = 300
"""Windows in a row that are not learned; then what was an excursion becomes what is usual."""
DOUBTFUL, DOUBTFUL_IF_MOST_FAIL = 0.7, 0.5
"""Shares of `sensitivity`: with as much evidence nothing is learned."""
SURE_EVIDENCE = 4.0
"""Nats: a scope of which it is well known what is usual does not learn windows that are clearly
above L and have so many: a rate that varies much is to be learned as such. Another one does not
learn those that are clearly above the limit of newcomers."""
SURE_CONFIDENCE = 0.99
"""Of the lower bound of the rate that says so."""
MOST_OF_WINDOW = 30.0
"""Independent attempts: a window counts for others as so many at most."""
_MOST_LAST = 2**32 - 1
_MOST_PAIRS = 65_535
"""Windows that wait have fewer."""
_UNTIL_LEARNED = (
    "started",
    "waiting_attempts",
    "waiting_hits",
    "waiting_pairs",
    "waiting_windows",
    "is_doubtful",
)
"""What begins anew when the windows that waited are learned."""


class Learning:
    """Learns closed windows.

    Args:
        table: of the scopes.
    """

    def __init__(self, table: SpikeTable) -> None:
        self._table = table
        self._settings = table.settings
        self._excursions = table.excursions
        self._slow_need = table.settings.sensitivity + SLOW_EXTRA

    def learn(self, window: ClosedWindow) -> Integers:
        """Learn the counts of a window that has closed, or keep them for the next ones.

        Returns:
            Hits and misses that were learned, in `POOLED_UNIT`, a row for each scope.
        """
        self._excursions.end_old(window)
        places = window.places
        rows = take(self._table.rows, places)
        attempts = window.attempts + rows["waiting_attempts"]
        hits = window.hits + rows["waiting_hits"]
        # As floats: of some billion attempts, there are more pairs than integers can be.
        pairs = window.attempts * (window.attempts - 1.0) + rows["waiting_pairs"]
        rows["is_doubtful"] |= self._fired_in(window)
        rows["last_attempts"] = np.minimum(window.attempts, _MOST_LAST)
        rows["waiting_windows"] += 1
        is_due = (attempts >= LEAST_LEARNED) | (rows["waiting_windows"] >= MOST_WAITING)
        # Of those that are learned now nothing waits: `_learned` makes these 0.
        rows["waiting_attempts"], rows["waiting_hits"] = attempts, hits
        rows["waiting_pairs"] = np.minimum(pairs, _MOST_PAIRS)
        learned = np.zeros((len(places), 2), np.int64)
        at = np.flatnonzero(is_due)
        if len(at):
            due = window._replace(attempts=attempts, hits=hits).at(at)
            together = pairs[at] / np.maximum(1.0, attempts[at] * (attempts[at] - 1.0))
            together[attempts[at] == 1] = 1.0
            after, learned[at] = self._learned(due, take(rows, at), together)
            put(rows, at, after)
            self._table.rate[due.places], self._table.weight[due.places] = Null.of(after)
            self._excursions.learn_newcomers(due, are_newcomers(after))
        put(self._table.rows, places, rows)
        if len(at):
            self._excursions.end_usual(due)
        return learned

    def is_slow_rise(self, place: int, so_far: Callable[[int], tuple[int, int]]) -> bool:
        """Tell whether windows in a row and the open one say that the rate of a scope has risen.

        Args:
            place: of the scope.
            so_far: as `Increment` has it.
        """
        row = self._table.rows[place]
        if row["slow_windows"] < SLOW_WINDOWS:
            return False
        more = self._shifted(place).log_ratio(*so_far(place))
        return more > 0.0 and float(row["slow"]) + more >= self._slow_need

    def _shifted(self, place: int) -> Shifted:
        judge = Judge(*self._table.null(place), self._settings.rise)
        return Shifted(judge.found.a, judge.found.b, times_odds(judge.found.limit, SLOW_ODDS))

    def _fired_in(self, window: ClosedWindow) -> NDArray[np.bool_]:
        """Tell for each scope whether it fires, or did when the window was open."""
        fired = np.zeros(len(window.places), np.bool_)
        firing = self._excursions.firing
        if firing or self._table.fired_until:
            at = {place: position for position, place in enumerate(window.places.tolist())}
            fired[[at[place] for place in firing if place in at]] = True
            for place in [each for each in self._table.fired_until if each in at]:
                if self._table.fired_until[place] >= window.start:
                    fired[at[place]] = True
                else:
                    del self._table.fired_until[place]
        return fired

    def _learned(
        self, due: ClosedWindow, before: NDArray[np.void], together: Reals
    ) -> tuple[NDArray[np.void], Integers]:
        """Return the rows of scopes after a window, or some that waited, and what others learn.

        The window counts for others as much as `MOST_OF_WINDOW` independent attempts at most.

        Args:
            due: the counts, with those of windows that waited.
            before: the rows.
            together: the share of pairs of attempts that are of one window.
        """
        rows = take(before, slice(None))
        attempts, hits = due.attempts.astype(np.float64), due.hits.astype(np.float64)
        null = Null(self._table.rate[due.places], self._table.weight[due.places])
        is_doubtful = self._is_doubtful(due, before, null)
        weight = baseline.null_weight(before, together)
        self._add_slow(rows, attempts, hits, Null(null.rate, weight))
        windows = before["waiting_windows"].astype(np.float64)
        rows["starts"] += (before["started"] - windows * before["starts"]) / STARTS_MEMORY
        is_learned = ~is_doubtful | (before["skipped"] >= MOST_SKIPPED)
        rows["skipped"] = np.where(is_learned, 0, before["skipped"] + 1)
        at = np.flatnonzero(is_learned)
        put(rows, at, baseline.learn(take(rows, at), attempts[at], hits[at], together[at]))
        for name in _UNTIL_LEARNED:
            rows[name] = 0
        share = baseline.independent_share(before, attempts, together)
        unit = is_learned * POOLED_UNIT * np.minimum(share, MOST_OF_WINDOW / attempts)
        pooled = np.rint(unit * np.stack((hits, attempts - hits))).astype(np.int64)
        return rows, pooled.T

    def _add_slow(self, rows: NDArray[np.void], attempts: Reals, hits: Reals, null: Null) -> None:
        """Add the evidence of a window of each scope to that of the windows in a row before it."""
        at = np.flatnonzero((hits > 0.0) | (rows["slow"] > 0.0))
        if not len(at):
            return
        evidence = rows["slow"][at] + self._slow_evidence(
            attempts[at], hits[at], null.rate[at], null.weight[at]
        )
        slow = np.minimum(np.maximum(evidence, 0.0), self._slow_need)
        in_a_row = np.minimum(SLOW_WINDOWS, rows["slow_windows"][at] + 1)
        rows["slow"][at] = slow
        rows["slow_windows"][at] = np.where(slow > 0.0, in_a_row, 0)

    def _slow_evidence(self, attempts: Reals, hits: Reals, rate: Reals, weight: Reals) -> Reals:
        """Return what `Shifted.log_ratio` does, for each scope."""
        tolerated, limit = baseline.levels(rate, self._settings.rise)
        mean = times_odds(limit, SLOW_ODDS)
        a, c = tolerated * weight, mean * weight
        misses = attempts - hits
        c_hits, a_hits, c_misses, a_misses = baseline.log_risings(
            (c, hits), (a, hits), (weight - c, misses), (weight - a, misses)
        )
        return c_hits - a_hits + c_misses - a_misses

    def _is_doubtful(
        self, due: ClosedWindow, rows: NDArray[np.void], null: Null
    ) -> NDArray[np.bool_]:
        """Tell for each scope whether the counts may be part of an incident, and not to learn."""
        is_doubtful: NDArray[np.bool_] = rows["is_doubtful"] > 0
        lowest = wilson.lower_bounds(due.hits, due.attempts, SURE_CONFIDENCE)
        known = rows["hits"].astype(np.float64) + rows["misses"]
        is_doubtful |= (known < SURE_BASELINE) & (lowest > NEWCOMER_LIMIT)
        _, limit = baseline.levels(null.rate, self._settings.rise)
        suspects = (known >= SURE_BASELINE) & (lowest > limit) & ~is_doubtful
        for at in np.flatnonzero(suspects).tolist():
            judge = Judge(null.rate.item(at), null.weight.item(at), self._settings.rise)
            counts = due.attempts.item(at), due.hits.item(at)
            is_doubtful[at] = judge.above.exceeds(*counts, SURE_EVIDENCE)
        most_fail = 2 * due.hits > due.attempts
        shares = np.where(most_fail, DOUBTFUL_IF_MOST_FAIL, DOUBTFUL)
        # The rate of a newcomer that may be usual is learned, or it would seem to rise for ever.
        may_be_usual = are_newcomers(rows) & (due.hits <= NEWCOMER_LIMIT * due.attempts)
        # Of what is known already no excursion has to be looked at.
        is_known = is_doubtful | may_be_usual
        levels = np.where(is_known, np.inf, shares * self._settings.sensitivity)
        return is_doubtful | self._excursions.exceed(due, levels)
