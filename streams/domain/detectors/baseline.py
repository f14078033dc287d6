"""What is usual for a scope: its rate of hits and how much that rate varies, learned from windows.

Attempts of one window have more in common than attempts at large: the window's rate is itself
drawn from a distribution. The correlation of two attempts of a window is the dispersion rho; the
hits of a window are beta-binomial, with the mean rate m and the weight s = 1 / rho - 1 of
Beta(m s, (1-m) s).
"""

from math import exp, lgamma
from typing import NamedTuple, Self

from msgspec import Struct

PRIOR_HITS = 1.0
PRIOR_ATTEMPTS = 20.0
"""Every scope begins as if it had been seen in so many attempts, with as many hits."""
DISPERSIONS = (0.0005, 0.002, 0.006, 0.015, 0.03, 0.06, 0.12)
"""The values that the dispersion may have; what is learned is how likely each of them is."""
PRIOR_LOG_CHANCES = (0, 0, 0, 0, -5_108, -12_040, -23_026)
"""Of a newcomer, as `Baseline.log_chances`: 20, 20, 20, 20, 12, 6 and 2 per cent."""
PRIOR_DISPERSION = 0.02288
"""Of a newcomer, as `Baseline.dispersion`: 1.6 times the mean."""
LEAST_DISPERSION, MOST_DISPERSION = 0.001, 0.2
EARLY_DISPERSION, EARLY_WEIGHT = 0.022, 2_500.0
"""The null has at least this dispersion until the rate was learned from so many independent
attempts, and less of it from then on, as a quotient of the two."""
ENOUGH_FOR_DISPERSION = 50.0
"""Independent attempts: dispersion is learned from then on."""
MOST_UNCERTAINTY = 0.3
"""Of the null: dispersion and the uncertainty of the mean together."""
UNCERTAINTY_WEIGHT = 11.0
"""Independent attempts that the mean of a newcomer's null is taken to be known from."""
TOLERANCE = 1.3
"""Odds that rose by this factor are still usual: what is learned lags behind."""
DECIMALS = 6
"""Of numbers that are kept: what is written down, shown and reckoned with is the same."""

_HALF_LIFE = 120.0
"""Windows of many attempts after which what was learned weighs half as much."""
_MANY = 5.0
"""Independent attempts: a window of so many ages what was learned half as much as one of many."""
_CAUTION = 1.6
"""Times the mean dispersion: it varies, and too low a one costs more than too high."""
_DOUBT = 0.02
"""Times the prior of the mean, where dispersion is learned."""
_MEMORY = 0.998
"""What was learned of dispersion is multiplied by this with each window."""
_UNIT = 10_000
"""Chances are kept as whole numbers, in so many parts of a nat."""
_LEAST_CHANCE = -1_000 * _UNIT
"""Of one value of the dispersion, compared with the likeliest one."""


class Baseline(Struct, array_like=True, gc=False):
    """The usual rate of one scope, and its spread.

    Attributes:
        hits: decayed sum of hits, each window weighted by its independent share.
        misses: decayed sum of the other attempts.
        dispersion: rho, with caution.
        log_chances: how likely each of `DISPERSIONS` is compared with the likeliest one, as
            logarithms in ten-thousandths of a nat.
    """

    hits: float = 0.0
    misses: float = 0.0
    dispersion: float = PRIOR_DISPERSION
    log_chances: tuple[int, ...] = PRIOR_LOG_CHANCES

    @property
    def weight(self) -> float:
        """Return how many independent attempts the rate was learned from."""
        return self.hits + self.misses

    @property
    def rate(self) -> float:
        """Return the usual share of hits, above 0 and below 1."""
        return (PRIOR_HITS + self.hits) / (PRIOR_ATTEMPTS + self.hits + self.misses)

    def null(self) -> tuple[float, float]:
        """Return the usual rate and the weight of the null, a + b, as shown and reckoned with.

        Two attempts of a beta-binomial count are correlated by 1 / (a + b + 1): by dispersion, and
        by what is not known of the mean.
        """
        weight = self.hits + self.misses
        rate = (PRIOR_HITS + self.hits) / (PRIOR_ATTEMPTS + weight)
        least = EARLY_DISPERSION * min(1.0, EARLY_WEIGHT / (weight + 1.0))
        correlation = max(self.dispersion, least) + 1.0 / (weight + UNCERTAINTY_WEIGHT)
        return round(rate, DECIMALS), round(
            1.0 / min(MOST_UNCERTAINTY, correlation) - 1.0, DECIMALS
        )

    def learn(self, attempts: int, hits: int) -> None:
        """Take in a window that has closed, by the attempts in it and the hits of these."""
        if not attempts:
            return
        share = 1.0 / (1.0 + (attempts - 1) * self.dispersion)
        if attempts > 1 and self.weight >= ENOUGH_FOR_DISPERSION:
            self._learn_dispersion(attempts, hits)
        independent = attempts * share
        keep = 0.5 ** (independent / (independent + _MANY) / _HALF_LIFE)
        self.hits = round(keep * self.hits + share * hits, DECIMALS)
        self.misses = round(keep * self.misses + share * (attempts - hits), DECIMALS)

    def _learn_dispersion(self, attempts: int, hits: int) -> None:
        """Take in how likely the window's count is at each value of the dispersion.

        The binomial coefficient is left out: it is the same for all. The prior of the mean counts
        little here: a scope without hits would seem to have a high mean and much dispersion.
        """
        uncertainty = 1.0 / (self.weight + UNCERTAINTY_WEIGHT)
        rate = (_DOUBT * PRIOR_HITS + self.hits) / (_DOUBT * PRIOR_ATTEMPTS + self.weight)
        misses = attempts - hits
        made = []
        for before, prior, value in zip(
            self.log_chances, PRIOR_LOG_CHANCES, DISPERSIONS, strict=True
        ):
            weight = 1.0 / min(MOST_UNCERTAINTY, value + uncertainty) - 1.0
            a = rate * weight
            b = weight - a
            likely = lgamma(b + misses) - lgamma(b) - lgamma(weight + attempts) + lgamma(weight)
            if hits:
                likely += lgamma(a + hits) - lgamma(a)
            made.append(_MEMORY * before + (1.0 - _MEMORY) * prior + _UNIT * likely)
        most = max(made)
        self.log_chances = tuple([max(_LEAST_CHANCE, round(each - most)) for each in made])
        mean = _mean_dispersion(self.log_chances)
        cautious = min(max(_CAUTION * mean, LEAST_DISPERSION), MOST_DISPERSION)
        self.dispersion = round(cautious, DECIMALS)


def _mean_dispersion(log_chances: tuple[int, ...]) -> float:
    chances = [exp(each / _UNIT) for each in log_chances]
    weighted = [chance * value for chance, value in zip(chances, DISPERSIONS, strict=True)]
    return sum(weighted) / sum(chances)


class Rise(NamedTuple):
    """From which rate on it is worth an alert.

    Attributes:
        usual_up_to: a rate that is no news, however low the usual one is.
        factor: the odds have to rise to so many times the usual ones.
        least: the least rate that is worth an alert; above `usual_up_to`.
    """

    usual_up_to: float = 0.02
    factor: float = 2.5
    least: float = 0.04


class Hypotheses(NamedTuple):
    """What an excursion of the rate is judged by.

    Attributes:
        rate: the usual rate m.
        tolerated: the mean of the null, m0: a rate that is no news.
        limit: L: a rate above it is worth an alert.
        a: of the null, Beta(a, b).
        b: of the null.
    """

    rate: float
    tolerated: float
    limit: float
    a: float
    b: float

    @classmethod
    def of(cls, rate: float, weight: float, rise: Rise) -> Self:
        """Return what follows from the usual rate and the weight of the null, a + b."""
        tolerated = max(rise.usual_up_to, times_odds(rate, TOLERANCE))
        limit = max(rise.least, times_odds(rate, rise.factor))
        return cls(rate, tolerated, limit, tolerated * weight, (1.0 - tolerated) * weight)


def times_odds(rate: float, factor: float) -> float:
    """Return the rate whose odds are `factor` times those of `rate`."""
    return factor * rate / (1.0 + (factor - 1.0) * rate)
