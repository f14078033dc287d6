"""All lanes of one worker, through rebalances and failures.

A lane lives as long as its writer and its state can be trusted. When either cannot (a write failed,
another worker fenced it, a batch did not fit), it is thrown away and opened anew from what was
committed: that is the same path as taking a lane over from another worker, and the only one.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.cancelling import cancel, raise_if_cancelled
from streams.domain.partition import CampaignPartition
from streams.engine.consume.positions import Positions
from streams.engine.consume.transport import Batch, BatchConsumer, Place
from streams.engine.produce.writer import LaneLostError, RefusedError
from streams.engine.tasks.assignor import LaneAssignor
from streams.engine.tasks.isolation import Isolation, UnprocessableError, as_loss
from streams.engine.tasks.restore import Opening
from streams.engine.tasks.task import Lane
from streams.errors import FormatError

_log = structlog.get_logger(__name__)

RETRY_AFTER = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to open a lane, or to write with it; the last one repeats."""
REOPENED_WITHIN = 10.0
"""Seconds in which a lane that was lost may be opened anew before the worker is unready for it."""
LOOK_EVERY = 1.0
"""Seconds between two looks at partitions that cannot be read."""


class _Trouble(NamedTuple):
    """Why a lane is not there, or cannot be relied on yet."""

    since: float
    was_open: bool
    reason: str
    losses: int = 0
    """How often in a row it was lost before it had written anything."""


class Lanes:
    """Holds the lanes that the group has given to this worker.

    Args:
        assignor: knows how the lanes are shared out.
        opening: opens lanes.
        interval: seconds from the beginning of a lane's flush to that of the next.
        park_timeout: seconds that lanes have for their last flush before a rebalance.
        flushed: is called when a lane may have committed something.
        rebalanced: is called at the beginning of a rebalance.
        crashed: is called with an error that nobody can go on with.
        lost: is called when a lane is lost, with `input` if what was read is the reason, otherwise
            `kafka`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined in one place
        self,
        assignor: LaneAssignor,
        opening: Opening,
        interval: float,
        park_timeout: float,
        flushed: Callable[[], None],
        rebalanced: Callable[[], None],
        crashed: Callable[[BaseException], None],
        lost: Callable[[str], None],
    ) -> None:
        self._assignor = assignor
        self._opening = opening
        self._interval = interval
        self._park_timeout = park_timeout
        self._flushed = flushed
        self._rebalanced = rebalanced
        self._crashed = crashed
        self._lost = lost
        self._isolations: dict[int, Isolation] = {}
        self._troubles: dict[int, _Trouble] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._lanes: dict[int, Lane] = {}
        self._assigned: dict[int, set[TopicPartition]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unreadable: dict[int, Mapping[TopicPartition, str]] = {}
        self._generation = -1
        self._moved_at = time.monotonic()
        self._lane_moved_at: dict[int, float] = {}
        self.consumer: BatchConsumer | None = None
        self.handlers: tuple[object, ...] = ()
        """Kept alive for Faust, which holds its handlers by weak reference."""

    # Asked

    @property
    def joined(self) -> bool:
        """Tell whether the group has given this worker its share."""
        return self._generation >= 0

    def moved_at(self) -> float:
        """Return when (s, monotonic) the lane that has stood longest moved on, or else the group.

        A lane moves when it is driven, and when an attempt to open it ends.
        """
        if self.joined and not self._assigned:
            # There are more workers than lanes: nothing has to move.
            return time.monotonic()
        return max(self._moved_at, min(self._lane_moved_at.values(), default=self._moved_at))

    def moved(self, number: int) -> None:
        """Take note that a lane moves on."""
        self._lane_moved_at[number] = time.monotonic()

    def ready(self) -> Mapping[int, CampaignPartition]:
        """Return the partitions of campaigns that are here and up to date, by number."""
        return {number: lane.partition for number, lane in self._lanes.items()}

    def partitions(self) -> int:
        """Return how many partitions of campaigns there are in all."""
        return self._assignor.lanes

    def peers(self) -> Mapping[int, str]:
        """Return where the other workers' partitions can be asked."""
        return {n: url for n, url in self._assignor.peers.items() if n not in self._assigned}

    def assigned(self) -> Mapping[int, set[TopicPartition]]:
        """Return the lanes that this worker has to run, and what they read."""
        return self._assigned

    def committed(self) -> Mapping[TopicPartition, int | None]:
        """Return the committed offset of each partition that was assigned.

        That of a lane that was lost is the last one known, so that its lag stays visible; null
        while none is known. Partitions that do not exist now are left out.
        """
        for lane in self._lanes.values():
            self._committed.update(lane.committed)
        cannot = {each for why_not in self._unreadable.values() for each in why_not}
        return {
            partition: self._committed.get(partition)
            for each in self._assigned.values()
            for partition in each - cannot
        }

    def waiting(self) -> list[str]:
        """Say which lanes are not there, and what they wait for.

        A lane that was open and is lost is opened anew at once, as a rule; it is not named before
        `REOPENED_WITHIN` has passed.
        """
        now = asyncio.get_running_loop().time()
        said = []
        for number in sorted(self._assigned):
            trouble = self._troubles.get(number)
            if trouble is None:
                if number not in self._lanes:
                    said.append(f"reading back the state of partition {number}")
            elif trouble.was_open and now - trouble.since < REOPENED_WITHIN:
                pass  # it is back in a moment, as a rule
            elif number not in self._lanes or trouble.losses > 1:
                said.append(f"partition {number} waits: {trouble.reason}")
        return said

    def unreadable(self) -> list[str]:
        """Say what cannot be read, and why."""
        reasons = {why for why_not in self._unreadable.values() for why in why_not.values()}
        if self.joined and not self._assignor.sources:
            reasons.add(f"topic {self._assignor.source} (topics.source) does not exist: waiting")
        return sorted(reasons)

    # Called by the transport and the agents

    def positions(self) -> Positions:
        """Return where the open lanes read on."""
        return {
            partition: position
            for lane in self._lanes.values()
            for partition, position in lane.readable.items()
        }

    def placed(self, places: Mapping[TopicPartition, Place]) -> None:
        """Take note of which batches continue what the lanes have read."""
        for lane in self._lanes.values():
            lane.place(places)

    async def take(self, batch: Batch) -> None:
        """Give a batch to its lane."""
        number = batch.partition.partition % self._assignor.lanes
        lane = self._lanes.get(number)
        if lane is not None:
            await lane.take(batch)

    # Rebalances

    async def revoked(self) -> None:
        """Write everything down before the group is shared out anew."""
        self._rebalanced()
        self._moved_at = time.monotonic()
        opening = self._assigned.keys() - self._lanes.keys()
        # At once: with the brokers away each takes seconds to let go of them.
        await asyncio.gather(*map(self._cancel, opening))
        await asyncio.gather(*(self._park(n, lane) for n, lane in list(self._lanes.items())))

    async def _park(self, number: int, lane: Lane) -> None:
        lane.parked = True
        try:
            await asyncio.wait_for(lane.hand_over(), self._park_timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the lane is opened anew
            _log.warning("lane not flushed before a rebalance", lane=number, error=repr(error))
            await self._drop(number)

    async def assign(self, partitions: Iterable[TopicPartition], generation: int) -> None:
        """Take over what the group has given to this worker.

        Lanes that stay are not read back, if no generation of the group was missed: then nobody
        else can have had them.
        """
        assigned: dict[int, set[TopicPartition]] = {}
        for partition in partitions:
            number = partition.partition % self._assignor.lanes
            assigned.setdefault(number, set()).add(partition)
        continuous = generation == self._generation + 1
        self._generation = generation
        for number, lane in list(self._lanes.items()):
            if not continuous or assigned.get(number) != set(lane.positions):
                await self._drop(number)
        self._assigned = assigned
        self._forget_unassigned()
        self._moved_at = time.monotonic()
        self._lane_moved_at = dict.fromkeys(assigned, self._moved_at)
        self._assignor.held = set(assigned)
        for number in assigned:
            await self._cancel(number)
            kept = self._lanes.get(number)
            if kept is not None:
                kept.parked = False
                kept.expect(self._assignor.sources)
            self._start(number, kept)

    def _forget_unassigned(self) -> None:
        kept = self.committed()
        self._committed = {p: at for p, at in kept.items() if at is not None}
        self._troubles = {n: each for n, each in self._troubles.items() if n in self._assigned}

    # Running

    def _start(self, number: int, lane: Lane | None) -> None:
        task = asyncio.create_task(self._run(number, lane), name=f"lane-{number}")
        task.add_done_callback(self._ended)
        self._tasks[number] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._crashed(error)

    async def _run(self, number: int, lane: Lane | None) -> None:
        """Run a lane for as long as it can be trusted, then another one in its place."""
        in_vain = 0
        while True:
            lane = lane or await self._open(number)
            try:
                await self._drive(number, lane)
            except FormatError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the lane is opened anew
                in_vain = 0 if lane.has_written else in_vain + 1
                self._note_loss(number, as_loss("it went on", error), in_vain)
            if lane.parked:
                # The rebalance that is under way sees to it.
                return
            await self._drop(number)
            lane = None
            if in_vain:
                await asyncio.sleep(_pause(in_vain - 1))

    def _note_loss(self, number: int, error: LaneLostError, in_vain: int) -> None:
        self._isolation(number).learn(error, self._opening.job)
        dead_letter = self._opening.job.topics.dead_letter
        of_input = isinstance(error, UnprocessableError) or (
            isinstance(error, RefusedError) and error.topic == dead_letter
        )
        self._lost("input" if of_input else "kafka")
        now = asyncio.get_running_loop().time()
        since = self._troubles[number].since if number in self._troubles else now
        self._troubles[number] = _Trouble(since, True, str(error), in_vain)
        _log.warning("lane lost", lane=number, error=str(error), in_vain=in_vain)

    def _isolation(self, number: int) -> Isolation:
        return self._isolations.setdefault(number, Isolation())

    async def _drive(self, number: int, lane: Lane) -> None:
        clock = asyncio.get_running_loop().time
        opened_at = clock()
        next_look = 0.0
        while not lane.parked:
            began = clock()
            await lane.tick()
            self.moved(number)
            if lane.has_written or clock() - opened_at >= REOPENED_WITHIN:
                self._troubles.pop(number, None)
            self._flushed()
            if lane.unplaced and clock() >= next_look:
                next_look = clock() + LOOK_EVERY
                await self._go_on(lane)
            # A broker that is slow gets some rest between two flushes.
            await asyncio.sleep(max(self._interval - (clock() - began), self._interval / 2))

    async def _go_on(self, lane: Lane) -> None:
        """Read partitions that could not be read, if they can be now."""
        try:
            await self._read(await self._place(lane))
        except (KafkaError, OSError) as error:
            # The lane has all that it read; brokers that are away come back.
            _log.warning("logs cannot be looked at", lane=lane.partition.number, error=repr(error))

    async def _place(self, lane: Lane) -> Positions:
        number = lane.partition.number
        placed, why_not = await self._opening.place(lane)
        if why_not != self._unreadable.get(number, {}):
            for why in sorted(set(why_not.values())):
                _log.warning("a topic cannot be read", lane=number, error=why)
        self._unreadable[number] = why_not
        return placed

    async def _read(self, positions: Positions) -> None:
        if positions and self.consumer is not None:
            await self.consumer.rewind(positions)
            self.consumer.resume_partitions(set(positions))

    async def _open(self, number: int) -> Lane:
        for attempt in itertools.count():
            raise_if_cancelled()
            try:
                lane = await self._opening.open(
                    number,
                    self._assigned[number],
                    self._assignor.sources,
                    self._isolation(number),
                )
                await self._place_first(lane)
                break
            except FormatError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self.moved(number)
                wait = _pause(attempt)
                self._note_failure(number, as_loss("it was opened", error), wait)
                await asyncio.sleep(wait)
        self._lanes[number] = lane
        if number in self._troubles and not self._troubles[number].was_open:
            del self._troubles[number]
        await self._read(lane.readable)
        return lane

    def _note_failure(self, number: int, error: LaneLostError, again_in: float) -> None:
        if isinstance(error, UnprocessableError) and error.log_offset is not None:
            self._isolation(number).learn(error, self._opening.job)
        now = asyncio.get_running_loop().time()
        before = self._troubles.get(number, _Trouble(now, False, ""))
        self._troubles[number] = before._replace(reason=f"it cannot be opened: {error}")
        _log.warning("lane cannot be opened", lane=number, error=str(error), again_in=again_in)

    async def _place_first(self, lane: Lane) -> None:
        try:
            await self._place(lane)
            raise_if_cancelled()
        except BaseException:
            await lane.close()
            raise

    async def _cancel(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if task is not None:
            # If it ended with an error, `_ended` has said so.
            await cancel(task)

    async def _drop(self, number: int) -> None:
        lane = self._lanes.pop(number, None)
        self._unreadable.pop(number, None)
        if lane is not None:
            self._committed.update(lane.committed)
            await lane.close()

    async def stop(self) -> None:
        """Write everything down and let go."""
        await self.revoked()
        self._assigned = {}
        await asyncio.gather(*(self._drop(number) for number in list(self._lanes)))


def _pause(attempt: int) -> float:
    return RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)]
