"""A worker that is told to stop while it joins its group."""

import asyncio

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.workers import settings_for

AFTER_S = (0.5, 2.0, 2.5, 3.0)
"""How long it has been listening: brokers let the first member of a group wait for three seconds
for others, and then assign it partitions, also of a worker that has begun to stop."""


async def test_partitions_are_assigned_to_a_worker_that_stops(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    worker = new_worker(settings_for(broker, unique))
    for seconds in AFTER_S:
        await worker.listening()
        await asyncio.sleep(seconds)
        assert await asyncio.to_thread(worker.stop) == 0
        worker.start()
    await worker.ready()
