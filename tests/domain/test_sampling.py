"""Sample events: from the bytes of records to the webhook's payload."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from streams.domain import partial_counts, transitions
from streams.domain.campaigns import Campaigns
from streams.domain.detectors.threshold import Threshold
from streams.domain.formats import pinpoint
from streams.domain.partial_counts import Dimensions, PartialCounts, Sample, WindowCounts
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import MOST_SAMPLES, PreAggregator
from streams.domain.rules import HitsOfAny, Rule
from streams.domain.sample_book import KEPT, MOST_CAMPAIGNS, SHOWN, SampleBook
from streams.domain.sampling import LONGEST_NAMES, MOST_AT_ONCE, OFFERED_AT_ONCE, PAUSE_S
from streams.domain.sources import IngestSettings, SourcePartition
from streams.domain.transitions import Transition
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, STATUS_GROUPS, rows_of

RULE = Rule(
    "failing",
    frozenset({"FAILURE"}),
    Threshold(0.1, lookback_windows=1),
    unrecognised=True,
    keep_firing_for=0.0,
)
SETTINGS = replace(PARTITION_SETTINGS, rules=(RULE,))
INGEST = IngestSettings(pinpoint.FORMAT, SETTINGS.windows, sampled=HitsOfAny([RULE], STATUS_GROUPS))
T0 = 1_795_428_000
PERSONAL = ("jane", "example.com", "555", "APA91", "u-4711", "secret", "s3cret", "Doe")


def record(
    status: str,
    at: int = T0,
    campaign: str = "c",
    extra: Mapping[str, Any] | None = None,
    **given: Any,
) -> bytes:
    """An event with personal data wherever an event can have any."""
    endpoint = {
        "ChannelType": given.pop("channel", "GCM"),
        "Address": "APA91bHun4MxP5egoKMwt2KZFBaFUH",
        "Id": "secret-endpoint",
        "User": {"UserId": "u-4711", "UserAttributes": {"name": ["Jane Doe"]}},
    }
    event = {
        "event_type": "_campaign.send",
        "event_timestamp": at * 1000,
        "arrival_timestamp": at * 1000 + 69,
        "event_version": "3.1",
        "application": {"app_id": "a1b2", "sdk": {"name": "aws-sdk"}, "title": "secret"},
        "client": {"client_id": "secret-client", "cognito_id": "secret"},
        "device": {"platform": {"name": "android"}, "locale": {"code": "secret"}},
        "session": {"session_id": "secret-session"},
        "attributes": {
            "campaign_id": campaign,
            "campaign_activity_id": "5473",
            "treatment_id": "0",
            "delivery_type": "GCM",
            "campaign_send_status": status,
            "reason": "no such mailbox: jane.doe@example.com, call +1 555 010 9999",
            "customer_email": "jane@example.com",
            "password": "s3cret",
            **given,
        },
        "metrics": {"secret": 555.0},
        "client_context": {"custom": {"endpoint": json.dumps(endpoint), "legacy": "secret"}},
        "endpoint": {"Address": "jane@example.com"},
        "awsAccountId": "555555555555",
        **(extra or {}),
    }
    return json.dumps(event).replace("Infinity", "1e999").encode()


class Line:
    """A source partition and the partition of its campaigns, with the bytes between them."""

    def __init__(self) -> None:
        self.source = SourcePartition(0, INGEST, Campaigns(1))
        self.partition = CampaignPartition(0, SETTINGS, [0], T0)
        self.log: list[PartialCounts] = []
        self.records: dict[bytes, bytes | None] = {}
        self.told: list[Transition] = []

    def count(self, values: list[bytes], now: float = T0 + 30) -> PartialCounts:
        """Count a batch as one commit; return what is on the repartition topic."""
        pre_aggregator = PreAggregator()
        assert self.source.count(values, int(now * 1000), pre_aggregator) == []
        (made,) = pre_aggregator.partial_counts().values()
        (value,) = partial_counts.encode_records(made)
        counts = partial_counts.decode(value)
        self.partition.apply(counts, len(self.log), now)
        self.log.append(counts)
        for each in self.partition.advance(now, len(self.log)):
            self.told.append(transitions.decode(transitions.encode(each)))
        self.records.update(self.partition.take_changes(now))
        assert self.partition.take_failures() == []
        return counts

    @property
    def samples(self) -> list[dict[str, str | int]]:
        explanation = self.told[-1].data.explanation
        assert explanation is not None
        return explanation.samples


def test_a_webhook_has_samples_without_personal_data() -> None:
    line = Line()
    line.count([record("FAILURE")] * 100)
    (sample,) = line.samples
    assert sample == {
        "event_type": "_campaign.send",
        "event_timestamp": T0 * 1000,
        "arrival_timestamp": T0 * 1000 + 69,
        "event_version": "3.1",
        "application.app_id": "a1b2",
        "application.sdk.name": "aws-sdk",
        "device.platform.name": "android",
        "attributes.campaign_id": "c",
        "attributes.campaign_activity_id": "5473",
        "attributes.treatment_id": "0",
        "attributes.delivery_type": "GCM",
        "attributes.campaign_send_status": "FAILURE",
        "attributes.reason": "no such mailbox: [redacted] call [redacted]",
        "endpoint.ChannelType": "GCM",
    }


def test_nothing_personal_is_on_any_topic() -> None:
    line = Line()
    counts = line.count([record("FAILURE"), record("SUCCESS"), record("ODD")] * 40)
    told = b"".join(map(transitions.encode, line.told))
    written = b"".join(value for value in line.records.values() if value is not None)
    for where in (partial_counts.encode(counts), told, written):
        assert b"[redacted]" in where
        for secret in PERSONAL:
            assert secret.encode() not in where


def test_up_to_three_samples_of_the_slice_and_status_that_explain_it_come_first() -> None:
    line = Line()
    for at in range(0, 60, 12):
        healthy = [record("SUCCESS", T0 + at, delivery_type=name) for name in ("GCM", "SMS")] * 40
        failing = [record("ODD", T0 + at, delivery_type="SMS")] * (60 if at >= 24 else 0)
        failure = [record("FAILURE", T0 + at)]
        line.count(healthy + failing + failure, T0 + at)
    (told,) = line.told
    assert told.data.explanation is not None
    assert told.data.explanation.slice is not None
    assert told.data.explanation.slice.dimensions == {"channel_type": "SMS"}
    statuses = [each["attributes.campaign_send_status"] for each in line.samples]
    assert len(statuses) == SHOWN
    assert statuses[0] == "ODD"
    # Failures that were always there are newer, and come last.
    assert statuses == sorted(statuses, reverse=True)


def test_what_failed_before_the_alert_began_is_no_sample_of_it() -> None:
    line = Line()
    line.count([record("FAILURE", T0 - 600)] + [record("SUCCESS", T0 - 600)] * 100, T0 - 600)
    line.count([record("SUCCESS")] * 100 + [record("ODD", reason="now")] * 100)
    assert [each["attributes.reason"] for each in line.samples] == ["now"]


def test_samples_of_a_break_that_began_as_a_window_ended() -> None:
    line = Line()
    line.count([record("SUCCESS", T0 + 59)] * 1_000 + [record("FAILURE", T0 + 59)], T0 + 59.5)
    assert line.told == []
    # The pause is not over yet: the next window has no sample.
    line.count([record("FAILURE", T0 + 60)] * 100, T0 + 60.5)
    assert line.told != []
    assert [each["event_timestamp"] for each in line.samples] == [(T0 + 59) * 1000]


def test_samples_since_the_alert_began_are_shown_alone() -> None:
    line = Line()
    line.count([record("SUCCESS", T0 + 55)] * 1_000 + [record("FAILURE", T0 + 55)], T0 + 55)
    line.count([record("FAILURE", T0 + 60)] * 100, T0 + 60.5)
    assert [each["event_timestamp"] for each in line.samples] == [(T0 + 60) * 1000]


def test_a_restart_keeps_the_samples_of_an_alert() -> None:
    line = Line()
    line.count([record("FAILURE")] * 100)
    shown = line.samples
    # The repartition topic may be gone by then.
    line.partition = restored(SETTINGS, line.records, [], T0 + 31)
    assert len(line.partition.samples) == 0
    for at in (200, 210):
        line.count([record("SUCCESS", T0 + at)] * 100, T0 + at)
    assert line.told[-1].type == "campaign.alert.resolved"
    assert line.samples == shown


def test_a_replay_brings_samples_back() -> None:
    line = Line()
    line.count([record("FAILURE", reason="first")] + [record("SUCCESS")] * 100)
    line.partition = restored(SETTINGS, line.records, line.log, T0 + 31)
    line.count([record("FAILURE", reason="second")] * 100, T0 + 40)
    assert [each["attributes.reason"] for each in line.samples] == ["second", "first"]


def test_one_of_each_campaign_and_status_now_and_then() -> None:
    line = Line()
    counts = line.count([record("FAILURE", reason=f"{n}") for n in range(20)])
    assert [each.fields["attributes.reason"] for each in counts.samples] == ["0"]
    counts = line.count([record("FAILURE")] * 20, T0 + 30 + PAUSE_S / 2)
    assert counts.samples == []
    counts = line.count([record("FAILURE")] * 20, T0 + 30 + PAUSE_S)
    assert len(counts.samples) == 1


def test_only_statuses_that_are_hits_of_a_rule_and_only_sends() -> None:
    line = Line()
    engagement = {"event_type": "_campaign.opened_notification"}
    counts = line.count([record("SUCCESS"), record("FAILURE", extra=engagement)] * 50)
    assert counts.samples == []


def test_a_flood_of_failing_campaigns_has_an_allowance() -> None:
    line = Line()
    flood = [record("FAILURE", campaign=f"c{n}") for n in range(400)]
    first = line.count(flood)
    assert len(first.samples) == min(MOST_SAMPLES, MOST_AT_ONCE, OFFERED_AT_ONCE)
    again = line.count([record("FAILURE", campaign=f"d{n}") for n in range(400)])
    assert again.samples == []
    later = line.count([record("FAILURE", campaign=f"e{n}") for n in range(400)], T0 + 40)
    assert len(later.samples) == 1
    assert sum(counts.events for each in line.log for counts in each.windows) == 1_200


def test_a_campaign_that_begins_to_fail_comes_before_those_that_always_do() -> None:
    line = Line()
    always = [record("FAILURE", campaign=f"c{n}") for n in range(MOST_AT_ONCE)]
    line.count(always)
    batch = [*always[1:], record("FAILURE", campaign="new")]
    counts = line.count(batch, T0 + 30 + PAUSE_S)
    assert [each.campaign_id for each in counts.samples] == ["new"]


def test_a_small_campaign_among_many_gets_a_sample() -> None:
    line = Line()
    counts = line.count(
        [record("FAILURE", campaign=name) for name in "xyz"]
        + [record("SUCCESS", campaign=f"c{n}") for n in range(400)]
        + [record("FAILURE", campaign="small")]
    )
    assert [each.campaign_id for each in counts.samples] == ["x", "y", "z", "small"]


@pytest.mark.parametrize("count", [1, OFFERED_AT_ONCE - 1, OFFERED_AT_ONCE, 3 * OFFERED_AT_ONCE])
def test_every_event_is_counted_whether_it_is_offered_or_not(count: int) -> None:
    names = [f"c{n % 7}" for n in range(count)]
    line = Line()
    sampled = line.count([record("FAILURE", campaign=name) for name in names])
    plain = PreAggregator()
    SourcePartition(0, replace(INGEST, sampled=()), Campaigns(1)).count(
        [record("FAILURE", campaign=name) for name in names], T0 * 1000, plain
    )
    assert plain.partial_counts()[0].samples == []
    assert rows_of(sampled.windows) == rows_of(plain.partial_counts()[0].windows)


def test_long_names_make_no_sample_and_long_values_are_cut() -> None:
    line = Line()
    counts = line.count(
        [
            record("FAILURE", campaign="x" * LONGEST_NAMES),
            record("FAILURE", reason="very long " * 300, error="y" * 5_000),
        ]
    )
    (sample,) = counts.samples
    assert len(str(sample.fields["attributes.reason"])) == pinpoint.LONGEST_SHOWN
    assert "attributes.error" not in sample.fields


@pytest.mark.parametrize(
    "extra",
    [
        {"application": "none"},
        {"application": {"app_id": 5, "sdk": []}},
        {"arrival_timestamp": 1e999},
        {"arrival_timestamp": 10**30},
        {"device": {"platform": {"name": "\ud800"}}},
        {"client_context": {"custom": {"endpoint": "{broken"}}},
    ],
)
def test_odd_fields_are_left_out(extra: dict[str, Any]) -> None:
    line = Line()
    line.count([record("FAILURE", extra=extra)] * 100)
    (sample,) = line.samples
    assert sample["attributes.campaign_id"] == "c"
    assert not sample.keys() & {"application.sdk.version", "device.platform.version"}


def test_a_reader_that_fails_costs_no_event() -> None:
    def broken(_: bytes) -> dict[str, str | int]:
        raise RuntimeError

    ingest = replace(INGEST, format=replace(pinpoint.FORMAT, sample_of=broken))
    pre_aggregator = PreAggregator()
    source = SourcePartition(0, ingest, Campaigns(1))
    assert source.count([record("FAILURE")] * 5, T0 * 1000, pre_aggregator) == []
    assert pre_aggregator.counted == 5
    assert pre_aggregator.partial_counts()[0].samples == []


def test_the_book_keeps_the_newest() -> None:
    book = SampleBook(SETTINGS.windows, STATUS_GROUPS)
    key = Dimensions("FAILURE", None, None, None)
    for n in range(MOST_CAMPAIGNS + 50):
        book.add([Sample(f"c{n}", 0, key, {"n": at}) for at in range(KEPT + 3)])
    assert len(book) == MOST_CAMPAIGNS * KEPT


class _Before(msgspec.Struct, array_like=True):
    """Partial counts as versions read them that know no samples."""

    version: int
    event_times: dict[int, int]
    received_at: int
    windows: list[WindowCounts]


def test_versions_with_and_without_samples_read_each_other() -> None:
    counts = Line().count([record("FAILURE")] * 3)
    before = msgspec.msgpack.decode(partial_counts.encode(counts), type=_Before)
    assert before.windows == counts.windows
    read = partial_counts.decode(msgspec.msgpack.encode(before))
    assert read.windows == counts.windows
    assert read.samples == []


def test_a_record_in_parts_has_the_samples_once() -> None:
    pre_aggregator = PreAggregator()
    source = SourcePartition(0, INGEST, Campaigns(1))
    source.count(
        [record("FAILURE", campaign=f"c{n}") for n in range(300)], T0 * 1000, pre_aggregator
    )
    (made,) = pre_aggregator.partial_counts().values()
    parts = [partial_counts.decode(each) for each in partial_counts.encode_records(made, 3_000)]
    assert len(parts) > 1
    assert [each for part in parts for each in part.samples] == made.samples
