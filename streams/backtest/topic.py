"""The events of the source topic, in the order of their arrival, from a time on.

An event arrived at the time of its record. Nothing is written, and no group is joined.
"""

import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.backtest.events import EventArrival, Events
from streams.configuration.models import Configuration
from streams.engine.cluster.client import connection
from streams.engine.cluster.reading import end_of, reading
from streams.errors import TopicError, UserError

AT_ONCE = 2_000
FETCH_MS = 300
PATIENCE_S = 30.0
"""For how long, beyond the longest transaction, partitions may bring nothing new."""

Consumer: TypeAlias = "AIOKafkaConsumer[bytes, bytes | None]"


@dataclass(slots=True)
class Input:
    """One source partition: records that were read ahead, and how far there are any.

    Attributes:
        partition: the partition.
        end: the offset after the last record to read.
        since: the time (ms) of the first records to read.
        arrived: records that were read, and not taken.
        is_read: whether all were read.
    """

    partition: TopicPartition
    end: int
    since: int
    arrived: deque[EventArrival] = field(default_factory=deque)
    is_read: bool = False
    _at: int = 0

    @property
    def is_ahead(self) -> bool:
        """Whether it is known which of its records is next, or that none is."""
        return bool(self.arrived) or self.is_read

    def add(self, record: Any) -> None:
        """Take a record; it arrived no earlier than the one ahead of it.

        Clocks of producers differ: after the first record to read there may be some of before.
        """
        if record.offset < self.end and not 0 <= record.timestamp < self.since:
            self._at = max(self._at, self.since, record.timestamp)
            number = self.partition.partition
            place = f"{self.partition.topic}, partition {number}, offset {record.offset}"
            self.arrived.append(EventArrival(self._at, record.value, number, place))


class SourceTopic:
    """The source topic, from a time on, up to its present end.

    Args:
        configuration: how to connect.
        name: of the topic.
        since: the time (ms, UTC) of the first records to read.
    """

    def __init__(self, configuration: Configuration, name: str, since: int) -> None:
        self._connection = connection(configuration.kafka)
        self._exact = configuration.kafka.guarantee == "exactly-once"
        self._patience = PATIENCE_S + configuration.kafka.transaction_timeout
        self._name = name
        self._since = since

    async def partitions(self) -> int:
        """Return how many partitions the topic has.

        Raises:
            UserError: there is no such topic, or Kafka fails.
        """
        with _explained():
            async with self._reading() as consumer:
                return len(await self._partitions(consumer))

    async def read(self) -> AsyncGenerator[Events, None]:
        """Yield the events, some at a time.

        Raises:
            UserError: there is no such topic, Kafka fails, or it does not come to the end.
        """
        with _explained():
            async with self._reading() as consumer:
                inputs = await self._inputs(consumer)
                deadline = time.monotonic() + self._patience
                while not all(each.is_read for each in inputs.values()):
                    if await _read_ahead(consumer, inputs):
                        deadline = time.monotonic() + self._patience
                    elif time.monotonic() > deadline:
                        raise UserError(
                            f"topic {self._name} cannot be read to its end: look for a transaction "
                            "there that nobody ends"
                        )
                    for block in _merged(list(inputs.values())):
                        yield block

    def _reading(self) -> contextlib.AbstractAsyncContextManager[Consumer]:
        return reading(self._connection, committed=self._exact)

    async def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        # All topics: to ask for one by its name would make it, on many clusters.
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - has no public way
        numbers = cluster.partitions_for_topic(self._name)
        if not numbers:
            raise TopicError(f"there is no topic {self._name} (topics.source)")
        return [TopicPartition(self._name, number) for number in sorted(numbers)]

    async def _inputs(self, consumer: Consumer) -> Mapping[TopicPartition, Input]:
        """Find where to begin and to end in each partition, and begin there."""
        partitions = await self._partitions(consumer)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, self._since))
        inputs = {}
        for partition in partitions:
            end = await end_of(consumer, partition, committed=self._exact)
            first = found.get(partition)
            # Without a record since then there is nothing to read.
            begin = end if first is None else first.offset
            inputs[partition] = Input(partition, end, self._since, is_read=begin >= end)
            found[partition] = begin
        consumer.assign(partitions)
        for partition, begin in found.items():
            consumer.seek(partition, begin)
        return inputs


async def _read_ahead(consumer: Consumer, inputs: Mapping[TopicPartition, Input]) -> bool:
    """Read on where the next record is not known; return whether there was anything."""
    behind = [partition for partition, each in inputs.items() if not each.is_ahead]
    fetched = await consumer.getmany(*behind, timeout_ms=FETCH_MS)
    for partition, records in fetched.items():
        for record in records:
            inputs[partition].add(record)
    for partition in behind:
        # Transaction markers have offsets too, but are no records.
        inputs[partition].is_read = await consumer.position(partition) >= inputs[partition].end
    return bool(fetched)


def _merged(inputs: list[Input]) -> Iterator[Events]:
    """Take the records that nothing can arrive ahead of, in the order of their arrival."""
    block: list[EventArrival] = []
    while all(each.is_ahead for each in inputs):
        left = [each.arrived for each in inputs if each.arrived]
        if not left:
            break
        arrived = min(left, key=lambda each: each[0].at)
        block.append(arrived.popleft())
        if len(block) >= AT_ONCE:
            yield block
            block = []
    if block:
        yield block


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise UserError(f"Kafka fails ({error!r}): try again") from error
