"""Whether a share is above a level: evidence that may be looked at after each attempt.

A bound made for one look, such as Wilson's, errs far more often when it is looked at again and
again. The evidence here is a test martingale: E(n, k) for k hits in n attempts is the likelihood
of the counts, averaged over all shares above the level, divided by their likelihood at the level.

    E(n, k) = B(k + 1, n - k + 1) * P(Bin(n + 1, L) <= k) / ((1 - L) * L^k * (1 - L)^(n - k))

H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41 (1970), has the mixture over all shares; here it is over those above the
level alone. As long as each attempt is a hit with a probability of at most L, whatever came
before it, the expected value of E does not rise, so with a probability of at most a it ever
reaches 1/a (J. Ville, 1939).
"""

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, sqrt

_TINY = 1e-300
_PRECISION = 1e-14
_MOST_TERMS = 10_000
_LAST_EXCESS = 1e-3
_MOST_STEPS = 100
_LN_2 = log(2)


def log_evidence(hits: int, attempts: int, level: float) -> float:
    """Return ln E: how strongly counts speak for a share of hits above `level`.

    0 without attempts. At most 0 if the rate is not above the level.
    """
    return _log_mixture(hits, attempts, level) + _log_share_above(hits, attempts, level)


def is_above(hits: int, attempts: int, level: float, needed: float) -> bool:
    """Tell whether the evidence for a share above `level` reaches `needed` (ln E, above 0)."""
    if hits <= level * attempts:
        return False
    whole = _log_mixture(hits, attempts, level)
    if whole < needed:
        return False
    # The median of a binomial distribution is at most its mean, rounded up.
    if hits >= (attempts + 1) * level + 1 and whole - _LN_2 >= needed:
        return True
    return whole + _log_share_above(hits, attempts, level) >= needed


@lru_cache(maxsize=4_096)
def lower_bound(hits: int, attempts: int, needed: float) -> float:
    """Return the largest level that the evidence `needed` (ln E, above 0) speaks against.

    It is the lower end of a confidence sequence: with a probability of at most exp(-needed) it is
    ever above a share that stays the same. 0 if no level is spoken against.
    """
    if not hits:
        return 0.0
    low, high = 0.0, hits / attempts
    at = _guess(hits, attempts, needed)
    for _ in range(_MOST_STEPS):
        excess, slope = _excess(hits, attempts, at, needed)
        if excess >= 0:
            low = at
        else:
            high = at
        step = at - excess / slope if slope else low
        # The error after a step of Newton's is about the square of that before it. The step may be
        # too small to be one.
        if abs(excess) <= _LAST_EXCESS:
            return min(max(step, low), high)
        at = step if low < step < high else (low + high) / 2
    return at


def _guess(hits: int, attempts: int, needed: float) -> float:
    """Return about the bound: that of the score test which asks for about the same evidence."""
    z2 = 2 * needed + log1p(attempts)
    rate = hits / attempts
    spread = sqrt(z2 * rate * (1 - rate) / attempts + (z2 / (2 * attempts)) ** 2)
    return max((rate + z2 / (2 * attempts) - spread) / (1 + z2 / attempts), rate / 1e3)


def _excess(hits: int, attempts: int, level: float, needed: float) -> tuple[float, float]:
    """Return how far ln E is above `needed`, and the slope of ln E over the level."""
    others = attempts - hits
    rest = _log_share_above(hits, attempts, level)
    kernel = hits * log(level) + others * log1p(-level)
    density = exp(kernel - _log_beta(hits, others) - rest)
    slope = (1 + others) / (1 - level) - hits / level - density
    return _log_mixture(hits, attempts, level) + rest - needed, slope


def _log_mixture(hits: int, attempts: int, level: float) -> float:
    """Return ln E without the factor P(Bin(n + 1, L) <= k)."""
    others = attempts - hits
    return _log_beta(hits, others) - hits * log(level) - (others + 1) * log1p(-level)


def _log_beta(hits: int, others: int) -> float:
    """Return ln B(hits + 1, others + 1)."""
    return lgamma(hits + 1) + lgamma(others + 1) - lgamma(hits + others + 2)


def _log_share_above(hits: int, attempts: int, level: float) -> float:
    """Return ln P(Bin(n + 1, L) <= k), the part of the Beta(k + 1, n - k + 1) above L.

    The incomplete beta function by its continued fraction, as in DLMF 8.17.22.
    """
    a, b = hits + 1.0, attempts - hits + 1.0
    ends = a * log(level) + b * log1p(-level) - _log_beta(hits, attempts - hits)
    if level < a / (a + b):
        below = exp(ends) * _continued_fraction(a, b, level) / a
        return log1p(-below) if below < 1 else -inf
    return ends + log(_continued_fraction(b, a, 1 - level) / b)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b) * a * B(a, b) / (x^a * (1 - x)^b).

    By W. J. Lentz's method, two terms at a time.
    """
    c, d = 1.0, 1 / _apart_from_0(1 - (a + b) * x / (a + 1))
    value, even = d, a
    for term in range(1, _MOST_TERMS):
        even += 2
        share = term * (b - term) * x / ((even - 1) * even)
        d = 1 / _apart_from_0(1 + share * d)
        c = _apart_from_0(1 + share / c)
        value *= c * d
        share = -(a + term) * (a + b + term) * x / (even * (even + 1))
        d = 1 / _apart_from_0(1 + share * d)
        c = _apart_from_0(1 + share / c)
        change = c * d
        value *= change
        if -_PRECISION < change - 1 < _PRECISION:
            break
    return value


def _apart_from_0(value: float) -> float:
    return value or _TINY
