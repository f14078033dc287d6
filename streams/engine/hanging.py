"""Transactions that have ended for their coordinator, and hang in a partition.

A broker writes the end of a transaction into each partition that the transaction wrote to. Apache
Kafka 4.3 and 4.4 leave out those that have no leader at that moment, as if they had been deleted
(https://issues.apache.org/jira/browse/KAFKA-20734): the partitions of a single broker that shuts
down or has just started, or those of which all replicas are away. What was written there hangs. Who
reads committed data gets no further, and what becomes of it depends on how the next transaction of
the same producer ends, not on its own one.

So before a lane reads anything it looks for what hangs of its own transactions, and ends it in the
way that the coordinator had decided on.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple

import structlog
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    LeaderNotAvailableError,
    NoError,
    NotCoordinatorForGroupError,
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

_log = structlog.get_logger(__name__)

TRANSACTIONAL_ID_NOT_FOUND = 105
NOT_YET = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
"""Of the coordinator of transactions, too."""
AGAIN_AFTER = 0.02
"""Seconds. The end of a transaction is written a few milliseconds after it was decided on."""


class Producer(NamedTuple):
    """A producer as the brokers know it."""

    id: int
    epoch: int

    def follows(self, other: "Producer | None") -> bool:
        """Tell whether it was opened after another one, and no transaction was between them.

        Opening adds one to the epoch, and one more if it has to abort a transaction.
        """
        return other is not None and self == (other.id, other.epoch + 1)


class TransactionalId:
    """A transactional id, and what may hang of its transactions.

    Lives longer than the producers that are opened with it: opening one makes the coordinator
    forget how the last transaction ended, and it may fail right after that.

    Args:
        connection: keyword arguments for aiokafka clients.
        name: the id.
        group_id: the consumer group whose offsets are part of the transactions.
        partitions: all that the transactions may write to.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        name: str,
        group_id: str,
        partitions: Iterable[TopicPartition],
    ) -> None:
        self.name = name
        self.group_id = group_id
        self._connection = connection
        self._partitions = tuple(partitions)
        self._committed: Producer | None = None
        """Whose last transaction was committed, when somebody looked."""

    async def look(self) -> None:
        """Take note of how the last transaction ended; to be called before a producer is opened.

        Waits for a coordinator that is not there yet, or does not know yet.

        Raises:
            KafkaError: if the coordinator does not say.
        """
        async with self._client() as client:
            while True:
                try:
                    self._committed = await self._last_committed(client)
                except NOT_YET:
                    await asyncio.sleep(AGAIN_AFTER)
                except IncompatibleBrokerVersion:
                    return
                else:
                    return

    async def _last_committed(self, client: AIOKafkaClient) -> Producer | None:
        """Return whose transaction was the last one, if it was committed."""
        answer = await self._ask_coordinator(client, DescribeTransactions([self.name]))
        ((code, _, state, _, _, producer_id, epoch, *_),) = answer.transactions
        if code == TRANSACTIONAL_ID_NOT_FOUND:
            return None
        _check(code)
        known = Producer(producer_id, epoch)
        if state == "Empty":
            return known if known.follows(self._committed) else None
        return known if state in {"PrepareCommit", "CompleteCommit"} else None

    async def end_hanging(self, producer: Producer) -> None:
        """End what hangs, as its own transaction ended; to be called when `producer` is open.

        Raises:
            KafkaError: if what hangs cannot be found out, or not be ended.
        """
        async with self._client() as client:
            try:
                hanging = await self._find(client, producer)
            except IncompatibleBrokerVersion:
                return
            if hanging:
                committed = producer.follows(self._committed)
                await self._end(client, producer, hanging, committed=committed)
                _log.warning(
                    "a transaction hung, as of KAFKA-20734: it was ended",
                    transactional_id=self.name,
                    committed=committed,
                    partitions=sorted(f"{each.topic}-{each.partition}" for each in hanging),
                )
        self._committed = None

    async def _find(self, client: AIOKafkaClient, producer: Producer) -> list[TopicPartition]:
        """Return the partitions in which a transaction of the producer is open."""
        await client.set_topics({each.topic for each in self._partitions})
        led: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for topic, partition in self._partitions:
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader in {None, -1}:
                raise LeaderNotAvailableError(f"{topic}-{partition} has no leader")
            led[leader][topic].append(partition)
        answers = await asyncio.gather(
            *(client.send(leader, DescribeProducers(topics)) for leader, topics in led.items())
        )
        return [
            TopicPartition(topic, partition)
            for answer in answers
            for topic, partitions, _ in answer.topics
            for partition, code, _, producers, _ in partitions
            if _is_open(code, producers, producer.id)
        ]

    async def _end(
        self,
        client: AIOKafkaClient,
        producer: Producer,
        hanging: list[TopicPartition],
        *,
        committed: bool,
    ) -> None:
        """Make a transaction of nothing but its end, which ends the one that hangs as well."""
        topics: dict[str, list[int]] = defaultdict(list)
        for topic, partition in hanging:
            topics[topic].append(partition)
        who = (self.name, *producer)
        add = AddPartitionsToTxnRequest(*who, list(topics.items()))
        for _, errors in (await self._ask_coordinator(client, add)).errors:
            for _, code in errors:
                _check(code)
        # Whether the group's offsets hang too is not asked: that they end once more does no harm.
        for request in (
            AddOffsetsToTxnRequest(*who, self.group_id),
            EndTxnRequest(*who, committed),
        ):
            _check((await self._ask_coordinator(client, request)).error_code)
        while await self._find(client, producer):  # noqa: ASYNC110 - it is the broker that knows
            await asyncio.sleep(AGAIN_AFTER)

    async def _ask_coordinator(self, client: AIOKafkaClient, request: Any) -> Any:
        node = await client.coordinator_lookup(CoordinationType.TRANSACTION, self.name)
        return await client.send(node, request)

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[AIOKafkaClient]:
        client = AIOKafkaClient(**self._connection)
        try:
            await client.bootstrap()
            yield client
        finally:
            await client.close()


def _is_open(code: int, producers: Iterable[tuple[Any, ...]], producer_id: int) -> bool:
    if code == TopicAuthorizationFailedError.errno:
        # Who may only write to a topic may not look into it.
        return False
    _check(code)
    return any(each == producer_id and begin >= 0 for each, _, _, _, _, begin, _ in producers)


def _check(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error
