"""Asking workers, again while they have not all of the answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.http import HttpAnswer
from tests.support.workers import WorkerProcess

WHOLE_WITHIN_S = 30.0


class Asker:
    """Asks one worker."""

    def __init__(self, name: str, worker: WorkerProcess) -> None:
        self.name = name
        self._worker = worker

    async def whole(self, target: str) -> Any:
        """Return the answer when nothing is missing in it; null if there is no such thing.

        Raises:
            TimeoutError: no whole answer came.
        """
        deadline = time.monotonic() + WHOLE_WITHIN_S
        while True:
            try:
                answer = await self._worker.ask(target)
            except (OSError, IndexError) as error:
                said = repr(error)
            else:
                if answer.status == 200 and not answer.json["partial"]:
                    return answer.json
                said = f"{answer.status} {answer.body[:200]!r}"
            if time.monotonic() > deadline:
                raise TimeoutError(f"no whole answer to {target}: {said}")
            await asyncio.sleep(0.2)

    async def post(self, target: str, body: object) -> Any:
        """Send a body; return the answer when there is one that is a success."""
        return await self._until_done(lambda: self._worker.post(target, body))

    async def delete(self, target: str) -> Any:
        """Delete something; return the answer when there is one that is a success."""
        return await self._until_done(lambda: self._worker.delete(target))

    async def _until_done(self, act: Callable[[], Awaitable[HttpAnswer]]) -> Any:
        deadline = time.monotonic() + WHOLE_WITHIN_S
        while True:
            answer = await act()
            if answer.status in {200, 201}:
                return answer.json
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done: {answer.status} {answer.body[:200]!r}")
            await asyncio.sleep(0.2)

    async def alerts(self) -> list[Any]:
        """Return all alerts."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.whole(
                f"/v1/alerts?limit=1000&cursor={cursor}" if cursor else "/v1/alerts?limit=1000"
            )
            found += answer["alerts"]
            cursor = answer["next_cursor"]
        return found

    async def total(self) -> int:
        """Return the number of all events that are counted, everywhere."""
        target = "/v1/campaigns?active_within=8000h&limit=1000"
        total = 0
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.whole(f"{target}&cursor={cursor}" if cursor else target)
            for row in answer["campaigns"]:
                total += sum([*row["counts"].values(), *row["engagement"].values()])
            cursor = answer["next_cursor"]
        return total

    async def firing(self) -> set[str]:
        """Return the ids of the alerts that fire."""
        answer = await self.whole("/v1/alerts?state=firing&limit=1000")
        assert answer["next_cursor"] is None
        return {alert["alert_id"] for alert in answer["alerts"]}
