"""Consumer lag, as the broker has it: it shows also when the worker itself is stuck."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.engine.cluster.reading import committed_offsets, reading

_log = structlog.get_logger(__name__)

EVERY = 5.0
"""Seconds between two questions."""


async def watch_lag(
    connection: Mapping[str, Any],
    group_id: str,
    committed: Callable[[], Mapping[TopicPartition, int | None]],
    tell: Callable[[Mapping[TopicPartition, int]], None],
) -> None:
    """Report the consumer lag of each partition, every few seconds. Never returns.

    Args:
        connection: keyword arguments for aiokafka clients.
        group_id: the consumer group.
        committed: returns the committed offsets of the partitions that this worker reads; null
            where the worker knows none, as their task was not opened yet: then the group is asked.
        tell: is notified of the consumer lag: records that are not committed yet, by partition.
    """
    while True:
        try:
            async with reading(connection, committed=False) as consumer:
                while True:
                    tell(await _lag(consumer, connection, group_id, committed()))
                    await asyncio.sleep(EVERY)
        except Exception as error:  # noqa: BLE001 - aiokafka asserts some; asking has to go on
            _log.warning("end offsets unavailable", error=str(error))
            await asyncio.sleep(EVERY)


async def _lag(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]",
    connection: Mapping[str, Any],
    group_id: str,
    committed: Mapping[TopicPartition, int | None],
) -> Mapping[TopicPartition, int]:
    known = {partition: at for partition, at in committed.items() if at is not None}
    unknown = committed.keys() - known.keys()
    if unknown:
        of_group = await committed_offsets(connection, group_id, unknown)
        known |= {partition: at.offset for partition, at in of_group.items()}
        never_read = list(unknown - of_group.keys())
        known |= await consumer.beginning_offsets(never_read) if never_read else {}
    ends = await consumer.end_offsets(list(known)) if known else {}
    return {partition: max(0, ends[partition] - at) for partition, at in known.items()}
