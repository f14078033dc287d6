"""Batches of records for Faust's agents.

Faust makes one message of every record, and tracks which were acknowledged. Here up to 500 records
of a partition become one message, a `Batch`, and the tasks keep the offsets: a task commits them in
the transaction that holds the results of the records. Faust's own commits are off.

No batch may be lost or read twice between the fetcher and a task, however rebalances and seeks
interleave with fetches in flight. So each batch carries the offset at which its fetch began and the
seek epoch: the number of seeks of its partition before that fetch. Both are noted in the consumer's
thread, where a fetch and a seek cannot overlap.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import TPorTopicSet

from streams.engine.consume.fetching import SourceRecord
from streams.engine.consume.log_requests import NO_EPOCH
from streams.engine.consume.positions import Positions

_log = structlog.get_logger(__name__)

RECORDS_AT_ONCE = 500
"""Records in the longest batch; they are counted within a few ms, without a yield."""
CONNECT_EVERY = 1.0
"""Seconds between two attempts to reach the brokers."""


class Batch(NamedTuple):
    """One partition's share of a fetch, or a part of it.

    Args:
        partition: where the records are from.
        seek_epoch: how many seeks of the partition came before the fetch.
        start: the offset at which the fetch began; the first record's may be greater, as
            transaction markers and compacted records have offsets too.
        records: in the order of their offsets; none if `end_seen` is given.
        waiting: the number of offsets between this batch and the partition's high watermark.
        epoch: the leader epoch of the records; -1 if it is not known.
        end_seen: given when a broker refused a fetch from `start`, because the log is another one
            or ends before: the high watermark known last, -1 if none is known.
    """

    partition: TopicPartition
    seek_epoch: int
    start: int
    records: Sequence[SourceRecord]
    waiting: int = 0
    epoch: int = NO_EPOCH
    end_seen: int | None = None

    @property
    def end(self) -> int:
        """The offset at which the next fetch begins."""
        return self.records[-1].offset + 1 if self.records else self.start

    def parts(self, size: int) -> "Iterator[Batch]":
        """Yield the batch in parts of at most `size` bytes, or of one record."""
        if not self.records:
            yield self
        start, records, length = self.start, [], 0
        for at, record in enumerate(self.records):
            records.append(record)
            length += len(record.value or b"")
            following = self.records[at + 1 : at + 2]
            if not following or length + len(following[0].value or b"") > size:
                waiting = self.waiting + len(self.records) - at - 1
                yield self._replace(start=start, records=records, waiting=waiting)
                start, records, length = record.offset + 1, [], 0


class SeekPosition(NamedTuple):
    """The offset at which a partition is read next, and the seek epoch of batches from there."""

    epoch: int
    offset: int


class TransportHooks:
    """The callbacks through which the transport reaches the engine, set after Faust is made.

    Args:
        new_consumer: makes the aiokafka consumer of the group.
        positions: returns the positions of the running tasks, by partition.
        on_seek: is called after a seek, with the new seek position of each partition.
    """

    def __init__(
        self,
        new_consumer: Callable[[], "AIOKafkaConsumer[bytes | None, bytes | None]"],
        positions: Callable[[], Positions],
        on_seek: Callable[[Mapping[TopicPartition, SeekPosition]], None],
    ) -> None:
        self.new_consumer = new_consumer
        self.positions = positions
        self.on_seek = on_seek


FAUST_LOG = logging.getLogger("faust")
"""Faust's own messages, wherever we subclass it, so that they can be told from ours."""


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in a thread of its own, so that heartbeats go on whatever the agents do."""

    logger = FAUST_LOG

    def __post_init__(self) -> None:
        super().__post_init__()
        self._seek_positions: dict[TopicPartition, SeekPosition] = {}

    async def on_start(self) -> None:
        """Connect, and join the group; wait for brokers that have answered before and are away."""
        while not self.should_stop:
            try:
                await super().on_start()
            except KafkaConnectionError as error:
                _log.warning("cannot join the group: trying again", error=str(error))
                await self._ensure_consumer().stop()
                await self.sleep(CONNECT_EVERY)
            else:
                return

    def close(self) -> None:
        """Do nothing: what stops the thread stops the consumer, in this thread's loop.

        Faust (0.15, `App._on_rebalance_when_stopped`) calls this for partitions that are assigned
        while the worker stops, and would close the consumer's connections in the main thread's
        loop. No loop may be used from another thread: with uvloop, that ended the process with
        SIGSEGV.
        """

    def _create_consumer(self, loop: Any) -> Any:  # noqa: ARG002 - Faust's signature
        return cast("BatchTransport", self.transport).hooks.new_consumer()

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        fetched = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout, max_records=max_records
        )
        # Nothing may be awaited from here on: a seek must not come between.
        batches: dict[TP, list[Any]] = {}
        for partition, parts in fetched.items():
            sought = self._seek_positions.get(partition)
            if sought is None:
                continue
            records = _from(sought.offset, list(chain.from_iterable(parts)))
            if not records:
                continue
            waiting = (consumer.highwater(partition) or 0) - records[-1].offset - 1
            log = consumer.logs.log(partition)
            epoch = log.epoch if log is not None else NO_EPOCH
            batches[partition] = list(_slices(partition, sought, records, waiting, epoch))
            self._seek_positions[partition] = SeekPosition(sought.epoch, records[-1].offset + 1)
        # All that was fetched before is handed out: until then aiokafka asks for no more.
        for partition, log in consumer.logs.take_refused():
            sought = self._seek_positions.get(partition)
            if sought is not None:
                refusal = Batch(partition, sought.epoch, sought.offset, (), end_seen=log.end)
                batches.setdefault(partition, []).append(refusal)
        return batches

    async def seek_to(self, positions: Positions) -> Mapping[TopicPartition, SeekPosition]:
        """Fetch assigned partitions from other positions; return the new seek positions."""
        sought: Mapping[TopicPartition, SeekPosition]
        sought = await self.call_thread(self._seek_to, positions)
        return sought

    async def _seek_to(self, positions: Positions) -> Mapping[TopicPartition, SeekPosition]:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        sought = {}
        for partition, at in positions.items():
            if partition in assigned:
                consumer.seek(partition, at.offset)
                consumer.logs.read(partition, at.topic_id, at.epoch)
                before = self._seek_positions.get(partition)
                epoch = before.epoch + 1 if before is not None else 0
                sought[partition] = SeekPosition(epoch, at.offset)
        self._seek_positions.update(sought)
        return sought

    async def leave_others(self, read: Positions) -> None:
        """Do not read the partitions that are assigned and not among these."""
        await self.call_thread(self._leave_others, read)

    async def _leave_others(self, read: Positions) -> None:
        consumer = self._ensure_consumer()
        for partition in consumer.assignment() - read.keys():
            # So that aiokafka does not look for a position by itself.
            consumer.seek(partition, 0)
            consumer.logs.leave(partition)

    async def commit_group_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """Commit offsets as a member of the group, for brokers without transactions."""
        await self.call_thread(self._ensure_consumer().commit, dict(offsets))


def _from(offset: int, records: list[SourceRecord]) -> list[SourceRecord]:
    """Leave out records before an offset: they were read already, or a seek skipped them."""
    if records and records[0].offset < offset:
        return [record for record in records if record.offset >= offset]
    return records


def _slices(
    partition: TopicPartition,
    sought: SeekPosition,
    records: Sequence[SourceRecord],
    waiting: int,
    epoch: int,
) -> Iterator[Batch]:
    """Cut one partition's share of a fetch into batches."""
    start = sought.offset
    for first in range(0, len(records), RECORDS_AT_ONCE):
        some = records[first : first + RECORDS_AT_ONCE]
        yield Batch(partition, sought.epoch, start, some, waiting, epoch)
        start = some[-1].offset + 1


class BatchConsumer(driver.Consumer):
    """A Faust consumer whose messages are batches."""

    logger = FAUST_LOG
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Which offsets were read is known by the batches, not by this.
        self._read_offset = _Nothing()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        # A loop of the kind that the rest runs on: uvloop reads sockets at half the cost.
        thread_loop = type(asyncio.get_running_loop())()
        thread = BatchConsumerThread(
            self, loop=self.loop, thread_loop=thread_loop, beacon=self.beacon
        )
        # mode closes only loops that it made itself.
        thread._close_thread_loop_on_stop = True  # noqa: SLF001
        return thread

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: Batch = record
        last = batch.records[-1] if batch.records else None
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.end - 1,
            # Batches of Kafka before 0.10 have no time.
            (last.timestamp or 0) / 1000 if last else 0.0,
            last.timestamp_type if last else 0,
            [],
            None,
            cast("bytes", batch),
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def perform_seek(self) -> None:
        """Fetch from the positions of the tasks, not from the offsets Faust takes for committed."""
        positions = cast("BatchTransport", self.transport).hooks.positions()
        await self._thread.leave_others(positions)
        await self.seek_to(positions)

    async def seek_to(self, positions: Positions) -> None:
        """Fetch partitions from other positions, and tell the tasks the new seek positions."""
        sought = await self._thread.seek_to(positions)
        cast("BatchTransport", self.transport).hooks.on_seek(sought)

    async def commit_group_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """Commit offsets as a member of the group, for brokers without transactions."""
        await self._thread.commit_group_offsets(offsets)

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        """Fetch from partitions again, of those whose task is open."""
        positions = cast("BatchTransport", self.transport).hooks.positions()
        super().resume_partitions(
            {ensure_TP(tp) for tp in tps if as_topic_partition(tp) in positions}
        )

    # The tasks keep the offsets: nothing is acknowledged, waited for or committed here.

    def ack(self, message: Message) -> bool:
        """Let go of a message."""
        self._unacked_messages.discard(message)
        return True

    async def wait_empty(self) -> None:
        """Wait for nothing."""

    async def commit(
        self,
        topics: TPorTopicSet | None = None,  # noqa: ARG002 - Faust's signature
        start_new_transaction: bool = True,  # noqa: ARG002 - Faust's signature
    ) -> bool:
        """Commit nothing."""
        return False

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: this looks for commits that Faust does not make."""


class _Nothing(dict[TP, int | None]):
    """Remembers nothing."""

    def __missing__(self, key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: int | None) -> None:
        pass

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Remember nothing."""


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = BatchConsumer
    hooks: TransportHooks


def as_topic_partition(partition: Any) -> TopicPartition:
    """Turn Faust's kind of partition into aiokafka's."""
    return TopicPartition(partition.topic, partition.partition)
