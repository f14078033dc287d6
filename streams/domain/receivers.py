"""What receivers have answered that holds for all that is sent to them: pauses, and 410 Gone.

A receiver is of no partition: what one partition's delivery has met holds for the others too. Each
partition keeps what its worker knew, as a part of its state, and `standing` says what holds. So it
survives restarts and goes wherever the partitions go.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec
import orjson

ReceiverStatus: TypeAlias = Literal["enabled", "paused", "disabled"]


class ReceiverRecord(msgspec.Struct, frozen=True):
    """What is known of one receiver. Times are seconds since the epoch, UTC.

    Args:
        status: `disabled` gets nothing, `paused` nothing before `until`.
        target: a digest of its URL; at another URL nothing of this holds.
        since: when that became known.
        until: the end of a pause; null otherwise.
        reason: what it answered; null for an enabled one.
    """

    status: ReceiverStatus
    target: str
    since: float
    until: float | None = None
    reason: str | None = None

    def holds(self, now: float) -> bool:
        """Tell whether it keeps anything from being sent at wall-clock `now` (s)."""
        return self.status == "disabled" or (self.status == "paused" and (self.until or 0.0) > now)

    def is_disabled(self, target: str) -> bool:
        """Tell whether a receiver with this target wants nothing any more."""
        return self.status == "disabled" and self.target == target

    def paused_until(self, target: str) -> float:
        """Return up to when (s) a receiver with this target wants nothing; 0 for no pause."""
        if self.status == "paused" and self.target == target and self.until is not None:
            return self.until
        return 0.0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ReceiverRecord).decode


class ReceiverBook:
    """What one partition keeps of receivers, by their names."""

    def __init__(self) -> None:
        self._records: dict[str, ReceiverRecord] = {}
        self._changed: set[str] = set()

    def get(self, name: str) -> ReceiverRecord | None:
        """Return what is known of a receiver; null if it is nothing in particular."""
        return self._records.get(name)

    def names(self) -> Iterable[str]:
        """Return the receivers of which anything is known."""
        return self._records.keys()

    def note(self, name: str, record: ReceiverRecord) -> None:
        """Keep a record in place of the one before."""
        if self._records.get(name) != record:
            self._records[name] = record
            self._changed.add(name)

    def take_changes(self) -> Iterator[tuple[bytes, bytes]]:
        """Hand out what changed since the last call, as keys and values for the state topic."""
        changed, self._changed = self._changed, set()
        for name in sorted(changed):
            yield orjson.dumps(("receiver", name)), _encode(self._records[name])

    def restore(self, name: str, value: bytes | None) -> None:
        """Read one record back; null removes it.

        Raises:
            MsgspecError: if the value is none.
        """
        if value is None:
            self._records.pop(name, None)
        else:
            self._records[name] = _decode(value)


def standing(name: str, books: Iterable[ReceiverBook]) -> ReceiverRecord | None:
    """Return what holds for a receiver, of all that the partitions know; null for nothing.

    Enabling it lifts whatever was known by then. Of the rest 410 Gone outlasts any pause, and of
    pauses the one that ends last holds.
    """
    found = [record for book in books if (record := book.get(name)) is not None]
    enabled = [record for record in found if record.status == "enabled"]
    lifted_at = max((record.since for record in enabled), default=float("-inf"))
    rest = [each for each in found if each.status != "enabled" and each.since > lifted_at]
    if rest:
        return max(rest, key=lambda each: (each.status == "disabled", each.until or 0.0))
    return max(enabled, key=lambda each: each.since, default=None)


def lifted(record: ReceiverRecord | None, target: str, now: float) -> ReceiverRecord:
    """Return the record with which a receiver is enabled, at `now` (s), whatever was before."""
    since = now if record is None else max(now, record.since)
    return ReceiverRecord("enabled", target, since)
