"""The usual detectors: their tails are those of the beta-binomial distribution."""

from math import log

import mpmath
import pytest

from benchmarks.detection.usual import log_tail


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
