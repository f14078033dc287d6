"""`spike`: the rate of a scope has risen against its own usual rate, and not by chance."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from streams.domain.detectors import spike_accounts, spike_levels
from streams.domain.detectors.accounts import Account, Level, WindowSeen
from streams.domain.detectors.baseline import Rise
from streams.domain.detectors.excursions import HOLD
from streams.domain.detectors.folding import FoldingDetector, Pending, ScopeStates
from streams.domain.detectors.settings import Setting, setting
from streams.domain.detectors.spike_states import SpikeStates
from streams.domain.detectors.spike_table import Settings

LEAST_EVIDENCE, MOST_EVIDENCE = 5.5, 13.5
"""Nats that it takes at a sensitivity of 1, and at one of 0."""
LOST_SHARE = 6.0 / 45.0
"""Of `patience`: an excursion that has cost as many seconds of sends is told before its time."""
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
    keep_firing_for: ClassVar[float | None] = HOLD / 1000

    sensitivity: float = setting(
        0.5,
        Setting(
            "how little evidence is enough: e to the power of c times as likely as by chance, with "
            "c from 13.5 at 0 to 5.5 at 1",
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
    def _settings(self) -> Settings:
        needed = MOST_EVIDENCE - (MOST_EVIDENCE - LEAST_EVIDENCE) * self.sensitivity
        rise = Rise(self.usual_up_to, self.min_rise, WORTH * self.usual_up_to)
        return Settings(needed, rise, self.patience, LOST_SHARE * self.patience)

    def new_states(self) -> SpikeStates:
        """Return what is known of the scopes of a rule in a partition: nothing yet."""
        return SpikeStates(self._settings)

    def account_of(self, states: ScopeStates, place: int, pending: Pending) -> Account:
        """Say how an excursion stands, and how many hits in a row would make it fire."""
        if not isinstance(states, SpikeStates):
            raise TypeError("states: expected those of spike")
        return spike_accounts.account_of(states, place, pending)

    def levels(
        self,
        windows: Iterable[WindowSeen],
        size: int,  # noqa: ARG002 - what is learned depends on their number
        now: Account | None,
    ) -> Iterator[Level]:
        """Yield the usual rate before each window, and the rate at which it would fire."""
        needed = now.figures.get("evidence_needed") if now is not None else None
        return spike_levels.levels(self._settings, windows, needed)
