"""More hits in a window than a number."""

import pytest

from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Reason
from streams.domain.detectors.history import Notified, Observation, ScopeHistory
from streams.domain.hits import NewCounts, RecentHits

SIZE = 60


def seen(hits: int, others: int = 0) -> Observation:
    return Observation(hits + others, hits, {"FAILURE": hits, "SUCCESS": others})


def history(
    open_windows: dict[int, Observation],
    evaluated: dict[int, tuple[int, int]] | None = None,
    notified: Notified | None = None,
) -> ScopeHistory:
    newest = max(open_windows)
    return ScopeHistory(open_windows, lambda: iter(()), newest, SIZE, evaluated, notified)


@pytest.mark.parametrize("others", [0, 3, 100_000])
def test_the_number_of_hits_decides_alone(others: int) -> None:
    detector = Count(more_than=10)
    at, above = (detector.evaluate(history({0: seen(n, others)})) for n in (10, 11))
    assert (at.breaching, at.reason) == (False, Reason.BELOW_LEVEL)
    assert (above.breaching, above.reason) == (True, Reason.BREACHING)
    assert above.figures is not None
    assert above.figures.stretch.seen == seen(11, others)
    assert (above.figures.lower_bound, above.figures.others) == (None, {"more_than": 10})


def test_windows_are_not_added_up() -> None:
    evaluation = Count(more_than=10).evaluate(history({60: seen(6), 0: seen(6)}))
    assert not evaluation.breaching
    assert evaluation.again_after is None


def test_the_newest_window_says_that_it_is_over() -> None:
    detector = Count(more_than=10)
    before = {0: (11, 11)}
    same = detector.evaluate(history({0: seen(11)}, before))
    assert (same.breaching, same.recovered) == (True, None)
    more = detector.evaluate(history({0: seen(12)}, before))
    assert (more.recovered, more.reason) == (False, Reason.BREACHING)
    healthy = detector.evaluate(history({60: seen(0, 5), 0: seen(11)}, before))
    assert (healthy.recovered, healthy.reason) == (True, Reason.RECOVERED)


def test_hits_that_were_told_raise_nothing_again() -> None:
    detector = Count(more_than=10)
    told = Notified(0, 0, -1, {0: (11, 11)})
    again = detector.evaluate(history({0: seen(21)}, notified=told))
    assert (again.breaching, again.reason) == (False, Reason.ALREADY_NOTIFIED)
    assert detector.evaluate(history({0: seen(22)}, notified=told)).breaching


def test_campaigns_with_too_few_hits_are_not_evaluated() -> None:
    recent = RecentHits()
    new = [("a", 11), ("b", 10), ("c", 6)]
    recent.add(0, [*new, ("c", 5)])
    counts = NewCounts(["a", "b", "c", "d"], new, recent, events=dict[str, int]().__getitem__)
    assert set(Count(more_than=10).triggers(counts)) == {"a", "c"}
