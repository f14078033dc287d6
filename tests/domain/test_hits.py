"""Hits of campaigns in recent windows."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.hits import Countdown, NewCounts, RecentHits

ADDED = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.integers(1, 9)))


@given(added=ADDED, first=st.integers(0, 6))
def test_hits_are_those_of_the_windows_that_are_left(
    added: list[tuple[int, str, int]], first: int
) -> None:
    hits = RecentHits()
    for start, name, count in added:
        hits.add(start, [(name, count)])
    hits.drop_before(first)
    for name in "abc":
        expected = sum(n for start, each, n in added if start >= first and each == name)
        assert hits.of(name) == expected


def test_a_campaign_without_hits_takes_no_room() -> None:
    hits = RecentHits()
    hits.add(0, [("a", 1)])
    hits.drop_before(60)
    assert not hits._totals
    assert not hits._by_window


def test_which_campaigns_are_to_be_evaluated_for_what_is_new() -> None:
    recent = RecentHits()
    recent.add(0, [("a", 3), ("b", 3), ("c", 2), ("gone", 9)])
    events = {"a": 5, "b": 4, "c": 9, "d": 1}
    new = NewCounts(["a", "b", "c", "d"], [("a", 1), ("c", 1)], recent, events.__getitem__)
    assert new.with_hits(3) == {"a"}
    assert new.with_recent_hits(3) == {"a", "b"}
    assert new.with_events(5) == {"a", "c"}


def test_hits_are_news_from_the_one_on_that_may_be_a_breach() -> None:
    countdown = Countdown()
    countdown.begin("a", 3, 60)
    countdown.begin("b", 1, 60)
    assert countdown.news(60, [("a", 1), ("b", 1), ("c", 1)]) == [("b", 1), ("c", 1)]
    assert countdown.news(120, [("a", 1)]) == []
    assert countdown.news(120, [("a", 1)]) == [("a", 1)]
    assert countdown.news(120, [("a", 1)]) == [("a", 1)]


def test_a_hit_in_a_window_that_was_not_evaluated_is_news() -> None:
    countdown = Countdown()
    countdown.begin("a", 9, 60)
    assert countdown.news(0, [("a", 1)]) == [("a", 1)]
    assert countdown.news(60, [("a", 1)]) == [("a", 1)]


def test_an_evaluation_takes_the_place_of_the_one_before() -> None:
    countdown, recent = Countdown(), RecentHits()
    countdown.begin("a", 9, 60)
    countdown.begin("a", 1, 60)
    assert countdown.news(60, [("a", 1)]) == [("a", 1)]
    countdown.begin("a", 9, 60)
    countdown.begin("b", 9, 60)
    recent.add(60, [("b", 1)])
    countdown.drop_all_but(recent)
    assert countdown.news(60, [("a", 1), ("b", 1)]) == [("a", 1)]
    assert len(countdown) == 1
