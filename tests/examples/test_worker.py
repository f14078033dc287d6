"""An example receiver gets the alerts of a worker."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from tests.support.brokers import RunningBroker
from tests.support.examples import HttpExample, example_in
from tests.support.mixture import SourceRecord, send_event
from tests.support.receiver import SECRET
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess, settings_for


@pytest.mark.embedded
async def test_alerts_of_a_worker_arrive(embedded_broker: str, unique: str, tmp_path: Path) -> None:
    receivers = example_in("python", tmp_path)
    assert isinstance(receivers, HttpExample)
    example = receivers.with_keys(SECRET)
    settings = settings_for(
        RunningBroker("embedded", embedded_broker),
        unique,
        receivers=[{"name": "example", "url": example.url, "secrets": [SECRET]}],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )
    topic = settings["topics"]["source"]
    await create_topic(embedded_broker, topic, 1)

    async def fires(sender: Sender) -> bool:
        now = int(time.time() * 1000)
        event = orjson.dumps(send_event("spring-sale", now, "FAILURE"))
        await sender.send([SourceRecord(0, None, event)] * 100)
        await asyncio.sleep(0.2)
        return bool(example.alerts)

    with WorkerProcess(settings, tmp_path) as worker:
        await worker.ready()
        async with Sender(embedded_broker, topic) as sender:
            await until(lambda: fires(sender))
    (alert,) = example.alerts
    assert alert.startswith("campaign.alert.firing failure-spike firing in campaign spring-sale")
    receivers.close()
