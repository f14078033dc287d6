"""When a share of hits among attempts is too high to be chance."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple


class Observation(NamedTuple):
    """What windows say about one scope: `hits` of `attempts` had a status of the rule's."""

    attempts: int
    hits: int
    counts: dict[str, int]

    @property
    def rate(self) -> float:
        """Share of hits; 0 without attempts."""
        return self.hits / self.attempts if self.attempts else 0.0

    def plus(self, other: "Observation") -> "Observation":
        """Return both together."""
        counts = dict(self.counts)
        for status, count in other.counts.items():
            counts[status] = counts.get(status, 0) + count
        return Observation(self.attempts + other.attempts, self.hits + other.hits, counts)


class Evaluation(NamedTuple):
    """What a detector makes of an observation."""

    breaching: bool
    lower_bound: float
    baseline_rate: float | None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Breaching when the rate is above a level beyond doubt.

    A rate of few attempts misleads (one of two is 50 %), so it is the lower end of the rate's
    one-sided confidence interval that has to be above the level.

    Args:
        level: the rate, 0 to 1.
        confidence: of the interval, 0.5 to 1.
    """

    level: float
    confidence: float = 0.95

    def evaluate(self, seen: Observation) -> Evaluation:
        """Compare an observation with the level."""
        bound = wilson_lower_bound(seen.hits, seen.attempts, self.confidence)
        return Evaluation(bound > self.level, bound, None)

    def least_hits(self, attempts: int) -> int:
        """Return how many hits a breach needs, whatever the number of attempts from `attempts` on.

        More attempts with as many hits only lower the bound.
        """
        return bisect_right(
            range(attempts + 1),
            self.level,
            lo=1,
            key=lambda hits: wilson_lower_bound(hits, attempts, self.confidence),
        )


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
