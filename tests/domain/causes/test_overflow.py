"""What is beyond a receiver's rate limit is told in a summary, or later; ends always are."""

from collections import Counter
from dataclasses import replace

import orjson

from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import Rate, ReceiverLimit, TokenBucket
from streams.domain.operators import Acknowledgement
from streams.domain.partition import CampaignPartition
from tests.domain.causes.test_labelled import (
    FIRING,
    GROUP_FIRING,
    GROUP_RESOLVED,
    RESOLVED,
    data_of,
    types,
)
from tests.domain.causes.test_lane import START, fail, succeed, told
from tests.support.changelogs import restored
from tests.support.fleet import Fleet
from tests.support.partitions import PARTITION_SETTINGS

REMINDER = "campaign.alert.reminder"


def fleet_of(most: int, seconds: float, *, seed: int = 1, workers: int = 2) -> Fleet:
    limit = Rate(most, seconds)
    fleet = Fleet(seed, campaigns=3, step=1.0, groups=False, limit=limit, workers=workers)
    fleet.run(60)
    return fleet


def test_a_flood_is_some_alerts_and_a_summary() -> None:
    fleet = fleet_of(2, 600.0, workers=1)
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.run(15)
    assert types(fleet.received["ops"]) == [FIRING, FIRING, GROUP_FIRING]
    summary = data_of(fleet.received["ops"][-1])
    assert summary["reason"] == "rate-limit"
    assert summary["counts"] == {"firing": 7, "joined": 7, "ended": 0, "new": 7}
    assert summary["summary"] == (
        "failure-spike: beyond the rate limit: 7 campaigns, 7 alerts firing"
    )
    assert types(fleet.received["plain"]) == [FIRING] * 9, "another receiver's limit"
    withheld = [
        (each.receiver, each.reason)
        for lane in fleet.lanes
        for alert in lane.partition.alerts.alerts()
        for each in alert.steps[0].withheld
    ]
    assert withheld == [("ops", "rate-limited")] * 7
    fleet.broken.clear()
    fleet.run(200)
    counts = Counter(types(fleet.received["ops"]))
    assert (counts[RESOLVED], counts[GROUP_RESOLVED]) == (2, 1), "ends are always told"


def test_one_beyond_the_limit_is_told_by_itself_once_it_allows() -> None:
    fleet = fleet_of(1, 4.0, workers=1)
    fleet.broken |= {(fleet.campaigns[0][0], "GCM"), (fleet.campaigns[1][0], "GCM")}
    fleet.run(15)
    first, second = fleet.received["ops"]
    assert (first.type, second.type) == (FIRING, FIRING)
    assert second.at - first.at >= 3.0
    steps = [a.steps[0] for lane in fleet.lanes for a in lane.partition.alerts.alerts()]
    assert [step.withheld for step in steps] == [(), ()]


def test_what_is_over_by_then_is_named_in_the_summary() -> None:
    partition = lane(Rate(1, 6_000.0))
    fail(partition, "spring", "autumn")
    partition.advance(START, 1)
    assert len(told(partition)) == 1
    (waits,) = partition.groups.handover.waiting
    alert = partition.alerts.get(waits.alert_id)
    assert alert is not None
    succeed(partition, alert.scope.campaign_id, START + 60)
    for at in range(61, 80):
        follow(partition)
        partition.advance(START + at, 2)
    (summary,) = [
        orjson.loads(bytes(each.transition))
        for each in partition.deliveries.deliveries()
        if not each.campaign_id
    ]
    assert summary["type"] == GROUP_FIRING
    (listed,) = summary["data"]["alerts"]
    assert listed["alert_id"] == alert.alert_id
    assert listed["ends_at"] is not None
    assert told(partition).count(alert.scope.campaign_id) == 0, "not by itself"


def test_a_reminder_waits_until_the_limit_allows_it() -> None:
    partition = lane(Rate(1, 20.0))
    fail(partition, "spring")
    partition.advance(START, 1)
    partition.settings.rate_limits["ops"].bucket.take(START + 30)
    fail(partition, "spring", at=START + 31)
    partition.advance(START + 31, 2)
    assert kinds(partition) == [FIRING]
    assert newest(partition) == (REMINDER, "rate-limited")
    partition.advance(START + 52, 2)
    assert kinds(partition) == [FIRING, REMINDER]
    assert newest(partition) == (REMINDER, None)
    assert not partition.groups.handover.waiting


def test_a_reminder_is_dropped_once_somebody_has_acknowledged_the_alert() -> None:
    partition = lane(Rate(1, 20.0))
    fail(partition, "spring")
    partition.advance(START, 1)
    partition.settings.rate_limits["ops"].bucket.take(START + 30)
    fail(partition, "spring", at=START + 31)
    partition.advance(START + 31, 2)
    (alert,) = partition.alerts.alerts()
    partition.operators.add(Acknowledgement(alert.alert_id, "ana", "", lambda: None))
    partition.advance(START + 32, 2)
    partition.advance(START + 60, 2)
    assert kinds(partition) == [FIRING]
    assert not partition.groups.handover.waiting


def newest(partition: CampaignPartition) -> tuple[str, str | None]:
    """The newest transition of the only alert, and why nobody was notified of it."""
    (alert,) = partition.alerts.alerts()
    suppressed = alert.steps[-1].suppressed
    return alert.steps[-1].type, None if suppressed is None else suppressed.reason


def test_a_reminder_is_dropped_once_the_alert_has_ended() -> None:
    partition = lane(Rate(1, 20.0))
    added = [fail(partition, "spring")]
    partition.advance(START, 1)
    partition.settings.rate_limits["ops"].bucket.take(START + 30)
    added.append(fail(partition, "spring", at=START + 31))
    partition.advance(START + 31, 2)
    # Also after a restart.
    records = dict(partition.take_changes(START + 31))
    partition = restored(partition.settings, records, added, START + 32)
    assert len(partition.groups.handover.waiting) == 1
    succeed(partition, "spring", START + 33)
    assert kinds(partition) == [FIRING, RESOLVED]
    assert not partition.groups.handover.waiting


def lane(rate: Rate) -> CampaignPartition:
    """One lane that reads what it writes, and repeats alerts soon."""
    (rule,) = PARTITION_SETTINGS.rules
    settings = replace(
        PARTITION_SETTINGS,
        rules=(replace(rule, keep_firing_for=0.0, repeat_interval=25.0),),
        rate_limits={"ops": ReceiverLimit(TokenBucket(rate), GroupTimes(group_wait=5.0))},
        group_view=type(PARTITION_SETTINGS.group_view)(),
    )
    return CampaignPartition(0, settings, [0], START)


def follow(partition: CampaignPartition) -> None:
    for key, value in partition.take_group_records():
        partition.settings.group_view.restore(key, value)


def kinds(partition: CampaignPartition) -> list[str]:
    return [
        orjson.loads(bytes(each.transition))["type"] for each in partition.deliveries.deliveries()
    ]
