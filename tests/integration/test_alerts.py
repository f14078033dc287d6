"""An incident is told once, goes on over a restart, and its end is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import orjson

from streams.domain.transitions import json_schema
from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, send_event
from tests.support.receiver import SECRET, Collector
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
FIRING, RESOLVED = "campaign.alert.firing", "campaign.alert.resolved"


class Traffic:
    """Sends of one campaign, now, of which a share fails."""

    def __init__(self, campaign_id: str) -> None:
        self.campaign_id = campaign_id
        self.failing = 0.0

    def records(self, count: int = 40) -> list[SourceRecord]:
        now = int(time.time() * 1000)
        statuses = ["FAILURE" if n < count * self.failing else "SUCCESS" for n in range(count)]
        return [
            SourceRecord(n % SOURCES, None, orjson.dumps(send_event(self.campaign_id, now, status)))
            for n, status in enumerate(statuses)
        ]


@asynccontextmanager
async def going_on(address: str, topic: str, *traffic: Traffic) -> AsyncIterator[None]:
    """Keep sending."""
    await create_topic(address, topic, SOURCES)

    async def send() -> None:
        async with Sender(address, topic) as sender:
            while True:
                for each in traffic:
                    await sender.send(each.records())
                await asyncio.sleep(0.05)

    running = asyncio.create_task(send())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


THRESHOLD = {"level": 0.2, "recovery_level": 0.1, "min_attempts": 30}


def settings_of(
    broker: RunningBroker,
    prefix: str,
    receiver: str,
    detector: Mapping[str, object] = THRESHOLD,
) -> Settings:
    """Short windows and rules without patience, so that an incident takes seconds."""
    rule = {
        "name": "failure-spike",
        "group": "failure",
        "detector": dict(detector),
        "keep_firing_for": "1s",
        "labels": {"team": "sending"},
    }
    return settings_for(
        broker,
        prefix,
        windows={"size": 2, "grace": 2, "retention": 3600},
        rules=[rule],
        receivers=[{"name": "ops", "url": receiver, "secrets": [SECRET]}],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )


async def transitions(broker: RunningBroker, settings: Settings) -> list[Any]:
    """What is on the alerts topic, each checked against the published schema."""
    committed = broker.guarantee == "exactly-once"
    records = await read_topic(broker.address, settings["topics"]["alerts"], committed=committed)
    values = [orjson.loads(record.value or b"") for record in records]
    for record, value in zip(records, values, strict=True):
        jsonschema.validate(value, json_schema())
        assert record.key == value["data"]["campaign_id"].encode()
    return values


async def firing(worker: WorkerProcess) -> list[Any]:
    alerts: list[Any] = (await worker.json("/v1/alerts?state=firing"))["alerts"]
    return alerts


async def test_incident(broker: RunningBroker, unique: str, new_worker: NewWorker) -> None:
    broken, sound = Traffic("a/b 100%"), Traffic("sound")
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        topic = settings["topics"]["source"]
        worker = new_worker(settings)
        async with going_on(broker.address, topic, broken, sound):
            await worker.ready()
            await until(lambda: _has_counts(worker, "sound"))
            broken.failing = 0.5
            (told,) = await receiver.wait_for(1, within=90)
            assert (told.value["type"], told.value["data"]["sequence"]) == (FIRING, 1)

            # A restart in the middle of it changes nothing.
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            (alert,) = await firing(worker)
            assert alert["alert_id"] == told.value["data"]["alert_id"]
            await _new_window(worker, "sound")

            broken.failing = 0.0
            _, ended = await receiver.wait_for(2, within=90)
            assert (ended.value["type"], ended.value["data"]["sequence"]) == (RESOLVED, 2)
            await _new_window(worker, "sound")
        written = await transitions(broker, settings)
        assert [value["type"] for value in written] == [FIRING, RESOLVED]
        assert [value["data"] for value in written] == [told.value["data"], ended.value["data"]]
        evidence = told.value["data"]["evidence"]
        assert evidence["rate"] > evidence["lower_bound"] > 0.2
        assert evidence["attempts"] >= 30
        assert told.value["data"]["campaign_id"] == broken.campaign_id
        assert told.value["data"]["labels"] == {"team": "sending"}
        assert await firing(worker) == []
        await until(lambda: _all_delivered(worker))
        assert len(receiver.arrivals) == 2


async def test_more_failures_than_a_number(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """One send in ten fails, which no rate says much about: the number of failures does."""
    failing, few = Traffic("failing"), Traffic("few")
    # 40 sends each 50 ms are some 160 failures a window of one campaign, and no others.
    failing.failing, few.failing = 0.1, 0.0
    async with Collector() as receiver:
        detector = {"kind": "count", "more_than": 60}
        settings = settings_of(broker, unique, receiver.url, detector)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], failing, few):
            await worker.ready()
            (told,) = await receiver.wait_for(1, within=90)
            assert told.value["type"] == FIRING
            (shown,) = (await worker.json("/v1/rules"))["rules"]
            assert shown["detector"] == detector
            failing.failing = 0.0
            _, ended = await receiver.wait_for(2, within=90)
        assert ended.value["type"] == RESOLVED
        written = await transitions(broker, settings)
        assert [value["data"]["campaign_id"] for value in written] == ["failing"] * 2
        evidence = told.value["data"]["evidence"]
        assert evidence["hits"] == evidence["counts"]["FAILURE"] > 60
        assert evidence["rate"] < 0.2
        assert (evidence["lower_bound"], evidence["figures"]) == (None, {"more_than": 60})
        assert ended.value["data"]["evidence"]["hits"] <= 60


async def _has_counts(worker: WorkerProcess, campaign_id: str) -> bool:
    return (await worker.ask(f"/v1/campaigns/{campaign_id}")).status == 200


async def _new_window(worker: WorkerProcess, campaign_id: str) -> None:
    """Wait for two windows that are not there yet: the rules were held meanwhile."""
    before = (await worker.json(f"/v1/campaigns/{campaign_id}"))["last_window"]

    async def later() -> bool:
        answer = await worker.json(f"/v1/campaigns/{campaign_id}/windows")
        return len([w for w in answer["windows"] if w["start"] > before]) >= 2

    await until(later)


async def _all_delivered(worker: WorkerProcess) -> bool:
    return not (await worker.json("/v1/deliveries"))["deliveries"]
