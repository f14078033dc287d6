"""What `spike` knows of the scopes of a rule, and how counts change it.

Each scope has a row of numbers, its baseline among them: they change when a window closes, for all
scopes that it has counts of at once. An excursion is a row of numbers too: it is looked at when its
scope has hits, and when a window closes. Only what fires is looked at with each record.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors import baseline, wilson
from streams.domain.detectors.baseline import DECIMALS
from streams.domain.detectors.excursion_table import Nulls
from streams.domain.detectors.excursions import (
    CONFIDENCE,
    LARGEST,
    Excursion,
    Live,
    lower_bound,
)
from streams.domain.detectors.folding import (
    ClosedWindow,
    FoldFigures,
    Height,
    Increment,
    Integers,
    Prepared,
    ScopeStates,
    Series,
    Turn,
)
from streams.domain.detectors.spike_deciding import Deciding, counted
from streams.domain.detectors.spike_learning import Learning
from streams.domain.detectors.spike_table import Settings, SpikeTable
from streams.domain.pools import Pooled


class SpikeStates(ScopeStates):
    """What `spike` knows of the scopes of one rule in one partition.

    Args:
        settings: what operators set.

    Attributes:
        settings: the same.
        table: what is kept of the scopes.
        excursions: of the scopes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = SpikeTable(settings)
        self.excursions = self.table.excursions
        self._learning = Learning(self.table)
        self._deciding = Deciding(self.table, self._learning)

    def begin(self, places: Integers, pooled: Pooled) -> None:
        """Make the states at some places those of newcomers: their rate is that of their app."""
        self.table.begin(places, pooled)

    def learn(self, window: ClosedWindow) -> Integers:
        """Learn the counts of a window that has closed, or keep them for the next ones.

        Returns:
            Hits and misses that were learned, in `POOLED_UNIT`, a row for each scope.
        """
        return self._learning.learn(window)

    def write(self, places: Sequence[int]) -> bytes:
        """Return the states at some places, to be written down."""
        return self.table.write(places)

    def read(self, places: Sequence[int], written: bytes) -> None:
        """Take the states that `write` returned.

        Raises:
            ValueError: if they are no states of as many scopes.
        """
        self.table.read(places, written)

    def excursion(self, place: int) -> Excursion | None:
        """Return the excursion of a scope; null if it has none."""
        return self.excursions.get(place)

    def fires(self, place: int) -> bool:
        """Tell whether a scope has an excursion that fires."""
        return place in self.excursions.firing

    # Records

    def add(self, place: int, new: Increment, hold: float) -> tuple[Turn, ...]:
        """Add the counts of one record. Without hits they matter only to what fires."""
        ended: tuple[Turn, ...] = ()
        excursion = self.excursion(place)
        if excursion is not None:
            live = excursion.live
            if live is not None and not excursion.has_gap_before(new.at):
                is_over = self._deciding.follow(place, excursion, live, new, hold)
                return self._end(place, excursion) if is_over else ()
            if not self._deciding.goes_on(place, excursion, new):
                ended = self._end(place, excursion)
                excursion = None
        if not new.hits or (excursion is None and self._begins_quietly(place, new)):
            return ended
        excursion, starts, has_risen = self._deciding.with_hits(place, excursion, new)
        if starts:
            self.table.count_starts(place, starts)
        self.excursions.keep(place, excursion)
        if not has_risen:
            return ended
        self.table.fired_until.pop(place, None)
        return (*ended, Turn(True, self.figures(place)))

    def _begins_quietly(self, place: int, new: Increment) -> bool:
        """Begin the excursion of a scope, unless it may fire at once, which hardly any may."""
        attempts, hits = counted(new)
        null = self.table.null(place)
        if self._deciding.may_fire_at_once(hits, null[0]):
            return False
        self.table.count_starts(place, 1)
        self.excursions.begin(place, new.at, null, (attempts, hits))
        return True

    def _end(self, place: int, excursion: Excursion) -> tuple[Turn, ...]:
        """End an excursion; of a scope that fires, the slow evidence too."""
        turns: tuple[Turn, ...] = ()
        if excursion.live is not None:
            turns = (Turn(False, self._figures_at_end(place, excursion, excursion.live)),)
            self.table.rows["slow"][place] = 0.0
            self.table.rows["slow_windows"][place] = 0
            self.table.fired_until[place] = excursion.ends_at // 1_000
        self.excursions.drop([place])
        return turns

    # Records in a row

    def prepare(self, series: Series, hold: float) -> Prepared:
        """Work out what counts do to excursions, and change nothing.

        Most begin an excursion that is over with the next hits. Only where that is not sure, a
        record is looked at by itself.
        """
        places, first = series.places, series.first_rows
        nulls = self.table.rate[places], self.table.weight[places]
        are_unsure = self._are_unsure(series, nulls)
        ends, is_easy = first + 1, ~are_unsure
        if len(first) < len(places):
            ends = np.append(first[1:], len(places))
            is_easy = np.logical_and.reduceat(is_easy, first)
        starts = ends - first
        followed: list[tuple[int, Excursion]] = []
        others: list[int] = []
        for scope in np.flatnonzero(~is_easy).tolist():
            rows = range(first.item(scope), ends.item(scope))
            course = self._course(series, rows, are_unsure[rows.start : rows.stop].tolist(), hold)
            if course is None:
                starts[scope] = 0
                others.append(rows.start)
            else:
                excursion, starts[scope] = course
                followed.append((places.item(rows.start), excursion))
        begun = ends[is_easy] - 1

        def apply() -> None:
            self.table.count_all_starts(places[first], starts)
            self.excursions.begin_all(series.at(begun), (nulls[0][begun], nulls[1][begun]))
            for place, excursion in followed:
                self.excursions.keep(place, excursion)

        return Prepared(others, apply)

    def _are_unsure(self, series: Series, nulls: Nulls) -> NDArray[np.bool_]:
        """Tell which rows may do more than begin an excursion, if the row before did that."""
        if self.settings.patience <= 0.0:
            return np.ones(len(series.places), np.bool_)
        are_unsure = self.excursions.may_go_on(series, nulls) | (series.attempts > LARGEST)
        may_fire = np.flatnonzero(
            ~are_unsure & self._deciding.may_be_enough(0.0, series.hits, nulls[0])
        )
        if len(may_fire):
            of_these = series.at(may_fire), (nulls[0][may_fire], nulls[1][may_fire])
            are_unsure[may_fire] = self.excursions.may_exceed(*of_these, self.settings.sensitivity)
        return are_unsure

    def _course(
        self, series: Series, rows: range, are_unsure: Sequence[bool], hold: float
    ) -> tuple[Excursion, int] | None:
        """Follow the excursions of a scope through its rows.

        Args:
            series: the counts.
            rows: of the scope.
            are_unsure: as `_are_unsure` has them.
            hold: as `add` is given it.

        Returns:
            The last excursion, and how many have begun; null if any turns or cannot be followed.
        """
        place = series.places.item(rows.start)
        excursion, all_starts = self.excursions.copy_of(place), 0
        begun: int | None = None
        """The row that it has begun with, if it is that of no further one."""
        is_as_assumed = True
        for row, is_unsure in zip(rows, are_unsure, strict=True):
            if is_as_assumed and not is_unsure:
                begun = row
                all_starts += 1
                continue
            if begun is not None:
                excursion, begun = self._deciding.begun_by(place, series.increment(begun)), None
            new = series.increment(row)
            try:
                after = self._step(place, excursion, new, hold)
            except Exception:  # noqa: BLE001 - `add` raises the same, of this scope alone
                return None
            if after is None:
                return None
            excursion, starts = after
            all_starts += starts
            is_as_assumed = excursion.has_one_record_of(new.attempts)
        if begun is not None:
            excursion = self._deciding.begun_by(place, series.increment(begun))
        return (excursion, all_starts) if excursion is not None else None

    def _step(
        self, place: int, excursion: Excursion | None, new: Increment, hold: float
    ) -> tuple[Excursion, int] | None:
        """Return an excursion with a further row, and how many begin with it; null if it turns."""
        if excursion is not None:
            live = excursion.live
            if live is not None:
                is_over = excursion.has_gap_before(new.at)
                is_over = is_over or self._deciding.follow(place, excursion, live, new, hold)
                return None if is_over else (excursion, 0)
            if not self._deciding.goes_on(place, excursion, new):
                excursion = None
        excursion, starts, has_risen = self._deciding.with_hits(place, excursion, new)
        return None if has_risen else (excursion, starts)

    # Shown

    def figures(self, place: int) -> FoldFigures:
        """Return the counts since the excursion began, and what they are judged by."""
        row, rate = self.table.rows[place], self.table.rate.item(place)
        excursion = self.excursion(place)
        if excursion is None:
            return FoldFigures(0, 0, 0, 0, None, rate)
        live = excursion.live
        if live is not None and live.run_attempts:
            excursion = msgspec.structs.replace(
                excursion,
                attempts=excursion.attempts + live.run_attempts,
                hits=excursion.hits + live.run_hits,
            )
        judge = self.excursions.judge(place, excursion)
        others = {
            "usual_attempts": self.table.usual_attempts(place),
            "dispersion": float(row["dispersion"]),
            "tolerated_rate": judge.found.tolerated,
            "limit_rate": judge.found.limit,
            "null_weight": excursion.weight,
            "attempts_weighed": excursion.stretch_attempts,
            "hits_weighed": excursion.stretch_hits,
            "attempts_clumped": excursion.most_attempts,
            "hits_clumped": excursion.most_hits,
            "evidence_before": excursion.evidence,
            "evidence": judge.evidence_of(excursion),
            "evidence_needed": self.table.needed(place),
            "seconds": excursion.last / 1_000,
            "seconds_lost": excursion.lost_seconds(excursion.last),
            "slow_evidence": float(row["slow"]),
            "slow_windows": int(row["slow_windows"]),
        }
        return FoldFigures(
            excursion.since,
            excursion.ends_at,
            excursion.attempts,
            excursion.hits,
            lower_bound(excursion),
            excursion.rate,
            {name: round(value, DECIMALS) for name, value in others.items()},
            _highest(excursion, live),
        )

    def usual_rate(self, place: int) -> float | None:
        """Return m, as it was learned from windows; null if most of it is what others have."""
        is_own = self.table.usual_attempts(place) >= baseline.ENOUGH_FOR_DISPERSION
        return self.table.rate.item(place) if is_own else None

    def _figures_at_end(self, place: int, excursion: Excursion, live: Live) -> FoldFigures:
        """Return the counts of the run that speaks for the usual rate; of all if there is none."""
        figures = self.figures(place)
        if not live.run_attempts:
            return figures
        return figures._replace(
            since=excursion.since + live.run_since,
            attempts=live.run_attempts,
            hits=live.run_hits,
            lower_bound=wilson.lower_bound(live.run_hits, live.run_attempts, CONFIDENCE),
        )


def _highest(excursion: Excursion, live: Live | None) -> Height | None:
    if live is None or not live.most_attempts:
        # Of what fired already when it was written by an earlier version, it is not known.
        return None
    since = excursion.since
    return Height(live.most_attempts, live.most_hits, since, since + live.most_at)
