"""What holds for all that is sent to a receiver: pauses, since when it fails, that it is disabled.

A receiver is of no partition: what one partition's delivery has met holds for the others too. Each
partition keeps what its worker knew, as a part of its state, and `standing` says what holds. So it
survives restarts and goes wherever the partitions go.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

ReceiverStatus: TypeAlias = Literal["enabled", "paused", "disabled"]


SHORTEST_S = 0.001
"""Between two records of which the order matters."""


class ReceiverRecord(msgspec.Struct, frozen=True):
    """What is known of one receiver. Times are seconds since the epoch, UTC.

    Args:
        status: `disabled` gets nothing, `paused` nothing before `until`.
        target: a digest of its URL; at another URL nothing of this holds.
        since: when that became known.
        until: the end of a pause; null otherwise.
        reason: what it answered; null for an enabled one that does not fail.
        lifted_at: when it was last enabled; nothing that was known by then holds any more.
        failing_since: when the first of the failures was for which its circuit is open, whatever
            its status; 0: the circuit is closed.
    """

    status: ReceiverStatus
    target: str
    since: float
    until: float | None = None
    reason: str | None = None
    lifted_at: float = 0.0
    failing_since: float = 0.0

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


class ReceiverKey(msgspec.Struct, frozen=True, array_like=True, tag="receiver"):
    """Key of a receiver's record on the changelog topic."""

    name: str


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

    @property
    def has_changes(self) -> bool:
        """Whether the next `take_changes` has any."""
        return bool(self._changed)

    def take_changes(self) -> Iterator[tuple[ReceiverKey, ReceiverRecord]]:
        """Hand out the records that changed since the last call."""
        changed, self._changed = self._changed, set()
        for name in sorted(changed):
            yield ReceiverKey(name), self._records[name]

    def restore(self, key: ReceiverKey, record: ReceiverRecord) -> None:
        """Take a record as it was written down."""
        self._records[key.name] = record


def standing(name: str, books: Iterable[ReceiverBook]) -> ReceiverRecord | None:
    """Return what holds for a receiver, of all that the partitions know; null for nothing.

    Enabling it lifts whatever was known by then. Of the rest, that it is disabled outlasts any
    pause, and of pauses the one that ends last holds. Whether it fails is what was noted last.
    """
    return standing_of(record for book in books if (record := book.get(name)) is not None)


def standing_of(records: Iterable[ReceiverRecord]) -> ReceiverRecord | None:
    """Return the same of what is known of one receiver in several places."""
    found = list(records)
    if not found:
        return None
    lifted_at = max(record.lifted_at for record in found)
    rest = [each for each in found if each.status != "enabled" and each.since > lifted_at]
    holding = max(
        rest or found,
        key=lambda each: (each.status == "disabled", each.until or 0.0),
    )
    newest = max(found, key=lambda each: (each.since, not each.failing_since))
    failing_since = newest.failing_since if newest.since > lifted_at else 0.0
    if not rest:
        target, reason = holding.target, None
        if failing_since:
            target, reason = newest.target, newest.reason
        holding = ReceiverRecord("enabled", target, lifted_at, reason=reason)
    return msgspec.structs.replace(holding, lifted_at=lifted_at, failing_since=failing_since)


def answered(  # noqa: PLR0913 - what a record holds
    before: ReceiverRecord | None,
    status: ReceiverStatus,
    target: str,
    now: float,
    *,
    until: float | None = None,
    reason: str | None = None,
) -> ReceiverRecord:
    """Return the record of an answer at `now` (s), given what held before.

    The clock may be behind that of the worker at which the receiver was enabled: it is later.
    """
    lifted_at = 0.0 if before is None else before.lifted_at
    failing_since = 0.0 if before is None else before.failing_since
    since = max(now, lifted_at + SHORTEST_S)
    return ReceiverRecord(status, target, since, until, reason, lifted_at, failing_since)


def failing(
    before: ReceiverRecord | None, target: str, failing_since: float, reason: str, now: float
) -> ReceiverRecord:
    """Return the record of a receiver whose circuit is open, at `now` (s), given what held before.

    A pause goes on.
    """
    if before is not None and before.status == "paused" and before.target == target:
        since = max(now, before.since + SHORTEST_S)
        return msgspec.structs.replace(before, since=since, failing_since=failing_since)
    lifted_at = 0.0 if before is None else before.lifted_at
    since = max(now, lifted_at + SHORTEST_S)
    return ReceiverRecord("enabled", target, since, None, reason, lifted_at, failing_since)


def recovered(before: ReceiverRecord, now: float) -> ReceiverRecord:
    """Return the record of a receiver whose circuit closes at `now` (s); a pause goes on."""
    since = max(now, before.since + SHORTEST_S)
    reason = None if before.status == "enabled" else before.reason
    return msgspec.structs.replace(before, since=since, reason=reason, failing_since=0.0)


def lifted(before: ReceiverRecord | None, target: str, now: float) -> ReceiverRecord:
    """Return the record with which a receiver is enabled, at `now` (s), whatever held before."""
    since = now if before is None else max(now, before.since)
    return ReceiverRecord("enabled", target, since, lifted_at=since)
