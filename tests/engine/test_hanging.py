"""What hangs of a transaction is ended as the transaction was, before anything is read."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.hanging import TransactionalId
from streams.engine.writer import Record, TransactionalWriter, WriteError, Writes
from tests.support.brokers import KafkaBroker
from tests.support.topics import committed_offsets, create_topic, read_topic

pytestmark = pytest.mark.kafka


@contextlib.asynccontextmanager
async def trusting(kafka: KafkaBroker) -> AsyncIterator[None]:
    """Let the broker believe that a partition is in a transaction: nothing hangs otherwise."""

    async def set_to(configs: dict[str, str]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
        await admin.start()
        try:
            broker = ConfigResource(ConfigResourceType.BROKER, "1", configs)
            for response in await admin.alter_configs([broker]):
                assert all(code == 0 for code, *_ in response.resources), response
        finally:
            await admin.close()

    await set_to({"transaction.partition.verification.enable": "false"})
    try:
        yield
    finally:
        await set_to({})


class Bench:
    """A transactional id that writes to a topic of three partitions."""

    def __init__(self, kafka: KafkaBroker, topic: str) -> None:
        self.topic = topic
        self.address = kafka.address
        self._connection = {"bootstrap_servers": kafka.address}
        partitions = [TopicPartition(topic, number) for number in range(3)]
        self.id = TransactionalId(self._connection, f"{topic}-lane-0", topic, partitions)

    async def leave_hanging(self, *, committed: bool) -> None:
        """Write to partitions 0, 1 and 2 in a transaction that ends in partition 0 only."""
        async with self._producer() as producer:
            await producer.begin_transaction()
            for number in (1, 2):
                # As if the coordinator had been told of it.
                producer._txn_manager._txn_partitions.add(TopicPartition(self.topic, number))
            for number in range(3):
                await producer.send_and_wait(self.topic, b"hangs", partition=number)
            await (producer.commit_transaction() if committed else producer.abort_transaction())

    async def open_another(self) -> None:
        """Open a producer with the id, and do nothing with it."""
        async with self._producer():
            pass

    @contextlib.asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(**self._connection, transactional_id=self.id.name)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[TransactionalWriter]:
        writer = TransactionalWriter(self._connection, self.id, 20.0)
        await writer.open()
        try:
            yield writer
        finally:
            await writer.close()

    async def values(self) -> list[list[bytes | None]]:
        """What can be read in each partition."""
        found: list[list[bytes | None]] = [[], [], []]
        for record in await read_topic(self.address, self.topic):
            found[record.partition].append(record.value)
        return found


def writes_to(topic: str, *partitions: int) -> Writes:
    writes = Writes()
    for number in partitions:
        writes.add(topic, number, Record(None, b"next"))
    return writes


@pytest.fixture
async def bench(kafka: KafkaBroker, unique: str) -> AsyncIterator[Bench]:
    await create_topic(kafka.address, unique, 3)
    async with trusting(kafka):
        yield Bench(kafka, unique)


@pytest.mark.parametrize("committed", [True, False])
async def test_it_ends_as_the_transaction_did(bench: Bench, committed: bool) -> None:
    await bench.leave_hanging(committed=committed)
    hangs = [b"hangs"] if committed else []
    assert await bench.values() == [hangs, [], []]
    async with bench.writer() as writer:
        assert await bench.values() == [hangs, hangs, hangs]
        writes = writes_to(bench.topic, 1)
        # The record that hung, and its end.
        writes.begin[TopicPartition(bench.topic, 1)] = 2
        await writer.write(writes)
        assert await bench.values() == [hangs, [*hangs, b"next"], hangs]


async def test_without_it_the_next_transaction_decides(bench: Bench) -> None:
    """Which is why it is done: this one was aborted, and can be read."""
    await bench.leave_hanging(committed=False)
    async with bench._producer() as producer, producer.transaction():
        await producer.send_and_wait(bench.topic, b"next", partition=1)
    assert await bench.values() == [[], [b"hangs", b"next"], []]


async def test_how_it_ended_is_kept_in_mind_when_opening_fails(bench: Bench) -> None:
    await bench.leave_hanging(committed=True)
    await bench.id.look()
    # The coordinator does not know any more.
    await bench.open_another()
    async with bench.writer():
        assert await bench.values() == [[b"hangs"]] * 3


async def test_what_nobody_knows_of_is_taken_back(bench: Bench) -> None:
    await bench.leave_hanging(committed=True)
    await bench.open_another()
    async with bench.writer():
        assert await bench.values() == [[b"hangs"], [], []]


async def test_a_transaction_that_opening_aborts_is_not_taken_for_the_one_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.leave_hanging(committed=True)
    async with bench.writer():
        pass
    async with bench._producer() as zombie:
        async with zombie.transaction():
            await zombie.send_and_wait(bench.topic, b"before", partition=0)
        await bench.id.look()
        await zombie.begin_transaction()
        zombie._txn_manager._txn_partitions.add(TopicPartition(bench.topic, 1))
        for number in (0, 1):
            await zombie.send_and_wait(bench.topic, b"zombie", partition=number)

        async def too_early() -> None:
            """Nobody looks again: the zombie was not seen to begin."""

        monkeypatch.setattr(bench.id, "look", too_early)
        async with bench.writer():
            assert await bench.values() == [[b"hangs", b"before"], [b"hangs"], [b"hangs"]]


async def test_nothing_is_written_where_nothing_hangs(bench: Bench) -> None:
    for _ in range(2):
        async with bench.writer() as writer:
            await writer.write(writes_to(bench.topic, 0))
    async with bench.writer() as writer:
        writes = writes_to(bench.topic, 0, 1)
        writes.begin |= {TopicPartition(bench.topic, 0): 4, TopicPartition(bench.topic, 1): 0}
        await writer.write(writes)


async def test_offsets_that_hang_are_ended_too(bench: Bench) -> None:
    async with bench.writer() as writer:
        writes = writes_to(bench.topic, 0)
        writes.offsets[TopicPartition(bench.topic, 0)] = OffsetAndMetadata(7, "")
        await writer.write(writes)
    await bench.leave_hanging(committed=True)
    async with bench.writer():
        offsets = await committed_offsets(bench.address, bench.topic, bench.topic)
        assert offsets == {0: 7}


async def test_a_topic_that_is_not_there_cannot_be_looked_into(
    kafka: KafkaBroker, unique: str
) -> None:
    connection = {"bootstrap_servers": kafka.address}
    gone = TransactionalId(connection, unique, unique, [TopicPartition(unique, 0)])
    writer = TransactionalWriter(connection, gone, 5.0)
    with pytest.raises(WriteError, match="has no leader"):
        await writer.open()
    await writer.close()
