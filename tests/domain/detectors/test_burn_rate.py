"""The failures that an objective allows are used up too fast."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.detectors.burn_rate import BurnRate
from streams.domain.detectors.detector import Reason
from streams.domain.detectors.history import Notified, Observation, ScopeHistory
from streams.domain.hits import NewCounts, RecentHits

SIZE = 60
DETECTOR = BurnRate(
    0.01, long_windows=6, long_factor=10, short_windows=2, short_factor=20, min_attempts=100
)


def seen(hits: int, attempts: int = 100) -> Observation:
    return Observation(attempts, hits, {"FAILURE": hits, "SUCCESS": attempts - hits})


def history(*windows: Observation | None, notified: Notified | None = None) -> ScopeHistory:
    """Windows in a row, oldest first, of which the last one is open; null for one without any."""
    *closed, newest = (
        (number * SIZE, seen) for number, seen in enumerate(windows) if seen is not None
    )
    return ScopeHistory(dict([newest]), lambda: iter(closed[::-1]), newest[0], SIZE, None, notified)


def live(shown: ScopeHistory) -> ScopeHistory:
    return shown._replace(evaluated={})


@pytest.mark.parametrize(
    ("windows", "breaching"),
    [
        # It burns right now, and has burnt for long enough.
        ([0, 0, 0, 0, 30, 40], True),
        # The long windows are just at their factor: 60 of 600 are 10 %.
        ([0, 0, 0, 0, 20, 40], False),
        ([0, 0, 0, 0, 21, 40], True),
        # It was worse, and is over: the short windows are at their factor.
        ([50, 50, 50, 50, 20, 20], False),
        ([50, 50, 50, 50, 20, 21], True),
        # What was before the long windows does not count.
        ([100, 0, 0, 0, 0, 19, 41], False),
    ],
)
def test_both_windows_have_to_burn(windows: list[int], *, breaching: bool) -> None:
    evaluation = DETECTOR.evaluate(history(*map(seen, windows)))
    assert evaluation.breaching == breaching


def test_the_evidence_has_both_burn_rates() -> None:
    evaluation = DETECTOR.evaluate(history(*map(seen, [9, 0, 0, 0, 0, 30, 40])))
    assert evaluation.figures is not None
    stretch = evaluation.figures.stretch
    assert (stretch.start, stretch.last, stretch.seen) == (SIZE, 6 * SIZE, seen(70, 600))
    assert evaluation.figures.others == {
        "objective": 0.01,
        "burn_rate": pytest.approx(70 / 6),
        "short_burn_rate": pytest.approx(35),
    }
    assert evaluation.figures.lower_bound is None


def test_a_campaign_that_has_just_begun() -> None:
    assert not DETECTOR.evaluate(history(seen(99, 99))).breaching
    assert DETECTOR.evaluate(history(seen(99, 99), seen(1, 1))).breaching


def test_windows_without_attempts_are_windows() -> None:
    """The short windows are those of two minutes, whoever sent anything in them."""
    assert not DETECTOR.evaluate(history(seen(99), None, seen(19))).breaching
    assert DETECTOR.evaluate(history(seen(99), None, seen(21))).breaching


def test_the_short_windows_say_that_it_is_over() -> None:
    burning = [50, 50, 50, 50]
    found = {
        rate: DETECTOR.evaluate(live(history(*map(seen, [*burning, 0, rate]))))
        for rate in (20, 21, 41)
    }
    assert {rate: each.recovered for rate, each in found.items()} == {
        20: True,
        21: False,
        41: False,
    }
    assert found[20].reason == Reason.RECOVERED
    assert found[21].reason == Reason.ABOVE_RECOVERY_LEVEL
    assert found[20].current is not None
    assert found[20].current.others["burn_rate"] == pytest.approx(10)


def test_what_an_alert_was_about_raises_no_other_one() -> None:
    told = Notified(0, 4 * SIZE, 4 * SIZE, {})
    windows = [*map(seen, [50, 50, 50, 50, 50]), seen(30, 80)]
    assert not DETECTOR.evaluate(history(*windows, notified=told)).breaching
    windows = [*map(seen, [50, 50, 50, 50, 50]), seen(30, 100)]
    assert DETECTOR.evaluate(history(*windows, notified=told)).breaching


def test_healthy_campaigns_do_not_read_the_long_windows() -> None:
    read: list[int] = []
    windows = history(*map(seen, [1] * 7))

    def closed() -> Iterator[tuple[int, Observation]]:
        for start, of_it in windows.closed():
            read.append(start)
            yield start, of_it

    DETECTOR.evaluate(windows._replace(closed=closed))
    # The window before the short ones says that they are complete.
    assert read == [5 * SIZE, 4 * SIZE]


def test_any_counts_matter_to_a_campaign_with_enough_hits() -> None:
    """When the oldest windows go, a burn rate may rise without a hit."""
    recent = RecentHits()
    recent.add(0, [("a", DETECTOR.least_hits), ("b", DETECTOR.least_hits - 1), ("c", 99)])
    new = NewCounts(["a", "b"], [("b", 0)], recent, events=dict[str, int]().__getitem__)
    assert set(DETECTOR.triggers(new)) == {"a"}


@given(
    st.floats(0.001, 0.2), st.floats(1, 4.9), st.integers(1, 200), st.integers(0, 500), st.data()
)
def test_fewer_hits_than_the_least_never_breach(
    objective: float, factor: float, least: int, more: int, data: st.DataObject
) -> None:
    detector = BurnRate(objective, long_factor=factor, min_attempts=least)
    hits = data.draw(st.integers(0, detector.least_hits - 1))
    attempts = max(hits, least + more)
    assert not detector.evaluate(history(seen(hits, attempts))).breaching


@pytest.mark.parametrize(
    ("detector", "setting"),
    [
        (BurnRate(short_windows=61), "short_windows"),
        (BurnRate(long_factor=100.0, short_factor=2.0), "long_factor"),
        (BurnRate(short_factor=100.0), "short_factor"),
        (BurnRate(short_factor=5.0, recovery_factor=6.0), "recovery_factor"),
    ],
)
def test_settings_that_contradict_each_other(detector: BurnRate, setting: str) -> None:
    assert [problem.setting for problem in detector.problems()] == [setting]


def test_what_is_left_out_follows_from_the_rest() -> None:
    detector = BurnRate(long_factor=6.0)
    assert (detector.short_factor, detector.recovery_factor) == (6.0, 3.0)
    assert BurnRate().problems() == []
