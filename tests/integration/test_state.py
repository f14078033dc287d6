"""What a worker says of a changelog topic that it cannot read."""

import asyncio

from aiokafka import AIOKafkaProducer

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.topics import create_topic
from tests.support.waiting import until
from tests.support.workers import settings_for

DELIVERY_KEY = b'["delivery","c","d"]'


async def test_a_broken_delivery_ends_the_worker_with_one_line(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(broker, unique)
    state = settings["topics"]["changelog"]
    await create_topic(broker.address, settings["topics"]["source"], 1)
    await create_topic(broker.address, state, 4, cleanup_policy="compact")
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        await producer.send_and_wait(state, b'{"delivery_id": 7}', DELIVERY_KEY, 2)

    worker = new_worker(settings)

    async def has_ended() -> bool:
        return not worker.process.running

    await until(has_ended)
    assert await asyncio.to_thread(worker.stop) == 1
    assert "Traceback" not in worker.log
    (said,) = [line for line in worker.log.splitlines() if "broken record" in line]
    assert f"{state}-2, offset 0, key {DELIVERY_KEY!r}" in said
    assert "docs/operations.md" in said
