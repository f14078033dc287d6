"""One task: the source partitions that are counted together, and one partition of campaigns.

What a task does with what it reads, in the order of the code: records of the source topic become
blocks on the repartition topic, or dead letters; blocks of the repartition topic become windows,
alerts and deliveries. A flush writes all of it down together with the offsets of what was read.

When the source is keyed by campaign itself nothing is repartitioned: the blocks are the task's own.
It adds them to its windows before it writes them, and the repartition topic is only their log.
"""

import asyncio
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace

import orjson
import structlog
from aiokafka.structs import TopicPartition

from streams.domain import partial_counts
from streams.domain.events import Reason, Rejected
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition
from streams.domain.transitions import Transition
from streams.engine.consume.positions import Position, Positions
from streams.engine.consume.transport import Batch, Place
from streams.engine.produce.broker_clock import DISAGREES
from streams.engine.produce.writer import (
    CLOSE_WITHIN,
    Record,
    TaskLostError,
    TransactionBatch,
    WriteError,
    Writer,
)
from streams.engine.tasks.context import AfterCommit, TaskContext
from streams.engine.tasks.isolation import (
    UNPROCESSABLE_KEY,
    Isolation,
    PartialCountsRecord,
    Trial,
    UnprocessableError,
    as_loss,
)
from streams.engine.tasks.logs import Loss
from streams.engine.tasks.offsets import TaskOffsets
from streams.engine.tasks.output_buffer import OutputBuffer
from streams.errors import FormatError

_log = structlog.get_logger(__name__)

LOG_APPEND_TIME = 1
BLOCK_BYTES_AT_ONCE = 256 * 1024
"""Bytes of the repartition topic that are added within some 50 ms; then others have a turn."""
EVALUATED_AT_ONCE = 500
"""For so many campaigns rules are evaluated within some 50 ms; then others have a turn."""
CATCH_UP_INTERVAL = 1.0
"""Seconds between flushes while far behind."""
MOST_SKIPPED = 10_000
"""Blocks that became dead letters, of which the state says so; older ones are not read again."""


class StreamTask:
    """A task that is open: its writer fences all others, its state is read back.

    Args:
        context: what every task does alike.
        writer: the task's own, open.
        partition: the campaigns, with the state of earlier lives.
        offsets: how far it was read.
        sources: the source partitions that the task reads, by number.
        isolation: what is known of input that cannot be processed.
        skipped: the offsets of blocks that became dead letters.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        context: TaskContext,
        writer: Writer,
        partition: CampaignPartition,
        offsets: TaskOffsets,
        sources: Mapping[int, SourcePartition],
        isolation: Isolation,
        skipped: Iterable[int] = (),
    ) -> None:
        self.partition = partition
        self.suspended = False
        self.has_written = False
        self._uncommitted = AfterCommit(context.instruments)
        self._context = context = replace(context, instruments=self._uncommitted)
        self._writer = writer
        self._sources = sources
        self._offsets = offsets
        self._isolation = isolation
        self._trial = Trial(context, partition.number)
        self._skipped = sorted(skipped)
        self._has_skipped = False
        self._output = OutputBuffer(partition.number, context, isolation)
        self._added: list[bytes] = []
        """Without repartitioning: the records of blocks that were added and are yet to be
        written."""
        self._due = 0.0
        self._flushing = asyncio.Lock()
        self._evaluated = asyncio.Event()
        """Whether no evaluation is under way."""
        self._evaluated.set()
        self._early_flush: asyncio.Task[None] | None = None
        self._lost: TaskLostError | FormatError | None = None
        self.unplaced: dict[TopicPartition, int | None] = dict.fromkeys(offsets.positions)
        """Partitions of which it has to be found out where to read on; those of which a broker
        refused to read on, with the end of the log that was seen last, -1 for none."""
        self._opened_at_offset = context.clock.offset

    @property
    def positions(self) -> Positions:
        """From where each partition that the task reads is read on."""
        return self._offsets.positions

    @property
    def readable(self) -> Positions:
        """The same, of those partitions of which it is known."""
        return {p: at for p, at in self.positions.items() if p not in self.unplaced}

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of each of them."""
        return self._offsets.committed

    # Reading

    def place(self, places: Mapping[TopicPartition, Place]) -> None:
        """Take note of which batches continue what was read."""
        self._offsets.place(places)

    async def take(self, batch: Batch) -> None:
        """Count a batch. If that goes wrong the task is lost, and `tick` says so."""
        if batch.partition.topic == self._context.topics.source:
            await self._context.clock.known()
            self._check_clock()
            await self._take_part(batch)
            return
        for part in batch.parts(BLOCK_BYTES_AT_ONCE):
            # Or rules would be evaluated for as long as there are more blocks to read.
            await self._evaluated.wait()
            await self._take_part(part)
            if part.end != batch.end:
                await asyncio.sleep(0)

    async def _take_part(self, batch: Batch) -> None:
        try:
            self._take(batch)
        except (TaskLostError, FormatError) as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - isolated when it comes again
            # Half of the batch may be counted.
            _log.exception("a batch was not counted", partition=str(batch.partition))
            self._lose(UnprocessableError.of(f"a batch of {batch.partition}", error))
        except BaseException as error:
            self._lose(TaskLostError(f"a batch of {batch.partition} was not counted: {error!r}"))
            raise
        await self._flush_if_full()

    def _take(self, batch: Batch) -> None:
        if self.suspended or self._lost or not self._offsets.continues(batch):
            return
        if batch.end_seen is not None:
            self._offsets.leave(batch.partition)
            self.unplaced[batch.partition] = batch.end_seen
        elif batch.partition.topic == self._context.topics.source:
            self._count(batch)
        else:
            self._apply(batch)

    def _count(self, batch: Batch) -> None:
        """Records of the source topic: bytes become counts, or dead letters."""
        source = self._sources[batch.partition.partition]
        rest = self._processable(source, batch)
        rejected = self._count_into(source, rest, self._output.pre_aggregator)
        if rejected:
            self._output.dead_letter(rest, rejected)
        self._offsets.advance(batch, source.event_time)

    def _count_into(
        self, source: SourcePartition, batch: Batch, pre_aggregator: PreAggregator
    ) -> list[Rejected]:
        if not batch.records:
            return []
        values = [record.value for record in batch.records]
        return source.count(values, self._broker_time(batch), pre_aggregator)

    def _processable(self, source: SourcePartition, batch: Batch) -> Batch:
        """Return the records of a batch that can be processed; the others become dead letters."""
        if not self._isolation.is_careful(self._context.now()):
            return batch
        found = self._trial.of_records(source, batch, self._count_into)
        if not found:
            return batch
        self._isolation.failed(self._context.now())
        self._output.dead_letter(batch, found)
        _log.error(
            "records cannot be processed",
            partition=str(batch.partition),
            records=len(found),
            first_offset=batch.records[found[0].position].offset,
            error=found[0].detail,
        )
        left_out = {each.position for each in found}
        rest = [record for at, record in enumerate(batch.records) if at not in left_out]
        return batch._replace(records=rest)

    def _broker_time(self, batch: Batch) -> int:
        """When the broker took in the newest record (ms), if the topic says; or else its time."""
        last = batch.records[-1]
        now = int(self._context.now() * 1000)
        if last.timestamp_type != LOG_APPEND_TIME:
            return now
        return min(last.timestamp, now) if self._context.clock.is_told else last.timestamp

    def _apply(self, batch: Batch) -> None:
        """Records of the repartition topic: blocks become windows."""
        for position, record in enumerate(batch.records):
            try:
                block = partial_counts.decode(record.value or b"")
            except ValueError as error:
                self._output.dead_letter(
                    batch, [Rejected(position, Reason.NOT_A_BLOCK, str(error))]
                )
            else:
                self._apply_block(batch.partition, record.offset, block)
        self._offsets.advance(batch)

    def _apply_block(
        self, partition: TopicPartition, offset: int, block: partial_counts.PartialCounts
    ) -> None:
        now = self._context.now()
        known = self._isolation.blocks.get(offset)
        if known is not None or self._isolation.is_careful(now):
            good, bad, raised = self._trial.of_block(block, known)
            if bad is not None:
                self._isolation.failed(now)
                self._skip_block(partition, offset, bad, raised)
            if good is None:
                return
            block = good
        try:
            self._add(block, offset)
        except Exception as error:
            _log.exception("a block was not added", partition=str(partition), offset=offset)
            doing = f"the block at {partition}, offset {offset}"
            raise UnprocessableError.of(doing, error, offset) from error

    def _skip_block(
        self, log: TopicPartition, offset: int, bad: partial_counts.PartialCounts, raised: str
    ) -> None:
        """Dead-letter a block or a part of it, and remember not to add that part again."""
        record = PartialCountsRecord(offset, partial_counts.encode(bad))
        rejected = Rejected(0, Reason.UNPROCESSABLE, raised)
        self._output.dead_letter(Batch(log, 0, offset, [record]), [rejected])
        self._skipped = [*self._skipped, offset][-MOST_SKIPPED:]
        self._has_skipped = True

    def skip_blocks(
        self, log: TopicPartition, found: Iterable[tuple[int, partial_counts.PartialCounts, str]]
    ) -> None:
        """Dead-letter parts of blocks that could not be added when the log was read again.

        Args:
            log: the task's partition of the repartition topic.
            found: offset, part, and what it raised.
        """
        for offset, bad, raised in found:
            self._skip_block(log, offset, bad, raised)

    def _add(self, block: partial_counts.PartialCounts, offset: int) -> None:
        table = self.partition.table
        late_before, folded_before = table.late_events, table.folded
        self.partition.apply(block, offset, self._context.now())
        self._context.instruments.late(table.late_events - late_before)
        if table.folded != folded_before:
            self._context.instruments.folded(
                table.folded.names - folded_before.names,
                table.folded.campaigns - folded_before.campaigns,
            )
        self._output.applied(block)

    # Writing

    async def tick(self) -> None:
        """Let time go on: close and expire windows, hold the rules, write down what is due.

        Raises:
            TaskLostError: if the task must not be used any more.
            FormatError: if this worker cannot go on with what another one wrote.
        """
        self._check_clock()
        self._check()
        now = self._context.now()
        if self._offsets.is_catching_up and self._due - CATCH_UP_INTERVAL <= now < self._due:
            return
        self._due = now + CATCH_UP_INTERVAL
        async with self._flushing:
            self._check()
            await self._evaluate_in_parts()
            if not self.suspended:
                # Not during a flush: where its blocks are in the log is known when it has ended.
                self._decide(self.partition.advance(now, self._next_in_log), now)
                await self._flush()

    def _decide(self, decided: list[Transition], now: float, *, more: bool = False) -> None:
        self._context.instruments.evaluation_failed(self.partition.take_failures())
        self._output.decide(decided, now, more=more)

    async def _evaluate_in_parts(self) -> None:
        """Evaluate the rules for most of the campaigns, if they are many, in several turns.

        Without repartitioning, what was counted is added to the windows before. What is left is
        evaluated in the step that collects it for the flush. Nothing is flushed in between, and no
        blocks of the repartition topic are added.
        """
        self._evaluated.clear()
        try:
            if not self._context.repartitions:
                self._add_own_blocks()
            while self.partition.to_evaluate > EVALUATED_AT_ONCE:
                now = self._context.now()
                self._decide(self.partition.evaluate(now, EVALUATED_AT_ONCE), now, more=True)
                await asyncio.sleep(0)
                self._check()
        finally:
            self._evaluated.set()

    def add_inputs(self, sources: int) -> None:
        """Wait for the source partitions that there are now before time goes on."""
        if self._context.repartitions:
            self.partition.table.clock.add_inputs(range(sources), self._context.now())

    async def move(self, partition: TopicPartition, position: Position, loss: Loss | None) -> bool:
        """Read a partition on from `position`; `loss` says what cannot be read any more.

        What was counted before is written down with that, in one transaction.

        Returns:
            Whether it was done; it is not while a rebalance is under way.

        Raises:
            TaskLostError: if it was not committed; the task must not be used any more.
            FormatError: if this worker cannot go on with what another one wrote.
        """
        async with self._flushing:
            self._check()
            if self.suspended:
                return False
            self._offsets.move(partition, position)
            if loss is not None:
                await self._flush()
                self._context.instruments.lost(partition, loss.cause, loss.records)
        self.unplaced.pop(partition, None)
        return True

    async def commit_for_handover(self) -> None:
        """Write down all that the next owner needs, in one transaction.

        Raises:
            TaskLostError: if it was not committed; the task must not be used any more.
            FormatError: if this worker cannot go on with what another one wrote.
        """
        async with self._flushing:
            self._check()
            await self._evaluate_in_parts()
            await self._flush(last=True)

    async def _flush_if_full(self) -> None:
        """Begin a flush if it is time; wait for the one before it, but not for its own end."""
        while self._output.is_full and self._early_flush and not self._early_flush.done():
            await asyncio.wait({self._early_flush})
        if self._output.is_full and not (self._lost or self.suspended):
            self._early_flush = asyncio.create_task(self._flush_early())
            # Now, as a rule, it takes what was counted.
            await asyncio.sleep(0)

    async def _flush_early(self) -> None:
        try:
            async with self._flushing:
                self._check()
                await self._evaluate_in_parts()
                if not self.suspended:
                    await self._flush()
        except (TaskLostError, FormatError) as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - the next tick says so
            self._lose(as_loss("the rules were evaluated", error))

    async def _flush(self, *, last: bool = False) -> None:
        """Write down what was counted, what that led to, and the offsets of what was read."""
        began = self._context.clock.wall()
        try:
            writes = self._collect(last=last)
            # Now, before anything is told that belongs to the next flush.
            tell = self._uncommitted.take()
            if not writes:
                tell()
                return
            self._offsets.commit(writes, await self._writer.write(writes))
        # What was collected is gone from memory, and may be written or not.
        except (TaskLostError, FormatError) as error:
            self._lose(error)
            raise
        except Exception as error:
            lost = as_loss("the flush did not end", error)
            self._lose(lost)
            raise lost from error
        except BaseException as error:
            self._lose(WriteError(f"the flush did not end: {error!r}"))
            raise
        self.has_written = True
        tell()
        self._isolation.forget_blocks(before=self._offsets.committed_in_log)
        self.partition.deliveries.flush_committed()
        self._context.instruments.flushed(self._context.clock.wall() - began)

    def _lose(self, error: TaskLostError | FormatError) -> None:
        # Without traceback and cause: these hold on to the task, and the collector runs seldom.
        self._lost = self._lost or copy(error)

    def _check_clock(self) -> None:
        """See that time goes on where it was when the task was opened: all it knows is by that."""
        moved = self._context.clock.offset - self._opened_at_offset
        if abs(moved) > DISAGREES:
            self._lose(TaskLostError(f"the broker's time turned out to be {moved:+.0f} s off"))

    def _check(self) -> None:
        if self._lost:
            raise copy(self._lost)

    def _collect(self, *, last: bool) -> TransactionBatch:
        writes = TransactionBatch()
        self._collect_blocks(writes)
        # What is written down was decided on: its next owner will not look at it again.
        now = self._context.now()
        self._decide(self.partition.evaluate(now), now)
        if last:
            self.partition.prepare_handover()
        for key, value in self.partition.take_changes(now):
            writes.add(self._context.topics.changelog, self.partition.number, Record(key, value))
        if self._has_skipped:
            self._has_skipped = False
            record = Record(UNPROCESSABLE_KEY, orjson.dumps(self._skipped))
            writes.add(self._context.topics.changelog, self.partition.number, record)
        self._output.add_to(writes)
        # The answer to a task's first write says what time it is.
        self._offsets.add_to(writes, always=not self._context.clock.is_known)
        return writes

    @property
    def _next_in_log(self) -> int:
        """Where in the log the next block will be that is not added yet."""
        return self._offsets.next_in_log + len(self._added)

    def _add_own_blocks(self) -> None:
        """Add the partial counts to the windows; only without repartitioning.

        They are written to the repartition topic with the next flush.
        """
        for block in self._output.take_blocks().values():
            self._add(block, self._next_in_log)
            self._added += partial_counts.encode_records(block)

    def _collect_blocks(self, writes: TransactionBatch) -> None:
        """Send partial counts to the tasks of their campaigns, over the repartition topic.

        Without repartitioning that topic is a log of those that were added to the windows.
        """
        repartition = self._context.topics.repartition
        if self._context.repartitions:
            for number, block in self._output.take_blocks().items():
                for value in partial_counts.encode_records(block):
                    writes.add(repartition, number, Record(None, value))
        else:
            self._add_own_blocks()
            added, self._added = self._added, []
            for value in added:
                writes.add(repartition, self.partition.number, Record(None, value))

    async def close(self) -> None:
        """Let go of the broker, after a flush that is under way."""
        self.suspended = True
        if self._early_flush is not None:
            await asyncio.wait({self._early_flush}, timeout=CLOSE_WITHIN)
        await self._writer.close()
