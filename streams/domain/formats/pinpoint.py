"""Amazon Pinpoint's campaign events: JSON, as Pinpoint's event streams emit them.

Source of the format: "Campaign events" in the Amazon Pinpoint developer guide. Real events lack
`delivery_type` now and then, and bring fields that the guide does not name.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from streams.domain.events import Event, ForeignError
from streams.domain.formats import json_text
from streams.domain.formats.event_format import EventFormat, Spellings, Statuses
from streams.domain.formats.json_text import DEEPEST, member, needed, needed_text, text
from streams.domain.partial_counts import Dimensions, SampleFields
from streams.domain.redaction import redacted, without_emails

SEND = "_campaign.send"
CAMPAIGN_PREFIX = "_campaign."
ENGAGEMENT = frozenset(
    {
        "_campaign.opened_notification",
        "_campaign.received_foreground",
        "_campaign.received_background",
    }
)
FOREIGN_FAMILIES = ("_SMS", "_email", "_journey", "_campaign", "_session", "_monetization")
"""Families of event types that a metric may name; all others are `custom`."""

UNCLEAR_DELIVERIES: frozenset[str | None] = frozenset({"CUSTOM", "", None})
"""Delivery types that do not name the channel; then the endpoint does."""

STATUSES = Statuses(
    success=("SUCCESS",),
    failure=(
        "FAILURE",
        "FAILURE_PERMANENT",
        "TRANSIENT_FAILURE",
        "UNKNOWN",
        "HOOK_FAILURE",
        "CUSTOM_DELIVERY_FAILURE",
        "RECOMMENDATION_FAILURE",
        "UNSUPPORTED_CHANNEL",
    ),
    throttled=("THROTTLED",),
    suppressed=(
        "DAILY_CAP",
        "CAMPAIGN_CAP",
        "QUIET_TIME",
        "HOLDOUT",
        "EXPIRED",
        "DUPLICATE_ADDRESS",
    ),
)
"""The values of `campaign_send_status`. What is suppressed was not attempted, by a policy."""


class PinpointAttributes(msgspec.Struct, frozen=True, gc=False):
    """The attributes that a send is counted by."""

    campaign_id: str = ""
    outcome: str = msgspec.field(name="campaign_send_status", default="")
    treatment_id: str | None = None
    delivery_type: str | None = None


class PinpointEvent(msgspec.Struct, gc=False):
    """What the fast path decodes."""

    event_type: str
    time: int = msgspec.field(name="event_timestamp")
    attributes: PinpointAttributes = PinpointAttributes()
    version: str | None = msgspec.field(name="event_version", default=None)


class _Application(msgspec.Struct, gc=False):
    app_id: str | None = None


class _WithApplication(msgspec.Struct, gc=False):
    application: _Application | None = None


class _Endpoint(msgspec.Struct, gc=False):
    ChannelType: str | None = None


class _Custom(msgspec.Struct, gc=False):
    endpoint: str | _Endpoint | None = None


class _ClientContext(msgspec.Struct, gc=False):
    custom: _Custom | None = None


class _WithEndpoint(msgspec.Struct, gc=False):
    client_context: _ClientContext | None = None
    endpoint: str | _Endpoint | None = None


_decode_application = msgspec.json.Decoder(_WithApplication).decode
_decode_with_endpoint = msgspec.json.Decoder(_WithEndpoint).decode
_decode_endpoint = msgspec.json.Decoder(_Endpoint).decode
_decode_any = msgspec.json.Decoder().decode


def classify(value: bytes) -> Event:
    """Read an event field by field.

    It can be counted although the fast path refused it if a field surprised that nobody needs, or
    if the time is a whole number that is written as a fraction.
    """
    data = json_text.parse_object(value)
    event_type = needed_text(data, "event_type")
    if event_type != SEND and event_type not in ENGAGEMENT:
        raise ForeignError(event_type)
    attributes: dict[str, Any] = needed(data, "attributes", dict)
    campaign_id = needed_text(attributes, "campaign_id", "attributes.")
    time = json_text.needed_whole(data, "event_timestamp")
    status = ""
    if event_type == SEND:
        status = needed_text(attributes, "campaign_send_status", "attributes.")
    return PinpointEvent(
        event_type=event_type,
        time=time,
        version=text(data.get("event_version")),
        attributes=PinpointAttributes(
            campaign_id,
            status,
            text(attributes.get("treatment_id")),
            text(attributes.get("delivery_type")),
        ),
    )


def dimensions_of(event: Event, value: bytes) -> Dimensions | None:
    """Return what an event is counted by; engagement by its type, without `CAMPAIGN_PREFIX`."""
    engagement = event.event_type != SEND
    if engagement and event.event_type not in ENGAGEMENT:
        return None
    attributes = event.attributes
    delivery = channel = attributes.delivery_type or None
    if delivery in UNCLEAR_DELIVERIES:
        channel = endpoint_channel(value)
    outcome = event.event_type[len(CAMPAIGN_PREFIX) :] if engagement else attributes.outcome
    return Dimensions(outcome, attributes.treatment_id or None, delivery, channel, engagement)


def endpoint_channel(value: bytes) -> str | None:
    """Return the endpoint's own channel; an endpoint that cannot be read has none.

    The endpoint is in the client's context, or beside the attributes as in engagement events from
    Android; it is JSON inside a string, or an object.
    """
    try:
        event = _decode_with_endpoint(value)
    except ValueError:
        data = json_text.parse_if_json(value)
        inner: object = member(data, "client_context", "custom", "endpoint")
        outer: object = member(data, "endpoint")
    else:
        custom = event.client_context.custom if event.client_context is not None else None
        inner, outer = custom.endpoint if custom is not None else None, event.endpoint
    return _channel_of(inner) or _channel_of(outer)


def _channel_of(endpoint: object) -> str | None:
    if isinstance(endpoint, _Endpoint):
        return endpoint.ChannelType or None
    if not isinstance(endpoint, str):
        return text(member(endpoint, "ChannelType"))
    if len(endpoint) > DEEPEST and json_text.nests_too_deeply(
        endpoint.encode(errors="surrogatepass")
    ):
        return None
    try:
        return _decode_endpoint(endpoint).ChannelType or None
    except ValueError:
        return text(member(json_text.parse_if_json(endpoint), "ChannelType"))


def family_of(event_type: str) -> str:
    """Return which of `FOREIGN_FAMILIES` an event type that is not counted belongs to."""
    prefix = event_type.split(".", 1)[0]
    return prefix if prefix in FOREIGN_FAMILIES else "custom"


def app_of(value: bytes) -> str | None:
    """Return the app (Pinpoint's project) that an event names."""
    try:
        application = _decode_application(value).application
    except ValueError:
        return text(member(json_text.parse_if_json(value), "application", "app_id"))
    return application.app_id if application is not None else None


SHOWN_IDS = (
    "event_type",
    "event_version",
    "application.app_id",
    "attributes.campaign_id",
    "attributes.campaign_activity_id",
    "attributes.campaign_type",
    "attributes.treatment_id",
    "attributes.delivery_type",
    "attributes.campaign_send_status",
)
SHOWN_TEXTS = (
    "application.sdk.name",
    "application.sdk.version",
    "device.platform.name",
    "device.platform.version",
    "attributes.campaign_send_status_message",
    "attributes.status_message",
    "attributes.reason",
    "attributes.failure_reason",
    "attributes.error",
    "attributes.error_code",
    "attributes.error_message",
)
SHOWN_TIMES = ("event_timestamp", "arrival_timestamp")
"""The only fields of an event that a sample may have. None is of an endpoint or a user, and none is
an attribute that an app makes up: a field that is not listed here is never shown."""
CHANNEL = "endpoint.ChannelType"
_ID_PATHS = [(path, path.split(".")) for path in SHOWN_IDS]
_TEXT_PATHS = [(path, path.split(".")) for path in SHOWN_TEXTS]
LONGEST_SHOWN = 256
"""Characters of a value that are shown."""
LONGEST_READ = 4_096
"""Characters of a value; a longer one is left out."""
LARGEST_SHOWN = 2**53
"""Larger numbers are no times, and not every reader of JSON can read them."""


def sample_of(value: bytes) -> SampleFields:
    """Return the fields of an event that may be shown, cut to `LONGEST_SHOWN`.

    They are cut when they are clean: half of an address does not look like one.
    """
    try:
        data = _decode_any(value)
    except ValueError:
        data = json_text.parse_if_json(value)
    fields: SampleFields = {}
    for paths, clean in ((_ID_PATHS, without_emails), (_TEXT_PATHS, redacted)):
        for path, names in paths:
            found = text(_at(data, names))
            if found is not None and len(found) <= LONGEST_READ:
                fields[path] = clean(found)[:LONGEST_SHOWN]
    for path in SHOWN_TIMES:
        time = _at(data, (path,))
        if isinstance(time, int) and not isinstance(time, bool) and abs(time) < LARGEST_SHOWN:
            fields[path] = time
    inner, outer = _at(data, ("client_context", "custom", "endpoint")), _at(data, ("endpoint",))
    channel = _channel_of(inner) or _channel_of(outer)
    if channel is not None:
        fields[CHANNEL] = without_emails(channel)[:LONGEST_SHOWN]
    return fields


def _at(data: object, path: Sequence[str]) -> object:
    """Return what is at a path; null where there is nothing."""
    for name in path:
        if not isinstance(data, dict):
            return None
        data = data.get(name)
    return data


FORMAT = EventFormat(
    name="pinpoint",
    decode=msgspec.json.Decoder(PinpointEvent).decode,
    classify=classify,
    check=json_text.check,
    unchecked_bytes=json_text.SURELY_FLAT,
    spellings=Spellings(
        event_type="event_type",
        time="event_timestamp",
        campaign_id="attributes.campaign_id",
        outcome="attributes.campaign_send_status",
    ),
    send_type=SEND,
    unclear_deliveries=UNCLEAR_DELIVERIES,
    dimensions_of=dimensions_of,
    family_of=family_of,
    app_of=app_of,
    version_prefix="3.",
    statuses=STATUSES,
    sample_of=sample_of,
)
