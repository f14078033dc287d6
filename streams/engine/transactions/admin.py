"""What brokers say of the transactions of one transactional id, and what they can be told."""

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
"""Seconds. The end of a transaction is written a few milliseconds after it was decided on."""
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
        """Tell whether it was opened after another one, and no transaction was aborted for that.

        Opening adds one to the epoch, and more if it has to abort; also if it was tried before.
        """
        return other is not None and self == (other.id, other.epoch + 1)


class Described(NamedTuple):
    """What a coordinator says of a transactional id.

    Args:
        state: of the last transaction: "Empty", "Ongoing", "PrepareCommit", "CompleteCommit", ….
        producer: whose it is.
        partitions: that it writes to, until it has ended.
    """

    state: str
    producer: Producer
    partitions: frozenset[TopicPartition]


class TransactionAdmin:
    """Asks about the transactions of an id, and ends some.

    Waits for brokers that are not there yet, or do not know yet: without end, so whoever calls has
    to set one.

    Args:
        client: connected.
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
        """Lend one with a client of its own, of such keyword arguments."""
        client = AIOKafkaClient(**connection)
        try:
            await client.bootstrap()
            yield cls(client, transactional_id)
        finally:
            await close(client.close())

    async def describe(self) -> Described | None:
        """Ask the coordinator for the last transaction; there may have been none.

        Raises:
            KafkaError: if it does not say.
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
            KafkaError: if one does not say.
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
        """Wait for the end of the producer's last transaction; return where it will not come to.

        Raises:
            ProducerFenced: if another one was opened meanwhile.
            KafkaError: if brokers do not say.
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
        """Make transactions of nothing but an end until what is open in partitions has ended.

        Args:
            producer: the one that is open now.
            partitions: where something is open.
            group_id: whose offsets end too. Whether they have to is not asked.
            committed: how it ends.

        Raises:
            KafkaError: if it cannot; a transaction may be begun then.
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
            # The end of this one may be left out just as well.
            partitions = await self.left_open(partitions, producer)
            await asyncio.sleep(AGAIN_AFTER)

    async def _tell_coordinator(self, request: Any) -> None:
        """Do something that does no harm when it is done once more."""
        answer = await self._ask_coordinator(request)
        for code in _codes(answer):
            _check(code)

    async def _ask_coordinator(self, request: Any) -> Any:
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, self._id)
        return await self._client.send(node, request)

    async def _inspect(
        self, partitions: Iterable[TopicPartition]
    ) -> list[tuple[TopicPartition, int, list[tuple[Any, ...]]]]:
        """Return for each partition what its leader says: an error code, and who wrote to it."""
        client = self._client
        led: dict[int, set[TopicPartition]] = defaultdict(set)
        for each in partitions:
            await client.add_topic(each.topic)
            leader = client.cluster.leader_for_partition(each)
            if leader in {None, -1}:
                raise LeaderNotAvailableError(f"{each} has no leader")
            led[leader].add(each)
        asked = (client.send(who, DescribeProducers(_by_topic(each))) for who, each in led.items())
        # All of them, also after an error: or the next attempt would come on top.
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
        # Who may only write to a topic may not look into it.
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
