"""What detectors say of themselves agrees with what they decide."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.detectors.accounts import Account, WindowSeen, fewest
from streams.domain.detectors.burn_rate import BurnRate
from streams.domain.detectors.count import Count
from streams.domain.detectors.history import Closing, Notified, Observation, ScopeHistory
from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.volume import Volume
from streams.domain.detectors.windowed import WindowDetector

SIZE = 60
DETECTORS: list[WindowDetector] = [
    Threshold(0.1),
    Threshold(0.02, 0.9, lookback_windows=3),
    BurnRate(long_windows=6, short_windows=2, long_factor=5, min_attempts=20),
    Count(12),
]
windows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(
        lambda pair: (max(pair), min(pair)),
    ),
    min_size=1,
    max_size=8,
)


def history(counted: list[tuple[int, int]]) -> ScopeHistory:
    """Windows in a row, attempts and hits of each, oldest first; the last one is open."""
    *closed, newest = [
        (number * SIZE, Observation(n, k, {"FAILURE": k, "SUCCESS": n - k}))
        for number, (n, k) in enumerate(counted)
    ]
    found = [each for each in closed[::-1] if each[1].attempts]
    return ScopeHistory(dict([newest]), lambda: iter(found), newest[0], SIZE, None, None)


@given(st.integers(0, 400), st.integers(-3, 500), st.integers(0, 400))
def test_the_fewest_that_is_enough_is_found_from_any_guess(
    least: int, guess: int, most: int
) -> None:
    tried: list[int] = []

    def is_enough(number: int) -> bool:
        tried.append(number)
        return number >= least

    assert fewest(is_enough, guess, most) == (least if least <= most else None)
    assert all(0 <= each <= most for each in tried)


def test_a_near_guess_takes_few_trials() -> None:
    tried: list[int] = []

    def is_enough(number: int) -> bool:
        tried.append(number)
        return number >= 50_001

    assert fewest(is_enough, 50_000, 100_000) == 50_001
    assert len(tried) <= 3


@pytest.mark.parametrize("detector", DETECTORS)
@settings(deadline=None)
@given(windows)
def test_as_many_hits_as_are_missing_are_a_breach_and_no_fewer(
    detector: WindowDetector, counted: list[tuple[int, int]]
) -> None:
    if not counted[-1][0]:
        counted = [*counted[:-1], (1, 0)]
    account = detector.account(history(counted))
    missing = account.hits_missing
    assert missing is not None
    is_breach = detector.evaluate(history(counted)).breaching
    assert (missing == 0) == is_breach == account.is_breach

    def with_more(hits: int) -> bool:
        n, k = counted[-1]
        raised = history([*counted[:-1], (n + hits, k + hits)])
        return detector.evaluate(raised).breaching

    assert with_more(missing)
    if missing:
        assert not with_more(missing - 1)
        assert account.unmet


def test_what_an_alert_was_about_takes_new_evidence() -> None:
    shown = history([(100, 1), (100, 40)])
    ended = Notified(SIZE, SIZE, -1, {SIZE: (100, 40)})
    account = Threshold(0.1).account(shown._replace(notified=ended))
    assert account.hits_missing is not None
    assert 0 < account.hits_missing < 20
    assert "an alert that has ended was about this window" in account.notes[0]


def test_without_open_windows_there_is_nothing_to_judge() -> None:
    shown = ScopeHistory({}, lambda: iter(()), 0, SIZE, None, None)
    account = Threshold(0.1).account(shown)
    assert account == Account(0, 0, None, notes=("no open window has any attempts",))


def seen(counted: list[tuple[int, int]]) -> list[WindowSeen]:
    return [WindowSeen(number * SIZE, n, k) for number, (n, k) in enumerate(counted) if n]


def rate_by_trial(
    detector: WindowDetector, before: list[tuple[int, int]], attempts: int
) -> float | None:
    """Return the least rate of a window after others that is a breach, found by trying all."""
    for hits in range(attempts + 1):
        if detector.evaluate(history([*before, (attempts, hits)])).breaching:
            return hits / attempts
    return None


@given(windows)
def test_levels_of_a_threshold_are_those_of_each_window_by_itself(
    counted: list[tuple[int, int]],
) -> None:
    detector = Threshold(0.1)
    levels = list(detector.levels(seen(counted), SIZE, None))
    assert [each.start for each in levels] == [each.start for each in seen(counted)]
    for window, level in zip(seen(counted), levels, strict=True):
        assert level.limit_rate == 0.1
        assert level.usual_rate is None
        assert level.firing_rate == rate_by_trial(detector, [], window.attempts)


@settings(deadline=None)
@given(windows)
def test_levels_of_a_burn_rate_go_by_the_windows_before(counted: list[tuple[int, int]]) -> None:
    detector = BurnRate(long_windows=4, short_windows=2, long_factor=5, min_attempts=20)
    levels = {each.start: each for each in detector.levels(seen(counted), SIZE, None)}
    for number, (n, _) in enumerate(counted):
        if not n:
            assert number * SIZE not in levels
            continue
        expected = rate_by_trial(detector, counted[:number], n)
        assert levels[number * SIZE].firing_rate == expected


def test_a_count_has_a_level_that_depends_on_the_attempts() -> None:
    few, many = Count(12).levels([WindowSeen(0, 10, 0), WindowSeen(60, 100, 0)], SIZE, None)
    assert few.firing_rate is None
    assert many.firing_rate == 0.13
    assert many.limit_rate is None


def closed_history(counted: dict[int, tuple[int, int]], now: int) -> ScopeHistory:
    """Windows by number; those before `now` are closed."""
    made = [
        (number * SIZE, Observation(n, k, {"SUCCESS": k, "FAILURE": n - k}))
        for number, (n, k) in sorted(counted.items(), reverse=True)
    ]
    return ScopeHistory(
        {at: each for at, each in made if at >= now * SIZE},
        lambda: iter([each for each in made if each[0] < now * SIZE]),
        now * SIZE,
        SIZE,
        None,
        None,
        Closing((now - 1) * SIZE, {n * SIZE for n in range(now + 1)}, is_new=True),
    )


def test_each_check_of_a_volume_is_told_of() -> None:
    detector = Volume(3, 2, min_sends=20, max_sends=100, min_delivery_rate=0.9)
    fine = dict.fromkeys(range(21), (50, 49))
    account = detector.account(closed_history(fine, 20))
    names = ["max-sends", "stalled-windows", "min-sends", "min-delivery-rate"]
    assert [each.name for each in account.requirements] == names
    assert [each.value for each in account.requirements] == [50, 0, 50, 0.98]
    assert account.any_is_enough
    assert not account.is_breach
    silent = closed_history(dict.fromkeys(range(17), (50, 49)), 20)
    account = detector.account(silent)
    assert account.is_breach == detector.evaluate(silent).breaching is True
    met = {each.name: each.value for each in account.requirements if each.is_met}
    assert met == {"stalled-windows": 3, "min-sends": 0}
    flood = closed_history({**fine, 20: (101, 101)}, 20)
    assert [each.name for each in detector.account(flood).requirements if each.is_met] == [
        "max-sends"
    ]


def test_whether_a_volume_breaches_is_what_its_account_says() -> None:
    chance = random.Random(5)  # noqa: S311 - the same histories each time
    detector = Volume(3, 2, min_sends=20, max_sends=100, min_delivery_rate=0.9)
    found = set()
    for _ in range(300):
        counted = {}
        for number in range(21):
            attempts = chance.choice([0, 0, 5, 40, 60, 110])
            hits = attempts if chance.random() < 0.7 else attempts // 2
            if attempts:
                counted[number] = attempts, hits
        shown = closed_history(counted, 20)
        is_breach = detector.evaluate(shown).breaching
        assert detector.account(shown).is_breach == is_breach
        found.add(is_breach)
    assert found == {True, False}
