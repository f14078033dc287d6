"""What an event is, whatever its format, and why a record is rejected.

An event format (`streams.domain.formats`) turns the bytes of a record into an `Event`. Each record
takes one of two ways:

- The fast path, `EventFormat.decode`, reads only what every event is counted by, into typed
  structures. It fits nearly every record.
- The slow path, `EventFormat.classify`, takes a record that the fast path refused. It reads all of
  the record, field by field, and either finds an event after all or says why there is none.

Both ways give the same answer, and the answer depends on the needed fields alone. What is needed
only now and then, such as the app of a campaign that is seen for the first time, is decoded then.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol, Self

EARLIEST_MS = 1_262_304_000_000
"""Event time (ms, UTC) of 2010-01-01T00:00:00: an event that names an earlier time is rejected."""

LONGEST_NAMES = 4096
"""Characters of a campaign's, treatment's, status' and channel's names together. Each name is kept
for every window, so what one event may name has to have a bound."""


class Reason(StrEnum):
    """Why a record became a dead letter. The words are part of the dead-letter topic's format."""

    NOT_JSON = "not-json"
    NOT_AN_OBJECT = "not-an-object"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    IMPOSSIBLE_TIME = "impossible-time"
    TOO_LARGE = "too-large"
    EXPIRED = "expired"
    NOT_PARTIAL_COUNTS = "not-partial-counts"
    UNPROCESSABLE = "unprocessable"
    UNREADABLE = "unreadable"


class Rejected(NamedTuple):
    """A record that cannot be counted: its position in the batch, from 0, and why."""

    position: int
    reason: Reason
    detail: str


class RejectedError(Exception):
    """A record cannot be counted.

    Attributes:
        reason: a word for the dead letter and for metrics.
        detail: names the field, the value or the position, for people.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ForeignError(Exception):
    """The record is a sound event, but of a type that is not counted.

    Attributes:
        event_type: as the event names it.
    """

    def __init__(self, event_type: str) -> None:
        super().__init__(event_type)
        self.event_type = event_type


class Unreadable(bytes):
    """The bytes of a whole batch that cannot be taken apart; `why` says what is wrong with it."""

    why: str

    def __new__(cls, batch: bytes, why: str) -> Self:
        """Give the bytes a reason."""
        value = super().__new__(cls, batch)
        value.why = why
        return value


class Attributes(Protocol):
    """What a send is counted by, apart from its time. Empty text and null stand for no value."""

    @property
    def campaign_id(self) -> str:
        """The campaign; an event without one is rejected."""
        ...

    @property
    def outcome(self) -> str:
        """The status of the send, as the format spells it; a send without one is rejected."""
        ...

    @property
    def treatment_id(self) -> str | None:
        """The treatment, where the campaign tests several."""
        ...

    @property
    def delivery_type(self) -> str | None:
        """By which channel it was sent, as the campaign names it."""
        ...


class Event(Protocol):
    """What is decoded of each record.

    The attributes have a structure of their own, as many formats nest them. An event of a flat
    format returns itself as its attributes.
    """

    @property
    def event_type(self) -> str:
        """What happened; `EventFormat.send_type` for a send."""
        ...

    @property
    def time(self) -> int:
        """When it happened (ms since the epoch, UTC)."""
        ...

    @property
    def attributes(self) -> Attributes:
        """What it is counted by."""
        ...

    @property
    def version(self) -> str | None:
        """Of the format; null where the event names none."""
        ...
