"""The consumer of the group, for those who are made before it."""

from collections.abc import Mapping
from typing import cast

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.consume.group import GroupConsumer
from streams.engine.consume.positions import Position, Positions
from streams.engine.consume.transport import BatchConsumer

HERE = TopicPartition("events", 1)


class Recorder:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def seek_to(self, positions: Positions) -> None:
        self.told.append(("seek", dict(positions)))

    def resume_partitions(self, partitions: set[TopicPartition]) -> None:
        self.told.append(("resume", partitions))

    async def commit_group_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        self.told.append(("commit", dict(offsets)))


async def test_partitions_are_read_from_positions_also_if_they_were_paused() -> None:
    group, recorder = GroupConsumer(), Recorder()
    group.made(cast("BatchConsumer", recorder))
    await group.read_from({HERE: Position(7)})
    await group.read_from({})
    await group.commit({HERE: OffsetAndMetadata(7, "")})
    assert recorder.told == [
        ("seek", {HERE: Position(7)}),
        ("resume", {HERE}),
        ("commit", {HERE: OffsetAndMetadata(7, "")}),
    ]


async def test_before_there_is_a_consumer_nothing_is_read_or_committed() -> None:
    group = GroupConsumer()
    await group.read_from({HERE: Position(7)})
    await group.commit({HERE: OffsetAndMetadata(7, "")})
