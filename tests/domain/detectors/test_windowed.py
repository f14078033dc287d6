"""Detectors that judge windows: what each result is called."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from streams.domain.detectors.detector import Reason
from streams.domain.detectors.history import Notified, Observation, ScopeHistory
from streams.domain.detectors.threshold import Threshold

SIZE = 60
DETECTOR = Threshold(0.2, 0.95, min_attempts=50, lookback_windows=2)


def seen(hits: int, attempts: int = 100) -> Observation:
    return Observation(attempts, hits, {"FAILURE": hits, "SUCCESS": attempts - hits})


def history(
    open_windows: Mapping[int, Observation],
    closed: Mapping[int, Observation] | None = None,
    **changes: Any,
) -> ScopeHistory:
    before = closed or {}
    made = ScopeHistory(
        open_windows, lambda: iter(before.items()), max(open_windows), SIZE, None, None
    )
    return made._replace(**changes)


LIVE = {0: (100, 50)}


@pytest.mark.parametrize(
    ("shown", "reason", "breaching", "recovered"),
    [
        (history({0: seen(50)}), Reason.BREACHING, True, False),
        (history({0: seen(3)}), Reason.BELOW_LEVEL, False, True),
        (history({0: seen(40, 49)}), Reason.NOT_ENOUGH_ATTEMPTS, False, None),
        (history({60: seen(40, 49)}, {0: seen(1, 1)}), Reason.BREACHING, True, False),
        (history({120: seen(40, 49)}, {0: seen(1, 1)}), Reason.NOT_ENOUGH_ATTEMPTS, False, None),
        (
            history({0: seen(50)}, notified=Notified(0, 0, -1, LIVE)),
            Reason.ALREADY_NOTIFIED,
            False,
            False,
        ),
        (
            history({0: seen(50)}, notified=Notified(0, 60, 60, {})),
            Reason.ALREADY_NOTIFIED,
            False,
            False,
        ),
        (history({0: seen(50)}, evaluated=LIVE), Reason.BREACHING, True, None),
        (history({0: seen(51, 101)}, evaluated=LIVE), Reason.BREACHING, True, False),
        (history({60: seen(15), 0: seen(50)}, evaluated=LIVE), Reason.BREACHING, True, False),
        (history({60: seen(5), 0: seen(50)}, evaluated=LIVE), Reason.RECOVERED, True, True),
        (history({60: seen(5), 0: seen(51)}, evaluated=LIVE), Reason.BREACHING, True, False),
        (history({60: seen(15)}, evaluated={}), Reason.ABOVE_RECOVERY_LEVEL, False, False),
        (history({60: seen(5)}, evaluated={}), Reason.RECOVERED, False, True),
        (history({60: seen(5)}, evaluated={60: (100, 5)}), Reason.NO_NEW_ATTEMPTS, False, None),
    ],
)
def test_each_result_has_a_reason(
    shown: ScopeHistory,
    reason: Reason,
    breaching: bool,
    recovered: bool | None,
) -> None:
    evaluation = DETECTOR.evaluate(shown)
    assert (evaluation.reason, evaluation.breaching, evaluation.recovered) == (
        reason,
        breaching,
        recovered,
    )


def test_a_window_ahead_of_event_time_does_not_say_that_it_is_over() -> None:
    ahead = {300: seen(0), 0: seen(60, 110)}
    assert DETECTOR.evaluate(history(ahead, newest=0, evaluated=LIVE)).recovered is False
    assert DETECTOR.evaluate(history({300: seen(0)}, newest=0, evaluated=LIVE)).recovered is True


def test_the_evidence_is_of_the_newest_breach_and_the_episode_begins_with_the_oldest() -> None:
    evaluation = DETECTOR.evaluate(history({120: seen(40), 60: seen(60), 0: seen(50)}))
    assert evaluation.figures is not None
    assert evaluation.figures.stretch.last == 120
    assert evaluation.first is not None
    assert evaluation.first.start == 0
    assert evaluation.highest is not None
    assert evaluation.highest.seen == seen(60)


def test_closed_windows_are_read_only_as_far_as_they_are_needed() -> None:
    read: list[int] = []

    def closed() -> Iterator[tuple[int, Observation]]:
        for start in (540, 480, 420):
            read.append(start)
            yield start, seen(10, 20)

    deep = replace(DETECTOR, lookback_windows=10)
    deep.evaluate(history({600: seen(10, 20)}, closed=None)._replace(closed=closed))
    assert read == [540, 480]
    read.clear()
    deep.evaluate(history({600: seen(60, 60)})._replace(closed=closed))
    deep.evaluate(history({600: seen(6, 60)})._replace(closed=closed))
    assert read == []
    # Neither a breach nor healthy.
    deep.evaluate(history({600: seen(10, 60)})._replace(closed=closed))
    assert read == [540, 480, 420]
