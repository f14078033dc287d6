"""How far a task is: in what it reads, and in what only it writes to."""

from collections.abc import Mapping

from aiokafka.structs import TopicPartition

from streams.engine.consume.positions import (
    POSITIONS_KEY,
    Position,
    Positions,
    as_committed,
    from_committed,
    write_positions,
)
from streams.engine.consume.transport import Batch, Place
from streams.engine.produce.writer import Record, TaskLostError, TransactionBatch

FAR_BEHIND = 10_000
"""Records. With so many waiting, fewer and larger flushes are better than prompt ones."""


class MisreadError(TaskLostError):
    """A batch does not begin where the one before it ended."""


class TaskOffsets:
    """How far a task is.

    Args:
        state: the task's partition of the changelog topic. log: its partition of the repartition
            topic. read: how far each partition was read that the task reads. owned_log_ends: where
            the next record will be, of the partitions that only the task writes to: the state and,
            unless it is read as well, the log.
        kept: how far partitions were read that the task does not read now, such as those of a topic
            that is missing for some time.
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
        self._own_ends = dict(owned_log_ends)
        self._kept = dict(kept or {})
        self._turns: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, int] = {}

    @property
    def positions(self) -> Positions:
        """From where each partition is read on."""
        return self._read

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of each of them."""
        return {partition: at.offset for partition, at in self._committed.items()}

    @property
    def next_in_log(self) -> int:
        """Where in the log the next block will be, that was not added to the windows yet."""
        known: int | None = self._own_ends.get(self._log)
        return self._read[self._log].offset if known is None else known

    @property
    def committed_in_log(self) -> int:
        """From where in the log blocks are read, or written, again if the task is lost now."""
        known: int | None = self._own_ends.get(self._log)
        return self._committed[self._log].offset if known is None else known

    @property
    def is_catching_up(self) -> bool:
        """Tell whether much is waiting to be read."""
        return max(self._waiting.values(), default=0) > FAR_BEHIND

    def event_times(self, topic: str) -> Mapping[int, int]:
        """Return the largest event time (ms) counted in each partition of a topic; 0 for none."""
        mine = self._read.items()
        return {each.partition: at.event_time for each, at in mine if each.topic == topic}

    # Reading

    def place(self, places: Mapping[TopicPartition, Place]) -> None:
        """Take note of which batches continue what was read."""
        self._turns.update({p: place.turn for p, place in places.items() if p in self._read})

    def continues(self, batch: Batch) -> bool:
        """Tell whether a batch is what comes next; it is not if it was fetched for earlier lives.

        Raises:
            MisreadError: if it should be, and does not begin where the one before it ended.
        """
        if batch.turn != self._turns.get(batch.partition):
            return False
        expected = self._read[batch.partition].offset
        if batch.start != expected:
            raise MisreadError(f"{batch.partition} read from {batch.start}, not from {expected}")
        return True

    def leave(self, partition: TopicPartition) -> None:
        """Take no more batches of a partition, until it is placed."""
        self._turns.pop(partition, None)

    def move(self, partition: TopicPartition, position: Position) -> None:
        """Go on somewhere else in a partition."""
        self.leave(partition)
        self._read[partition] = position
        self._waiting.pop(partition, None)

    def advance(self, batch: Batch, event_time: int = 0) -> None:
        """Go past a batch, with which its partition's event time (ms) got that far."""
        before = self._read[batch.partition]
        self._read[batch.partition] = Position(batch.end, event_time, before.topic_id, batch.epoch)
        self._waiting[batch.partition] = batch.waiting

    # Writing

    def add_to(self, writes: TransactionBatch, *, always: bool = False) -> None:
        """Add how far the task has read, and where its own records have to begin.

        Where nothing moved there is nothing to add, but `always` if there has to be a write.
        """
        moved = {
            partition: at
            for partition, at in self._read.items()
            if at != self._committed[partition]
        }
        if moved or always:
            writes.offsets |= {partition: as_committed(at) for partition, at in moved.items()}
            value = write_positions(self._kept | self._committed | moved)
            writes.add(self._state.topic, self._state.partition, Record(POSITIONS_KEY, value))
        writes.begin |= {each: at for each, at in self._own_ends.items() if each in writes.records}

    def commit(self, writes: TransactionBatch, ends: Mapping[TopicPartition, int]) -> None:
        """Take note that writes are committed, and where their partitions end now."""
        self._committed |= {each: from_committed(at) for each, at in writes.offsets.items()}
        for each in self._own_ends.keys() & ends.keys():
            self._own_ends[each] = max(self._own_ends[each], ends[each])
