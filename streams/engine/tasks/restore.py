"""Opens a task: fences its earlier owners, then restores the state that they wrote."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.domain import partial_counts
from streams.domain.partial_counts import PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.restorer import PartitionRestorer, Replay
from streams.domain.sources import SourcePartition
from streams.engine.cluster.reading import committed_offsets, end_of, read_log, read_state, reading
from streams.engine.consume.positions import (
    Position,
    Positions,
    from_committed,
    from_input_offsets,
)
from streams.engine.produce.writer import TaskLostError, Writer
from streams.engine.tasks.context import TaskContext
from streams.engine.tasks.logs import Cause, LogFinder, LostRecords, resume
from streams.engine.tasks.offsets import TaskOffsets
from streams.engine.tasks.poison_pills import (
    PoisonPills,
    Trial,
    UnprocessableError,
)
from streams.engine.tasks.task import StreamTask
from streams.errors import FormatError

T = TypeVar("T")

_log = structlog.get_logger(__name__)

RECORDS_AT_A_TIME = 500
"""Records of the changelog topic that are restored between two yields."""
WHAT_HAPPENED = {
    Cause.RECREATED: "topic was deleted and made anew: it is read from its beginning",
    Cause.TRUNCATED: "log was cut off: it is read from there",
    Cause.EXPIRED: "records were deleted before they were read: the others are read",
}


class TaskRestorer:
    """Opens tasks.

    Args:
        context: what all tasks of the worker share.
        connection: keyword arguments for aiokafka clients.
        logs: looks up the logs of partitions.
        group_id: the consumer group.
        new_writer: makes a task's writer.
        exactly_once: whether the writers use transactions.
        progress: is notified, per task, of the offset reached in its changelog and of its end.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        context: TaskContext,
        connection: Mapping[str, Any],
        logs: LogFinder,
        group_id: str,
        new_writer: Callable[[int], Writer],
        exactly_once: bool,
        progress: Callable[[int, int, int], None],
    ) -> None:
        self.context = context
        self._connection = connection
        self._logs = logs
        self.group_id = group_id
        self._new_writer = new_writer
        self._exactly_once = exactly_once
        self._progress = progress

    async def open(
        self,
        number: int,
        partitions: Iterable[TopicPartition],
        sources: int,
        poison_pills: PoisonPills,
    ) -> StreamTask:
        """Open a task that reads `partitions`, of a source topic with `sources` partitions.

        `poison_pills` are the records of the task known to make processing fail.

        The order matters. Once the writer is open no earlier owner can commit anything, so the
        offsets and the state that are read after it are final, and belong together.

        Raises:
            TaskLostError, KafkaError: if the brokers are away, or lack a topic or records.
            FormatError: if the state was written by a version with another format.
        """
        await self.context.limits.refresh()
        missing = await self._logs.missing()
        if missing is not None:
            raise TaskLostError(missing)
        writer = self._new_writer(number)
        try:
            await writer.open()
            inputs = range(sources) if self.context.repartitions else (number,)
            restored = await self._restore(number, set(partitions), inputs, poison_pills)
        except BaseException:
            await writer.close()
            raise
        context = self.context
        partition, offsets, replay_filter = restored
        read = {
            source: SourcePartition(source, context.ingest_settings, context.campaigns, event_time)
            for source, event_time in offsets.event_times(context.topics.source).items()
        }
        task = StreamTask(
            context, writer, partition, offsets, read, poison_pills, replay_filter.skipped
        )
        task.dead_letter_replayed(
            TopicPartition(context.topics.repartition, number), replay_filter.unprocessable
        )
        return task

    async def find_positions(
        self, task: StreamTask
    ) -> tuple[Positions, Mapping[TopicPartition, str]]:
        """Find out where a task reads its inputs, of those where their logs have to say so.

        Returns:
            The positions, and for the other inputs why they cannot be read.

        Raises:
            TaskLostError, KafkaError, OSError: if the brokers do not say, or records are lost that
                cannot be done without.
        """
        before = {each: task.positions[each] for each in task.to_position}
        logs, why_not = await self._logs.find(before)
        found = {}
        for partition, log in logs.items():
            position, lost = resume(before[partition], log, task.to_position[partition])
            if lost is not None and partition.topic != self.context.topics.source:
                _check_only_expired(partition, lost)
            if await task.move(partition, position, lost):
                found[partition] = position
                if lost is not None:
                    _report(partition, lost, before[partition], position)
        return found, why_not

    async def _restore(
        self,
        number: int,
        partitions: set[TopicPartition],
        inputs: Iterable[int],
        poison_pills: PoisonPills,
    ) -> "_Restored":
        """Restore a task's campaigns and the positions of its inputs."""
        context, now = self.context, self.context.now()
        topics = context.topics
        restorer = PartitionRestorer(number, context.settings, inputs, now, topic=topics.changelog)
        log = TopicPartition(topics.repartition, number)
        changelog = TopicPartition(topics.changelog, number)
        async with reading(self._connection, committed=self._exactly_once) as consumer:
            records, changelog_end = await read_state(
                consumer,
                changelog,
                lambda offset, key, value: restorer.add(key, value, offset),
                lambda at, end: self._progress(number, at, end),
            )
            replay = await _in_turns(restorer.restore_in_steps(RECORDS_AT_A_TIME))
            written = from_input_offsets(replay.input_offsets)
            self._check(written, log)
            read = await self._positions(partitions, written)
            owned_log_ends = {changelog: changelog_end}
            if not context.repartitions:
                # The log is the task's own: all that is in it was added to the windows.
                owned_log_ends[log] = await end_of(consumer, log, committed=self._exactly_once)
            kept = {
                each: at
                for each, at in written.items()
                if each.topic == topics.source and each not in read
            }
            offsets = TaskOffsets(changelog, log, read, owned_log_ends, kept)
            replay_filter = _ReplayFilter(
                replay.unprocessable, poison_pills, Trial(context, number)
            )
            replayed = await self._replay(consumer, replay, log, offsets.next_in_log, replay_filter)
        partition = replay.finish(context.now(), offsets.next_in_log)
        _log.info(
            "task open",
            task=number,
            state_records=records,
            replayed=replayed,
            cells=len(partition.table),
        )
        return _Restored(partition, offsets, replay_filter)

    def _check(self, written: Mapping[TopicPartition, Position], log: TopicPartition) -> None:
        """Check that the state was written with the same `source.keyed`.

        With repartitioning the repartition topic is one of the topics whose offsets the state has.
        """
        if written and (log in written) != self.context.repartitions:
            keyed = "false" if log in written else "true, or another topics.repartition"
            raise FormatError(
                f"the changelog topic was written with source.keyed: {keyed} "
                f"(task {log.partition}): set that again, or count anew as docs/operations.md says"
            )

    async def _replay(
        self,
        consumer: "AIOKafkaConsumer[bytes, bytes | None]",
        replay: Replay,
        log: TopicPartition,
        end: int,
        replay_filter: "_ReplayFilter",
    ) -> int:
        """Replay the partial counts of dirty windows; return how many records were read."""
        begin = replay.replay_from_offset
        if self._exactly_once:
            await _require(consumer, log, end if begin is None else max(begin + 1, end))
        if begin is None or begin >= end:
            return 0
        now = self.context.now()

        def apply(offset: int, value: bytes) -> None:
            try:
                counts = partial_counts.decode(value)
            except ValueError:
                return  # it is a dead letter already
            part = replay_filter.part_to_add(offset, counts)
            if part is None:
                return
            try:
                replay.add(part, offset, now)
            except Exception as error:
                doing = f"the partial counts at {log}, offset {offset}, read again"
                raise UnprocessableError.of(doing, error, offset) from error

        oldest = (await consumer.beginning_offsets([log]))[log]
        if oldest > begin:
            _log.error(
                "counts of open windows are lost: the repartition topic was deleted from",
                task=log.partition,
                needed_from=begin,
                there_from=oldest,
            )
        return await read_log(consumer, log, begin, end, apply)

    async def _positions(
        self, partitions: set[TopicPartition], written: Positions
    ) -> dict[TopicPartition, Position]:
        known = await self._known(partitions, written)
        # The first offset of a partition that was never read is found out with its position.
        return {each: Position(0) for each in partitions} | known

    def _check_never_written(self, kept: Positions) -> None:
        """See that nothing was counted whose state is gone: offsets with topic ids are ours."""
        ours = sorted(each for each, at in kept.items() if at.topic_id is not None)
        if ours:
            topic, number = ours[0]
            raise TaskLostError(
                f"topic {self.context.topics.changelog} (topics.changelog) has nothing of what "
                f"was counted of {topic}-{number} up to offset {kept[ours[0]].offset}: if it was "
                "deleted and made anew, restore it, or count anew as docs/operations.md says"
            )

    async def _known(
        self, partitions: set[TopicPartition], written: Mapping[TopicPartition, Position]
    ) -> dict[TopicPartition, Position]:
        """Return how far partitions were read.

        The state says so itself: that was written in the same transaction, to the same partition,
        so nothing can set the one back without the other. What the group has kept counts for
        partitions that the state does not name, and without transactions, where it is the last
        that is written.
        """
        known = {each: at for each, at in written.items() if each in partitions}
        if self._exactly_once and known.keys() == partitions:
            return known
        committed = await committed_offsets(self._connection, self.group_id, partitions)
        kept = {each: from_committed(at) for each, at in committed.items()}
        if not written:
            self._check_never_written(kept)
        if self._exactly_once:
            return {**kept, **known}
        # A group forgets offsets with the topic: the next one is read from its beginning. And the
        # embedded broker's keeps nothing but offsets.
        return {
            each: _with_log(kept.get(each, Position(0)), known.get(each, Position(0)))
            for each in kept.keys() | known.keys()
        }


def _with_log(kept: Position, written: Position) -> Position:
    """Complete what a group kept with what the state has of the same partition."""
    if kept.topic_id is not None:
        return kept
    return Position(kept.offset, kept.event_time or written.event_time, written.topic_id)


class _Restored(NamedTuple):
    """A task's campaigns, how far the task is, and what was not added when it was replayed."""

    partition: CampaignPartition
    offsets: TaskOffsets
    replay_filter: "_ReplayFilter"


class _ReplayFilter:
    """Which partial counts, or parts of them, are not added when they are replayed.

    Args:
        skipped: the offsets of those of which a part is a dead letter already.
        poison_pills: records of the task known to make processing fail.
        trial: finds the part.

    Attributes:
        unprocessable: offset, part, and what it raised, of those that have to become dead letters.
    """

    def __init__(self, skipped: Iterable[int], poison_pills: PoisonPills, trial: Trial) -> None:
        self.skipped = frozenset(skipped)
        self.unprocessable: list[tuple[int, PartialCounts, str]] = []
        self._known = poison_pills.failed_counts
        self._trial = trial

    def part_to_add(self, offset: int, counts: PartialCounts) -> PartialCounts | None:
        """Return what of partial counts is to be added; take note of what is not."""
        known = "skipped before" if offset in self.skipped else self._known.get(offset)
        if known is None:
            return counts
        good, bad, raised = self._trial.of_counts(counts, known)
        if bad is not None and offset not in self.skipped:
            self.unprocessable.append((offset, bad, raised))
        return good


async def _in_turns(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, with a yield to the event loop at each step; return its value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            returned: T = end.value
            return returned
        await asyncio.sleep(0)


async def _require(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]", log: TopicPartition, needed: int
) -> None:
    """See that the log goes up to an offset, as it does if it was written with the state."""
    there = await end_of(consumer, log, committed=True)
    if needed > there:
        raise TaskLostError(
            f"task {log.partition} needs {log.topic} up to offset {needed}, but it ends at "
            f"{there}: if it was deleted and made anew, count anew as docs/operations.md says"
        )


def _check_only_expired(partition: TopicPartition, lost: LostRecords) -> None:
    """See that partial counts were not lost but by retention, before they were read."""
    if lost.cause is not Cause.EXPIRED:
        raise TaskLostError(
            f"{partition.topic}-{partition.partition} is not the log that was read ({lost.cause}): "
            "restore the topic, or count anew as docs/operations.md says"
        )


def _report(
    partition: TopicPartition, lost: LostRecords, before: Position, position: Position
) -> None:
    _log.error(
        WHAT_HAPPENED[lost.cause],
        topic=partition.topic,
        partition=partition.partition,
        cause=lost.cause,
        was_at=before.offset,
        reads_from=position.offset,
        lost_at_least=lost.records,
        counted_and_gone=lost.counted,
    )
