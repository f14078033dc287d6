"""Too few or too many sends, a stall, too few delivered: one history each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from streams.domain.detectors.detector import Reason
from streams.domain.detectors.history import Closing, Notified, Observation, ScopeHistory
from streams.domain.detectors.volume import Volume
from streams.domain.hits import NewCounts, RecentHits

SIZE = 60
NOW = 20
"""The window that event time is in, by its number; the one before it is the newest closed one."""
OFF = Volume(stalled_windows=0)
STALLED = Volume(stalled_windows=3, active_windows=2)


def seen(delivered: int, attempts: int | None = None) -> Observation:
    attempts = delivered if attempts is None else attempts
    return Observation(attempts, delivered, {"SUCCESS": delivered, "FAILURE": attempts - delivered})


def history(
    windows: Mapping[int, Observation], observed: Any = range(NOW + 1), **changes: Any
) -> ScopeHistory:
    """Windows by their numbers; those before `NOW` are closed."""
    newest_first = sorted(windows.items(), reverse=True)
    closed = [(number * SIZE, seen) for number, seen in newest_first if number < NOW]
    made = ScopeHistory(
        open={number * SIZE: seen for number, seen in newest_first if number >= NOW},
        closed=lambda: iter(closed),
        newest=NOW * SIZE,
        size=SIZE,
        evaluated=None,
        notified=None,
        closing=Closing((NOW - 1) * SIZE, {number * SIZE for number in observed}, is_new=True),
    )
    return made._replace(**changes)


def between_closings(shown: ScopeHistory) -> ScopeHistory:
    assert shown.closing is not None
    return shown._replace(closing=shown.closing._replace(is_new=False))


LIVE: Any = {"evaluated": {}}
UNTIL_16 = {15: seen(9), 16: seen(9)}


# A stall


def test_a_campaign_stalls_after_as_many_windows_without_sends() -> None:
    evaluation = STALLED.evaluate(history(UNTIL_16))
    assert evaluation.reason == Reason.BREACHING
    assert evaluation.breach is not None
    stretch = evaluation.breach.stretch
    assert (stretch.start, stretch.last, stretch.seen.attempts) == (17 * SIZE, 19 * SIZE, 0)
    assert evaluation.breach.others == {"silent_windows": 3, "last_sends": 16 * SIZE}
    assert not STALLED.evaluate(history({16: seen(9), 17: seen(9)})).breaching
    assert not STALLED.evaluate(history({**UNTIL_16, NOW: seen(1)})).breaching


def test_it_is_decided_when_a_window_is_closed() -> None:
    assert not STALLED.evaluate(between_closings(history(UNTIL_16))).breaching
    assert STALLED.evaluate(between_closings(history(UNTIL_16, **LIVE))).breaching


def test_windows_in_which_the_whole_stream_stood_still_are_no_silence() -> None:
    observed = [*range(17), 18, 19, 20]
    assert not STALLED.evaluate(history(UNTIL_16, observed)).breaching
    assert STALLED.evaluate(history({14: seen(1), 15: seen(9)}, observed)).breaching


def test_a_window_that_closes_later_says_nothing_yet() -> None:
    assert not STALLED.evaluate(history({16: seen(9), 17: seen(9)}, range(NOW + 5))).breaching


def test_single_sends_are_no_campaign_that_goes_on() -> None:
    assert not STALLED.evaluate(history({16: seen(9)})).breaching
    assert replace(STALLED, active_windows=1).evaluate(history({16: seen(9)})).breaching


def test_sends_of_a_clock_that_is_ahead_do_not_hide_a_stall() -> None:
    assert STALLED.evaluate(history({**UNTIL_16, NOW + 60: seen(1)})).breaching


def test_a_stall_goes_on_until_sends_come_again() -> None:
    silent = STALLED.evaluate(history(UNTIL_16, **LIVE))
    assert (silent.breaching, silent.recovered) == (True, False)
    # It is longer ago than the lookback is.
    forgotten = STALLED.evaluate(history({}, **LIVE))
    assert (forgotten.breaching, forgotten.figures, forgotten.recovered) == (False, None, False)
    again = STALLED.evaluate(between_closings(history({**UNTIL_16, NOW: seen(1)}, **LIVE)))
    assert (again.reason, again.recovered) == (Reason.RECOVERED, True)
    assert again.current is not None
    assert again.current.stretch.seen == seen(1)
    nothing_new = between_closings(history(UNTIL_16, **LIVE))
    assert STALLED.evaluate(nothing_new).recovered is None


@pytest.mark.parametrize(("began", "breaching"), [(17, False), (16, True), (15, True)])
def test_one_stall_is_one_alert(began: int, *, breaching: bool) -> None:
    """The next one has to have sends since the silence began."""
    told = Notified(began * SIZE, 18 * SIZE, 18 * SIZE, {})
    assert STALLED.evaluate(history(UNTIL_16, notified=told)).breaching == breaching


# Too few


FEW = replace(OFF, min_sends=10)


@pytest.mark.parametrize(
    ("windows", "breaching"),
    [
        ({18: seen(9), 19: seen(9)}, True),
        ({18: seen(9), 19: seen(10)}, False),
        ({18: seen(9), 19: seen(0, 10)}, False),
        # None at all are too few.
        ({18: seen(99)}, True),
        # The campaign has just begun.
        ({19: seen(9)}, False),
        # An open window is not complete.
        ({18: seen(99), 19: seen(99), NOW: seen(1)}, False),
    ],
)
def test_the_newest_closed_window_has_too_few(
    windows: dict[int, Observation], *, breaching: bool
) -> None:
    evaluation = FEW.evaluate(history(windows))
    assert evaluation.breaching == breaching
    if evaluation.breach is not None:
        stretch = evaluation.breach.stretch
        assert (stretch.start, stretch.last) == (19 * SIZE, 19 * SIZE)
        assert evaluation.breach.others == {"min_sends": 10}


@pytest.mark.parametrize("missing", [18, 19, 20])
def test_a_window_beside_a_pause_of_the_stream_is_not_complete(missing: int) -> None:
    observed = set(range(NOW + 1)) - {missing}
    assert not FEW.evaluate(history({18: seen(99), 19: seen(9)}, observed)).breaching


def test_enough_sends_say_that_it_is_over() -> None:
    few = FEW.evaluate(history({18: seen(9), 19: seen(9)}, **LIVE))
    assert (few.reason, few.recovered) == (Reason.BREACHING, False)
    enough = FEW.evaluate(history({18: seen(9), 19: seen(10)}, **LIVE))
    assert (enough.reason, enough.recovered) == (Reason.RECOVERED, True)
    unknown = FEW.evaluate(history({18: seen(9), 19: seen(9)}, range(NOW), **LIVE))
    assert unknown.recovered is None


def test_a_window_that_was_told_is_not_told_again() -> None:
    told = Notified(19 * SIZE, 19 * SIZE, 19 * SIZE, {})
    assert not FEW.evaluate(history({18: seen(9), 19: seen(9)}, notified=told)).breaching


# Too many


MANY = replace(OFF, max_sends=10)


def test_too_many_at_once() -> None:
    at, above = (MANY.evaluate(between_closings(history({NOW: seen(n)}))) for n in (10, 11))
    assert (at.breaching, above.breaching) == (False, True)
    assert above.breach is not None
    assert above.breach.others == {"max_sends": 10}
    assert not MANY.evaluate(history({19: seen(11)})).breaching


def test_the_newest_window_says_that_there_are_not_too_many_any_more() -> None:
    live: Any = {"evaluated": {NOW * SIZE: (11, 11)}}
    same = MANY.evaluate(between_closings(history({NOW: seen(11)}, **live)))
    assert (same.breaching, same.recovered) == (True, None)
    more = MANY.evaluate(history({NOW: seen(12)}, **live))
    assert more.recovered is False
    assert MANY.evaluate(history({NOW: seen(1), 19: seen(11)}, **LIVE)).recovered is True
    assert MANY.evaluate(history({18: seen(11)}, **LIVE)).recovered is None


def test_sends_that_were_told_raise_nothing_again() -> None:
    told = Notified(NOW * SIZE, NOW * SIZE, 19 * SIZE, {NOW * SIZE: (11, 11)})
    found = [MANY.evaluate(history({NOW: seen(n)}, notified=told)).breaching for n in (21, 22)]
    assert found == [False, True]


def test_only_campaigns_with_enough_events_are_evaluated_between_closings() -> None:
    events = {"a": 11, "b": 10}
    new = NewCounts(["a", "b"], [], RecentHits(), events.__getitem__)
    assert set(MANY.triggers(new)) == {"a"}
    assert set(STALLED.triggers(new)) == set()


# The delivery rate


RATE = replace(OFF, min_delivery_rate=0.9, lookback_windows=3)


@pytest.mark.parametrize(
    ("windows", "start"),
    [
        ({19: seen(50, 100)}, 19),
        ({19: seen(90, 100)}, None),
        ({19: seen(85, 100)}, None),
        # What one window does not say three do, but not four.
        ({17: seen(85, 100), 18: seen(80, 100), 19: seen(80, 100)}, 18),
        ({16: seen(10, 100), 17: seen(87, 100), 18: seen(87, 100), 19: seen(87, 100)}, None),
        # It is over.
        ({18: seen(0, 100), 19: seen(95, 100)}, None),
        # Too few attempts.
        ({19: seen(0, 9)}, None),
        # There is nothing new.
        ({18: seen(0, 100)}, None),
    ],
)
def test_too_few_are_delivered(windows: dict[int, Observation], start: int | None) -> None:
    evaluation = RATE.evaluate(history(windows))
    assert evaluation.breaching == (start is not None)
    if evaluation.breach is not None and start is not None:
        assert evaluation.breach.stretch.start == start * SIZE
        assert evaluation.breach.stretch.last == 19 * SIZE
        others = evaluation.breach.others
        assert others["min_delivery_rate"] == 0.9
        rate = evaluation.breach.stretch.seen.rate
        assert rate < others["upper_bound"] < 0.9


def test_enough_are_delivered_again() -> None:
    assert RATE.evaluate(history({19: seen(95, 100)}, **LIVE)).recovered is True
    assert RATE.evaluate(history({19: seen(85, 100)}, **LIVE)).recovered is None
    assert RATE.evaluate(history({19: seen(5, 5)}, **LIVE)).recovered is None
    assert RATE.evaluate(history({}, **LIVE)).recovered is None


def test_all_checks_have_to_say_that_it_is_over() -> None:
    both = replace(RATE, min_sends=10)
    assert both.evaluate(history({18: seen(9), 19: seen(99, 99)}, **LIVE)).recovered is True
    assert both.evaluate(history({18: seen(9), 19: seen(9)}, **LIVE)).recovered is False
    assert both.evaluate(history({18: seen(9), 19: seen(50, 99)}, **LIVE)).recovered is False


# Settings


@pytest.mark.parametrize(
    ("detector", "setting"),
    [(OFF, "stalled_windows"), (Volume(min_sends=11, max_sends=10), "min_sends")],
)
def test_settings_that_make_no_sense(detector: Volume, setting: str) -> None:
    assert [problem.setting for problem in detector.problems()] == [setting]


def test_settings_that_make_sense() -> None:
    for detector in (Volume(), FEW, MANY, RATE, Volume(min_sends=10, max_sends=10)):
        assert detector.problems() == []


def test_it_looks_no_further_than_it_says() -> None:
    """A restart reads no more than that."""
    for detector in (STALLED, FEW, MANY, RATE):
        assert detector.lookback >= 3
    oldest = NOW - (STALLED.lookback - 1)
    windows = {oldest: seen(9), oldest + 1: seen(9)}
    assert STALLED.evaluate(history(windows)).breaching
    assert not STALLED.evaluate(
        history({number - 1: of for number, of in windows.items()})
    ).breaching
