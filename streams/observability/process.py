"""The process itself: memory, CPU, open files, the garbage collector, and its event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

EVERY = 0.25
"""Seconds between two measurements of the event loop's delay."""
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds (s) of the buckets of its histogram."""


def register_process(registry: CollectorRegistry) -> None:
    """Add `process_*`, `python_gc_*` and `python_info`, as all Python programs have them."""
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)


async def watch_event_loop(
    observe: Callable[[float], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Measure how late the event loop wakes who sleeps, a few times a second. Never returns.

    Args:
        observe: is notified of each delay (s): how long other work kept the loop.
        clock: seconds, monotonic.
        sleep: waits for some seconds.
    """
    while True:
        due = clock() + EVERY
        await sleep(EVERY)
        observe(max(0.0, clock() - due))
