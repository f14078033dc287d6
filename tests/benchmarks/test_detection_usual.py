"""The usual detectors: their tails are those of the beta-binomial distribution."""

from math import log

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.detection.usual import is_unlikely, log_tail


@pytest.mark.parametrize("attempts", [1, 2, 40, 3_000])
@pytest.mark.parametrize(("mean", "spread"), [(0.003, 0.001), (0.05, 0.03), (0.3, 0.2)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 1.0])
def test_a_tail_is_the_sum_of_all_its_terms(
    attempts: int, mean: float, spread: float, share: float
) -> None:
    hits = max(1, round(share * attempts))
    weight = mpmath.mpf(1) / spread - 1
    a, b = mean * weight, (1 - mean) * weight
    exact = mpmath.fsum(
        mpmath.binomial(attempts, k) * mpmath.beta(a + k, b + attempts - k) / mpmath.beta(a, b)
        for k in range(hits, attempts + 1)
    )
    expected = float(mpmath.log(exact))
    assert log_tail(attempts, hits, mean, spread) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert expected <= log(1.0 + 1e-9)


@pytest.mark.parametrize("hits", [0, 20, 900])
def test_a_tail_from_below_the_mean_on_is_nearly_all(hits: int) -> None:
    assert log_tail(1_411, hits, 0.78125, 0.001953125) == pytest.approx(0.0, abs=1e-6)


@given(
    st.integers(1, 3_000),
    st.floats(0.0, 1.0),
    st.floats(0.001, 0.8),
    st.floats(0.001, 0.5),
    st.floats(1.0, 20.0),
)
def test_what_is_unlikely_by_its_bounds_is_so_by_its_tail(
    attempts: int, share: float, mean: float, spread: float, level: float
) -> None:
    hits = round(share * attempts)
    expected = log_tail(attempts, hits, mean, spread) < -level
    assert is_unlikely(attempts, hits, mean, spread, level) == expected
