"""Event times for partitions that get no counts."""

from streams.domain.heartbeats import Heartbeats
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts, decode, encode


def sent(heartbeats: Heartbeats, counted: list[int], event_times: dict[int, int]) -> list[int]:
    """The partitions that get a heartbeat with a commit that has counts for some."""
    own = [PartialCounts(PARTIAL_COUNTS_VERSION, event_times, 7, []) for _ in counted]
    counts = dict(zip(counted, own, strict=True))
    heartbeats.add_to(counts, event_times, 7)
    assert all(counts[number] is of_it for number, of_it in zip(counted, own, strict=True))
    added = {number: of_it for number, of_it in counts.items() if number not in counted}
    for each in added.values():
        assert (each.event_times, each.received_at, each.windows) == (event_times, 7, [])
        assert decode(encode(each)) == each
    return list(added)


def test_partitions_without_counts_get_a_heartbeat_four_times_a_window() -> None:
    heartbeats = Heartbeats(partitions=3, size=60)
    assert sent(heartbeats, [1], {0: 0}) == [0, 2]
    assert sent(heartbeats, [1], {0: 14_999}) == []
    assert sent(heartbeats, [2], {0: 15_000}) == [0, 1]
    assert sent(heartbeats, [], {0: 16_000}) == []
    assert sent(heartbeats, [], {0: 90_000}) == [0, 1, 2]


def test_each_source_partition_has_its_own_event_time() -> None:
    heartbeats = Heartbeats(partitions=1, size=60)
    assert sent(heartbeats, [], {0: 0, 1: 0}) == [0]
    assert sent(heartbeats, [], {0: 1, 1: 1}) == []
    assert sent(heartbeats, [], {1: 30_000}) == [0]
    assert sent(heartbeats, [], {0: 2}) == []


def test_without_events_there_is_none() -> None:
    assert sent(Heartbeats(partitions=2, size=60), [], {}) == []
