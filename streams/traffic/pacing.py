"""Events at a rate, or in the rhythm of their own times. Clock and sleep are handed in."""

from collections.abc import Awaitable, Callable, Sequence

from streams.traffic.simulation import Plan, Step, steps

Clock = Callable[[], float]
"""Seconds that only go forward, such as `time.monotonic`."""

Sleep = Callable[[float], Awaitable[object]]
"""Waits for some seconds, such as `asyncio.sleep`."""

Send = Callable[[Sequence[bytes]], Awaitable[None]]

Observe = Callable[[Step], None]
"""Takes each step before its events are sent: what arrives, and which labels begin and end."""

_CATCH_UP_SECONDS = 0.5


class Pace:
    """Keeps to `rate` events per second, smoothly; what a stall cost is not made up in a burst."""

    def __init__(self, rate: float, clock: Clock, sleep: Sleep) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    async def wait(self, count: int) -> None:
        """Wait until the next `count` events are due."""
        self._due = max(self._due, self._clock() - _CATCH_UP_SECONDS) + count / self._rate
        ahead = self._due - self._clock()
        if ahead > 0:
            await self._sleep(ahead)


async def play(
    plan: Plan, send: Send, clock: Clock, sleep: Sleep, observe: Observe | None = None
) -> None:
    """Send the plan's events when they are due; the plan's start is now.

    Ends with the plan; an endless one is ended by cancelling. If sending takes too long, it goes
    on without a pause until it has caught up.
    """
    start = clock()
    for step in steps(plan):
        ahead = start + (step.until_ms - plan.start_ms) / 1000 - clock()
        if ahead > 0:
            await sleep(ahead)
        await _send_step(step, send, observe)


async def play_fast(plan: Plan, send: Send, observe: Observe | None = None) -> None:
    """Send the plan's events as fast as they are taken."""
    for step in steps(plan):
        await _send_step(step, send, observe)


async def _send_step(step: Step, send: Send, observe: Observe | None) -> None:
    if observe:
        observe(step)
    if step.events:
        await send([event for _, event in step.events])
