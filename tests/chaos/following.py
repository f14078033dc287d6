"""Reading a topic on from where one stood."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from tests.support.topics import Read

READ_WITHIN_S = 120.0
FETCH_BYTES = 4 * 1024 * 1024


class Follower:
    """Reads what is new in a topic, committed records only."""

    def __init__(self, address: str, topic: str, partitions: int) -> None:
        self._address = address
        self.positions = {TopicPartition(topic, number): 0 for number in range(partitions)}

    async def ends(self) -> dict[TopicPartition, int]:
        """Return the offset after the last record of each partition."""
        async with self._consuming() as consumer:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(list(self.positions))
        return ends

    async def read(self) -> AsyncIterator[Read]:
        """Yield the new records up to the present end, each partition's in order.

        Raises:
            TimeoutError: the end cannot be reached: a transaction stays open.
        """
        async with self._consuming() as consumer:
            for partition, position in self.positions.items():
                consumer.seek(partition, position)
            ends = await consumer.end_offsets(list(self.positions))
            deadline = time.monotonic() + READ_WITHIN_S
            while [p for p, at in self.positions.items() if at < ends[p]]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"read up to {self.positions} of {ends}")
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        yield record
                    await asyncio.sleep(0)
                # Markers of transactions have offsets, but are no records.
                for partition in self.positions:
                    self.positions[partition] = await consumer.position(partition)

    @contextlib.asynccontextmanager
    async def _consuming(self) -> AsyncIterator[Any]:
        consumer: AIOKafkaConsumer[bytes | None, bytes | None] = AIOKafkaConsumer(
            bootstrap_servers=self._address,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        await consumer.start()
        try:
            consumer.assign(list(self.positions))
            yield consumer
        finally:
            await consumer.stop()
