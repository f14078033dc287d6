"""What brokers say of the transactions of one transactional id, and what they can be told."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

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

from streams.engine.inspecting import DescribeProducers, DescribeTransactions

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
            await client.close()

    async def describe(self) -> Described | None:
        """Ask the coordinator for the last transaction; there may have been none.

        Raises:
            KafkaError: if it does not say.
        """
        while True:
            with contextlib.suppress(*NOT_NOW):
                answer = await self._ask_coordinator(DescribeTransactions([self._id]))
                ((code, _, state, _, _, producer_id, epoch, topics, _),) = answer.transactions
                if code == TRANSACTIONAL_ID_NOT_FOUND:
                    return None
                _check(code)
                partitions = {TopicPartition(name, n) for name, all_n, _ in topics for n in all_n}
                return Described(state, Producer(producer_id, epoch), frozenset(partitions))
            await asyncio.sleep(AGAIN_AFTER)

    async def open_in(self, partitions: Iterable[TopicPartition], producer: Producer) -> Starts:
        """Ask the leaders of partitions in which of them a transaction of the producer is open.

        Raises:
            KafkaError: if one does not say.
        """
        while True:
            with contextlib.suppress(*NOT_NOW):
                return {
                    partition: start
                    for partition, code, producers in await self._inspect(partitions)
                    for start in _starts(code, producers, producer.id)
                }
            await self._client.force_metadata_update()
            await asyncio.sleep(AGAIN_AFTER)

    async def end(
        self,
        producer: Producer,
        partitions: Iterable[TopicPartition],
        group_id: str,
        *,
        committed: bool,
    ) -> None:
        """Make a transaction of nothing but its end, which ends what is open there as well.

        Args:
            producer: the one that is open now.
            partitions: where the transaction ends.
            group_id: whose offsets end too. Whether they have to is not asked.
            committed: how it ends.

        Raises:
            KafkaError: if it cannot; the transaction may be begun then.
        """
        who = (self._id, *producer)
        await self._insist(AddPartitionsToTxnRequest(*who, _by_topic(partitions)))
        await self._insist(AddOffsetsToTxnRequest(*who, group_id))
        await self._insist(EndTxnRequest(*who, committed))
        while await self.open_in(partitions, producer):  # noqa: ASYNC110 - it is the brokers' state
            await asyncio.sleep(AGAIN_AFTER)

    async def _insist(self, request: Any) -> None:
        """Ask the coordinator until it has done what it was asked for; once more does no harm."""
        while True:
            with contextlib.suppress(*NOT_NOW):
                answer = await self._ask_coordinator(request)
                for code in _codes(answer):
                    _check(code)
                return
            await asyncio.sleep(AGAIN_AFTER)

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
        return [
            (TopicPartition(topic, number), code, producers)
            for answer in await asyncio.gather(*asked)
            for topic, found, _ in answer.topics
            for number, code, _, producers, _ in found
        ]


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
