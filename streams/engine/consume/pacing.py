"""Fewer and fuller fetches: after a response with few bytes the next request waits a moment.

In a steady stream a broker has new records however soon it is asked again. A fetch has a cost that
does not depend on its bytes: a request, and a turn of two event loops and of all that follows.
Fetching more often gains nothing, since results of what is read wait for the task's next commit.
"""

import asyncio
import time
from collections.abc import Callable

GATHER = 0.02
"""Seconds from a response with few bytes to the next request: a fraction of the time between two
commits (`flush.interval`)."""
ENOUGH = 256 * 1024
"""Bytes of records in a response after which the broker is asked again at once."""


class Pacing:
    """When each broker may be asked for records again.

    Args:
        now: the time (s, monotonic).
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._may_ask_at: dict[int, float] = {}

    async def wait(self, node: int) -> None:
        """Wait until a broker may be asked."""
        pause = self._may_ask_at.get(node, 0.0) - self._now()
        if pause > 0:
            await asyncio.sleep(pause)

    def answered(self, node: int, size: int) -> None:
        """Take note of a broker's response with `size` bytes of records."""
        # A response without records came after the broker had waited for some, up to `max_wait_ms`.
        little = 0 < size < ENOUGH
        self._may_ask_at[node] = self._now() + GATHER if little else 0.0
