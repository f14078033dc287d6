"""`cloudevents`: CloudEvents 1.0 over HTTP, structured or binary.

Sources: CloudEvents 1.0.2, its JSON event format, its HTTP protocol binding, and HTTP 1.1 Web Hooks
for Event Delivery (https://github.com/cloudevents/spec). An answer means what it means for every
receiver: that specification, too, refuses redirects, and knows 410 Gone and Retry-After.
"""

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, SecretStr

from streams.domain.deliveries import Delivery
from streams.receivers.receiver import HttpReceiver, Request
from streams.settings import Token

SPEC_VERSION = "1.0"
STRUCTURED_TYPE = "application/cloudevents+json"
DATA_TYPE = "application/json"

_URI_REFERENCE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
"""What a header value may hold as it is; the rest is percent-encoded (HTTP binding, 3.1.3.2)."""


def _source(source: str) -> str:
    if not _URI_REFERENCE.fullmatch(source):
        raise ValueError("expected a URI or a path, such as /campaign-streams")
    return source


class Attributes(msgspec.Struct):
    """The context attributes of an event, as the JSON format orders and names them."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    subject: str


class Event(Attributes):
    """An event in the JSON event format."""

    datacontenttype: str
    data: msgspec.Raw


class _Transition(msgspec.Struct):
    """The parts of a transition, with its data to the byte."""

    type: str
    timestamp: str
    data: msgspec.Raw


_decode = msgspec.json.Decoder(_Transition).decode
_encode = msgspec.json.Encoder().encode


class CloudEventsReceiver(HttpReceiver):
    """Gets each transition as an event.

    Its `id` is the transition's webhook id, its `type` and `time` are the transition's, `data` is
    the transition's data, and `subject` is the campaign's id, percent-encoded as in a URL, because
    an attribute must not hold control characters and an id may.

    Attributes:
        mode: `structured` has attributes and data in the body, `binary` the attributes in headers.
        source: the events' `source`, a URI reference.
        token: sent as `Authorization: Bearer …`; null for none.
    """

    example: ClassVar[str] = """\
- name: events
  kind: cloudevents                    # CloudEvents 1.0 over HTTP
  url: https://events.example.com/
  mode: structured                     # structured: all in the body; binary: attributes in headers
  source: /campaign-streams            # of the events; a URI reference
  token_file: /run/secrets/events      # or token: …; sent as a bearer token; null for none
  timeout: 10s
  matchers: []                         # [severity="critical"]: only alerts that all of them match
"""

    told_of_receivers: ClassVar[bool] = True
    told_of_silences: ClassVar[bool] = True

    kind: Literal["cloudevents"] = "cloudevents"
    mode: Literal["structured", "binary"] = "structured"
    source: Annotated[str, AfterValidator(_source)] = "/campaign-streams"
    token: Token | None = None

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of the event; it is the same at any time."""
        del now
        transition = _decode(delivery.transition)
        attributes = Attributes(
            specversion=SPEC_VERSION,
            id=delivery.webhook_id,
            source=self.source,
            type=transition.type,
            time=transition.timestamp,
            # An event about a receiver is about no campaign.
            subject=quote(delivery.campaign_id or delivery.alert_id, safe=""),
        )
        headers = {} if self.token is None else _authorization(self.token)
        if self.mode == "binary":
            headers |= {"Content-Type": DATA_TYPE, **_in_headers(attributes)}
            return Request("POST", self.url, headers, bytes(transition.data))
        event = Event(
            **msgspec.structs.asdict(attributes),
            datacontenttype=DATA_TYPE,
            data=transition.data,
        )
        headers["Content-Type"] = STRUCTURED_TYPE
        return Request("POST", self.url, headers, _encode(event))


def _authorization(token: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.get_secret_value()}"}


def _in_headers(attributes: Attributes) -> dict[str, str]:
    return {
        f"ce-{name}": quote(value, safe=_PRINTABLE)
        for name, value in msgspec.structs.asdict(attributes).items()
    }
