"""Opening a lane: shut out earlier owners, then read back what they left."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain.events import SourcePartition
from streams.domain.partition import CampaignPartition
from streams.engine.job import Job
from streams.engine.lane import Lane
from streams.engine.records import read_metadata
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
        committed: read only what committed transactions wrote.
        progress: is told, for a lane, the offset reached in its state and the end of it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        job: Job,
        connection: Mapping[str, Any],
        group_id: str,
        new_writer: Callable[[int], Writer],
        committed: bool,
        progress: Callable[[int, int, int], None],
    ) -> None:
        self._job = job
        self._connection = connection
        self._group_id = group_id
        self._new_writer = new_writer
        self._committed = committed
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
            offsets = await committed_offsets(self._connection, self._group_id, partitions)
            feeders = range(sources) if self._job.topics.keyed is not None else (number,)
            partition = CampaignPartition(number, self._job.watch, feeders, self._job.now())
            return await self._restore(partition, set(partitions), writer, offsets)
        except BaseException:
            await writer.close()
            raise

    async def _restore(
        self,
        partition: CampaignPartition,
        partitions: set[TopicPartition],
        writer: Writer,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> Lane:
        topics = self._job.topics
        number = partition.number
        async with reading(self._connection, committed=self._committed) as consumer:
            state = TopicPartition(topics.state, number)
            records = await read_state(
                consumer, state, partition.restore, lambda at, end: self._progress(number, at, end)
            )
            beginnings = await consumer.beginning_offsets(
                [each for each in partitions if each not in offsets]
            )
        partition.resume(self._job.now())
        _log.info("lane open", lane=number, state_records=records, cells=len(partition.table))
        positions = {
            each: offsets[each].offset if each in offsets else beginnings[each]
            for each in partitions
        }
        sources = {
            each.partition: self._source(each, offsets)
            for each in partitions
            if each.topic == topics.source
        }
        return Lane(number, self._job, writer, partition, positions, sources)

    def _source(
        self, partition: TopicPartition, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> SourcePartition:
        at = offsets.get(partition)
        event_time = read_metadata(at.metadata) if at is not None else 0
        return SourcePartition(partition.partition, self._job.intake, event_time)
