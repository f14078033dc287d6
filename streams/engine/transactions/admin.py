"""Inspects the transactions of one transactional id, and writes missing transaction markers."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    NotCoordinatorForGroupError,
    NotLeaderForPartitionError,
    ProducerFenced,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
)
from aiokafka.structs import TopicPartition

from streams.cancelling import close
from streams.engine.transactions.requests import DescribeProducers, DescribeTransactions

TRANSACTIONAL_ID_NOT_FOUND = 105
NOT_NOW = (
    ConcurrentTransactions,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)
"""Errors that go away when a broker is back. Those of groups are those of transactions too."""
UNSUPPORTED = (IncompatibleBrokerVersion, NotImplementedError)
"""By brokers that are too old (before Apache Kafka 3.0) or too new to be asked."""
AGAIN_AFTER = 0.02
"""Seconds. Markers are written a few milliseconds after the coordinator has decided."""
AT_LAST = 0.5
"""Seconds between attempts while brokers stay away."""

T = TypeVar("T")
Starts: TypeAlias = Mapping[TopicPartition, int]
"""Partitions in which a transaction is open, and the offset of its first record there."""


class Producer(NamedTuple):
    """A producer as the brokers know it."""

    id: int
    epoch: int

    def follows(self, other: "Producer | None") -> bool:
        """Tell whether it was opened right after `other`, and opening it aborted no transaction.

        Opening a producer adds one to the epoch, and more if a transaction has to be aborted or an
        earlier attempt had failed.
        """
        return other is not None and self == (other.id, other.epoch + 1)


class Described(NamedTuple):
    """The last transaction of a transactional id, as its coordinator describes it.

    Args:
        state: "Empty", "Ongoing", "PrepareCommit", "CompleteCommit", …, as Kafka names them.
        producer: the producer of the transaction.
        partitions: the partitions that it writes to; empty once it has ended.
    """

    state: str
    producer: Producer
    partitions: frozenset[TopicPartition]


class TransactionAdmin:
    """Inspects the transactions of one transactional id, and resolves those that hang.

    Waits without a limit for brokers that are away or still loading: the caller sets a time-out.

    Args:
        client: a connected client.
        transactional_id: the id.
    """

    def __init__(self, client: AIOKafkaClient, transactional_id: str) -> None:
        self._client = client
        self._id = transactional_id

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(
        cls, connection: Mapping[str, Any], transactional_id: str
    ) -> AsyncIterator["TransactionAdmin"]:
        """Lend one with a client of its own, made of the keyword arguments `connection`."""
        client = AIOKafkaClient(**connection)
        try:
            await client.bootstrap()
            yield cls(client, transactional_id)
        finally:
            await close(client.close())

    async def describe(self) -> Described | None:
        """Ask the coordinator for the last transaction; None if there was none.

        Raises:
            KafkaError: if the coordinator refuses to answer.
        """
        return await _persist(self._describe)

    async def _describe(self) -> Described | None:
        answer = await self._ask_coordinator(DescribeTransactions([self._id]))
        ((code, _, state, _, _, producer_id, epoch, topics, _),) = answer.transactions
        if code == TRANSACTIONAL_ID_NOT_FOUND:
            return None
        _check(code)
        partitions = {TopicPartition(name, n) for name, numbers, _ in topics for n in numbers}
        return Described(state, Producer(producer_id, epoch), frozenset(partitions))

    async def open_in(self, partitions: Collection[TopicPartition], producer: Producer) -> Starts:
        """Ask the leaders of partitions in which of them a transaction of the producer is open.

        Raises:
            KafkaError: if a leader refuses to answer.
        """
        return await _persist(partial(self._open_in, partitions, producer))

    async def _open_in(self, partitions: Collection[TopicPartition], producer: Producer) -> Starts:
        try:
            found = await self._inspect(partitions)
            return {
                partition: start
                for partition, code, producers in found
                for start in _starts(code, producers, producer.id)
            }
        except NOT_NOW:
            await self._client.force_metadata_update()
            raise

    async def left_open(self, partitions: Collection[TopicPartition], producer: Producer) -> Starts:
        """Wait for the markers of the producer's last transaction; return where it hangs.

        Raises:
            ProducerFenced: if another producer was opened meanwhile.
            KafkaError: if brokers refuse to answer.
        """
        while left := await self.open_in(partitions, producer):
            last = await self.describe()
            if last is not None and last.producer != producer:
                raise ProducerFenced
            if last is None or not last.state.startswith("Prepare"):
                return await self.open_in(left, producer)
            await asyncio.sleep(AGAIN_AFTER)
        return left

    async def end(
        self,
        producer: Producer,
        partitions: Collection[TopicPartition],
        group_id: str,
        *,
        committed: bool,
    ) -> None:
        """Write markers into `partitions`, by empty transactions, until none is open there.

        Args:
            producer: the producer that is open now.
            partitions: the partitions where a transaction is open.
            group_id: the consumer group whose offsets get a marker as well, needed or not.
            committed: whether the markers commit or abort.

        Raises:
            KafkaError: if a request is refused; an empty transaction may be open then.
        """
        who = (self._id, *producer)
        while partitions:
            add = AddPartitionsToTxnRequest(*who, _by_topic(partitions))
            for request in (
                add,
                AddOffsetsToTxnRequest(*who, group_id),
                EndTxnRequest(*who, committed),
            ):
                await _persist(partial(self._tell_coordinator, request))
            # The markers of this transaction may be left out just as well.
            partitions = await self.left_open(partitions, producer)
            await asyncio.sleep(AGAIN_AFTER)

    async def _tell_coordinator(self, request: Any) -> None:
        """Send a request that may be repeated: doing it twice changes nothing."""
        answer = await self._ask_coordinator(request)
        for code in _codes(answer):
            _check(code)

    async def _ask_coordinator(self, request: Any) -> Any:
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, self._id)
        return await self._client.send(node, request)

    async def _inspect(
        self, partitions: Iterable[TopicPartition]
    ) -> list[tuple[TopicPartition, int, list[tuple[Any, ...]]]]:
        """Return for each partition its error code and its producers, as its leader knows them."""
        client = self._client
        led: dict[int, set[TopicPartition]] = defaultdict(set)
        for each in partitions:
            await client.add_topic(each.topic)
            leader = client.cluster.leader_for_partition(each)
            if leader in {None, -1}:
                raise LeaderNotAvailableError(f"{each} has no leader")
            led[leader].add(each)
        asked = (client.send(who, DescribeProducers(_by_topic(each))) for who, each in led.items())
        # All answers are awaited, also after an error: the next attempt would run beside them.
        answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [
            (TopicPartition(topic, number), code, producers)
            for answer in answers
            for topic, found, _ in answer.topics
            for number, code, _, producers, _ in found
        ]


async def _persist(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until the brokers are there."""
    pause = AGAIN_AFTER
    while True:
        try:
            return await attempt()
        except NOT_NOW:
            await asyncio.sleep(pause)
            pause = min(2 * pause, AT_LAST)


def _starts(code: int, producers: Iterable[tuple[Any, ...]], producer_id: int) -> list[int]:
    if code == TopicAuthorizationFailedError.errno:
        # A client that may only write to a topic may not describe its producers.
        return []
    _check(code)
    return [start for each, *_, start, _ in producers if each == producer_id and start >= 0]


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = defaultdict(list)
    for topic, number in partitions:
        topics[topic].append(number)
    return list(topics.items())


def _codes(answer: Any) -> list[int]:
    if hasattr(answer, "errors"):
        return [code for _, errors in answer.errors for _, code in errors]
    return [answer.error_code]


def _check(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error
