"""Whether one group of a campaign's sends has a higher rate of hits than another.

A group's counts come in windows, and windows of one group vary more than a coin would make them.
So the hits of a window are taken as beta-binomial, as `detectors.baseline` takes them: with a mean
rate p, and a dispersion rho, the correlation of two attempts of one window. Neither is known.

A rate p0 is ruled out once E(p0) reaches 1/a; a difference d of two groups likewise:

    E(p0) = (mean of L(p, rho) over p and rho) / (mean of L(p0, rho) over rho)
    E(d)  = (mean of L(p_A, rho_A) L(p_B, rho_B) over all of them) / (the same, with p_B = p_A + d)

L is the likelihood of all windows of a group; means are over priors. Drawn from these, E is a
martingale with expectation 1 at the true value: it ever reaches 1/a with a probability of at most
a, however often one looks (J. Ville, 1939). What holds where rate and dispersion are given numbers
instead is measured (docs/comparing.md).

The mixture of rates is that of H. Robbins, "Statistical methods related to the law of the iterated
logarithm", Annals of Mathematical Statistics 41 (1970). That nuisance parameters have the same
prior above and below makes it a Bayes factor, here under optional stopping: A. Hendriksen, R. de
Heide and P. Gruenwald, "Optional stopping with Bayes factors", Bayesian Analysis 16 (2021).

What is compared are windows in which both groups were sent, so that a bad hour counts for both.
Incidents of a few windows are not beta-binomial, and chance brings them to one group rather than
another: a difference counts only if it is there without the tenth of windows that speak most for
it, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, exp, log
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.detectors.baseline import Reals, log_risings

Verdict: TypeAlias = Literal["worse", "better", "not_certain"]

CONFIDENCE = 0.95
"""Of each rate's interval; and of all differences of a comparison together."""
DISPERSIONS = (1e-5, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 0.8)
"""The values that the dispersion may have, each as likely as another."""
LEFT_OUT = 0.1
"""Share of the windows, rounded up, without which a difference has to be there as well."""
_CENTRE, _SPREAD = -3.0, 1.5
"""Of the prior of a rate: its log-odds are logistic, with a median of 5 %."""
_SHIFT = 0.7
"""The prior of how far two rates are apart: their log-odds differ by a Laplace variable of it."""
_ENDS = 14.0
"""Log-odds: rates beyond them, of less than one in a million, are 0."""
_POINTS = 121
_ENOUGH = 50
"""Points of the grid that the likelihood has to be on: they are then a quarter of its width."""
_NEGLIGIBLE = 40.0
"""Nats below the largest likelihood, from which on nothing adds anything."""
_MOST_ZOOMS = 8


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


class Difference(NamedTuple):
    """How much higher a group's rate is than the reference's, in windows that both have.

    Attributes:
        value: the group's rate in these windows, minus the reference's.
        interval: of the difference, for all looks.
        windows: how many these are.
    """

    value: float
    interval: Interval
    windows: int

    @property
    def verdict(self) -> Verdict:
        """Whether the group is worse, as it has more hits; or better."""
        if self.interval.low > 0.0:
            return "worse"
        return "better" if self.interval.high < 0.0 else "not_certain"


@dataclass(frozen=True)
class Series:
    """Counts of a group by window; windows without attempts are left out.

    Args:
        starts: of the windows (s), rising.
        attempts: of each, at least 1.
        hits: of each.
    """

    starts: NDArray[np.int64]
    attempts: NDArray[np.int64]
    hits: NDArray[np.int64]

    @classmethod
    def of(cls, counts: Sequence[tuple[int, int, int]]) -> "Series":
        """Build from the start (s), attempts and hits of windows."""
        kept = sorted(each for each in counts if each[1])
        table = np.array(kept, dtype=np.int64).reshape(len(kept), 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])

    @property
    def rate(self) -> float:
        """Hits as a share of attempts, of which there have to be some."""
        return int(self.hits.sum()) / int(self.attempts.sum())

    @cached_property
    def likelihood(self) -> "Likelihood":
        """How likely they are."""
        return Likelihood(self)

    def within(self, starts: NDArray[np.int64]) -> "Series":
        """Return the windows that begin at these times (s)."""
        if len(starts) == len(self.starts):
            return self
        kept = np.isin(self.starts, starts)
        return Series(self.starts[kept], self.attempts[kept], self.hits[kept])


class Likelihood:
    """How likely the counts of a group are, by its rate, on a grid that all of it is on.

    Attributes:
        odds: the grid: log-odds of rates, rising in equal steps.
        rates: the same as rates.
        mean: the logarithm of the mean likelihood over dispersions, by rate.
    """

    def __init__(self, series: Series) -> None:
        self._hits = np.unique(series.hits, return_counts=True)
        self._misses = np.unique(series.attempts - series.hits, return_counts=True)
        self._weights = 1.0 / np.array(DISPERSIONS) - 1.0
        attempts, often = np.unique(series.attempts, return_counts=True)
        self._attempts = _sum(self._weights, attempts, often)
        odds = np.linspace(-_ENDS, _ENDS, _POINTS)
        by_dispersion = self._log(odds)
        for _ in range(_MOST_ZOOMS):
            best = by_dispersion.max(axis=1)
            near = np.flatnonzero(best >= best.max() - _NEGLIGIBLE)
            if len(near) >= _ENOUGH:
                break
            first, last = max(near[0] - 1, 0), min(near[-1] + 1, _POINTS - 1)
            odds = np.linspace(odds[first], odds[last], _POINTS)
            by_dispersion = self._log(odds)
        self.odds = odds
        self.rates = _rates(odds)
        self.mean = _log_sum(by_dispersion, axis=1) - log(len(DISPERSIONS))

    def _log(self, odds: Reals) -> Reals:
        """Return the logarithm of the likelihood, by log-odds of the rate and by dispersion."""
        hits = np.multiply.outer(_rates(odds), self._weights)
        misses = np.multiply.outer(_rates(-odds), self._weights)
        return _sum(hits, *self._hits) + _sum(misses, *self._misses) - self._attempts

    @property
    def step(self) -> float:
        """The distance of two points of the grid."""
        return float(self.odds[1] - self.odds[0])

    def interval(self, error: float) -> Interval:
        """Return the rates that are not ruled out.

        Args:
            error: the probability that the true rate is ever ruled out.
        """
        level = float(_log_sum(self.mean + _log_prior(self.odds), axis=0)) + log(self.step * error)
        kept = np.flatnonzero(self.mean >= level)
        low = _crossing(level, self.odds, self.mean, kept[0], -1)
        high = _crossing(level, self.odds, self.mean, kept[-1], 1)
        return Interval(
            0.0 if low <= -_ENDS else 1.0 / (1.0 + exp(-low)),
            1.0 if high >= _ENDS else 1.0 / (1.0 + exp(-high)),
        )


def difference(group: Series, reference: Series, error: float) -> Difference | None:
    """Compare a group with the reference; null if they have no window together.

    Args:
        group: its counts.
        reference: its counts.
        error: the largest probability that the true difference is ever ruled out.
    """
    starts = np.intersect1d(group.starts, reference.starts, assume_unique=True)
    if not len(starts):
        return None
    ours, theirs = group.within(starts), reference.within(starts)
    value = ours.rate - theirs.rate
    low, high = _difference(ours.likelihood, theirs.likelihood, error)
    if low > 0.0:
        low = min(low, _without_most(ours, theirs, error, 1).low)
    if high < 0.0:
        high = max(high, _without_most(ours, theirs, error, -1).high)
    # The rates themselves are never ruled out, but the grid is one of points.
    return Difference(value, Interval(min(low, value), max(high, value)), len(starts))


def _without_most(group: Series, reference: Series, error: float, sign: Literal[-1, 1]) -> Interval:
    """Return the differences that are not ruled out without some of the windows.

    These are the `LEFT_OUT` that speak most for a higher rate of the group, or for a lower one.
    """
    hits = int(group.hits.sum() + reference.hits.sum())
    rate = hits / int(group.attempts.sum() + reference.attempts.sum())
    excess = (group.hits - rate * group.attempts) / group.attempts.sum()
    excess -= (reference.hits - rate * reference.attempts) / reference.attempts.sum()
    kept = np.argsort(sign * excess, kind="stable")[: len(excess) - ceil(LEFT_OUT * len(excess))]
    if not len(kept):
        return Interval(-1.0, 1.0)
    starts = group.starts[np.sort(kept)]
    ours, theirs = group.within(starts), reference.within(starts)
    return _difference(ours.likelihood, theirs.likelihood, error)


def _difference(group: Likelihood, reference: Likelihood, error: float) -> Interval:
    """Return the differences that are not ruled out."""
    apart = np.abs(np.subtract.outer(group.odds, reference.odds))
    theirs = reference.mean + _log_prior(reference.odds)
    both = np.add.outer(group.mean, theirs) - apart / _SHIFT - log(2.0 * _SHIFT)
    level = float(_log_sum(both.ravel(), axis=0)) + log(group.step * error)
    corners = np.subtract.outer(group.rates[[0, -1]], reference.rates[[0, -1]])
    low, high = float(corners.min()), float(corners.max())
    differences = np.linspace(low, high, 4 * _POINTS)
    for _ in range(2):
        found = np.flatnonzero(_log_of(differences, group, reference.rates, theirs) >= level)
        first, last = max(found[0] - 1, 0), min(found[-1] + 1, len(differences) - 1)
        low, high = float(differences[first]), float(differences[last])
        differences = np.linspace(low, high, 4 * _POINTS)
    return Interval(low, high)


def _log_of(differences: Reals, group: Likelihood, rates: Reals, theirs: Reals) -> Reals:
    """Return the logarithm of the mean likelihood of differences, but for a constant factor."""
    wanted = np.add.outer(differences, rates)
    inside = (wanted > 0) & (wanted < 1)
    odds = np.where(inside, wanted, 0.5)
    ours = np.interp(np.log(odds / (1 - odds)), group.odds, group.mean)
    return _log_sum(np.where(inside, ours, -1e9) + theirs, axis=1)


def _crossing(level: float, odds: Reals, logs: Reals, at: int, step: Literal[-1, 1]) -> float:
    """Return where, between a point of the grid and its neighbour, the logarithm is `level`.

    Args:
        level: the logarithm of a likelihood; that of the point is no less.
        odds: the grid.
        logs: on the grid.
        at: the point.
        step: to its neighbour, which may be beyond the grid: then it is the point.
    """
    beyond = at + step
    if not 0 <= beyond < len(odds):
        return float(odds[at])
    share = (logs[at] - level) / (logs[at] - logs[beyond])
    return float(odds[at] + share * (odds[beyond] - odds[at]))


def _sum(x: Reals, counts: NDArray[np.int64], often: NDArray[np.int64]) -> Reals:
    """Add up log rising factorials of x over counts; each is there so often."""
    (rising,) = log_risings((x[..., None], counts.astype(np.float64)))
    each: Reals = rising @ often.astype(np.float64)
    return each


def _rates(odds: Reals) -> Reals:
    rates: Reals = 1.0 / (1.0 + np.exp(-odds))
    return rates


def _log_prior(odds: Reals) -> Reals:
    """Return the logarithm of the density of a rate's log-odds."""
    at = np.abs(odds - _CENTRE) / _SPREAD
    density: Reals = -at - 2.0 * np.log1p(np.exp(-at)) - log(_SPREAD)
    return density


def _log_sum(logs: Reals, axis: int) -> Reals:
    """Return the logarithm of a sum of numbers, by their logarithms."""
    largest = logs.max(axis=axis, keepdims=True)
    added: Reals = np.log(np.exp(logs - largest).sum(axis=axis)) + largest.squeeze(axis)
    return added


def error_of_each(groups: int) -> float:
    """Return the error of each of the differences of so many groups to one of them.

    By Bonferroni's inequality, all of them together err with a probability of 1 - `CONFIDENCE`.
    """
    return (1.0 - CONFIDENCE) / max(1, groups - 1)
