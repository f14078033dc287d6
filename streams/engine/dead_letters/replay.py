"""Reading the dead-letter topic, and sending dead letters through again, each at most once.

With `exactly-once`, one Kafka transaction holds the records and the markers that say that they
were replayed. Its transactional id lets only the newest replay write, and whatever an earlier one
left unfinished is aborted before the topic is read. With `at-least-once` the markers follow the
records: a replay that is killed in between, or runs beside another, may send some again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import TopicPartition

from streams.cancelling import close
from streams.configuration.models import Configuration
from streams.engine.cluster.client import connection
from streams.engine.cluster.reading import partition_counts, reading
from streams.engine.cluster.rights import REFUSALS, Right, describe_missing
from streams.engine.dead_letters.listing import (
    DeadLetter,
    Listing,
    Marker,
    Plan,
    Read,
    Selection,
    marker,
    parse,
)
from streams.engine.produce.writer import BATCH_BYTES, Record, TransactionBatch, send_records
from streams.errors import TopicError, UserError

CHUNK_RECORDS = 1000
CHUNK_BYTES = 8 * 1024 * 1024
PATIENCE_S = 30.0
"""For how long, beyond the longest transaction, a partition may bring nothing new."""

Consumer: TypeAlias = "AIOKafkaConsumer[bytes, bytes | None]"


class ReplayError(UserError):
    """A replay that failed before its end."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many dead letters were sent; left out were those sent before, and those cut off."""

    sent: int
    before: int
    truncated: int = 0


def replay_id(group_id: str) -> str:
    """Return the transactional id of replays: there is one at a time."""
    return f"{group_id}-dead-letter-replay"


class DeadLetterTopic:
    """The dead-letter topic of a configuration.

    All methods raise `TopicError` if it is missing, and `ReplayError` if Kafka fails.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._connection = connection(configuration.kafka)
        self._name = configuration.topics.dead_letter
        self._exact = configuration.kafka.guarantee == "exactly-once"

    async def newest(self, selection: Selection, limit: int) -> Listing:
        """Find the newest of the selected dead letters."""
        listing = Listing(selection, limit)
        with _explained():
            async with reading(self._connection, committed=self._exact) as consumer:
                partitions = await self._partitions(consumer)
                async for record in self._read(consumer, await _whole(consumer, partitions)):
                    listing.add(parse(record))
        return listing

    async def plan(self, selection: Selection) -> Plan:
        """Find out what a replay would send.

        Raises:
            TopicError: something that is selected is not there, or came from where nothing is.
        """
        with _explained():
            # Markers of a replay may lie beyond the transaction of a worker that is not ended
            # yet: read up to what is written by now, not only to what can be read at once.
            async with reading(self._connection, committed=False) as consumer:
                ranges = await _whole(consumer, await self._partitions(consumer))
                plan = Plan(
                    selection, self._configuration.topics.source, await partition_counts(consumer)
                )
            async with reading(self._connection, committed=self._exact) as consumer:
                async for record in self._read(consumer, ranges):
                    plan.add(parse(record))
        plan.close()
        return plan

    async def replay(self, selection: Selection) -> Replayed:
        """Send the selected dead letters to where they came from.

        Raises:
            TopicError: as `plan`; nothing was sent then.
            ReplayError: it did not get to its end; says how many were sent. Or another replay
                has begun.
        """
        sent = 0
        try:
            with _explained():
                # Before reading: this fences earlier replays, which add no marker from here on.
                async with self._producing() as producer:
                    plan = await self.plan(selection)
                    async with contextlib.aclosing(self._chunks(plan)) as chunks:
                        async for letters in chunks:
                            await self._send(producer, letters, plan)
                            sent += len(letters)
        except ReplayError as error:
            some = f"{sent:,} dead letters were" if sent else "nothing was"
            raise ReplayError(f"{some} replayed: {error}") from error
        return Replayed(sent, len(plan.replayed), len(plan.truncated))

    @contextlib.asynccontextmanager
    async def _producing(self) -> AsyncIterator[AIOKafkaProducer]:
        settings: dict[str, Any] = {
            **self._connection,
            "acks": "all",
            "max_batch_size": BATCH_BYTES,
        }
        if self._exact:
            kafka = self._configuration.kafka
            settings |= {
                "transactional_id": replay_id(kafka.group_id),
                "transaction_timeout_ms": int(kafka.transaction_timeout * 1000),
                # The record may have fitted into its topic only because it was compressed.
                "compression_type": "gzip",
            }
        producer = AIOKafkaProducer(**settings)
        try:
            await self._start(producer)
            yield producer
        finally:
            await close(producer.stop())

    async def _start(self, producer: AIOKafkaProducer) -> None:
        try:
            await producer.start()
        except REFUSALS as error:
            kafka = self._configuration.kafka
            right = Right("WRITE", "transactional-id", replay_id(kafka.group_id))
            raise ReplayError(describe_missing([right], kafka.sasl.username)) from error
        except KafkaError as error:
            hint = "a broker without transactions needs kafka.guarantee: at-least-once"
            raise ReplayError(
                f"Kafka lets nothing be written ({error!r}){f'; {hint}' if self._exact else ''}"
            ) from error

    async def _chunks(self, plan: Plan) -> AsyncGenerator[list[DeadLetter], None]:
        chunk: list[DeadLetter] = []
        size = 0
        async with reading(self._connection, committed=self._exact) as consumer:
            async for record in self._read(consumer, _ranges(self._name, plan)):
                letter = parse(record)
                if isinstance(letter, Marker) or letter.place not in plan.targets:
                    continue
                chunk.append(letter)
                size += letter.size
                if len(chunk) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
        if chunk:
            yield chunk

    async def _send(
        self, producer: AIOKafkaProducer, letters: Iterable[DeadLetter], plan: Plan
    ) -> None:
        # Leaving the transaction by an error, or being interrupted, aborts it at once.
        async with producer.transaction() if self._exact else contextlib.nullcontext():
            for writes in self._writes(letters, plan):
                sent = await send_records(producer, writes.records)
                await asyncio.gather(*(each.acknowledged for each in sent))

    def _writes(
        self, letters: Iterable[DeadLetter], plan: Plan
    ) -> tuple[TransactionBatch, TransactionBatch]:
        """Return the records as they came, and the markers, which must not be there first."""
        records, markers = TransactionBatch(), TransactionBatch()
        for each in letters:
            record = Record(each.key, each.value, each.headers)
            target = plan.targets[each.place]
            records.add(target.topic, target.partition, record)
            markers.add(self._name, each.place.partition, marker(each))
        return records, markers

    async def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        count = (await partition_counts(consumer)).get(self._name, 0)
        if not count:
            raise TopicError(
                f"there is no topic {self._name} (topics.dead_letter): "
                "make it with `campaign-streams topics create`"
            )
        return [TopicPartition(self._name, number) for number in range(count)]

    async def _read(
        self, consumer: Consumer, ranges: Mapping[TopicPartition, range]
    ) -> AsyncIterator[Read]:
        """Yield the records with these offsets, those of a partition in order.

        There may be some more: the end offset of the embedded broker is within its last batch.
        """
        todo = {partition: offsets for partition, offsets in ranges.items() if offsets}
        consumer.assign(list(todo))
        for partition, offsets in todo.items():
            consumer.seek(partition, offsets.start)
        patience = PATIENCE_S + self._configuration.kafka.transaction_timeout
        deadline = time.monotonic() + patience
        while todo:
            for records in (await consumer.getmany(timeout_ms=300)).values():
                deadline = time.monotonic() + patience
                for record in records:
                    yield record
            for partition in list(todo):
                # Transaction markers have offsets too, but are no records.
                if await consumer.position(partition) >= todo[partition].stop:
                    del todo[partition]
                    consumer.pause(partition)
            if time.monotonic() > deadline:
                numbers = ", ".join(str(partition.partition) for partition in todo)
                raise ReplayError(
                    f"topic {self._name} cannot be read to its end (partition {numbers}): "
                    "look for a transaction there that nobody ends"
                )


async def _whole(
    consumer: Consumer, partitions: list[TopicPartition]
) -> dict[TopicPartition, range]:
    begin = await consumer.beginning_offsets(partitions)
    end = await consumer.end_offsets(partitions)
    return {each: range(begin[each], end[each]) for each in partitions}


def _ranges(topic: str, plan: Plan) -> dict[TopicPartition, range]:
    offsets: dict[TopicPartition, list[int]] = {}
    for place in plan.targets:
        offsets.setdefault(TopicPartition(topic, place.partition), []).append(place.offset)
    return {each: range(min(found), max(found) + 1) for each, found in offsets.items()}


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ProducerFenced as error:
        raise ReplayError("another replay has begun: see what it does, then try again") from error
    except KafkaError as error:
        raise ReplayError(f"Kafka fails ({error!r}): try again") from error
