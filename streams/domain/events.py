"""One record's bytes become counts, or a reason why not.

The format is Amazon Pinpoint's campaign event, "Campaign events" in its developer guide. Real
events lack `delivery_type` now and then, and bring fields that the guide does not name.

Each record takes one of two ways. The short one decodes only the fields that are counted, into
typed structures; it fits nearly every record. Whatever surprises it is examined whole, field by
field, so that the reason given is the right one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

import msgspec
import orjson

from streams.domain.blocks import (
    BLOCK_VERSION,
    Block,
    CampaignCounts,
    Dimensions,
    WindowCounts,
    partition_of,
)
from streams.domain.windows import WindowPolicy

SEND = "_campaign.send"
CAMPAIGN_PREFIX = "_campaign."
ENGAGEMENT = frozenset(
    {
        "_campaign.opened_notification",
        "_campaign.received_foreground",
        "_campaign.received_background",
    }
)
EARLIEST_MS = 1_262_304_000_000
"""2010-01-01T00:00:00Z: no campaign event is older."""

LONGEST_NAMES = 4096
"""Characters of a campaign's, treatment's, status' and channel's names together: each of them is
kept for every window, so what one event may name has to have a bound."""

KNOWN_VERSION_PREFIX = "3."
FOREIGN_FAMILIES = ("_SMS", "_email", "_journey", "_campaign", "_session", "_monetization")
"""Families of event types that a metric may name; all others are `custom`."""


class Reason(StrEnum):
    """Why a record was put aside. The words are part of the dead-letter topic's format."""

    NOT_JSON = "not-json"
    NOT_AN_OBJECT = "not-an-object"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    IMPOSSIBLE_TIME = "impossible-time"
    TOO_LARGE = "too-large"
    EXPIRED = "expired"
    NOT_A_BLOCK = "not-a-block"


class Rejected(NamedTuple):
    """A record that cannot be counted: its position in the batch, and why."""

    position: int
    reason: Reason
    detail: str


class RejectedError(Exception):
    """Raised within the examination of one record."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Intake:
    """What is taken in.

    Args:
        windows: the windows that events are counted in.
        max_record_bytes: a larger record is put aside.
        max_future_skew_ms: how far an event may be ahead of the broker's time.
    """

    windows: WindowPolicy
    max_record_bytes: int = 262_144
    max_future_skew_ms: int = 300_000


class _Attributes(msgspec.Struct, gc=False):
    campaign_id: str | None = None
    campaign_send_status: str | None = None
    treatment_id: str | None = None
    delivery_type: str | None = None


_NO_ATTRIBUTES = _Attributes()


class _Application(msgspec.Struct, gc=False):
    app_id: str | None = None


class _Event(msgspec.Struct, gc=False):
    event_type: str
    event_timestamp: int
    event_version: str | None = None
    attributes: _Attributes | None = None
    application: _Application | None = None
    client_context: msgspec.Raw = msgspec.Raw(b"null")


class _Custom(msgspec.Struct, gc=False):
    endpoint: str | None = None


class _ClientContext(msgspec.Struct, gc=False):
    custom: _Custom | None = None


class _Endpoint(msgspec.Struct, gc=False):
    ChannelType: str | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_context = msgspec.json.Decoder(_ClientContext).decode
_decode_endpoint = msgspec.json.Decoder(_Endpoint).decode

Key: TypeAlias = tuple[str, int, str, str | None, str | None, str | None]
"""Campaign, window start (s), outcome, treatment, delivery type, channel type."""


@dataclass(slots=True)
class Tally:
    """What was counted since the last flush, from any number of batches."""

    sends: dict[Key, int] = field(default_factory=dict)
    engagement: dict[Key, int] = field(default_factory=dict)
    apps: dict[str, str | None] = field(default_factory=dict)
    event_times: dict[int, int] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown_versions: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    received_at: int = 0

    def blocks(self, partitions: int) -> dict[int, Block]:
        """Arrange the counts as one block for each partition that has any."""
        campaigns: dict[str, dict[int, WindowCounts]] = {}
        for keyed, engaged in ((self.sends, False), (self.engagement, True)):
            for key, count in keyed.items():
                campaign_id, start = key[:2]
                windows = campaigns.setdefault(campaign_id, {})
                window = windows.get(start)
                if window is None:
                    window = windows[start] = WindowCounts(start, {}, {})
                counts = window.engagement if engaged else window.sends
                counts[Dimensions(*key[2:])] = count
        blocks: dict[int, Block] = {}
        for campaign_id, windows in campaigns.items():
            partition = partition_of(campaign_id, partitions)
            block = blocks.get(partition)
            if block is None:
                block = Block(BLOCK_VERSION, self.event_times, self.received_at, [])
                blocks[partition] = block
            block.campaigns.append(
                CampaignCounts(campaign_id, self.apps.get(campaign_id), list(windows.values()))
            )
        return blocks


class SourcePartition:
    """Counts the records of one source partition, in the order of their offsets.

    Args:
        number: the partition.
        intake: what is taken in.
        event_time: the largest event time (ms) counted before; 0 for none.
    """

    def __init__(self, number: int, intake: Intake, event_time: int = 0) -> None:
        self.number = number
        self.event_time = event_time
        self._intake = intake

    def count(  # noqa: C901, PLR0912, PLR0915 - one loop: a call per event is what it would cost
        self, values: Sequence[bytes | None], broker_time: int, tally: Tally
    ) -> list[Rejected]:
        """Add a batch of records to a tally.

        Event time follows the events, but not past `broker_time`: an event from the future is
        counted, if it is within the allowed skew, and moves nothing.

        Args:
            values: the records' values.
            broker_time: when the broker took in the newest of them (ms, UTC).
            tally: is added to.

        Returns:
            The records that were not counted and have to be put aside.
        """
        rejected: list[Rejected] = []
        size_ms = self._intake.windows.size * 1000
        max_bytes = self._intake.max_record_bytes
        latest = broker_time + self._intake.max_future_skew_ms
        event_time = self.event_time
        oldest = self._oldest(event_time)
        next_expiry = self._next_expiry(event_time)
        sends, engagement, apps = tally.sends, tally.engagement, tally.apps
        counted = 0

        for index, value in enumerate(values):
            event: _Event | None = None
            try:
                if value is not None and len(value) <= max_bytes:
                    if not value.isascii():
                        # The decoder does not look into the strings that it skips.
                        value.decode()
                    event = _decode_event(value)
            except (ValueError, RecursionError):
                pass
            if event is None:
                event = self._examine(index, value, rejected, tally)
                if event is None:
                    continue
            event_type = event.event_type
            attributes = event.attributes or _NO_ATTRIBUTES
            if event_type == SEND:
                counts = sends
                outcome = attributes.campaign_send_status
            elif event_type in ENGAGEMENT:
                counts = engagement
                outcome = event_type[len(CAMPAIGN_PREFIX) :]
            elif event_type:
                tally.skipped[family(event_type)] += 1
                continue
            else:
                rejected.append(Rejected(index, Reason.MISSING_FIELD, "event_type"))
                continue
            campaign_id = attributes.campaign_id
            time = event.event_timestamp
            if not (campaign_id and outcome and oldest <= time <= latest):
                why = self._why_not(index, event, latest, event_time)
                rejected.append(why)
                continue
            delivery_type = attributes.delivery_type
            if delivery_type is None or delivery_type == "CUSTOM":
                channel_type = _endpoint_channel(event.client_context)
            else:
                channel_type = delivery_type
            key = (
                campaign_id,
                (time - time % size_ms) // 1000,
                outcome,
                attributes.treatment_id,
                delivery_type,
                channel_type,
            )
            try:
                counts[key] += 1
            except KeyError:
                if sum(len(name) for name in (campaign_id, *key[2:]) if name) > LONGEST_NAMES:
                    detail = f"names of more than {LONGEST_NAMES} characters together"
                    rejected.append(Rejected(index, Reason.TOO_LARGE, detail))
                    continue
                counts[key] = 1
                if event.application is not None and event.application.app_id:
                    apps[campaign_id] = event.application.app_id
            counted += 1
            if time > event_time:
                event_time = min(time, max(event_time, broker_time))
                if event_time >= next_expiry:
                    oldest = self._oldest(event_time)
                    next_expiry = self._next_expiry(event_time)
            version = event.event_version
            if version is None or not version.startswith(KNOWN_VERSION_PREFIX):
                tally.unknown_versions[str(version)[:32]] += 1

        tally.counted += counted
        if counted:
            self.event_time = event_time
            tally.event_times[self.number] = event_time
            tally.received_at = tally.received_at or broker_time
        return rejected

    def _examine(
        self, index: int, value: bytes | None, rejected: list[Rejected], tally: Tally
    ) -> _Event | None:
        """Look closely at a record that the short way refused.

        Returns the event if it can be counted after all (a field that nobody needs had the wrong
        type); otherwise takes note of it as rejected or skipped.
        """
        try:
            return _careful_event(value, self._intake.max_record_bytes)
        except RejectedError as error:
            rejected.append(Rejected(index, error.reason, error.detail))
        except _ForeignError as error:
            tally.skipped[family(error.event_type)] += 1
        return None

    def _oldest(self, event_time: int) -> int:
        return max(EARLIEST_MS, self._intake.windows.oldest_countable(event_time))

    def _next_expiry(self, event_time: int) -> int:
        """Return the event time (ms) at which the oldest window goes that is kept now."""
        windows = self._intake.windows
        return windows.expires_at(windows.oldest_countable(event_time) // 1000)

    def _why_not(self, index: int, event: _Event, latest: int, event_time: int) -> Rejected:
        attributes = event.attributes or _NO_ATTRIBUTES
        time = event.event_timestamp
        if not attributes.campaign_id:
            return Rejected(index, Reason.MISSING_FIELD, "attributes.campaign_id")
        if event.event_type == SEND and not attributes.campaign_send_status:
            return Rejected(index, Reason.MISSING_FIELD, "attributes.campaign_send_status")
        if time < EARLIEST_MS:
            return Rejected(index, Reason.IMPOSSIBLE_TIME, f"event_timestamp {time} is before 2010")
        if time > latest:
            detail = f"event_timestamp {time} is ahead of the broker's time by more than allowed"
            return Rejected(index, Reason.IMPOSSIBLE_TIME, detail)
        detail = f"event_timestamp {time} is older than what is retained at {event_time}"
        return Rejected(index, Reason.EXPIRED, detail)


def family(event_type: str) -> str:
    """Return the family of a foreign event type, one of a fixed set of words."""
    prefix = event_type.split(".", 1)[0]
    return prefix if prefix in FOREIGN_FAMILIES else "custom"


def _endpoint_channel(context: msgspec.Raw) -> str | None:
    """Return the endpoint's own channel; an endpoint that cannot be read has none."""
    try:
        custom = _decode_context(context).custom
        if custom is None or custom.endpoint is None:
            return None
        return _decode_endpoint(custom.endpoint).ChannelType
    except (ValueError, RecursionError):
        return None


class _ForeignError(Exception):
    """The event is of another kind."""

    def __init__(self, event_type: str) -> None:
        super().__init__(event_type)
        self.event_type = event_type


def _careful_event(value: bytes | None, max_bytes: int) -> _Event:
    if value is None:
        raise RejectedError(Reason.NOT_JSON, "the record has no value")
    if len(value) > max_bytes:
        raise RejectedError(Reason.TOO_LARGE, f"{len(value)} bytes, more than {max_bytes}")
    try:
        data: Any = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RejectedError(Reason.NOT_JSON, str(error)) from error
    if not isinstance(data, dict):
        raise RejectedError(Reason.NOT_AN_OBJECT, f"a JSON {_type_name(data)}")
    event_type: str = _needed(data, "event_type", str)
    if event_type != SEND and event_type not in ENGAGEMENT:
        raise _ForeignError(event_type)
    attributes: dict[str, Any] = _needed(data, "attributes", dict)
    campaign_id: str = _needed(attributes, "campaign_id", str, "attributes.")
    time: int = _needed(data, "event_timestamp", int)
    status: str | None = None
    if event_type == SEND:
        status = _needed(attributes, "campaign_send_status", str, "attributes.")
    application = data.get("application")
    app_id = application.get("app_id") if isinstance(application, dict) else None
    return _Event(
        event_type=event_type,
        event_timestamp=time,
        event_version=_optional(data.get("event_version")),
        attributes=_Attributes(
            campaign_id,
            status,
            _optional(attributes.get("treatment_id")),
            _optional(attributes.get("delivery_type")),
        ),
        application=_Application(_optional(app_id)),
        client_context=msgspec.Raw(orjson.dumps(data.get("client_context"))),
    )


def _needed(data: dict[str, Any], name: str, kind: type, where: str = "") -> Any:
    value = data.get(name)
    if value is None or value == "":
        raise RejectedError(Reason.MISSING_FIELD, where + name)
    if not isinstance(value, kind) or isinstance(value, bool):
        detail = f"{where}{name} is a JSON {_type_name(value)}"
        raise RejectedError(Reason.WRONG_TYPE, detail)
    return value


def _optional(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _type_name(value: object) -> str:
    names = {str: "string", bool: "boolean", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "number")
