"""What the API asks of the domain."""

import msgspec

from streams.domain.counts import summary_of
from streams.domain.deliveries import Delivery, Outbox, pack
from tests.support.partitions import STATUS_GROUPS, all_cells, counts, holder


def test_the_windows_of_one_campaign_oldest_first() -> None:
    held = holder(count=1)
    for start in (120, 0, 60):
        held.add("c", start, counts({"SUCCESS": 1}))
    held.add("other", 180, counts({"SUCCESS": 1}))
    held.advance(1000)  # closed windows are settled, and still found
    table = held.here[0].table
    assert len(list(table.take_changes(2000))) == 5
    assert [start for start, _ in table.cells("c", table.starts())] == [0, 60, 120]
    assert [start for start in table.starts() if table.has("c", start)] == [0, 60, 120]
    assert list(table.cells("nobody", table.starts())) == []
    assert (table.knows("c"), table.knows("nobody")) == (True, False)
    assert {name for start in table.starts() for name, _ in all_cells(table, start)} == {
        "c",
        "other",
    }


def test_a_summary_of_counts_leaves_the_suppressed_out_of_attempts() -> None:
    summary = summary_of(
        {"SUCCESS": 6, "NEW": 1, "FAILURE": 2, "THROTTLED": 1, "HOLDOUT": 5}, {}, STATUS_GROUPS
    )
    assert summary.attempts == 10
    rates = [summary.rate("success"), summary.rate("failure"), summary.rate("throttled")]
    assert rates == [0.6, 0.2, 0.1]


def test_one_delivery() -> None:
    queue = Outbox()
    delivery = Delivery(
        delivery_id="d",
        webhook_id="w",
        receiver="ops",
        campaign_id="c",
        alert_id="a",
        sequence=1,
        packed=pack(msgspec.Raw(b"{}")),
        created_at=0.0,
        next_attempt_at=0.0,
    )
    queue.add(delivery)
    assert queue.get("d") is delivery
    assert queue.get("e") is None
