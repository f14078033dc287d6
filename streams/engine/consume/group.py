"""The worker's member of the consumer group."""

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.consume.identified import Fetched, nobody
from streams.engine.consume.membership import Membership
from streams.engine.consume.positions import Positions
from streams.engine.consume.transport import BatchConsumer


class GroupConsumer:
    """The consumer of the group, for objects that are made before Faust makes it.

    Faust makes the consumer when it starts; partitions are assigned later, so whoever reads them
    finds it here. Before that nothing is read or committed.

    Args:
        fetched: is notified of its requests for records, in the consumer's thread.
    """

    def __init__(self, fetched: Fetched = nobody) -> None:
        self.fetched = fetched
        self.membership = Membership()
        """Whether the worker is certainly in the group."""
        self._consumer: BatchConsumer | None = None

    def made(self, consumer: BatchConsumer) -> None:
        """Use this consumer from here on."""
        self._consumer = consumer

    async def read_from(self, positions: Positions) -> None:
        """Fetch partitions from these positions, also if they were paused."""
        if positions and self._consumer is not None:
            await self._consumer.seek_to(positions)
            self._consumer.resume_partitions(set(positions))

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit offsets as a member of the group, for brokers without transactions."""
        if self._consumer is not None:
            await self._consumer.commit_group_offsets(offsets)
