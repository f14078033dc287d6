"""The excursions of the scopes of a rule, by place.

Those that fire are few, and change with each record. The others are rows of numbers: they are
looked at when their scopes have hits, and many at once when a window closes.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from struct import Struct
from typing import NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import astuple, replace
from numpy.typing import NDArray

from streams.domain.detectors import baseline
from streams.domain.detectors.baseline import Reals, Rise
from streams.domain.detectors.evidence import LEAST_WEIGHT
from streams.domain.detectors.excursions import GAP, LARGEST, NUMBERS, Excursion, Judge
from streams.domain.detectors.folding import ClosedWindow, Integers, Series
from streams.domain.detectors.rows import Rows, extended, put, take

MOST_JUDGES = 8_192
"""Judges of excursions that are kept, some 400 bytes each; then all are made anew when needed."""

MANY = 16
"""Excursions of which so many at once are looked at for less than as many by themselves."""
_MARGIN = 1e-6
"""Nats: as much evidence may be none, as a bound of that of many excursions has an error"""
_MOST_BOUNDED = 1e6
"""of less than a hundredth of that for up to so many attempts."""

_FORMATS = {"<i8": "q", "<f8": "d", "<u4": "I"}
_ROW = Struct("<" + "".join(_FORMATS[NUMBERS[name].str] for name in NUMBERS.names or ()))
"""One row of `NUMBERS`: NumPy takes several times as long for one."""

_ATTEMPTS = "attempts", "stretch_attempts", "clump_attempts", "most_attempts"
_HITS = "hits", "stretch_hits", "clump_hits", "most_hits"
"""Of an excursion that begins, these are of its first record; the other counts are 0."""

Written: TypeAlias = dict[int, Excursion | tuple[float, ...]]
"""Excursions by position, as they are written down: those that do not fire as their numbers."""


Nulls: TypeAlias = tuple[Reals, Reals]
"""The usual rates of scopes, and the weights of their nulls."""


class _Judged(NamedTuple):
    """What the evidence of excursions follows from: those of a row of numbers, one of each array.

    Attributes:
        rate: as `Excursion` has it, and so on.
        weight: of the null.
        evidence: of the stretches before the present one.
        attempts: of the present stretch.
        hits: of these.
    """

    rate: Reals
    weight: Reals
    evidence: Reals
    attempts: Reals
    hits: Reals


class ExcursionTable:
    """The excursions of the scopes of a rule.

    Args:
        rise: from which rate on it is worth an alert.

    Attributes:
        firing: by place, the excursions that fire.
    """

    def __init__(self, rise: Rise) -> None:
        self._rise = rise
        self._rise_of_newcomers = rise.of_newcomers
        self.firing: dict[int, Excursion] = {}
        self._quiet = np.zeros(0, NUMBERS)
        """By place, the others, where `_is_quiet`: most scopes have none."""
        self._is_quiet = np.zeros(0, np.bool_)
        self._bytes = memoryview(b"")
        """The same rows, for one at a time."""
        self._are_newcomers = np.zeros(0, np.bool_)
        self._judges: dict[int, Judge] = {}
        """By place, of the newest nulls; those that are missing are made when needed."""

    def make_room(self, more: int) -> None:
        """Add so many places."""
        self._quiet = extended(self._quiet, more)
        self._is_quiet = np.concatenate((self._is_quiet, np.zeros(more, np.bool_)))
        self._bytes = self._quiet.view(np.uint8).data
        self._are_newcomers = np.concatenate((self._are_newcomers, np.zeros(more, np.bool_)))

    def set_newcomers(self, places: Integers, are_newcomers: NDArray[np.bool_]) -> None:
        """Note of which scopes it is not known what is usual."""
        self._are_newcomers[places] = are_newcomers

    def is_newcomer(self, place: int) -> bool:
        """Tell whether it is not known yet what is usual in a scope."""
        is_newcomer: bool = self._are_newcomers.item(place)
        return is_newcomer

    def get(self, place: int) -> Excursion | None:
        """Return the excursion of a scope; null if it has none."""
        excursion = self.firing.get(place)
        if excursion is None and self._is_quiet.item(place):
            return self.quiet_at(place)
        return excursion

    def quiet_at(self, place: int) -> Excursion:
        """Return the excursion of a scope that has one which does not fire."""
        return Excursion(*_ROW.unpack_from(self._bytes, place * _ROW.size))

    def begin(
        self, place: int, since: int, null: tuple[float, float], counts: tuple[int, int]
    ) -> None:
        """Begin the excursion of a scope.

        Args:
            place: of the scope.
            since: event time of the record (ms).
            null: its usual rate, and the weight of its null.
            counts: attempts and hits, above 0, in the record.
        """
        numbers = since, *null, 0, *counts, 0.0, 0, *counts, 0, *counts, *counts
        _ROW.pack_into(self._bytes, place * _ROW.size, *numbers)
        self._is_quiet[place] = True

    def copy_of(self, place: int) -> Excursion | None:
        """Return a copy of the excursion of a scope; null if it has none."""
        firing = self.firing.get(place)
        return self.get(place) if firing is None else replace(firing, live=copy(firing.live))

    def may_go_on(self, series: Series, nulls: Nulls) -> NDArray[np.bool_]:
        """Tell for each row whether the excursion before it may not be over.

        That is the scope's one or, after the first row of the scope, one that begins with the row
        before. What fires may go on; of few, any may.

        Args:
            series: the rows.
            nulls: of each row's scope.
        """
        places, first = series.places, series.first_rows
        are_first = np.zeros(len(places), np.bool_)
        are_first[first] = True
        may_go_on = self._is_quiet[places] | ~are_first
        (there,) = may_go_on.nonzero()
        if len(there) >= MANY:
            judged, ends_at = self._before(series, nulls, there, are_first[there])
            most = self._most_evidence_after(judged, places[there], series.before[there])
            may_go_on[there] = (series.times[there] - ends_at <= GAP) & (most >= -_MARGIN)
        if self.firing:
            may_go_on |= np.isin(places, list(self.firing))
        return may_go_on

    def may_exceed(self, series: Series, nulls: Nulls, level: float) -> NDArray[np.bool_]:
        """Tell for each row whether what it says by itself may be above a level, in nats.

        Of few, any may be.

        Args:
            series: the rows.
            nulls: of each row's scope.
            level: above 0.
        """
        if len(series.places) < MANY:
            return np.ones(len(series.places), np.bool_)
        counts = series.attempts.astype(np.float64), series.hits.astype(np.float64)
        judged = _Judged(*nulls, np.zeros(len(series.places)), *counts)
        may_exceed: NDArray[np.bool_] = (
            self._most_evidence_after(judged, series.places, np.zeros(1)) >= level - _MARGIN
        )
        return may_exceed

    def _before(
        self, series: Series, nulls: Nulls, rows: Integers, are_first: NDArray[np.bool_]
    ) -> tuple["_Judged", Integers]:
        """Return what there is before some rows, as `may_go_on` has it, and when it ends (ms)."""
        (first,) = are_first.nonzero()
        of_table, ends_at = self._judged(series.places[rows[first]])
        if len(first) == len(rows):
            return of_table, ends_at
        before = rows - 1
        counts = (each[before].astype(np.float64) for each in (series.attempts, series.hits))
        judged = _Judged(nulls[0][rows], nulls[1][rows], np.zeros(len(rows)), *counts)
        for column, of_first in zip(judged, of_table, strict=True):
            column[first] = of_first
        all_ends = series.times[before]
        all_ends[first] = ends_at
        return judged, all_ends

    def _judged(self, places: Integers) -> tuple["_Judged", Integers]:
        """Return what the excursions at some places are judged by, and when they end (ms)."""
        quiet = take(self._quiet, places)
        counts = (quiet[name].astype(np.float64) for name in ("stretch_attempts", "stretch_hits"))
        judged = _Judged(quiet["rate"], quiet["weight"], quiet["evidence"], *counts)
        return judged, quiet["since"] + quiet["last"]

    def _most_evidence_after(
        self, judged: "_Judged", places: Integers, before: Integers | Reals
    ) -> Reals:
        """Return a bound of the evidence of excursions after further attempts without hits.

        It is what `AboveLimit.exceeds` compares with a level.
        """
        rate, weight, hits = judged.rate, judged.weight, judged.hits
        attempts = judged.attempts + before
        misses = attempts - hits
        tolerated, limit = baseline.levels(rate, self._rise)
        least = np.where(self._are_newcomers[places], self._rise_of_newcomers.least, 0.0)
        limit, a = np.maximum(limit, least), tolerated * weight
        null_hits, null_misses, null_all = baseline.log_risings(
            (a, hits), (weight - a, misses), (weight, attempts)
        )
        of_hits, of_misses, of_all = map(baseline.log_factorials, (hits, misses, attempts + 1.0))
        ours, log_rest = of_hits + of_misses - of_all, np.log1p(-limit)
        most: Reals = judged.evidence + ours - log_rest - null_hits - null_misses + null_all
        # Below the mean, the probability that the rate is above the limit is less than 1.
        terms = hits * (1.0 - limit) / ((misses + 2.0) * limit)
        is_below = (hits <= attempts * limit) & (terms < 1.0)
        density = hits * np.log(limit) + misses * log_rest - ours
        first = density + log_rest - np.log(misses + 1.0)
        tail = first - np.log1p(-np.where(is_below, terms, 0.0))
        most = most + np.where(is_below, np.minimum(tail, 0.0), 0.0)
        return np.where(attempts <= _MOST_BOUNDED, most, np.inf)

    def begin_all(self, series: Series, nulls: Nulls) -> None:
        """Do what `begin` does for each row of a series, all of scopes of their own.

        Args:
            series: the rows.
            nulls: of each row's scope.
        """
        rows = np.zeros(len(series.places), NUMBERS)
        rows["since"] = series.times
        rows["rate"], rows["weight"] = nulls
        for name in _ATTEMPTS:
            rows[name] = series.attempts
        for name in _HITS:
            rows[name] = series.hits
        put(self._quiet, series.places, rows)
        self._is_quiet[series.places] = True

    def keep(self, place: int, excursion: Excursion) -> None:
        """Make an excursion that of a scope."""
        if excursion.live is None:
            _ROW.pack_into(self._bytes, place * _ROW.size, *astuple(excursion)[:-1])
            self._is_quiet[place] = excursion.attempts > 0
        else:
            self._is_quiet[place] = False
            self.firing[place] = excursion

    def drop(self, places: Iterable[int]) -> None:
        """End the excursions at some places, if there are any."""
        for place in places:
            self._is_quiet[place] = False
            self.firing.pop(place, None)

    def judge(self, place: int, excursion: Excursion) -> Judge:
        """Return what an excursion's counts are judged by."""
        judge = self._judges.get(place)
        if judge is None or not judge.is_of(excursion, self._rise_of(place)):
            if len(self._judges) >= MOST_JUDGES:
                self._judges.clear()
            judge = self.new_judge(place, (excursion.rate, excursion.weight))
            self._judges[place] = judge
        return judge

    def new_judge(self, place: int, null: tuple[float, float]) -> Judge:
        """Return what counts of a scope are judged by, with this usual rate and weight."""
        return Judge(*null, self._rise_of(place))

    def _rise_of(self, place: int) -> Rise:
        return self._rise_of_newcomers if self.is_newcomer(place) else self._rise

    # Many at once, of those that do not fire

    def exceed(self, window: ClosedWindow, levels: Reals) -> NDArray[np.bool_]:
        """Tell for each scope whether the evidence of its excursion is above a level, in nats."""
        exceed = np.zeros(len(window.places), np.bool_)
        (there,) = self._is_quiet[window.places].nonzero()
        most = self._most_evidence(take(self._quiet, window.places[there]))
        for at in there[most > levels[there]].tolist():
            place, unseen = window.places.item(at), window.unseen.item(at)
            exceed[at] = self._exceeds(place, unseen, levels.item(at))
        return exceed

    def _exceeds(self, place: int, unseen: int, level: float) -> bool:
        excursion = self.quiet_at(place)
        excursion.add_attempts(unseen)
        return self.judge(place, excursion).exceeds(excursion, level)

    def _most_evidence(self, quiet: Rows) -> Reals:
        """Return a bound of the evidence of excursions, as `AboveLimit` has it."""
        # The limit of newcomers is not below this one: what is a bound with it is one of theirs.
        tolerated, limit = baseline.levels(quiet["rate"], self._rise)
        is_bound = (tolerated <= np.minimum(limit, 0.5)) & (quiet["weight"] >= LEAST_WEIGHT)
        nats_a_hit = np.where(is_bound, -np.log(tolerated), np.inf)
        with np.errstate(invalid="ignore"):
            most: Reals = quiet["evidence"] + quiet["stretch_hits"] * nats_a_hit
        return most

    def end_old(self, window: ClosedWindow) -> None:
        """End excursions without hits for so long before a window that the next would end them."""
        places = self._with_excursion(window).places
        ended = self._quiet["since"][places] + self._quiet["last"][places]
        self.drop(places[1_000 * window.start - ended > GAP].tolist())

    def _with_excursion(self, window: ClosedWindow) -> ClosedWindow:
        """Return the counts of those scopes alone that have an excursion which does not fire."""
        return window.at(self._is_quiet[window.places].nonzero()[0])

    def end_usual(self, window: ClosedWindow) -> None:
        """End excursions of which nothing is left: their next hit would end them as well."""
        window = self._with_excursion(window)
        quiet = take(self._quiet, window.places)
        # With a rate that is no news there may be evidence left, but hardly ever.
        attempts = quiet["stretch_attempts"] + window.unseen
        tolerated, _ = baseline.levels(quiet["rate"], self._rise)
        is_usual = quiet["stretch_hits"] <= tolerated * attempts
        places, unseen = window.places[is_usual].tolist(), window.unseen[is_usual].tolist()
        for place, more in zip(places, unseen, strict=True):
            if not self._exceeds(place, more, 0.0):
                self._is_quiet[place] = False

    def learn_newcomers(self, window: ClosedWindow, are_newcomers: NDArray[np.bool_]) -> None:
        """Note again of which scopes it is not known what is usual, as a window closes.

        Where that changes, so does what excursions are judged by. Those of which nothing is left
        before end, as they would have at the first attempt at which nothing was.
        """
        changes = self._are_newcomers[window.places] != are_newcomers
        changing = self._with_excursion(window.at(np.flatnonzero(changes)))
        for place, unseen in zip(changing.places.tolist(), changing.unseen.tolist(), strict=True):
            if not self._exceeds(place, unseen, 0.0):
                self._is_quiet[place] = False
        self.set_newcomers(window.places, are_newcomers)

    def forget(self, places: Integers) -> None:
        """End all excursions at some places, of many that have none."""
        self._is_quiet[places] = False
        if self.firing:
            self.drop(places.tolist())

    # Written down and read back

    def written(self, places: Sequence[int]) -> Written:
        """Return the excursions at some places, by position."""
        found: Written = {}
        if isinstance(places, range) and places.step == 1:
            is_quiet = self._is_quiet[places.start : places.stop]
        else:
            is_quiet = self._is_quiet[np.array(places, np.int64)]
        (there,) = is_quiet.nonzero()
        for position in there.tolist():
            found[position] = _ROW.unpack_from(self._bytes, places[position] * _ROW.size)
        firing = self.firing
        if firing:
            found |= {n: firing[place] for n, place in enumerate(places) if place in firing}
        return found

    def restore(self, places: Sequence[int], excursions: Mapping[int, Excursion]) -> None:
        """Take excursions by the positions of their places; there are none at these."""
        for position, excursion in excursions.items():
            self.keep(places[position], excursion)


def can_be(excursion: Excursion) -> bool:
    """Tell whether numbers that were read are those of an excursion."""
    numbers = astuple(excursion)[:-1]
    return min(numbers) >= 0 and (excursion.live is not None or max(numbers[3:]) <= LARGEST)
