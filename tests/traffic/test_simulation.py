import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.traffic.incidents import DECOYS, REST_MS, VISIBLE_ATTEMPTS, Label
from streams.traffic.plans import DEMO_FIRST_AFTER_MS, DEMO_INCIDENT_MS, demo_plan, make_plan
from streams.traffic.simulation import LATEST_MS, Plan, events, steps

START_MS = 1_767_225_600_000
STATUSES = {
    *("SUCCESS", "FAILURE", "DAILY_CAP", "EXPIRED", "QUIET_TIME", "HOLDOUT", "DUPLICATE_ADDRESS"),
    *("CAMPAIGN_CAP", "FAILURE_PERMANENT", "TRANSIENT_FAILURE", "THROTTLED", "UNKNOWN"),
    *("HOOK_FAILURE", "CUSTOM_DELIVERY_FAILURE", "RECOMMENDATION_FAILURE", "UNSUPPORTED_CHANNEL"),
}
DELIVERY_TYPES = {
    *("EMAIL", "SMS", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "VOICE", "GCM"),
    *("ADM", "BAIDU", "PUSH", "CUSTOM", None),
}
SUPPRESSED = {
    *("DAILY_CAP", "EXPIRED", "QUIET_TIME", "HOLDOUT", "DUPLICATE_ADDRESS", "CAMPAIGN_CAP"),
}


def plan(seed: int = 1, minutes: float = 10, **options: Any) -> Plan:
    return make_plan(seed=seed, start_ms=START_MS, duration_ms=int(minutes * 60_000), **options)


@pytest.fixture(scope="module")
def traffic() -> list[tuple[int, dict[str, Any]]]:
    return [(time_ms, json.loads(event)) for time_ms, event in events(plan())]


def test_same_seed_same_bytes_another_seed_others() -> None:
    first, again, other = (list(events(plan(seed, 0.5))) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert list(plan(3).labels()) == list(plan(3).labels())


def test_events_have_the_vendors_shape(traffic: list[tuple[int, dict[str, Any]]]) -> None:
    sends = [event for _, event in traffic if event["event_type"] == "_campaign.send"]
    with_type = next(each for each in sends if "delivery_type" in each["attributes"])
    # Keys and their order: "Campaign events" in the Amazon Pinpoint developer guide.
    assert list(with_type) == [
        *("event_type", "event_timestamp", "arrival_timestamp", "event_version", "application"),
        *("client", "device", "session", "attributes", "client_context", "awsAccountId"),
    ]
    assert list(with_type["attributes"]) == [
        *("treatment_id", "campaign_activity_id", "delivery_type", "campaign_id"),
        "campaign_send_status",
    ]
    endpoint = json.loads(with_type["client_context"]["custom"]["endpoint"])
    assert endpoint["EndpointStatus"] == "ACTIVE"
    assert with_type["application"]["sdk"] == {}


def test_all_that_occurs_in_real_traffic_occurs(
    traffic: list[tuple[int, dict[str, Any]]],
) -> None:
    everything = [event for _, event in traffic]
    sends = [event for event in everything if event["event_type"] == "_campaign.send"]
    attributes = [event["attributes"] for event in sends]
    assert {each["campaign_send_status"] for each in attributes} == STATUSES
    assert {each.get("delivery_type") for each in attributes} == DELIVERY_TYPES
    assert {each["treatment_id"] for each in attributes} == {"0", "1", "2"}
    custom = {
        json.loads(event["client_context"]["custom"]["endpoint"])["ChannelType"]
        for event in sends
        if event["attributes"].get("delivery_type") == "CUSTOM"
    }
    assert custom == {"EMAIL", "SMS", "CUSTOM"}
    assert {event["event_type"] for event in everything} >= {
        "_campaign.opened_notification",
        "_campaign.received_foreground",
        "_campaign.received_background",
        "_SMS.BUFFERED",
        "_email.send",
    }
    assert len({event["application"]["app_id"] for event in sends}) > 1


def test_arrivals_are_in_order_and_events_are_late_within_bounds(
    traffic: list[tuple[int, dict[str, Any]]],
) -> None:
    arrivals = [time_ms for time_ms, _ in traffic]
    assert arrivals == sorted(arrivals)
    sends = [(t, e["event_timestamp"]) for t, e in traffic if e["event_type"] == "_campaign.send"]
    assert all(0 <= arrival - sent <= LATEST_MS for arrival, sent in sends)
    assert all(sent >= START_MS for _, sent in sends)
    assert [sent for _, sent in sends] != sorted(sent for _, sent in sends)


def test_volume_is_as_asked_and_spread_unevenly(
    traffic: list[tuple[int, dict[str, Any]]],
) -> None:
    calm = plan(incidents=0, rate=200, minutes=5)
    sends = [e for _, e in events(calm) if b'"_campaign.send"' in e]
    assert len(sends) == pytest.approx(200 * 300, rel=0.05)
    by_campaign = Counter(event["attributes"]["campaign_id"] for _, event in traffic)
    assert len(by_campaign) == 20
    assert max(by_campaign.values()) > 20 * min(by_campaign.values())


def failure_share(
    traffic: list[tuple[int, dict[str, Any]]], label: Label, start_ms: float, end_ms: float
) -> float:
    statuses = [
        event["attributes"]["campaign_send_status"]
        for _, event in traffic
        if event["event_type"] == "_campaign.send"
        and event["attributes"]["campaign_id"] == label.campaign_id
        and start_ms <= event["event_timestamp"] < end_ms
    ]
    if not label.suppressing:
        statuses = [status for status in statuses if status not in SUPPRESSED]
    return sum(status in label.statuses for status in statuses) / len(statuses)


def test_incidents_are_where_the_labels_say(traffic: list[tuple[int, dict[str, Any]]]) -> None:
    incidents = [label for label in plan().labels() if not label.decoy]
    assert len(incidents) == 3
    for label in incidents:
        second_half = (label.start_ms + label.end_ms) / 2
        during = failure_share(traffic, label, second_half, label.end_ms)
        before = failure_share(traffic, label, label.start_ms - 60_000, label.start_ms)
        after = failure_share(traffic, label, label.end_ms, label.end_ms + 60_000)
        assert during == pytest.approx(label.effect, abs=0.15)
        assert max(before, after) < label.effect / 2


@given(seed=st.integers(0, 10_000), incidents=st.integers(0, 12), minutes=st.integers(1, 60))
@settings(max_examples=50)
def test_labels_keep_their_promises(seed: int, incidents: int, minutes: int) -> None:
    planned = plan(seed, minutes, incidents=incidents)
    labels = list(planned.labels())
    assert planned.end_ms is not None
    assert len(labels) <= 2 * incidents
    assert labels == sorted(labels, key=lambda label: label.start_ms)
    for label in labels:
        campaign = planned.campaigns[label.campaign_index]
        assert campaign.campaign_id == label.campaign_id
        assert planned.start_ms < label.start_ms < label.end_ms <= planned.end_ms
        assert label.decoy == (label.kind in {kind.name for kind in DECOYS})
        share = campaign.share_of(label.delivery_type)
        if not label.decoy:
            seconds = (label.end_ms - label.start_ms) / 1000
            assert campaign.sends_per_second * share * seconds >= VISIBLE_ATTEMPTS
    for one, other in itertools.combinations(labels, 2):
        if one.campaign_id == other.campaign_id:
            assert other.start_ms >= one.end_ms + REST_MS


def test_a_label_as_a_document() -> None:
    label = next(each for each in plan().labels() if not each.decoy)
    document = json.loads(json.dumps(label.document()))
    assert document["start"].startswith("2026-01-01T00:")
    assert document["start"].endswith("Z")
    assert document["end_ms"] > document["start_ms"]
    assert document["statuses"] == list(label.statuses)


def test_a_surge_and_a_quiet_spell_change_the_volume_alone() -> None:
    planned = plan(incidents=4)
    found = list(events(planned))
    for label in planned.labels():
        if label.volume_factor == 1:
            continue
        own = [t for t, event in found if label.campaign_id.encode() in event and b".send" in event]
        seconds = (label.end_ms - label.start_ms) / 1000
        during = sum(label.start_ms <= time_ms < label.end_ms for time_ms in own) / seconds
        usual = planned.campaigns[label.campaign_index].sends_per_second
        assert during == pytest.approx(usual * label.volume_factor, rel=0.5, abs=0.5)


def test_steps_tell_when_labels_begin_and_end() -> None:
    planned = plan()
    began, ended = [], []
    for step in steps(planned):
        for label in step.began:
            assert step.until_ms - 100 <= label.start_ms < step.until_ms
            began.append(label)
        for label in step.ended:
            assert label in began
            assert label.end_ms <= step.until_ms
            ended.append(label)
    assert began == list(planned.labels())
    assert ended


@pytest.mark.parametrize("seed", range(5))
def test_the_demonstration_shows_an_incident_soon_and_goes_on_for_ever(seed: int) -> None:
    planned = demo_plan(seed, START_MS)
    first, *others = itertools.islice(planned.labels(), 30)
    assert first.start_ms == START_MS + DEMO_FIRST_AFTER_MS
    assert first.end_ms - first.start_ms == DEMO_INCIDENT_MS
    assert not first.decoy
    assert first.effect >= 0.5
    assert planned.campaigns[first.campaign_index].sends_per_second > 30
    assert {label.kind for label in others} >= {"throttling", "revoked-certificate"}
    previous = first
    for label in others:
        assert label.start_ms - previous.end_ms >= 30_000
        previous = label
    assert all(campaign.failure_rate < 0.03 for campaign in planned.campaigns)
