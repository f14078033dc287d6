"""`threshold`: the rate of hits is above a level, and not by chance."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, cached_property
from math import sqrt
from statistics import NormalDist
from typing import ClassVar

from streams.domain.detectors.detector import Figures
from streams.domain.detectors.history import Observation, Stretch
from streams.domain.detectors.settings import Problem, Setting, setting
from streams.domain.detectors.windowed import WindowDetector

MOST_LOOKBACK = 120
"""Windows: each of them is read when a campaign has too few attempts."""


@dataclass(frozen=True)
class Threshold(WindowDetector):
    """The share of hits is above a level, and not by chance.

    A rate of few attempts misleads (one of two is 50 %), so it is the lower end of the rate's
    one-sided confidence interval that has to be above the level.
    """

    kind: ClassVar[str] = "threshold"

    level: float = setting(
        0.10, Setting("the share of hits that is too high", "share", above=0, below=1)
    )
    confidence: float = setting(
        0.95,
        Setting(
            "of the lower bound of the rate, which has to be above the level, so that few attempts "
            "do not count",
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
        50,
        Setting(
            "fewer in a window say nothing; then those of windows before it are added",
            least=1,
            most=2**31 - 1,
        ),
    )
    lookback_windows: int = setting(
        30,
        Setting(
            "as many windows in a row are added up at most; 1: each by itself",
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
        """As many windows as are added up."""
        return self.lookback_windows

    @property
    def least_attempts(self) -> int:
        """As the setting says."""
        return self.min_attempts

    @cached_property
    def least_hits(self) -> int:
        """How many hits a breach needs, whatever the number of attempts from the least one on.

        More attempts with as many hits only lower the bound.
        """
        return bisect_right(
            range(self.min_attempts + 1), self.level, lo=1, key=self._bound_of_least_attempts
        )

    def _bound_of_least_attempts(self, hits: int) -> float:
        return wilson_lower_bound(hits, self.min_attempts, self.confidence)

    def is_breach(self, seen: Observation) -> bool:
        """Compare the lower bound of the rate with the level."""
        return wilson_lower_bound(seen.hits, seen.attempts, self.confidence) > self.level

    def is_low(self, seen: Observation) -> bool:
        """Compare the rate with the recovery level."""
        return seen.rate <= self.recovery_level

    def figures(self, stretch: Stretch) -> Figures:
        """Return the counts with the lower bound of the rate."""
        seen = stretch.seen
        return Figures(stretch, wilson_lower_bound(seen.hits, seen.attempts, self.confidence))


def wilson_lower_bound(hits: int, attempts: int, confidence: float) -> float:
    """Return the lower end of the one-sided Wilson score interval of a proportion.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927).
    """
    if attempts == 0:
        return 0.0
    z = _z(confidence)
    rate = hits / attempts
    spread = z * sqrt(rate * (1 - rate) / attempts + z * z / (4 * attempts * attempts))
    return max(0.0, (rate + z * z / (2 * attempts) - spread) / (1 + z * z / attempts))


@cache
def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)
