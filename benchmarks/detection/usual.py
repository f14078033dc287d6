"""What else is in use to spot a rate that has risen: detectors to compare ours with.

Each looks once a second, as ours do at every flush. An alert fires at the first breach, ends when
the detector has said for `HOLD` seconds that it is over, and expires without any attempts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.scoring import Alert
from benchmarks.detection.traffic import Counts, Rates

WINDOW = 60
"""Seconds."""
HOLD = 180
"""Seconds for which an alert has to be over: three windows."""
NO_DATA = 900
"""Seconds without attempts after which an alert expires."""

Flags = NDArray[np.bool_]
Says = tuple[Flags, Flags]
"""For each second: whether there is a breach, and whether an alert is over."""


class Seconds:
    """The counts of one campaign and one kind of hit, second by second.

    Args:
        attempts: a second.
        hits: a second.
    """

    def __init__(self, attempts: Counts, hits: Counts) -> None:
        whole = len(attempts) // WINDOW * WINDOW
        self.length = len(attempts)
        self.attempts = attempts
        self.sent = np.concatenate(([0], np.cumsum(attempts, dtype=np.int64)))
        self.hit = np.concatenate(([0], np.cumsum(hits, dtype=np.int64)))
        self.windows = attempts[:whole].reshape(-1, WINDOW).sum(axis=1)
        """Attempts of each window."""
        self.window_hits = hits[:whole].reshape(-1, WINDOW).sum(axis=1)
        self._open: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    @cached_property
    def at(self) -> NDArray[np.int64]:
        """The seconds."""
        return np.arange(self.length)

    @cached_property
    def silent(self) -> NDArray[np.int64]:
        """For how many seconds there have been no attempts, as of each second."""
        return self.at - np.maximum.accumulate(np.where(self.attempts > 0, self.at, -1))

    def open_window(self, before: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return attempts and hits of the open window, and of some before it, as of each second."""
        if before not in self._open:
            start = np.maximum(0, self.at // WINDOW * WINDOW - before * WINDOW)
            sums = self.sent[1:] - self.sent[start], self.hit[1:] - self.hit[start]
            self._open[before] = sums
        return self._open[before]

    def last(self, seconds: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return attempts and hits of the last seconds, as of each second."""
        start = np.maximum(0, self.at + 1 - seconds)
        return self.sent[1:] - self.sent[start], self.hit[1:] - self.hit[start]

    def of_closed(self, values: NDArray[np.float64], first: float) -> Rates:
        """Return for each second a value that came of the windows that have closed until then.

        Args:
            values: after each window.
            first: before any has closed.
        """
        return np.concatenate(([first], values))[np.minimum(self.at // WINDOW, len(values))]


@dataclass(frozen=True)
class Usual:
    """A detector with one setting to tune.

    Attributes:
        name: as it is called where it is used.
        says: what it says at each second, given the setting.
        settings: to choose from, from the most sensitive one on.
        shown: the setting that is shown as it is commonly set.
    """

    name: str
    says: Callable[[Seconds, float], Says]
    settings: tuple[float, ...]
    shown: float

    def alerts(self, seconds: Seconds, setting: float) -> list[Alert]:
        """Return the alerts in the order in which they fire."""
        breach, over = self.says(seconds, setting)
        return _alerts(seconds, breach, over)


def _alerts(seconds: Seconds, breach: Flags, over: Flags) -> list[Alert]:
    at, silent = seconds.at, seconds.silent
    over_for = at - np.maximum.accumulate(np.where(over & ~breach, -1, at))
    (fires,) = np.nonzero(breach & (silent < NO_DATA))
    (ends,) = np.nonzero((over_for >= HOLD) | (silent >= NO_DATA))
    alerts: list[Alert] = []
    now = 0
    while (first := int(np.searchsorted(fires, now))) < len(fires):
        fired = int(fires[first])
        last = int(np.searchsorted(ends, fired))
        ended = int(ends[last]) if last < len(ends) else None
        alerts.append(Alert(fired, ended))
        if ended is None:
            break
        now = ended + 1
    return alerts


def _rate(attempts: NDArray[np.int64], hits: NDArray[np.int64]) -> Rates:
    return hits / np.maximum(attempts, 1)


def rate_with_minimum(seconds: Seconds, level: float) -> Says:
    """The rate of the open window is above a level, of 20 attempts at least."""
    attempts, hits = seconds.open_window()
    rate, enough = _rate(attempts, hits), attempts >= 20  # noqa: PLR2004 - as documented
    return enough & (rate > level), ~enough | (rate <= level / 2.0)


def m_of_n(seconds: Seconds, level: float) -> Says:
    """Three of the last five closed windows are above a level, as in Amazon CloudWatch alarms.

    A window without attempts is not above it ("treat missing data as not breaching").
    """
    high = _rate(seconds.windows, seconds.window_hits) > level
    total = np.concatenate(([0], np.cumsum(high)))
    ends = np.arange(1, len(total))
    of_five = total[1:] - total[np.maximum(0, ends - 5)]
    breach = seconds.of_closed((of_five >= 3).astype(np.float64), 0.0) > 0.0  # noqa: PLR2004
    return breach, ~breach


def ewma_z(seconds: Seconds, level: float) -> Says:
    """The rate of the open window is so many standard deviations above a moving average.

    Mean and variance of the rates of closed windows are weighted exponentially, with a factor of
    0.05, after ten windows; the deviation is at least that of a binomial count. 20 attempts at
    least.
    """
    mean, variance, means, variances = 0.0, 0.0, [], []
    for index, rate in enumerate(_rate(seconds.windows, seconds.window_hits)):
        if seconds.windows[index]:
            beyond = float(rate) - mean
            factor = max(0.05, 1.0 / (index + 1.0))
            mean += factor * beyond
            variance = (1.0 - factor) * (variance + factor * beyond * beyond)
        means.append(mean if index >= 10 else 1.0)  # noqa: PLR2004 - as documented
        variances.append(variance)
    usual = seconds.of_closed(np.array(means), 1.0)
    spread = seconds.of_closed(np.array(variances), 0.0)
    attempts, hits = seconds.open_window()
    floor = np.maximum(usual * (1.0 - usual), 1e-3) / np.maximum(attempts, 1)
    z = (_rate(attempts, hits) - usual) / np.sqrt(np.maximum(spread, floor))
    enough = attempts >= 20  # noqa: PLR2004 - as documented
    return enough & (z > level), ~enough | (z <= level / 2.0)


def burn_rate(seconds: Seconds, level: float) -> Says:
    """The rates of the last five minutes and of the last one are above a level.

    Site Reliability Workbook (2018), chapter 5, "Multiwindow, multi-burn-rate alerts".
    """
    long, short = _rate(*seconds.last(300)), _rate(*seconds.last(60))
    high = (long > level) & (short > level)
    return high, ~high


def beta_binomial_tails(seconds: Seconds, level: float) -> Says:
    """Counts as high have a probability of e^-level under the usual rate and its spread.

    Of the open window, or of it with the five before; and the rate is above twice the odds. Usual
    rate and spread are learned from windows that do not breach, by moments, with a half-life of 120
    windows.
    """
    tail = _Tail(seconds, level)
    mean = seconds.of_closed(tail.means, tail.first_mean)
    spread = seconds.of_closed(tail.spreads, tail.first_spread)
    limit = 2.0 * mean / (1.0 + mean)
    breach = np.zeros(seconds.length, dtype=np.bool_)
    for before in (0, 5):
        attempts, hits = seconds.open_window(before)
        rate = _rate(attempts, hits)
        deviation = np.sqrt(mean * (1.0 - mean) * (1.0 / np.maximum(attempts, 1) + spread))
        # A probability as small needs three deviations at least: it is worked out for few seconds.
        (some,) = np.nonzero((hits >= 3) & (rate > limit) & (rate > mean + 3.0 * deviation))  # noqa: PLR2004
        for at in some:
            if breach[at]:
                continue
            counts = int(attempts[at]), int(hits[at])
            breach[at] = is_unlikely(*counts, mean.item(at), spread.item(at), level)
    attempts, hits = seconds.open_window(1)
    return breach, _rate(attempts, hits) <= limit


class _Tail:
    """What `beta_binomial_tails` learns when windows close."""

    first_mean = 0.05
    first_spread = 0.03

    def __init__(self, seconds: Seconds, level: float) -> None:
        a, b, weight, weighted = 1.0, 19.0, 10.0, 10.0 * 0.015
        means, spreads = [], []
        mean, spread = self.first_mean, self.first_spread
        for n, k in zip(seconds.windows.tolist(), seconds.window_hits.tolist(), strict=True):
            high = n > 1 and k >= 3 and k / n > 2.0 * mean / (1.0 + mean)  # noqa: PLR2004
            if n > 1 and not (high and is_unlikely(n, k, mean, spread, level / 2.0)):
                share = 1.0 / (1.0 + (n - 1) * spread)
                keep = 0.5 ** (n * share / (n * share + 5.0) / 120.0)
                variance = mean * (1.0 - mean)
                moment = ((k - n * mean) ** 2 - n * variance) / (variance * n * (n - 1))
                g = min(1.0, n * n / 2500.0 / (2.0 + 1.0 / (n * variance)))
                weight, weighted = (
                    0.998**g * weight + g,
                    0.998**g * weighted + g * min(0.3, max(-0.02, moment)),
                )
                a, b = keep * a + share * k, keep * b + share * (n - k)
                mean = a / (a + b) if a + b > 20.0 else (1.0 + a) / (20.0 + a + b)  # noqa: PLR2004
                spread = min(0.2, max(0.001, 1.6 * weighted / weight))
            means.append(mean)
            spreads.append(spread)
        self.means = np.array(means)
        self.spreads = np.array(spreads)


def is_unlikely(attempts: int, hits: int, mean: float, spread: float, level: float) -> bool:
    """Tell whether as many hits or more have a probability of less than e^-level.

    The first term of it alone says mostly that they have not, and a bound of all others that they
    have: with b of 1 at least, the quotient of two terms is less than `ratio` from the first on.
    """
    a, b = _beta(mean, spread)
    first = _log_term(attempts, hits, a, b)
    if first >= -level:
        return False
    misses = attempts - hits
    ratio = max(1.0, (a + hits) / (hits + 1.0)) * misses / (b - 1.0 + misses) if misses else 0.0
    if b >= 1.0 and ratio < 1.0 and first - math.log1p(-ratio) < -level:
        return True
    return log_tail(attempts, hits, mean, spread) < -level


def log_tail(attempts: int, hits: int, mean: float, spread: float) -> float:
    """Return the logarithm of the probability of as many hits or more.

    Args:
        attempts: n.
        hits: k.
        mean: of the beta distribution of the rate.
        spread: its intraclass correlation, above 0.
    """
    a, b = _beta(mean, spread)
    # Above the mean, terms fall: mostly those of a few more hits are all that matters.
    later = _later_terms(attempts, hits, min(attempts, hits + _FEW_TERMS), a, b)
    if len(later) < attempts - hits and later[-1] > -_NEGLIGIBLE:
        later = _later_terms(attempts, hits, attempts, a, b)
    most = later.max(initial=0.0)
    total = math.exp(-most) + np.exp(later - most).sum()
    return _log_term(attempts, hits, a, b) + float(most + np.log(total))


_FEW_TERMS = 64
_NEGLIGIBLE = 45.0
"""Nats: terms that are less by as much, and all after them, change no digit of the sum."""


def _beta(mean: float, spread: float) -> tuple[float, float]:
    weight = 1.0 / spread - 1.0
    return mean * weight, (1.0 - mean) * weight


def _log_term(attempts: int, hits: int, a: float, b: float) -> float:
    """Return the logarithm of the probability of a number of hits, given Beta(a, b)."""
    misses = attempts - hits
    return (
        math.lgamma(attempts + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(misses + 1)
        + math.lgamma(a + hits)
        + math.lgamma(b + misses)
        - math.lgamma(a + b + attempts)
        + math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
    )


def _later_terms(attempts: int, hits: int, last: int, a: float, b: float) -> Rates:
    """Return logarithms of the probabilities of more hits, up to `last`, less that of `hits`."""
    before = np.arange(hits, last, dtype=np.float64)
    left = attempts - before
    ratios = left * (a + before) / ((before + 1.0) * (b - 1.0 + left))
    terms: Rates = np.log(ratios).cumsum()
    return terms


USUAL = (
    Usual("rate with a minimum", rate_with_minimum, (0.1, 0.2, 0.35, 0.5, 0.7), 0.2),
    Usual("M of N", m_of_n, (0.05, 0.15, 0.35, 0.5, 0.65), 0.15),
    Usual("z-score on an EWMA", ewma_z, (3.0, 6.0, 12.0, 27.0), 6.0),
    Usual("burn rate", burn_rate, (0.1, 0.2, 0.35, 0.5, 0.65), 0.35),
    Usual("beta-binomial tails", beta_binomial_tails, (9.0, 12.0, 18.0), 12.0),
)
"""The usual detectors."""
