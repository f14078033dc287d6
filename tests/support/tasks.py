"""A task without Kafka: what it reads is handed to it, what it writes is kept."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.domain import changelog
from streams.domain.campaigns import Campaigns
from streams.domain.changelog import InputOffsetsKey
from streams.domain.checkpoint import Checkpoint, CheckpointKey
from streams.domain.commits import Commit
from streams.domain.events import Rejected
from streams.domain.formats import pinpoint
from streams.domain.partition import CampaignPartition, EvaluationFailure
from streams.domain.partition_settings import PartitionSettings
from streams.domain.restorer import PartitionRestorer
from streams.domain.sources import IngestSettings, SourcePartition
from streams.domain.transitions import Transition
from streams.engine.cluster.message_limits import MessageLimits
from streams.engine.consume.positions import Position, from_committed, from_input_offsets
from streams.engine.consume.transport import Batch, SeekPosition
from streams.engine.produce.writer import Record, TransactionBatch, WriteError
from streams.engine.tasks.context import Output, TaskContext, Topics
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.offsets import TaskOffsets
from streams.engine.tasks.poison_pills import PoisonPills
from streams.engine.tasks.task import StreamTask
from streams.outputs.alerts import ALERTS
from tests.support.partitions import PARTITION_SETTINGS

TOPICS = Topics("events", "repartition", "changelog", "dead", 1, (Output(ALERTS, "alerts", 3),))
NOW = 1_790_000_000.0
SOURCE, REPARTITION = TopicPartition("events", 1), TopicPartition("repartition", 1)
CHANGELOG = TopicPartition("changelog", 1)
OFFSETS_KEY = changelog.key_of(InputOffsetsKey())


class FakeWriter:
    """Keeps what is written, until it is told to fail."""

    def __init__(self) -> None:
        self.written: list[TransactionBatch] = []
        self.failure: BaseException | None = None
        self.closed = False
        self.own = {CHANGELOG}
        self.positions: dict[TopicPartition, Position] = {}
        self.ends: dict[TopicPartition, int] = {}
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> asyncio.Event:
        """Let nothing be written until the event is set."""
        self._go.clear()
        return self._go

    async def open(self) -> None:
        """Be ready."""

    async def write(self, writes: TransactionBatch) -> dict[TopicPartition, int]:
        await self._go.wait()
        if self.failure is not None:
            raise self.failure
        assert writes.begin.keys() == self.own & writes.records.keys()
        for partition, offset in writes.begin.items():
            assert offset == self.ends.get(partition, 0)
        self._check_positions(writes)
        self.written.append(writes)
        for partition, records in writes.records.items():
            # A transaction's end takes an offset as well.
            self.ends[partition] = self.ends.get(partition, 0) + len(records) + 1
        return {partition: self.ends[partition] for partition in writes.records}

    def _check_positions(self, writes: TransactionBatch) -> None:
        """Whatever moves an offset says so in the state as well: take that record away."""
        self.positions.update({each: from_committed(at) for each, at in writes.offsets.items()})
        in_changelog = [
            from_input_offsets(changelog.decode(record.key, record.value or b"")[1])
            for records in writes.records.values()
            for record in records
            if record.key == OFFSETS_KEY
        ]
        if writes.offsets:
            (positions,) = in_changelog
            assert {**positions, **self.positions} == positions
        else:
            assert not in_changelog
        for partition, records in list(writes.records.items()):
            writes.records[partition] = [each for each in records if each.key != OFFSETS_KEY]
            if not writes.records[partition]:
                del writes.records[partition]

    async def close(self) -> None:
        self.closed = True

    def fail(self) -> None:
        self.failure = WriteError("the broker is gone")

    def take(self) -> TransactionBatch:
        """Return the only thing that was written since the last call."""
        (writes,) = self.written
        self.written.clear()
        return writes


@dataclass
class FakeMetrics:
    """Adds up what a task tells of its work."""

    events: int = 0
    rejections: list[Rejected] = field(default_factory=list)
    late_events: int = 0
    unrecognised_events: Counter[str] = field(default_factory=Counter)
    transitions: list[Transition] = field(default_factory=list)
    failures: list[EvaluationFailure] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    losses: list[tuple[TopicPartition, str, int]] = field(default_factory=list)
    failed_commits: list[str] = field(default_factory=list)

    def committed(self, commit: Commit) -> None:
        assert commit.seconds >= 0
        self.commits.append(commit)
        self.events += commit.counted
        self.rejections += commit.rejected
        self.late_events += commit.late
        self.unrecognised_events.update(commit.unrecognised)
        assert all(each.event_age >= 0 for each in commit.decisions)
        self.transitions += commit.transitions

    def evaluation_failed(self, failures: Iterable[EvaluationFailure]) -> None:
        self.failures += failures

    def commit_failed(self, outcome: str) -> None:
        self.failed_commits.append(outcome)

    def records_lost(self, partition: TopicPartition, cause: str, records: int) -> None:
        self.losses.append((partition, cause, records))


def opened_before(
    number: int, settings: PartitionSettings, inputs: Iterable[int], now: float
) -> CampaignPartition:
    """A partition, restored from a checkpoint before any event."""
    restorer = PartitionRestorer(number, settings, inputs, now)
    checkpoint = Checkpoint(settings.windows.size, 0, {}, {})
    for key, value in changelog.encode([(CheckpointKey(), checkpoint)]):
        restorer.add(key, value, 0)
    return restorer.restore().finish(now, 0)


class TaskHarness:
    """StreamTask 1 of two, opened before any event, with a fake writer and metrics.

    Attributes:
        now: its clock (s, UTC).
    """

    def __init__(
        self,
        settings: PartitionSettings = PARTITION_SETTINGS,
        *,
        repartitions: bool = True,
        topics: Topics = TOPICS,
        poison_pills: PoisonPills | None = None,
        start: bool = True,
    ) -> None:
        self.now = NOW
        self.writer = FakeWriter()
        self.metrics = FakeMetrics()
        self.limits = MessageLimits({}, ())
        self.writer.own |= set() if repartitions else {REPARTITION}
        events = TaskEvents()
        events.on_commit(self.metrics.committed)
        ingest_settings = IngestSettings(pinpoint.FORMAT, settings.windows, max_record_bytes=2000)
        campaigns = Campaigns(2 if repartitions else 1)
        self.context = context = TaskContext(
            topics,
            repartitions,
            ingest_settings,
            settings,
            lambda: self.now,
            self.metrics,
            events,
            campaigns,
            self.limits,
        )
        read = (SOURCE, REPARTITION) if repartitions else (SOURCE,)
        owned_log_ends = dict.fromkeys(self.writer.own, 0)
        progress = TaskOffsets(
            CHANGELOG, REPARTITION, dict.fromkeys(read, Position(0)), owned_log_ends
        )
        inputs = [0, 1] if repartitions else [1]
        partition = opened_before(1, settings, inputs, NOW)
        sources = {1: SourcePartition(1, ingest_settings, campaigns)}
        self.poison_pills = poison_pills or PoisonPills()
        self.task = StreamTask(
            context, self.writer, partition, progress, sources, self.poison_pills
        )
        if start:
            self.task._to_position.clear()  # as `move` does, for each
            self.task.start()
        self.task.on_seek({each: SeekPosition(0, 0) for each in self.task.positions})

    async def take(
        self,
        partition: TopicPartition,
        *values: bytes | None,
        start: int | None = None,
        seek_epoch: int = 0,
        gap: int = 0,
    ) -> None:
        """Hand values to the task: they begin where it stands, or after a gap of offsets."""
        await self.task.take(
            self.batch(partition, *values, start=start, seek_epoch=seek_epoch, gap=gap)
        )

    def batch(
        self,
        partition: TopicPartition,
        *values: bytes | None,
        start: int | None = None,
        seek_epoch: int = 0,
        gap: int = 0,
    ) -> Batch:
        """Make a batch of values."""
        at = self.task.positions.get(partition, Position(0)).offset
        begin = at if start is None else start
        records = [record(partition, begin + gap + n, value) for n, value in enumerate(values)]
        return Batch(partition, seek_epoch, begin, records)

    async def settle(self) -> None:
        """Commit, and take back in what comes out at task 1's end of the repartition topic."""
        await self.task.commit_for_handover()
        for writes in list(self.writer.written):
            for each in writes.records.get(REPARTITION, []):
                await self.take(REPARTITION, each.value)
        self.writer.written.clear()


def record(
    partition: TopicPartition,
    offset: int,
    value: bytes | None,
    *,
    timestamp: int = 0,
    timestamp_type: int = 0,
) -> "ConsumerRecord[bytes | None, bytes | None]":
    """A record as a consumer returns it."""
    return ConsumerRecord(
        partition.topic,
        partition.partition,
        offset,
        timestamp,
        timestamp_type,
        b"key",
        value,
        None,
        3,
        len(value or b""),
        (("trace", b"1"),),
    )


def state_of(records: Iterable[Record]) -> dict[str, bytes | None]:
    """Records of the changelog topic by the kind of their key and what it names."""
    found = {}
    for each in records:
        kind, *name = orjson.loads(each.key or b"")
        found[" ".join([kind, *map(str, name)])] = each.value
    return found
