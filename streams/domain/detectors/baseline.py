"""What is usual for scopes: their rates of hits and how much these vary, learned from windows.

Attempts of one window have more in common than attempts at large: the window's rate is itself
drawn from a distribution. The correlation of two attempts of a window is the dispersion rho; the
hits of a window are beta-binomial, with the mean rate m and the weight s = 1 / rho - 1 of
Beta(m s, (1-m) s).

What is learned is learned for many scopes at once: arrays have a value, or a row, for each scope.
"""

from itertools import accumulate
from math import log, pi
from typing import NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors.rows import take

PRIOR_HITS = 1.0
PRIOR_ATTEMPTS = 20.0
"""Every scope begins as if it had been seen in so many attempts, with as many hits."""
DISPERSIONS = (0.0005, 0.002, 0.006, 0.015, 0.03, 0.06, 0.12)
"""The values that the dispersion may have; what is learned is how likely each of them is."""
PRIOR_CHANCES = (0.2, 0.2, 0.2, 0.2, 0.12, 0.06, 0.02)
"""Of a newcomer."""
LEAST_DISPERSION, MOST_DISPERSION = 0.001, 0.2
EARLY_DISPERSION, EARLY_WEIGHT = 0.022, 2_500.0
"""The null has at least this dispersion until the rate was learned from so many independent
attempts, and less of it from then on, as a quotient of the two."""
TELLING_RATE = 0.001
"""A scope with a lower rate has too few hits to say how much it varies: it counts as varying less,
or its dispersion would stay what is taken of newcomers for ever."""
ENOUGH_FOR_DISPERSION = 50.0
"""Independent attempts: dispersion is learned from then on."""
MOST_UNCERTAINTY = 0.3
"""Of the null: dispersion and the uncertainty of the mean together."""
UNCERTAINTY_WEIGHT = 11.0
"""Independent attempts that the mean of a newcomer's null is taken to be known from."""
NEWCOMER_ATTEMPTS = 15.0
"""Independent attempts: of a scope with fewer, its own and those it began with, it is not known
what is usual. The first thirty attempts that are learned are as many;"""
NEWCOMER_LIMIT = 0.3
"""a rate up to this one may be: it is learned, and it is not worth an alert."""
TOLERANCE = 1.3
"""Odds that rose by this factor are still usual: what is learned lags behind."""
DECIMALS = 6
"""Of numbers that an excursion keeps: what is written down, shown and reckoned with is the same."""

HALF_LIFE = 120.0
"""Windows of many attempts after which what was learned weighs half as much."""
MANY = 5.0
"""Independent attempts: a window of so many ages what was learned half as much as one of many."""
CAUTION, DOUBT_OF_DISPERSION = 1.4, 0.6
"""Times the mean dispersion, and times the standard deviation of what is known of it: too low a one
costs more than too high a one."""
DOUBT = 0.02
"""Times the prior of the mean, where dispersion is learned."""
MEMORY = 0.998
"""What was learned of dispersion is multiplied by this with each window."""
MOST_SAID = 2.5
"""Nats by which one window speaks against a value of the dispersion, at most: what is the beginning
of an incident would seem to say that the rate varies much, and hide the rest of it."""
LEAST_CHANCE = -1_000.0
"""Nats: of one value of the dispersion, compared with the likeliest one."""
_SHIFT = 8
"""Stirling's series has 10 digits from here on."""
_HALF_LOG_2_PI = log(2.0 * pi) / 2.0
_LOG_FACTORIALS = np.concatenate(([0.0], np.log(np.arange(1.0, 4_096.0)).cumsum()))
_BLOCK = 2_048
"""Log-gammas that are worked out at once: what that takes in between fits into the cache."""

Reals: TypeAlias = NDArray[np.float64]
Rate = TypeVar("Rate", float, Reals)

BASELINE = np.dtype(
    [
        ("hits", "<f4"),
        ("misses", "<f4"),
        ("dispersion", "<f4"),
        ("log_chances", "<f4", (len(DISPERSIONS),)),
    ]
)
"""The baseline of a scope.

- hits: decayed sum of hits, each window weighted by its independent share.
- misses: decayed sum of the other attempts.
- dispersion: rho, with caution.
- log_chances: how likely each of `DISPERSIONS` is compared with the likeliest one, in nats.
"""

_DISPERSIONS = np.array(DISPERSIONS)
_PRIOR_LOG_CHANCES = np.log(PRIOR_CHANCES) - log(max(PRIOR_CHANCES))


def newcomer(hits: float = 0.0, misses: float = 0.0) -> NDArray[np.void]:
    """Return the baseline, an array of one, of a scope of which it is known what its likes have."""
    baseline = np.zeros(1, BASELINE)
    baseline["hits"], baseline["misses"] = hits, misses
    baseline["log_chances"] = _PRIOR_LOG_CHANCES
    baseline["dispersion"] = _dispersion(baseline["log_chances"].astype(np.float64))
    return baseline


def are_newcomers(baselines: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell of which scopes it is not known what is usual."""
    known = baselines["hits"].astype(np.float64) + baselines["misses"]
    newcomers: NDArray[np.bool_] = known < NEWCOMER_ATTEMPTS
    return newcomers


class Null(NamedTuple):
    """What is usual: the rate m, and the weight a + b of Beta(a, b), for each scope.

    Two attempts of a beta-binomial count are correlated by 1 / (a + b + 1): by dispersion, and by
    what is not known of the mean.
    """

    rate: Reals
    weight: Reals

    @classmethod
    def of(cls, baselines: NDArray[np.void]) -> Self:
        """Return what follows from baselines, as shown and reckoned with."""
        rate, weight = _rate(baselines), null_weight(baselines, 1.0)
        return cls(np.round(rate, DECIMALS), np.round(weight, DECIMALS))


def _rate(baselines: NDArray[np.void]) -> Reals:
    hits = baselines["hits"].astype(np.float64)
    rate: Reals = (PRIOR_HITS + hits) / (PRIOR_ATTEMPTS + hits + baselines["misses"])
    return rate


def null_weight(baselines: NDArray[np.void], together: Reals | float) -> Reals:
    """Return a + b of the null, for counts that are less correlated by a factor `together`."""
    known = baselines["hits"].astype(np.float64) + baselines["misses"]
    learned = baselines["dispersion"] * np.minimum(1.0, _rate(baselines) / TELLING_RATE)
    least = EARLY_DISPERSION * np.minimum(1.0, EARLY_WEIGHT / (known + 1.0))
    correlation = together * np.maximum(learned, least) + 1.0 / (known + UNCERTAINTY_WEIGHT)
    weight: Reals = 1.0 / np.minimum(MOST_UNCERTAINTY, correlation) - 1.0
    return weight


def learn(
    baselines: NDArray[np.void], attempts: Reals, hits: Reals, together: Reals
) -> NDArray[np.void]:
    """Return baselines that have taken in a window each, or a few windows together.

    Args:
        baselines: with at least the fields of `BASELINE`; they are not changed.
        attempts: of each, above 0.
        hits: of these.
        together: the share of pairs of attempts that are of one window: 1 for one window. Attempts
            of different windows are not correlated, so the sum of n_i attempts of some windows has
            the variance of a beta-binomial count with this share of the dispersion.
    """
    learned = take(baselines, slice(None))
    known_hits = baselines["hits"].astype(np.float64)
    known_misses = baselines["misses"].astype(np.float64)
    share = independent_share(baselines, attempts, together)
    some = (attempts > 1.0) & (known_hits + known_misses >= ENOUGH_FOR_DISPERSION)
    at = np.flatnonzero(some)
    if len(at):
        chances = _log_chances(take(baselines, at), attempts[at], hits[at], together[at])
        learned["log_chances"][at] = chances
        learned["dispersion"][at] = _dispersion(chances)
    independent = attempts * share
    keep = 0.5 ** (independent / (independent + MANY) / HALF_LIFE)
    learned["hits"] = keep * known_hits + share * hits
    learned["misses"] = keep * known_misses + share * (attempts - hits)
    return learned


def independent_share(baselines: NDArray[np.void], attempts: Reals, together: Reals) -> Reals:
    """Return how many independent attempts each attempt is worth; the arguments are `learn`'s."""
    share: Reals = 1.0 / (1.0 + (attempts - 1.0) * together * baselines["dispersion"])
    return share


def _log_chances(
    baselines: NDArray[np.void], attempts: Reals, hits: Reals, together: Reals
) -> Reals:
    """Take in how likely each count is at each value of the dispersion.

    The binomial coefficient is left out: it is the same for all. The prior of the mean counts
    little here: a scope without hits would seem to have a high mean and much dispersion.
    """
    known_hits = baselines["hits"].astype(np.float64)
    known = known_hits + baselines["misses"]
    rate = (DOUBT * PRIOR_HITS + known_hits) / (DOUBT * PRIOR_ATTEMPTS + known)
    uncertainty = 1.0 / (known + UNCERTAINTY_WEIGHT)
    correlation = together[:, np.newaxis] * _DISPERSIONS + uncertainty[:, np.newaxis]
    weight = 1.0 / np.minimum(MOST_UNCERTAINTY, correlation) - 1.0
    a = rate[:, np.newaxis] * weight
    misses = (attempts - hits)[:, np.newaxis]
    with_hits = np.flatnonzero(hits)
    of_misses, of_attempts, of_hits = log_risings(
        (weight - a, misses),
        (weight, attempts[:, np.newaxis]),
        (a[with_hits], hits[with_hits, np.newaxis]),
    )
    likely = of_misses - of_attempts
    likely[with_hits] += of_hits
    likely -= likely.max(axis=1, keepdims=True)
    np.maximum(likely, -MOST_SAID, out=likely)
    chances: Reals = (
        MEMORY * baselines["log_chances"] + (1.0 - MEMORY) * _PRIOR_LOG_CHANCES + likely
    )
    chances -= chances.max(axis=1, keepdims=True)
    np.maximum(chances, LEAST_CHANCE, out=chances)
    return chances


def _dispersion(log_chances: Reals) -> Reals:
    chances = np.exp(log_chances)
    chances /= chances.sum(axis=1, keepdims=True)
    mean = (chances * _DISPERSIONS).sum(axis=1)
    variance = (chances * (_DISPERSIONS - mean[:, np.newaxis]) ** 2).sum(axis=1)
    cautious = CAUTION * mean + DOUBT_OF_DISPERSION * np.sqrt(variance)
    # It is what `np.clip` does, which takes ten times as long for few scopes.
    dispersion: Reals = np.minimum(np.maximum(cautious, LEAST_DISPERSION), MOST_DISPERSION)
    return dispersion


def log_risings(*pairs: tuple[Reals, Reals]) -> list[Reals]:
    """Return the logarithms of rising factorials, x (x+1) ... (x+n-1), for x above 0.

    It is the difference of the log-gammas of x + n and x, whose digits are lost in it for large
    ones: for up to a million attempts, the error is below 10^-8.

    Args:
        pairs: x and n; there is a result for each pair.
    """
    values = [value for x, n in pairs for value in (x + n, x)]
    flat = np.concatenate([value.ravel() for value in values])
    for first in range(0, len(flat), _BLOCK):
        block = flat[first : first + _BLOCK]
        block[:] = _log_gamma(block)
    ends = accumulate(value.size for value in values)
    log_gammas = [
        flat[end - value.size : end].reshape(value.shape)
        for value, end in zip(values, ends, strict=True)
    ]
    return [last - first for last, first in zip(log_gammas[::2], log_gammas[1::2], strict=True)]


def log_factorials(n: Reals) -> Reals:
    """Return ln n! of whole numbers from 0 on."""
    if n.max(initial=0.0) < len(_LOG_FACTORIALS):
        return _LOG_FACTORIALS[n.astype(np.int64)]
    return _log_gamma(n + 1.0)


def _log_gamma(x: Reals) -> Reals:
    """Return the log-gamma function of x above 0, by Stirling's series for x + `_SHIFT`."""
    product = x * (x + 1.0)
    for more in range(2, _SHIFT):
        product *= x + more
    y = x + _SHIFT
    inverse = 1.0 / y
    square = inverse * inverse
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1_260.0))
    return (y - 0.5) * np.log(y) - y + _HALF_LOG_2_PI + series - np.log(product)


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

    @property
    def of_newcomers(self) -> Self:
        """The same for scopes of which it is not known what is usual."""
        return self._replace(least=max(self.least, NEWCOMER_LIMIT))


def levels(rate: Reals, rise: Rise) -> tuple[Reals, Reals]:
    """Return m0 and L, as `Hypotheses.of` does, for each usual rate."""
    tolerated = np.maximum(rise.usual_up_to, times_odds(rate, TOLERANCE))
    return tolerated, np.maximum(rise.least, times_odds(rate, rise.factor))


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


def times_odds(rate: Rate, factor: float) -> Rate:
    """Return the rate whose odds are `factor` times those of `rate`; of several, each one's."""
    return factor * rate / (1.0 + (factor - 1.0) * rate)
