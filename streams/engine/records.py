"""The form of what a lane writes beside blocks, state and transitions."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec
import orjson
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain.events import Rejected
from streams.engine.fetching import SourceRecord
from streams.engine.log_requests import NO_EPOCH
from streams.engine.writer import Record


class Position(NamedTuple):
    """How far a partition was read.

    Args:
        offset: what to read next.
        event_time: of a source partition, the largest event time (ms) counted; otherwise 0.
        topic_id: of the topic that this is about; None if it is not known.
        epoch: the leader epoch of the last record that was read; -1 if it is not known.
    """

    offset: int
    event_time: int = 0
    topic_id: UUID | None = None
    epoch: int = NO_EPOCH

    @property
    def is_beginning(self) -> bool:
        """Tell whether nothing was ever read."""
        return self.offset == 0 and self.topic_id is None


Positions: TypeAlias = Mapping[TopicPartition, Position]

_decode_positions = msgspec.json.Decoder(list[tuple[str, int, int, int, UUID | None, int]]).decode
_decode_without_ids = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode

POSITIONS_KEY = orjson.dumps(("positions",))
"""Key, on the state topic, of how far a lane has read."""
UNKNOWN_ID = "-"
"""Stands for a topic id in what a group keeps."""


UNPROCESSABLE_KEY = orjson.dumps(("unprocessable",))
"""Key, on the state topic, of which blocks of the keyed topic became dead letters."""

decode_offsets = msgspec.json.Decoder(list[int]).decode
"""Read what the state topic has for `UNPROCESSABLE_KEY`."""


def write_positions(positions: Positions) -> bytes:
    """Write down how far each partition was read."""
    return orjson.dumps([(*partition, *position) for partition, position in positions.items()])


def read_positions(value: bytes) -> dict[TopicPartition, Position]:
    """Read back what `write_positions` wrote, also when it knew no topic ids yet.

    Raises:
        MsgspecError: if it is something else.
    """
    try:
        return {
            TopicPartition(topic, partition): Position(offset, event_time, topic_id, epoch)
            for topic, partition, offset, event_time, topic_id, epoch in _decode_positions(value)
        }
    except msgspec.ValidationError:
        return {
            TopicPartition(topic, partition): Position(offset, event_time)
            for topic, partition, offset, event_time in _decode_without_ids(value)
        }


def as_committed(position: Position) -> OffsetAndMetadata:
    """Write a position in the form that a consumer group keeps.

    The metadata are event time (ms), topic id and leader epoch, with spaces between and `-` for an
    unknown id; where neither id nor epoch is known, the event time alone.
    """
    _, time, topic_id, epoch = position
    if topic_id is None and epoch == NO_EPOCH:
        return OffsetAndMetadata(position.offset, str(time or ""))
    return OffsetAndMetadata(position.offset, f"{time} {topic_id or UNKNOWN_ID} {epoch}")


def from_committed(committed: OffsetAndMetadata) -> Position:
    """Read a position that a consumer group kept; without metadata its event time is 0."""
    match committed.metadata.split():
        case [time, topic_id, epoch]:
            try:
                known = None if topic_id == UNKNOWN_ID else UUID(topic_id)
                return Position(committed.offset, int(time), known, int(epoch))
            except ValueError:
                return Position(committed.offset)
        case [time] if time.isdecimal():
            return Position(committed.offset, int(time))
    return Position(committed.offset)


ORIGINAL_SIZE = "original-size"
TRUNCATED = "truncated"
LONGEST_DETAIL = 500
"""Characters."""
_RECORD_OVERHEAD, _HEADER_OVERHEAD = 64, 10
"""Bytes that Kafka's format adds to a record and to each of its headers, at most."""


def size_of(record: Record) -> int:
    """Return how many bytes a record takes in a batch, at most."""
    headers = sum(map(_header_size, record.headers))
    return _RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"") + headers


def _header_size(header: tuple[str, bytes | None]) -> int:
    name, value = header
    return _HEADER_OVERHEAD + len(name.encode()) + len(value or b"")


def dead_letter(
    partition: TopicPartition,
    record: SourceRecord,
    rejected: Rejected,
    failed_at: bytes,
    limit: int,
) -> Record:
    """Make a dead letter: the record as it came, with the reason and where it was.

    Args:
        partition: where the record is from.
        record: what came.
        rejected: why it was not counted.
        failed_at: when, in RFC 3339.
        limit: bytes that the dead letter may take (`size_of`), but for the headers that are added.
            What is larger is cut off, and two more headers say so: `original-size`, the bytes of
            key and value as they came, and `truncated`, which of headers, key and value are not
            whole.
    """
    added = (
        ("reason", rejected.reason.encode()),
        ("detail", rejected.detail[:LONGEST_DETAIL].encode(errors="replace")),
        ("source-topic", partition.topic.encode()),
        ("source-partition", str(partition.partition).encode()),
        ("source-offset", str(record.offset).encode()),
        ("failed-at", failed_at),
    )
    whole = Record(record.key, record.value, (*record.headers, *added))
    return whole if size_of(whole) <= limit else _cut_off(record, added, limit)


def _cut_off(record: SourceRecord, added: tuple[tuple[str, bytes], ...], limit: int) -> Record:
    """Make a dead letter of what there is room for: a quarter for headers and for the key each."""
    size = len(record.key or b"") + len(record.value or b"")
    added = (*added, (ORIGINAL_SIZE, str(size).encode()), (TRUNCATED, b"headers,key,value"))
    room = max(0, limit - size_of(Record(None, None, added)))
    quarter = room // 4
    headers: list[tuple[str, bytes]] = []
    left = quarter
    for header in record.headers:
        left -= _header_size(header)
        if left < 0:
            break
        headers.append(header)
    key = record.key and record.key[:quarter]
    room -= sum(map(_header_size, headers)) + len(key or b"")
    value = record.value and record.value[:room]
    parts = {
        "headers": len(headers) < len(record.headers),
        "key": key != record.key,
        "value": value != record.value,
    }
    cut = ",".join(name for name, is_cut in parts.items() if is_cut).encode()
    return Record(key, value, (*headers, *added[:-1], (TRUNCATED, cut)))
