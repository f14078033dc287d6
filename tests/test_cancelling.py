"""Tasks that end when they are cancelled."""

import asyncio
import contextlib

import pytest
from aiokafka.client import AIOKafkaClient

from streams import cancelling
from streams.cancelling import cancel, close, raise_if_cancelled

SOON_S = 10.0


async def _slow_to_end(began: asyncio.Event) -> None:
    """Stands for what an aiokafka client runs in the background: it ends in its own time."""
    try:
        began.set()
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.02)


async def _client() -> AIOKafkaClient:
    """Return a client with a background task that has begun."""
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    began = asyncio.Event()
    client._sync_task = asyncio.create_task(_slow_to_end(began))
    await began.wait()
    return client


async def test_a_cancellation_while_aiokafka_closes_is_heeded() -> None:
    went_on = []

    async def work(*, heeded: bool) -> None:
        client = await _client()
        await (close(client.close()) if heeded else client.close())
        went_on.append(heeded)

    for heeded in (False, True):
        task = asyncio.create_task(work(heeded=heeded))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task}, timeout=SOON_S)
        assert task.cancelled() == heeded
    # The other one shows that it is aiokafka which swallows it.
    assert went_on == [False]


async def test_a_time_limit_that_passes_while_aiokafka_closes_is_one() -> None:
    client = await _client()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await close(client.close())


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_AFTER", 0.01)
    swallowed = []

    async def stubborn() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            swallowed.append(True)
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel(task), SOON_S)
    assert task.cancelled()
    assert swallowed == [True, True]


async def test_whoever_is_not_cancelled_goes_on() -> None:
    raise_if_cancelled()
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await cancel(done)
    assert not done.cancelled()
