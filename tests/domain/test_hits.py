"""Hits of campaigns in recent windows."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.hits import NewCounts, RecentHits

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
