"""Positions, as they are written down."""

from uuid import UUID

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain import changelog
from streams.domain.changelog import InputOffsetsKey
from streams.engine.consume.positions import (
    Position,
    as_committed,
    as_input_offsets,
    from_committed,
    from_input_offsets,
)

ID = UUID("7f1c0a52-8c1e-4d8e-9a51-5a0f3f6b2c11")
POSITIONS = [
    Position(0),
    Position(7, 1_790_000_000_000),
    Position(7, 1_790_000_000_000, ID, 3),
    Position(7, 0, ID),
    Position(7, 5, None, 2),
]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_position_is_read_back_as_it_was_written(position: Position) -> None:
    at = {TopicPartition("events", 3): position}
    ((key, value),) = changelog.encode([(InputOffsetsKey(), as_input_offsets(at))])
    _, offsets = changelog.decode(key, value or b"")
    assert from_input_offsets(offsets) == at
    assert from_committed(as_committed(position)) == position


def test_offsets_that_were_committed_without_topic_ids_are_read() -> None:
    position = Position(17, 1_790_000_000_000)
    assert from_committed(OffsetAndMetadata(17, "1790000000000")) == position


@pytest.mark.parametrize("metadata", ["", "by hand", "1 2 3", "1 no-id 3"])
def test_offsets_that_somebody_else_committed_have_nothing_but_the_offset(metadata: str) -> None:
    assert from_committed(OffsetAndMetadata(17, metadata)) == Position(17)
