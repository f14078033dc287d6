"""Results of windows: each closed window of the API has one, with its figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from tests.support.window_ledger import WindowLedger, WindowName

EMITTED_WITHIN_S = 60.0
"""Seconds in which what has closed or was corrected must have its result."""


class Asks(Protocol):
    """A worker that is asked again while its answers are partial."""

    async def whole(self, target: str) -> Any:
        """Return the answer when nothing is missing in it."""
        ...


async def compare_results(
    asker: Asks,
    campaigns: Iterable[str],
    ledger: WindowLedger,
    read: Callable[[], Awaitable[None]],
) -> list[str]:
    """Compare the closed windows of campaigns with their results; return what is wrong.

    Args:
        asker: a worker.
        campaigns: their ids.
        ledger: the results.
        read: has the ledger take what is new in the topic.
    """
    deadline = time.monotonic() + EMITTED_WITHIN_S
    left = list(campaigns)
    while True:
        windows = [each for campaign_id in left for each in await _closed(asker, campaign_id)]
        await read()
        wrong = {
            name.campaign_id: difference
            for name, window in windows
            if (difference := ledger.difference(name, window)) is not None
        }
        left = list(wrong)
        if not left or time.monotonic() > deadline:
            return [*ledger.problems(), *wrong.values()]
        await asyncio.sleep(0.5)


async def _closed(asker: Asks, campaign_id: str) -> list[tuple[WindowName, Mapping[str, Any]]]:
    answer = await asker.whole(f"/v1/campaigns/{quote(campaign_id, safe='')}/windows")
    return [
        (WindowName(campaign_id, window["start"], window["end"]), window)
        for window in answer["windows"]
        if window["state"] == "closed"
    ]
