"""One lane: the source partitions that are counted together, and one partition of campaigns.

What a lane does with what it reads, in the order of the code: records of the source topic become
blocks on the keyed topic, or dead letters; blocks of the keyed topic become windows, alerts and
deliveries. A flush writes all of it down together with the offsets of what was read.
"""

import asyncio
from collections.abc import Mapping
from zlib import crc32

from aiokafka.structs import TopicPartition

from streams.domain import blocks, transitions
from streams.domain.events import Reason, Rejected, SourcePartition, Tally
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import Transition, rfc3339
from streams.engine.job import Job
from streams.engine.records import (
    POSITIONS_KEY,
    Position,
    Positions,
    as_committed,
    dead_letter,
    from_committed,
    write_positions,
)
from streams.engine.transport import Batch, Place
from streams.engine.writer import LaneLostError, Record, WriteError, Writer, Writes

LOG_APPEND_TIME = 1
FAR_BEHIND = 10_000
"""Records. With so many waiting, fewer and larger flushes are better than prompt ones."""
FULL_KEYS = 50_000
FULL_BYTES = 16 * 1024 * 1024


class MisreadError(LaneLostError):
    """A batch does not begin where the one before it ended."""


class Lane:
    """A lane that is open: its writer fences all others, its state is read back.

    Args:
        number: of the lane, and of its partition of campaigns.
        job: what every lane does alike.
        writer: the lane's own, open.
        partition: the campaigns, with the state of earlier lives.
        positions: how far each partition that the lane reads was read.
        sources: the source partitions among them, by number.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what `opening` has put together
        self,
        number: int,
        job: Job,
        writer: Writer,
        partition: CampaignPartition,
        positions: Positions,
        sources: dict[int, SourcePartition],
    ) -> None:
        self.number = number
        self.partition = partition
        self.parked = False
        self._job = job
        self._writer = writer
        self._sources = sources
        self._turns: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, int] = {}
        self._hop_due = 0.0
        self._committed = dict(positions)
        self.positions = {each: position.offset for each, position in positions.items()}
        self._tally = Tally()
        self._dead: list[Record] = []
        self._dead_bytes = 0
        self._decided: list[Transition] = []
        self._received_at = 0
        self._state_due = job.now() + job.state_interval
        self._flushing = asyncio.Lock()
        self._lost: LaneLostError | None = None

    # Reading

    def place(self, places: dict[TopicPartition, Place]) -> None:
        """Take note of which batches continue what was read."""
        self._turns.update({partition: place.turn for partition, place in places.items()})

    async def take(self, batch: Batch) -> None:
        """Count a batch. If that goes wrong the lane is lost, and `tick` says so."""
        try:
            self._take(batch)
            if self.is_full:
                await self.flush(full=False)
        except LaneLostError as error:
            self._lost = self._lost or error

    def _take(self, batch: Batch) -> None:
        if self.parked or self._lost or batch.turn != self._turns.get(batch.partition):
            return
        expected = self.positions[batch.partition]
        if batch.start != expected:
            raise MisreadError(f"{batch.partition} read from {batch.start}, not from {expected}")
        if batch.partition.topic == self._job.topics.source:
            self._count(batch)
        else:
            self._apply(batch)
        self.positions[batch.partition] = batch.end
        self._waiting[batch.partition] = batch.waiting

    def _count(self, batch: Batch) -> None:
        """Records of the source topic: bytes become counts, or dead letters."""
        source = self._sources[batch.partition.partition]
        values = [record.value for record in batch.records]
        rejected = source.count(values, self._broker_time(batch), self._tally)
        if rejected:
            self._put_aside(batch, rejected)
        if self._job.topics.keyed is None:
            # The campaign is in this very partition: no hop.
            for block in self._tally.blocks(1).values():
                self._add(block)
            self._job.instruments.counted(self._tally)
            self._tally = Tally()

    def _apply(self, batch: Batch) -> None:
        """Records of the keyed topic: blocks become windows."""
        for position, record in enumerate(batch.records):
            try:
                block = blocks.decode(record.value or b"")
            except ValueError as error:
                self._put_aside(batch, [Rejected(position, Reason.NOT_A_BLOCK, str(error))])
                # This dead letter goes with the offset of the block, not with those of a source.
                self._state_due = 0.0
            else:
                self._add(block)

    def _add(self, block: blocks.Block) -> None:
        late_before = self.partition.table.late_events
        self.partition.apply(block, self._job.now())
        self._job.instruments.late(self.partition.table.late_events - late_before)
        self._received_at = self._received_at or block.received_at

    def _broker_time(self, batch: Batch) -> int:
        """When the broker took in the newest record (ms): by its own clock, if the topic says."""
        last = batch.records[-1]
        now = int(self._job.now() * 1000)
        return min(last.timestamp, now) if last.timestamp_type == LOG_APPEND_TIME else now

    def _put_aside(self, batch: Batch, rejected: list[Rejected]) -> None:
        self._job.instruments.rejected(rejected)
        failed_at = rfc3339(self._job.now()).encode()
        for each in rejected:
            record = batch.records[each.position]
            self._dead.append(dead_letter(record, each, failed_at))
            self._dead_bytes += len(record.value or b"")

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of every partition that the lane reads."""
        return {partition: position.offset for partition, position in self._committed.items()}

    @property
    def is_full(self) -> bool:
        """Tell whether more should be read only after a flush."""
        tally = self._tally
        return len(tally.sends) + len(tally.engagement) > FULL_KEYS or self._dead_bytes > FULL_BYTES

    # Writing

    async def tick(self) -> None:
        """Let time go on: close and expire windows, hold the rules, write down what is due.

        Raises:
            LaneLostError: if the lane must not be used any more.
        """
        now = self._job.now()
        self.partition.table.advance(now)
        self._decide(now)
        if self._decided or now >= min(self._hop_due, self._state_due):
            await self.flush(full=bool(self._decided))
            far_behind = max(self._waiting.values(), default=0) > FAR_BEHIND
            self._hop_due = now + (self._job.state_interval if far_behind else 0.0)

    def _decide(self, now: float) -> None:
        """Hold the rules against what was counted."""
        decided = self.partition.evaluate(now)
        if decided:
            age = now - self._received_at / 1000 if self._received_at else 0.0
            self._job.instruments.decided(decided, age)
            self._decided += decided
        self._received_at = 0

    async def flush(self, *, full: bool) -> None:
        """Write down, in one transaction, what was counted and the offsets of what was read.

        Args:
            full: write the changed state as well, and the offsets of the blocks it comes from,
                although it is not due; otherwise blocks, dead letters and source offsets.

        Raises:
            LaneLostError: if it was not committed; the lane must not be used any more.
        """
        async with self._flushing:
            if self._lost:
                raise self._lost
            full = full or self._state_due <= self._job.now()
            began = self._job.now()
            writes = self._collect(full=full)
            if not writes:
                return
            try:
                await self._writer.write(writes)
            except BaseException as error:
                # Collected is gone from memory, and written it may be or not.
                self._lost = WriteError(f"the flush did not end: {error!r}")
                raise
            self._committed = self._after(writes)
            if full:
                self.partition.deliveries.flush_committed()
            self._job.instruments.flushed(self._job.now() - began)

    def _collect(self, *, full: bool) -> Writes:
        writes = Writes()
        topics = self._job.topics
        if topics.keyed is not None:
            self._collect_hop(writes, topics.keyed)
        if full:
            self._collect_state(writes)
        if full or topics.keyed is not None:
            self._collect_dead(writes)
            self._collect_positions(writes, topics.source)
        if full and topics.keyed is not None:
            self._collect_positions(writes, topics.keyed)
        if writes.offsets:
            value = write_positions(self._after(writes))
            writes.add(topics.state, self.number, Record(POSITIONS_KEY, value))
        return writes

    def _collect_hop(self, writes: Writes, keyed: str) -> None:
        tally, self._tally = self._tally, Tally()
        for number, block in tally.blocks(self._job.lanes).items():
            for value in blocks.encode_records(block):
                writes.add(keyed, number, Record(None, value))
        self._job.instruments.counted(tally)

    def _collect_state(self, writes: Writes) -> None:
        topics, now = self._job.topics, self._job.now()
        self._state_due = now + self._job.state_interval
        # What is written down was looked at: a later life does not look again.
        self._decide(now)
        for key, value in self.partition.take_changes():
            writes.add(topics.state, self.number, Record(key, value))
        decided, self._decided = self._decided, []
        for transition in decided:
            key = transition.data.campaign_id.encode()
            number = crc32(key) % topics.alerts_partitions
            writes.add(topics.alerts, number, Record(key, transitions.encode(transition)))

    def _collect_dead(self, writes: Writes) -> None:
        dead, self._dead, self._dead_bytes = self._dead, [], 0
        number = self.number % self._job.topics.dead_letter_partitions
        for record in dead:
            writes.add(self._job.topics.dead_letter, number, record)

    def _collect_positions(self, writes: Writes, topic: str) -> None:
        for partition, offset in self.positions.items():
            if partition.topic == topic and offset != self._committed[partition].offset:
                position = Position(offset, self._event_time(partition))
                writes.offsets[partition] = as_committed(position)

    def _after(self, writes: Writes) -> dict[TopicPartition, Position]:
        """Return how far everything was read once the writes are committed."""
        moved = {partition: from_committed(at) for partition, at in writes.offsets.items()}
        return {**self._committed, **moved}

    def _event_time(self, partition: TopicPartition) -> int:
        if partition.topic != self._job.topics.source:
            return 0
        return self._sources[partition.partition].event_time

    async def close(self) -> None:
        """Let go of the broker."""
        self.parked = True
        await self._writer.close()
