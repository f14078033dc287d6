"""Topics for the tests of sending: made, and read back."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def make_topic(address: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


async def contents(address: str, topic: str, count: int) -> list[Any]:
    """Return all records as soon as there are `count`, those of a partition in their order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        cluster = await consumer._client.fetch_all_metadata()
        partitions = [TopicPartition(topic, n) for n in cluster.partitions_for_topic(topic)]
        consumer.assign(partitions)
        records: list[Any] = []
        async with asyncio.timeout(30):
            while len(records) < count:
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(found)
        return records
    finally:
        await consumer.stop()
