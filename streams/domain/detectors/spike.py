"""`spike`: the rate of a scope has risen against its own usual rate, and not by chance."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from streams.domain.detectors.baseline import DECIMALS, Baseline, Rise
from streams.domain.detectors.folding import FoldFigures, FoldingDetector, Increment, Turn
from streams.domain.detectors.settings import Setting, setting
from streams.domain.detectors.spike_state import (
    HOLD,
    SLOW_WINDOWS,
    Excursion,
    Fold,
    Live,
    Settings,
    SpikeState,
    WindowCounts,
)
from streams.domain.pools import Pooled

LEAST_EVIDENCE, MOST_EVIDENCE = 6.0, 14.0
"""Nats that it takes at a sensitivity of 1, and at one of 0."""
LOST_SHARE = 6.0 / 45.0
"""Of `patience`: an excursion that has cost as many seconds of sends is told before its time."""
POOLED_UNIT = 1_000
"""An independent attempt, in the sums of an app."""
MOST_OF_WINDOW = 30.0
POOLED_ATTEMPTS = 20.0
"""Independent attempts, at most, that a newcomer begins with, as others had them."""
POOLED_CAUTION = 50.0
"""Attempts of others that are worth one of its own."""
FLEET_ATTEMPTS = 50.0
"""Attempts of all apps that count for each app."""
WORTH = 2.0
"""Times `usual_up_to` is the least rate that is worth an alert."""


@dataclass(frozen=True)
class Spike(FoldingDetector):
    """The share of hits has risen against what is usual in the scope.

    What is usual, and how much it varies, is learned from closed windows. From the first hit of an
    excursion on, evidence is added up that the rate is above a limit: it may be looked at always,
    and few attempts need no special care, as they are little evidence.
    """

    kind: ClassVar[str] = "spike"
    pooled_sums: ClassVar[int] = 2
    state_type: ClassVar[type[Struct]] = SpikeState
    keep_firing_for: ClassVar[float | None] = HOLD / 1000

    sensitivity: float = setting(
        0.5,
        Setting(
            "how little evidence is enough: e to the power of c times as likely as by chance, with "
            "c from 14 at 0 to 6 at 1",
            "share",
            least=0,
            most=1,
        ),
    )
    min_rise: float = setting(
        2.5,
        Setting(
            "to how many times the usual odds of a hit they have to rise to be worth an alert",
            above=1.3,
            most=1000,
        ),
    )
    usual_up_to: float = setting(
        0.02,
        Setting(
            "a rate that is no news, however low the usual one is; twice as much may be worth an "
            "alert",
            "share",
            above=0,
            below=0.5,
        ),
    )
    patience: float = setting(
        45.0,
        Setting(
            "a rate has to be high for so long, or to have cost as many sends as go in 2/15 of it",
            "seconds",
            least=0,
        ),
    )

    @cached_property
    def _fold(self) -> Fold:
        needed = MOST_EVIDENCE - (MOST_EVIDENCE - LEAST_EVIDENCE) * self.sensitivity
        rise = Rise(self.usual_up_to, self.min_rise, WORTH * self.usual_up_to)
        return Fold(Settings(needed, rise, self.patience, LOST_SHARE * self.patience))

    def begin(self, pooled: Pooled) -> SpikeState:
        """Return the state of a newcomer: its rate is that of its app or, if unknown, of all."""
        fleet_hits, fleet_misses = pooled.fleet
        hits, misses = pooled.app
        known = fleet_hits + fleet_misses
        if not known:
            return SpikeState(Baseline())
        like_fleet = FLEET_ATTEMPTS * POOLED_UNIT / known
        hits_of, misses_of = hits + like_fleet * fleet_hits, misses + like_fleet * fleet_misses
        weight = min(POOLED_ATTEMPTS, known / POOLED_UNIT / POOLED_CAUTION)
        share = weight / (hits_of + misses_of)
        return SpikeState(
            Baseline(round(share * hits_of, DECIMALS), round(share * misses_of, DECIMALS))
        )

    def add(self, state: SpikeState, new: Increment, hold: float) -> Turn | None:
        """Add the counts; look at them if there are hits, or a breach goes on."""
        live, excursion = state.live, state.excursion
        seen = new.attempts, new.hits
        if new.hits and live is None and state.slow_windows >= SLOW_WINDOWS:
            seen = new.so_far()
        window = WindowCounts(new.start, *seen)
        self._fold.add(state, new.attempts, new.hits, new.at, window, round(hold * 1000))
        if live is None and state.live is not None:
            return Turn(True, self.figures(state))
        if live is not None and state.live is None:
            return Turn(False, self._figures(state, excursion, live))
        return None

    def is_live(self, state: SpikeState) -> bool:
        """Tell whether there is an excursion, or a breach, which is one as well."""
        return state.excursion is not None

    def learn(
        self, state: SpikeState, start: int, attempts: int, hits: int
    ) -> tuple[int, int] | None:
        """Learn what is usual, unless the window may be part of an incident.

        A window counts for its app as much as `MOST_OF_WINDOW` independent attempts at most.
        """
        skipped = state.skipped
        share = 1.0 / (1.0 + (attempts - 1) * state.baseline.dispersion)
        self._fold.close(state, WindowCounts(start, attempts, hits))
        excursion = state.excursion
        if excursion is not None and state.live is None and self._fold.is_over(excursion):
            # Evidence only falls until the next hit, which would find it over as well.
            state.excursion = None
        if state.skipped > skipped:
            return None
        unit = POOLED_UNIT * min(share, MOST_OF_WINDOW / attempts)
        return round(unit * hits), round(unit * (attempts - hits))

    def figures(self, state: SpikeState) -> FoldFigures:
        """Return the counts since the excursion began, and what they are judged by."""
        return self._figures(state, state.excursion, state.live)

    def _figures(
        self, state: SpikeState, excursion: Excursion | None, live: Live | None
    ) -> FoldFigures:
        baseline = state.baseline
        if excursion is None:
            return FoldFigures(0, 0, 0, 0, None, baseline.rate)
        if live is not None and live.run_attempts:
            excursion = replace(
                excursion,
                attempts=excursion.attempts + live.run_attempts,
                hits=excursion.hits + live.run_hits,
            )
        last = excursion.since + excursion.last
        found = self._fold.figures(state, excursion, last)
        others = {
            "usual_attempts": baseline.weight,
            "dispersion": baseline.dispersion,
            "tolerated_rate": found.tolerated_rate,
            "limit_rate": found.limit,
            "null_weight": found.null_weight,
            "attempts_weighed": found.stretch_attempts,
            "hits_weighed": found.stretch_hits,
            "attempts_clumped": found.most_attempts,
            "hits_clumped": found.most_hits,
            "evidence_before": found.evidence_before,
            "evidence": found.evidence,
            "evidence_needed": found.needed,
            "seconds": excursion.last / 1000,
            "seconds_lost": found.lost_seconds,
            "slow_evidence": state.slow,
            "slow_windows": state.slow_windows,
        }
        return FoldFigures(
            excursion.since,
            last,
            found.attempts,
            found.hits,
            found.lower_bound,
            found.usual_rate,
            {name: round(value, 6) for name, value in others.items()},
        )
