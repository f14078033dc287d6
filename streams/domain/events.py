"""One record's bytes become an event, or a reason why not.

The format is Amazon Pinpoint's campaign event, "Campaign events" in its developer guide. Real
events lack `delivery_type` now and then, and bring fields that the guide does not name.

Each record takes one of two ways. The short one decodes only what every event is counted by, into
typed structures; it fits nearly every record. Whatever surprises it is examined whole, field by
field, so that the reason given is the right one. What is needed now and then, such as the app of a
campaign that is seen for the first time, is decoded then.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import orjson

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

LONGEST_APP = 1024
"""Characters of an app's name; those of the vendor have 32."""

OWN_CHANNEL = frozenset({"CUSTOM", None})
"""Delivery types that do not say which channel it is; then the endpoint does."""

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
    """A record that cannot be counted."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """What a send is counted by, apart from its time; `outcome` is its status."""

    campaign_id: str = ""
    outcome: str = msgspec.field(name="campaign_send_status", default="")
    treatment_id: str | None = None
    delivery_type: str | None = None


class Event(msgspec.Struct, gc=False):
    """What is decoded of each event; the time is in ms."""

    event_type: str
    event_timestamp: int
    attributes: Attributes = Attributes()
    event_version: str | None = None


class _Application(msgspec.Struct, gc=False):
    app_id: str | None = None


class _WithApplication(msgspec.Struct, gc=False):
    application: _Application | None = None


class _Custom(msgspec.Struct, gc=False):
    endpoint: str | None = None


class _ClientContext(msgspec.Struct, gc=False):
    custom: _Custom | None = None


class _WithContext(msgspec.Struct, gc=False):
    client_context: _ClientContext | None = None


class _Endpoint(msgspec.Struct, gc=False):
    ChannelType: str | None = None


decode = msgspec.json.Decoder(Event).decode
_decode_application = msgspec.json.Decoder(_WithApplication).decode
_decode_context = msgspec.json.Decoder(_WithContext).decode
_decode_endpoint = msgspec.json.Decoder(_Endpoint).decode


def app_of(value: bytes) -> str | None:
    """Return the app that an event names; one with an impossibly long name is none."""
    try:
        application = _decode_application(value).application
    except (ValueError, RecursionError):
        return None
    app_id = application.app_id if application is not None else None
    return app_id if app_id and len(app_id) <= LONGEST_APP else None


def endpoint_channel(value: bytes) -> str | None:
    """Return the endpoint's own channel; an endpoint that cannot be read has none."""
    try:
        context = _decode_context(value).client_context
        if context is None or context.custom is None or context.custom.endpoint is None:
            return None
        return _decode_endpoint(context.custom.endpoint).ChannelType
    except (ValueError, RecursionError):
        return None


def family(event_type: str) -> str:
    """Return the family of a foreign event type, one of a fixed set of words."""
    prefix = event_type.split(".", 1)[0]
    return prefix if prefix in FOREIGN_FAMILIES else "custom"


class ForeignError(Exception):
    """The event is of another kind."""

    def __init__(self, event_type: str) -> None:
        super().__init__(event_type)
        self.event_type = event_type


def careful(value: bytes | None, max_bytes: int) -> Event:
    """Examine a record that the short way refused.

    Returns:
        The event, if it can be counted after all: a field that nobody needs had a wrong type.

    Raises:
        RejectedError: if it cannot be counted.
        ForeignError: if it is an event of another kind.
    """
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
        raise ForeignError(event_type)
    attributes: dict[str, Any] = _needed(data, "attributes", dict)
    campaign_id: str = _needed(attributes, "campaign_id", str, "attributes.")
    time: int = _needed(data, "event_timestamp", int)
    status = ""
    if event_type == SEND:
        status = _needed(attributes, "campaign_send_status", str, "attributes.")
    return Event(
        event_type=event_type,
        event_timestamp=time,
        event_version=_optional(data.get("event_version")),
        attributes=Attributes(
            campaign_id,
            status,
            _optional(attributes.get("treatment_id")),
            _optional(attributes.get("delivery_type")),
        ),
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
