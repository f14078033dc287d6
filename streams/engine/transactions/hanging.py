"""Hanging transactions: ended for their coordinator, and still open in a partition.

The coordinator of a transaction has a commit or abort marker written into each partition that the
transaction wrote to. Apache Kafka 4.3 and 4.4 leave out partitions that have no leader at that
moment, as if they had been deleted (https://issues.apache.org/jira/browse/KAFKA-20734): those of a
single broker that shuts down or has just started, and those of which all replicas are away. The
transaction hangs there. Consumers that read committed records stop in front of its first record,
and the marker of the next transaction of the same producer in that partition decides whether its
records are committed.

So a transaction begins only when the marker of the one before it is in the task's partition of the
changelog topic and, after a connection was lost, in every partition: a broker that stops leading
by stopping breaks its connections. When a task is opened, its hanging transactions are resolved in
every partition, as their coordinator had decided. A hanging transaction whose outcome is unknown is
aborted. There are two such cases: a process that ended after it had taken the transactional id and
before it had resolved the hanging transactions; and a leader that goes away in the milliseconds
after a commit, comes back unnoticed, and has a transaction hang outside the changelog topic, in a
partition to which the next transaction writes as well, which is cut off.
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

RESOLVE_WITHIN = 60.0
"""Seconds for writing the markers; after that the next opening of the task tries again."""


class HangingError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A transaction was committed, and its marker is missing in a partition."""


class HangingTransactions:
    """Finds and resolves the hanging transactions of one transactional id.

    Lives longer than the producers that are opened with the id: opening one makes the coordinator
    forget the outcome of the last transaction, and may fail right after that.

    Args:
        connection: keyword arguments for aiokafka clients.
        transactional_id: the id; nobody who writes with it aborts a transaction.
        group_id: the consumer group whose offsets are part of the transactions.
        state: the partition of the changelog topic, which every transaction writes to.
        partitions: all partitions that any transaction may write to.
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
        """Whether a hanging transaction was committed, by partition and its first offset there."""
        self._resolving: asyncio.Task[None] | None = None

    async def inspect(self) -> None:
        """Find hanging transactions and their outcomes; to be called before a producer is opened.

        Raises:
            KafkaError: if the brokers do not answer.
        """
        await self.wait_resolved()
        with contextlib.suppress(*UNSUPPORTED):
            async with self._admin() as admin:
                producer_id = -1
                hanging: Starts = {}
                # The outcome has to be asked for last: the transaction may end in between.
                while (last := await admin.describe()) and last.producer.id != producer_id:
                    producer_id = last.producer.id
                    hanging = await admin.open_in(self._partitions, last.producer)
            self._note(last, hanging)

    def _note(self, last: Described | None, hanging: Starts) -> None:
        self._before = last and last.producer
        found = {each: last and self._verdict(last, *each) for each in hanging.items()}
        self._verdicts = {at: known for at, known in found.items() if known is not None}

    def _verdict(self, last: Described, partition: TopicPartition, start: int) -> bool | None:
        """Tell whether an open transaction was committed; None if it is still under way."""
        known = self._verdicts.get((partition, start))
        if known is not None:
            return known
        match last.state:
            case "PrepareCommit" | "CompleteCommit":
                return True
            case "Ongoing":
                # If the last transaction does not write here, the open one is older: it was
                # committed, because a newer one starts only after a commit.
                return None if partition in last.partitions else True
            case _:
                # Aborted; or unknown, as a producer was opened and resolved nothing.
                return False

    async def resolve(self, producer: Producer) -> None:
        """Resolve hanging transactions, each with its outcome; to be called with `producer` open.

        Goes on when the caller is cancelled.

        Raises:
            KafkaError: if hanging transactions cannot be found, or not be resolved.
        """
        with contextlib.suppress(*UNSUPPORTED):
            async with self._admin() as admin:
                hanging = await admin.open_in(self._partitions, producer)
                await self._report_exhausted(admin, producer)
            if hanging:
                self._resolving = asyncio.create_task(self._write_markers(producer, hanging))
                self._resolving.add_done_callback(lambda done: done.cancelled() or done.exception())
                await asyncio.shield(self._resolving)
            self._verdicts = {}

    async def wait_resolved(self, within: float | None = None) -> None:
        """Wait until a `resolve` whose caller was cancelled is done; at most `within` seconds."""
        if self._resolving is not None:
            await asyncio.wait({self._resolving}, timeout=within)

    async def ensure_markers_written(
        self, client: AIOKafkaClient, producer: Producer, *, everywhere: bool
    ) -> None:
        """Wait until the last transaction's marker is in the partition of the changelog topic.

        Args:
            client: any connected client.
            producer: the producer that committed the transaction.
            everywhere: whether it has to be in all partitions that transactions may write to. Their
                leaders list all producers then, so it is asked only where one may be missing.

        Raises:
            HangingError: if a marker is missing for good.
            KafkaError: if the brokers do not answer, or a newer producer has the id.
        """
        with contextlib.suppress(*UNSUPPORTED):
            admin = TransactionAdmin(client, self.transactional_id)
            partitions = self._partitions if everywhere else (self._state,)
            left = await admin.left_open(partitions, producer)
            if left:
                raise HangingError(f"hanging transaction in {', '.join(_names(left))}")

    def _admin(self) -> contextlib.AbstractAsyncContextManager[TransactionAdmin]:
        return TransactionAdmin.connected(self._connection, self.transactional_id)

    async def _report_exhausted(self, admin: TransactionAdmin, producer: Producer) -> None:
        """Log hanging transactions of a producer with no epoch left: no other one can end them."""
        if self._before is not None and self._before.id != producer.id:
            hanging = await admin.open_in(self._partitions, self._before)
            if hanging:
                _log.error(
                    "hanging transaction, only an operator can abort it",
                    producer_id=self._before.id,
                    partitions=_names(hanging),
                )

    async def _write_markers(self, producer: Producer, hanging: Starts) -> None:
        # A transaction that was under way during `inspect`, or began later, was committed, unless
        # the opening of the producer aborted it.
        otherwise = producer.follows(self._before)
        self._verdicts = {each: self._verdicts.get(each, otherwise) for each in hanging.items()}
        committed = {each[0] for each, well in self._verdicts.items() if well}
        async with asyncio.timeout(RESOLVE_WITHIN), self._admin() as admin:
            # Aborts first: if this is cut off in between, the rest is aborted as well.
            for partitions, well in ((hanging.keys() - committed, False), (committed, True)):
                if partitions:
                    await admin.end(producer, partitions, self.group_id, committed=well)
                    _log.warning(
                        "hanging transaction resolved",
                        transactional_id=self.transactional_id,
                        committed=well,
                        partitions=_names(partitions),
                    )


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{each.topic}-{each.partition}" for each in partitions)
