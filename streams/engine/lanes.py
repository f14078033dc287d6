"""All lanes of one worker, through rebalances and failures.

A lane lives as long as its writer and its state can be trusted. When either cannot (a write failed,
another worker fenced it, a batch did not fit), it is thrown away and opened anew from what was
committed: that is the same path as taking a lane over from another worker, and the only one.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.domain.partition import CampaignPartition
from streams.engine.assignor import LaneAssignor
from streams.engine.lane import Lane
from streams.engine.opening import Opening
from streams.engine.transport import Batch, BatchConsumer, Place
from streams.engine.writer import LaneLostError
from streams.errors import FormatError

_log = structlog.get_logger(__name__)

RETRY_AFTER = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to open a lane, or to write with it; the last one repeats."""


class Lanes:
    """Holds the lanes that the group has given to this worker.

    Args:
        assignor: knows how the lanes are shared out.
        opening: opens lanes.
        interval: seconds between two flushes of a lane.
        park_timeout: seconds that lanes have for their last flush before a rebalance.
        flushed: is called when a lane may have committed something.
        rebalanced: is called at the beginning of a rebalance.
        crashed: is called with an error that nobody expected.
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
    ) -> None:
        self._assignor = assignor
        self._opening = opening
        self._interval = interval
        self._park_timeout = park_timeout
        self._flushed = flushed
        self._rebalanced = rebalanced
        self._crashed = crashed
        self._lanes: dict[int, Lane] = {}
        self._assigned: dict[int, set[TopicPartition]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._generation = -1
        self.consumer: BatchConsumer | None = None
        self.handlers: tuple[object, ...] = ()
        """Kept alive for Faust, which holds its handlers by weak reference."""

    # Asked

    @property
    def joined(self) -> bool:
        """Tell whether the group has given this worker its share."""
        return self._generation >= 0

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

    def committed(self) -> Mapping[TopicPartition, int]:
        """Return the committed offsets of what the open lanes read."""
        return {p: at for lane in self._lanes.values() for p, at in lane.committed.items()}

    # Called by the transport and the agents

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return where the open lanes read on."""
        return {
            partition: offset
            for lane in self._lanes.values()
            for partition, offset in lane.positions.items()
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
        for number in self._assigned.keys() - self._lanes.keys():
            await self._cancel(number)
        await asyncio.gather(*(self._park(n, lane) for n, lane in list(self._lanes.items())))

    async def _park(self, number: int, lane: Lane) -> None:
        lane.parked = True
        try:
            await asyncio.wait_for(lane.hand_over(), self._park_timeout)
        except (LaneLostError, FormatError, TimeoutError) as error:
            _log.warning("lane not flushed before a rebalance", lane=number, error=str(error))
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
        self._assignor.held = set(assigned)
        for number in assigned:
            await self._cancel(number)
            kept = self._lanes.get(number)
            if kept is not None:
                kept.parked = False
                kept.expect(self._assignor.sources)
            self._start(number, kept)

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
                await self._drive(lane)
            except LaneLostError as error:
                in_vain = 0 if lane.has_written else in_vain + 1
                _log.warning("lane lost", lane=number, error=str(error), in_vain=in_vain)
            if lane.parked:
                # The rebalance that is under way sees to it.
                return
            await self._drop(number)
            lane = None
            if in_vain:
                await asyncio.sleep(_pause(in_vain - 1))

    async def _drive(self, lane: Lane) -> None:
        while not lane.parked:
            await lane.tick()
            self._flushed()
            await asyncio.sleep(self._interval)

    async def _open(self, number: int) -> Lane:
        for attempt in itertools.count():
            try:
                lane = await self._opening.open(
                    number, self._assigned[number], self._assignor.sources
                )
                break
            except (LaneLostError, KafkaError, OSError) as error:
                wait = _pause(attempt)
                _log.warning("lane cannot be opened", lane=number, error=str(error), again_in=wait)
                await asyncio.sleep(wait)
        self._lanes[number] = lane
        if self.consumer is not None:
            await self.consumer.rewind(lane.positions)
            self.consumer.resume_partitions(set(lane.positions))
        return lane

    async def _cancel(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _drop(self, number: int) -> None:
        lane = self._lanes.pop(number, None)
        if lane is not None:
            await lane.close()

    async def stop(self) -> None:
        """Write everything down and let go."""
        await self.revoked()
        self._assigned = {}
        await asyncio.gather(*(self._drop(number) for number in list(self._lanes)))


def _pause(attempt: int) -> float:
    return RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)]
