"""Transactions that have ended for their coordinator, and hang in a partition.

A broker writes the end of a transaction into each partition that the transaction wrote to. Apache
Kafka 4.3 and 4.4 leave out those that have no leader at that moment, as if they had been deleted
(https://issues.apache.org/jira/browse/KAFKA-20734): the partitions of a single broker that shuts
down or has just started, or those of which all replicas are away. What was written there hangs. Who
reads committed data gets no further, and what becomes of it depends on how the next transaction of
the same producer ends that writes there, not on its own one.

So no transaction begins before the one before it has ended where the task's state is, and when a
task is opened, what hangs of it anywhere is ended as its coordinator had decided. Where that cannot
be found out it is aborted: when a process ended between taking the transactional id and ending what
hangs, and when something hangs elsewhere than in the state and the next transaction, which writes
there too, is cut off.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.engine.transactions.admin import (
    UNSUPPORTED,
    Described,
    Producer,
    Starts,
    TransactionAdmin,
)

_log = structlog.get_logger(__name__)

END_WITHIN = 60.0
"""Seconds. After that it is tried again when the task is opened again."""


class HangingError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A transaction was committed and has not ended everywhere."""


class HangingTransactions:
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

    async def inspect(self) -> None:
        """Take note of what hangs, and how it ended; to be called before a producer is opened.

        Raises:
            KafkaError: if the brokers do not say.
        """
        await self.wait_resolved()
        with contextlib.suppress(*UNSUPPORTED):
            async with self._admin() as admin:
                producer_id = -1
                hanging: Starts = {}
                # How it ended has to be asked for last: it may end in between.
                while (last := await admin.describe()) and last.producer.id != producer_id:
                    producer_id = last.producer.id
                    hanging = await admin.open_in(self._partitions, last.producer)
            self._note(last, hanging)

    def _note(self, last: Described | None, hanging: Starts) -> None:
        self._before = last and last.producer
        found = {each: last and self._verdict(last, *each) for each in hanging.items()}
        self._verdicts = {at: known for at, known in found.items() if known is not None}

    def _verdict(self, last: Described, partition: TopicPartition, start: int) -> bool | None:
        """Tell whether what hangs, or is under way, was committed; None if it is under way."""
        known = self._verdicts.get((partition, start))
        if known is not None:
            return known
        match last.state:
            case "PrepareCommit" | "CompleteCommit":
                return True
            case "Ongoing":
                # What the last transaction does not write is of one before it.
                return None if partition in last.partitions else True
            case _:
                # Aborted; or somebody has opened a producer in vain, and nobody knows any more.
                return False

    async def resolve(self, producer: Producer) -> None:
        """End what hangs as its transaction ended; to be called when `producer` is open.

        Goes on with it when the caller is cancelled.

        Raises:
            KafkaError: if what hangs cannot be found out, or not be ended.
        """
        with contextlib.suppress(*UNSUPPORTED):
            async with self._admin() as admin:
                hanging = await admin.open_in(self._partitions, producer)
                await self._complain(admin, producer)
            if hanging:
                self._ending = asyncio.create_task(self._end(producer, hanging))
                self._ending.add_done_callback(lambda done: done.cancelled() or done.exception())
                await asyncio.shield(self._ending)
            self._verdicts = {}

    async def wait_resolved(self, within: float | None = None) -> None:
        """Wait for what a `resolve` began that was broken off, for so many seconds at most."""
        if self._ending is not None:
            await asyncio.wait({self._ending}, timeout=within)

    async def ensure_marker_written(self, client: AIOKafkaClient, producer: Producer) -> None:
        """See that the producer's last transaction has ended where the task's state is.

        Args:
            client: any that is connected.
            producer: who committed it.

        Raises:
            HangingError: if it never will.
            KafkaError: if the brokers do not say, or the producer is not the newest any more.
        """
        with contextlib.suppress(*UNSUPPORTED):
            admin = TransactionAdmin(client, self.transactional_id)
            if await admin.left_open([self._state], producer):
                raise HangingError(f"a transaction hangs in {self._state}")

    def _admin(self) -> contextlib.AbstractAsyncContextManager[TransactionAdmin]:
        return TransactionAdmin.connected(self._connection, self.transactional_id)

    async def _complain(self, admin: TransactionAdmin, producer: Producer) -> None:
        """Tell of what hangs of a producer whose epochs are exhausted: no other can end it."""
        if self._before is not None and self._before.id != producer.id:
            hanging = await admin.open_in(self._partitions, self._before)
            if hanging:
                _log.error(
                    "a transaction hangs, and only an operator can abort it",
                    producer_id=self._before.id,
                    partitions=_names(hanging),
                )

    async def _end(self, producer: Producer, hanging: Starts) -> None:
        # What was under way when somebody looked, or came after, was committed, unless the opening
        # cut it off.
        otherwise = producer.follows(self._before)
        self._verdicts = {each: self._verdicts.get(each, otherwise) for each in hanging.items()}
        committed = {each[0] for each, well in self._verdicts.items() if well}
        async with asyncio.timeout(END_WITHIN), self._admin() as admin:
            # In this order: should it be cut off in between, the rest is aborted as well.
            for partitions, well in ((hanging.keys() - committed, False), (committed, True)):
                if partitions:
                    await admin.end(producer, partitions, self.group_id, committed=well)
                    _log.warning(
                        "a transaction hung: it was ended",
                        transactional_id=self.transactional_id,
                        committed=well,
                        partitions=_names(partitions),
                    )


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{each.topic}-{each.partition}" for each in partitions)
