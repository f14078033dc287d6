"""A second event format, and a worker that knows it: one flat JSON object for each send.

    {"campaign": "c", "result": "bounced", "at": 1795711750000, "variant": "b", "via": "sms",
     "tenant": "shop"}

`python -m tests.support.flat_format worker …` is `campaign-streams worker …` with this format in
the registry. It has nothing of the product's own format but JSON: no types of events, no versions,
nothing nested, other names and other statuses.
"""

from typing import Self

import msgspec

from streams.__main__ import main
from streams.domain.events import Event
from streams.domain.formats import json_text
from streams.domain.formats.event_format import EventFormat, Spellings, Statuses
from streams.domain.formats.registry import FORMATS
from streams.domain.partial_counts import Dimensions

MODULE = "tests.support.flat_format"
SEND = "send"


class FlatEvent(msgspec.Struct, gc=False):
    """One send; it is its own attributes."""

    time: int = msgspec.field(name="at")
    campaign_id: str = msgspec.field(name="campaign", default="")
    outcome: str = msgspec.field(name="result", default="")
    treatment_id: str | None = msgspec.field(name="variant", default=None)
    delivery_type: str | None = msgspec.field(name="via", default=None)

    event_type = SEND
    version = None

    @property
    def attributes(self) -> Self:
        """The event itself."""
        return self


class _WithTenant(msgspec.Struct, gc=False):
    tenant: str | None = None


_decode_tenant = msgspec.json.Decoder(_WithTenant).decode


def classify(value: bytes) -> Event:
    """Read a send field by field."""
    data = json_text.parse_object(value)
    return FlatEvent(
        json_text.needed_whole(data, "at"),
        json_text.needed_text(data, "campaign"),
        json_text.needed_text(data, "result"),
        json_text.text(data.get("variant")),
        json_text.text(data.get("via")),
    )


def dimensions_of(event: Event, _: bytes) -> Dimensions:
    """Return what a send is counted by that does not say how it was sent."""
    attributes = event.attributes
    return Dimensions(attributes.outcome, attributes.treatment_id or None, None, None)


def app_of(value: bytes) -> str | None:
    """Return the tenant."""
    try:
        return _decode_tenant(value).tenant
    except msgspec.DecodeError:
        return None


FORMAT = EventFormat(
    name="flat",
    decode=msgspec.json.Decoder(FlatEvent).decode,
    classify=classify,
    check=json_text.check,
    unchecked_bytes=json_text.SURELY_FLAT,
    spellings=Spellings(event_type="", time="at", campaign_id="campaign", outcome="result"),
    send_type=SEND,
    unclear_deliveries=frozenset({"", None}),
    dimensions_of=dimensions_of,
    family_of=str,
    app_of=app_of,
    version_prefix=None,
    statuses=Statuses(success=("delivered",), failure=("bounced", "invalid")),
)

if __name__ == "__main__":
    FORMATS[FORMAT.name] = FORMAT
    main()
