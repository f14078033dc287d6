"""Counts of one window while they change."""

from streams.domain.cells import Cells
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
