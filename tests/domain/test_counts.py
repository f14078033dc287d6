from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.counts import (
    OTHER,
    Cell,
    StatusGroups,
    largest_counts,
    summarise,
    summarise_by,
)
from streams.domain.formats import pinpoint
from streams.domain.partial_counts import Counts, Dimensions
from tests.support.mixture import STATUSES
from tests.support.oracle import DIMENSIONS, GROUPS, Counted, figures
from tests.support.partitions import STATUS_GROUPS

names = st.sampled_from((None, "0", "1"))
channels = st.sampled_from((None, "EMAIL", "GCM"))
sends = st.dictionaries(
    st.builds(Dimensions, st.sampled_from(STATUSES), names, channels, channels), st.integers(1, 5)
)
engagement = st.dictionaries(
    st.builds(Dimensions, st.just("opened_notification"), names, channels, channels),
    st.integers(1, 5),
)
cells = st.builds(Cell, st.none() | st.just("app"), sends, engagement, st.integers(0, 9))


def events_of(cell: Cell) -> list[Counted]:
    return [
        Counted(0, "c", each.outcome, is_send, each[1:4])
        for counts, is_send in ((cell.sends, True), (cell.engagement, False))
        for each, count in counts.items()
        for _ in range(count)
    ]


@given(
    st.dictionaries(st.text(max_size=9), st.integers(1, 99)), st.integers(0, 5), st.integers(0, 40)
)
def test_the_largest_counts_and_the_others_are_all_of_them(
    counts: dict[str, int], names: int, size: int
) -> None:
    listed = largest_counts(counts, names, size)
    assert sum(listed.values()) == sum(counts.values())
    named = listed.keys() - {OTHER}
    assert all(listed[name] == counts[name] for name in named)
    assert len(named) <= names
    assert len("".join(named).encode()) <= size
    assert (OTHER in listed) == (len(named) < len(counts))


def test_the_largest_counts_are_listed_first() -> None:
    counts = {"A": 5, "B": 9, "C": 7, OTHER: 100}
    assert largest_counts(counts, 2, 100) == {"B": 9, "C": 7, OTHER: 105}
    assert largest_counts({"long": 9, "B": 1}, 5, 3) == {"B": 1, OTHER: 9}


def test_groups_are_the_vendors_statuses() -> None:
    listed = {
        status: group for group, each in pinpoint.STATUSES._asdict().items() for status in each
    }
    assert listed == GROUPS


@given(st.lists(cells, max_size=3))
def test_a_summary_adds_everything_up(some: list[Cell]) -> None:
    expected = figures([event for cell in some for event in events_of(cell)])
    summary = summarise(some, STATUS_GROUPS)
    rates = {"failure": summary.rate("failure"), "throttled": summary.rate("throttled")}
    assert summary.counts == expected["counts"]
    assert (summary.attempts, rates) == (expected["attempts"], expected["rates"])
    assert summary.engagement == expected["engagement"]


@given(st.lists(cells, max_size=3), st.lists(st.sampled_from(DIMENSIONS), unique=True))
def test_groups_add_up_to_the_whole(some: list[Cell], by: list[str]) -> None:
    found = summarise_by(some, tuple(by), STATUS_GROUPS)  # type: ignore[arg-type] # all three
    events = [event for cell in some for event in events_of(cell)]
    at = [DIMENSIONS.index(name) for name in by]
    parts: dict[tuple[str | None, ...], list[Counted]] = {}
    for event in events:
        parts.setdefault(tuple(event.dimensions[n] for n in at), []).append(event)
    assert found.keys() == parts.keys()
    for value, part in parts.items():
        expected = figures(part)
        assert found[value].counts == expected["counts"]
        assert found[value].attempts == expected["attempts"]
        assert found[value].engagement == expected["engagement"]


@given(st.lists(cells, min_size=1, max_size=4))
def test_adding_keeps_every_count(some: list[Cell]) -> None:
    total = Cell(None, {}, {})
    added = [total.add(cell.app_id, cell.sends, cell.engagement) for cell in some]
    assert added == [sum([*c.sends.values(), *c.engagement.values()]) for c in some]
    assert total.sends == _sum([cell.sends for cell in some])
    assert total.engagement == _sum([cell.engagement for cell in some])
    known = [cell.app_id for cell in some if cell.app_id is not None]
    assert total.app_id == (known[-1] if known else None)


def _sum(all_counts: list[Counts]) -> Counter[Dimensions]:
    return sum((Counter(each) for each in all_counts), Counter())


def test_groups_can_be_others() -> None:
    groups = StatusGroups.of({"success": ("A",), "failure": ("B",), "suppressed": ("C",)})
    counts = {Dimensions(status, None, None, None): n for n, status in enumerate("ABCD", start=1)}
    summary = summarise([Cell(None, counts, {})], groups)
    assert summary.attempts == 7
    rates = [summary.rate("success"), summary.rate("failure"), summary.rate("throttled")]
    assert rates == [1 / 7, 2 / 7, 0.0]
    assert [groups.is_attempt(status) for status in "ABCD"] == [True, True, False, True]
