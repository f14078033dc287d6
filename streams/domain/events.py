"""One record's bytes become an event, or a reason why not.

The format is Amazon Pinpoint's campaign event, "Campaign events" in its developer guide. Real
events lack `delivery_type` now and then, and bring fields that the guide does not name.

Each record takes one of two ways. The short one decodes only what every event is counted by, into
typed structures; it fits nearly every record. Whatever surprises it is parsed whole and examined
field by field. Both ways give the same answer, and it depends on the needed fields alone: whatever
JSON allows in another field (RFC 8259: half a surrogate, numbers beyond a double, a name that is
there twice; the last one counts) changes nothing. What is needed now and then, such as the app of a
campaign that is seen for the first time, is decoded then.
"""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn, Self

import msgspec

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

DEEPEST = 500
"""Levels of arrays and objects in a record, or in the endpoint that it has in a string. Decoders
stop where the interpreter's stack does, which differs from one Python to the next; all of them,
from 3.11 on, reach this far."""

SURELY_FLAT = 2 * DEEPEST
"""Bytes of JSON that cannot nest deeper: each level has a bracket at its beginning and end. What
leaves them open is no JSON, and a decoder may find the interpreter's bound before it finds that."""

OWN_CHANNEL = frozenset({"CUSTOM", "", None})
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
    UNPROCESSABLE = "unprocessable"
    UNREADABLE = "unreadable"


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


class Unreadable(bytes):
    """The bytes of a whole batch that cannot be taken apart; `why` says what is wrong with it."""

    why: str

    def __new__(cls, batch: bytes, why: str) -> Self:
        """Give the bytes a reason."""
        value = super().__new__(cls, batch)
        value.why = why
        return value


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


class _Endpoint(msgspec.Struct, gc=False):
    ChannelType: str | None = None


class _Custom(msgspec.Struct, gc=False):
    endpoint: str | _Endpoint | None = None


class _ClientContext(msgspec.Struct, gc=False):
    custom: _Custom | None = None


class _WithEndpoint(msgspec.Struct, gc=False):
    client_context: _ClientContext | None = None
    endpoint: str | _Endpoint | None = None


decode = msgspec.json.Decoder(Event).decode
_decode_application = msgspec.json.Decoder(_WithApplication).decode
_decode_with_endpoint = msgspec.json.Decoder(_WithEndpoint).decode
_decode_endpoint = msgspec.json.Decoder(_Endpoint).decode


def app_of(value: bytes) -> str | None:
    """Return the app that an event names; one with an impossibly long name is none."""
    try:
        application = _decode_application(value).application
    except ValueError:
        app_id = _text(_member(_parse_if_json(value), "application", "app_id"))
    else:
        app_id = application.app_id if application is not None else None
    return app_id if app_id and len(app_id) <= LONGEST_APP else None


def endpoint_channel(value: bytes) -> str | None:
    """Return the endpoint's own channel; an endpoint that cannot be read has none.

    The endpoint is in the client's context, or beside the attributes as in engagement events from
    Android; it is JSON inside a string, or an object.
    """
    try:
        event = _decode_with_endpoint(value)
    except ValueError:
        data = _parse_if_json(value)
        inner: object = _member(data, "client_context", "custom", "endpoint")
        outer: object = _member(data, "endpoint")
    else:
        custom = event.client_context.custom if event.client_context is not None else None
        inner, outer = custom.endpoint if custom is not None else None, event.endpoint
    return _channel_of(inner) or _channel_of(outer)


def _channel_of(endpoint: object) -> str | None:
    if isinstance(endpoint, _Endpoint):
        return endpoint.ChannelType or None
    if not isinstance(endpoint, str):
        return _text(_member(endpoint, "ChannelType"))
    if len(endpoint) > DEEPEST and nests_too_deeply(endpoint.encode(errors="surrogatepass")):
        return None
    try:
        return _decode_endpoint(endpoint).ChannelType or None
    except ValueError:
        return _text(_member(_parse_if_json(endpoint), "ChannelType"))


def family(event_type: str) -> str:
    """Return the family of a foreign event type, one of a fixed set of words."""
    prefix = event_type.split(".", 1)[0]
    return prefix if prefix in FOREIGN_FAMILIES else "custom"


class ForeignError(Exception):
    """The event is of another kind."""

    def __init__(self, event_type: str) -> None:
        super().__init__(event_type)
        self.event_type = event_type


def check_readable(value: bytes, max_bytes: int) -> None:
    """See that a record is within the bounds of what is decoded.

    Raises:
        RejectedError: if it is too large, or nests too deeply.
    """
    if len(value) > max_bytes:
        raise RejectedError(Reason.TOO_LARGE, f"{len(value)} bytes, more than {max_bytes}")
    if nests_too_deeply(value):
        raise RejectedError(Reason.NOT_JSON, f"nests deeper than {DEEPEST} levels")


def nests_too_deeply(value: bytes) -> bool:
    """Tell whether arrays and objects nest deeper than `DEEPEST`, in JSON text."""
    if value.count(b"[") + value.count(b"{") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", value).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_LEVEL.__getitem__, brackets)), default=0) > DEEPEST


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LEVEL = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _LEVEL.keys())


def careful(value: bytes | None, max_bytes: int) -> Event:
    """Examine a record that the short way refused.

    Returns:
        The event, if it can be counted after all: a field that nobody needs surprised, or the time
        is a whole number that is written as a fraction.

    Raises:
        RejectedError: if it cannot be counted.
        ForeignError: if it is an event of another kind.
    """
    if value is None:
        raise RejectedError(Reason.NOT_JSON, "the record has no value")
    if isinstance(value, Unreadable):
        raise RejectedError(Reason.UNREADABLE, value.why)
    check_readable(value, max_bytes)
    try:
        data = _parse(value)
    except ValueError as error:
        raise RejectedError(Reason.NOT_JSON, str(error)) from error
    if not isinstance(data, dict):
        raise RejectedError(Reason.NOT_AN_OBJECT, f"a JSON {_type_name(data)}")
    event_type = _needed_text(data, "event_type")
    if event_type != SEND and event_type not in ENGAGEMENT:
        raise ForeignError(event_type)
    attributes: dict[str, Any] = _needed(data, "attributes", dict)
    campaign_id = _needed_text(attributes, "campaign_id", "attributes.")
    time = _whole(_needed(data, "event_timestamp", (int, float)), "event_timestamp")
    status = ""
    if event_type == SEND:
        status = _needed_text(attributes, "campaign_send_status", "attributes.")
    return Event(
        event_type=event_type,
        event_timestamp=time,
        event_version=_text(data.get("event_version")),
        attributes=Attributes(
            campaign_id,
            status,
            _text(attributes.get("treatment_id")),
            _text(attributes.get("delivery_type")),
        ),
    )


LONGEST_INTEGER = 20
"""Characters of an integer that is read to its last digit: of 64 bits, with its sign."""


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        # Whatever it stands for has passed long before, or is to come long after.
        return -(2**64) if text.startswith("-") else 2**64
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode_whole = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse_constant).decode


def _parse(value: bytes) -> Any:
    """Parse all of a record; of names that are there twice, the last one counts.

    Raises:
        ValueError: if it is not JSON in UTF-8.
    """
    return _decode_whole(value.decode())


def _parse_if_json(value: bytes | str) -> Any:
    """Parse what is no reason to reject its event; return null if it cannot be read."""
    try:
        return _decode_whole(value if isinstance(value, str) else value.decode())
    except ValueError:
        return None


def _member(data: object, *path: str) -> object:
    """Return what is at a path of names; null where there is nothing."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _needed(data: dict[str, Any], name: str, kind: type | tuple[type, ...], where: str = "") -> Any:
    value = data.get(name)
    if value is None or value == "":
        raise RejectedError(Reason.MISSING_FIELD, where + name)
    if not isinstance(value, kind) or isinstance(value, bool):
        detail = f"{where}{name} is a JSON {_type_name(value)}"
        raise RejectedError(Reason.WRONG_TYPE, detail)
    return value


def _needed_text(data: dict[str, Any], name: str, where: str = "") -> str:
    text: str = _needed(data, name, str, where)
    if not _is_unicode(text):
        raise RejectedError(Reason.WRONG_TYPE, f"{where}{name} has half of a surrogate pair")
    return text


def _whole(number: float, name: str) -> int:
    if isinstance(number, int):
        return number
    if not (math.isfinite(number) and number.is_integer()):
        raise RejectedError(Reason.WRONG_TYPE, f"{name} is not a whole number: {number}")
    return int(number)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and _is_unicode(value) else None


def _is_unicode(text: str) -> bool:
    """Tell whether a string can be written as UTF-8: JSON can escape half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(value: object) -> str:
    names = {str: "string", bool: "boolean", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "number")
