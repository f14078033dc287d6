"""Transactions that have ended for their coordinator, and hang in a partition.

A broker writes the end of a transaction into each partition that the transaction wrote to. Apache
Kafka 4.3 and 4.4 leave out those that have no leader at that moment, as if they had been deleted
(https://issues.apache.org/jira/browse/KAFKA-20734): the partitions of a single broker that shuts
down or has just started, or those of which all replicas are away. What was written there hangs. Who
reads committed data gets no further, and what becomes of it depends on how the next transaction of
the same producer ends that writes there, not on its own one.

So no transaction begins before the one before it has ended where the lane's state is, and when a
lane is opened, what hangs of it anywhere is ended as its coordinator had decided. Two things cannot
be found out: what hangs when a process was killed between these two steps, and what hangs elsewhere
than in the state if the next transaction, which writes there too, is cut off. Both are aborted.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import structlog
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
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

_log = structlog.get_logger(__name__)

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


class HangingError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A transaction was committed and has not ended everywhere."""


class TransactionEnds:
    """Sees to it that the transactions of one transactional id end wherever they wrote to.

    Lives longer than the producers that are opened with the id: opening one makes the coordinator
    forget how the last transaction ended, and may fail right after that.

    Args:
        connection: keyword arguments for aiokafka clients.
        transactional_id: the id; nobody who writes with it aborts a transaction.
        group_id: the consumer group whose offsets are part of the transactions.
        state: the partition that every transaction writes to.
        partitions: all that any may write to.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        transactional_id: str,
        group_id: str,
        state: TopicPartition,
        partitions: Iterable[TopicPartition],
    ) -> None:
        self.transactional_id = transactional_id
        self.group_id = group_id
        self._connection = connection
        self._state = state
        self._partitions = tuple(partitions)
        self._before: Producer | None = None
        self._verdicts: dict[tuple[TopicPartition, int], bool] = {}
        """Whether what hung when somebody looked was committed: by partition and first offset."""
        self._ending: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Take note of what hangs, and how it ended; to be called before a producer is opened.

        Waits for brokers that are not there yet, or do not know yet.

        Raises:
            KafkaError: if they do not say.
        """
        if self._ending is not None:
            await asyncio.wait({self._ending})
        with contextlib.suppress(*UNSUPPORTED):
            async with self._client() as client:
                last = await self._describe(client)
                self._before = last and last.producer
                if last is not None:
                    hanging = await self._open(client, last.producer, self._partitions)
                    found = {each: self._verdict(last, *each) for each in hanging.items()}
                    self._verdicts = {at: known for at, known in found.items() if known is not None}

    def _verdict(self, last: Described, partition: TopicPartition, start: int) -> bool | None:
        """Tell whether what hangs, or is under way, was committed; None if it is under way."""
        known = self._verdicts.get((partition, start))
        if known is not None:
            return known
        match last.state:
            case "PrepareCommit" | "CompleteCommit":
                return True
            case "Ongoing" if partition in last.partitions:
                return None
            case "Empty":
                # Somebody has opened a producer in vain, and nobody knows of what was before.
                return False
            case _:
                # What the last transaction does not write is of one before it.
                return bool(last.partitions) and partition not in last.partitions

    async def settle(self, producer: Producer) -> None:
        """End what hangs as its transaction ended; to be called when `producer` is open.

        Goes on with it when the caller is cancelled.

        Raises:
            KafkaError: if what hangs cannot be found out, or not be ended.
        """
        with contextlib.suppress(*UNSUPPORTED):
            async with self._client() as client:
                hanging = await self._open(client, producer, self._partitions)
                await self._complain(client, producer)
            if hanging:
                self._ending = asyncio.create_task(self._end_all(producer, hanging))
                self._ending.add_done_callback(lambda done: done.cancelled() or done.exception())
                await asyncio.shield(self._ending)

    async def check(self, client: AIOKafkaClient, producer: Producer) -> None:
        """See that the producer's last transaction has ended where the lane's state is.

        Args:
            client: any that is connected.
            producer: who committed it.

        Raises:
            HangingError: if it never will.
        """
        with contextlib.suppress(*UNSUPPORTED):
            while await self._open(client, producer, [self._state]):
                last = await self._describe(client)
                ended = last is None or last.state != "PrepareCommit"
                if ended and await self._open(client, producer, [self._state]):
                    raise HangingError(f"a transaction hangs in {self._state}")
                await asyncio.sleep(AGAIN_AFTER)

    # What the brokers say

    async def _describe(self, client: AIOKafkaClient) -> Described | None:
        """Ask the coordinator for the last transaction; there may have been none."""
        while True:
            with contextlib.suppress(*NOT_NOW):
                answer = await self._ask_coordinator(
                    client, DescribeTransactions([self.transactional_id])
                )
                ((code, _, state, _, _, producer_id, epoch, topics, _),) = answer.transactions
                if code == TRANSACTIONAL_ID_NOT_FOUND:
                    return None
                _check(code)
                partitions = {
                    TopicPartition(name, n) for name, numbers, _ in topics for n in numbers
                }
                return Described(state, Producer(producer_id, epoch), frozenset(partitions))
            await asyncio.sleep(AGAIN_AFTER)

    async def _open(
        self, client: AIOKafkaClient, producer: Producer, partitions: Iterable[TopicPartition]
    ) -> Starts:
        """Ask the leaders where a transaction of the producer is open."""
        while True:
            with contextlib.suppress(*NOT_NOW):
                return {
                    partition: start
                    for partition, code, producers in await _inspect(client, partitions)
                    for start in _starts(code, producers, producer.id)
                }
            await client.force_metadata_update()
            await asyncio.sleep(AGAIN_AFTER)

    async def _complain(self, client: AIOKafkaClient, producer: Producer) -> None:
        """Tell of what hangs of a producer whose epochs are exhausted: no other can end it."""
        if self._before is not None and self._before.id != producer.id:
            hanging = await self._open(client, self._before, self._partitions)
            if hanging:
                _log.error(
                    "a transaction hangs, and only an operator can abort it",
                    producer_id=self._before.id,
                    partitions=_names(hanging),
                )

    # Ends

    async def _end_all(self, producer: Producer, hanging: Starts) -> None:
        # What was under way when somebody looked, or came after, was committed, unless the opening
        # cut it off.
        otherwise = producer.follows(self._before)
        committed = {each[0] for each in hanging.items() if self._verdicts.get(each, otherwise)}
        for partitions, as_committed in ((committed, True), (hanging.keys() - committed, False)):
            if partitions:
                await self._end(producer, partitions, committed=as_committed)
                _log.warning(
                    "a transaction hung: it was ended",
                    transactional_id=self.transactional_id,
                    committed=as_committed,
                    partitions=_names(partitions),
                )

    async def _end(
        self, producer: Producer, partitions: Iterable[TopicPartition], *, committed: bool
    ) -> None:
        """Make a transaction of nothing but its end, which ends the one that hangs as well."""
        who = (self.transactional_id, *producer)
        async with self._client() as client:
            await self._insist(client, AddPartitionsToTxnRequest(*who, _by_topic(partitions)))
            # Whether the group's offsets hang too is not asked: they may end once more.
            await self._insist(client, AddOffsetsToTxnRequest(*who, self.group_id))
            await self._insist(client, EndTxnRequest(*who, committed))
            while await self._open(client, producer, partitions):  # noqa: ASYNC110 - brokers know
                await asyncio.sleep(AGAIN_AFTER)

    async def _insist(self, client: AIOKafkaClient, request: Any) -> None:
        """Ask the coordinator until it has done what it was asked for; once more does no harm."""
        while True:
            with contextlib.suppress(*NOT_NOW):
                answer = await self._ask_coordinator(client, request)
                for code in _codes(answer):
                    _check(code)
                return
            await asyncio.sleep(AGAIN_AFTER)

    async def _ask_coordinator(self, client: AIOKafkaClient, request: Any) -> Any:
        node = await client.coordinator_lookup(CoordinationType.TRANSACTION, self.transactional_id)
        return await client.send(node, request)

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[AIOKafkaClient]:
        client = AIOKafkaClient(**self._connection)
        try:
            await client.bootstrap()
            yield client
        finally:
            await client.close()


async def _inspect(
    client: AIOKafkaClient, partitions: Iterable[TopicPartition]
) -> list[tuple[TopicPartition, int, list[tuple[Any, ...]]]]:
    """Ask the leaders of partitions for an error code, and who wrote to them."""
    led: dict[int, set[TopicPartition]] = defaultdict(set)
    for each in partitions:
        await client.add_topic(each.topic)
        leader = client.cluster.leader_for_partition(each)
        if leader in {None, -1}:
            raise LeaderNotAvailableError(f"{each} has no leader")
        led[leader].add(each)
    answers = await asyncio.gather(
        *(client.send(leader, DescribeProducers(_by_topic(each))) for leader, each in led.items())
    )
    return [
        (TopicPartition(topic, number), code, producers)
        for answer in answers
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


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{each.topic}-{each.partition}" for each in partitions)


def _codes(answer: Any) -> list[int]:
    if hasattr(answer, "errors"):
        return [code for _, errors in answer.errors for _, code in errors]
    return [answer.error_code]


def _check(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error
