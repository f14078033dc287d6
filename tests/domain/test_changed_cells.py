"""Which cells have changed since an offset."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.changed_cells import KEPT_S, ChangedCell, ChangedCells

NOW = 1_790_000_000.0


def test_a_cell_is_told_of_once_with_its_newest_change() -> None:
    changed = ChangedCells()
    changed.change(60, ["a", "b"], 1, NOW)
    changed.change(0, ["a"], 2, NOW)
    changed.change(60, ["a"], 3, NOW)
    assert changed.since(0, 9) == [
        ChangedCell(1, 60, "b"),
        ChangedCell(2, 0, "a"),
        ChangedCell(3, 60, "a"),
    ]
    assert changed.since(3, 9) == [ChangedCell(3, 60, "a")]
    assert changed.since(0, 3) == [ChangedCell(1, 60, "b"), ChangedCell(2, 0, "a")]
    assert changed.since(0, 9, ["a", "unknown"]) == [
        ChangedCell(2, 0, "a"),
        ChangedCell(3, 60, "a"),
    ]


def test_what_was_replayed_is_known_from_there_on() -> None:
    changed = ChangedCells()
    changed.restored(5, 9, NOW)
    assert (changed.complete_from, changed.restored_through) == (5, 9)
    changed = ChangedCells()
    changed.restored(None, 9, NOW)
    assert changed.complete_from == 9


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from("abcdef"), min_size=1))),
    st.integers(1, 8),
    st.integers(0, 30),
)
def test_from_where_it_is_complete_nothing_is_lacking(
    changes: list[tuple[int, set[str]]], most: int, offset: int
) -> None:
    changed = ChangedCells(most)
    newest: dict[tuple[int, str], int] = {}
    for at, (start, names) in enumerate(changes):
        changed.change(start, sorted(names), at, NOW)
        newest |= {(start, name): at for name in names}
    changed.follow({})
    begin = max(offset, changed.complete_from)
    told = {(each.start, each.campaign_id): each.offset for each in changed.since(begin, 99)}
    assert told == {cell: at for cell, at in newest.items() if at >= begin}
    assert len(changed.since(0, 99)) <= most


def test_what_a_replay_was_too_long_for_is_not_known() -> None:
    changed = ChangedCells(2)
    changed.change(0, ["a", "b"], 5, NOW)
    changed.change(60, ["a", "b"], 6, NOW)
    changed.restored(5, 7, NOW)
    assert changed.since(0, 9) == [ChangedCell(6, 60, "a"), ChangedCell(6, 60, "b")]
    assert changed.complete_from == 6


def test_while_nobody_asks_the_newest_partial_counts_are_known() -> None:
    changed = ChangedCells(8)
    changed.restored(None, 0, NOW)
    for at in range(20):
        changed.change(0, ["a", "b"], at, NOW)
    changed.follow({})
    assert changed.complete_from == 18
    assert changed.since(18, 99) == [ChangedCell(19, 0, "a"), ChangedCell(19, 0, "b")]


def test_who_asked_is_told_of_each_cell_though_more_partial_counts_came() -> None:
    changed = ChangedCells(8)
    changed.restored(None, 0, NOW)
    changed.follow({})
    changed.change(0, ["a"], 0, NOW)
    for at in range(1, 20):
        changed.change(0, ["b", "c"], at, NOW + KEPT_S)
    assert changed.complete_from == 0
    assert changed.since(0, 99)[0] == ChangedCell(0, 0, "a")


def test_who_has_not_asked_for_long_is_forgotten() -> None:
    changed = ChangedCells(8)
    changed.restored(None, 0, NOW)
    changed.follow({})
    changed.change(0, ["a"], 0, NOW)
    for at in range(1, 20):
        changed.change(0, ["b", "c"], at, NOW + KEPT_S + 1.0)
    assert not changed.is_followed
    assert changed.complete_from == 18


def test_the_owner_of_a_restored_partition_knows_what_was_replayed_and_goes_on() -> None:
    changed = ChangedCells(8)
    changed.change(0, ["a"], 3, NOW)
    changed.restored(3, 4, NOW)
    for at in range(4, 20):
        changed.change(0, ["b", "c"], at, NOW + KEPT_S)
    assert changed.complete_from == 3
    assert changed.since(3, 99)[0] == ChangedCell(3, 0, "a")


def test_a_window_that_was_open_before_is_known_but_did_not_change() -> None:
    changed = ChangedCells()
    changed.change(60, ["a"], 7, NOW)
    changed.follow({0: iter("ab"), 60: iter("ab")})
    assert changed.since(1, 99) == [ChangedCell(7, 60, "a")]
    known = {(each.start, each.campaign_id) for each in changed.since(0, 99)}
    assert known == {(0, "a"), (0, "b"), (60, "a"), (60, "b")}
