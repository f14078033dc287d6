"""Source records of every kind, good and bad, in a made-up but orderly mixture.

Most are campaign events as the vendor emits them. The rest is what a topic collects over time: odd
ids, events without `delivery_type`, events out of order and an hour late, event types of others,
and records that nobody can count.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

STATUSES = (
    *("SUCCESS", "FAILURE", "FAILURE_PERMANENT", "TRANSIENT_FAILURE", "UNKNOWN", "HOOK_FAILURE"),
    *("CUSTOM_DELIVERY_FAILURE", "RECOMMENDATION_FAILURE", "UNSUPPORTED_CHANNEL", "THROTTLED"),
    *("DAILY_CAP", "CAMPAIGN_CAP", "QUIET_TIME", "HOLDOUT", "EXPIRED", "DUPLICATE_ADDRESS"),
    "A_STATUS_OF_TOMORROW",
)
ENGAGEMENT = ("opened_notification", "received_foreground", "received_background")
DELIVERY_TYPES = (
    *("EMAIL", "SMS", "ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "VOICE"),
    *("GCM", "BAIDU", "PUSH", "CUSTOM"),
)
FOREIGN = (
    *("_SMS.BUFFERED", "_SMS.SUCCESS", "_email.send", "_journey.send", "_session.start"),
    *("_monetization.purchase", "_campaign.of_tomorrow", "checkout.done", "no dots at all"),
)
ODD_IDS = ("a/b", "ünïcode", "100%", "..", "two words", "?q=1&r=2#top", "🎈", "+", 'q"uote\\')
MS = 1000
HOUR_MS = 3_600 * MS
YEAR_2099_MS = 4_070_908_800_000
YEAR_1970_MS = 86_400_000


class SourceRecord(NamedTuple):
    """A record for the source topic. `expected` is its reason as a dead letter, if any."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    expected: str | None = None


@dataclass(frozen=True)
class Mixture:
    """How the records are mixed. Shares are of all records; times are milliseconds.

    Args:
        count: how many records.
        until: the event time of the last one.
        span: how much event time they cover.
        partitions: of the source topic; each record goes to one by chance, unless `keyed`.
        campaigns: how many campaigns beside those with odd ids.
        bad: share of records that cannot be counted; 0 also leaves out the expired ones.
        keyed: all records of a campaign go to one partition.
    """

    count: int
    until: int
    span: int = 20 * 60 * MS
    partitions: int = 6
    campaigns: int = 30
    seed: int = 1
    disorder: int = 20 * MS
    late: float = 0.01
    foreign: float = 0.03
    engagement: float = 0.15
    bad: float = 0.03
    keyed: bool = False
    chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chance", random.Random(self.seed))  # noqa: S311 - repeatable

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all campaigns."""
        return (*ODD_IDS, *(f"{n:032x}" for n in range(self.campaigns)))

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records, in the order in which they are to be sent."""
        ids = self.ids
        # Expired is only what comes after newer events of its partition.
        settled = 200 * self.partitions
        for n in range(self.count):
            time = self.until - self.span + self.span * n // self.count
            if n > settled and self.chance.random() < self.bad:
                yield self._bad(ids, time)
            else:
                yield self._good(ids, time)

    def _good(self, ids: tuple[str, ...], time: int) -> SourceRecord:
        time -= self.chance.randrange(self.disorder)
        if self.chance.random() < self.late:
            time -= HOUR_MS
        event = self.event(self.chance.choice(ids), time)
        return self._addressed(event["attributes"]["campaign_id"], orjson.dumps(event))

    def _bad(self, ids: tuple[str, ...], time: int) -> SourceRecord:
        reason, spoil = self.chance.choice(SPOILS)
        # A dead letter for another reason must not also be out of time.
        event = send_event(self.chance.choice(ids), time, "SUCCESS", delivery_type="EMAIL")
        value = spoil(event, self.until)
        record = self._addressed(self.chance.choice(ids), value)
        headers = (("trace", self.chance.randbytes(8)), ("trace", b""), ("origin", b"\xff\xfe"))
        return replace_fields(record, headers=headers, expected=reason)

    def _addressed(self, campaign_id: str, value: bytes | None) -> SourceRecord:
        if self.keyed:
            key = campaign_id.encode()
            return SourceRecord(sum(key) % self.partitions, key, value)
        partition = self.chance.randrange(self.partitions)
        return SourceRecord(partition, self.chance.choice((None, self.chance.randbytes(6))), value)

    def event(self, campaign_id: str, time: int) -> dict[str, Any]:
        """Return one event that can be counted, or one of another kind."""
        kind = self.chance.random()
        if kind < self.foreign:
            return foreign_event(self.chance.choice(FOREIGN), campaign_id, time)
        event = send_event(
            campaign_id,
            time,
            self.chance.choices(STATUSES, (100, *(2 for _ in STATUSES[1:])))[0],
            treatment_id=self.chance.choice(("0", "1", "2", None)),
            delivery_type=self.chance.choice((*DELIVERY_TYPES, "CUSTOM", None, None)),
            version=self.chance.choices(("3.1", "3.0", "4.0", None), (80, 15, 3, 2))[0],
            context=self.chance.choice(CONTEXTS),
        )
        if kind < self.foreign + self.engagement:
            event["event_type"] = f"_campaign.{self.chance.choice(ENGAGEMENT)}"
            if self.chance.random() < 0.8:
                del event["attributes"]["campaign_send_status"]
        return event


def endpoint(channel: str) -> dict[str, Any]:
    """Return the context of an event: the endpoint record, JSON inside a string."""
    record = {"ChannelType": channel, "EndpointStatus": "ACTIVE", "OptOut": "NONE", "User": {}}
    return {"custom": {"endpoint": orjson.dumps(record).decode()}}


CONTEXTS: tuple[Any, ...] = (
    *(endpoint(channel) for channel in ("GCM", "EMAIL", "SMS", "CUSTOM", "APNS", "🎈")),
    {"custom": {"endpoint": '{"ChannelType": "GC'}},
    {"custom": {"endpoint": '{"ChannelType": 7}'}},
    {"custom": {"endpoint": '{"EndpointStatus": "ACTIVE"}'}},
    {"custom": {"endpoint": {"ChannelType": "SMS"}}},
    {"custom": {}},
    {},
    None,
)


def send_event(  # noqa: PLR0913 - what an event has
    campaign_id: str,
    time: int,
    status: str,
    *,
    treatment_id: str | None = "0",
    delivery_type: str | None = None,
    version: str | None = "3.1",
    context: Any = None,
    app_id: str = "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
) -> dict[str, Any]:
    """Return a `_campaign.send` event; null leaves the treatment, delivery type or version out."""
    optional = {"treatment_id": treatment_id, "delivery_type": delivery_type}
    event: dict[str, Any] = {
        "event_type": "_campaign.send",
        "event_timestamp": time,
        "arrival_timestamp": time + 68,
        "event_version": version,
        "application": {"app_id": app_id, "sdk": {}},
        "client": {"client_id": "d8dcf7c5-e81a-48ae-8313-f540cexample"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {
            **{name: value for name, value in optional.items() if value is not None},
            "campaign_activity_id": "5473285727f04865bc673e527example",
            "campaign_id": campaign_id,
            "campaign_send_status": status,
            "campaign_type": None,
        },
        "client_context": endpoint("GCM") if context is None else context,
        "awsAccountId": "123456789012",
    }
    if version is None:
        del event["event_version"]
    return event


def foreign_event(event_type: str, campaign_id: str, time: int) -> dict[str, Any]:
    """Return an event of another kind in the same stream."""
    attributes = {"campaign_id": campaign_id, "record_status": "SUCCESSFUL"}
    return {"event_type": event_type, "event_timestamp": time, "attributes": attributes}


def replace_fields(record: SourceRecord, **fields: Any) -> SourceRecord:
    """Return a record that differs in some fields."""
    return record._replace(**fields)


def again(mixture: Mixture, **fields: Any) -> Mixture:
    """Return a mixture that differs in some settings."""
    return replace(mixture, **fields)


# Records that cannot be counted. Each spoils an event; `until` is about the present.

Spoil = Callable[[dict[str, Any], int], bytes | None]


def _with(value: Any, *path: str) -> Spoil:
    def spoil(event: dict[str, Any], _: int) -> bytes:
        *outer, last = path
        target = event
        for name in outer:
            target = target[name]
        target[last] = value
        return orjson.dumps(event)

    return spoil


def _without(*path: str) -> Spoil:
    def spoil(event: dict[str, Any], _: int) -> bytes:
        *outer, last = path
        target = event
        for name in outer:
            target = target[name]
        del target[last]
        return orjson.dumps(event)

    return spoil


def _just(value: bytes | None) -> Spoil:
    return lambda _event, _until: value


def _at(time: Callable[[int], int]) -> Spoil:
    return lambda event, until: orjson.dumps({**event, "event_timestamp": time(until)})


def _bytes(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda event, _: change(orjson.dumps(event))


_STATUS = ("attributes", "campaign_send_status")
_CAMPAIGN = ("attributes", "campaign_id")

SPOILS: tuple[tuple[str, Spoil], ...] = (
    ("not-json", _just(None)),
    ("not-json", _just(b"")),
    ("not-json", _just(b"\x00\xff\xfe")),
    ("not-json", _just(b"an event")),
    ("not-json", _bytes(lambda value: value[:-7])),
    ("not-json", _bytes(lambda value: value + value)),
    ("not-json", _bytes(lambda value: value.replace(b'"123456789012"', b'"\xc3\x28"'))),
    ("not-json", _bytes(lambda value: value.replace(b'"123456789012"', b"NaN"))),
    ("not-an-object", _just(b"null")),
    ("not-an-object", _just(b"17")),
    ("not-an-object", _just(b'"_campaign.send"')),
    ("not-an-object", _bytes(lambda value: b"[" + value + b"]")),
    ("missing-field", _just(b"{}")),
    ("missing-field", _without("event_type")),
    ("missing-field", _with(None, "event_type")),
    ("missing-field", _without("event_timestamp")),
    ("missing-field", _without("attributes")),
    ("missing-field", _without(*_CAMPAIGN)),
    ("missing-field", _with(None, *_CAMPAIGN)),
    ("missing-field", _with("", *_CAMPAIGN)),
    ("missing-field", _without(*_STATUS)),
    ("wrong-type", _with(7, "event_type")),
    ("wrong-type", _with("1562109497426", "event_timestamp")),
    ("wrong-type", _with(True, "event_timestamp")),
    ("wrong-type", _with(1562109497426.5, "event_timestamp")),
    ("wrong-type", _with([], "attributes")),
    ("wrong-type", _with(17, *_CAMPAIGN)),
    ("wrong-type", _with({}, *_CAMPAIGN)),
    ("wrong-type", _with(["SUCCESS"], *_STATUS)),
    ("impossible-time", _at(lambda _: YEAR_2099_MS)),
    ("impossible-time", _at(lambda _: YEAR_1970_MS)),
    ("impossible-time", _at(lambda _: 0)),
    ("impossible-time", _at(lambda _: -1)),
    ("impossible-time", _at(lambda until: until + HOUR_MS)),
    ("too-large", _bytes(lambda value: value + b" " * 262_144)),
    ("expired", _at(lambda until: until - 50 * HOUR_MS)),
)
"""Every way to become a dead letter, with the reason for it."""
