"""Dead letters: what a record of the dead-letter topic says, and which ones are to be replayed.

A dead letter is the record as it came, with six headers added at the end. One that is too large
for its topic is cut off, and two more headers say so; it cannot be replayed. A replay leaves a
marker in the same partition: no value, one header `replayed` that names the dead letter's place.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import heappush, heappushpop
from typing import NamedTuple, Self, TypeAlias

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.engine.dead_letters.letter import ORIGINAL_SIZE, TRUNCATED
from streams.engine.produce.writer import Record
from streams.errors import TopicError

ADDED = ("reason", "detail", "source-topic", "source-partition", "source-offset", "failed-at")
REPLAYED = "replayed"
UNKNOWN_REASON = "unknown"
LONGEST_NUMBER = 19
"""Digits of a number of 63 bits."""

Read: TypeAlias = "ConsumerRecord[bytes | None, bytes | None]"


class Place(NamedTuple):
    """Where a dead letter is in the dead-letter topic; written `partition:offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `partition:offset`.

        Raises:
            ValueError: the text has another form.
        """
        partition, colon, offset = text.partition(":")
        if not (colon and _is_number(partition) and _is_number(offset)):
            raise ValueError("expected PARTITION:OFFSET, such as 0:17")
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter topic.

    `key`, `value` and `headers` are those of the rejected record, `failed_at` is in s, UTC.
    A record that another program wrote to the topic may lack any of the other fields.
    """

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    reason: str
    detail: str
    failed_at: float
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    truncated: tuple[str, ...] = ()
    """Which of headers, key and value were cut off."""
    original_size: int | None = None

    @property
    def size(self) -> int:
        """Bytes of key and value, as they are here."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class Marker:
    """Says that the dead letter at a place was replayed."""

    of: Place


def parse(record: Read) -> DeadLetter | Marker:
    """Read a record of the dead-letter topic."""
    return _marker(record) or _letter(record)


def marker(letter: DeadLetter) -> Record:
    """Make the record that says that a dead letter was replayed, for the letter's partition."""
    return Record(letter.key, None, ((REPLAYED, str(letter.place).encode()),))


def _marker(record: Read) -> Marker | None:
    # A dead letter may have brought a header of that name, but never comes with it alone.
    if record.value is not None or [name for name, _ in record.headers] != [REPLAYED]:
        return None
    try:
        place = Place.parse(record.headers[0][1].decode())
    except ValueError:
        return None
    return Marker(place) if place.partition == record.partition else None


def _letter(record: Read) -> DeadLetter:
    own: list[tuple[str, bytes]] = []
    added: dict[str, str] = {}
    headers = list(record.headers)
    truncated: tuple[str, ...] = ()
    original_size = None
    if [name for name, _ in headers[-2:]] == [ORIGINAL_SIZE, TRUNCATED]:
        (_, size), (_, parts) = headers[-2:]
        headers = headers[:-2]
        original_size = _number((size or b"").decode(errors="replace"))
        truncated = tuple((parts or b"").decode(errors="replace").split(","))
    # From the end: the record may have brought headers of the same names.
    for name, value in reversed(headers):
        if name in ADDED and name not in added:
            added[name] = (value or b"").decode(errors="replace")
        else:
            own.append((name, value))
    return DeadLetter(
        place=Place(record.partition, record.offset),
        key=record.key,
        value=record.value,
        headers=tuple(reversed(own)),
        reason=added.get("reason", UNKNOWN_REASON),
        detail=added.get("detail", ""),
        failed_at=_seconds(added.get("failed-at", ""), record.timestamp / 1000),
        source_topic=added.get("source-topic"),
        source_partition=_number(added.get("source-partition", "")),
        source_offset=_number(added.get("source-offset", "")),
        truncated=truncated,
        original_size=original_size,
    )


def _seconds(text: str, otherwise: float) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> int | None:
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: those of some reasons, those at some places, those since a time (s).

    Null is all of them.
    """

    reasons: frozenset[str] | None = None
    places: frozenset[Place] | None = None
    since: float | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        return (
            (self.reasons is None or letter.reason in self.reasons)
            and (self.places is None or letter.place in self.places)
            and (self.since is None or letter.failed_at >= self.since)
        )


@dataclass(slots=True)
class Listing:
    """The newest of the selected dead letters, and how many there are in all, by reason."""

    selection: Selection
    limit: int
    reasons: Counter[str] = field(default_factory=Counter)
    replayed: set[Place] = field(default_factory=set)
    _newest: list[tuple[float, Place, DeadLetter]] = field(default_factory=list)

    def add(self, entry: DeadLetter | Marker) -> None:
        """Take in what the topic holds."""
        if isinstance(entry, Marker):
            self.replayed.add(entry.of)
        elif entry in self.selection:
            self.reasons[entry.reason] += 1
            push = heappush if len(self._newest) < self.limit else heappushpop
            push(self._newest, (entry.failed_at, entry.place, entry))

    @property
    def letters(self) -> list[DeadLetter]:
        """At most `limit` dead letters, newest last."""
        return [letter for *_, letter in sorted(self._newest)]


@dataclass(slots=True)
class Plan:
    """Which dead letters to replay, and where to: places only, the values may be large.

    Args:
        selection: what is asked for.
        source: the source topic, for dead letters that do not say where they came from.
        partitions: how many partitions every topic has.
    """

    selection: Selection
    source: str
    partitions: Mapping[str, int]
    targets: dict[Place, TopicPartition] = field(default_factory=dict)
    replayed: set[Place] = field(default_factory=set)
    truncated: dict[Place, DeadLetter] = field(default_factory=dict)
    """Those that are left out, as they are not whole; without key, value and headers."""
    _orphaned: dict[Place, str] = field(default_factory=dict)

    def add(self, entry: DeadLetter | Marker) -> None:
        """Take in what the topic holds."""
        if isinstance(entry, Marker):
            self.replayed.add(entry.of)
        elif entry not in self.selection:
            pass
        elif entry.truncated:
            self.truncated[entry.place] = replace(entry, key=None, value=None, headers=())
        else:
            target = self._target(entry)
            if isinstance(target, TopicPartition):
                self.targets[entry.place] = target
            else:
                self._orphaned[entry.place] = target

    def close(self) -> None:
        """Leave out what was replayed already: a marker comes after its dead letter.

        Raises:
            TopicError: a place that was asked for holds no dead letter, or one that was cut off, or
                the topic or partition that a dead letter came from is not there.
        """
        found = self.targets.keys() | self._orphaned.keys() | self.truncated.keys()
        missing = sorted((self.selection.places or frozenset()) - found)
        if missing:
            raise TopicError(
                f"there is no dead letter at {', '.join(map(str, missing))}: "
                "see `campaign-streams dead-letter list`"
            )
        if self.selection.places is not None:
            for place, letter in sorted(self.truncated.items()):
                origin = f"{letter.source_topic}:{letter.source_partition}:{letter.source_offset}"
                raise TopicError(
                    f"dead letter {place} was cut off, as its topic did not take all of its "
                    f"{letter.original_size} bytes: if the record is still at {origin!r}, send it "
                    "again from there"
                )
        self.replayed &= found
        for place in self.replayed:
            self.targets.pop(place, None)
            self._orphaned.pop(place, None)
        for place, origin in sorted(self._orphaned.items()):
            raise TopicError(
                f"dead letter {place} came from {origin}, which is not there: nothing is replayed, "
                "make it or choose other dead letters with --reason or --at"
            )

    def _target(self, letter: DeadLetter) -> TopicPartition | str:
        topic = letter.source_topic or self.source
        count = self.partitions.get(topic, 0)
        if not count:
            return f"topic {topic}"
        # Back where it was: a record of a keyed topic counts in its own partition alone.
        if letter.source_partition is not None and letter.source_partition < count:
            return TopicPartition(topic, letter.source_partition)
        if topic != self.source:
            return f"partition {letter.source_partition} of topic {topic}"
        numbers = list(range(count))
        return TopicPartition(topic, DefaultPartitioner()(letter.key, numbers, numbers))
