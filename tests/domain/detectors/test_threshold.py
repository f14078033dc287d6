"""When a rate is high beyond doubt."""

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.detectors.history import Observation, Stretch
from streams.domain.detectors.threshold import Threshold, wilson_lower_bound

attempts = st.integers(1, 1_000_000)
levels = st.floats(0.001, 0.999)
confidences = st.floats(0.5, 0.999)


def seen(hits: int, attempts: int) -> Observation:
    return Observation(attempts, hits, {"FAILURE": hits, "SUCCESS": attempts - hits})


@st.composite
def observations(draw: st.DrawFn) -> tuple[int, int]:
    number = draw(attempts)
    return draw(st.integers(0, number)), number


# From the closed form, worked out with 50 decimal digits.
@pytest.mark.parametrize(
    ("hits", "number", "confidence", "expected"),
    [
        (164, 812, 0.95, 0.1798034),
        (1, 2, 0.95, 0.1208663),
        (10, 10, 0.95, 0.7870580),
        (50, 100, 0.99, 0.3867078),
        (5, 100, 0.95, 0.0245474),
        (0, 100, 0.95, 0.0),
        (0, 0, 0.95, 0.0),
    ],
)
def test_known_bounds(hits: int, number: int, confidence: float, expected: float) -> None:
    assert wilson_lower_bound(hits, number, confidence) == pytest.approx(expected, abs=1e-6)


@given(observations(), confidences)
def test_the_bound_is_between_zero_and_the_rate(
    observation: tuple[int, int], confidence: float
) -> None:
    hits, number = observation

    assert 0 <= wilson_lower_bound(hits, number, confidence) <= hits / number + 1e-12


@given(observations(), confidences)
def test_the_bound_is_the_proportion_that_the_score_test_just_accepts(
    observation: tuple[int, int], confidence: float
) -> None:
    """The definition, of which the formula is the solution: (rate - p)^2 = z^2 p (1 - p) / n."""
    hits, number = observation
    z = NormalDist().inv_cdf(confidence)

    p = wilson_lower_bound(hits, number, confidence)

    assert (hits / number - p) ** 2 == pytest.approx(z * z * p * (1 - p) / number, abs=1e-12)


@given(observations(), confidences, st.integers(2, 100))
def test_more_of_the_same_makes_surer(
    observation: tuple[int, int], confidence: float, times: int
) -> None:
    hits, number = observation

    bound = wilson_lower_bound(hits, number, confidence)

    assert wilson_lower_bound(hits * times, number * times, confidence) >= bound - 1e-12


@given(observations(), st.tuples(confidences, confidences))
def test_more_confidence_asks_for_more(
    observation: tuple[int, int], pair: tuple[float, float]
) -> None:
    hits, number = observation
    less, more = sorted(pair)

    bound = wilson_lower_bound(hits, number, less)
    assert wilson_lower_bound(hits, number, more) <= bound + 1e-12


@given(observations(), levels, confidences)
def test_a_breach_is_always_above_the_level(
    observation: tuple[int, int], level: float, confidence: float
) -> None:
    hits, number = observation

    detector = Threshold(level, confidence)
    is_breach = detector.is_breach(seen(hits, number))
    figures = detector.figures(Stretch(0, 0, seen(hits, number)))

    if is_breach:
        assert hits / number > level
    assert figures.lower_bound is not None
    assert is_breach == (figures.lower_bound > level)
    assert figures.baseline_rate is None


@given(attempts, levels, confidences)
def test_no_hits_no_breach(number: int, level: float, confidence: float) -> None:
    assert not Threshold(level, confidence).is_breach(seen(0, number))


def test_few_attempts_need_a_higher_rate() -> None:
    detector = Threshold(0.10, 0.95)

    assert not detector.is_breach(seen(2, 10))  # 20 % of ten
    assert detector.is_breach(seen(20, 100))  # 20 % of a hundred
    assert detector.is_breach(seen(5, 10))  # half of ten


def test_the_rate_of_nothing_is_nothing() -> None:
    assert seen(0, 0).rate == 0.0
    assert not Threshold(0.10).is_breach(seen(0, 0))


@given(
    level=st.floats(0.001, 0.999),
    confidence=st.floats(0.5, 0.999),
    least=st.integers(1, 80),
    more=st.integers(0, 400),
)
def test_with_fewer_than_the_least_hits_nothing_breaches(
    level: float, confidence: float, least: int, more: int
) -> None:
    detector = Threshold(level, confidence, min_attempts=least)
    hits = detector.least_hits
    assert not detector.is_breach(Observation(least + more, min(hits - 1, least + more), {}))
    if hits <= least:
        assert detector.is_breach(Observation(least, hits, {}))
