"""Fetches that bring enough: after an answer with little in it the next question waits a moment.

In a steady stream there is always something new, however soon a broker is asked again. Whatever an
answer brings, it costs a request, a turn of two event loops and of everything behind them. Nothing
is gained by asking that often: what is read waits for the next flush anyway.
"""

import asyncio
import time
from collections.abc import Callable

GATHER = 0.02
"""Seconds from an answer with little in it to the next question; a fraction of a flush's interval.
"""
ENOUGH = 256 * 1024
"""Bytes of records that are not little."""


class Pacing:
    """When each broker may be asked for records again.

    Args:
        now: the time (s, monotonic).
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._may_ask_at: dict[int, float] = {}

    async def wait(self, node: int) -> None:
        """Return when a broker may be asked."""
        pause = self._may_ask_at.get(node, 0.0) - self._now()
        if pause > 0:
            await asyncio.sleep(pause)

    def answered(self, node: int, size: int) -> None:
        """Take note that a broker answered with so many bytes of records."""
        # Without any the broker has waited already, for as long as it was asked to.
        little = 0 < size < ENOUGH
        self._may_ask_at[node] = self._now() + GATHER if little else 0.0
