"""What is usual for a scope: its rate of hits and how much that rate varies, learned from windows.

Attempts of one window have more in common than attempts at large: the window's rate is itself drawn
from a distribution. The correlation of two attempts of a window is its dispersion rho; k hits among
n attempts with a mean rate m vary by n m (1 - m) (1 + (n - 1) rho), as those of a beta-binomial
distribution do.
"""

from typing import NamedTuple, Self

from msgspec import Struct

PRIOR_HITS = 1.0
PRIOR_ATTEMPTS = 20.0
"""Every scope begins as if it had been seen in so many attempts, with as many hits."""
PRIOR_DISPERSION = 0.015
PRIOR_DISPERSION_WEIGHT = 10.0
"""Windows of full weight that the prior dispersion counts as."""
LEAST_DISPERSION, MOST_DISPERSION = 0.0005, 0.2
DECIMALS = 6
"""Of numbers that are kept: what is written down, shown and reckoned with is the same."""
MOST_UNCERTAINTY = 0.3
"""Of the null: dispersion and the uncertainty of the mean together."""
UNCERTAINTY_WEIGHT = 11.0
"""Independent attempts that the mean of a newcomer's null is taken to be known from."""
TOLERANCE = 1.3
"""Odds that rose by this factor are still usual: what is learned lags behind."""

_HALF_LIFE = 120.0
"""Windows of many attempts after which what was learned weighs half as much."""
_MANY = 5.0
"""Independent attempts: a window of so many ages what was learned half as much as one of many."""
_CAUTION = 1.6
"""Times the estimate of dispersion: it varies, and too low a one costs more than too high."""
_DISPERSION_MEMORY = 0.998
"""What was learned of dispersion is multiplied by this for a window of full weight."""
_LEAST_MOMENT, _MOST_MOMENT = -0.02, 0.3
"""Of what one window says of dispersion: outliers must not decide it."""
_DISPERSION_WEIGHT = 4e-4


class Baseline(Struct, array_like=True, gc=False):
    """The usual rate of one scope, and its spread.

    Attributes:
        hits: decayed sum of hits, each window weighted by its independent share.
        misses: decayed sum of the other attempts.
        spread: decayed, weighted sum of what windows said of dispersion.
        spread_weight: decayed sum of these weights.
    """

    hits: float = 0.0
    misses: float = 0.0
    spread: float = 0.0
    spread_weight: float = 0.0

    @property
    def weight(self) -> float:
        """Return how many independent attempts the rate was learned from."""
        return self.hits + self.misses

    @property
    def rate(self) -> float:
        """Return the usual share of hits, above 0 and below 1."""
        return (PRIOR_HITS + self.hits) / (PRIOR_ATTEMPTS + self.hits + self.misses)

    @property
    def dispersion(self) -> float:
        """Return rho."""
        prior = PRIOR_DISPERSION * PRIOR_DISPERSION_WEIGHT
        estimate = (self.spread + prior) / (self.spread_weight + PRIOR_DISPERSION_WEIGHT)
        return min(max(_CAUTION * estimate, LEAST_DISPERSION), MOST_DISPERSION)

    @property
    def null_weight(self) -> float:
        """Return the weight of the null, a + b.

        Two attempts of a beta-binomial count are correlated by 1 / (a + b + 1): by dispersion, and
        by what is not known of the mean.
        """
        uncertain = self.dispersion + 1.0 / (self.weight + UNCERTAINTY_WEIGHT)
        return 1.0 / min(MOST_UNCERTAINTY, uncertain) - 1.0

    def learn(self, attempts: int, hits: int, *, spread: bool = True) -> None:
        """Take in a window that has closed.

        Args:
            attempts: in the window.
            hits: of these.
            spread: whether dispersion is learned from it too.
        """
        if not attempts:
            return
        rate, share = self.rate, 1.0 / (1.0 + (attempts - 1) * self.dispersion)
        if spread and attempts > 1:
            self._learn_spread(attempts, hits, rate)
        independent = attempts * share
        keep = 0.5 ** (independent / (independent + _MANY) / _HALF_LIFE)
        self.hits = round(keep * self.hits + share * hits, DECIMALS)
        self.misses = round(keep * self.misses + share * (attempts - hits), DECIMALS)

    def _learn_spread(self, n: int, k: int, rate: float) -> None:
        """Take in what a window says of dispersion, by the method of moments.

        The expectation of (k - n m)^2 is n v (1 + (n - 1) rho), v = m (1 - m). The weight is that
        of the variance of this estimate, at most 1.
        """
        variance = rate * (1.0 - rate)
        beyond = k - n * rate
        moment = (beyond * beyond / n - variance) / (variance * (n - 1))
        moment = min(max(moment, _LEAST_MOMENT), _MOST_MOMENT)
        weight = min(1.0, _DISPERSION_WEIGHT * n * n / (2.0 + 1.0 / (n * variance)))
        keep = _DISPERSION_MEMORY**weight
        self.spread = round(keep * self.spread + weight * moment, DECIMALS)
        self.spread_weight = round(keep * self.spread_weight + weight, DECIMALS)


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
