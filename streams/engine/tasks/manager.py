"""All tasks of one worker, through rebalances and failures.

A task lives as long as its producer and its memory can be trusted. When either cannot (a commit
failed, another worker fenced the producer, a batch did not fit), the task is lost: it is closed and
another one is restored in its place from what was committed. Taking a task over from another worker
is the same. `streams.engine.tasks.state` has the picture.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.cancelling import cancel, raise_if_cancelled
from streams.domain.partition import CampaignPartition
from streams.engine.consume.group import GroupConsumer
from streams.engine.consume.positions import Positions
from streams.engine.consume.transport import Batch, SeekPosition
from streams.engine.produce.writer import RefusedError, TaskLostError
from streams.engine.tasks.assignor import TaskAssignor
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.poison_pills import PoisonPills, UnprocessableError, as_task_lost
from streams.engine.tasks.restore import TaskRestorer
from streams.engine.tasks.state import TaskState
from streams.engine.tasks.task import StreamTask
from streams.errors import FormatError

_log = structlog.get_logger(__name__)

RETRY_AFTER = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to open a task, or to write with it; the last one repeats."""
REOPENED_WITHIN = 10.0
"""Seconds in which a task that was lost may be reopened before the worker is unready for it."""
LOOK_EVERY = 1.0
"""Seconds between two attempts to find the positions of inputs that cannot be read."""


class _Trouble(NamedTuple):
    """Why a task is not running, or has not committed since it was lost.

    Attributes:
        since: the event loop's time (s).
        was_open: whether it ran before; otherwise it could not be opened.
        reason: in one line, for readiness.
        attempts_without_commit: how often in a row it was lost before its first commit.
    """

    since: float
    was_open: bool
    reason: str
    attempts_without_commit: int = 0


class TaskManager:
    """Holds the tasks that the group has given to this worker.

    Args:
        assignor: the assignor of this member of the group.
        restorer: opens tasks.
        consumer: reads their inputs.
        events: is notified when a task was opened or closed, and notifies while one is restored.
        interval: seconds from the beginning of a task's commit to that of the next.
        suspend_timeout: seconds that tasks have for their commit for handover before a rebalance.
        rebalanced: is called at the beginning of a rebalance.
        crashed: is called with an error that ends the worker.
        task_lost: is called when a task is lost, with the cause: `input` for records that cannot be
            processed or dead-lettered, `kafka` for anything else.
    """

    def __init__(  # noqa: PLR0913 - the parts are joined in one place
        self,
        assignor: TaskAssignor,
        restorer: TaskRestorer,
        consumer: GroupConsumer,
        events: TaskEvents,
        *,
        interval: float,
        suspend_timeout: float,
        rebalanced: Callable[[], None],
        crashed: Callable[[BaseException], None],
        task_lost: Callable[[str], None],
    ) -> None:
        self._assignor = assignor
        self._restorer = restorer
        self._consumer = consumer
        self._events = events
        self._interval = interval
        self._suspend_timeout = suspend_timeout
        self._rebalanced = rebalanced
        self._crashed = crashed
        self._task_lost = task_lost
        events.on_restored(lambda task, _reached, _end: self._moved(task))
        self._poison_pills: dict[int, PoisonPills] = {}
        self._troubles: dict[int, _Trouble] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._tasks: dict[int, StreamTask] = {}
        self._assigned: dict[int, set[TopicPartition]] = {}
        self._drivers: dict[int, asyncio.Task[None]] = {}
        self._unreadable: dict[int, Mapping[TopicPartition, str]] = {}
        self._generation = -1
        self._rebalancing = False
        self._moved_at = time.monotonic()
        self._task_moved_at: dict[int, float] = {}

    # Queries

    @property
    def joined(self) -> bool:
        """Tell whether the group has given this worker its share."""
        return self._generation >= 0

    def moved_at(self) -> float:
        """Return when (s, monotonic) the task without progress for longest made some, or the group.

        A task makes progress when it is driven, and when an attempt to open it ends.
        """
        if self.joined and not self._assigned:
            # There are more workers than tasks: nothing has to move.
            return time.monotonic()
        return max(self._moved_at, min(self._task_moved_at.values(), default=self._moved_at))

    def _moved(self, number: int) -> None:
        self._task_moved_at[number] = time.monotonic()

    def ready(self) -> Mapping[int, CampaignPartition]:
        """Return the partitions of campaigns that are here and up to date, by number."""
        return {number: task.partition for number, task in self._tasks.items()}

    def partitions(self) -> int:
        """Return how many partitions of campaigns there are in all."""
        return self._assignor.tasks

    def peers(self) -> Mapping[int, str]:
        """Return where the other workers' partitions can be asked."""
        return {n: url for n, url in self._assignor.peers.items() if n not in self._assigned}

    def assigned(self) -> Mapping[int, set[TopicPartition]]:
        """Return the tasks that this worker has to run, and what they read."""
        return self._assigned

    def states(self) -> Mapping[str, int]:
        """Return how many of the assigned tasks are in each state; those without one are restored.

        A task that was lost is restored as well, once its producer is closed.
        """
        return Counter(
            str(self._tasks[number].state if number in self._tasks else TaskState.RESTORING)
            for number in self._assigned
        )

    def committed(self) -> Mapping[TopicPartition, int | None]:
        """Return the committed offset of each partition that was assigned.

        That of a task that was lost is the last one known, so that its lag stays visible; null
        while none is known. Partitions that do not exist now are left out.
        """
        for task in self._tasks.values():
            self._committed.update(task.committed)
        cannot = {each for why_not in self._unreadable.values() for each in why_not}
        return {
            partition: self._committed.get(partition)
            for each in self._assigned.values()
            for partition in each - cannot
        }

    def waiting_for(self) -> list[str]:
        """Return what is waited for; nothing when all tasks run and read all their inputs."""
        if not self.joined:
            return [f"waiting for the consumer group {self._restorer.group_id}"]
        return [*self.waiting(), *self.unreadable()]

    def waiting(self) -> list[str]:
        """Say which tasks are not open, and what they wait for.

        A task that was open and is lost is reopened at once, as a rule; it is not named before
        `REOPENED_WITHIN` has passed.
        """
        now = asyncio.get_running_loop().time()
        said = []
        for number in sorted(self._assigned):
            trouble = self._troubles.get(number)
            if trouble is None:
                if number not in self._tasks:
                    said.append(f"reading back the state of partition {number}")
            elif trouble.was_open and now - trouble.since < REOPENED_WITHIN:
                pass  # it is back in a moment, as a rule
            elif number not in self._tasks or trouble.attempts_without_commit > 1:
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
        """Return the positions of the tasks' inputs, of those that can be read."""
        return {
            partition: position
            for task in self._tasks.values()
            for partition, position in task.readable.items()
        }

    def on_seek(self, sought: Mapping[TopicPartition, SeekPosition]) -> None:
        """Notify the tasks of the seek positions of their inputs."""
        for task in self._tasks.values():
            task.on_seek(sought)

    async def take(self, batch: Batch) -> None:
        """Hand a batch to its task."""
        number = batch.partition.partition % self._assignor.tasks
        task = self._tasks.get(number)
        if task is not None:
            await task.take(batch)

    # Rebalances

    async def revoked(self) -> None:
        """Suspend all tasks and commit them for handover: a rebalance begins."""
        self._rebalanced()
        self._rebalancing = True
        self._moved_at = time.monotonic()
        opening = self._assigned.keys() - self._tasks.keys()
        # At once: with the brokers away each takes seconds to let go of them.
        await asyncio.gather(*map(self._cancel, opening))
        await asyncio.gather(*(self._suspend(n, task) for n, task in list(self._tasks.items())))

    async def _suspend(self, number: int, task: StreamTask) -> None:
        try:
            task.suspend()
            await asyncio.wait_for(task.commit_for_handover(), self._suspend_timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task is reopened
            _log.warning("task not committed for handover", task=number, error=repr(error))
            await self._drop(number)

    async def assign(self, partitions: Iterable[TopicPartition], generation: int) -> None:
        """Take over the partitions that the group has assigned to this worker.

        A suspended task whose partitions are assigned again is resumed, if no generation of the
        group was missed: then no other worker can have had it. All others are closed.
        """
        assigned: dict[int, set[TopicPartition]] = {}
        for partition in partitions:
            number = partition.partition % self._assignor.tasks
            assigned.setdefault(number, set()).add(partition)
        continuous = generation == self._generation + 1
        self._generation = generation
        for number, task in list(self._tasks.items()):
            stays = continuous and assigned.get(number) == set(task.positions)
            if not stays or task.state is not TaskState.SUSPENDED:
                await self._drop(number)
        self._assigned = assigned
        self._forget_unassigned()
        self._moved_at = time.monotonic()
        self._task_moved_at = dict.fromkeys(assigned, self._moved_at)
        self._assignor.held = set(assigned)
        self._rebalancing = False
        for number in assigned:
            await self._cancel(number)
            kept = self._tasks.get(number)
            if kept is not None:
                kept.resume(self._assignor.sources)
            self._start(number, kept)

    def _forget_unassigned(self) -> None:
        kept = self.committed()
        self._committed = {p: at for p, at in kept.items() if at is not None}
        self._troubles = {n: each for n, each in self._troubles.items() if n in self._assigned}

    # Running

    def _start(self, number: int, task: StreamTask | None) -> None:
        driver = asyncio.create_task(self._run(number, task), name=f"task-{number}")
        driver.add_done_callback(self._ended)
        self._drivers[number] = driver

    def _ended(self, driver: asyncio.Task[None]) -> None:
        error = None if driver.cancelled() else driver.exception()
        if error is not None:
            self._crashed(error)

    async def _run(self, number: int, task: StreamTask | None) -> None:
        """Run a task until it is suspended or closed; when it is lost, another one in its place."""
        attempts_without_commit = 0
        while True:
            task = task or await self._open(number)
            try:
                await self._drive(number, task)
            except FormatError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the task is reopened
                lost = as_task_lost("it went on", error)
                task.lose(lost)
                attempts_without_commit = 0 if task.has_committed else attempts_without_commit + 1
                self._note_task_lost(number, lost, attempts_without_commit)
            if task.state is not TaskState.LOST or self._rebalancing:
                # The caller that suspended or closed the task goes on with it.
                return
            await self._drop(number)
            task = None
            if attempts_without_commit:
                await asyncio.sleep(_pause(attempts_without_commit - 1))

    def _note_task_lost(
        self, number: int, error: TaskLostError, attempts_without_commit: int
    ) -> None:
        self._poison_pills_of(number).note_failure(error, self._restorer.context)
        dead_letter = self._restorer.context.topics.dead_letter
        of_input = isinstance(error, UnprocessableError) or (
            isinstance(error, RefusedError) and error.topic == dead_letter
        )
        self._task_lost("input" if of_input else "kafka")
        now = asyncio.get_running_loop().time()
        since = self._troubles[number].since if number in self._troubles else now
        self._troubles[number] = _Trouble(since, True, str(error), attempts_without_commit)
        _log.warning(
            "task lost",
            task=number,
            error=str(error),
            attempts_without_commit=attempts_without_commit,
        )

    def _poison_pills_of(self, number: int) -> PoisonPills:
        return self._poison_pills.setdefault(number, PoisonPills())

    async def _drive(self, number: int, task: StreamTask) -> None:
        clock = asyncio.get_running_loop().time
        opened_at = clock()
        next_look = 0.0
        while task.state in {TaskState.RUNNING, TaskState.LOST}:
            began = clock()
            await task.tick()
            self._moved(number)
            if task.has_committed or clock() - opened_at >= REOPENED_WITHIN:
                self._troubles.pop(number, None)
            if task.to_position and clock() >= next_look:
                next_look = clock() + LOOK_EVERY
                await self._retry_positions(task)
            # A broker that is slow gets some rest between two commits.
            await asyncio.sleep(max(self._interval - (clock() - began), self._interval / 2))

    async def _retry_positions(self, task: StreamTask) -> None:
        """Read inputs that could not be read, if they can be now."""
        try:
            await self._consumer.read_from(await self._find_positions(task))
        except (KafkaError, OSError) as error:
            # The task has all that it read; brokers that are away come back.
            _log.warning("positions not found", task=task.partition.number, error=repr(error))

    async def _find_positions(self, task: StreamTask) -> Positions:
        number = task.partition.number
        found, why_not = await self._restorer.find_positions(task)
        if why_not != self._unreadable.get(number, {}):
            for why in sorted(set(why_not.values())):
                _log.warning("a topic cannot be read", task=number, error=why)
        self._unreadable[number] = why_not
        return found

    async def _open(self, number: int) -> StreamTask:
        for attempt in itertools.count():
            raise_if_cancelled()
            try:
                task = await self._restorer.open(
                    number,
                    self._assigned[number],
                    self._assignor.sources,
                    self._poison_pills_of(number),
                )
                await self._start_restored(task)
                break
            except FormatError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._moved(number)
                wait = _pause(attempt)
                self._note_failure(number, as_task_lost("it was opened", error), wait)
                await asyncio.sleep(wait)
        self._tasks[number] = task
        self._events.changed()
        if number in self._troubles and not self._troubles[number].was_open:
            del self._troubles[number]
        await self._consumer.read_from(task.readable)
        return task

    def _note_failure(self, number: int, error: TaskLostError, again_in: float) -> None:
        if isinstance(error, UnprocessableError) and error.log_offset is not None:
            self._poison_pills_of(number).note_failure(error, self._restorer.context)
        now = asyncio.get_running_loop().time()
        before = self._troubles.get(number, _Trouble(now, False, ""))
        self._troubles[number] = before._replace(reason=f"it cannot be opened: {error}")
        _log.warning("task cannot be opened", task=number, error=str(error), again_in=again_in)

    async def _start_restored(self, task: StreamTask) -> None:
        try:
            await self._find_positions(task)
            raise_if_cancelled()
            task.start()
        except BaseException:
            await task.close()
            raise

    async def _cancel(self, number: int) -> None:
        driver = self._drivers.pop(number, None)
        if driver is not None:
            # If it ended with an error, `_ended` has said so.
            await cancel(driver)

    async def _drop(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        self._unreadable.pop(number, None)
        if task is not None:
            self._events.changed()
            self._committed.update(task.committed)
            await task.close()

    async def stop(self) -> None:
        """Commit all tasks for handover and close them."""
        await self.revoked()
        self._assigned = {}
        await asyncio.gather(*(self._drop(number) for number in list(self._tasks)))


def _pause(attempt: int) -> float:
    return RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)]
