"""When a rate is high beyond doubt."""

import random
from math import log
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.detectors.proportions import lower_bound
from streams.domain.detectors.threshold import Threshold

SIZE = 60
attempts = st.integers(1, 1_000_000)
levels = st.floats(0.001, 0.999)
confidences = st.floats(0.5, 0.999)


def seen(hits: int, attempts: int) -> Observation:
    return Observation(attempts, hits, {"FAILURE": hits, "SUCCESS": attempts - hits})


def history(*windows: Observation) -> ScopeHistory:
    """Windows in a row, oldest first, of which the last one is open."""
    *closed, newest = (
        (number * SIZE, seen) for number, seen in enumerate(windows) if seen.attempts
    )
    return ScopeHistory(dict([newest]), lambda: iter(closed[::-1]), newest[0], SIZE, None, None)


@st.composite
def observations(draw: st.DrawFn) -> tuple[int, int]:
    number = draw(attempts)
    return draw(st.integers(0, number)), number


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
    bound = figures.lower_bound
    assert bound == lower_bound(hits, number, -log(1 - confidence))
    if abs(bound - level) > 1e-6 * level:
        assert is_breach == (bound > level)
    assert figures.baseline_rate is None


@given(attempts, levels, confidences)
def test_no_hits_no_breach(number: int, level: float, confidence: float) -> None:
    assert not Threshold(level, confidence).is_breach(seen(0, number))


@pytest.mark.parametrize(
    ("hits", "number", "expected"),
    [(1, 2, False), (3, 3, False), (5, 5, False), (3, 10, False), (7, 10, True), (30, 100, True)],
)
def test_few_attempts_do_not_fire_as_it_ships(hits: int, number: int, *, expected: bool) -> None:
    assert Threshold().evaluate(history(seen(hits, number))).breaching == expected


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
    assert detector.is_breach(Observation(max(least, hits), hits, {}))


def test_what_one_window_does_not_say_several_do() -> None:
    detector = Threshold(0.1, 0.99)
    each = seen(12, 60)
    found = [detector.evaluate(history(*[each] * number)) for number in range(1, 4)]
    assert [evaluation.breaching for evaluation in found] == [False, False, True]
    (figures,) = [each.breach for each in found if each.breach is not None]
    assert (figures.stretch.start, figures.stretch.last) == (0, 2 * SIZE)
    assert figures.stretch.seen == seen(36, 180)
    alone = Threshold(0.1, 0.99, lookback_windows=2)
    assert not alone.evaluate(history(*[each] * 10)).breaching


def test_what_was_before_healthy_windows_is_over() -> None:
    detector = Threshold(0.1, 0.99)
    assert detector.evaluate(history(seen(60, 60), seen(10, 60))).breaching
    assert not detector.evaluate(history(seen(60, 60), seen(3, 60))).breaching
    # Three of three are not enough to be healthy.
    assert detector.evaluate(history(seen(60, 60), seen(0, 3))).breaching


def test_a_healthy_newest_window_reads_no_others() -> None:
    def none() -> NoReturn:
        raise AssertionError

    healthy = history(seen(0, 60), seen(1, 60))._replace(closed=none)
    assert not Threshold(0.1).evaluate(healthy).breaching


def breaching_starts(detector: Threshold, windows: int, size: int, seed: int) -> set[int]:
    """Let each attempt be a hit just as often as the level allows, and look after each hit.

    Returns:
        Where series of attempts begin that are a breach, as window numbers.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable
    done: list[Observation] = []
    starts = set()
    for number in range(windows):
        hits = 0
        for attempt in range(1, size + 1):
            if chance.random() >= detector.level:
                continue
            hits += 1
            shown = history(*done[-detector.lookback :], seen(hits, attempt))
            evaluation = detector.evaluate(shown)
            if evaluation.breach is not None:
                first = number - min(len(done), detector.lookback)
                starts.add(first + evaluation.breach.stretch.start // SIZE)
        done.append(seen(hits, size))
    return starts


@pytest.mark.parametrize("size", [20, 150])
def test_traffic_at_the_level_raises_no_more_false_alarms_than_the_confidence_allows(
    size: int,
) -> None:
    detector = Threshold(0.1, 0.9, min_attempts=1, lookback_windows=5)
    starts = breaching_starts(detector, windows=600, size=size, seed=13)
    assert 0 < len(starts) <= 0.1 * 600


@given(observations(), levels, confidences, st.integers(1, 100))
def test_fewer_hits_than_are_missing_make_no_breach(
    counted: tuple[int, int], level: float, confidence: float, least: int
) -> None:
    hits, attempts = counted
    detector = Threshold(level, confidence, min_attempts=least)
    missing = detector.missing_hits(attempts, hits)
    if not missing:
        enough = max(attempts, least)
        assert detector.is_breach(seen(hits, enough))
    else:
        more = missing - 1
        enough = max(attempts + more, least)
        assert not detector.is_breach(seen(hits + more, enough))


def test_how_many_hits_are_missing_is_close_to_it() -> None:
    detector = Threshold()
    for attempts in (10, 50, 1_000, 100_000):
        hits = attempts // 20
        missing = detector.missing_hits(attempts, hits)
        least = next(
            more
            for more in range(attempts)
            if detector.is_breach(seen(hits + more, attempts + more))
        )
        assert 0.9 * least <= missing <= least


@given(observations(), levels, st.floats(0, 1))
def test_a_low_rate_stays_low_with_fewer_hits_than_it_takes_to_rise(
    counted: tuple[int, int], level: float, share: float
) -> None:
    hits, attempts = counted
    detector = Threshold(level, recovery_level=share * level)
    if detector.is_low(seen(hits, attempts)):
        more = detector.hits_to_rise(seen(hits, attempts)) - 1
        assert detector.is_low(seen(hits + more, attempts + more))
