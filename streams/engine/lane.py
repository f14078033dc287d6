"""One lane: the source partitions that are counted together, and one partition of campaigns.

What a lane does with what it reads, in the order of the code: records of the source topic become
blocks on the keyed topic, or dead letters; blocks of the keyed topic become windows, alerts and
deliveries. A flush writes all of it down together with the offsets of what was read.

When the source is keyed by campaign itself there is no hop: the blocks are the lane's own. It adds
them to its windows as it writes them, and the keyed topic is only their log.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from copy import copy
from zlib import crc32

from aiokafka.structs import TopicPartition

from streams.domain import blocks, transitions
from streams.domain.events import Reason, Rejected
from streams.domain.partition import CampaignPartition
from streams.domain.sources import SourcePartition
from streams.domain.tally import Tally
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
from streams.engine.writer import (
    CLOSE_WITHIN,
    LaneLostError,
    Record,
    WriteError,
    Writer,
    Writes,
)
from streams.errors import FormatError

LOG_APPEND_TIME = 1
FAR_BEHIND = 10_000
"""Records. With so many waiting, fewer and larger flushes are better than prompt ones."""
CATCH_UP_INTERVAL = 1.0
"""Seconds between flushes then."""
FULL_COUNTS = 25_000
"""With many campaigns; what a fast worker counts in a second or so, and puts into blocks within a
few ms."""
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
        positions: how far each partition that the lane reads was read; also where its state
            ends, and without a hop its log.
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
        self.has_written = False
        self._job = job
        self._writer = writer
        self._sources = sources
        self._turns: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, int] = {}
        self._due = 0.0
        self._log = TopicPartition(job.topics.keyed, number)
        self._log_end = positions[self._log].offset
        self._committed = dict(positions)
        state = TopicPartition(job.topics.state, number)
        own = (state,) if job.hop else (state, self._log)
        self._own_ends = {each: self._committed.pop(each).offset for each in own}
        """Where the partitions end that only this lane writes to."""
        self.positions = {each: at.offset for each, at in self._committed.items()}
        self._tally = Tally()
        self._dead: list[Record] = []
        self._dead_bytes = 0
        self._decided: list[Transition] = []
        self._received_at = 0
        self._flushing = asyncio.Lock()
        self._early_flush: asyncio.Task[None] | None = None
        self._lost: LaneLostError | FormatError | None = None

    # Reading

    def place(self, places: dict[TopicPartition, Place]) -> None:
        """Take note of which batches continue what was read."""
        self._turns.update({partition: place.turn for partition, place in places.items()})

    async def take(self, batch: Batch) -> None:
        """Count a batch. If that goes wrong the lane is lost, and `tick` says so."""
        try:
            self._take(batch)
        except (LaneLostError, FormatError) as error:
            self._lose(error)
        except BaseException as error:
            # Half of the batch may be counted.
            self._lose(LaneLostError(f"a batch of {batch.partition} was not counted: {error!r}"))
            raise
        await self._flush_if_full()

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

    def _apply(self, batch: Batch) -> None:
        """Records of the keyed topic: blocks become windows."""
        for position, record in enumerate(batch.records):
            try:
                block = blocks.decode(record.value or b"")
            except ValueError as error:
                self._put_aside(batch, [Rejected(position, Reason.NOT_A_BLOCK, str(error))])
            else:
                self._add(block, record.offset)

    def _add(self, block: blocks.Block, offset: int) -> None:
        late_before = self.partition.table.late_events
        self.partition.apply(block, offset, self._job.now())
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
            self._dead.append(dead_letter(batch.partition, record, each, failed_at))
            self._dead_bytes += len(record.value or b"")

    @property
    def committed(self) -> Mapping[TopicPartition, int]:
        """The committed offset of every partition that the lane reads."""
        return {partition: position.offset for partition, position in self._committed.items()}

    @property
    def is_full(self) -> bool:
        """Tell whether it is time for a flush, before the next `tick`."""
        return len(self._tally) > FULL_COUNTS or self._dead_bytes > FULL_BYTES

    @property
    def _read_to(self) -> int:
        """Where in the log the next block will be, that was not added to the windows yet."""
        return self.positions[self._log] if self._job.hop else self._log_end

    # Writing

    async def tick(self) -> None:
        """Let time go on: close and expire windows, hold the rules, write down what is due.

        Raises:
            LaneLostError: if the lane must not be used any more.
            FormatError: if this worker cannot go on with what another one wrote.
            Exception: whatever nobody expected of an early flush.
        """
        if self._early_flush is not None and self._early_flush.done():
            self._early_flush.result()
        self._check()
        now = self._job.now()
        far_behind = max(self._waiting.values(), default=0) > FAR_BEHIND
        if far_behind and now < self._due:
            return
        self._due = now + CATCH_UP_INTERVAL
        async with self._flushing:
            self._check()
            if not self.parked:
                # Not during a flush: where its blocks are in the log is known when it has ended.
                self._note(self.partition.advance(now, self._read_to), now)
                await self._flush()

    def _note(self, decided: list[Transition], now: float) -> None:
        """Take note of what the rules made of that which was counted."""
        if decided:
            age = now - self._received_at / 1000 if self._received_at else 0.0
            self._job.instruments.decided(decided, age)
            self._decided += decided
        self._received_at = 0

    def expect(self, sources: int) -> None:
        """Wait for the source partitions that there are now before time goes on."""
        if self._job.hop:
            self.partition.table.clock.expect(range(sources), self._job.now())

    async def hand_over(self) -> None:
        """Write down all that the next owner needs, in one transaction.

        Raises:
            LaneLostError: if it was not committed; the lane must not be used any more.
            FormatError: if this worker cannot go on with what another one wrote.
        """
        async with self._flushing:
            self._check()
            await self._flush(last=True)

    async def _flush_if_full(self) -> None:
        """Begin a flush if it is time; wait for the one before it, but not for its own end."""
        while self.is_full and self._early_flush is not None and not self._early_flush.done():
            await asyncio.wait({self._early_flush})
        if self.is_full and not (self._lost or self.parked):
            self._early_flush = asyncio.create_task(self._flush_early())
            # Now, as a rule, it takes what was counted.
            await asyncio.sleep(0)

    async def _flush_early(self) -> None:
        with contextlib.suppress(LaneLostError, FormatError):
            async with self._flushing:
                self._check()
                if not self.parked:
                    await self._flush()

    async def _flush(self, *, last: bool = False) -> None:
        """Write down what was counted, what that led to, and the offsets of what was read."""
        began = self._job.now()
        try:
            writes = self._collect(last=last)
            if not writes:
                return
            ends = await self._writer.write(writes)
        except BaseException as error:
            # Collected is gone from memory, and written it may be or not.
            self._lose(WriteError(f"the flush did not end: {error!r}"))
            raise
        self.has_written = True
        self._log_end = max(self._log_end, ends.get(self._log, 0))
        # The end of the transaction takes an offset as well.
        self._own_ends |= {each: ends[each] + 1 for each in self._own_ends.keys() & ends}
        self._committed = self._after(writes)
        self.partition.deliveries.flush_committed()
        self._job.instruments.flushed(self._job.now() - began)

    def _lose(self, error: LaneLostError | FormatError) -> None:
        # Without the traceback: that holds on to the lane, and the collector runs seldom.
        self._lost = self._lost or error.with_traceback(None)

    def _check(self) -> None:
        if self._lost:
            raise copy(self._lost)

    def _collect(self, *, last: bool) -> Writes:
        writes = Writes()
        self._collect_blocks(writes)
        # What is written down was decided on: its next owner will not look at it again.
        now = self._job.now()
        self._note(self.partition.evaluate(now), now)
        if last:
            self.partition.hand_over()
        self._collect_state(writes)
        self._collect_dead(writes)
        self._collect_positions(writes)
        written = self._own_ends.keys() & writes.records
        writes.begin = {each: self._own_ends[each] for each in written}
        return writes

    def _collect_blocks(self, writes: Writes) -> None:
        tally, self._tally = self._tally, Tally()
        job = self._job
        for number, block in tally.blocks().items():
            if not job.hop:
                self._add(block, self._log_end)
            for value in blocks.encode_records(block):
                writes.add(
                    job.topics.keyed, number if job.hop else self.number, Record(None, value)
                )
        job.instruments.counted(tally)

    def _collect_state(self, writes: Writes) -> None:
        topics = self._job.topics
        for key, value in self.partition.take_changes(self._job.now()):
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

    def _collect_positions(self, writes: Writes) -> None:
        for partition, offset in self.positions.items():
            if offset != self._committed[partition].offset:
                position = Position(offset, self._event_time(partition))
                writes.offsets[partition] = as_committed(position)
        if writes.offsets:
            value = write_positions(self._after(writes))
            writes.add(self._job.topics.state, self.number, Record(POSITIONS_KEY, value))

    def _after(self, writes: Writes) -> dict[TopicPartition, Position]:
        """Return how far everything was read once the writes are committed."""
        moved = {partition: from_committed(at) for partition, at in writes.offsets.items()}
        return {**self._committed, **moved}

    def _event_time(self, partition: TopicPartition) -> int:
        if partition.topic != self._job.topics.source:
            return 0
        return self._sources[partition.partition].event_time

    async def close(self) -> None:
        """Let go of the broker, after a flush that is under way."""
        self.parked = True
        if self._early_flush is not None:
            await asyncio.wait({self._early_flush}, timeout=CLOSE_WITHIN)
        await self._writer.close()
