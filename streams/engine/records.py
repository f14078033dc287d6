"""The form of what a lane writes beside blocks, state and transitions."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec
import orjson
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain.events import Rejected
from streams.engine.fetching import SourceRecord
from streams.engine.writer import Record


class Position(NamedTuple):
    """How far a partition was read.

    Args:
        offset: what to read next.
        event_time: of a source partition, the largest event time (ms) counted; otherwise 0.
    """

    offset: int
    event_time: int = 0


Positions: TypeAlias = Mapping[TopicPartition, Position]

_decode_positions = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode

POSITIONS_KEY = orjson.dumps(("positions",))
"""Key, on the state topic, of how far a lane has read."""


def write_positions(positions: Positions) -> bytes:
    """Write down how far each partition was read."""
    return orjson.dumps([(*partition, *position) for partition, position in positions.items()])


def read_positions(value: bytes) -> dict[TopicPartition, Position]:
    """Read back what `write_positions` wrote.

    Raises:
        MsgspecError: if it is something else.
    """
    return {
        TopicPartition(topic, partition): Position(offset, event_time)
        for topic, partition, offset, event_time in _decode_positions(value)
    }


def as_committed(position: Position) -> OffsetAndMetadata:
    """Write a position in the form that a consumer group keeps."""
    return OffsetAndMetadata(position.offset, str(position.event_time or ""))


def from_committed(committed: OffsetAndMetadata) -> Position:
    """Read a position that a consumer group kept; without metadata its event time is 0."""
    text = committed.metadata
    return Position(committed.offset, int(text) if text.isdecimal() else 0)


def dead_letter(
    partition: TopicPartition, record: SourceRecord, rejected: Rejected, failed_at: bytes
) -> Record:
    """Put a record aside, as it came, with the reason and where it was."""
    headers = (
        *record.headers,
        ("reason", rejected.reason.encode()),
        ("detail", rejected.detail.encode()),
        ("source-topic", partition.topic.encode()),
        ("source-partition", str(partition.partition).encode()),
        ("source-offset", str(record.offset).encode()),
        ("failed-at", failed_at),
    )
    return Record(record.key, record.value, headers)
