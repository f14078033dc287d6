"""Reading a task's state back, to its very end."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.cluster.reading import committed_offsets, end_of, read_state, reading
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.topics import create_topic
from tests.support.waiting import until

WITHIN_S = 30.0


async def state_of(
    address: str, topic: str, *, committed: bool, partition: int = 0
) -> tuple[list[tuple[bytes, bytes | None]], list[tuple[int, int]]]:
    """Return the records and the progress of reading."""
    records: list[tuple[bytes, bytes | None]] = []
    progress: list[tuple[int, int]] = []
    async with (
        asyncio.timeout(WITHIN_S),
        reading({"bootstrap_servers": address}, committed=committed) as consumer,
    ):
        count, end = await read_state(
            consumer,
            TopicPartition(topic, partition),
            lambda _, key, value: records.append((key, value)),
            lambda at, end: progress.append((at, end)),
        )
    assert count == len(records)
    assert end == (progress[-1][0] if progress else 0)
    return records, progress


async def end_of_topic(address: str, topic: str, *, committed: bool, partition: int = 0) -> int:
    async with (
        asyncio.timeout(WITHIN_S),
        reading({"bootstrap_servers": address}, committed=committed) as consumer,
    ):
        return await end_of(consumer, TopicPartition(topic, partition), committed=committed)


async def test_all_of_it_is_read_whatever_the_batches(broker: RunningBroker, unique: str) -> None:
    """The embedded broker says that a partition ends where its last batch begins."""
    await create_topic(broker.address, unique, 2)
    sent: list[tuple[bytes, bytes | None]] = []
    committed = broker.guarantee == "exactly-once"
    async with AIOKafkaProducer(
        bootstrap_servers=broker.address, max_batch_size=1024 * 1024
    ) as producer:
        for size in (1, 5, 3, 1000):
            batch = producer.create_batch()
            for n in range(size):
                key, value = b"%d-%d" % (size, n), b"v" * 100 if n % 3 else None
                batch.append(key=key, value=value, timestamp=None)
                sent.append((key, value))
            await (await producer.send_batch(batch, unique, partition=0))
            records, progress = await state_of(broker.address, unique, committed=committed)
            assert records == sent
            assert await end_of_topic(broker.address, unique, committed=committed) == len(sent)
            assert progress[-1] == (len(sent), len(sent))
    assert await state_of(broker.address, unique, committed=committed, partition=1) == ([], [])
    assert await end_of_topic(broker.address, unique, committed=committed, partition=1) == 0


@pytest.mark.kafka
async def test_aborted_transactions_and_markers_are_no_records(
    kafka: KafkaBroker, unique: str
) -> None:
    await create_topic(kafka.address, unique, 1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=unique)
    committed: list[tuple[bytes, bytes | None]] = []
    async with producer:
        for value, commit in ((b"a", True), (b"b", False), (b"c", True), (b"d", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(unique, value, key=b"k")
            if commit:
                await producer.commit_transaction()
                committed.append((b"k", value))
            else:
                await producer.abort_transaction()
            # A committed record may be read a moment after the commit has been answered.
            await until(lambda: all_of_it_is_read(kafka.address, unique, committed))
        records, progress = await state_of(kafka.address, unique, committed=True)
    assert records == [(b"k", b"a"), (b"k", b"c")]
    assert progress[-1] == (8, 8)


async def all_of_it_is_read(
    address: str, topic: str, committed: list[tuple[bytes, bytes | None]]
) -> bool:
    """Tell whether all that was committed can be read; it is an error if anything else can."""
    records, _ = await state_of(address, topic, committed=True)
    assert records == committed[: len(records)]
    return len(records) == len(committed)


@pytest.mark.kafka
async def test_nothing_but_an_aborted_transaction_is_nothing(
    kafka: KafkaBroker, unique: str
) -> None:
    await create_topic(kafka.address, unique, 1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=unique)
    async with producer:
        await producer.begin_transaction()
        await producer.send_and_wait(unique, b"x")
        await producer.abort_transaction()
    records, progress = await state_of(kafka.address, unique, committed=True)
    assert (records, progress[-1]) == ([], (2, 2))


@pytest.mark.kafka
async def test_committed_offsets_come_with_what_was_said_beside_them(
    kafka: KafkaBroker, unique: str
) -> None:
    await create_topic(kafka.address, unique, 2)
    connection = {"bootstrap_servers": kafka.address}
    partitions = [TopicPartition(unique, n) for n in range(2)]
    at = {TopicPartition(unique, 1): OffsetAndMetadata(7, '{"event_time":5}')}
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=unique)
    async with producer, producer.transaction():
        await producer.send_offsets_to_transaction(at, unique)
    assert await committed_offsets(connection, unique, partitions) == at
    assert await committed_offsets(connection, unique, partitions[:1]) == {}
    assert await committed_offsets(connection, f"{unique}-other", partitions) == {}
