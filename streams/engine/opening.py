"""Opening a lane: shut out earlier owners, then read back what they left."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from aiokafka.structs import TopicPartition

from streams.domain.events import SourcePartition
from streams.domain.partition import CampaignPartition
from streams.engine.job import Job
from streams.engine.lane import Lane
from streams.engine.records import POSITIONS_KEY, Position, from_committed, read_positions
from streams.engine.recovery import committed_offsets, read_state, reading
from streams.engine.writer import Writer

_log = structlog.get_logger(__name__)


class Opening:
    """Opens lanes.

    Args:
        job: what every lane does alike.
        connection: keyword arguments for aiokafka clients.
        group_id: the consumer group.
        new_writer: makes a lane's writer.
        exactly_once: whether the writers use transactions.
        progress: is told, for a lane, the offset reached in its state and the end of it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        job: Job,
        connection: Mapping[str, Any],
        group_id: str,
        new_writer: Callable[[int], Writer],
        exactly_once: bool,
        progress: Callable[[int, int, int], None],
    ) -> None:
        self._job = job
        self._connection = connection
        self._group_id = group_id
        self._new_writer = new_writer
        self._exactly_once = exactly_once
        self._progress = progress

    async def open(self, number: int, partitions: Iterable[TopicPartition], sources: int) -> Lane:
        """Open a lane that reads `partitions`, of a source topic with so many partitions.

        The order matters. Once the writer is open no earlier owner can commit anything, so the
        offsets and the state that are read after it are final, and belong together.

        Raises:
            WriteError, KafkaError: if the brokers cannot be had now.
        """
        writer = self._new_writer(number)
        try:
            await writer.open()
            feeders = range(sources) if self._job.topics.keyed is not None else (number,)
            partition = CampaignPartition(number, self._job.watch, feeders, self._job.now())
            positions = await self._restore(partition, set(partitions))
        except BaseException:
            await writer.close()
            raise
        read = {
            each.partition: SourcePartition(each.partition, self._job.intake, at.event_time)
            for each, at in positions.items()
            if each.topic == self._job.topics.source
        }
        return Lane(number, self._job, writer, partition, positions, read)

    async def _restore(
        self, partition: CampaignPartition, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, Position]:
        """Read the state back; return from where to read on."""
        number = partition.number
        written: dict[TopicPartition, Position] = {}

        def apply(key: bytes, value: bytes | None) -> None:
            if key == POSITIONS_KEY:
                written.update(read_positions(value or b"[]"))
            else:
                partition.restore(key, value)

        async with reading(self._connection, committed=self._exactly_once) as consumer:
            records = await read_state(
                consumer,
                TopicPartition(self._job.topics.state, number),
                apply,
                lambda at, end: self._progress(number, at, end),
            )
            known = await self._known(partitions, written)
            unread = await consumer.beginning_offsets(list(partitions - known.keys()))
        partition.resume(self._job.now())
        _log.info("lane open", lane=number, state_records=records, cells=len(partition.table))
        return known | {each: Position(offset) for each, offset in unread.items()}

    async def _known(
        self, partitions: set[TopicPartition], written: Mapping[TopicPartition, Position]
    ) -> dict[TopicPartition, Position]:
        """Return how far partitions were read.

        The state says so itself: that was written in the same transaction, to the same partition,
        so nothing can set the one back without the other. What the group has kept counts for
        partitions that the state does not name, and without transactions, where it is the last
        that is written.
        """
        known = {each: at for each, at in written.items() if each in partitions}
        if self._exactly_once and known.keys() == partitions:
            return known
        committed = await committed_offsets(self._connection, self._group_id, partitions)
        kept = {each: from_committed(at) for each, at in committed.items()}
        return {**kept, **known} if self._exactly_once else kept
