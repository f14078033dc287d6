"""Which cells have changed since an offset."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.changed_cells import ChangedCell, ChangedCells


def test_a_cell_is_told_of_once_with_its_newest_change() -> None:
    changed = ChangedCells()
    changed.change(60, ["a", "b"], 1)
    changed.change(0, ["a"], 2)
    changed.change(60, ["a"], 3)
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
    changed.restored(5, 9)
    assert (changed.complete_from, changed.restored_through) == (5, 9)
    changed.restored(None, 9)
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
        changed.change(start, sorted(names), at)
        newest |= {(start, name): at for name in names}
    begin = max(offset, changed.complete_from)
    told = {(each.start, each.campaign_id): each.offset for each in changed.since(begin, 99)}
    assert told == {cell: at for cell, at in newest.items() if at >= begin}
    assert len(changed.since(0, 99)) <= most
