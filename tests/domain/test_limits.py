"""Names past the bounds are counted as `__other__`: nothing is lost, nobody else is concerned."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain import cells as module
from streams.domain.cells import Cells, cells_of
from streams.domain.counts import OTHER
from streams.domain.formats import pinpoint
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import Counts, Dimensions
from tests.support.partitions import rows_of, window_counts

STATUSES = pinpoint.FORMAT.known_statuses
SMALL = Limits(campaigns=10, names=8, values=3, statuses=STATUSES)
HONEST = {
    Dimensions("SUCCESS", "0", "EMAIL", "EMAIL"): 7,
    Dimensions("FAILURE", "1", None, "SMS"): 2,
}
OPENED = "opened_notification"
UNBOUNDED = {*STATUSES, OPENED, OTHER, None, True, False}

words = st.sampled_from(["a", "b", "c", "d", "e", "f", OTHER])
optional = st.none() | words
statuses = st.sampled_from(["SUCCESS", "FAILURE", "THROTTLED", "EXPIRED"]) | words
dimensions = st.builds(
    Dimensions, statuses, optional, optional, optional, st.just(value=False)
) | st.builds(Dimensions, st.just(OPENED), optional, optional, optional, st.just(value=True))
steps = st.lists(
    st.dictionaries(
        st.sampled_from(["c1", "c2", "c3"]),
        st.dictionaries(dimensions, st.integers(1, 9), max_size=12),
        max_size=3,
    ),
    max_size=8,
)


def treatments(numbers: Iterable[int], status: str = "SUCCESS") -> Counts:
    return {Dimensions(status, str(n), "EMAIL", "EMAIL"): 1 for n in numbers}


def of(cells: Cells, campaign_id: str) -> Counts:
    cell = cells.cell(campaign_id)
    assert cell is not None
    return {**cell.sends, **cell.engagement}


@pytest.fixture(params=[1, 4, 256])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """So many names campaigns can share: how they are kept must not be seen from outside."""
    monkeypatch.setattr(module, "SHARED", request.param)
    return int(request.param)


@pytest.mark.usefixtures("shared")
@settings(max_examples=40)
@given(steps)
def test_sums_are_exact_and_names_bounded(given_steps: list[dict[str, Counts]]) -> None:
    cells = Cells(limits=SMALL)
    sent: Counter[tuple[str, str | None]] = Counter()
    folded = 0
    for step in given_steps:
        folded += cells.add(window_counts(0, step))
        for campaign_id, counts in step.items():
            for each, count in counts.items():
                sent[campaign_id, each.outcome if SMALL.keeps(each) else None] += count
    found: Counter[tuple[str, str | None]] = Counter()
    other = 0
    for campaign_id, cell in cells_of(cells.counts(0), cells.campaigns()):
        assert cells.events(campaign_id) == sum(of(cells, campaign_id).values())
        kept = {**cell.sends, **cell.engagement}
        assert len(kept) <= SMALL.names + len(STATUSES) + 4
        for values in zip(*kept, strict=True):
            assert len(set(values) - UNBOUNDED) <= SMALL.values
        for each, count in kept.items():
            found[campaign_id, each.outcome if SMALL.keeps(each) else None] += count
            other += count if OTHER in each else 0
    assert found == sent
    assert folded <= other


@pytest.mark.usefixtures("shared")
@settings(max_examples=40)
@given(steps, st.integers(0, 8))
def test_what_was_written_down_and_read_back_goes_on_alike(
    given_steps: list[dict[str, Counts]], at: int
) -> None:
    through, back = Cells(limits=SMALL), Cells(limits=SMALL)
    for number, step in enumerate(given_steps):
        if number == at:
            back = Cells(back.counts(0), SMALL)
        assert through.add(window_counts(0, step)) == back.add(window_counts(0, step))
    assert rows_of([through.counts(0)]) == rows_of([back.counts(0)])
    assert dict(_flat(through)) == dict(_flat(back))
    assert (through.names, len(through)) == (back.names, len(back))


def _flat(cells: Cells) -> Iterator[tuple[str, Counts]]:
    for campaign_id in cells.campaigns():
        yield campaign_id, of(cells, campaign_id)


@pytest.mark.parametrize(
    "named",
    [
        lambda value: Dimensions("FAILURE", value, "EMAIL", "EMAIL"),
        lambda value: Dimensions("FAILURE", "0", value, "EMAIL"),
        lambda value: Dimensions("FAILURE", "0", "EMAIL", value),
    ],
)
def test_a_flood_of_values_leaves_the_first_ones_and_the_status(
    named: Callable[[str], Dimensions],
) -> None:
    cells = Cells()
    for n in range(30_000):
        cells.add(window_counts(0, {"flooded": {named(str(n)): 1}}))
    cells.add(window_counts(0, {"honest": HONEST}))
    kept = of(cells, "flooded")
    assert kept[named(OTHER)] == 30_000 - DEFAULT_LIMITS.values
    assert len(kept) == DEFAULT_LIMITS.values + 1
    assert {each.outcome for each in kept} == {"FAILURE"}
    assert of(cells, "honest") == HONEST


def test_statuses_that_are_known_are_kept_whatever_came_before() -> None:
    limits = Limits(statuses=frozenset({"SUCCESS", "OURS"}))
    cells = Cells(limits=limits)
    many = {Dimensions(f"status-{n}", None, "EMAIL", "EMAIL"): 1 for n in range(30_000)}
    cells.add(window_counts(0, {"c": many}))
    cells.add(window_counts(0, {"c": treatments(range(5_000), "OURS")}))
    kept = of(cells, "c")
    by_status: Counter[str] = Counter()
    for each, count in kept.items():
        by_status[each.outcome] += count
    assert by_status["OURS"] == 5_000
    assert by_status[OTHER] == 30_000 - limits.values
    assert by_status["status-0"] == 1


def test_many_campaigns_with_many_names_share_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EXTRA", 500)
    limits = Limits(values=1_000)
    cells = Cells(limits=limits)
    for n in range(5):
        cells.add(window_counts(0, {f"c{n}": treatments(range(1_000))}))
    sizes = [len(of(cells, f"c{n}")) for n in range(5)]
    assert sizes == [757, module.SHARED + 1, *[module.SHARED + 1] * 3]
    assert sum(cells.events(f"c{n}") for n in range(5)) == 5_000
    again = Cells(cells.counts(0), limits)
    again.add(window_counts(0, {"c0": treatments([5_000])}))
    assert len(of(again, "c0")) == sizes[0]


def test_one_campaigns_names_are_not_looked_through_for_another() -> None:
    cells = Cells()
    cells.add(window_counts(0, {"honest": HONEST}))
    before = len(cells._columns)
    cells.add(window_counts(0, {"flooded": treatments(range(30_000))}))
    assert before <= len(cells._columns) <= module.SHARED
    assert of(cells, "honest") == HONEST
