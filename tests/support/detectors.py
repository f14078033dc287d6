"""Detectors for tests: one that remembers, and one that folds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np

from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.folding import (
    ClosedWindow,
    FoldFigures,
    FoldingDetector,
    Increment,
    Integers,
    ScopeStates,
    Turn,
)
from streams.domain.detectors.history import ScopeHistory, Stretch
from streams.domain.detectors.settings import Setting, setting
from streams.domain.hits import NewCounts
from streams.domain.pools import Pooled


class Most(msgspec.Struct, frozen=True, array_like=True):
    """The most hits in a window so far."""

    hits: int


@dataclass(frozen=True)
class Doubled(Detector):
    """More than twice as many hits in a window as in any before."""

    kind: ClassVar[str] = "doubled"
    state_type: ClassVar[type[msgspec.Struct]] = Most
    state_lifetime: ClassVar[float] = 100.0
    factor: int = setting(2, Setting("how many times as many", least=1))

    @property
    def lookback(self) -> int:
        return 1

    def triggers(self, counts: NewCounts) -> Collection[str]:
        return counts.with_hits(1)

    def evaluate(self, history: ScopeHistory, state: Most | None) -> Evaluation:
        last, seen = next(iter(history.open.items()))
        most = state.hits if state is not None else seen.hits
        is_breach = seen.hits > self.factor * most
        if not is_breach:
            # As after a restart, which shows what is remembered then.
            most = max(most, seen.hits)
        figures = Figures(Stretch(last, last, seen), others={"most": most})
        if is_breach:
            return Evaluation(Reason.BREACHING, figures, figures, False, state=state)
        kept = Most(most) if seen.hits else state
        return Evaluation(Reason.BELOW_LEVEL, None, figures, True, state=kept)


class Sum(msgspec.Struct, array_like=True, gc=False):
    """Hits beyond what is usual, since they began to be; and what is usual."""

    usual_attempts: float = 0.0
    usual_hits: float = 0.0
    beyond: float = 0.0
    attempts: int = 0
    hits: int = 0
    since: int = 0
    last: int = 0
    is_breaching: bool = False
    low_since: int = -1
    in_window: int = 0
    """Attempts in the window of the newest ones."""

    @property
    def usual(self) -> float:
        """The usual rate, of some more attempts without a hit."""
        return self.usual_hits / (self.usual_attempts + 10.0)


class Sums(ScopeStates):
    """Cumulative sums of hits, less twice the usual ones and one in ten (Page 1954)."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._sums: dict[int, Sum] = {}

    def __getitem__(self, place: int) -> Sum:
        return self._sums[place]

    def begin(self, places: Integers, pooled: Pooled) -> None:
        attempts, hits = pooled.app if any(pooled.app) else pooled.fleet
        for place in places.tolist():
            known = min(float(attempts), 10.0)
            self._sums[place] = Sum(known, known * hits / (attempts or 1))

    def add(self, place: int, new: Increment, hold: float) -> tuple[Turn, ...]:
        state, at = self._sums[place], new.at
        allowed = 2 * state.usual + 0.1
        state.beyond = max(0.0, state.beyond - allowed * new.before)
        state.attempts += new.before
        if not state.beyond and not state.is_breaching:
            state.attempts, state.hits, state.since = 0, 0, at
        state.in_window = new.so_far(place)[0]
        state.attempts += new.attempts
        state.hits += new.hits
        state.last = at
        state.beyond = max(0.0, state.beyond + new.hits - allowed * new.attempts)
        if not state.is_breaching:
            state.is_breaching = state.beyond >= self._limit
            return (Turn(True, self.figures(place)),) if state.is_breaching else ()
        if state.beyond:
            state.low_since = -1
            return ()
        state.low_since = at if state.low_since < 0 else state.low_since
        if at - state.low_since < hold * 1000:
            return ()
        state.is_breaching, state.low_since = False, -1
        return (Turn(False, self.figures(place)),)

    def learn(self, window: ClosedWindow) -> Integers:
        counts = window.attempts.tolist(), window.hits.tolist()
        for place, attempts, hits in zip(window.places.tolist(), *counts, strict=True):
            state = self._sums[place]
            state.usual_attempts = 0.9 * state.usual_attempts + attempts
            state.usual_hits = 0.9 * state.usual_hits + hits
        return np.stack((window.attempts, window.hits), axis=1)

    def figures(self, place: int) -> FoldFigures:
        state = self._sums[place]
        return FoldFigures(
            state.since,
            state.last,
            state.attempts,
            state.hits,
            baseline_rate=state.usual,
            others={"beyond": state.beyond, "limit": self._limit},
        )

    def write(self, places: Sequence[int]) -> bytes:
        return msgspec.msgpack.encode([self._sums[place] for place in places])

    def read(self, places: Sequence[int], written: bytes) -> None:
        sums = msgspec.msgpack.decode(written, type=list[Sum])
        self._sums.update(zip(places, sums, strict=True))


@dataclass(frozen=True)
class Cusum(FoldingDetector):
    """A cumulative sum of hits beyond the usual ones is above a limit."""

    kind: ClassVar[str] = "cusum"
    state_lifetime: ClassVar[float] = 3_000.0
    pooled_sums: ClassVar[int] = 2
    limit: float = setting(8.0, Setting("the sum that is a breach", above=0))

    def new_states(self) -> Sums:
        return Sums(self.limit)
