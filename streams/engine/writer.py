"""Writing down, at once, what became of the records that were read.

`TransactionalWriter` is for Kafka: one transaction holds the records and the offsets. `PlainWriter`
is for brokers without transactions: records first, then offsets, so that a crash between the two
repeats (at least once).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

BATCH_BYTES = 512 * 1024
"""Upper size of one batch; a single record may be larger."""
CLOSE_WITHIN = 5.0
"""Seconds that anybody waits for a producer to end."""


class Record(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Writes:
    """What belongs together: all of it is written, or nothing."""

    records: dict[TopicPartition, list[Record]] = field(default_factory=dict)
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)

    def add(self, topic: str, partition: int, record: Record) -> None:
        """Add a record."""
        self.records.setdefault(TopicPartition(topic, partition), []).append(record)

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.records or self.offsets)


class LaneLostError(Exception):
    """What a lane has in memory can no longer be trusted: it has to be opened anew."""


class WriteError(LaneLostError):
    """The writes were not committed, or it is not known whether they were."""


class Writer(Protocol):
    """Writes for one lane."""

    async def open(self) -> None:
        """Get ready, and shut out every earlier writer of the lane.

        Raises:
            WriteError: if that cannot be had now.
        """
        ...

    async def write(self, writes: Writes) -> None:
        """Commit the writes.

        Raises:
            WriteError: if that failed; the writer has to be closed and another one opened.
        """
        ...

    async def close(self) -> None:
        """Let go of the broker."""
        ...


class TransactionalWriter:
    """Writes in Kafka transactions.

    Args:
        connection: keyword arguments for aiokafka clients.
        transactional_id: the lane's own: opening it anywhere fences all who opened it before.
        timeout: seconds after which the broker aborts a transaction that nobody ends.
        group_id: the consumer group that the offsets belong to.
    """

    def __init__(
        self, connection: Mapping[str, Any], transactional_id: str, timeout: float, group_id: str
    ) -> None:
        self._producer = AIOKafkaProducer(
            **connection,
            transactional_id=transactional_id,
            transaction_timeout_ms=int(timeout * 1000),
            # A transaction that cannot be ended in time is lost anyway.
            request_timeout_ms=int(timeout * 1000),
            max_batch_size=BATCH_BYTES,
            # A transaction often meets the end of the one before it, for a few milliseconds.
            retry_backoff_ms=20,
        )
        self._group_id = group_id
        self._timeout = timeout

    async def open(self) -> None:
        """Fence earlier writers; their unfinished transaction is aborted."""
        try:
            await self._producer.start()
        except KafkaError as error:
            raise WriteError(f"the transactional producer cannot start: {error!r}") from error

    async def write(self, writes: Writes) -> None:
        """Commit the writes in one transaction."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._commit(writes)
        except (KafkaError, TimeoutError) as error:
            raise WriteError(f"the transaction failed: {error!r}") from error
        except (IllegalOperation, AssertionError) as error:
            # How a producer that was fenced a moment ago answers whatever it is told next.
            raise WriteError(f"the transaction was broken off: {error!r}") from error

    async def _commit(self, writes: Writes) -> None:
        producer = self._producer
        await producer.begin_transaction()
        sent = await send_records(producer, writes.records)
        if writes.offsets:
            await producer.send_offsets_to_transaction(writes.offsets, self._group_id)
        await asyncio.gather(*sent)
        await producer.commit_transaction()

    async def close(self) -> None:
        """Close the producer; a transaction under way is left for the next owner to abort."""
        await _stop(self._producer)


class PlainWriter:
    """Writes without transactions, for a broker that has none.

    Args:
        connection: keyword arguments for aiokafka clients.
        commit: commits offsets as a member of the group.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        commit: Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]],
    ) -> None:
        self._producer = AIOKafkaProducer(**connection, acks="all", max_batch_size=BATCH_BYTES)
        self._commit = commit

    async def open(self) -> None:
        """Start the producer. Earlier writers are not shut out: there must be only one worker."""
        try:
            await self._producer.start()
        except KafkaError as error:
            raise WriteError(f"the producer cannot start: {error!r}") from error

    async def write(self, writes: Writes) -> None:
        """Write the records, then commit the offsets."""
        try:
            await asyncio.gather(*await send_records(self._producer, writes.records))
            if writes.offsets:
                await self._commit(writes.offsets)
        except KafkaError as error:
            raise WriteError(f"the records were not written: {error!r}") from error

    async def close(self) -> None:
        """Close the producer."""
        await _stop(self._producer)


async def send_records(
    producer: AIOKafkaProducer, records: Mapping[TopicPartition, list[Record]]
) -> list[asyncio.Future[Any]]:
    """Send records in few, large batches; return the futures of their acknowledgement."""
    sent: list[asyncio.Future[Any]] = []
    for (topic, partition), each in records.items():
        batch = producer.create_batch()
        for record in each:
            if _append(batch, record):
                continue
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            _append(batch, record)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    for future in sent:
        # Who gives up before all are there has said why already.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return sent


def _append(batch: Any, record: Record) -> bool:
    added = batch.append(
        timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
    )
    return added is not None


async def _stop(producer: AIOKafkaProducer) -> None:
    # Without a broker it cannot end. Broken off it would stay for good, with its connections; left
    # alone it ends when there is a broker again. What it has to say then interests nobody.
    stopping = asyncio.create_task(producer.stop())
    stopping.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({stopping}, timeout=CLOSE_WITHIN)
