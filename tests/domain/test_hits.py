"""Hits of campaigns in recent windows."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.hits import RecentHits

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
