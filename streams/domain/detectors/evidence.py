"""Evidence that the share of hits has risen: logarithms of ratios of marginal likelihoods.

The null hypothesis is that hits among attempts are beta-binomial: a stretch of time has a rate of
its own, drawn from Beta(a, b), as the usual rate and its spread say. The alternatives are mixtures
over rates as well:

- `AboveLimit`: any rate above a limit, each as likely as another.
- `Shifted`: rates that spread as much as those of the null, around a higher mean.

With each attempt, a ratio of marginal likelihoods is multiplied by the quotient of two predictive
probabilities, so it is a martingale under the null, with expectation 1 whenever it is looked at.
It reaches e^c at any time with a probability of at most e^-c (Ville's inequality).

The error of a result is at most `PRECISION` times the larger of 1 and the result, for up to
`MOST_ATTEMPTS` attempts and a + b up to `MOST_WEIGHT`.
"""

from math import exp, inf, lgamma, log, log1p, pi, sqrt

MOST_ATTEMPTS = 10**9
MOST_WEIGHT = 3_200.0
LEAST_WEIGHT = 2.0
"""Of a + b, so that a bound of the evidence for each hit is proven."""
PRECISION = 1e-10
"""Bound of the error of evidence (nats): absolute up to 1 nat, relative above."""

_FEW = 10_000
"""Attempts: below, log-gammas are subtracted as they are, which costs some 1e-11."""
_NARROW = 250.0
"""Variance of a binomial count: below, its tail is added up, in some 120 terms at most."""
_TERM = 1e-14
"""A term of a tail that is smaller, as a share of the sum, ends it."""
_LOST = -37.0
"""e to the power of this makes no difference when it is added to 1."""
_REACH = 30.0
"""Nats: quadrature ends where the integrand is smaller than its first value by this factor."""
_LOG_2 = log(2.0)
_LOG_2_PI = log(2.0 * pi)

_LEGENDRE = (
    (0.07652652113349734, 0.15275338713072585),
    (0.22778585114164507, 0.14917298647260374),
    (0.37370608871541955, 0.14209610931838204),
    (0.5108670019508271, 0.13168863844917664),
    (0.636053680726515, 0.11819453196151841),
    (0.7463319064601508, 0.10193011981724044),
    (0.8391169718222188, 0.08327674157670475),
    (0.912234428251326, 0.06267204833410907),
    (0.9639719272779138, 0.04060142980038694),
    (0.9931285991850949, 0.017614007139152118),
)
"""Gauss-Legendre quadrature of 20 points: abscissas above 0 on (-1, 1), and weights."""
_NODES = tuple(
    ((1.0 + sign * at) / 2.0, weight / 2.0) for at, weight in _LEGENDRE for sign in (-1.0, 1.0)
)
"""The same on (0, 1)."""


class AboveLimit:
    """Evidence for any rate above a limit L, against Beta(a, b).

    With the prior density 1/(1 - L) on (L, 1), the marginal likelihood of n attempts in their
    order, k of them hits, is the integral of p^k (1 - p)^(n-k) / (1 - L) from L to 1. The integral
    over (0, 1) is B(k+1, n-k+1); the share of it above L is the probability that Beta(k+1, n-k+1)
    exceeds L, which is that of at most k hits in n + 1 attempts at rate L (NIST Digital Library of
    Mathematical Functions, 8.17.5). So

        E(n, k) = B(k+1, n-k+1) P(Bin(n+1, L) <= k) / (1 - L)  /  (B(a+k, b+n-k) / B(a, b))

    Args:
        a: above 0; of the null.
        b: above 0; of the null.
        limit: L, above 0 and below 1.
    """

    __slots__ = (
        "_constant",
        "_log_limit",
        "_log_rest",
        "_nats_a_hit",
        "_weight",
        "a",
        "b",
        "limit",
    )

    def __init__(self, a: float, b: float, limit: float) -> None:
        self.a = a
        self.b = b
        self.limit = limit
        self._weight = a + b
        self._log_limit = log(limit)
        self._log_rest = log1p(-limit)
        self._constant = lgamma(a) + lgamma(b) - lgamma(a + b) - self._log_rest
        self._nats_a_hit = self._most_nats_a_hit()

    def _most_nats_a_hit(self) -> float:
        """Return a bound of ln E(n, k) / k for all n; infinite where that is not proven.

        Where the quotient of the priors' densities rises with the rate, attempts without a hit
        only lower E, so that E(n, k) <= E(k, k). The k factors of that are at most 1 against at
        least a / (a+b).
        """
        mean = self.a / self._weight
        return -log(mean) if mean <= min(self.limit, 0.5) and self._weight >= LEAST_WEIGHT else inf

    def log_ratio(self, attempts: int, hits: int) -> float:
        """Return ln E(n, k) in nats; 0 without attempts."""
        return self._two_sided(attempts, hits) + self._log_tail(attempts, hits)

    def exceeds(self, attempts: int, hits: int, level: float) -> bool:
        """Tell whether ln E(n, k) is above a level, mostly without the costly part of it.

        The probability in E(n, k) is at most 1; and it is at least 1/2 if k is no less than the
        mean (n + 1) L, since the median of a binomial count is at most its mean, rounded up (Kaas
        and Buhrman, "Mean, median and mode in binomial distributions", Statistica Neerlandica 34,
        1980). Below the mean, its terms fall at least as fast as a geometric series.
        """
        if hits * self._nats_a_hit < level:
            return False
        highest = self._two_sided(attempts, hits)
        if highest <= level:
            return False
        if hits >= (attempts + 1) * self.limit:
            if highest - _LOG_2 > level:
                return True
        elif hits <= attempts * self.limit:
            rest, misses = 1.0 - self.limit, attempts - hits
            first = self._log_density(attempts, hits) + log(rest / (misses + 1))
            if highest + first > level:
                return True
            if highest + first - log1p(-hits * rest / ((misses + 2) * self.limit)) <= level:
                return False
        return highest + self._log_tail(attempts, hits) > level

    def _two_sided(self, n: int, k: int) -> float:
        """Return ln E(n, k) as it were if the probability in it was 1."""
        a, b, m = self.a, self.b, n - k
        if n < _FEW:
            ours = lgamma(k + 1) + lgamma(m + 1) - lgamma(n + 2)
            return ours - lgamma(a + k) - lgamma(b + m) + lgamma(self._weight + n) + self._constant
        return (
            _log_gamma_quotient(k, 1.0, a)
            + _log_gamma_quotient(m, 1.0, b)
            - _log_gamma_quotient(n, 2.0, self._weight)
            + self._constant
        )

    def _log_tail(self, n: int, k: int) -> float:
        """Return ln P(Bin(n+1, L) <= k), from the side that is the smaller one.

        Each side is the density of Beta(k+1, n-k+1) at L times the integral of that density, as a
        share of its value at L.
        """
        density = self._log_density(n, k)
        if k > n * self.limit:
            if density < _LOST:
                return 0.0
            below = exp(density) * self._width_below(n, k)
            if below < 0.5:  # noqa: PLR2004 - the other side is smaller then
                return log1p(-below)
        return density + log(self._width_above(n, k))

    def _log_density(self, n: int, k: int) -> float:
        """Return the logarithm of the density of Beta(k+1, n-k+1) at L.

        It is n + 1 times the probability of k hits in n attempts at L. For many attempts, that is
        worked out from its deviance: C. Loader, "Fast and accurate computation of binomial
        probabilities" (2000).
        """
        m = n - k
        if n < _FEW or not k or not m:
            choose = lgamma(n + 2) - lgamma(k + 1) - lgamma(m + 1) if k and m else log(n + 1)
            return choose + k * self._log_limit + m * self._log_rest
        mean, rest = n * self.limit, n * (1.0 - self.limit)
        beyond = k - mean
        deviance = k * log1p(beyond / mean) + m * log1p(-beyond / rest)
        spread = (log(n) - log(k) - log(m) - _LOG_2_PI) / 2.0
        return log(n + 1) - deviance + spread + _stirling(n) - _stirling(k) - _stirling(m)

    def _width_above(self, n: int, k: int) -> float:
        """Return the integral of p^k (1-p)^(n-k) from L to 1, as a share of its integrand at L."""
        limit, rest = self.limit, 1.0 - self.limit
        if n * limit * rest >= _NARROW:
            return _width(k, limit, n - k, rest)
        return _tail(k, n + 2 - k, rest / limit) * rest / (n + 1 - k)

    def _width_below(self, n: int, k: int) -> float:
        """Return the same integral from 0 to L."""
        limit, rest = self.limit, 1.0 - self.limit
        if n * limit * rest >= _NARROW:
            return _width(n - k, rest, k, limit)
        return _tail(n - k, k + 2, limit / rest) * limit / (k + 1)


class Shifted:
    """Evidence for Beta(c, d), against Beta(a, b) of the same weight, a + b = c + d.

        E(n, k) = (B(c+k, d+n-k) / B(c, d))  /  (B(a+k, b+n-k) / B(a, b))

    Args:
        a: above 0; of the null.
        b: above 0; of the null.
        mean: of the alternative, above 0 and below 1.
    """

    __slots__ = ("_constant", "a", "b", "c", "d")

    def __init__(self, a: float, b: float, mean: float) -> None:
        self.a = a
        self.b = b
        self.c = mean * (a + b)
        self.d = (1.0 - mean) * (a + b)
        self._constant = lgamma(a) + lgamma(b) - lgamma(self.c) - lgamma(self.d)

    def log_ratio(self, attempts: int, hits: int) -> float:
        """Return ln E(n, k) in nats; 0 without attempts."""
        a, b, c, d, k, m = self.a, self.b, self.c, self.d, hits, attempts - hits
        if attempts < _FEW:
            return lgamma(c + k) - lgamma(a + k) + lgamma(d + m) - lgamma(b + m) + self._constant
        return _log_gamma_quotient(k, c, a) + _log_gamma_quotient(m, d, b) + self._constant


def _log_gamma_quotient(x: int, c: float, d: float) -> float:
    """Return the logarithm of the quotient of the gamma functions of x + c and x + d.

    For large x, both logarithms are 10^10 and their digits are lost in a difference, so that of
    Stirling's formulas is worked out.
    """
    if x < _FEW:
        return lgamma(x + c) - lgamma(x + d)
    u, v = x + c, x + d
    return (v - 0.5) * log1p((c - d) / v) + (c - d) * (log(u) - 1.0) + (1 / u - 1 / v) / 12.0


def _stirling(x: int) -> float:
    """Return what Stirling's formula for ln x!, x above 0, lacks."""
    if x < 20:  # noqa: PLR2004 - the series would begin to err
        return lgamma(x + 1) - (x + 0.5) * log(x) + x - _LOG_2_PI / 2.0
    return (1.0 - (1.0 - 2.0 / (7.0 * x * x)) / (30.0 * x * x)) / (12.0 * x)


def _tail(down: int, up: int, odds: float) -> float:
    """Return the sum of 1 and all terms after it, by the quotient of two: odds * down / up.

    `down` falls by 1 with each term, and the sum ends at 0; `up` rises by 1. It is a tail of a
    binomial distribution, as a share of its first term.
    """
    term = total = 1.0
    while down and term > _TERM * total:
        term *= odds * down / up
        total += term
        down -= 1
        up += 1
    return total


def _width(k: int, limit: float, m: int, rest: float) -> float:
    """Return the integral of (1 + x/limit)^k (1 - x/rest)^m over x from 0 to `rest`.

    The integrand falls from 1 at x = 0. Gauss-Legendre quadrature up to where e^-`_REACH` is left;
    Newton's method finds that, coming from above as the logarithm is concave.
    """
    slope = m / rest - k / limit
    curvature = k / limit**2 + m / rest**2
    reach = 2.0 * _REACH / (slope + sqrt(slope * slope + 2.0 * _REACH * curvature))
    most = rest * (1.0 - 1e-9)
    for _ in range(2):
        if reach >= most:
            reach = most
            break
        fallen = -k * log1p(reach / limit) - m * log1p(-reach / rest)
        reach += (_REACH - fallen) / (m / (rest - reach) - k / (limit + reach))
    reach = min(reach, most)
    total = 0.0
    for at, weight in _NODES:
        x = at * reach
        total += weight * exp(k * log1p(x / limit) + m * log1p(-x / rest))
    return total * reach
