"""What `spike` knows of the scopes of a rule, and how counts change it.

Each scope has a row of numbers, its baseline among them: they change when a window closes, for all
scopes that it has counts of at once. An excursion is a row of numbers too: it is looked at when its
scope has hits, and when a window closes. Only what fires is looked at with each record. The slow
path adds up the evidence of whole windows, for a rate that rose a little and stays.

Windows of few attempts say next to nothing of a rate, and are learned together.
"""

from collections.abc import Sequence
from math import log
from typing import Any, NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors import baseline, wilson
from streams.domain.detectors.baseline import (
    BASELINE,
    DECIMALS,
    NEWCOMER_LIMIT,
    Null,
    Reals,
    Rise,
    are_newcomers,
    newcomer,
    times_odds,
)
from streams.domain.detectors.evidence import Shifted
from streams.domain.detectors.excursion_table import ExcursionTable, Nulls, can_be
from streams.domain.detectors.excursions import (
    BESIDE_CLUMP,
    CONFIDENCE,
    LARGEST,
    LEAST_OF_STRETCH,
    LONG_STRETCH,
    Excursion,
    Judge,
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
from streams.domain.detectors.rows import at_places, extended, put, take
from streams.domain.pools import Pooled

LEAST_LEARNED = 30
"""Attempts: windows with fewer are learned together, when they have as many"""
MOST_WAITING = 10
"""or are so many windows."""
MOST_EXTRA = 3.0
"""Nats beyond `sensitivity` that it takes at most, of a scope in which excursions often begin."""
FALSE_A_DAY = 0.01
"""Excursions that began without evidence would come to what is needed so often a day: that is what
it is made for, within these bounds."""
WINDOWS_A_DAY = 1_440.0
STARTS, STARTS_MEMORY, LEAST_STARTS = 0.1, 60.0, 1e-6
"""Excursions that begin in a window: of a newcomer; how many windows their mean is of; and the
least mean."""
BURST_HITS = 30
"""Hits of one clump that need no patience, if most of its attempts are hits, and if the scope is
sent to in bursts: what is broken in a burst has no time to last,"""
BURST_SHARE = 3
"""which is to say that as many times the clump's attempts are no fewer than all in its window and
in the one before. A steady stream that falters for some seconds has many more."""
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
SURE_BASELINE = 200.0
"""Independent attempts: a baseline of so many does not learn windows that are clearly above L"""
SURE_EVIDENCE = 4.0
"""and have so many nats of evidence: a rate that varies much is to be learned as such; one of fewer
does not learn those that are clearly above the limit of newcomers."""
SURE_CONFIDENCE = 0.99
"""Of the lower bound of the rate that says so."""
POOLED_UNIT = 1_000
"""An independent attempt, in the sums of an app."""
MOST_OF_WINDOW = 30.0
POOLED_ATTEMPTS = 20.0
"""Independent attempts, at most, that a newcomer begins with, as others had them."""
POOLED_CAUTION = 50.0
"""Attempts of others that are worth one of its own."""
FLEET_ATTEMPTS = 50.0
"""Attempts of all apps that count for each app."""
MOST_BEGUN = 1_024
"""States of newcomers that are kept; then all are dropped, and worked out again when needed."""
_GROWTH = 1.125
"""Room is made for so many times as many scopes as there are."""
_MANY_STARTS = 65_535
_MOST_LAST = 2**32 - 1
_MOST_PAIRS = 65_535
"""Windows that wait have fewer."""

_ROW = np.dtype(
    [
        *((name, BASELINE[name]) for name in BASELINE.names or ()),
        ("starts", "<f4"),
        ("slow", "<f4"),
        ("last_attempts", "<u4"),
        ("waiting_attempts", "<u2"),
        ("waiting_hits", "<u2"),
        ("waiting_pairs", "<u2"),
        ("started", "<u2"),
        ("skipped", "<u2"),
        ("waiting_windows", "u1"),
        ("slow_windows", "u1"),
        ("is_doubtful", "u1"),
    ]
)
"""What is kept of a scope.

- those of `BASELINE`: what is usual.
- starts: excursions that begin in a window with attempts, on average.
- slow: evidence of windows in a row, in nats.
- last_attempts: in the newest closed window with any.
- waiting_attempts, waiting_hits: of windows that are to be learned together with the next one.
- waiting_pairs: ordered pairs of these attempts, n (n-1) of each window.
- started: excursions that began in these and since then.
- skipped: windows in a row that were not learned.
- waiting_windows: how many they are.
- slow_windows: how many windows `slow` has been above 0, up to `SLOW_WINDOWS`.
- is_doubtful: whether any of them may be part of an incident.
"""
_UNTIL_LEARNED = (
    "started",
    "waiting_attempts",
    "waiting_hits",
    "waiting_pairs",
    "waiting_windows",
    "is_doubtful",
)
"""What begins anew when the windows that waited are learned."""


class Settings(NamedTuple):
    """What operators set.

    Attributes:
        sensitivity: nats of evidence that it takes at least, c: by chance it comes once in e^c
            starts.
        rise: from which rate on it is worth an alert.
        patience: seconds that an excursion has to last,
        lost: or seconds of sends that it has to cost beyond what is usual.
    """

    sensitivity: float = 9.5
    rise: Rise = Rise()
    patience: float = 45.0
    lost: float = 6.0


class _Newcomer(NamedTuple):
    """The row of a scope that begins, the rate and weight of its null, and if these are unknown."""

    row: NDArray[np.void]
    null: tuple[float, float]
    is_newcomer: NDArray[np.bool_]


class _Written(msgspec.Struct, array_like=True):
    """States, as they are written down: the rows, and by position what not all scopes have."""

    rows: bytes
    excursions: dict[int, Excursion]
    fired_until: dict[int, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Written).decode


class SpikeStates(ScopeStates):
    """What `spike` knows of the scopes of one rule in one partition.

    Args:
        settings: what operators set.

    Attributes:
        excursions: of the scopes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.excursions = ExcursionTable(settings.rise)
        self._fired_until: dict[int, int] = {}
        """By place, the time (s) of the last record of what fired last, until it is learned that it
        is over."""
        self._begun: dict[Pooled, _Newcomer] = {}
        """The states of newcomers, by what others have learned."""
        self._nats_a_hit = -log(settings.rise.usual_up_to)
        """A bound of the evidence in a hit, as `AboveLimit` has it,"""
        self._bounded_up_to = times_odds(0.5, 1.0 / baseline.TOLERANCE)
        """if the usual rate is not higher than this."""
        self._slow_need = settings.sensitivity + SLOW_EXTRA
        self._rows = np.zeros(0, _ROW)
        # What follows from the rows: the null.
        self._rate = self._weight = np.zeros(0)

    def begin(self, places: Integers, pooled: Pooled) -> None:
        """Make the states at some places those of newcomers: their rate is that of their app."""
        self._make_room(int(places.max()) + 1)
        begun = self._begun.get(pooled)
        if begun is None:
            if len(self._begun) >= MOST_BEGUN:
                self._begun.clear()
            begun = self._begun[pooled] = self._newcomer(pooled)
        put(self._rows, places, begun.row)
        self._rate[places], self._weight[places] = begun.null
        self.excursions.forget(places)
        self.excursions.set_newcomers(places, begun.is_newcomer)
        self._forget_fired(places)

    def _forget_fired(self, places: Integers) -> None:
        if self._fired_until:
            for place in places.tolist():
                self._fired_until.pop(place, None)

    def _newcomer(self, pooled: Pooled) -> _Newcomer:
        row = np.zeros(1, _ROW)
        begun = newcomer(*_prior(pooled))
        for name in BASELINE.names or ():
            row[name] = begun[name]
        row["starts"] = STARTS
        null = Null.of(row)
        return _Newcomer(row, (null.rate.item(0), null.weight.item(0)), are_newcomers(row))

    def _make_room(self, places: int) -> None:
        more = max(16, int(places * _GROWTH)) - len(self._rows) if places > len(self._rows) else 0
        if more:
            self._rows = extended(self._rows, more)
            self.excursions.make_room(more)
            room = np.zeros(more)
            self._rate = np.concatenate((self._rate, room))
            self._weight = np.concatenate((self._weight, room))

    def needed(self, place: int) -> float:
        """Return how much evidence an excursion of a scope needs, in nats.

        One false start of as many as there are in a day is to be rare enough.
        """
        least = self.settings.sensitivity
        starts = max(self._rows["starts"].item(place), LEAST_STARTS) * WINDOWS_A_DAY
        return round(min(max(log(starts / FALSE_A_DAY), least), least + MOST_EXTRA), DECIMALS)

    def null(self, place: int) -> tuple[float, float]:
        """Return the usual rate m of a scope, and the weight of its null, a + b."""
        return self._rate.item(place), self._weight.item(place)

    def is_sure(self, place: int) -> bool:
        """Tell whether a scope has a baseline of `SURE_BASELINE` attempts."""
        return self.usual_attempts(place) >= SURE_BASELINE

    def usual_attempts(self, place: int) -> float:
        """Return how many independent attempts the baseline of a scope was learned from."""
        row = self._rows[place]
        return float(row["hits"]) + float(row["misses"])

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
                is_over = self._follow(place, excursion, live, new, hold)
                return self._end(place, excursion) if is_over else ()
            if not self._goes_on(place, excursion, new):
                ended = self._end(place, excursion)
                excursion = None
        if not new.hits or (excursion is None and self._begins_quietly(place, new)):
            return ended
        excursion, starts, has_risen = self._with_hits(place, excursion, new)
        self._count_starts(place, starts)
        self.excursions.keep(place, excursion)
        if not has_risen:
            return ended
        self._fired_until.pop(place, None)
        return (*ended, Turn(True, self.figures(place)))

    def _begins_quietly(self, place: int, new: Increment) -> bool:
        """Begin the excursion of a scope, unless it may fire at once, which hardly any may."""
        attempts, hits = _counted(new)
        null = self.null(place)
        if self._may_fire_at_once(hits, null[0]):
            return False
        self._count_starts(place, 1)
        self.excursions.begin(place, new.at, null, (attempts, hits))
        return True

    def _count_starts(self, place: int, more: int) -> None:
        started = self._rows["started"]
        started[place] = min(started.item(place) + more, _MANY_STARTS)

    def _goes_on(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Tell whether an excursion is not over before new hits, with the attempts before them."""
        excursion.add_attempts(new.before)
        longest = max(new.at - excursion.since, excursion.attempts + new.attempts)
        if longest > LARGEST or excursion.has_gap_before(new.at):
            return False
        return self.excursions.judge(place, excursion).exceeds(excursion, 0.0)

    def _with_hits(
        self, place: int, excursion: Excursion | None, new: Increment
    ) -> tuple[Excursion, int, bool]:
        """Add new hits to an excursion, or begin one with them.

        Returns:
            The excursion, how many begin with these hits, and whether it fires.
        """
        if excursion is None:
            excursion, starts = self._begun_by(place, new), 1
            if not self._may_fire_at_once(excursion.hits, excursion.rate):
                return excursion, starts, False
        else:
            attempts, hits = _counted(new)
            excursion.add(attempts, hits, new.at - excursion.since)
            is_new = excursion.has_clump_of_hits and self._begins_with_clump(place, excursion)
            starts = int(is_new)
        return excursion, starts, self._has_risen(place, excursion, new)

    def _begun_by(self, place: int, new: Increment) -> Excursion:
        return Excursion.begun(new.at, self.null(place), *_counted(new))

    # Records in a row

    def prepare(self, series: Series, hold: float) -> Prepared:
        """Work out what counts do to excursions, and change nothing.

        Most begin an excursion that is over with the next hits. Only where that is not sure, a
        record is looked at by itself.
        """
        places, first = series.places, series.first_rows
        nulls = self._rate[places], self._weight[places]
        are_unsure = self._are_unsure(series, nulls)
        ends = np.append(first[1:], len(places))
        starts = ends - first
        is_easy = ~np.logical_or.reduceat(are_unsure, first) if len(first) else are_unsure
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

        def take() -> None:
            started = self._rows["started"]
            all_starts = started[places[first]] + starts
            started[places[first]] = np.minimum(all_starts, _MANY_STARTS)
            self.excursions.begin_all(series.at(begun), (nulls[0][begun], nulls[1][begun]))
            for place, excursion in followed:
                self.excursions.keep(place, excursion)

        return Prepared(others, take)

    def _are_unsure(self, series: Series, nulls: Nulls) -> NDArray[np.bool_]:
        """Tell which rows may do more than begin an excursion, if the row before did that."""
        if self.settings.patience <= 0.0:
            return np.ones(len(series.places), np.bool_)
        are_unsure = self.excursions.may_go_on(series, nulls) | (series.attempts > LARGEST)
        may_fire = np.flatnonzero(~are_unsure & self._may_be_enough(0.0, series.hits, nulls[0]))
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
                excursion, begun = self._begun_by(place, series.increment(begun)), None
            new = series.increment(row)
            try:
                after = self._step(place, excursion, new, hold)
            except Exception:  # noqa: BLE001 - `add` raises the same, of this scope alone
                return None
            if after is None:
                return None
            excursion, starts = after
            all_starts += starts
            # It is as if it had begun with this row.
            is_as_assumed = excursion.attempts == new.attempts
        if begun is not None:
            excursion = self._begun_by(place, series.increment(begun))
        return (excursion, all_starts) if excursion is not None else None

    def _step(
        self, place: int, excursion: Excursion | None, new: Increment, hold: float
    ) -> tuple[Excursion, int] | None:
        """Return an excursion with a further row, and how many begin with it; null if it turns."""
        if excursion is not None:
            live = excursion.live
            if live is not None:
                is_over = excursion.has_gap_before(new.at)
                is_over = is_over or self._follow(place, excursion, live, new, hold)
                return None if is_over else (excursion, 0)
            if not self._goes_on(place, excursion, new):
                excursion = None
        excursion, starts, has_risen = self._with_hits(place, excursion, new)
        return None if has_risen else (excursion, starts)

    # Excursions

    def _begins_with_clump(self, place: int, excursion: Excursion) -> bool:
        """Begin an excursion anew with its present clump, if all of it is not enough and says less.

        Less by as much as it would have to gather beside the clump. Tell whether that is so.
        """
        judge, null = self.excursions.judge(place, excursion), self.null(place)
        is_new = null != (excursion.rate, excursion.weight)
        of_clump = self.excursions.new_judge(place, null) if is_new else judge
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
            excursion.begin_stretch(at, self.needed(place), self.null(place))
            return
        is_long = at - excursion.stretch_since >= LONG_STRETCH
        if is_long and excursion.stretch_attempts >= LEAST_OF_STRETCH:
            evidence = judge.evidence_of(excursion)
            if evidence > 0.0:
                excursion.begin_stretch(at, evidence, self.null(place))

    def _may_fire_at_once(self, hits: int, rate: float) -> bool:
        """Tell whether an excursion that begins with so many hits may fire, by a bound."""
        return self.settings.patience <= 0.0 or self._may_be_enough(0.0, hits, rate)

    @overload
    def _may_be_enough(self, evidence: float, hits: int, rate: float) -> bool: ...
    @overload
    def _may_be_enough(self, evidence: float, hits: Integers, rate: Reals) -> NDArray[np.bool_]: ...
    def _may_be_enough(
        self, evidence: float, hits: int | Integers, rate: float | Reals
    ) -> bool | NDArray[np.bool_]:
        """Tell whether evidence and further hits may be what an excursion needs, by a bound."""
        most = evidence + hits * self._nats_a_hit
        return (most >= self.settings.sensitivity) | (rate > self._bounded_up_to)

    def _is_enough(self, place: int, excursion: Excursion, judge: Judge) -> bool:
        """Tell whether an excursion has more evidence than it needs."""
        evidence, hits = excursion.evidence, excursion.stretch_hits
        if not self._may_be_enough(evidence, hits, excursion.rate):
            return False
        least = self.settings.sensitivity
        return judge.exceeds(excursion, least) and judge.exceeds(excursion, self.needed(place))

    def _has_risen(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Let an excursion with new hits fire if it has to, or else end its stretch.

        Returns:
            Whether it fires.
        """
        at = new.at - excursion.since
        judge = self.excursions.judge(place, excursion)
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
        is_patient = at >= self.settings.patience * 1_000
        if not is_patient and excursion.lost_seconds(at) < self.settings.lost:
            return False
        return not judge.is_of_one_clump(excursion, is_sure=self.is_sure(place))

    def _is_broken_burst(self, place: int, excursion: Excursion, new: Increment) -> bool:
        """Tell whether the present clump is most of what a scope sends, and most of it hits."""
        attempts, hits = excursion.clump_attempts, excursion.clump_hits
        if hits < BURST_HITS or 2 * hits < attempts:
            return False
        others = new.so_far(place)[0] + int(self._rows["last_attempts"][place])
        return BURST_SHARE * attempts >= others

    def _is_slow_rise(self, place: int, at: int, new: Increment) -> bool:
        if at < self.settings.patience * 1_000:
            return False
        row = self._rows[place]
        if row["slow_windows"] < SLOW_WINDOWS:
            return False
        more = self._shifted(place).log_ratio(*new.so_far(place))
        return more > 0.0 and float(row["slow"]) + more >= self._slow_need

    def _shifted(self, place: int) -> Shifted:
        judge = Judge(*self.null(place), self.settings.rise)
        return Shifted(judge.found.a, judge.found.b, times_odds(judge.found.limit, SLOW_ODDS))

    def _follow(
        self, place: int, excursion: Excursion, live: Live, new: Increment, hold: float
    ) -> bool:
        """Add counts to what fires; tell whether it is over, in `hold` s at the earliest."""
        excursion.last = max(excursion.last, new.at - excursion.since)
        live.run_attempts += new.attempts
        live.run_hits += new.hits
        attempts, hits = excursion.attempts + live.run_attempts, excursion.hits + live.run_hits
        live.see(attempts, hits, excursion.last)
        judge, hold_ms = self.excursions.judge(place, excursion), round(hold * 1_000)
        return judge.is_over(excursion, live, hold_ms, has_hits=new.hits > 0)

    def _end(self, place: int, excursion: Excursion) -> tuple[Turn, ...]:
        """End an excursion; of a scope that fires, the slow evidence too."""
        turns: tuple[Turn, ...] = ()
        if excursion.live is not None:
            turns = (Turn(False, self._figures_at_end(place, excursion, excursion.live)),)
            self._rows["slow"][place] = 0.0
            self._rows["slow_windows"][place] = 0
            self._fired_until[place] = excursion.ends_at // 1_000
        self.excursions.drop([place])
        return turns

    # Closed windows

    def learn(self, window: ClosedWindow) -> Integers:
        """Learn the counts of a window that has closed, or keep them for the next ones.

        Returns:
            Hits and misses that were learned, in `POOLED_UNIT`, a row for each scope.
        """
        self.excursions.end_old(window)
        places = window.places
        rows = take(self._rows, places)
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
            self._rate[due.places], self._weight[due.places] = Null.of(after)
            self.excursions.learn_newcomers(due, are_newcomers(after))
        put(self._rows, places, rows)
        if len(at):
            self.excursions.end_usual(due)
        return learned

    def _fired_in(self, window: ClosedWindow) -> NDArray[np.bool_]:
        """Tell for each scope whether it fires, or did when the window was open."""
        fired = np.zeros(len(window.places), np.bool_)
        firing = self.excursions.firing
        if firing or self._fired_until:
            at = {place: position for position, place in enumerate(window.places.tolist())}
            fired[[at[place] for place in firing if place in at]] = True
            for place in [each for each in self._fired_until if each in at]:
                if self._fired_until[place] >= window.start:
                    fired[at[place]] = True
                else:
                    del self._fired_until[place]
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
        null = Null(self._rate[due.places], self._weight[due.places])
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
        tolerated, limit = baseline.levels(rate, self.settings.rise)
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
        _, limit = baseline.levels(null.rate, self.settings.rise)
        suspects = (known >= SURE_BASELINE) & (lowest > limit) & ~is_doubtful
        for at in np.flatnonzero(suspects).tolist():
            judge = Judge(null.rate.item(at), null.weight.item(at), self.settings.rise)
            counts = due.attempts.item(at), due.hits.item(at)
            is_doubtful[at] = judge.above.exceeds(*counts, SURE_EVIDENCE)
        most_fail = 2 * due.hits > due.attempts
        shares = np.where(most_fail, DOUBTFUL_IF_MOST_FAIL, DOUBTFUL)
        # The rate of a newcomer that may be usual is learned, or it would seem to rise for ever.
        may_be_usual = are_newcomers(rows) & (due.hits <= NEWCOMER_LIMIT * due.attempts)
        # Of what is known already no excursion has to be looked at.
        is_known = is_doubtful | may_be_usual
        levels = np.where(is_known, np.inf, shares * self.settings.sensitivity)
        return is_doubtful | self.excursions.exceed(due, levels)

    # Shown, written down and read back

    def figures(self, place: int) -> FoldFigures:
        """Return the counts since the excursion began, and what they are judged by."""
        row, rate = self._rows[place], self._rate.item(place)
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
            "usual_attempts": self.usual_attempts(place),
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
            "evidence_needed": self.needed(place),
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
        is_own = self.usual_attempts(place) >= baseline.ENOUGH_FOR_DISPERSION
        return self._rate.item(place) if is_own else None

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

    def row(self, place: int) -> dict[str, Any]:
        """Return all that is kept of a scope but its excursion, by name."""
        return {name: self._rows[place][name].tolist() for name in _ROW.names or ()}

    def write(self, places: Sequence[int]) -> bytes:
        """Return the states at some places, to be written down."""
        fired = self._fired_until
        rows = at_places(self._rows, places)
        until = {n: fired[p] for n, p in enumerate(places) if p in fired} if fired else {}
        return _encode((rows.tobytes(), self.excursions.written(places), until))

    def read(self, places: Sequence[int], written: bytes) -> None:
        """Take the states that `write` returned.

        Raises:
            ValueError: if they are no states of as many scopes.
        """
        try:
            states = _decode(written)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not states of spike: {error}") from error
        positions = range(len(places))
        if len(states.rows) != len(places) * _ROW.itemsize or any(
            position not in positions for position in (*states.excursions, *states.fired_until)
        ):
            raise ValueError(f"not states of {len(places)} scopes")
        if not all(map(can_be, states.excursions.values())):
            raise ValueError("not states of spike: an excursion has impossible numbers")
        if not places:
            return
        self._make_room(max(places) + 1)
        at = np.array(places)
        self.excursions.forget(at)
        self._forget_fired(at)
        rows = np.frombuffer(states.rows, _ROW)
        put(self._rows, at, rows)
        self._rate[at], self._weight[at] = Null.of(rows)
        self.excursions.set_newcomers(at, are_newcomers(rows))
        self.excursions.restore(places, states.excursions)
        for position, until in states.fired_until.items():
            self._fired_until[places[position]] = until


def _counted(new: Increment) -> tuple[int, int]:
    """Return attempts and hits of a record, as far as an excursion counts them."""
    attempts = min(new.attempts, LARGEST)
    return attempts, min(new.hits, attempts)


def _prior(pooled: Pooled) -> tuple[float, float]:
    """Return the hits and misses that a newcomer begins with."""
    fleet_hits, fleet_misses = pooled.fleet
    hits, misses = pooled.app
    known = fleet_hits + fleet_misses
    if not known:
        return 0.0, 0.0
    like_fleet = FLEET_ATTEMPTS * POOLED_UNIT / known
    hits_of, misses_of = hits + like_fleet * fleet_hits, misses + like_fleet * fleet_misses
    weight = min(POOLED_ATTEMPTS, known / POOLED_UNIT / POOLED_CAUTION)
    share = weight / (hits_of + misses_of)
    return share * hits_of, share * misses_of


def _highest(excursion: Excursion, live: Live | None) -> Height | None:
    if live is None or not live.most_attempts:
        # Of what fired already when it was written by an earlier version, it is not known.
        return None
    since = excursion.since
    return Height(live.most_attempts, live.most_hits, since, since + live.most_at)
