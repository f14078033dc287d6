"""Writes results of a task and the offsets of their input, together.

`TransactionalWriter` is for Kafka: one transaction holds the records and the offsets.
`NonTransactionalWriter` is for brokers without transactions: records first, then offsets, so that a
crash between the two repeats (at least once).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
)
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

from streams.engine.cluster.broken_connections import treat_as_broken
from streams.engine.produce.broker_clock import BrokerClock, known_clock
from streams.engine.transactions.admin import Producer
from streams.engine.transactions.connections import Connections
from streams.engine.transactions.hanging import HangingTransactions

BATCH_BYTES = 512 * 1024
"""Upper size of one batch; a single record may be larger."""
LOG_APPEND_TIME = 1
STALLED_AFTER = 10.0
"""Seconds in which nothing in a transaction moves on, before it is given up.

A step is a batch, or up to three requests to a coordinator with the connections and coordinators
that have to be found first: up to 8 s where every answer takes more than one. A broker that does
not answer at all is as good as gone, and the task better off reopened.
"""
CLOSE_WITHIN = 5.0
"""Seconds that closing a writer waits for its producer to stop."""
CLOSE_FAILED_WITHIN = 1.0
"""The same after a failure: stopping may never end, and the task waits to be reopened."""


class Record(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class TransactionBatch:
    """The records and offsets of one transaction.

    `begin` is, for partitions that only this task writes to, the offset that its first record must
    get: the task has read or written everything before. Another offset means that somebody else
    wrote there, and the commit is refused. A writer without transactions ignores it.
    """

    records: dict[TopicPartition, list[Record]] = field(default_factory=dict)
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)
    begin: dict[TopicPartition, int] = field(default_factory=dict)

    def add(self, topic: str, partition: int, record: Record) -> None:
        """Add a record."""
        self.records.setdefault(TopicPartition(topic, partition), []).append(record)

    @property
    def size(self) -> int:
        """The number of records."""
        return sum(map(len, self.records.values()))

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.records or self.offsets)


class TaskLostError(Exception):
    """What a task has in memory may differ from what is committed: it has to be reopened.

    Kafka Streams has two for that: `TaskMigratedException`, the producer was fenced, and
    `TaskCorruptedException`, the state has to be restored. Here both end in the same way.
    """


class WriteError(TaskLostError):
    """The writes were not committed, or it is not known whether they were."""


REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, PolicyViolationError)
"""What a broker says of records that it will not take however often they are sent. All else is not
of the records: a broker that is away, replicas that are missing, rights, clocks."""


class RefusedError(WriteError):
    """A broker does not take what was to be written to a topic."""

    topic = ""

    @classmethod
    def of(cls, partition: TopicPartition, error: BaseException) -> Self:
        """Make one of what the broker said."""
        made = cls(f"{partition.topic}-{partition.partition} does not take a record: {error!r}")
        made.topic = partition.topic
        return made


class Writer(Protocol):
    """Writes the records of one task, with the offsets of its input."""

    async def open(self) -> None:
        """Connect, and fence every earlier writer of the task.

        Raises:
            WriteError: if the brokers are away or refuse.
        """
        ...

    async def write(self, writes: TransactionBatch) -> Mapping[TopicPartition, int]:
        """Commit the writes.

        Returns:
            For each partition that got records, where the next one will be, if nobody else writes
            to it.

        Raises:
            RefusedError: if a broker does not take a record.
            WriteError: if that failed; the writer has to be closed and another one opened.
        """
        ...

    async def close(self) -> None:
        """Close the connection to the broker."""
        ...


class TransactionalWriter:
    """Writes in Kafka transactions: records and offsets are committed together.

    Args:
        connection: keyword arguments for aiokafka clients.
        hanging: the hanging transactions of the task's own transactional id. Opening a producer
            with that id, on any worker, fences all earlier ones.
        timeout: seconds after which the broker aborts a transaction that nobody ends.
        clock: is notified of the time at which the broker appended records.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        hanging: HangingTransactions,
        timeout: float,
        clock: BrokerClock | None = None,
    ) -> None:
        treat_as_broken()
        self._producer = AIOKafkaProducer(
            **connection,
            transactional_id=hanging.transactional_id,
            transaction_timeout_ms=int(timeout * 1000),
            # No request is sent again because its answer is late: should the first one come after
            # the second, it could end the next transaction. The writer gives up before that.
            request_timeout_ms=int(max(timeout, 2 * STALLED_AFTER) * 1000),
            max_batch_size=BATCH_BYTES,
            # A transaction often meets the end of the one before it, for a few milliseconds.
            retry_backoff_ms=20,
        )
        self._connections = Connections(self._producer.client)
        self._hanging = hanging
        self._timeout = timeout
        self._clock = clock or known_clock()
        self._failed = False

    async def open(self) -> None:
        """Fence earlier writers; their unfinished transaction is aborted, wherever it wrote to."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._hanging.inspect()
                await self._producer.start()
                await self._hanging.resolve(self._known_as())
        except (KafkaError, TimeoutError, AssertionError) as error:
            # A broker that stops may say that there are no brokers, and aiokafka asserts that.
            raise WriteError(f"the transactional producer cannot start: {error!r}") from error

    def _known_as(self) -> Producer:
        manager = self._producer._txn_manager  # noqa: SLF001 - there is no other way to see it
        return Producer(manager.producer_id, manager.producer_epoch)

    async def write(self, writes: TransactionBatch) -> Mapping[TopicPartition, int]:
        """Commit the writes in one transaction."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._timeout), asyncio.timeout(STALLED_AFTER) as stalled:
                return await self._commit(
                    writes, lambda: stalled.reschedule(clock() + STALLED_AFTER)
                )
        except WriteError:
            self._failed = True
            raise
        except (KafkaError, TimeoutError) as error:
            self._failed = True
            raise WriteError(f"the transaction failed: {error!r}") from error
        except (IllegalOperation, AssertionError) as error:
            # aiokafka raises these at any use of a producer that was fenced a moment ago.
            self._failed = True
            raise WriteError(f"the transaction was broken off: {error!r}") from error

    async def _commit(
        self, writes: TransactionBatch, moved: Callable[[], None]
    ) -> Mapping[TopicPartition, int]:
        producer = self._producer
        has_lost = not self._connections.stay()
        await self._hanging.ensure_markers_written(
            producer.client, self._known_as(), everywhere=has_lost
        )
        moved()
        await producer.begin_transaction()
        began = self._clock.wall()
        sent = await send_records(producer, writes.records, moved)
        steps: list[asyncio.Future[Any]] = [each.acknowledged for each in sent]
        if writes.offsets:
            offsets = producer.send_offsets_to_transaction(writes.offsets, self._hanging.group_id)
            steps.append(_quiet(asyncio.ensure_future(offsets)))
        try:
            for step in asyncio.as_completed(steps):
                await step
                moved()
        except KafkaError:
            _check_refused(sent)
            raise
        spans = _spans(sent)
        _check_begin(spans, writes.begin)
        _look_at_clock(sent, self._clock, began)
        await producer.commit_transaction()
        # The marker of the transaction takes an offset as well.
        return {partition: span.stop + 1 for partition, span in spans.items()}

    async def close(self) -> None:
        """Close the producer; a transaction under way is left for the next owner to abort."""
        await self._hanging.wait_resolved(CLOSE_FAILED_WITHIN)
        await _stop(self._producer, CLOSE_FAILED_WITHIN if self._failed else CLOSE_WITHIN)


class NonTransactionalWriter:
    """Writes without transactions, for a broker that has none: records first, then offsets.

    Args:
        connection: keyword arguments for aiokafka clients.
        commit: commits offsets as a member of the group.
        turn: is shared by all writers of a worker: one writes at a time. The embedded broker
            (Tansu 0.6) loses an acknowledged batch now and then, some one in six hundred, when
            several producers write to a partition at once.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        commit: Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]],
        turn: asyncio.Lock,
        clock: BrokerClock | None = None,
    ) -> None:
        self._producer = AIOKafkaProducer(**connection, acks="all", max_batch_size=BATCH_BYTES)
        self._clock = clock or known_clock()
        self._commit = commit
        self._turn = turn

    async def open(self) -> None:
        """Start the producer. Earlier writers are not fenced: there must be only one worker."""
        try:
            await self._producer.start()
        except KafkaError as error:
            raise WriteError(f"the producer cannot start: {error!r}") from error

    async def write(self, writes: TransactionBatch) -> Mapping[TopicPartition, int]:
        """Write the records, then commit the offsets."""
        try:
            async with self._turn:
                began = self._clock.wall()
                sent = await send_records(self._producer, writes.records)
                if sent:
                    # All of them, also after an error: until then it goes on writing.
                    await asyncio.wait({each.acknowledged for each in sent})
            _check_refused(sent)
            for each in sent:
                each.acknowledged.result()
            _look_at_clock(sent, self._clock, began)
            if writes.offsets:
                await self._commit(writes.offsets)
        except KafkaError as error:
            raise WriteError(f"the records were not written: {error!r}") from error
        return {partition: span.stop for partition, span in _spans(sent).items()}

    async def close(self) -> None:
        """Close the producer."""
        await _stop(self._producer, CLOSE_WITHIN)


class Sent(NamedTuple):
    """A batch on its way: where to, how many records, and the future of its acknowledgement."""

    partition: TopicPartition
    records: int
    acknowledged: asyncio.Future[RecordMetadata]


async def send_records(
    producer: AIOKafkaProducer,
    records: Mapping[TopicPartition, list[Record]],
    moved: Callable[[], None] = lambda: None,
) -> list[Sent]:
    """Send records in few, large batches.

    `moved` is called whenever the broker has got one more, of several for the same partition.
    """
    sent: list[Sent] = []

    async def send(partition: TopicPartition, batch: Any) -> None:
        count = batch.record_count()
        future = await producer.send_batch(batch, partition.topic, partition=partition.partition)
        sent.append(Sent(partition, count, _quiet(future)))
        moved()

    for partition, each in records.items():
        batch = producer.create_batch()
        for record in each:
            if _append(batch, record):
                continue
            await send(partition, batch)
            batch = producer.create_batch()
            _append(batch, record)
        await send(partition, batch)
    return sent


def _check_refused(sent: list[Sent]) -> None:
    """Raise RefusedError if a broker refused a batch for what is in it."""
    for partition, _, acknowledged in sent:
        done = acknowledged.done() and not acknowledged.cancelled()
        error = acknowledged.exception() if done else None
        if isinstance(error, REFUSALS):
            raise RefusedError.of(partition, error) from error


def _spans(sent: list[Sent]) -> dict[TopicPartition, range]:
    """Return the offsets that the records got, by partition.

    Raises:
        WriteError: one is not known. A broker that has a batch already, and has forgotten where,
            says so with the offset -1 (DUPLICATE_SEQUENCE_NUMBER).
    """
    spans: dict[TopicPartition, range] = {}
    for partition, records, acknowledged in sent:
        offset = acknowledged.result().offset
        if offset < 0:
            raise WriteError(f"the broker does not know where in {partition} the records are")
        span = spans.get(partition, range(offset, offset))
        spans[partition] = range(min(offset, span.start), max(offset + records, span.stop))
    return spans


def _look_at_clock(sent: list[Sent], clock: BrokerClock, began: float) -> None:
    """Notify the clock of when the broker appended what was sent since `began` (s)."""
    acknowledged = clock.wall()
    told = False
    for each in sent:
        metadata = each.acknowledged.result()
        if metadata.timestamp_type == LOG_APPEND_TIME:
            told = True
            at = (metadata.timestamp or 0) / 1000
            clock.appended(each.partition, at, began, acknowledged)
    if sent and not told:
        clock.silent(sent[0].partition.topic)


def _check_begin(
    spans: Mapping[TopicPartition, range], begin: Mapping[TopicPartition, int]
) -> None:
    """See that nothing was in a partition that its only writer does not know of.

    Such as a hanging transaction that was not read, and would be committed now.

    Raises:
        WriteError: if there was something.
    """
    for partition, expected in begin.items():
        if spans[partition].start != expected:
            raise WriteError(
                f"{partition} was read up to offset {expected}, but has records up to "
                f"{spans[partition].start}"
            )


def _append(batch: Any, record: Record) -> bool:
    added = batch.append(
        timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
    )
    return added is not None


def _quiet(future: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """Keep asyncio from logging an error that nobody awaits: the first one was raised."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


async def _stop(producer: AIOKafkaProducer, within: float) -> None:
    # Without a broker it cannot end. Broken off it would stay for good, with its connections; left
    # alone it ends when there is a broker again.
    stopping = _quiet(asyncio.ensure_future(producer.stop()))
    await asyncio.wait({stopping}, timeout=within)
