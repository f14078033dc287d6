"""Counts of one window while they change."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.cells import Cells
from streams.domain.limits import Limits
from streams.domain.partial_counts import Dimensions
from tests.support.partitions import window_counts

FAILED = Dimensions("FAILURE", None, "EMAIL", "EMAIL")
OPENED = Dimensions("FAILURE", None, None, None, engagement=True)


def test_an_app_that_is_known_is_not_forgotten() -> None:
    cells = Cells()
    for app in (None, "one", None, "two", None):
        cells.add(window_counts(0, {"c": {FAILED: 1}}, app))
    cell = cells.cell("c")
    assert cell is not None
    assert (cell.app_id, cell.sends) == ("two", {FAILED: 5})


def test_a_campaign_that_is_named_twice_is_one() -> None:
    counts = window_counts(0, {"c": {FAILED: 1}, "d": {FAILED: 2}})
    counts.campaigns = ["c", "c"]
    cells = Cells(counts)
    assert len(cells) == 1
    cell = cells.cell("c")
    assert cell is not None
    assert cell.sends == {FAILED: 3}


def test_engagement_is_no_send_with_that_status() -> None:
    cells = Cells(window_counts(0, {"sent": {FAILED: 1}, "opened": {OPENED: 1}}))
    assert list(cells.counts(0).sends_with(["FAILURE"])) == [("sent", 1)]
    assert list(cells.counts(0).sends_with(["SUCCESS"])) == []
    assert [cells.events(name) for name in ("sent", "opened", "neither")] == [1, 1, 0]


KEYS = [
    Dimensions(status, treatment, "EMAIL", "EMAIL", engagement)
    for status in ("FAILURE", "SUCCESS", "HOLDOUT")
    for treatment in ("0", "1")
    for engagement in (False, True)
]
counts_of_records = st.lists(
    st.dictionaries(
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from(KEYS), st.integers(1, 9), min_size=1),
        min_size=1,
    ),
    max_size=6,
)


@given(counts_of_records, st.sets(st.sampled_from(KEYS)), st.sampled_from([3, 1_000]))
def test_totals_are_those_of_each_campaigns_counts(
    records: list[dict[str, dict[Dimensions, int]]], counted: set[Dimensions], names: int
) -> None:
    """Whether few kinds of counts are asked for or most, and of campaigns with too many of them."""
    cells = Cells(limits=Limits(names=names, statuses=frozenset({"FAILURE", "SUCCESS", "HOLDOUT"})))
    for record in records:
        cells.add(window_counts(0, record))
    campaigns = ["c", "a", "x", "b"]
    expected = [
        cell.total(counted.__contains__) if (cell := cells.cell(name)) is not None else 0
        for name in campaigns
    ]
    assert cells.totals(campaigns, counted.__contains__) == expected
