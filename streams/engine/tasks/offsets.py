"""The offsets of one task: read and committed, of its inputs; the end, of the logs it owns."""

from collections.abc import Mapping

from aiokafka.structs import TopicPartition

from streams.domain import changelog
from streams.domain.changelog import InputOffsetsKey
from streams.engine.consume.positions import (
    Position,
    Positions,
    as_committed,
    as_input_offsets,
    from_committed,
)
from streams.engine.consume.transport import Batch, SeekPosition
from streams.engine.produce.writer import Record, TaskLostError, TransactionBatch

CATCHING_UP_RECORDS = 10_000
"""With more records waiting in an input, fewer and larger commits are better than prompt ones."""


class MisreadError(TaskLostError):
    """A batch does not begin where the one before it ended."""


class TaskOffsets:
    """The offsets of one task.

    Args:
        state: the task's partition of the changelog topic.
        log: the task's partition of the repartition topic.
        read: the position of each input, committed up to there.
        owned_log_ends: the next offset of each partition that this task alone writes to: `state`
            and, if the task does not read it, `log`.
        kept: positions of partitions that are no inputs now, such as those of a topic that was
            deleted; written again with every commit.
    """

    def __init__(
        self,
        state: TopicPartition,
        log: TopicPartition,
        read: Positions,
        owned_log_ends: Mapping[TopicPartition, int],
        kept: Positions | None = None,
    ) -> None:
        self._state = state
        self._log = log
        self._read = dict(read)
        self._committed = dict(read)
        self._owned_log_ends = dict(owned_log_ends)
        self._kept = dict(kept or {})
        self._seek_epochs: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, int] = {}

    @property
    def positions(self) -> Positions:
        """The position of each input, as far as it was read."""
        return self._read

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of each input."""
        return {partition: at.offset for partition, at in self._committed.items()}

    @property
    def next_in_log(self) -> int:
        """The offset in the log of the next partial counts that are not in the windows yet."""
        known: int | None = self._owned_log_ends.get(self._log)
        return self._read[self._log].offset if known is None else known

    @property
    def committed_in_log(self) -> int:
        """The offset in the log from which partial counts come again if the task is lost now."""
        known: int | None = self._owned_log_ends.get(self._log)
        return self._committed[self._log].offset if known is None else known

    @property
    def is_catching_up(self) -> bool:
        """Whether an input has more than `CATCHING_UP_RECORDS` records waiting."""
        return max(self._waiting.values(), default=0) > CATCHING_UP_RECORDS

    def event_times(self, topic: str) -> Mapping[int, int]:
        """Return the largest event time (ms) counted in each input of a topic; 0 for none."""
        read = self._read.items()
        return {each.partition: at.event_time for each, at in read if each.topic == topic}

    # Reading

    def on_seek(self, sought: Mapping[TopicPartition, SeekPosition]) -> None:
        """Take batches of the new seek epochs from here on, and none of earlier ones."""
        mine = {each: at.epoch for each, at in sought.items() if each in self._read}
        self._seek_epochs.update(mine)

    def continues(self, batch: Batch) -> bool:
        """Tell whether a batch is of the current seek epoch; one of an earlier epoch is stale.

        Raises:
            MisreadError: the epoch is right, but the batch does not begin where the last one ended.
        """
        if batch.seek_epoch != self._seek_epochs.get(batch.partition):
            return False
        expected = self._read[batch.partition].offset
        if batch.start != expected:
            raise MisreadError(f"{batch.partition} read from {batch.start}, not from {expected}")
        return True

    def leave(self, partition: TopicPartition) -> None:
        """Take no more batches of a partition, until the next seek."""
        self._seek_epochs.pop(partition, None)

    def move(self, partition: TopicPartition, position: Position) -> None:
        """Read a partition on from another position, after the next seek."""
        self.leave(partition)
        self._read[partition] = position
        self._waiting.pop(partition, None)

    def advance(self, batch: Batch, event_time: int = 0) -> None:
        """Move a position behind a batch; `event_time` (ms) is the input's largest one so far."""
        before = self._read[batch.partition]
        self._read[batch.partition] = Position(batch.end, event_time, before.topic_id, batch.epoch)
        self._waiting[batch.partition] = batch.waiting

    # Writing

    @property
    def moved(self) -> dict[TopicPartition, Position]:
        """From where partitions are read on of which that is not committed yet."""
        committed = self._committed
        return {each: at for each, at in self._read.items() if at != committed[each]}

    def add_to(self, writes: TransactionBatch, *, always: bool = False) -> None:
        """Add the positions, and the offsets expected of the first records in owned logs.

        If no position moved, none is added, unless `always`: then there is a record all the same.
        """
        moved = self.moved
        if moved or always:
            writes.offsets |= {partition: as_committed(at) for partition, at in moved.items()}
            offsets = as_input_offsets(self._kept | self._committed | moved)
            for record in changelog.encode([(InputOffsetsKey(), offsets)]):
                writes.add(self._state.topic, self._state.partition, Record(*record))
        writes.begin |= {
            each: at for each, at in self._owned_log_ends.items() if each in writes.records
        }

    def commit(self, writes: TransactionBatch, ends: Mapping[TopicPartition, int]) -> None:
        """Take note that `writes` are committed; `ends` are the next offsets where they went."""
        self._committed |= {each: from_committed(at) for each, at in writes.offsets.items()}
        for each in self._owned_log_ends.keys() & ends.keys():
            self._owned_log_ends[each] = max(self._owned_log_ends[each], ends[each])
