"""How far a partition was read, and how that is written down."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias
from uuid import UUID

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain.changelog import InputOffset
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

UNKNOWN_ID = "-"
"""Stands for a topic id in what a group keeps."""


def as_input_offsets(positions: Positions) -> list[InputOffset]:
    """Write positions in the form of the changelog topic."""
    return [
        InputOffset(each.topic, each.partition, *position) for each, position in positions.items()
    ]


def from_input_offsets(offsets: Iterable[InputOffset]) -> dict[TopicPartition, Position]:
    """Read positions that are in the form of the changelog topic."""
    return {
        TopicPartition(at.topic, at.partition): Position(
            at.offset, at.event_time, at.topic_id, at.leader_epoch
        )
        for at in offsets
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
