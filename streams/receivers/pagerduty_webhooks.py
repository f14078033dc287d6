"""PagerDuty's own webhooks (V3): that somebody has acknowledged an incident there.

Sources: "Webhooks Overview", "Behavior" and "Verifying Signatures" in
https://github.com/PagerDuty/developer-docs (docs/webhooks). The `incident_key` of an incident that
was opened by an event of the Events API is the event's `dedup_key`.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256

import msgspec

SIGNATURE_HEADER = "X-PagerDuty-Signature"
ACKNOWLEDGED = "incident.acknowledged"
_PREFIX = "v1="
MOST_SIGNATURES = 20
"""Signatures of one webhook that are looked at: PagerDuty has one for each of its secrets."""


class Agent(msgspec.Struct):
    """Who or what initiated an event; `summary` is a person's name."""

    summary: str | None = None


class Incident(msgspec.Struct):
    """The parts of an incident that are used."""

    incident_key: str | None = None
    number: int | None = None
    html_url: str | None = None


class WebhookEvent(msgspec.Struct):
    """One event. `data` is an incident if `event_type` begins with `incident.` and no other dot."""

    event_type: str
    occurred_at: str | None = None
    agent: Agent | None = None
    data: Incident | None = None


class Webhook(msgspec.Struct):
    """The body of a webhook of PagerDuty, as far as it is used."""

    event: WebhookEvent


class _Type(msgspec.Struct):
    event_type: str


class _TypeOnly(msgspec.Struct):
    event: _Type


_decode = msgspec.json.Decoder(Webhook).decode
_decode_type = msgspec.json.Decoder(_TypeOnly).decode


def read(body: bytes) -> Webhook:
    """Return what a webhook says; of an event of another type than `ACKNOWLEDGED` only that.

    Raises:
        ValueError: it is no such webhook.
    """
    try:
        event_type = _decode_type(body).event.event_type
        if event_type != ACKNOWLEDGED:
            return Webhook(WebhookEvent(event_type))
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


class Signatures:
    """Tells whether PagerDuty has signed a webhook.

    Args:
        secrets: of the webhook subscriptions; any of them will do.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [secret.encode() for secret in secrets]

    def are_right(self, header: str, body: bytes) -> bool:
        """Tell whether any of the signatures in the header is of the body, to the byte."""
        given = [each.strip() for each in header.split(",")[:MOST_SIGNATURES]]
        signatures = [
            each.removeprefix(_PREFIX).encode(errors="surrogateescape")
            for each in given
            if each.startswith(_PREFIX)
        ]
        expected = [hmac.new(key, body, sha256).hexdigest().encode() for key in self._keys]
        # All of them: the time taken tells nothing.
        pairs = [(one, other) for one in signatures for other in expected]
        return any([hmac.compare_digest(*pair) for pair in pairs])  # noqa: C419
