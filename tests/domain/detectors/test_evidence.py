"""Evidence against arithmetic of 40 digits, and what it promises as a martingale."""

from math import comb, exp, inf, isfinite
from typing import NamedTuple

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from streams.domain.detectors.evidence import (
    MOST_ATTEMPTS,
    MOST_WEIGHT,
    PRECISION,
    AboveLimit,
    Shifted,
)

MOST = st.sampled_from([1, 10, 100, 1_000, 9_999, 10_000, 10_001, 10**6, MOST_ATTEMPTS])
"""Of the numbers of attempts in an example: each order of magnitude gets its share."""
# 1 / 0.3 - 1 is the least weight that a baseline gives its null.
weights = st.floats(2.3, MOST_WEIGHT)
means = st.one_of(st.floats(0.02, 0.9999), st.sampled_from([0.02, 0.05, 0.3, 0.9999]))
limits = st.one_of(st.floats(0.001, 0.9999), st.sampled_from([0.04, 0.5, 0.9999]))


class Counts(NamedTuple):
    attempts: int
    hits: int


@st.composite
def counts(draw: st.DrawFn, most: int = MOST_ATTEMPTS) -> Counts:
    attempts = draw(st.integers(0, min(draw(MOST), most)))
    share = draw(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.04])))
    near = draw(st.integers(-3, 3))
    return Counts(attempts, min(max(round(attempts * share) + near, 0), attempts))


@st.composite
def near_a_limit(draw: st.DrawFn, most: int = MOST_ATTEMPTS) -> tuple[Counts, float]:
    """Counts with a limit that is some standard deviations away from their rate."""
    limit = draw(limits)
    attempts = draw(st.integers(0, min(draw(MOST), most)))
    away = draw(st.floats(-9, 9)) * (attempts * limit * (1 - limit)) ** 0.5
    return Counts(attempts, min(max(round(attempts * limit + away), 0), attempts)), limit


def null(weight: float, mean: float) -> tuple[float, float]:
    return mean * weight, (1 - mean) * weight


def log_beta(a: mp.mpf, b: mp.mpf) -> mp.mpf:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def log_marginal(seen: Counts, a: float, b: float) -> mp.mpf:
    attempts, hits = seen
    first, second = mp.mpf(a), mp.mpf(b)
    return log_beta(first + hits, second + attempts - hits) - log_beta(first, second)


def log_integral(seen: Counts, limit: float) -> mp.mpf:
    """The integral of p^k (1-p)^(n-k) over p from the limit to 1, by quadrature."""
    attempts, hits = seen
    low = mp.mpf(limit)
    misses = attempts - hits
    peak = max(low, mp.mpf(hits) / attempts) if attempts else low
    peak = min(peak, 1 - mp.mpf(10) ** -15)

    def log_of(p: mp.mpf) -> mp.mpf:
        return hits * mp.log(p) + misses * mp.log(1 - p)

    highest = log_of(peak)
    slope = abs(hits / peak - misses / (1 - peak))
    width = 1 / mp.sqrt(slope**2 + hits / peak**2 + misses / (1 - peak) ** 2 + 1)
    points = {low, peak, mp.mpf(1)}
    for times in (0.3, 1, 3, 6, 10, 20, 40, 90):
        points |= {p for p in (peak - times * width, peak + times * width) if low < p < 1}
    total = mp.quad(
        lambda p: mp.exp(log_of(p) - highest) if p < 1 else mp.mpf(not misses), sorted(points)
    )
    return mp.log(total) + highest


def assert_precise(value: float, expected: mp.mpf) -> None:
    assert isfinite(value)
    assert abs(value - expected) <= PRECISION * max(1, abs(expected)), (value, expected)


@settings(max_examples=60, deadline=None)
@given(near_a_limit(), weights, means)
@example((Counts(10**9, 40_000_000), 0.04), 49.0, 0.02)
@example((Counts(10**9, 40_000_100), 0.04), 1999.0, 0.02)
@example((Counts(10**9, 10**9), 0.04), 1999.0, 0.02)
@example((Counts(10**9, 0), 0.04), 1999.0, 0.02)
@example((Counts(10**9, 10**9), 0.9999), 2.3, 0.9998)
@example((Counts(6_200, 249), 0.04), 49.0, 0.02)
@example((Counts(6_600, 263), 0.04), 49.0, 0.02)
def test_any_rate_above_a_limit_to_40_digits(
    seen: tuple[Counts, float], weight: float, mean: float
) -> None:
    (attempts, hits), limit = seen
    a, b = null(weight, mean)
    with mp.workdps(40):
        alternative = log_integral(seen[0], limit) - mp.log(1 - mp.mpf(limit))
        expected = alternative - log_marginal(seen[0], a, b)
        assert_precise(AboveLimit(a, b, limit).log_ratio(attempts, hits), expected)


@settings(max_examples=400, deadline=None)
@given(near_a_limit(most=10_001), weights, means)
def test_any_rate_above_a_limit_as_a_tail(
    seen: tuple[Counts, float], weight: float, mean: float
) -> None:
    (attempts, hits), limit = seen
    a, b = null(weight, mean)
    tail = stats.binom.logcdf(hits, attempts + 1, limit)
    assume(tail > -600)
    ours = special.betaln(hits + 1, attempts - hits + 1) + tail - special.log1p(-limit)
    theirs = special.betaln(a + hits, b + attempts - hits) - special.betaln(a, b)
    value = AboveLimit(a, b, limit).log_ratio(attempts, hits)
    assert value == pytest.approx(ours - theirs, rel=1e-9, abs=1e-7)


@settings(max_examples=300, deadline=None)
@given(counts(), weights, means, means)
def test_a_shifted_mean_to_40_digits(
    seen: Counts, weight: float, mean: float, alternative: float
) -> None:
    a, b = null(weight, mean)
    shifted = Shifted(a, b, alternative)
    with mp.workdps(40):
        expected = log_marginal(seen, shifted.c, shifted.d) - log_marginal(seen, a, b)
        assert_precise(shifted.log_ratio(*seen), expected)


@settings(max_examples=400, deadline=None)
@given(near_a_limit(), weights, means, st.one_of(st.floats(-5, 40), st.just(0.0)))
def test_a_level_is_exceeded_exactly_if_the_evidence_is_above_it(
    seen: tuple[Counts, float], weight: float, mean: float, level: float
) -> None:
    counts_seen, limit = seen
    evidence = AboveLimit(*null(weight, mean), limit)
    exact = evidence.log_ratio(*counts_seen)
    assume(abs(exact - level) > PRECISION * max(1, abs(exact)))
    assert evidence.exceeds(*counts_seen, level) == (exact > level)
    for away in (0.1, 0.5, 0.8):
        assert evidence.exceeds(*counts_seen, exact - away)
        assert not evidence.exceeds(*counts_seen, exact + away)


@given(weights, means, limits)
def test_nothing_says_nothing(weight: float, mean: float, limit: float) -> None:
    a, b = null(weight, mean)
    assert AboveLimit(a, b, limit).log_ratio(0, 0) == pytest.approx(0, abs=PRECISION)
    assert Shifted(a, b, limit).log_ratio(0, 0) == pytest.approx(0, abs=PRECISION)


@settings(deadline=None)
@given(counts(), weights, means, limits)
def test_it_is_a_martingale_under_the_null(
    seen: Counts, weight: float, mean: float, limit: float
) -> None:
    attempts, hits = seen
    a, b = null(weight, mean)
    hit = (a + hits) / (a + b + attempts)
    for evidence in (AboveLimit(a, b, limit), Shifted(a, b, limit)):
        now = evidence.log_ratio(attempts, hits)
        if_hit = exp(evidence.log_ratio(attempts + 1, hits + 1) - now)
        if_miss = exp(evidence.log_ratio(attempts + 1, hits) - now)
        scale = PRECISION * max(1, abs(now)) * 10
        assert hit * if_hit + (1 - hit) * if_miss == pytest.approx(1, abs=scale)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), weights, means, limits)
def test_the_expectation_over_all_outcomes_is_one(
    attempts: int, weight: float, mean: float, limit: float
) -> None:
    a, b = null(weight, mean)
    for evidence in (AboveLimit(a, b, limit), Shifted(a, b, limit)):
        expectation = 0.0
        for hits in range(attempts + 1):
            theirs = special.betaln(a + hits, b + attempts - hits) - special.betaln(a, b)
            probability = comb(attempts, hits) * exp(theirs)
            expectation += probability * exp(evidence.log_ratio(attempts, hits))
        assert expectation == pytest.approx(1, abs=1e-8)


@settings(deadline=None)
@given(counts(most=10**6), weights, st.floats(0.02, 0.5), st.floats(0, 1))
def test_attempts_without_a_hit_lower_it(
    seen: Counts, weight: float, mean: float, above: float
) -> None:
    attempts, hits = seen
    evidence = AboveLimit(*null(weight, mean), mean + above * (0.999 - mean))
    before, after = (evidence.log_ratio(n, hits) for n in (attempts, attempts + 1))
    assert after < before + PRECISION * max(1, abs(before))


@settings(deadline=None)
@given(counts(most=10**6), weights, st.floats(0.02, 0.5), st.floats(0, 1))
def test_a_hit_more_raises_it(seen: Counts, weight: float, mean: float, above: float) -> None:
    attempts, hits = seen
    evidence = AboveLimit(*null(weight, mean), mean + above * (0.999 - mean))
    before, after = evidence.log_ratio(attempts, hits), evidence.log_ratio(attempts + 1, hits + 1)
    assert after > before - PRECISION * max(1, abs(before))


# By scipy.stats.betabinom and scipy.special.betainc; usual rate 1 %, known from 10,000 attempts.
@pytest.mark.parametrize(
    ("attempts", "hits", "expected"), [(3, 3, 8.9), (4, 4, 11.3), (10, 3, 3.5), (60, 12, 4.9)]
)
def test_known_evidence(attempts: int, hits: int, expected: float) -> None:
    evidence = AboveLimit(*null(1 / 0.0165 - 1, 0.02), 0.04)
    assert evidence.log_ratio(attempts, hits) == pytest.approx(expected, abs=0.2)


def test_no_level_is_beyond_all_levels() -> None:
    evidence = AboveLimit(1.0, 49.0, 0.04)
    assert not evidence.exceeds(10, 10, inf)
    assert evidence.exceeds(10, 0, -inf)


@pytest.mark.parametrize("level", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("weight", "mean", "limit"), [(49.0, 0.02, 0.04), (9.0, 0.2, 0.38)])
def test_under_the_null_few_starts_ever_reach_a_level(
    weight: float, mean: float, limit: float, level: float
) -> None:
    """Looked at after every hit of 1,500 attempts, and begun anew as soon as nothing is left.

    Each start has a rate of its own. The mean number of starts before a level c is reached is at
    least e^c.
    """
    a, b = null(weight, mean)
    evidence = AboveLimit(a, b, limit)
    rng = np.random.default_rng(11)
    starts, reached = 3_000, 0
    for _ in range(starts):
        rate = rng.beta(a, b)
        gaps = rng.geometric(max(rate, 1e-9), size=200)
        attempts = 0
        for hits, gap in enumerate(gaps.tolist(), start=1):
            if attempts + gap > 1_500 or not evidence.exceeds(attempts + gap, hits, 0.0):
                break
            attempts += gap
            if evidence.exceeds(attempts, hits, level):
                reached += 1
                break
    bound = exp(-level)
    assert reached / starts <= bound + 3 * (bound / starts) ** 0.5
    # The bound is not idle: what reaches the level is within a factor of ten of it.
    assert reached / starts >= bound / 10
