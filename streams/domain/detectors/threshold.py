"""`threshold`: the rate of hits is above a level, and not by chance."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, isqrt, log
from typing import ClassVar

from streams.domain.detectors.accounts import Requirement
from streams.domain.detectors.detector import Figures
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.detectors.proportions import is_above, log_evidence, lower_bound
from streams.domain.detectors.settings import Problem, Setting, setting
from streams.domain.detectors.windowed import WindowDetector

MOST_LOOKBACK = 120
"""Windows: each of them is read when the newest ones say too little."""
MOST_TO_RECOVER = 50
"""Attempts that always say whether an alert is over."""
PRECISION_BITS = 8
"""Binary digits of numbers of attempts for which the fewest hits of a breach are known."""
ROUNDING = 1e-6
"""Hits, more than what is lost of a number of them by rounding."""
MOST_HITS = 2**31
"""Hits in a row, up to which the fewest of a breach are looked for."""


@dataclass(frozen=True)
class Threshold(WindowDetector):
    """The share of hits is above a level, and not by chance.

    A rate of few attempts misleads (one of two is 50 %), so it is a lower bound of the rate that
    has to be above the level: one that may be looked at after each attempt (the lower end of a
    confidence sequence, Robbins 1970). A window that says too little is judged together with the
    windows before it, back to those that together were at `recovery_level` or below.

    What is proven: one series of attempts begins with each window, and no more than
    1 - `confidence` of these series are ever a breach, however often they are looked at, as long as
    each attempt is a hit with a probability of at most `level`, whatever came before it, and events
    come in the order of their windows. What is not: anything about a rate that is above the level
    for a minute now and then, as real rates may be. The level has to be above that.
    """

    kind: ClassVar[str] = "threshold"

    level: float = setting(
        0.10, Setting("the share of hits that is too high", "share", above=0, below=1)
    )
    confidence: float = setting(
        0.99,
        Setting(
            "of the lower bound of the rate, which has to be above the level: at 0.99, traffic at "
            "the level raises a false alarm in one of 100 windows at most",
            "share",
            least=0.5,
            below=1,
        ),
    )
    recovery_level: float = setting(
        None,
        Setting(
            "an alert is over at this rate or below",
            "share",
            least=0,
            below=1,
            derived=lambda known: known["level"] / 2,
            default="half of `level`",
        ),
    )
    min_attempts: int = setting(
        10,
        Setting(
            "fewer raise no alert, however many of them are hits",
            least=1,
            most=2**31 - 1,
        ),
    )
    lookback_windows: int = setting(
        30,
        Setting(
            "as many windows in a row are judged together at most; 1: each by itself",
            least=1,
            most=MOST_LOOKBACK,
        ),
    )

    def problems(self) -> list[Problem]:
        """Recovery must not begin above the level."""
        if self.recovery_level <= self.level:
            return []
        expected = f"expected at most detector.level, which is {self.level}"
        return [Problem("recovery_level", expected)]

    @property
    def lookback(self) -> int:
        """As many windows as are judged together."""
        return self.lookback_windows

    @property
    def least_attempts(self) -> int:
        """As the setting says."""
        return self.min_attempts

    @cached_property
    def attempts_to_recover(self) -> int:
        """As many that one hit is half the level; no more than `MOST_TO_RECOVER`."""
        return max(self.min_attempts, min(MOST_TO_RECOVER, ceil(2 / self.level)))

    @cached_property
    def least_hits(self) -> int:
        """How many hits a breach needs, whatever the number of attempts from the least one on.

        More attempts with as many hits are less evidence.
        """
        least = self.min_attempts
        return bisect_left(
            range(MOST_HITS), True, key=lambda hits: self._is_above(hits, max(hits, least))
        )

    def is_breach(self, seen: Observation) -> bool:
        """Compare the lower bound of the rate with the level."""
        return self._is_above(seen.hits, seen.attempts)

    def _is_above(self, hits: int, attempts: int) -> bool:
        return is_above(hits, attempts, self.level, self.needed)

    @cached_property
    def needed(self) -> float:
        """How much evidence is needed, as a natural logarithm."""
        return -log(1 - self.confidence)

    def missing_hits(self, attempts: int, hits: int) -> int:
        """Compare the hits with the fewest that are a breach, or with a little less."""
        missing = max(self.least_hits, self._fewest_hits(attempts - hits)) - hits
        if missing > 0:
            return missing
        if attempts < self.min_attempts:
            return 0
        return 0 if self.is_breach(Observation(attempts, hits, {})) else 1

    def _fewest_hits(self, others: int) -> int:
        """Return how many hits a breach needs beside about as many other attempts.

        It is worked out for the largest number that is no larger, with `PRECISION_BITS` binary
        digits and zeros: so for a few thousand numbers at most, and no more hits than are needed.
        """
        rest = max(0, others.bit_length() - PRECISION_BITS)
        others = others >> rest << rest
        known = self._fewest.get(others)
        if known is None:
            known = self._fewest[others] = self._find_fewest(others)
        return known

    def _find_fewest(self, others: int) -> int:
        low, step = floor(others * self.level / (1 - self.level)), 1 + isqrt(others)
        while not self._is_above(low + step, low + step + others):
            low, step = low + step, 2 * step
        return bisect_left(
            range(low + step), True, low, key=lambda hits: self._is_above(hits, hits + others)
        )

    @cached_property
    def _fewest(self) -> dict[int, int]:
        """What `_fewest_hits` found, by the number of others."""
        return {}

    def hits_to_rise(self, seen: Observation) -> int:
        """Solve (hits + more) / (attempts + more) > `recovery_level`."""
        more = (self.recovery_level * seen.attempts - seen.hits) / (1 - self.recovery_level)
        return max(1, floor(more - ROUNDING) + 1)

    def is_low(self, seen: Observation) -> bool:
        """Compare the rate with the recovery level."""
        return seen.rate <= self.recovery_level

    def figures(self, stretch: Stretch) -> Figures:
        """Return the counts with the lower bound of the rate."""
        seen = stretch.seen
        return Figures(stretch, lower_bound(seen.hits, seen.attempts, self.needed))

    @property
    def limit_rate(self) -> float:
        """The level."""
        return self.level

    def requirements(self, history: ScopeHistory, last: int) -> tuple[Requirement, ...]:
        """Compare the windows up to an open one (s) that say most with what is needed."""
        attempts = hits = 0
        most, most_evidence, enough = 0, 0.0, self.min_attempts
        for _, seen in self.windows(history, last):
            attempts, hits = attempts + seen.attempts, hits + seen.hits
            evidence = log_evidence(hits, attempts, self.level) if attempts else 0.0
            if attempts >= enough:
                most_evidence = max(most_evidence, evidence)
            most = attempts
            low = attempts >= self.attempts_to_recover and hits <= self.recovery_level * attempts
            if most_evidence >= self.needed or low:
                break
        return (
            Requirement(
                "attempts",
                f"{most:,} attempts are judged together, and it takes {enough:,}",
                most,
                enough,
                most >= enough,
            ),
            Requirement(
                "evidence",
                f"the evidence that the rate is above {self.level:.1%} is {most_evidence:.1f} of "
                f"{self.needed:.1f} nats",
                round(most_evidence, 6),
                round(self.needed, 6),
                most_evidence >= self.needed,
            ),
        )
