"""Waiting for what has to come."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 90.0
"""How long a test waits for what has to come: generous, as machines are slow at times."""


async def until(condition: Callable[[], Awaitable[bool]], within: float = PATIENCE_S) -> None:
    """Return as soon as a condition holds.

    Raises:
        AssertionError: it did not within so many seconds.
    """
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"waited {within} s in vain"
        await asyncio.sleep(0.1)
