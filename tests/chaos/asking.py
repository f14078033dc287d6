"""Asking workers, again while they have not all of the answer."""

import asyncio
import time
from typing import Any

from tests.support.workers import WorkerProcess

WHOLE_WITHIN_S = 30.0
DELIVERED_WITHIN_S = 60.0


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

    async def delivered(self) -> None:
        """Return when no delivery is pending any more.

        Raises:
            TimeoutError: some are for long.
        """
        deadline = time.monotonic() + DELIVERED_WITHIN_S
        while (await self.whole("/v1/deliveries?state=pending&limit=1"))["deliveries"]:
            if time.monotonic() > deadline:
                raise TimeoutError("deliveries are pending for long, though all is calm")
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
        """Return the number of all events that are in windows, everywhere."""
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
