"""One stream task: the source partitions that are counted together, and one partition of campaigns.

In the order of the code: records of the source topic become partial counts for the repartition
topic, or dead letters; partial counts from the repartition topic are added to windows; rules are
evaluated on these, and make alerts and deliveries. A commit writes all results and the offsets of
the records they were made from, in one transaction.

If the producers key the source topic by campaign there is no repartitioning: a task adds its
partial counts to its own windows, and the repartition topic is only the log of them.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from copy import copy

import structlog
from aiokafka.structs import TopicPartition

from streams.domain import changelog, partial_counts
from streams.domain.changelog import UnprocessableKey
from streams.domain.events import Reason, Rejected
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition
from streams.domain.table import Folded
from streams.domain.transitions import Transition
from streams.engine.consume.positions import Position, Positions
from streams.engine.consume.transport import Batch, SeekPosition
from streams.engine.produce.broker_clock import DISAGREES
from streams.engine.produce.writer import (
    CLOSE_WITHIN,
    Record,
    RefusedError,
    TaskLostError,
    TransactionBatch,
    WriteError,
    Writer,
)
from streams.engine.tasks.context import TaskContext
from streams.engine.tasks.logs import LostRecords
from streams.engine.tasks.offsets import TaskOffsets
from streams.engine.tasks.output_buffer import OutputBuffer
from streams.engine.tasks.poison_pills import (
    PartialCountsRecord,
    PoisonPills,
    Trial,
    UnprocessableError,
    as_task_lost,
)
from streams.engine.tasks.state import TaskState
from streams.errors import FormatError

_log = structlog.get_logger(__name__)

LOG_APPEND_TIME = 1
BYTES_AT_ONCE = 256 * 1024
"""Bytes of the repartition topic that are added to windows, in some 50 ms, between two yields."""
EVALUATED_AT_ONCE = 500
"""Campaigns whose rules are evaluated, in some 50 ms, between two yields."""
CATCH_UP_INTERVAL = 1.0
"""Seconds between two commits while the task is catching up."""
MOST_SKIPPED = 10_000
"""Offsets kept of partial counts that became dead letters; older ones are not replayed."""


class StreamTask:
    """A stream task from the moment its state is read back.

    Args:
        context: what all tasks of the worker share.
        writer: the task's own writer, open: it has fenced all earlier ones.
        partition: the campaigns, restored.
        offsets: the offsets of its inputs and of the logs it owns.
        sources: the source partitions that the task reads, by number.
        poison_pills: records of the task known to make processing fail.
        skipped: the offsets of partial counts that became dead letters.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        context: TaskContext,
        writer: Writer,
        partition: CampaignPartition,
        offsets: TaskOffsets,
        sources: Mapping[int, SourcePartition],
        poison_pills: PoisonPills,
        skipped: Iterable[int] = (),
    ) -> None:
        self.partition = partition
        self._state = TaskState.RESTORING
        self._lost_by: TaskLostError | FormatError | None = None
        self._context = context
        self._writer = writer
        self._sources = sources
        self._offsets = offsets
        self._to_position: dict[TopicPartition, int | None] = dict.fromkeys(offsets.positions)
        self._poison_pills = poison_pills
        self._trial = Trial(context, partition.number)
        self._skipped = sorted(skipped)
        self._has_skipped = False
        self._output = OutputBuffer(partition.number, context, poison_pills)
        self._added: list[bytes] = []
        """Without repartitioning: records of partial counts that were added to the windows and have
        yet to be written."""
        self._commits = 0
        self._next_commit_at = 0.0
        self._committing = asyncio.Lock()
        self._evaluated = asyncio.Event()
        """Set while no evaluation is under way."""
        self._evaluated.set()
        self._early_commit: asyncio.Task[None] | None = None
        self._opened_at_offset = context.clock.offset

    # Its life

    @property
    def state(self) -> TaskState:
        """Where in its life the task is."""
        return self._state

    def start(self) -> None:
        """Begin to take batches: everything is restored."""
        self._check()
        self._state = self._state.to(TaskState.RUNNING)

    def suspend(self) -> None:
        """Take no more batches, and commit no more but for handover; again changes nothing.

        Raises:
            TaskLostError: the task is lost.
            FormatError: this worker cannot go on with what another one wrote.
        """
        self._check()
        if self._state is not TaskState.SUSPENDED:
            self._state = self._state.to(TaskState.SUSPENDED)

    def resume(self, sources: int) -> None:
        """Go on after a rebalance in which no other worker had the task.

        Args:
            sources: the number of partitions that the source topic has now. Event time waits for
                new ones from here on.
        """
        self._state = self._state.to(TaskState.RUNNING)
        if self._context.repartitions:
            self.partition.add_inputs(range(sources), self._context.now())

    def lose(self, error: TaskLostError | FormatError) -> None:
        """Never commit again: memory and what is committed may differ. The first reason is kept."""
        if self._lost_by is None and self._state is not TaskState.CLOSED:
            self._state = self._state.to(TaskState.LOST)
            # Without traceback and cause: these hold on to the task, and the collector runs seldom.
            self._lost_by = copy(error)

    async def close(self) -> None:
        """Close the producer, after a commit that is under way."""
        self._state = self._state.to(TaskState.CLOSED)
        if self._early_commit is not None:
            await asyncio.wait({self._early_commit}, timeout=CLOSE_WITHIN)
        await self._writer.close()

    @property
    def is_running(self) -> bool:
        """Whether the task takes batches and commits."""
        return self._state is TaskState.RUNNING

    def _check(self) -> None:
        if self._lost_by is not None:
            raise copy(self._lost_by)

    def _check_clock(self) -> None:
        """Lose the task if the broker's clock is not where it was when the task was opened.

        The task knows waiting times and silent inputs by that clock.
        """
        moved = self._context.clock.offset - self._opened_at_offset
        if abs(moved) > DISAGREES:
            self.lose(TaskLostError(f"the broker's time turned out to be {moved:+.0f} s off"))

    # Its offsets

    @property
    def positions(self) -> Positions:
        """The position of each input."""
        return self._offsets.positions

    @property
    def to_position(self) -> Mapping[TopicPartition, int | None]:
        """Inputs whose position has to be compared with the log as it is now before they are read.

        These are all of a new task, and those from which a broker refused a fetch. The value is the
        high watermark that was known when it refused, -1 if none was; null for a new task.
        """
        return self._to_position

    @property
    def readable(self) -> Positions:
        """The positions of all other inputs."""
        return {p: at for p, at in self.positions.items() if p not in self._to_position}

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of each input."""
        return self._offsets.committed

    @property
    def has_committed(self) -> bool:
        """Whether a transaction of this task was committed since it was opened."""
        return self._commits > 0

    def on_seek(self, sought: Mapping[TopicPartition, SeekPosition]) -> None:
        """Take batches of the new seek epochs from here on."""
        self._offsets.on_seek(sought)

    async def move(
        self, partition: TopicPartition, position: Position, lost: LostRecords | None
    ) -> bool:
        """Read an input on from `position`; `lost` says which records cannot be read any more.

        If any are lost, what was counted before is committed together with the new position.

        Returns:
            Whether it was done; it is not while a rebalance is under way.

        Raises:
            TaskLostError: the position was not committed.
            FormatError: this worker cannot go on with what another one wrote.
        """
        async with self._committing:
            self._check()
            if self._state not in {TaskState.RESTORING, TaskState.RUNNING}:
                return False
            self._offsets.move(partition, position)
            if lost is not None:
                await self._commit()
                self._context.instruments.records_lost(partition, lost.cause, lost.records)
        self._to_position.pop(partition, None)
        return True

    # A batch comes in

    async def take(self, batch: Batch) -> None:
        """Count a batch. If that fails the task is lost, and the next `tick` says so."""
        if batch.partition.topic == self._context.topics.source:
            await self._context.clock.known()
            await self._take_part(batch)
            return
        for part in batch.parts(BYTES_AT_ONCE):
            # Or rules would be evaluated for as long as there are more partial counts to read.
            await self._evaluated.wait()
            await self._take_part(part)
            if part.end != batch.end:
                await asyncio.sleep(0)

    async def _take_part(self, batch: Batch) -> None:
        try:
            self._take(batch)
        except (TaskLostError, FormatError) as error:
            self.lose(error)
        except Exception as error:  # noqa: BLE001 - a poison pill is found when it comes again
            # Half of the batch may be counted.
            _log.exception("batch not counted", partition=str(batch.partition))
            self.lose(UnprocessableError.of(f"a batch of {batch.partition}", error))
        except BaseException as error:
            self.lose(TaskLostError(f"a batch of {batch.partition} was not counted: {error!r}"))
            raise
        await self._commit_if_full()

    def _take(self, batch: Batch) -> None:
        if self.is_running:
            self._check_clock()
        if not self.is_running or not self._offsets.continues(batch):
            return
        if batch.end_seen is not None:
            self._offsets.leave(batch.partition)
            self._to_position[batch.partition] = batch.end_seen
        elif batch.partition.topic == self._context.topics.source:
            self._count(batch)
        else:
            self._apply(batch)

    # Source records: bytes become events, and these become partial counts or dead letters

    def _count(self, batch: Batch) -> None:
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
        if not self._poison_pills.needs_trial(self._context.now()):
            return batch
        found = self._trial.of_records(source, batch, self._count_into)
        if not found:
            return batch
        self._poison_pills.start_trials(self._context.now())
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
        """Return when the broker took in the newest record (ms), or else the present (ms)."""
        last = batch.records[-1]
        now = int(self._context.now() * 1000)
        if last.timestamp_type != LOG_APPEND_TIME:
            return now
        return min(last.timestamp, now) if self._context.clock.is_told else last.timestamp

    # Repartition records: partial counts are added to the windows

    def _apply(self, batch: Batch) -> None:
        for position, record in enumerate(batch.records):
            try:
                counts = partial_counts.decode(record.value or b"")
            except ValueError as error:
                self._output.dead_letter(
                    batch, [Rejected(position, Reason.NOT_PARTIAL_COUNTS, str(error))]
                )
            else:
                self._add_processable(batch.partition, record.offset, counts)
        self._offsets.advance(batch)

    def _add_processable(
        self, log: TopicPartition, offset: int, counts: partial_counts.PartialCounts
    ) -> None:
        """Add partial counts, or that part of them that can be processed, to the windows."""
        now = self._context.now()
        known = self._poison_pills.failed_counts.get(offset)
        if known is not None or self._poison_pills.needs_trial(now):
            good, bad, raised = self._trial.of_counts(counts, known)
            if bad is not None:
                self._poison_pills.start_trials(now)
                self._skip(log, offset, bad, raised)
            if good is None:
                return
            counts = good
        try:
            self._add(counts, offset)
        except Exception as error:
            _log.exception("partial counts not added", partition=str(log), offset=offset)
            doing = f"the partial counts at {log}, offset {offset}"
            raise UnprocessableError.of(doing, error, offset) from error

    def _add(self, counts: partial_counts.PartialCounts, offset: int) -> None:
        table = self.partition.table
        late, expired, folded = table.late_events, table.expired_events, table.folded
        self.partition.apply(counts, offset, self._context.now())
        names, campaigns = table.folded
        self._output.added(
            counts,
            table.late_events - late,
            table.expired_events - expired,
            Folded(names - folded.names, campaigns - folded.campaigns),
        )

    def dead_letter_replayed(
        self, log: TopicPartition, found: Iterable[tuple[int, partial_counts.PartialCounts, str]]
    ) -> None:
        """Dead-letter parts of partial counts that could not be added while the log was replayed.

        Args:
            log: the task's partition of the repartition topic.
            found: offset, part, and the error it raised.
        """
        for offset, bad, raised in found:
            self._skip(log, offset, bad, raised)

    def _skip(
        self, log: TopicPartition, offset: int, bad: partial_counts.PartialCounts, raised: str
    ) -> None:
        """Dead-letter partial counts, and remember not to add them in a replay."""
        record = PartialCountsRecord(offset, partial_counts.encode(bad))
        rejected = Rejected(0, Reason.UNPROCESSABLE, raised)
        self._output.dead_letter(Batch(log, 0, offset, [record]), [rejected])
        self._skipped = [*self._skipped, offset][-MOST_SKIPPED:]
        self._has_skipped = True

    # Time goes on

    async def tick(self) -> None:
        """Evaluate the rules, close and expire windows, and commit.

        While the task is catching up this is done every `CATCH_UP_INTERVAL` at most.

        Raises:
            TaskLostError: the task is lost.
            FormatError: this worker cannot go on with what another one wrote.
        """
        self._check_clock()
        self._check()
        now = self._context.now()
        due = self._next_commit_at
        if self._offsets.is_catching_up and due - CATCH_UP_INTERVAL <= now < due:
            return
        self._next_commit_at = now + CATCH_UP_INTERVAL
        async with self._committing:
            self._check()
            if self.is_running:
                await self._evaluate_in_steps()
            if self.is_running:
                # Not during a commit: its end gives the offset that closed windows are closed at.
                self._decide(self.partition.advance(now, self._next_in_log), now)
                await self._commit()

    async def commit_for_handover(self) -> None:
        """Commit all that the next owner needs.

        Raises:
            TaskLostError: it was not committed.
            FormatError: this worker cannot go on with what another one wrote.
        """
        async with self._committing:
            await self._evaluate_in_steps()
            await self._commit(for_handover=True)

    async def _commit_if_full(self) -> None:
        """Begin a commit if there is much to write; wait for the one before it, not for its end."""
        while self._output.is_full and self._early_commit and not self._early_commit.done():
            await asyncio.wait({self._early_commit})
        if self._output.is_full and self.is_running:
            self._early_commit = asyncio.create_task(self._commit_early())
            # Now, as a rule, it takes what was counted.
            await asyncio.sleep(0)

    async def _commit_early(self) -> None:
        with contextlib.suppress(TaskLostError, FormatError):  # the next tick raises it
            async with self._committing:
                if self.is_running:
                    await self._evaluate_in_steps()
                if self.is_running:
                    await self._commit()

    # Windows are evaluated

    async def _evaluate_in_steps(self) -> None:
        """Evaluate the rules for most of the campaigns, if there are many, and yield in between.

        The remaining ones are evaluated in the step that collects the writes. Without
        repartitioning, partial counts are added to the windows before. No other partial counts are
        added meanwhile, and nothing is committed.

        Raises:
            TaskLostError: the task is lost, by now at the latest.
            FormatError: this worker cannot go on with what another one wrote.
        """
        self._check()
        self._evaluated.clear()
        try:
            if not self._context.repartitions:
                self._add_own_counts()
            while self.partition.to_evaluate > EVALUATED_AT_ONCE:
                now = self._context.now()
                self._decide(self.partition.evaluate(now, EVALUATED_AT_ONCE), now, more=True)
                await asyncio.sleep(0)
                self._check()
        except (TaskLostError, FormatError):
            raise
        except Exception as error:
            lost = as_task_lost("the rules were evaluated", error)
            self.lose(lost)
            raise lost from error
        finally:
            self._evaluated.set()

    def _decide(self, decided: list[Transition], now: float, *, more: bool = False) -> None:
        self._context.instruments.evaluation_failed(self.partition.take_failures())
        self._output.decide(decided, self.partition.take_suppressed(), now, more=more)

    # Everything is written in one transaction

    async def _commit(self, *, for_handover: bool = False) -> None:
        """Write what was counted, the results, and the positions up to which the task has read."""
        began = self._context.clock.wall()
        try:
            writes = self._collect(for_handover=for_handover)
            if not writes:
                # All that is known is committed.
                self.partition.mark_committed()
                return
            # In the same step: whatever comes now belongs to the next commit.
            commit = self._output.take_commit(writes.size)
            self._offsets.commit(writes, await self._writer.write(writes))
        # What was collected is gone from memory, and may be written or not.
        except (TaskLostError, FormatError) as error:
            self._fail_commit(error)
            raise
        except Exception as error:
            lost = as_task_lost("the commit did not end", error)
            self._fail_commit(lost)
            raise lost from error
        except BaseException as error:
            self._fail_commit(WriteError(f"the commit did not end: {error!r}"))
            raise
        self._commits += 1
        self._poison_pills.forget_failed(before=self._offsets.committed_in_log)
        self.partition.mark_committed()
        commit.seconds = self._context.clock.wall() - began
        self._context.events.committed(commit)

    def _fail_commit(self, error: TaskLostError | FormatError) -> None:
        is_refused = isinstance(error, RefusedError)
        self._context.instruments.commit_failed("refused" if is_refused else "failed")
        self.lose(error)

    def _collect(self, *, for_handover: bool) -> TransactionBatch:
        """Collect everything that is to be written, in one step without a yield."""
        writes, commit = TransactionBatch(), self._output.next_commit
        commit.next_offset = self._collect_partial_counts(writes)
        now = self._context.now()
        if not self.partition.is_evaluated:
            # No count is written before it was decided on: its next owner will not evaluate it.
            self._decide(self.partition.evaluate(now), now)
        if for_handover:
            self.partition.prepare_handover()
        commit.has_deliveries = self.partition.has_changed_deliveries
        commit.delivery_ids = self.partition.deliveries.changed_ids
        # The response to a task's first write has the broker's time.
        always = not self._context.clock.is_known
        others = self._has_skipped or always or bool(self._offsets.moved)
        records = self.partition.take_changes(now, others=others)
        if self._has_skipped:
            self._has_skipped = False
            records += changelog.encode([(UnprocessableKey(), self._skipped)])
        for record in records:
            writes.add(self._context.topics.changelog, self.partition.number, Record(*record))
        for key, value in self.partition.take_group_records():
            number = self.partition.number % self._context.topics.group_partitions
            writes.add(self._context.topics.groups, number, Record(key, value))
        self._output.add_to(writes, self.partition.take_results())
        self._offsets.add_to(writes, always=always)
        return writes

    def _collect_partial_counts(self, writes: TransactionBatch) -> int:
        """Write partial counts to the tasks of their campaigns, over the repartition topic.

        Without repartitioning that topic is the log of those that were added to the windows.

        Returns:
            The offset in the log of the next partial counts that are not in the windows yet.
        """
        repartition = self._context.topics.repartition
        if self._context.repartitions:
            for number, counts in self._output.take_partial_counts().items():
                for value in partial_counts.encode_records(counts):
                    writes.add(repartition, number, Record(None, value))
        else:
            self._add_own_counts()
            next_offset = self._next_in_log
            added, self._added = self._added, []
            for value in added:
                writes.add(repartition, self.partition.number, Record(None, value))
            return next_offset
        return self._next_in_log

    def _add_own_counts(self) -> None:
        """Add the task's own partial counts to the windows; only without repartitioning.

        They are written to the repartition topic with the next commit. Those that are several
        records there are added one by one, as whoever replays them will.
        """
        for counts in self._output.take_partial_counts().values():
            records = list(partial_counts.encode_records(counts))
            parts = [counts] if len(records) == 1 else map(partial_counts.decode, records)
            for part, record in zip(parts, records, strict=True):
                self._add(part, self._next_in_log)
                self._added.append(record)

    @property
    def _next_in_log(self) -> int:
        """The offset in the log of the next partial counts that are not in the windows yet."""
        return self._offsets.next_in_log + len(self._added)
