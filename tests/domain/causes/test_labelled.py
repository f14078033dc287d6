"""Alerts with the same labels are told of together; one by itself is the ordinary alert."""

from collections import Counter
from typing import Any

import jsonschema
import orjson

from streams.domain import group_transitions
from streams.domain.causes import group_names
from tests.support.fleet import Fleet, Received

FIRING, RESOLVED = "campaign.alert.firing", "campaign.alert.resolved"
GROUP_FIRING, GROUP_RESOLVED = "campaign.group.firing", "campaign.group.resolved"
LABELS = ("rule", "app_id")


def fleet_of(seed: int = 1) -> Fleet:
    fleet = Fleet(seed, campaigns=3, step=1.0, labels=LABELS)
    fleet.run(60)
    return fleet


def types(received: list[Received]) -> list[str]:
    return [each.type for each in received]


def data_of(received: Received) -> Any:
    return orjson.loads(received.body)["data"]


def test_those_with_the_same_labels_are_one_notification_and_their_end_another() -> None:
    fleet = fleet_of()
    fleet.broken |= set(fleet.everywhere("GCM"))
    began = fleet.now
    fleet.run(12)
    (firing,) = fleet.received["ops"]
    assert firing.type == GROUP_FIRING
    assert firing.at - began <= 8, "group_wait, and two steps"
    jsonschema.validate(orjson.loads(firing.body), group_transitions.json_schema())
    told = data_of(firing)
    assert (told["reason"], told["cause"], told["rule"]) == ("labels", None, "failure-spike")
    assert told["group_labels"] == {"app_id": "app", "rule": "failure-spike"}
    # A worker that lags behind hands over what it has a moment later.
    known = told["counts"]["firing"]
    assert known >= 7
    assert told["counts"] == {"firing": known, "joined": known, "ended": 0, "new": known}
    assert told["summary"] == (
        f"app_id=app, rule=failure-spike: {known} campaigns, {known} alerts firing"
    )
    fleet.run(5)
    for lane in fleet.lanes:
        for alert in lane.partition.alerts.alerts():
            assert lane.partition.groups.group_of(alert.alert_id) == told["group_id"]
            assert told["group_id"] in lane.partition.groups.groups_of(alert.alert_id)
            assert alert.notified == ("plain", "ops")
    state = fleet.views[0].group(told["group_id"])
    assert state is not None
    assert (state.firing, state.joined, state.reason) == (9, 9, "labels")
    assert state.receivers["ops"].notifications == 1
    fleet.broken.clear()
    fleet.run(200)
    assert types(fleet.received["ops"]) == [GROUP_FIRING, GROUP_RESOLVED]
    assert data_of(fleet.received["ops"][1])["counts"]["ended"] == 9
    state = fleet.views[0].group(told["group_id"])
    assert state is not None
    assert state.ended_at is not None
    fleet.run(800)
    assert fleet.views[0].group(told["group_id"]) is None, "it is forgotten"
    assert not any(each for of_name in fleet.views[0].members.values() for each in of_name.values())


def test_one_by_itself_is_the_ordinary_alert() -> None:
    fleet = fleet_of(2)
    fleet.broken.add((fleet.campaigns[1][0], "GCM"))
    fleet.run(40)
    fleet.broken.clear()
    fleet.run(150)
    assert types(fleet.received["ops"]) == types(fleet.received["plain"]) == [FIRING, RESOLVED]
    for one, other in zip(fleet.received["ops"], fleet.received["plain"], strict=True):
        assert one.body == other.body
        assert one.at - other.at <= 7, "group_wait"


def test_a_trickle_is_one_alert_and_one_group() -> None:
    fleet = fleet_of(3)
    for names in fleet.campaigns:
        for name in names:
            fleet.broken.add((name, "GCM"))
            fleet.run(15)
    fleet.broken.clear()
    fleet.run(300)
    counts = Counter(types(fleet.received["ops"]))
    assert (counts[FIRING], counts[RESOLVED]) == (1, 1)
    assert (counts[GROUP_FIRING], counts[GROUP_RESOLVED]) == (1, 1)
    last = next(each for each in fleet.received["ops"] if each.type == GROUP_RESOLVED)
    assert data_of(last)["counts"]["joined"] == 8
    assert len(fleet.received["ops"]) <= 8


def test_a_group_that_is_over_is_followed_by_another_one() -> None:
    fleet = fleet_of(4)
    ids = []
    for _ in range(2):
        fleet.broken |= set(fleet.everywhere("GCM"))
        fleet.run(20)
        fleet.broken.clear()
        fleet.run(200)
        assert types(fleet.received["ops"]) == [GROUP_FIRING, GROUP_RESOLVED]
        ids.append({data_of(each)["group_id"] for each in fleet.received["ops"]})
        fleet.received["ops"].clear()
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_they_are_told_by_themselves_while_the_topic_cannot_be_read() -> None:
    fleet = fleet_of(5)
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.stop_reading()
    fleet.run(30)
    assert types(fleet.received["ops"]) == [FIRING] * 9


def test_names_of_groupings_hold_any_label() -> None:
    labels = {"app_id": 'a"b#1', "rule": "r", "team": "x"}
    one = group_names.by_labels(["rule", "app_id"], labels, 4)
    other = group_names.by_labels(["app_id", "rule"], {**labels, "team": "y"}, 4)
    assert one == other
    assert one.labels == {"app_id": 'a"b#1', "rule": "r"}
    assert one.key != group_names.by_labels(["app_id"], labels, 4).key
    assert one.key != group_names.by_labels(["rule", "app_id"], {"rule": "r"}, 4).key
    shards = {group_names.by_labels(["app_id"], {"app_id": str(at)}, 4).name for at in range(100)}
    assert len(shards) == 4
    assert group_names.is_by_labels(one.name)
    assert not group_names.is_by_cause(one.name)
    assert group_names.is_by_limit(group_names.by_limit("ops").name)
    assert group_names.is_by_cause("failure-spike")
