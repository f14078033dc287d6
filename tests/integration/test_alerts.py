"""An incident is told once, goes on over a restart, and its end is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import orjson

from streams.domain.partial_counts import partition_of
from streams.domain.transitions import json_schema
from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, send_event
from tests.support.receiver import SECRET, Collector
from tests.support.topics import Sender, ensure_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
PARTITIONS = 4
FIRING, RESOLVED = "campaign.alert.firing", "campaign.alert.resolved"


class Traffic:
    """Sends of one campaign, now, of which a share fails."""

    def __init__(self, campaign_id: str) -> None:
        self.campaign_id = campaign_id
        self.failing = 0.0
        self.silent = False

    def records(self, count: int = 40) -> list[SourceRecord]:
        if self.silent:
            return []
        now = int(time.time() * 1000)
        statuses = ["FAILURE" if n < count * self.failing else "SUCCESS" for n in range(count)]
        return [
            SourceRecord(n % SOURCES, None, orjson.dumps(send_event(self.campaign_id, now, status)))
            for n, status in enumerate(statuses)
        ]


@asynccontextmanager
async def going_on(address: str, topic: str, *traffic: Traffic) -> AsyncIterator[None]:
    """Keep sending."""
    await ensure_topic(address, topic, SOURCES)

    async def send() -> None:
        async with Sender(address, topic) as sender:
            while True:
                for each in traffic:
                    if records := each.records():
                        await sender.send(records)
                await asyncio.sleep(0.05)

    running = asyncio.create_task(send())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


THRESHOLD = {"kind": "threshold", "level": 0.2, "recovery_level": 0.1, "min_attempts": 30}


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
        receivers=[{"name": "ops", "url": receiver, "secrets": [SECRET], "group_by": "none"}],
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


async def test_an_objective_is_used_up_too_fast(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """Three in ten fail where one in twenty may: six times as fast as is allowed."""
    burning, sound = Traffic("burning"), Traffic("sound")
    burning.failing, sound.failing = 0.3, 0.05
    async with Collector() as receiver:
        detector = {
            "kind": "burn-rate",
            "objective": 0.05,
            "long_windows": 5,
            "long_factor": 4.0,
            "short_windows": 2,
        }
        settings = settings_of(broker, unique, receiver.url, detector)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], burning, sound):
            await worker.ready()
            (told,) = await receiver.wait_for(1, within=90)
            assert told.value["type"] == FIRING
            burning.failing = 0.05
            _, ended = await receiver.wait_for(2, within=90)
        assert ended.value["type"] == RESOLVED
        written = await transitions(broker, settings)
        assert [value["data"]["campaign_id"] for value in written] == ["burning"] * 2
        figures = told.value["data"]["evidence"]["figures"]
        assert figures["objective"] == 0.05
        assert min(figures["burn_rate"], figures["short_burn_rate"]) > 4
        assert ended.value["data"]["evidence"]["figures"]["burn_rate"] <= 2


async def test_a_campaign_stalls_while_another_one_goes_on(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """The one that goes on is in another partition: nothing but event time comes to this one."""
    stalling, sound = Traffic("stalling"), Traffic("sound")
    assert partition_of("stalling", PARTITIONS) != partition_of("sound", PARTITIONS)
    async with Collector() as receiver:
        detector = {"kind": "volume", "stalled_windows": 3, "active_windows": 1}
        settings = settings_of(broker, unique, receiver.url, detector)
        settings["topics"]["partitions"] = PARTITIONS
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], stalling, sound):
            await worker.ready()
            await until(lambda: _has_counts(worker, "stalling"))
            await _new_window(worker, "stalling")
            stalling.silent = True
            (told,) = await receiver.wait_for(1, within=90)
            assert (told.value["type"], told.value["data"]["sequence"]) == (FIRING, 1)
            evidence = told.value["data"]["evidence"]
            assert (evidence["attempts"], evidence["counts"]) == (0, {})
            assert evidence["figures"]["silent_windows"] >= 3
            assert "no attempts since" in told.value["data"]["summary"]

            # Neither a restart nor more silence tells it again.
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            await _new_window(worker, "sound")
            (alert,) = await firing(worker)
            assert alert["alert_id"] == told.value["data"]["alert_id"]

            stalling.silent = False
            _, ended = await receiver.wait_for(2, within=90)
        assert (ended.value["type"], ended.value["data"]["sequence"]) == (RESOLVED, 2)
        assert ended.value["data"]["evidence"]["attempts"] > 0
        written = await transitions(broker, settings)
        assert [value["data"]["campaign_id"] for value in written] == ["stalling"] * 2


class PartlyBroken(Traffic):
    """Of the sends by SMS a share fails, and of the others none; all have an address."""

    def records(self, count: int = 40) -> list[SourceRecord]:
        now = int(time.time() * 1000)
        records = []
        for n in range(count):
            by_sms, failing = n % 2 == 1, n < count * self.failing
            status = "CUSTOM_DELIVERY_FAILURE" if by_sms and failing else "SUCCESS"
            channel = "SMS" if by_sms else "GCM"
            event = send_event(self.campaign_id, now, status, delivery_type=channel)
            event["attributes"] |= {"reason": "jane@example.com bounced", "to": "+1 555 010 9999"}
            records.append(SourceRecord(n % SOURCES, None, orjson.dumps(event)))
        return records


async def test_a_webhook_says_what_explains_the_alert(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    broken = PartlyBroken("partly")
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], broken):
            await worker.ready()
            await until(lambda: _has_counts(worker, "partly"))
            await _new_window(worker, "partly")
            broken.failing = 1.0
            (told,) = await receiver.wait_for(1, within=90)
            # It is still so after a restart.
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            (alert,) = await firing(worker)
    explanation = told.value["data"]["explanation"]
    assert explanation["slice"]["dimensions"] == {"channel_type": "SMS"}
    assert explanation["slice"]["share"] == 1.0
    assert explanation["slice"]["hits"] == explanation["hits"] > 0
    assert [each["status"] for each in explanation["statuses"]] == ["CUSTOM_DELIVERY_FAILURE"]
    assert "of the excess is channel SMS" in told.value["data"]["summary"]
    assert explanation["samples"]
    for sample in explanation["samples"]:
        assert sample["attributes.campaign_send_status"] == "CUSTOM_DELIVERY_FAILURE"
        assert sample["attributes.reason"] == "[redacted] bounced"
        assert b"555" not in orjson.dumps(sample)
    assert alert["explanation"]["samples"]
    assert alert["explanation"]["slice"]["dimensions"] == {"channel_type": "SMS"}


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
    deliveries = (await worker.json("/v1/deliveries"))["deliveries"]
    return all(each["state"] == "delivered" for each in deliveries)
