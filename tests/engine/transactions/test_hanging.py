"""Hanging transactions are resolved as their coordinator decided, before anything is read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.produce.writer import Record, TransactionalWriter, TransactionBatch, WriteError
from streams.engine.transactions.admin import Described, Producer, TransactionAdmin
from streams.engine.transactions.hanging import HangingTransactions
from tests.chaos.kafka import linked_kafka
from tests.chaos.link import INIT_PRODUCER_ID
from tests.support.brokers import KafkaBroker
from tests.support.topics import committed_offsets, create_topic, read_topic
from tests.support.waiting import until

pytestmark = pytest.mark.kafka
CHANGELOG = 0
VERIFICATION = "transaction.partition.verification.enable"


@contextlib.asynccontextmanager
async def trusting(address: str) -> AsyncIterator[None]:
    """Let the broker believe that a partition is in a transaction: nothing hangs otherwise."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await set_verification(admin, {VERIFICATION: "false"})
        yield
    finally:
        await set_verification(admin, {})
        await admin.close()


async def set_verification(admin: AIOKafkaAdminClient, configs: dict[str, str]) -> None:
    """Change the broker's dynamic settings; return when the broker goes by them.

    The answer to the change comes before that: the broker learns of it from the metadata log.
    """
    broker = ConfigResource(ConfigResourceType.BROKER, "1", configs)
    for response in await admin.alter_configs([broker]):
        assert all(code == 0 for code, *_ in response.resources), response
    asked = ConfigResource(ConfigResourceType.BROKER, "1", {VERIFICATION: None})
    expected = configs.get(VERIFICATION, "true")

    async def is_heeded() -> bool:
        (response,) = await admin.describe_configs([asked])
        ((*_, entries),) = response.resources
        return [value for _, value, *_ in entries] == [expected]

    await until(is_heeded)


class TaskHarness:
    """A transactional id that writes to three partitions, of which the first one is the state."""

    def __init__(self, address: str, topic: str) -> None:
        self.topic = topic
        self.address = address
        self.connection: dict[str, Any] = {"bootstrap_servers": address}
        self.ends = self.other_ends()

    def other_ends(self) -> HangingTransactions:
        """Make what another worker has."""
        partitions = [TopicPartition(self.topic, number) for number in range(3)]
        return HangingTransactions(
            self.connection, f"{self.topic}-task-0", self.topic, partitions[CHANGELOG], partitions
        )

    @contextlib.asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """Open a producer with the id."""
        address, name = self.address, self.ends.transactional_id
        producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=name)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def write(
        self, producer: AIOKafkaProducer, value: bytes, *numbers: int, hangs: tuple[int, ...] = ()
    ) -> None:
        """Write to partitions in the transaction under way; in some, its end will be missing."""
        for number in hangs:
            leave_out(producer, TopicPartition(self.topic, number))
        for number in (*numbers, *hangs):
            await producer.send_and_wait(self.topic, value, partition=number)

    async def leave_hanging(self, *, committed: bool) -> None:
        """Write in a transaction that ends in partition 0 only."""
        async with self.producer() as producer:
            await producer.begin_transaction()
            await self.write(producer, b"hangs", 0, hangs=(1, 2))
            await (producer.commit_transaction() if committed else producer.abort_transaction())

    async def described(self) -> Described:
        """Ask the coordinator, past any link, what it knows of the id."""
        name = self.ends.transactional_id
        where = {"bootstrap_servers": self.address}
        async with TransactionAdmin.connected(where, name) as admin:
            last = await admin.describe()
        assert last is not None
        return last

    async def is_complete(self) -> bool:
        """Tell whether the last transaction has ended everywhere, as far as is known."""
        return (await self.described()).state.startswith("Complete")

    async def is_opened_again(self) -> bool:
        """Tell whether a producer with the id was opened after the first one."""
        return (await self.described()).producer.epoch > 0

    async def open_in_vain(self) -> None:
        """Open a producer with the id, and do nothing with it."""
        async with self.producer():
            pass

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[TransactionalWriter]:
        """Open what is to be tested."""
        writer = TransactionalWriter(self.connection, self.ends, 20.0)
        try:
            await writer.open()
            yield writer
        finally:
            await writer.close()

    async def values(self) -> list[list[bytes | None]]:
        """Return what can be read in each partition."""
        found: list[list[bytes | None]] = [[], [], []]
        for record in await read_topic(self.address, self.topic, hanging=True):
            found[record.partition].append(record.value)
        return found

    def writes(self, *numbers: int, value: bytes = b"next") -> TransactionBatch:
        """Make a record for each of some partitions."""
        writes = TransactionBatch()
        for number in numbers:
            writes.add(self.topic, number, Record(None, value))
        return writes


def leave_out(producer: AIOKafkaProducer, partition: TopicPartition) -> None:
    """Let a producer write to a partition as if the coordinator had been told of it."""
    producer._txn_manager._txn_partitions.add(partition)


def always_leave_out(
    writer: TransactionalWriter, partition: TopicPartition, patch: pytest.MonkeyPatch
) -> None:
    """Do the same in each transaction of a writer that begins from here on."""
    begin = writer._producer.begin_transaction

    async def begin_and_leave_out() -> None:
        await begin()
        leave_out(writer._producer, partition)

    patch.setattr(writer._producer, "begin_transaction", begin_and_leave_out)


@pytest.fixture
async def harness(kafka: KafkaBroker, unique: str) -> AsyncIterator[TaskHarness]:
    await create_topic(kafka.address, unique, 3)
    async with trusting(kafka.address):
        yield TaskHarness(kafka.address, unique)


@pytest.mark.parametrize("committed", [True, False])
async def test_it_ends_as_the_transaction_did(harness: TaskHarness, committed: bool) -> None:
    await harness.leave_hanging(committed=committed)
    hangs = [b"hangs"] if committed else []
    assert await harness.values() == [hangs, [], []]
    async with harness.writer() as writer:
        assert await harness.values() == [hangs, hangs, hangs]
        writes = harness.writes(1)
        # The record of the hanging transaction, and its marker.
        writes.begin[TopicPartition(harness.topic, 1)] = 2
        await writer.write(writes)
        assert await harness.values() == [hangs, [*hangs, b"next"], hangs]


async def test_without_it_the_next_transaction_decides(harness: TaskHarness) -> None:
    """Which is why it is done: this one was aborted, and can be read."""
    await harness.leave_hanging(committed=False)
    async with harness.producer() as producer, producer.transaction():
        await harness.write(producer, b"next", 1)
    assert await harness.values() == [[], [b"hangs", b"next"], []]


async def test_nothing_is_written_where_nothing_hangs(harness: TaskHarness) -> None:
    for _ in range(2):
        async with harness.writer() as writer:
            await writer.write(harness.writes(0))
    async with harness.writer() as writer:
        writes = harness.writes(0, 1)
        writes.begin |= {TopicPartition(harness.topic, 0): 4, TopicPartition(harness.topic, 1): 0}
        await writer.write(writes)


async def test_no_transaction_begins_before_the_one_before_has_ended(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness.writer() as writer:
        always_leave_out(writer, TopicPartition(harness.topic, CHANGELOG), monkeypatch)
        await writer.write(harness.writes(0, 1, value=b"first"))
        assert await harness.values() == [[], [b"first"], []]
        with pytest.raises(WriteError, match="hanging transaction in"):
            await writer.write(harness.writes(0, 1))
    async with harness.writer():
        assert await harness.values() == [[b"first"], [b"first"], []]


async def test_after_a_connection_was_lost_it_has_to_have_ended_everywhere(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off, the next transaction would take back what hangs in a partition of both."""
    async with harness.writer() as writer:
        for number in range(3):
            await writer.write(harness.writes(0, value=str(number).encode()))
        with monkeypatch.context() as patch:
            always_leave_out(writer, TopicPartition(harness.topic, 1), patch)
            await writer.write(harness.writes(0, 1, value=b"first"))
        for connection in writer._producer.client._conns.values():
            connection.close()
        with pytest.raises(WriteError, match=f"hanging transaction in {harness.topic}-1"):
            await writer.write(harness.writes(0, 1))
    async with harness.writer():
        assert await harness.values() == [[b"0", b"1", b"2", b"first"], [b"first"], []]


async def test_while_connections_stay_one_partition_is_asked(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    left_open = TransactionAdmin.left_open

    async def noted(
        admin: TransactionAdmin, partitions: Collection[TopicPartition], producer: Producer
    ) -> Any:
        asked.append(len(partitions))
        return await left_open(admin, partitions, producer)

    monkeypatch.setattr(TransactionAdmin, "left_open", noted)
    async with harness.writer() as writer:
        for _ in range(5):
            await writer.write(harness.writes(0, 1))
    assert asked[0] == 3
    assert asked[-2:] == [1, 1]


async def test_how_it_ended_is_kept_in_mind_when_opening_fails(harness: TaskHarness) -> None:
    await harness.leave_hanging(committed=True)
    await harness.ends.inspect()
    # The coordinator does not know any more.
    await harness.open_in_vain()
    async with harness.writer():
        assert await harness.values() == [[b"hangs"]] * 3


async def test_what_nobody_knows_of_is_taken_back(harness: TaskHarness) -> None:
    await harness.leave_hanging(committed=True)
    await harness.open_in_vain()
    async with harness.writer():
        assert await harness.values() == [[b"hangs"], [], []]


async def test_what_hung_before_the_last_transaction_is_committed(harness: TaskHarness) -> None:
    async with harness.producer() as producer:
        await producer.begin_transaction()
        await harness.write(producer, b"first", 0, hangs=(1,))
        await producer.commit_transaction()
        await producer.begin_transaction()
        await harness.write(producer, b"cut off", 0)
        async with harness.writer():
            assert await harness.values() == [[b"first"], [b"first"], []]


def name_all(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the coordinator name partition 1 too, as it does when it was told of it."""
    describe = TransactionAdmin.describe

    async def describe_all(admin: TransactionAdmin) -> Described | None:
        last = await describe(admin)
        there = {TopicPartition(harness.topic, 1)}
        return last and last._replace(partitions=last.partitions | there)

    monkeypatch.setattr(TransactionAdmin, "describe", describe_all)


@pytest.mark.parametrize("under_way", [True, False])
async def test_one_that_is_committed_after_the_look_is_committed(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch, under_way: bool
) -> None:
    look = harness.ends.inspect
    async with harness.producer() as zombie:

        async def begin() -> None:
            await zombie.begin_transaction()
            await harness.write(zombie, b"late", 0, hangs=(1,))

        async def look_too_early() -> None:
            await look()
            if not under_way:
                await begin()
            await zombie.commit_transaction()

        if under_way:
            await begin()
            name_all(harness, monkeypatch)
        monkeypatch.setattr(harness.ends, "inspect", look_too_early)
        async with harness.writer():
            assert await harness.values() == [[b"late"], [b"late"], []]


@pytest.mark.parametrize("under_way", [True, False])
async def test_one_that_is_cut_off_by_the_opening_is_aborted(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch, under_way: bool
) -> None:
    look = harness.ends.inspect
    async with harness.producer() as zombie:
        async with zombie.transaction():
            await harness.write(zombie, b"before", 0)

        async def begin() -> None:
            await zombie.begin_transaction()
            await harness.write(zombie, b"cut off", 0, hangs=(1,))

        async def look_too_early() -> None:
            await look()
            if not under_way:
                await begin()

        if under_way:
            await begin()
            name_all(harness, monkeypatch)
        monkeypatch.setattr(harness.ends, "inspect", look_too_early)
        async with harness.writer():
            assert await harness.values() == [[b"before"], [], []]


async def test_two_that_open_at_once_know_the_same(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.leave_hanging(committed=True)
    look = harness.ends.inspect

    async def look_and_be_overtaken() -> None:
        await look()
        await harness.other_ends().inspect()
        # Shut out before it could end anything.
        await harness.open_in_vain()

    monkeypatch.setattr(harness.ends, "inspect", look_and_be_overtaken)
    async with harness.writer():
        assert await harness.values() == [[b"hangs"]] * 3


async def test_an_answer_that_is_lost_changes_nothing(unique: str) -> None:
    """The producer asks for its id again, and gets an epoch that says less."""
    async with linked_kafka() as (kafka, link):
        await create_topic(kafka.address, unique, 3)
        async with trusting(kafka.address):
            harness = TaskHarness(kafka.address, unique)
            await harness.leave_hanging(committed=True)
            # Before that a coordinator gives no id, but says that it is to be asked again.
            await until(harness.is_complete)
            harness.connection["bootstrap_servers"] = link.addresses
            writer = TransactionalWriter(harness.connection, harness.other_ends(), 20.0)
            opening = asyncio.create_task(writer.open())
            try:
                hold = lambda: link.hold("to the worker")  # noqa: E731 - short, and only here
                await link.meet(INIT_PRODUCER_ID, hold, swallow=False, within=10)
                # Its answer is held: only the coordinator can say that it has given the id.
                await until(harness.is_opened_again)
                link.reset()
                link.heal()
                await opening
                # One for each producer that was opened.
                assert writer._known_as().epoch > 1
            finally:
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
                await writer.close()
            assert await harness.values() == [[b"hangs"]] * 3


async def test_it_is_ended_when_the_coordinator_does_not_answer_at_once(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.leave_hanging(committed=True)
    ask, asked = TransactionAdmin._ask_coordinator, set()

    async def fail_once(admin: TransactionAdmin, request: Any) -> Any:
        answer = await ask(admin, request)
        if type(request) not in asked:
            asked.add(type(request))
            raise KafkaConnectionError("disconnected")
        return answer

    monkeypatch.setattr(TransactionAdmin, "_ask_coordinator", fail_once)
    async with harness.writer():
        assert await harness.values() == [[b"hangs"]] * 3
    assert len(asked) == 4


async def test_an_end_that_is_left_out_again_is_sent_again(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.leave_hanging(committed=True)
    tell = TransactionAdmin._tell_coordinator
    told: list[list[int]] = []

    async def leave_out_first(admin: TransactionAdmin, request: Any) -> None:
        if isinstance(request, AddPartitionsToTxnRequest):
            if not told:
                request._topics = [(harness.topic, [1])]
            told.append(sorted(request._topics[0][1]))
        await tell(admin, request)

    monkeypatch.setattr(TransactionAdmin, "_tell_coordinator", leave_out_first)
    async with harness.writer():
        assert await harness.values() == [[b"hangs"]] * 3
    assert told == [[1], [2]]


async def test_it_is_ended_also_when_nobody_waits_for_it(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun and not ended, it would be aborted by the next opening."""
    await harness.leave_hanging(committed=True)
    tell = TransactionAdmin._tell_coordinator
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(admin: TransactionAdmin, request: Any) -> None:
        await tell(admin, request)
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(TransactionAdmin, "_tell_coordinator", wait)
    writer = TransactionalWriter(harness.connection, harness.ends, 20.0)
    opening = asyncio.create_task(writer.open())
    await begun.wait()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await writer.close()
    asyncio.get_running_loop().call_later(0.2, go_on.set)
    async with harness.writer():
        assert await harness.values() == [[b"hangs"]] * 3


async def test_offsets_stay_where_they_were(harness: TaskHarness) -> None:
    async with harness.writer() as writer:
        writes = harness.writes(0)
        writes.offsets[TopicPartition(harness.topic, 0)] = OffsetAndMetadata(7, "")
        await writer.write(writes)
    await harness.leave_hanging(committed=True)
    async with harness.writer():
        offsets = await committed_offsets(harness.address, harness.topic, harness.topic)
        assert offsets == {0: 7}


async def test_what_hangs_of_an_exhausted_producer_is_told(
    harness: TaskHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.leave_hanging(committed=True)
    async with harness.producer() as producer:
        known = producer._txn_manager.producer_id
    await harness.ends.inspect()
    await harness.ends.resolve(Producer(known + 1_000, 0))
    assert "only an operator can abort it" in capsys.readouterr().out


async def test_a_topic_that_is_not_there_is_not_waited_for_without_end(
    kafka: KafkaBroker, unique: str
) -> None:
    connection, partition = {"bootstrap_servers": kafka.address}, TopicPartition(unique, 0)
    ends = HangingTransactions(connection, unique, unique, partition, [partition])
    writer = TransactionalWriter(connection, ends, 2.0)
    with pytest.raises(WriteError, match="TimeoutError"):
        await writer.open()
    await writer.close()
