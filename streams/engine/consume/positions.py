"""How far a partition was read, and how that is written down."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec
import orjson
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.consume.log_requests import NO_EPOCH


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
"""Key, on the changelog topic, of how far a task has read."""
UNKNOWN_ID = "-"
"""Stands for a topic id in what a group keeps."""


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
