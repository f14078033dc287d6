"""What an event format is: one instance of `EventFormat`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from streams.domain.events import Event
from streams.domain.partial_counts import Dimensions, SampleFields


class Spellings(NamedTuple):
    """What a format calls the fields that every event needs, for the details of rejections."""

    event_type: str
    time: str
    campaign_id: str
    outcome: str


class Statuses(NamedTuple):
    """Statuses of sends, by what they say of an attempt to send."""

    success: tuple[str, ...]
    failure: tuple[str, ...]
    throttled: tuple[str, ...] = ()
    suppressed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One way to write events as bytes. Its functions know nothing of other records.

    Args:
        name: what `source.format` calls it.
        decode: the fast path: reads an event. Raises ValueError or RecursionError for a record
            that it cannot read, also where the slow path can.
        classify: the slow path: reads an event that `check` found sound and `decode` refused.
            Raises RejectedError if it cannot be counted, ForeignError if it is of another type.
        check: raises RejectedError or ValueError for bytes that `decode` must not get, or would
            not see to be wrong.
        unchecked_bytes: records of ASCII up to this size need no `check`.
        spellings: names of its fields.
        send_type: the event type of a send.
        unclear_deliveries: delivery types that do not name the channel.
        dimensions_of: what an event is counted by, given its bytes too; null if events of its type
            are not counted. Asked where the attributes alone do not say it: for any event that is
            no send, and for sends with one of `unclear_deliveries`.
        family_of: puts the event type of an event that is not counted into one of few families,
            for a metric: event types are made up by others.
        app_of: the app that the bytes of an event name; null if they name none.
        version_prefix: begins the versions that are known; null if the format has no versions.
        statuses: the default of the configuration's `statuses`.
        sample_of: the fields of the bytes of an event that may be shown in an alert, by their
            paths: what allows no inference of a person. Empty if the format has none.
    """

    name: str
    decode: Callable[[bytes], Event]
    classify: Callable[[bytes], Event]
    check: Callable[[bytes], None]
    unchecked_bytes: int
    spellings: Spellings
    send_type: str
    unclear_deliveries: frozenset[str | None]
    dimensions_of: Callable[[Event, bytes], Dimensions | None]
    family_of: Callable[[str], str]
    app_of: Callable[[bytes], str | None]
    version_prefix: str | None
    statuses: Statuses
    sample_of: Callable[[bytes], SampleFields] = lambda _: {}

    @property
    def known_statuses(self) -> frozenset[str]:
        """All statuses that are in one of the groups."""
        return frozenset(status for group in self.statuses for status in group)
