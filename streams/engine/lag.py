"""How far behind a worker is, asked of the broker: it shows when the worker itself is stuck."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.engine.recovery import reading

_log = structlog.get_logger(__name__)

EVERY = 5.0
"""Seconds between two questions."""


async def watch_lag(
    connection: Mapping[str, Any],
    committed: Callable[[], Mapping[TopicPartition, int]],
    tell: Callable[[Mapping[TopicPartition, int]], None],
) -> None:
    """Tell, again and again, how many records wait in each partition. Never returns.

    Args:
        connection: keyword arguments for aiokafka clients.
        committed: returns the committed offsets of the partitions that this worker reads.
        tell: is given the number of records not yet committed.
    """
    while True:
        try:
            async with reading(connection, committed=False) as consumer:
                while True:
                    at = committed()
                    ends = await consumer.end_offsets(list(at)) if at else {}
                    tell({partition: max(0, ends[partition] - at[partition]) for partition in at})
                    await asyncio.sleep(EVERY)
        except (KafkaError, OSError) as error:
            _log.warning("the broker does not say how far behind we are", error=str(error))
            await asyncio.sleep(EVERY)
