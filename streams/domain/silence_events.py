"""What receivers are told before a silence ends that keeps alerts from them.

Such an event goes through the outbox as a transition does, with a body of the same shape. Times are
RFC 3339 in UTC.
"""

from typing import Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from streams.domain.deliveries import Delivery, decided
from streams.domain.pages import silences_page
from streams.domain.silences.silence import Silence
from streams.domain.transitions import in_ms, rfc3339

PREFIX = "silence."
"""Of the types of these events."""
ENDING: Final = "silence.ending"
LONGEST_SHOWN = 200
"""Characters of the matchers in a summary, and of the comment; both are whole elsewhere."""


class SilenceLinks(msgspec.Struct):
    """Absolute URLs: the silence, of the API (JSON), and the dashboard's page of silences.

    The page is left out of events of older versions.
    """

    silence: str
    page: str | UnsetType = UNSET


class SilenceEventData(msgspec.Struct):
    """A silence that ends soon.

    `ends_at` is when it ends for good. `alerts` is how many alerts fire that it keeps from this
    receiver, and that nothing else silences then. `links` is null where the worker has no URL that
    others can follow.
    """

    silence_id: str
    matchers: list[str]
    starts_at: str
    ends_at: str
    created_by: str
    comment: str
    alerts: int
    summary: str
    links: SilenceLinks | None


class SilenceEvent(msgspec.Struct):
    """One event, as it is sent."""

    type: Literal["silence.ending"]
    timestamp: str
    data: SilenceEventData


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SilenceEvent).decode
_START = b'{"type":"' + PREFIX.encode()


def read(transition: msgspec.Raw) -> SilenceEvent | None:
    """Return the event that a delivery holds; null if it holds something else."""
    body = bytes(transition)
    return _decode(body) if body.startswith(_START) else None


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of an event about a silence."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "campaign-streams silence event",
        **msgspec.json.schema(SilenceEvent),
    }


def _links(base_url: str, silence_id: str) -> SilenceLinks:
    return SilenceLinks(f"{base_url}/v1/silences/{silence_id}", silences_page(base_url))


def delivery_of(  # noqa: PLR0913, PLR0917 - what an event says
    to: str, silence: Silence, ends_at: float, alerts: int, base_url: str | None, now: float
) -> Delivery:
    """Return the delivery of an event, decided at `now` (s, UTC).

    Its webhook id follows from the silence and its end alone.

    Args:
        to: the receiver that is told.
        silence: that ends.
        ends_at: when it ends for good (s, UTC).
        alerts: how many it keeps from the receiver.
        base_url: of the API, for links; null for none.
        now: wall-clock time.
    """
    silence_id = quote(silence.silence_id, safe="")
    matchers = list(map(str, silence.matchers))
    data = SilenceEventData(
        silence_id=silence.silence_id,
        matchers=matchers,
        starts_at=rfc3339(silence.starts_at),
        ends_at=rfc3339(ends_at),
        created_by=silence.created_by,
        comment=silence.comment,
        alerts=alerts,
        summary=_summary(silence, ", ".join(matchers), ends_at, alerts),
        links=_links(base_url, silence_id) if base_url else None,
    )
    event = SilenceEvent(ENDING, rfc3339(now), data)
    raw = msgspec.Raw(_encode(event))
    return decided(f"{PREFIX}{silence_id}", in_ms(ends_at), to, raw, now)


def _summary(silence: Silence, matchers: str, ends_at: float, alerts: int) -> str:
    fire = "1 alert fires" if alerts == 1 else f"{alerts:,} alerts fire"
    return (
        f"the silence of {_short(matchers)} by {silence.created_by} ({_short(silence.comment)}) "
        f"ends at {rfc3339(ends_at)}: {fire} that it keeps from you"
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
