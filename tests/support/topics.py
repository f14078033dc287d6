"""Making, filling and reading topics."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.engine.transactions.admin import TransactionAdmin
from tests.support.mixture import SourceRecord
from tests.support.waiting import until

READ_WITHIN_S = 60.0
GROUP_OFFSETS = "__consumer_offsets"
COMMITTED = {"PrepareCommit", "CompleteCommit"}
"""States of a transaction whose coordinator has decided to commit it."""
Read: TypeAlias = "ConsumerRecord[bytes | None, bytes | None]"
Reader: TypeAlias = "AIOKafkaConsumer[bytes | None, bytes | None]"


TOPIC_EXISTS = 36
"""Kafka's code of an error."""


async def create_topic(address: str, name: str, partitions: int, **settings: str) -> None:
    """Make a topic; settings with underscores for dots."""
    assert await _created(address, name, partitions, settings) == 0


async def ensure_topic(address: str, name: str, partitions: int) -> None:
    """Make a topic, unless a worker that was started before has made it by now."""
    assert await _created(address, name, partitions, {}) in {0, TOPIC_EXISTS}


async def _created(address: str, name: str, partitions: int, settings: Mapping[str, str]) -> int:
    """Make a topic; return what Kafka says, as the code of an error."""
    configs = {key.replace("_", "."): value for key, value in settings.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        topic = NewTopic(name, partitions, 1, topic_configs=configs)
        response = await admin.create_topics([topic])
    finally:
        await admin.close()
    ((_, code, *_),) = response.topic_errors
    return int(code)


async def delete_topic(address: str, name: str) -> None:
    """Delete a topic; return when it is gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await until(gone)
    finally:
        await admin.close()


class Sender:
    """Sends many records in few batches, inside `async with`.

    A broker that goes away may get some of them twice, or in another order: what is in the topic
    says the topic, not what was sent.

    Args:
        address: of a broker.
        topic: where to.
        compression: the codec's name; null for none.
    """

    def __init__(self, address: str, topic: str, compression: str | None = None) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=address,
            max_batch_size=512 * 1024,
            acks="all",
            compression_type=compression,
        )
        self._topic = topic
        self._batches: dict[int, Any] = {}
        self._futures: list[Any] = []

    async def send(self, records: Iterable[SourceRecord]) -> None:
        """Send records, in order for each partition; return when the broker has them."""
        for record in records:
            while not self._append(record):
                await self._ship(record.partition)
        await self.flush()

    def _append(self, record: SourceRecord) -> bool:
        batch = self._batches.get(record.partition)
        if batch is None:
            batch = self._batches[record.partition] = self._producer.create_batch()
        headers = list(record.headers)
        added = batch.append(key=record.key, value=record.value, timestamp=None, headers=headers)
        return added is not None

    async def send_bytes(self, partition: int, batch_bytes: bytes) -> None:
        """Send a batch as it is, whatever it is."""
        batch = self._producer.create_batch()
        batch.append(key=None, value=b"", timestamp=None)
        batch.close()
        batch._buffer = batch_bytes
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        await future

    async def _ship(self, partition: int) -> None:
        batch = self._batches.pop(partition)
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._futures.append(future)

    async def flush(self) -> None:
        """Wait until the broker has all that was sent."""
        for partition in list(self._batches):
            await self._ship(partition)
        for future in self._futures:
            await future
        self._futures.clear()

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()


async def read_topic(
    address: str, topic: str, *, committed: bool = True, hanging: bool = False
) -> list[Read]:
    """Read a topic from its beginning to its present end, each partition in order.

    Args:
        address: of a broker.
        topic: the topic.
        committed: leave out what was not committed. As a coordinator says that a transaction is
            committed before its records can be read, transactions that are open are waited for.
        hanging: do not wait: read up to the first open transaction.

    Raises:
        AssertionError: it did not get there within `READ_WITHIN_S`.
    """
    async with _reader(address, committed=committed) as consumer:
        partitions = await _assign(consumer, topic)
        if committed and not hanging:
            async with _reader(address, committed=False) as of_all:
                ends = await of_all.end_offsets(partitions)
        else:
            ends = await consumer.end_offsets(partitions)
        records: dict[TopicPartition, list[Read]] = {partition: [] for partition in partitions}
        deadline = time.monotonic() + READ_WITHIN_S
        while [p for p in partitions if await consumer.position(p) < ends[p]]:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for partition, batch in (await consumer.getmany(timeout_ms=300)).items():
                records[partition] += batch
                # The embedded broker's end offset leaves out most of its last batch.
                ends[partition] = max(ends[partition], consumer.last_stable_offset(partition) or 0)
        return [record for each in records.values() for record in each]


@asynccontextmanager
async def _reader(address: str, *, committed: bool) -> AsyncIterator[Reader]:
    consumer: Reader = AIOKafkaConsumer(
        bootstrap_servers=address,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _assign(consumer: Reader, topic: str) -> list[TopicPartition]:
    """Let a consumer read a topic from its beginning; return the partitions."""
    names = consumer.partitions_for_topic(topic)
    if names is None:
        await consumer._client.add_topic(topic)
        names = consumer.partitions_for_topic(topic)
    partitions = [TopicPartition(topic, number) for number in sorted(names or ())]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    return partitions


async def committed_offsets(address: str, group: str, topic: str) -> dict[int, int]:
    """Ask for a group's committed offsets of one topic, by partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {p.partition: at.offset for p, at in offsets.items() if p.topic == topic}


async def has_hidden_offsets(address: str, transactional_id: str) -> bool:
    """Tell whether a transaction was committed but is open still where groups keep their offsets.

    The group does not show the offsets of such a transaction.
    """
    connection = {"bootstrap_servers": address}
    client = AIOKafkaAdminClient(**connection)
    await client.start()
    try:
        (topic,) = await client.describe_topics([GROUP_OFFSETS])
    finally:
        await client.close()
    partitions = [TopicPartition(GROUP_OFFSETS, each["partition"]) for each in topic["partitions"]]
    async with TransactionAdmin.connected(connection, transactional_id) as admin:
        last = await admin.describe()
        if last is None or last.state not in COMMITTED:
            return False
        return bool(await admin.open_in(partitions, last.producer))
