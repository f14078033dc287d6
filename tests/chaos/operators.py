"""Somebody who acknowledges alerts while faults come, and remembers what was answered."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.support.http import request
from tests.support.workers import WorkerProcess

ANSWERED_WITHIN_S = 4.0
PAUSE_S = 0.3
_NO_ANSWER = (OSError, TimeoutError, IndexError, ValueError)
"""Of a worker that is killed, paused or cut off."""


class Answered(NamedTuple):
    """An alert, and who has acknowledged it, as a worker said when it was asked to."""

    alert_id: str
    by: str


class Operator:
    """Acknowledges one alert after the other, by any worker.

    Args:
        workers: those that run.
        chance: decides which alert, and which worker is asked.

    Attributes:
        answered: what workers said was done.
    """

    def __init__(
        self, workers: Callable[[], Sequence[WorkerProcess]], chance: random.Random
    ) -> None:
        self.answered: set[Answered] = set()
        self._workers = workers
        self._chance = chance
        self._asked = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            workers = self._workers()
            if not workers:
                continue
            try:
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    await self._acknowledge(*self._chance.choices(workers, k=2))
            except _NO_ANSWER:
                continue

    async def _acknowledge(self, first: WorkerProcess, second: WorkerProcess) -> None:
        """Ask one worker what fires, and another one, or the same, to acknowledge some of it."""
        known = await first.ask("/v1/alerts?state=firing&limit=100")
        alerts = known.json["alerts"] if known.status == 200 else []
        if not alerts:
            return
        alert_id = self._chance.choice(alerts)["alert_id"]
        self._asked += 1
        target = f"/v1/alerts/{alert_id}/acknowledge?by=operator-{self._asked}"
        answer = await request(second.port, target, method="POST")
        if answer.status == 200:
            by = answer.json["alert"]["acknowledged"]["by"]
            self.answered.add(Answered(alert_id, by))
