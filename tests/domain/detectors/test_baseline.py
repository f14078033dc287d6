"""What is learned of a scope's usual rate and its spread."""

from math import isfinite

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from streams.domain.detectors.baseline import (
    LEAST_DISPERSION,
    MOST_DISPERSION,
    Baseline,
    Hypotheses,
    Rise,
    times_odds,
)
from streams.domain.detectors.evidence import MOST_WEIGHT, AboveLimit, Shifted

RISE = Rise()
SEED = 20


@st.composite
def windows(draw: st.DrawFn) -> list[tuple[int, int]]:
    made = []
    for _ in range(draw(st.integers(0, 12))):
        attempts = draw(st.integers(0, draw(st.sampled_from([1, 2, 60, 5_000, 10**9]))))
        made.append((attempts, draw(st.sampled_from([0, attempts, attempts // 100]))))
    return made


def learned(seen: list[tuple[int, int]], times: int = 1) -> Baseline:
    baseline = Baseline()
    for _ in range(times):
        for attempts, hits in seen:
            baseline.learn(attempts, hits)
    return baseline


def drawn(rate: float, dispersion: float, attempts: int, number: int) -> list[tuple[int, int]]:
    weight = 1 / dispersion - 1
    rng = np.random.default_rng(SEED)
    hits = stats.betabinom.rvs(
        attempts, rate * weight, (1 - rate) * weight, size=number, random_state=rng
    )
    return [(attempts, int(each)) for each in hits]


def test_a_newcomer_is_taken_for_one_who_fails_a_twentieth_of_the_time() -> None:
    assert Baseline().rate == 0.05
    assert Baseline().dispersion == pytest.approx(1.6 * 0.015)


@pytest.mark.parametrize("attempts", [8, 60, 600, 5_000])
@pytest.mark.parametrize(("rate", "dispersion"), [(0.01, 0.005), (0.05, 0.02), (0.25, 0.05)])
def test_the_rate_is_found(rate: float, dispersion: float, attempts: int) -> None:
    baseline = learned(drawn(rate, dispersion, attempts, 2_000))
    independent = attempts / (1 + (attempts - 1) * baseline.dispersion)
    # It averages over some 170 windows, or fewer of few attempts.
    error = (rate * (1 - rate) / (100 * independent)) ** 0.5
    assert baseline.rate == pytest.approx(rate, abs=4 * error + 20 / baseline.weight * 0.05)


@pytest.mark.parametrize(
    ("rate", "dispersion"), [(0.01, 0.005), (0.05, 0.02), (0.25, 0.05), (0.25, 0.0005)]
)
def test_the_spread_is_found(rate: float, dispersion: float) -> None:
    baseline = learned(drawn(rate, dispersion, 2_000, 3_000))
    # What one window says is clipped, so a heavy tail is cut; the estimate is raised to make up.
    assert 1.0 * dispersion < baseline.dispersion < 2.2 * dispersion + 0.002


@given(windows(), st.integers(1, 40))
@example([(10**9, 10**9)], 40)
@example([(10**9, 0)], 40)
@example([(10**9, 10**9), (10**9, 0)], 20)
@example([(1, 1)], 40)
def test_the_null_is_one_that_evidence_can_be_held_against(
    seen: list[tuple[int, int]], times: int
) -> None:
    baseline = learned(seen, times)
    assert LEAST_DISPERSION <= baseline.dispersion <= MOST_DISPERSION
    found = Hypotheses.of(baseline.rate, baseline.null_weight, RISE)
    assert 0 < found.rate < 1
    assert found.rate < found.tolerated < found.limit < 1
    assert 0 < found.a < found.a + found.b <= MOST_WEIGHT
    assert found.b > 0
    above = AboveLimit(found.a, found.b, found.limit)
    shifted = Shifted(found.a, found.b, times_odds(found.limit, 1.5))
    for attempts, hits in [*seen, (10**9, 10**9), (10**9, 0), (1, 1), (1, 0)]:
        assert isfinite(above.log_ratio(attempts, hits))
        assert isfinite(shifted.log_ratio(attempts, hits))


@given(windows())
def test_a_window_is_learned_as_the_formulas_say(seen: list[tuple[int, int]]) -> None:
    """The same in 40 digits, as written on paper."""
    baseline = learned(seen)
    with mp.workdps(40):
        a = b = gx = g = mp.mpf(0)
        for n, k in seen:
            if not n:
                continue
            m = (1 + a) / (20 + a + b)
            rho = min(max(mp.mpf("1.6") * (gx + mp.mpf("0.15")) / (g + 10), 0.0005), 0.2)
            v = m * (1 - m)
            if n > 1:
                x = ((k - n * m) ** 2 - n * v) / (v * n * (n - 1))
                weight = min(1, mp.mpf("4e-4") * n**2 / (2 + 1 / (n * v)))
                keep = mp.mpf("0.998") ** weight
                gx = keep * gx + weight * min(max(x, mp.mpf("-0.02")), mp.mpf("0.3"))
                g = keep * g + weight
            w = 1 / (1 + (n - 1) * rho)
            d = mp.mpf("0.5") ** (n * w / (n * w + 5) / 120)
            a, b = d * a + w * k, d * b + w * (n - k)
        # Each window rounds to six decimals.
        assert baseline.hits == pytest.approx(float(a), rel=1e-6, abs=1e-5)
        assert baseline.misses == pytest.approx(float(b), rel=1e-6, abs=1e-5)
        assert baseline.spread == pytest.approx(float(gx), rel=1e-6, abs=1e-5)
        assert baseline.spread_weight == pytest.approx(float(g), rel=1e-6, abs=1e-5)


def test_a_window_without_attempts_says_nothing() -> None:
    baseline = learned([(60, 3), (600, 4)])
    before = (baseline.hits, baseline.misses, baseline.spread, baseline.spread_weight)
    baseline.learn(0, 0)
    assert (baseline.hits, baseline.misses, baseline.spread, baseline.spread_weight) == before


def test_spread_need_not_be_learned() -> None:
    baseline = learned([(600, 4)])
    before = baseline.spread, baseline.spread_weight
    baseline.learn(600, 300, spread=False)
    assert (baseline.spread, baseline.spread_weight) == before
    assert baseline.hits > learned([(600, 4)]).hits


@given(st.floats(0, 1), st.floats(0.1, 10))
def test_odds(rate: float, factor: float) -> None:
    raised = times_odds(rate, factor)
    assert raised * (1 - rate) == pytest.approx(factor * rate * (1 - raised), abs=1e-12)
