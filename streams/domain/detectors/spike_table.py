"""What `spike` keeps of the scopes of a rule: a row of numbers for each, and its excursion."""

from collections.abc import Sequence
from math import log
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors.baseline import (
    BASELINE,
    DECIMALS,
    Null,
    Rise,
    are_newcomers,
    newcomer,
)
from streams.domain.detectors.excursion_table import ExcursionTable, can_be
from streams.domain.detectors.excursions import Excursion
from streams.domain.detectors.folding import Integers
from streams.domain.detectors.rows import at_places, extended, put
from streams.domain.pools import Pooled

MOST_EXTRA = 3.0
"""Nats beyond `sensitivity` that it takes at most, of a scope in which excursions often begin."""
FALSE_A_DAY = 0.01
"""Excursions that began without evidence would come to what is needed so often a day: that is what
it is made for, within these bounds."""
WINDOWS_A_DAY = 1_440.0
STARTS, LEAST_STARTS = 0.1, 1e-6
"""Excursions that begin in a window: of a newcomer; and the least mean."""
SURE_BASELINE = 200.0
"""Independent attempts: of a scope with a baseline of so many it is well known what is usual."""
POOLED_UNIT = 1_000
"""An independent attempt, in the sums of an app."""
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

ROW = np.dtype(
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
- slow_windows: how many windows `slow` has been above 0, up to
  `spike_learning.SLOW_WINDOWS`.
- is_doubtful: whether any of them may be part of an incident.
"""


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


class SpikeTable:
    """What `spike` keeps of the scopes of one rule in one partition, by place.

    Args:
        settings: what operators set.

    Attributes:
        settings: the same.
        rows: of the scopes, as `ROW` has them.
        rate: the usual rate m of each scope,
        weight: and the weight of its null, a + b: both follow from the row.
        excursions: of the scopes.
        fired_until: the time (s) of the last record of what fired last, until it is learned that it
            is over.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows = np.zeros(0, ROW)
        self.rate = self.weight = np.zeros(0)
        self.excursions = ExcursionTable(settings.rise)
        self.fired_until: dict[int, int] = {}
        self._begun: dict[Pooled, _Newcomer] = {}
        """The states of newcomers, by what others have learned."""

    def begin(self, places: Integers, pooled: Pooled) -> None:
        """Make the states at some places those of newcomers: their rate is that of their app."""
        self._make_room(int(places.max()) + 1)
        begun = self._begun.get(pooled)
        if begun is None:
            if len(self._begun) >= MOST_BEGUN:
                self._begun.clear()
            begun = self._begun[pooled] = self._newcomer(pooled)
        put(self.rows, places, begun.row)
        self.rate[places], self.weight[places] = begun.null
        self.excursions.forget(places)
        self.excursions.set_newcomers(places, begun.is_newcomer)
        self._forget_fired(places)

    def _forget_fired(self, places: Integers) -> None:
        if self.fired_until:
            for place in places.tolist():
                self.fired_until.pop(place, None)

    def _newcomer(self, pooled: Pooled) -> _Newcomer:
        row = np.zeros(1, ROW)
        begun = newcomer(*_prior(pooled))
        for name in BASELINE.names or ():
            row[name] = begun[name]
        row["starts"] = STARTS
        null = Null.of(row)
        return _Newcomer(row, (null.rate.item(0), null.weight.item(0)), are_newcomers(row))

    def _make_room(self, places: int) -> None:
        more = max(16, int(places * _GROWTH)) - len(self.rows) if places > len(self.rows) else 0
        if more:
            self.rows = extended(self.rows, more)
            self.excursions.make_room(more)
            room = np.zeros(more)
            self.rate = np.concatenate((self.rate, room))
            self.weight = np.concatenate((self.weight, room))

    def needed(self, place: int) -> float:
        """Return how much evidence an excursion of a scope needs, in nats.

        One false start of as many as there are in a day is to be rare enough.
        """
        least = self.settings.sensitivity
        starts = max(self.rows["starts"].item(place), LEAST_STARTS) * WINDOWS_A_DAY
        return round(min(max(log(starts / FALSE_A_DAY), least), least + MOST_EXTRA), DECIMALS)

    def null(self, place: int) -> tuple[float, float]:
        """Return the usual rate m of a scope, and the weight of its null, a + b."""
        return self.rate.item(place), self.weight.item(place)

    def is_sure(self, place: int) -> bool:
        """Tell whether a scope has a baseline of `SURE_BASELINE` attempts."""
        return self.usual_attempts(place) >= SURE_BASELINE

    def usual_attempts(self, place: int) -> float:
        """Return how many independent attempts the baseline of a scope was learned from."""
        row = self.rows[place]
        return float(row["hits"]) + float(row["misses"])

    def count_starts(self, place: int, more: int) -> None:
        """Note that so many more excursions of a scope have begun."""
        started = self.rows["started"]
        started[place] = min(started.item(place) + more, _MANY_STARTS)

    def count_all_starts(self, places: Integers, more: Integers) -> None:
        """Do the same for scopes of which each is there once."""
        started = self.rows["started"]
        started[places] = np.minimum(started[places] + more, _MANY_STARTS)

    # Written down and read back

    def row(self, place: int) -> dict[str, Any]:
        """Return all that is kept of a scope but its excursion, by name."""
        return {name: self.rows[place][name].tolist() for name in ROW.names or ()}

    def write(self, places: Sequence[int]) -> bytes:
        """Return the states at some places, to be written down."""
        fired = self.fired_until
        rows = at_places(self.rows, places)
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
        if len(states.rows) != len(places) * ROW.itemsize or any(
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
        rows = np.frombuffer(states.rows, ROW)
        put(self.rows, at, rows)
        self.rate[at], self.weight[at] = Null.of(rows)
        self.excursions.set_newcomers(at, are_newcomers(rows))
        self.excursions.restore(places, states.excursions)
        for position, until in states.fired_until.items():
            self.fired_until[places[position]] = until


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
