"""Events into the topic, and an account of what got there and what did not.

Whole batches go to the producer, one partition after the other: many times cheaper than one
event at a time, and the broker acknowledges each batch (`acks=all`) before it counts as sent.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.errors import BrokerUnavailableError, TopicError

BATCH_BYTES = 256 << 10
_ABOUT_ONE_BATCH = (
    InvalidTimestampError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
)
# For how long a batch is tried again while its broker does not answer.
GIVE_UP_MS = 30_000

Key = Callable[[bytes], bytes | None]


class _Attributes(msgspec.Struct, gc=False):
    campaign_id: str


class _Event(msgspec.Struct, gc=False):
    attributes: _Attributes


_decode_campaign = msgspec.json.Decoder(_Event).decode


def campaign_key(event: bytes) -> bytes | None:
    """Return the event's campaign as a record key; None if the event names none."""
    try:
        return _decode_campaign(event).attributes.campaign_id.encode()
    except (msgspec.DecodeError, UnicodeError):
        return None


@dataclass(slots=True)
class Account:
    """What was sent, and what was not: by reason, how many and where the first one was."""

    sent: int = 0
    failed: dict[str, tuple[int, str]] = field(default_factory=dict)

    def fail(self, reason: str, count: int, place: str) -> None:
        """Enter `count` events (or what should have been some) that were not sent."""
        before, first = self.failed.get(reason, (0, place))
        self.failed[reason] = (before + count, first)

    @property
    def unsent(self) -> int:
        """How many were not sent."""
        return sum(count for count, _ in self.failed.values())

    def lines(self) -> Iterator[str]:
        """Say it in words, one line each."""
        yield f"sent {self.sent:,} events"
        for reason, (count, place) in self.failed.items():
            yield f"not sent {count:,}: {reason} (first: {place})"


class Sender:
    """Sends events to one topic, from `async with` on; the account is complete after it.

    `connection` are the arguments of any aiokafka client. `key` makes the records' keys, which
    choose the partition; without one, batches go round all partitions. `idempotent`: what is
    tried again is not written twice (not every broker can).

    Raises (on entering):
        BrokerUnavailableError: the cluster does not answer.
        TopicError: the topic does not exist there.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        *,
        key: Key | None = None,
        idempotent: bool = False,
    ) -> None:
        self.account = Account()
        self._topic = topic
        self._key = key
        self._servers = ", ".join(connection["bootstrap_servers"])
        self._settings: dict[str, Any] = {
            **connection,
            "acks": "all",
            "enable_idempotence": idempotent,
            "max_batch_size": BATCH_BYTES,
            "request_timeout_ms": GIVE_UP_MS,
        }
        self._underway: set[asyncio.Future[Any]] = set()
        self._disconnected_by: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**self._settings)
        try:
            await self._start()
            await self._find_partitions()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.flush()
        finally:
            await self._producer.stop()

    async def send(self, events: Sequence[bytes], place: str = "simulated") -> None:
        """Hand over events; waits while the broker is behind.

        `place` says where the first of them comes from, for the account.

        Raises:
            BrokerUnavailableError: the cluster has not answered for `GIVE_UP_MS`.
        """
        if self._key is None:
            await self._send_to(next(self._turns), [(None, event) for event in events], place)
            return
        by_partition: dict[int, list[tuple[bytes | None, bytes]]] = {}
        for event in events:
            key = self._key(event)
            partition = (
                next(self._turns)
                if key is None
                else self._partitioner(key, self._partitions, self._partitions)
            )
            by_partition.setdefault(partition, []).append((key, event))
        for partition, records in by_partition.items():
            await self._send_to(partition, records, place)

    async def flush(self) -> None:
        """Wait until everything handed over is acknowledged or given up."""
        while self._underway:
            await asyncio.wait(self._underway)

    async def _start(self) -> None:
        try:
            await self._producer.start()
        except KafkaConnectionError as error:
            raise BrokerUnavailableError(
                f"cannot reach Kafka at {self._servers}: check kafka.bootstrap_servers "
                "and that the broker is running"
            ) from error
        except ClusterAuthorizationFailedError as error:
            raise BrokerUnavailableError(
                "Kafka does not give this client the right to IDEMPOTENT_WRITE on cluster (or, "
                f"since 2.8, to WRITE on topic {self._topic}): grant it, as docs/acls.md says"
            ) from error
        except KafkaError as error:
            hint = "; a broker without transactions needs kafka.guarantee: at-least-once"
            raise BrokerUnavailableError(
                f"Kafka at {self._servers} refuses to take events ({_words(error)})"
                f"{hint if self._settings['enable_idempotence'] else ''}"
            ) from error

    async def _find_partitions(self) -> None:
        # Asking for all topics: to ask for one by its name would make it, on many clusters.
        cluster = await self._producer.client.fetch_all_metadata()
        partitions = cluster.partitions_for_topic(self._topic)
        if not partitions:
            raise TopicError(
                f"there is no topic {self._topic} at {self._servers}, or no right to WRITE on it: "
                "make it with `campaign-streams topics create`"
            )
        self._partitions = sorted(partitions)
        self._turns = cycle(self._partitions)
        self._partitioner = DefaultPartitioner()

    async def _send_to(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]], place: str
    ) -> None:
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                await self._submit(batch, partition, place)
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        await self._submit(batch, partition, place)

    async def _submit(self, batch: BatchBuilder, partition: int, place: str) -> None:
        if self._disconnected_by:
            raise BrokerUnavailableError(
                f"Kafka at {self._servers} has stopped answering: start again from {place}"
            ) from self._disconnected_by
        count = batch.record_count()
        try:
            future = await self._producer.send_batch(batch, self._topic, partition=partition)
        except KafkaError as error:
            self._not_sent(error, count, place)
            return
        self._underway.add(future)
        future.add_done_callback(lambda done: self._settle(done, count, place))

    def _settle(self, done: "asyncio.Future[Any]", count: int, place: str) -> None:
        self._underway.discard(done)
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is None:
            self.account.sent += count
        else:
            self._not_sent(error, count, place)

    def _not_sent(self, error: BaseException, count: int, place: str) -> None:
        # Has been tried again until now, so the next batch would fare no better; unless it is this
        # one that the broker does not like.
        if not isinstance(error, _ABOUT_ONE_BATCH):
            self._disconnected_by = error
        words = _words(error)
        if isinstance(error, TopicAuthorizationFailedError):
            words = (
                f"Kafka does not give this client the right to WRITE on topic {self._topic}: "
                "grant it, as docs/acls.md says"
            )
        self.account.fail(words, count, place)


def _words(error: BaseException) -> str:
    name = type(error).__name__
    words = getattr(error, "description", None) or str(error)
    return f"{name}: {words}" if words and words != name else name
