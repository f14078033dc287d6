"""What is usual for one scope, learned from one window after another.

It is what `baseline` learns for many scopes at once, with plain floats: for one scope, arrays cost
twenty times as much. The formulas and their reasons are there.
"""

from math import exp, lgamma, log, sqrt

from streams.domain.detectors import baseline as many
from streams.domain.detectors.baseline import (
    DECIMALS,
    DISPERSIONS,
    PRIOR_ATTEMPTS,
    PRIOR_CHANCES,
    PRIOR_HITS,
)

_PRIOR = [log(chance / max(PRIOR_CHANCES)) for chance in PRIOR_CHANCES]


class OneBaseline:
    """The baseline of one scope, at first that of a newcomer.

    Attributes:
        hits: decayed sum of hits, each window weighted by its independent share.
        misses: likewise, of other attempts.
        dispersion: rho, with caution.
    """

    def __init__(self, hits: float = 0.0, misses: float = 0.0) -> None:
        self.hits = hits
        self.misses = misses
        self._log_chances = list(_PRIOR)
        self.dispersion = self._dispersion()

    @property
    def known(self) -> float:
        """How many independent attempts it was learned from."""
        return self.hits + self.misses

    @property
    def rate(self) -> float:
        """The usual rate m."""
        return round(self._rate, DECIMALS)

    @property
    def _rate(self) -> float:
        return (PRIOR_HITS + self.hits) / (PRIOR_ATTEMPTS + self.known)

    @property
    def weight(self) -> float:
        """Of the null: a + b."""
        learned = self.dispersion * min(1.0, self._rate / many.TELLING_RATE)
        least = many.EARLY_DISPERSION * min(1.0, many.EARLY_WEIGHT / (self.known + 1.0))
        correlation = max(learned, least) + 1.0 / (self.known + many.UNCERTAINTY_WEIGHT)
        return round(1.0 / min(many.MOST_UNCERTAINTY, correlation) - 1.0, DECIMALS)

    def learn(self, attempts: int, hits: int, together: float = 1.0) -> None:
        """Take in a window, or a few windows together: the arguments are those of `many.learn`."""
        share = 1.0 / (1.0 + (attempts - 1.0) * together * self.dispersion)
        if attempts > 1 and self.known >= many.ENOUGH_FOR_DISPERSION:
            self._learn_dispersion(attempts, hits, together)
        independent = attempts * share
        keep = 0.5 ** (independent / (independent + many.MANY) / many.HALF_LIFE)
        self.hits = keep * self.hits + share * hits
        self.misses = keep * self.misses + share * (attempts - hits)

    def _learn_dispersion(self, attempts: int, hits: int, together: float) -> None:
        known = self.known
        rate = (many.DOUBT * PRIOR_HITS + self.hits) / (many.DOUBT * PRIOR_ATTEMPTS + known)
        uncertainty = 1.0 / (known + many.UNCERTAINTY_WEIGHT)
        misses, said = attempts - hits, []
        for rho in DISPERSIONS:
            correlation = min(many.MOST_UNCERTAINTY, together * rho + uncertainty)
            weight = 1.0 / correlation - 1.0
            a = rate * weight
            likely = _log_rising(weight - a, misses) - _log_rising(weight, attempts)
            if hits:
                likely += _log_rising(a, hits)
            said.append(likely)
        least = max(said) - many.MOST_SAID
        chances = [
            many.MEMORY * before + (1.0 - many.MEMORY) * prior + max(likely, least)
            for before, prior, likely in zip(self._log_chances, _PRIOR, said, strict=True)
        ]
        highest = max(chances)
        self._log_chances = [max(each - highest, many.LEAST_CHANCE) for each in chances]
        self.dispersion = self._dispersion()

    def _dispersion(self) -> float:
        chances = [exp(each) for each in self._log_chances]
        total = sum(chances)
        mean = sum(c * rho for c, rho in zip(chances, DISPERSIONS, strict=True)) / total
        variance = (
            sum(c * (rho - mean) ** 2 for c, rho in zip(chances, DISPERSIONS, strict=True)) / total
        )
        cautious = many.CAUTION * mean + many.DOUBT_OF_DISPERSION * sqrt(variance)
        return min(max(cautious, many.LEAST_DISPERSION), many.MOST_DISPERSION)


def _log_rising(x: float, n: int) -> float:
    return lgamma(x + n) - lgamma(x)
