"""What one receiver is told of another one: that it fails, takes webhooks again, or is disabled.

Such an event goes through the outbox as a transition does, with a body of the same shape.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from streams.domain.deliveries import Delivery, decided
from streams.domain.transitions import in_ms, rfc3339

ReceiverChange: TypeAlias = Literal["failing", "recovered", "disabled"]

ReceiverEventType: TypeAlias = Literal[
    "receiver.failing", "receiver.recovered", "receiver.disabled"
]
TYPES: Mapping[ReceiverChange, ReceiverEventType] = {
    "failing": "receiver.failing",
    "recovered": "receiver.recovered",
    "disabled": "receiver.disabled",
}
PREFIX = "receiver."
"""Of the types of these events, where those of transitions begin with `campaign.alert.`."""


class ReceiverEventData(msgspec.Struct):
    """What is the matter with a receiver.

    Attributes:
        receiver: its name.
        failing_since: when the first of its failures in a row was; null if it answered 410.
        reason: its newest failure; null if it takes webhooks again.
        summary: a sentence.
    """

    receiver: str
    failing_since: str | None
    reason: str | None
    summary: str


class ReceiverEvent(msgspec.Struct):
    """One event about a receiver, as another one is sent it."""

    type: ReceiverEventType
    timestamp: str
    data: ReceiverEventData


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ReceiverEvent).decode
_START = b'{"type":"' + PREFIX.encode()


def read(transition: msgspec.Raw) -> ReceiverEvent | None:
    """Return the event that a delivery holds; null if it holds a transition of an alert."""
    body = bytes(transition)
    return _decode(body) if body.startswith(_START) else None


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of an event about a receiver."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "campaign-streams receiver event",
        **msgspec.json.schema(ReceiverEvent),
    }


def delivery_of(  # noqa: PLR0913, PLR0917 - what an event says
    to: str,
    change: ReceiverChange,
    receiver: str,
    failing_since: float | None,
    reason: str | None,
    now: float,
) -> Delivery:
    """Return the delivery of an event, decided at `now` (s, UTC).

    Args:
        to: the receiver that is told.
        change: of the other one.
        receiver: the other one's name.
        failing_since: when the first of its failures in a row was (s); null if it answered 410.
        reason: its newest failure; null if it takes webhooks again.
        now: wall-clock time.
    """
    since = None if failing_since is None else rfc3339(failing_since)
    data = ReceiverEventData(receiver, since, reason, _summary(change, receiver, since, reason))
    event = ReceiverEvent(TYPES[change], rfc3339(now), data)
    # In order by time; there is no campaign and no alert.
    return decided(f"{PREFIX}{receiver}", in_ms(now), to, msgspec.Raw(_encode(event)), now)


def _summary(change: ReceiverChange, name: str, since: str | None, reason: str | None) -> str:
    match change:
        case "failing":
            return f"receiver {name} fails since {since}: {reason}"
        case "recovered":
            return f"receiver {name} takes webhooks again; it failed since {since}"
        case "disabled":
            failed = f", which failed since {since}," if since else ""
            return f"receiver {name}{failed} is disabled and gets nothing: {reason}"
