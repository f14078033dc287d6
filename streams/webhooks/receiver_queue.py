"""The attempts for one receiver, apart from all others: a slow or dead one delays nobody else."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from streams.domain.deliveries import Delivery, Outbox
from streams.webhooks.pace import Pace


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A delivery that was handed out, and the queue that it goes back to."""

    queue: Outbox
    delivery: Delivery


class ReceiverQueue:
    """Waiting and running attempts for one receiver.

    Whatever is not attempted to its end goes back to its queue.

    Args:
        attempt: makes one.
        pace: says how many may be under way.
        clock: wall-clock time, seconds since the epoch.
    """

    def __init__(
        self,
        attempt: Callable[[Job], Coroutine[Any, Any, None]],
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self.pace = pace
        self._attempt = attempt
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._running: dict[asyncio.Task[None], Job] = {}

    def put(self, job: Job) -> None:
        """Attempt a delivery as soon as there is room."""
        self._waiting.append(job)
        self.go_on()

    @property
    def resumes_at(self) -> float | None:
        """When (s) to `go_on`; null if nothing waits for the time."""
        return self.pace.resumes_at if self._waiting else None

    def go_on(self) -> None:
        """Start what waits, as far as there is room."""
        while self._waiting and self.pace.room(len(self._running), self._clock()):
            job = self._waiting.popleft()
            task = asyncio.create_task(self._attempt(job))
            self._running[task] = job
            task.add_done_callback(self._ended)

    def take_waiting(self) -> list[Job]:
        """Hand out what waits, in order: it will not be attempted."""
        waiting, self._waiting = self._waiting, deque()
        return list(waiting)

    def keep(self, wanted: Callable[[Job], bool]) -> None:
        """Break off whatever is not wanted any more, waiting or running."""
        for job in self.take_waiting():
            if wanted(job):
                self._waiting.append(job)
            else:
                job.queue.release(job.delivery)
        for task, job in self._running.items():
            if not wanted(job):
                task.cancel()

    async def close(self, grace: float) -> None:
        """Start no more attempts; break off what is still under way after `grace` seconds."""
        for job in self.take_waiting():
            job.queue.release(job.delivery)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        # Here and not in the attempt: a task that is cancelled early never begins.
        if task.cancelled():
            job.queue.release(job.delivery)
        self.go_on()
