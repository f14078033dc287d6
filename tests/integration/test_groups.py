"""Campaigns that break by one channel are one message; one by itself is told at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import jsonschema
import orjson

from streams.domain.group_transitions import json_schema
from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import FIRING, RESOLVED, firing
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, endpoint, send_event
from tests.support.receiver import SECRET, Arrival, Collector
from tests.support.topics import Sender, ensure_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
CAMPAIGNS = [f"campaign-{number}" for number in range(9)]
CHANNELS = ("GCM", "EMAIL")
GROUP_FIRING, GROUP_RESOLVED = "campaign.group.firing", "campaign.group.resolved"
WINDOW = 4


def settings_of(broker: RunningBroker, prefix: str, receiver: str) -> Settings:
    """Short windows, and a receiver that groups."""
    detector = {"kind": "threshold", "level": 0.2, "recovery_level": 0.1, "min_attempts": 30}
    rule = {
        "name": "failure-spike",
        "group": "failure",
        "detector": detector,
        "keep_firing_for": "1s",
    }
    to = {
        "name": "ops",
        "url": receiver,
        "secrets": [SECRET],
        "group_wait": "3s",
        "group_interval": "2s",
    }
    return settings_for(
        broker,
        prefix,
        windows={"size": WINDOW, "grace": 2, "retention": 3600},
        rules=[rule],
        receivers=[to],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )


class FleetTraffic:
    """Sends of all campaigns by both channels; `broken` fail."""

    def __init__(self) -> None:
        self.broken: set[tuple[str, str]] = set()

    def records(self) -> list[SourceRecord]:
        now = int(time.time() * 1000)
        return [
            self._record(number % SOURCES, campaign, channel, now)
            for campaign in CAMPAIGNS
            for channel in CHANNELS
            for number in range(6)
        ]

    def _record(self, source: int, campaign: str, channel: str, now: int) -> SourceRecord:
        status = "FAILURE" if (campaign, channel) in self.broken else "SUCCESS"
        event = send_event(campaign, now, status, context=endpoint(channel))
        return SourceRecord(source, None, orjson.dumps(event))


@asynccontextmanager
async def going_on(address: str, topic: str, traffic: FleetTraffic) -> AsyncIterator[None]:
    """Keep sending."""
    await ensure_topic(address, topic, SOURCES)

    async def send() -> None:
        async with Sender(address, topic) as sender:
            while True:
                await sender.send(traffic.records())
                await asyncio.sleep(0.2)

    running = asyncio.create_task(send())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_one_message_for_one_cause(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    traffic = FleetTraffic()
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        workers = [new_worker(settings, name) for name in ("a", "b")]
        async with going_on(broker.address, settings["topics"]["source"], traffic):
            for worker in workers:
                await worker.ready()
            await asyncio.sleep(4 * WINDOW)
            traffic.broken |= {(name, "GCM") for name in CAMPAIGNS}
            (told,) = await receiver.wait_for(1, within=60)
            cause = _group(told)
            assert cause["data"]["cause"]["dimensions"] == {"channel_type": "GCM"}
            assert {each["campaign_id"] for each in cause["data"]["alerts"]} <= set(CAMPAIGNS)

            # A worker that is killed in the middle of it changes nothing; every campaign is found.
            await asyncio.to_thread(workers[0].kill)
            workers[0].start()
            await workers[0].ready()
            group_id = cause["data"]["group_id"]
            await until(lambda: _are_in(workers[1], group_id, len(CAMPAIGNS)))
            traffic.broken.clear()
            ended = await _resolved(receiver)
            assert ended["data"]["group_id"] == group_id
            assert ended["data"]["counts"]["joined"] == len(CAMPAIGNS)
            assert {each.value["type"].split(".")[1] for each in receiver.arrivals} == {"group"}
            assert len(receiver.arrivals) <= 4

            # One by itself.
            before = len(receiver.arrivals)
            traffic.broken.add((CAMPAIGNS[4], "GCM"))
            *_, alone = await receiver.wait_for(before + 1, within=60)
            assert alone.value["type"] == FIRING
            assert alone.value["data"]["campaign_id"] == CAMPAIGNS[4]
            decided = datetime.fromisoformat(alone.value["timestamp"]).timestamp()
            assert int(alone.headers["webhook-timestamp"]) - decided < 3
            traffic.broken.clear()
            *_, over = await receiver.wait_for(before + 2, within=60)
            assert over.value["type"] == RESOLVED
            assert len(receiver.arrivals) == before + 2


def _group(told: Arrival) -> Any:
    assert told.value["type"] == GROUP_FIRING, told.value
    jsonschema.validate(told.value, json_schema())
    return told.value


async def _are_in(worker: WorkerProcess, group_id: str, number: int) -> bool:
    found = (await worker.json(f"/v1/alerts?group_id={group_id}"))["alerts"]
    assert all(each["group_id"] == group_id for each in found)
    return len(found) == number == len(await firing(worker))


async def _resolved(receiver: Collector) -> Any:
    async def is_over() -> bool:
        return any(each.value["type"] == GROUP_RESOLVED for each in receiver.arrivals)

    await until(is_over, within=60)
    (ended,) = (each.value for each in receiver.arrivals if each.value["type"] == GROUP_RESOLVED)
    return ended
