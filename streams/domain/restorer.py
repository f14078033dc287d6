"""Restores a partition of campaigns, in the only order there is.

Each step hands out what the next one needs, and the partition comes last:

1. `PartitionRestorer.add`: every record of the changelog topic. The last value of a key counts.
2. `PartitionRestorer.restore`: the checkpoint first, as it says which format the others have; then
   the others. Hands out a `Replay`.
3. `Replay.add`: the partial counts of the repartition topic from `Replay.replay_from_offset` to
   where the task reads on.
4. `Replay.finish`: event time goes on. Hands out the partition.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple

from streams.domain import changelog
from streams.domain.buckets import Bucket, BucketKey
from streams.domain.changelog import InputOffset, InputOffsetsKey, UnprocessableKey
from streams.domain.checkpoint import Checkpoint, CheckpointKey
from streams.domain.partial_counts import PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rollups import RollupKey
from streams.errors import FormatError

LONGEST_KEY_SHOWN = 200
"""Bytes."""


class _Latest(NamedTuple):
    """The last value of a key, and the offset of its record."""

    offset: int
    value: bytes


class Replay:
    """What was restored from the changelog topic; partial counts have to be replayed yet.

    Attributes:
        replay_from_offset: offset in the repartition topic from which partial counts have to be
            added; null if there are none.
        input_offsets: how far the task has read.
        unprocessable: offsets of partial counts in the repartition topic, of which a part was
            dead-lettered.
    """

    def __init__(
        self,
        partition: CampaignPartition,
        replay_from_offset: int | None,
        input_offsets: Sequence[InputOffset],
        unprocessable: Sequence[int],
    ) -> None:
        self.replay_from_offset = replay_from_offset
        self.input_offsets = input_offsets
        self.unprocessable = unprocessable
        self._partition = partition

    def add(self, partial_counts: PartialCounts, offset: int, now: float) -> None:
        """Add partial counts again, as far as they were not in what was written.

        Args:
            partial_counts: the counts.
            offset: where in the repartition topic they are.
            now: wall-clock time (s, UTC).
        """
        self._partition.replay(partial_counts, offset, now)
        self._partition.samples.add(partial_counts.samples)

    def finish(self, now: float, offset: int) -> CampaignPartition:
        """Return the partition, as it was, and from here on as its settings want it.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the repartition topic, where reading goes on.
        """
        self._partition.finish_restore(now, offset)
        return self._partition


class PartitionRestorer:
    """Restores one partition from the records of the changelog topic.

    Args:
        number: the partition.
        settings: what is counted and watched for.
        inputs: the source partitions that feed it.
        now: wall-clock time (s, UTC).
        topic: name of the changelog topic, for errors.
    """

    def __init__(
        self,
        number: int,
        settings: PartitionSettings,
        inputs: Iterable[int],
        now: float,
        *,
        topic: str = "changelog",
    ) -> None:
        self._partition = CampaignPartition(number, settings, inputs, now)
        self._place = f"{topic}-{number}"
        self._latest: dict[bytes, _Latest] = {}
        self._checkpoint: Checkpoint | None = None
        self._buckets: dict[BucketKey, Bucket] = {}
        self._rollups: dict[RollupKey, Bucket] = {}
        self._input_offsets: Sequence[InputOffset] = ()
        self._unprocessable: Sequence[int] = ()

    def add(self, key: bytes, value: bytes | None, offset: int) -> None:
        """Take the next record. What came before it under the same key need not be readable."""
        self._latest.pop(key, None)
        if value is not None:
            self._latest[key] = _Latest(offset, value)

    def restore(self) -> Replay:
        """Restore what the records hold.

        Raises:
            FormatError: if a record is broken or of another format, if records are missing, or if
                the windows do not fit the settings. Names the record.
        """
        steps = self.restore_in_steps(len(self._latest) + 1)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                replay: Replay = end.value
                return replay

    def restore_in_steps(self, records: int) -> Generator[None, None, Replay]:
        """Do what `restore` does, and yield after every so many records; return the `Replay`."""
        latest, self._latest = self._latest, {}
        keys = sorted(latest, key=lambda key: not changelog.is_checkpoint(key))
        for count, key in enumerate(keys, 1):
            offset, value = latest[key]
            try:
                self._restore_record(*changelog.decode(key, value))
            except Exception as error:  # whatever it is, the record cannot be read
                raise _broken(f"{self._place}, offset {offset}", key, error) from error
            if count % records == 0:
                yield
        replay_from = self._restore_windows() if latest else None
        return Replay(self._partition, replay_from, self._input_offsets, self._unprocessable)

    def _restore_windows(self) -> int | None:
        if self._checkpoint is None:
            raise FormatError(
                f"{self._place} has records, but no checkpoint, which is written with the first of "
                "them: count anew, as docs/operations.md says"
            )
        try:
            return self._partition.begin_replay(self._checkpoint, self._buckets, self._rollups)
        except FormatError as error:
            raise FormatError(f"{self._place}: {error}") from error

    def _restore_record(self, key: changelog.Key, value: Any) -> None:
        match key:
            case CheckpointKey():
                self._checkpoint = value
            case BucketKey():
                self._buckets[key] = value
            case RollupKey():
                self._rollups[key] = value
            case InputOffsetsKey():
                self._input_offsets = value
            case UnprocessableKey():
                self._unprocessable = value
            case _:
                self._partition.stores[type(key)].restore(key, value)


def _broken(place: str, key: bytes, error: Exception) -> FormatError:
    """Say which record of the changelog topic cannot be used, and what can be done."""
    named = f"{place}, key {key[:LONGEST_KEY_SHOWN]!r}"
    if isinstance(error, FormatError):
        return FormatError(f"{named}: {error}")
    return FormatError(
        f"{named}: a broken record ({type(error).__name__}: {error}); start the version that "
        "wrote it, or count anew as docs/operations.md says"
    )
