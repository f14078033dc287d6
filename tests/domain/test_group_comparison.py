"""Comparisons of groups: against scipy's distributions, and as often right as they say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, special, stats

from streams.domain.group_comparison import (
    CONFIDENCE,
    DISPERSIONS,
    Interval,
    Likelihood,
    Series,
    difference,
    error_of_each,
)

ERROR = 1.0 - CONFIDENCE
COUNTS = st.lists(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=1,
    max_size=12,
)


def series(attempts: NDArray[np.int64], hits: NDArray[np.int64]) -> Series:
    return Series.of(
        [(60 * at, int(n), int(k)) for at, (n, k) in enumerate(zip(attempts, hits, strict=True))]
    )


def log_mean(counted: Series, rate: float) -> float:
    """Return the mean likelihood over dispersions, without what does not depend on the rate."""
    logs = []
    for rho in DISPERSIONS:
        s = 1 / rho - 1
        n, k = counted.attempts, counted.hits
        pmf = stats.betabinom.logpmf(k, n, rate * s, (1 - rate) * s)
        choose = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        logs.append(float((pmf - choose).sum()))
    return float(special.logsumexp(logs) - np.log(len(logs)))


def drawn(
    chance: np.random.Generator, rate: float, rho: float, attempts: NDArray[np.int64]
) -> NDArray[np.int64]:
    s = 1 / rho - 1
    return chance.binomial(attempts, chance.beta(rate * s, (1 - rate) * s, len(attempts)))


@given(COUNTS)
@settings(max_examples=15, deadline=None)
def test_the_likelihood_is_that_of_scipy(counts: list[tuple[int, int]]) -> None:
    counted = Series.of([(60 * at, n, k) for at, (n, k) in enumerate(counts)])
    likelihood = Likelihood(counted)
    for at in (0, 60, 120):
        expected = log_mean(counted, float(likelihood.rates[at]))
        assert likelihood.mean[at] == pytest.approx(expected, abs=1e-5, rel=1e-7)


def test_the_ends_of_an_interval_are_where_the_evidence_says() -> None:
    counted = Series.of([(0, 100, 4), (60, 120, 9), (120, 90, 1), (180, 110, 5)])

    def density(odds: float) -> float:
        prior = stats.logistic.pdf(odds, -3.0, 1.5)
        return float(np.exp(log_mean(counted, float(special.expit(odds))) + 80.0) * prior)

    whole, _ = integrate.quad(density, -14, 14, points=[-4, -3, -2], limit=200)
    for end in Likelihood(counted).interval(ERROR):
        evidence = np.log(whole) - 80.0 - log_mean(counted, end)
        assert evidence == pytest.approx(np.log(1 / ERROR), abs=0.03)


@given(COUNTS, COUNTS)
@settings(max_examples=15, deadline=None)
def test_every_interval_holds_what_was_counted(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    one, other = (
        Series.of([(60 * at, n, k) for at, (n, k) in enumerate(counts)])
        for counts in (ours, theirs)
    )
    low, high = one.likelihood.interval(ERROR)
    assert 0.0 <= low < high <= 1.0
    found, turned = difference(one, other, ERROR), difference(other, one, ERROR)
    assert found is not None
    assert turned is not None
    assert -1.0 <= found.interval.low <= found.value <= found.interval.high <= 1.0
    assert found.windows == min(len(ours), len(theirs))
    assert found.value == pytest.approx(-turned.value)
    assert found.verdict == "not_certain" or found.verdict != turned.verdict
    wider = difference(one, other, ERROR / 10)
    assert wider is not None
    assert wider.interval.low <= found.interval.low + 1e-9
    assert wider.interval.high >= found.interval.high - 1e-9


def test_nothing_is_said_of_windows_that_only_one_has() -> None:
    early = Series.of([(0, 1000, 10), (60, 1000, 12)])
    late = Series.of([(120, 1000, 400), (180, 0, 0)])
    assert difference(late, early, ERROR) is None
    both = Series.of([(60, 1000, 11), (120, 1000, 400)])
    found = difference(both, early, ERROR)
    assert found is not None
    assert (found.windows, found.verdict) == (1, "not_certain")
    assert found.value == pytest.approx(-0.001)


def test_one_window_proves_nothing_and_more_of_them_do() -> None:
    widths = []
    for windows in (1, 4, 16, 64):
        worse, usual = (Series.of([(at, 200, k) for at in range(windows)]) for k in (16, 4))
        found = difference(worse, usual, ERROR)
        assert found is not None
        widths.append(found.interval.high - found.interval.low)
        assert found.verdict == "worse" or windows < 64
    assert all(wide > narrow for wide, narrow in pairwise(widths))
    one = difference(Series.of([(0, 500, 100)]), Series.of([(0, 500, 5)]), ERROR)
    assert one is not None
    assert one.verdict == "not_certain"  # all of them may have had one cause


def test_no_hits_are_not_taken_for_a_rate_of_0() -> None:
    interval = Series.of([(0, 50, 0)]).likelihood.interval(ERROR)
    assert interval.low == 0.0
    assert interval.high > 0.02
    assert Series.of([(0, 50, 50)]).likelihood.interval(ERROR).high == 1.0
    assert Series.of([(at, 10**6, 10**4) for at in range(60)]).likelihood.interval(
        ERROR
    ) == pytest.approx(Interval(0.01, 0.01), abs=2e-4)


@pytest.mark.parametrize(("rate", "rho", "attempts"), [(0.01, 0.0005, 100), (0.05, 0.05, 60)])
def test_equal_groups_are_seldom_ever_told_apart(rate: float, rho: float, attempts: int) -> None:
    """Look after 2, 4, 8 … windows at groups that differ by chance alone."""
    chance = np.random.default_rng(20_261_128)
    rounds, told, missed = 25, 0, 0
    for _ in range(rounds):
        sent = chance.poisson(attempts, (2, 32)) + 1
        failed = np.array([drawn(chance, rate, rho, each) for each in sent])
        looks = (2, 4, 8, 16, 32)
        ones = [series(sent[0][:t], failed[0][:t]) for t in looks]
        others = [series(sent[1][:t], failed[1][:t]) for t in looks]
        found = [difference(*pair, ERROR) for pair in zip(ones, others, strict=True)]
        told += {each.verdict for each in found if each is not None} != {"not_certain"}
        bounds = [each.likelihood.interval(ERROR) for each in ones]
        missed += not all(each.low <= rate <= each.high for each in bounds)
    # Were it wrong in 5 % of rounds, there would be more than this once in ten thousand times.
    most = stats.binom.ppf(0.9999, rounds, ERROR)
    assert told <= most < rounds / 3
    assert missed <= most


def test_errors_add_up_to_one() -> None:
    assert error_of_each(2) == pytest.approx(ERROR)
    assert error_of_each(11) == pytest.approx(ERROR / 10)
    assert error_of_each(1) == pytest.approx(ERROR)
