"""Tasks that end when they are cancelled, whatever they run.

aiokafka's clients swallow a cancellation that reaches a task while it closes them:
`AIOKafkaClient.close` waits for a task of its own and suppresses `CancelledError` meanwhile, and
so do its consumers, producers and admin clients. The task goes on then as if nobody had cancelled
it. Python knows better (`Task.cancelling`), and here it is asked.
"""

import asyncio
from collections.abc import Awaitable

AGAIN_AFTER = 5.0
"""Seconds that a task has to end, before it is cancelled once more."""


async def cancel(task: "asyncio.Task[object]") -> None:
    """Cancel a task, again and again if need be; return when it has ended.

    What it ended with is left to whoever asks for its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_AFTER)


async def close(closing: Awaitable[object]) -> None:
    """Close an aiokafka client.

    Raises:
        CancelledError: the running task was cancelled, before or meanwhile.
    """
    await closing
    raise_if_cancelled()


def raise_if_cancelled() -> None:
    """End the running task if it was cancelled, also if something has swallowed that.

    Raises:
        CancelledError: it was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
