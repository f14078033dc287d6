"""The attempts for one receiver, apart from all others: a slow or dead one delays nobody else."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from streams.domain.circuit import Circuit
from streams.domain.deliveries import Delivery, Outbox
from streams.webhooks.pace import Pace


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """An attempt at a delivery that its outbox has handed out, and takes back.

    Attributes:
        outbox: of the delivery.
        delivery: to attempt.
        early: whether it was not due. A failure says that the receiver fails still, and uses up
            none of the delivery's attempts.
    """

    outbox: Outbox
    delivery: Delivery
    early: bool = False


class ReceiverQueue:
    """Waiting and running attempts for one receiver.

    A delivery whose attempt does not come to its end is released to its outbox.

    Args:
        make: makes an attempt to its end.
        pace: says how many may be under way.
        circuit: says whether any may begin, as the receiver fails.
        clock: wall-clock time, seconds since the epoch.
    """

    def __init__(
        self,
        make: Callable[[Attempt], Coroutine[Any, Any, None]],
        pace: Pace,
        circuit: Circuit,
        clock: Callable[[], float],
    ) -> None:
        self.pace = pace
        self.circuit = circuit
        self._make = make
        self._clock = clock
        self._waiting: deque[Attempt] = deque()
        self._running: dict[asyncio.Task[None], Attempt] = {}

    def put(self, attempt: Attempt) -> None:
        """Make an attempt as soon as there is room."""
        self._waiting.append(attempt)
        self.go_on()

    @property
    def resumes_at(self) -> float | None:
        """When (s, UTC) to `go_on`; null if no attempt waits."""
        if not self._waiting:
            return None
        return max(self.pace.resumes_at, self.circuit.resumes_at)

    def needs_probe(self, now: float) -> bool:
        """Tell whether a probe may begin at `now` (s), and nothing is here to make it with."""
        is_idle = not self._waiting and not self._running
        return self.circuit.is_open and is_idle and self._has_room(now)

    def go_on(self) -> None:
        """Start waiting attempts, as far as there is room."""
        while self._waiting and self._has_room(self._clock()):
            attempt = self._waiting.popleft()
            task = asyncio.create_task(self._make(attempt))
            self._running[task] = attempt
            task.add_done_callback(self._ended)

    def _has_room(self, now: float) -> bool:
        under_way = len(self._running)
        return self.pace.room(under_way, now) and self.circuit.permits(under_way, now)

    def take_waiting(self) -> list[Attempt]:
        """Hand out the waiting attempts, in order: they will not be made."""
        waiting, self._waiting = self._waiting, deque()
        return list(waiting)

    def keep(self, wanted: Callable[[Attempt], bool]) -> None:
        """Break off attempts that are not wanted any more, waiting or running."""
        for attempt in self.take_waiting():
            if wanted(attempt):
                self._waiting.append(attempt)
            else:
                attempt.outbox.release(attempt.delivery)
        for task, attempt in self._running.items():
            if not wanted(attempt):
                task.cancel()

    async def close(self, grace: float) -> None:
        """Start no more attempts; break off what is still under way after `grace` seconds."""
        for attempt in self.take_waiting():
            attempt.outbox.release(attempt.delivery)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        attempt = self._running.pop(task)
        # Here and not in the attempt: a task that is cancelled early never begins.
        if task.cancelled():
            attempt.outbox.release(attempt.delivery)
        self.go_on()
