"""A detector that remembers, for tests: no kind that ships does."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.history import ScopeHistory, Stretch
from streams.domain.detectors.settings import Setting, setting
from streams.domain.hits import NewCounts


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
        figures = Figures(Stretch(last, last, seen), others={"most": most})
        if not seen.hits:
            return Evaluation(Reason.BELOW_LEVEL, None, figures, True, state=state)
        if seen.hits > self.factor * most:
            return Evaluation(Reason.BREACHING, figures, figures, False, state=state)
        return Evaluation(Reason.BELOW_LEVEL, None, figures, True, state=Most(max(most, seen.hits)))
