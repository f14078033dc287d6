"""Writing on real brokers: all or nothing, and nothing of a writer that was shut out."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

from streams.engine.produce.writer import (
    BATCH_BYTES,
    NonTransactionalWriter,
    Record,
    Sent,
    TransactionalWriter,
    TransactionBatch,
    WriteError,
    _spans,
)
from streams.engine.transactions.hanging import HangingTransactions
from tests.chaos.kafka import linked_kafka
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.ports import free_port
from tests.support.topics import committed_offsets, create_topic, read_topic
from tests.support.waiting import until

SOURCE = "source"


def writes_to(topic: str, *values: bytes, partition: int = 0) -> TransactionBatch:
    writes = TransactionBatch()
    for value in values:
        writes.add(topic, partition, Record(b"key", value, (("reason", b"why"),)))
    return writes


def ends_of(connection: Mapping[str, Any], unique: str) -> HangingTransactions:
    state = TopicPartition(unique, 0)
    return HangingTransactions(connection, f"{unique}-task-0", unique, state, [state])


async def values_of(address: str, topic: str, *, committed: bool = True) -> list[bytes | None]:
    return [record.value for record in await read_topic(address, topic, committed=committed)]


async def is_gone(writer: TransactionalWriter) -> bool:
    """Whether nothing of a writer's producer is left."""
    client = writer._producer.client
    return client._sync_task is None and not any(c.connected() for c in client._conns.values())


@pytest.fixture
def transactional(kafka: KafkaBroker, unique: str) -> Callable[[], TransactionalWriter]:
    """Make a writer of one and the same task."""

    def make() -> TransactionalWriter:
        connection = {"bootstrap_servers": kafka.address}
        return TransactionalWriter(connection, ends_of(connection, unique), 10.0)

    return make


@pytest.mark.kafka
async def test_nothing_is_committed_behind_something_that_was_not_read(
    kafka: KafkaBroker, unique: str, transactional: Callable[[], TransactionalWriter]
) -> None:
    await create_topic(kafka.address, unique, 1)
    partition = TopicPartition(unique, 0)
    writer = transactional()
    await writer.open()
    for begin in (0, 3):
        writes = writes_to(unique, b"one", b"two")
        writes.begin[partition] = begin
        # Two records and the end of the transaction.
        assert await writer.write(writes) == {partition: begin + 3}
    writes = writes_to(unique, b"three")
    writes.begin[partition] = 3
    with pytest.raises(WriteError, match="read up to offset 3, but has records up to 6"):
        await writer.write(writes)
    await writer.close()
    again = transactional()
    await again.open()
    assert await values_of(kafka.address, unique) == [b"one", b"two"] * 2
    await again.close()


@pytest.mark.kafka
async def test_records_and_offsets_are_committed_together(
    kafka: KafkaBroker, unique: str, transactional: Callable[[], TransactionalWriter]
) -> None:
    await create_topic(kafka.address, unique, 2)
    writer = transactional()
    await writer.open()
    writes = writes_to(unique, b"one", b"two")
    writes.add(unique, 1, Record(None, None))
    writes.offsets[TopicPartition(unique, 1)] = OffsetAndMetadata(17, "beside")
    await writer.write(writes)
    await writer.write(writes_to(unique, b"three"))
    await writer.close()
    records = await read_topic(kafka.address, unique)
    assert [(r.partition, r.key, r.value) for r in records] == [
        *((0, b"key", value) for value in (b"one", b"two", b"three")),
        (1, None, None),
    ]
    assert records[0].headers == (("reason", b"why"),)
    assert await committed_offsets(kafka.address, unique, unique) == {1: 17}


@pytest.mark.kafka
async def test_nothing_of_a_writer_that_was_shut_out_can_be_seen(
    kafka: KafkaBroker, unique: str, transactional: Callable[[], TransactionalWriter]
) -> None:
    await create_topic(kafka.address, unique, 1)
    old, new = transactional(), transactional()
    await old.open()
    await old.write(writes_to(unique, b"of old"))
    await new.open()
    stale = writes_to(unique, b"too late")
    stale.offsets[TopicPartition(unique, 0)] = OffsetAndMetadata(99, "")
    with pytest.raises(WriteError):
        await old.write(stale)
    await old.close()
    await new.write(writes_to(unique, b"of new"))
    await new.close()
    assert await values_of(kafka.address, unique) == [b"of old", b"of new"]
    assert await committed_offsets(kafka.address, unique, unique) == {}


@pytest.mark.kafka
async def test_a_transaction_under_way_is_aborted_by_the_next_writer(
    kafka: KafkaBroker, unique: str, transactional: Callable[[], TransactionalWriter]
) -> None:
    await create_topic(kafka.address, unique, 1)
    old, new = transactional(), transactional()
    await old.open()
    await old._producer.begin_transaction()
    await old._producer.send_and_wait(unique, b"unfinished")
    await new.open()
    await new.write(writes_to(unique, b"of new"))
    await old.close()
    await new.close()
    assert await values_of(kafka.address, unique) == [b"of new"]
    assert await values_of(kafka.address, unique, committed=False) == [b"unfinished", b"of new"]


@pytest.mark.kafka
async def test_what_is_too_large_takes_everything_with_it(
    kafka: KafkaBroker, unique: str, transactional: Callable[[], TransactionalWriter]
) -> None:
    await create_topic(kafka.address, unique, 2)
    writer = transactional()
    await writer.open()
    writes = writes_to(unique, b"small")
    writes.add(unique, 1, Record(None, b"x" * 1_100_000))
    with pytest.raises(WriteError, match="MessageSizeTooLarge"):
        await writer.write(writes)
    await writer.close()
    assert await values_of(kafka.address, unique) == []


@pytest.mark.kafka
async def test_a_writer_lets_go_of_a_broker_that_is_gone(
    own_kafka: KafkaBroker, unique: str
) -> None:
    await create_topic(own_kafka.address, unique, 1)
    connection = {"bootstrap_servers": own_kafka.address}
    writer = TransactionalWriter(connection, ends_of(connection, unique), 2.0)
    await writer.open()
    await writer.write(writes_to(unique, b"one"))
    await asyncio.to_thread(own_kafka.kill)
    with pytest.raises(WriteError, match="TimeoutError"):
        await asyncio.wait_for(writer.write(writes_to(unique, b"two")), 30)
    await asyncio.wait_for(writer.close(), 30)
    await asyncio.to_thread(own_kafka.start)
    await until(lambda: is_gone(writer))


@pytest.mark.kafka
async def test_a_writer_that_is_shut_out_in_the_middle_says_so(
    kafka: KafkaBroker,
    unique: str,
    transactional: Callable[[], TransactionalWriter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await create_topic(kafka.address, unique, 1)
    old = transactional()
    await old.open()
    begin = old._producer.begin_transaction

    async def begin_and_be_fenced() -> None:
        await begin()
        # As the sender does when a request of its own is refused.
        old._producer._txn_manager.fatal_error(ProducerFenced())

    monkeypatch.setattr(old._producer, "begin_transaction", begin_and_be_fenced)
    for _ in range(2):
        with pytest.raises(WriteError):
            await old.write(writes_to(unique, b"too late"))
    await old.close()


@pytest.mark.kafka
async def test_a_writer_gives_up_a_broker_that_is_silent_not_one_that_is_slow(
    unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.engine.produce.writer.STALLED_AFTER", 4.0)
    async with linked_kafka() as (kafka, link):
        await create_topic(kafka.address, unique, 1, max_message_bytes=f"{2 * BATCH_BYTES}")
        connection = {"bootstrap_servers": link.addresses}
        old = TransactionalWriter(connection, ends_of(connection, unique), 600.0)
        await old.open()
        # A batch takes more than a second, and all of them longer than patience lasts.
        link.delay = 0.2
        slow = writes_to(unique, *(b"%d" % n * (BATCH_BYTES - 100) for n in range(6)))
        slow.offsets[TopicPartition(unique, 0)] = OffsetAndMetadata(6, "")
        await old.write(slow)
        link.delay = 0.0
        link.hold("to the worker")
        with pytest.raises(WriteError, match="TimeoutError"):
            await asyncio.wait_for(old.write(writes_to(unique, b"no answer")), 60)
        link.heal()
        await old.close()
        new = TransactionalWriter(connection, ends_of(connection, unique), 600.0)
        await new.open()
        await new.write(writes_to(unique, b"of new"))
        await new.close()
        await until(lambda: is_gone(old))
        last = [value for value in await values_of(kafka.address, unique) if value][-2:]
        assert (last[0][:1], last[1]) == (b"5", b"of new")
        assert await committed_offsets(kafka.address, unique, unique) == {0: 6}


async def test_a_broker_that_does_not_know_where_the_records_are() -> None:
    partition = TopicPartition("t", 3)

    def sent(offset: int) -> Sent:
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(RecordMetadata("t", 3, partition, offset, 0, 0, 0))
        return Sent(partition, 2, acknowledged)

    assert _spans([sent(5), sent(7)]) == {partition: range(5, 9)}
    with pytest.raises(WriteError, match="does not know where"):
        _spans([sent(5), sent(-1)])


SIZES = (1, BATCH_BYTES - 100, 1, BATCH_BYTES + 1, 3_000_000, 7)


async def test_records_of_any_size_arrive_in_order(broker: RunningBroker, unique: str) -> None:
    await create_topic(broker.address, unique, 1, max_message_bytes="4000000")
    writes = writes_to(unique, *(bytes([65 + n]) * size for n, size in enumerate(SIZES)))
    for n in range(5_000):
        writes.add(unique, 0, Record(b"%d" % n, b"y" * 700))
    connection = {"bootstrap_servers": broker.address}
    writer: NonTransactionalWriter | TransactionalWriter
    if broker.kind == "kafka":
        writer = TransactionalWriter(connection, ends_of(connection, unique), 10.0)
    else:
        writer = NonTransactionalWriter(connection, _no_commit, asyncio.Lock())
    await writer.open()
    await writer.write(writes)
    await writer.close()
    found = await read_topic(broker.address, unique)
    sent = writes.records[TopicPartition(unique, 0)]
    assert [(r.key, r.value) for r in found] == [(r.key, r.value) for r in sent]


async def _no_commit(_: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    raise AssertionError("there are no offsets")


async def test_a_plain_writer_commits_after_the_records(broker: RunningBroker, unique: str) -> None:
    await create_topic(broker.address, unique, 1)
    seen: list[Any] = []

    async def commit(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        seen.append((dict(offsets), await values_of(broker.address, unique, committed=False)))

    writer = NonTransactionalWriter({"bootstrap_servers": broker.address}, commit, asyncio.Lock())
    await writer.open()
    writes = writes_to(unique, b"one")
    writes.offsets[TopicPartition(SOURCE, 0)] = OffsetAndMetadata(5, "")
    await writer.write(writes)
    await writer.close()
    assert seen == [({TopicPartition(SOURCE, 0): OffsetAndMetadata(5, "")}, [b"one"])]


async def test_plain_writers_do_not_write_at_once(embedded_broker: str, unique: str) -> None:
    """The embedded broker would lose a batch now and then, some one in six hundred."""
    await create_topic(embedded_broker, unique, 1)
    turn = asyncio.Lock()
    writer = NonTransactionalWriter({"bootstrap_servers": embedded_broker}, _no_commit, turn)
    await writer.open()
    async with turn:
        writing = asyncio.create_task(writer.write(writes_to(unique, b"one")))
        done, _ = await asyncio.wait({writing}, timeout=0.5)
        assert not done
    await writing
    await writer.close()
    assert await values_of(embedded_broker, unique, committed=False) == [b"one"]


@pytest.mark.parametrize("kind", ["plain", "transactional"])
async def test_no_broker_is_a_write_error(kind: str, unique: str) -> None:
    connection = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    writer = (
        NonTransactionalWriter(connection, _no_commit, asyncio.Lock())
        if kind == "plain"
        else TransactionalWriter(connection, ends_of(connection, unique), 1.0)
    )
    with pytest.raises(WriteError, match="cannot start"):
        await asyncio.wait_for(writer.open(), 60)
    await writer.close()


def test_writes_know_whether_there_are_any() -> None:
    assert not TransactionBatch()
    assert writes_to("t", b"")
    assert TransactionBatch(offsets={TopicPartition("t", 0): OffsetAndMetadata(1, "")})
