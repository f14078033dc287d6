"""A lane by itself: what waits, for how long, and what is written."""

from dataclasses import replace

from streams.domain.causes.exchange import GroupView
from streams.domain.causes.lane import SETTLE
from streams.domain.notification.grouping import GroupTimes
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

START = 60_000
TIMES = GroupTimes(group_wait=5.0)


def lane(
    lanes: int, view: GroupView | None = None, rules: tuple[Rule, ...] = PARTITION_SETTINGS.rules
) -> CampaignPartition:
    settings = replace(
        PARTITION_SETTINGS,
        rules=rules,
        grouping={"ops": TIMES},
        lanes=lanes,
        group_view=view or GroupView(),
    )
    return CampaignPartition(0, settings, [0], START)


def fail(partition: CampaignPartition, *campaigns: str, at: int = START) -> PartialCounts:
    """Let half of the sends of campaigns fail."""
    return send(partition, {"SUCCESS": 50, "FAILURE": 50}, *campaigns, at=at)


def send(
    partition: CampaignPartition, outcomes: dict[str, int], *campaigns: str, at: int
) -> PartialCounts:
    sends = {name: counts(outcomes) for name in campaigns}
    added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: at * 1000}, 0, [window_counts(at, sends)])
    partition.apply(added, (at - START) // 60, at)
    return added


def succeed(partition: CampaignPartition, campaign: str, at: int) -> None:
    """Let all sends of a campaign succeed, and time go on."""
    send(partition, {"SUCCESS": 10_000}, campaign, at=at)
    partition.advance(at, (at - START) // 60 + 1)


def told(partition: CampaignPartition) -> list[str]:
    return sorted(each.campaign_id for each in partition.deliveries.deliveries())


def test_where_there_is_one_lane_nobody_has_to_be_asked() -> None:
    partition = lane(1)
    fail(partition, "spring")
    partition.advance(START, 1)
    assert told(partition) == ["spring"]
    (alert,) = partition.alerts.alerts()
    assert [step.suppressed for step in alert.steps] == [None]
    assert alert.notified == ("ops",)


def test_others_are_waited_for_and_not_for_long() -> None:
    partition = lane(3)
    fail(partition, "spring")
    partition.advance(START, 1)
    assert told(partition) == []
    (why,) = partition.take_suppressed()
    assert why.why.reason == "grouped"
    ((key, _),) = partition.take_group_records()
    assert key == b'["lane","failure-spike",0]'
    partition.advance(START + SETTLE - 0.1, 1)
    assert told(partition) == []
    partition.advance(START + SETTLE + 0.5, 1)
    assert told(partition) == ["spring"]


def test_several_wait_for_a_cause_and_are_told_without_one() -> None:
    partition = lane(3)
    fail(partition, "spring", "autumn")
    partition.advance(START, 1)
    partition.advance(START + 4.9, 1)
    assert told(partition) == []
    partition.advance(START + 5.5, 1)
    assert told(partition) == ["autumn", "spring"]


def test_one_that_waits_goes_on_waiting_after_a_restart_and_is_told_with_the_same_id() -> None:
    partition = lane(3)
    added = fail(partition, "spring")
    partition.advance(START, 1)
    records = dict(partition.take_changes(START))
    (alert,) = partition.alerts.alerts()
    again = restored(partition.settings, records, [added], START + 0.2)
    assert told(again) == []
    again.advance(START + 2, 1)
    (delivery,) = again.deliveries.deliveries()
    assert delivery.webhook_id == f"{alert.alert_id}.1"
    # The record is gone with the same commit.
    grouped = [key for key, value in again.take_changes(START + 2) if b"grouped" in key]
    assert [key for key in grouped if dict(records).get(key)] == grouped


def test_nothing_is_reported_while_nobody_asks() -> None:
    partition = lane(3)
    sends = {"spring": counts({"SUCCESS": 100})}
    added = PartialCounts(
        PARTIAL_COUNTS_VERSION, {0: START * 1000}, 0, [window_counts(START, sends)]
    )
    partition.apply(added, 0, START)
    for at in range(5):
        partition.advance(START + at, 1)
    assert partition.take_group_records() == []


def test_a_receiver_that_does_not_group_is_told_at_once() -> None:
    partition = CampaignPartition(0, PARTITION_SETTINGS, [0], START)
    fail(partition, "spring", "autumn")
    partition.advance(START, 1)
    assert told(partition) == ["autumn", "spring"]
    assert partition.take_group_records() == []
    assert not any(b"grouped" in key for key in written_keys(partition))


def written_keys(partition: CampaignPartition) -> list[bytes]:
    return [key for key, _ in partition.take_changes(START)]


def test_one_that_comes_back_is_told_again_in_a_group_or_by_itself() -> None:
    rule = replace(PARTITION_SETTINGS.rules[0], keep_firing_for=0.0, reopen_within=1_000.0)
    for is_known in (True, False):
        partition = lane(3, rules=(rule,))
        fail(partition, "spring")
        partition.advance(START, 1)
        (alert,) = partition.alerts.alerts()
        waiting = partition.groups.handover.get(alert.alert_id)
        assert waiting is not None
        partition.groups.causes.join(waiting, "cause")
        succeed(partition, "spring", START + 60)
        assert told(partition) == []
        member = partition.groups.handover.get(alert.alert_id)
        assert member is not None
        assert member.is_over
        member.acknowledged = is_known
        fail(partition, "spring", at=START + 120)
        partition.advance(START + 120, 3)
        (back,) = [each for each in partition.alerts.alerts() if each.state == "firing"]
        assert back.alert_id == alert.alert_id
        assert told(partition) == ([] if is_known else ["spring"])
        partition.advance(START + 130, 3)
        assert told(partition) == ["spring"], "nothing explains it"
        succeed(partition, "spring", START + 180)
        assert told(partition) == ["spring", "spring"], "who was told is told of its end"
