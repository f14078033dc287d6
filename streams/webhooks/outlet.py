"""The attempts for one receiver, apart from all others: a slow or dead one delays nobody else."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from streams.domain.deliveries import Delivery, DeliveryQueue


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A delivery that was handed out, and the queue that it goes back to."""

    queue: DeliveryQueue
    delivery: Delivery


class Outlet:
    """Waiting and running attempts for one receiver, at most `limit` of them running.

    Whatever is not attempted to its end goes back to its queue.
    """

    def __init__(self, attempt: Callable[[Job], Coroutine[Any, Any, None]], limit: int) -> None:
        self._attempt = attempt
        self._limit = limit
        self._waiting: deque[Job] = deque()
        self._running: dict[asyncio.Task[None], Job] = {}

    def put(self, job: Job) -> None:
        """Attempt a delivery as soon as there is room."""
        self._waiting.append(job)
        self._start_waiting()

    def keep(self, wanted: Callable[[Job], bool]) -> None:
        """Break off whatever is not wanted any more, waiting or running."""
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            if wanted(job):
                self._waiting.append(job)
            else:
                job.queue.release(job.delivery)
        for task, job in self._running.items():
            if not wanted(job):
                task.cancel()

    async def close(self, grace: float) -> None:
        """Start no more attempts; break off what is still under way after `grace` seconds."""
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.queue.release(job.delivery)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            job = self._waiting.popleft()
            task = asyncio.create_task(self._attempt(job))
            self._running[task] = job
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        # Here and not in the attempt: a task that is cancelled early never begins.
        if task.cancelled():
            job.queue.release(job.delivery)
        self._start_waiting()
