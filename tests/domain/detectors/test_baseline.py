"""What is learned of a scope's usual rate and its spread."""

from math import isfinite
from operator import mul

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs
from scipy import stats

from streams.domain.detectors.baseline import (
    DISPERSIONS,
    LEAST_DISPERSION,
    MOST_DISPERSION,
    PRIOR_LOG_CHANCES,
    Baseline,
    Hypotheses,
    Rise,
    times_odds,
)
from streams.domain.detectors.evidence import MOST_WEIGHT, AboveLimit, Shifted

RISE = Rise()
PRIOR = [mp.mpf(each) / 10_000 for each in PRIOR_LOG_CHANCES]
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
    chances = [float(mp.exp(each / mp.mpf(10_000))) for each in PRIOR_LOG_CHANCES]
    shares = [round(each / sum(chances), 4) for each in chances]
    assert shares == [0.2, 0.2, 0.2, 0.2, 0.12, 0.06, 0.02]
    mean = sum(map(mul, shares, DISPERSIONS))
    assert Baseline().dispersion == pytest.approx(1.6 * mean, abs=1e-5)


@pytest.mark.parametrize("attempts", [8, 60, 600, 5_000])
@pytest.mark.parametrize(("rate", "dispersion"), [(0.01, 0.005), (0.05, 0.02), (0.25, 0.05)])
def test_the_rate_is_found(rate: float, dispersion: float, attempts: int) -> None:
    baseline = learned(drawn(rate, dispersion, attempts, 2_000))
    independent = attempts / (1 + (attempts - 1) * baseline.dispersion)
    # It averages over some 170 windows, or fewer of few attempts.
    error = (rate * (1 - rate) / (100 * independent)) ** 0.5
    assert baseline.rate == pytest.approx(rate, abs=4 * error + 20 / baseline.weight * 0.05)


@pytest.mark.parametrize("attempts", [60, 600, 5_000])
@pytest.mark.parametrize("dispersion", [0.002, 0.015, 0.06])
def test_the_spread_is_found(dispersion: float, attempts: int) -> None:
    baseline = learned(drawn(0.08, dispersion, attempts, 600))
    # Few attempts tell little of a small dispersion.
    most = 2.5 * dispersion + 0.5 / attempts
    assert 0.8 * dispersion < baseline.dispersion < most


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
    found = Hypotheses.of(*baseline.null(), RISE)
    assert 0 < found.rate < 1
    assert found.rate < found.tolerated < found.limit < 1
    assert 0 < found.a < found.a + found.b <= MOST_WEIGHT
    assert found.b > 0
    above = AboveLimit(found.a, found.b, found.limit)
    shifted = Shifted(found.a, found.b, times_odds(found.limit, 1.5))
    for attempts, hits in [*seen, (10**9, 10**9), (10**9, 0), (1, 1), (1, 0)]:
        assert isfinite(above.log_ratio(attempts, hits))
        assert isfinite(shifted.log_ratio(attempts, hits))


@settings(deadline=None)
@given(windows())
def test_a_window_is_learned_as_the_formulas_say(seen: list[tuple[int, int]]) -> None:
    """The same in 40 digits, as written on paper; each window rounds to what is kept."""
    baseline = learned(seen)
    with mp.workdps(40):
        a = b = mp.mpf(0)
        rho, chances = mp.mpf(Baseline().dispersion), PRIOR
        for n, k in seen:
            if not n:
                continue
            m, w = (mp.mpf("0.02") + a) / (mp.mpf("0.4") + a + b), 1 / (1 + (n - 1) * rho)
            if n > 1 and a + b >= 50:
                chances = chances_after(n, k, m, a + b, chances)
                weights = [mp.exp(each) for each in chances]
                mean = sum(map(mul, weights, DISPERSIONS)) / sum(weights)
                rho = min(max(mp.mpf("1.6") * mean, 0.001), 0.2)
            d = mp.mpf("0.5") ** (n * w / (n * w + 5) / 120)
            a, b = d * a + w * k, d * b + w * (n - k)
        assert baseline.dispersion == pytest.approx(float(rho), rel=0.01)
        assert baseline.hits == pytest.approx(float(a), rel=0.01, abs=1e-5)
        assert baseline.misses == pytest.approx(float(b), rel=0.01, abs=1e-5)


def log_beta(a: mp.mpf, b: mp.mpf) -> mp.mpf:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def chances_after(n: int, k: int, m: mp.mpf, weight: mp.mpf, chances: list[mp.mpf]) -> list[mp.mpf]:
    made = []
    for rho, before, at_first in zip(DISPERSIONS, chances, PRIOR, strict=True):
        s = 1 / min(mp.mpf("0.3"), mp.mpf(rho) + 1 / (weight + 11)) - 1
        likely = log_beta(m * s + k, (1 - m) * s + n - k) - log_beta(m * s, (1 - m) * s)
        made.append(mp.mpf("0.998") * before + mp.mpf("0.002") * at_first + likely)
    return [max(each - max(made), -1_000) for each in made]


def test_a_window_without_attempts_says_nothing() -> None:
    baseline = learned([(60, 3), (600, 4)])
    before = structs.replace(baseline)
    baseline.learn(0, 0)
    assert baseline == before


def test_a_scope_without_hits_is_not_taken_for_one_that_varies() -> None:
    assert learned([(60, 0)], 500).dispersion <= Baseline().dispersion


def test_a_null_is_wide_while_little_is_known() -> None:
    # rho + 1 / (A + B + 11), and rho no less than 0.022 * 2500 / (A + B + 1)
    assert Baseline(10.0, 990.0, 0.001).null()[1] == pytest.approx(1 / (0.022 + 1 / 1_011) - 1)
    late = 1 / (0.022 * 2_500 / 10_001 + 1 / 10_011) - 1
    assert Baseline(100.0, 9_900.0, 0.001).null()[1] == pytest.approx(late)
    assert Baseline(10.0, 990.0, 0.05).null()[1] == pytest.approx(1 / (0.05 + 1 / 1_011) - 1)


def test_one_attempt_says_nothing_of_dispersion() -> None:
    baseline = learned([(1, 1), (1, 0)], 60)
    assert baseline.weight > 50
    assert baseline.log_chances == PRIOR_LOG_CHANCES
    assert baseline.dispersion == Baseline().dispersion


@given(st.floats(0, 1), st.floats(0.1, 10))
def test_odds(rate: float, factor: float) -> None:
    raised = times_odds(rate, factor)
    assert raised * (1 - rate) == pytest.approx(factor * rate * (1 - raised), abs=1e-12)
