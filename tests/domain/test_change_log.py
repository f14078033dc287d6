"""What has changed in a partition since a position, of this owner's log and of another's."""

from itertools import count

from streams.domain.change_log import ChangeLog, LogPosition
from streams.domain.changed_cells import ChangedCells
from streams.domain.commits import Commit, Decision
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

T0 = 1_795_428_000


class Followed:
    """A partition, its log, and the offset of the next partial counts."""

    def __init__(self, name: str = "one", partition: CampaignPartition | None = None) -> None:
        self.partition = partition or CampaignPartition(0, PARTITION_SETTINGS, [0], T0)
        self.log = ChangeLog(name, self.partition, T0)
        self._offsets = count()

    def add(self, start: int, *campaigns: str, failures: int = 0) -> None:
        sends = counts({"SUCCESS": 10, "FAILURE": failures})
        counted = window_counts(start, dict.fromkeys(campaigns, sends))
        event_time = (start + 59) * 1000
        partial = PartialCounts(PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, [counted])
        self.offset = next(self._offsets)
        self.partition.apply(partial, self.offset, start + 59)

    def commit(self, now: float) -> None:
        transitions = self.partition.advance(now, self.offset + 1)
        delivery_ids = self.partition.deliveries.changed_ids
        list(self.partition.take_changes(now))
        self.partition.mark_committed()
        decisions = [Decision(each, 0.0) for each in transitions]
        commit = Commit(0, decisions=decisions, delivery_ids=delivery_ids)
        commit.next_offset = self.offset + 1
        self.log.committed(commit, now)


def told(
    followed: Followed, position: LogPosition | None, *campaigns: str
) -> list[tuple[int, str]]:
    changed = followed.log.since(position, campaigns or None)
    return [(each.start, each.campaign_id) for each in changed.cells]


def test_nothing_has_changed_without_a_position() -> None:
    followed = Followed()
    followed.add(T0, "a")
    followed.commit(T0 + 59)
    changed = followed.log.since(None)
    assert (changed.cells, changed.alert_ids, changed.delivery_ids) == ([], [], [])
    assert changed.position == followed.log.position


def test_windows_alerts_and_deliveries_of_commits_since_a_position() -> None:
    followed = Followed()
    followed.add(T0, "a", "b")
    followed.commit(T0 + 59)
    begin = followed.log.position
    followed.add(T0, "b", failures=1000)
    assert told(followed, begin) == [], "it is not committed"
    followed.commit(T0 + 60)
    assert told(followed, begin) == [(T0, "b")]
    assert told(followed, begin, "a") == []
    changed = followed.log.since(begin)
    (alert,) = followed.partition.alerts.alerts()
    (delivery,) = followed.partition.deliveries.deliveries()
    assert changed.alert_ids == [alert.alert_id]
    assert changed.delivery_ids == [delivery.delivery_id]
    assert changed.is_complete
    again = followed.log.since(changed.position)
    assert (again.cells, again.alert_ids, again.delivery_ids) == ([], [], [])


def test_a_window_that_closes_has_changed_though_its_counts_have_not() -> None:
    followed = Followed()
    followed.add(T0, "a", "b")
    followed.commit(T0 + 59)
    begin = followed.log.position
    followed.add(T0 + 120, "c")
    followed.commit(T0 + 120)
    assert not followed.partition.table.is_open(T0)
    assert told(followed, begin) == [(T0, "a"), (T0, "b"), (T0 + 120, "c")]
    assert told(followed, begin, "b") == [(T0, "b")]


def test_so_many_at_a_time_and_the_others_after_them() -> None:
    followed = Followed()
    begin = followed.log.position
    for number in range(10):
        followed.add(T0, f"c{number}", f"d{number}")
    followed.commit(T0 + 59)
    seen, position = [], begin
    while True:
        changed = followed.log.since(position, most=3)
        assert len(changed.cells) <= 4
        seen += [each.campaign_id for each in changed.cells]
        position = changed.position
        if not changed.has_more:
            break
    assert sorted(seen) == sorted(f"{kind}{n}" for kind in "cd" for n in range(10))
    assert followed.log.since(position).cells == []


def test_another_owner_tells_all_that_may_have_changed() -> None:
    followed = Followed()
    followed.add(T0, "a", failures=1000)
    followed.commit(T0 + 59)
    position = followed.log.position
    followed.add(T0, "b")
    followed.commit(T0 + 61)
    # As its replay tells it: from where to where, here from the first record on.
    followed.partition.changed.restored(0, followed.offset + 1, T0 + 70)
    successor = ChangeLog("two", followed.partition, T0 + 70)
    changed = successor.since(position)
    assert {each.campaign_id for each in changed.cells} == {"a", "b"}
    (alert,) = followed.partition.alerts.alerts()
    assert changed.alert_ids == [alert.alert_id]
    assert len(changed.delivery_ids) == 1
    assert changed.is_complete
    followed.partition.changed.restored(followed.offset + 1, followed.offset + 1, T0 + 70)
    assert not ChangeLog("three", followed.partition, T0 + 70).since(position).is_complete
    beyond = LogPosition("one", 9, 1_000, T0)
    assert not successor.since(beyond).is_complete, "the topic was made anew"


def test_another_owner_tells_of_windows_that_have_closed_of_which_it_has_replayed_nothing() -> None:
    followed = Followed()
    followed.add(T0 - 600, "long ago")
    followed.add(T0, "a", "b")
    followed.commit(T0 + 59)
    position = followed.log.position
    followed.add(T0 + 300, "c")
    followed.commit(T0 + 359)
    assert T0 not in followed.partition.table.open_starts()
    changed = followed.partition.changed = ChangedCells()
    changed.change(T0 + 300, ["c"], followed.offset, T0 + 360)
    changed.restored(position.offset, followed.offset + 1, T0 + 360)
    successor = ChangeLog("two", followed.partition, T0 + 370)

    def told(*campaigns: str) -> list[tuple[int, str]]:
        cells = successor.since(position, campaigns or None).cells
        return sorted((each.start, each.campaign_id) for each in cells)

    assert told() == [(T0, "a"), (T0, "b"), (T0 + 300, "c")]
    assert told("b") == [(T0, "b")]
    # Whoever has to read everything anew is not told of it besides.
    changed.restored(followed.offset + 1, followed.offset + 1, T0 + 370)
    assert told() == [(T0 + 300, "c")]
