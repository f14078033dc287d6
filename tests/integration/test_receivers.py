"""What a receiver answers holds for all that is sent to it, also over a restart of the worker."""

import asyncio
import time

import orjson

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.cloudevents import event_of
from tests.support.hostile import FLOODS, raw_server
from tests.support.http import request
from tests.support.mixture import SourceRecord, send_event
from tests.support.receiver import SECRET, Collector, status
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for


def settings_of(
    broker: RunningBroker, prefix: str, delivery: Settings | None = None, **urls: str
) -> Settings:
    """A receiver for each URL; `delivery` has keys beside those that all tests need."""
    needed = {"allow_http": True, "allow_networks": ["127.0.0.0/8"], "retry_schedule": ["1s"]}
    return settings_for(
        broker,
        prefix,
        receivers=[
            {"name": name, "url": url, "secrets": [SECRET], "group_by": "none"}
            for name, url in urls.items()
        ],
        delivery={**needed, **(delivery or {})},
    )


async def fail(broker: RunningBroker, settings: Settings, *campaigns: str) -> None:
    """Let every send of some campaigns fail, enough for an alert of each."""
    now = int(time.time() * 1000)
    async with Sender(broker.address, settings["topics"]["source"]) as sender:
        await sender.send(
            SourceRecord(0, None, orjson.dumps(send_event(name, now, "FAILURE")))
            for name in campaigns
            for _ in range(100)
        )


async def delivered_to(worker: WorkerProcess, name: str) -> dict[str, int]:
    """How many deliveries to a receiver are in each state."""
    answer = await worker.json(f"/v1/deliveries?receiver={name}")
    states = [each["state"] for each in answer["deliveries"]]
    return {state: states.count(state) for state in states}


async def attempts_at(worker: WorkerProcess, name: str) -> list[list[tuple[str, int]]]:
    """The result and the status of each attempt at each delivery to a receiver."""
    answer = await worker.json(f"/v1/deliveries?receiver={name}")
    found = [
        (await worker.json(f"/v1/deliveries/{each['delivery_id']}"))["delivery"]
        for each in answer["deliveries"]
    ]
    return [[(made["result"], made["status"]) for made in each["history"]] for each in found]


async def state_of(worker: WorkerProcess, name: str) -> str:
    receivers = (await worker.json("/v1/receivers"))["receivers"]
    (state,) = [each["state"] for each in receivers if each["name"] == name]
    return str(state)


async def test_gone_is_remembered_and_can_be_lifted(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    async with Collector(status(410)) as receiver, Collector() as other:
        settings = settings_of(broker, unique, ops=receiver.url, other=other.url)
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, "a")
        await other.wait_for(1)

        async def disabled() -> bool:
            return await state_of(worker, "ops") == "disabled"

        await until(disabled)
        assert await asyncio.to_thread(worker.stop) == 0
        worker.start()
        await worker.ready()
        assert await disabled()
        await fail(broker, settings, "b", "c", "d")
        await other.wait_for(4)

        async def given_up() -> bool:
            return await delivered_to(worker, "ops") == {"given-up": 4}

        await until(given_up)
        assert len(receiver.arrivals) == 1

        answer = await request(worker.port, "/v1/receivers/ops/enable", method="POST")
        assert answer.json["receiver"]["state"] == "enabled"
        target = "/v1/receivers/ops/replay"
        dry = await request(worker.port, f"{target}?dry_run=true", method="POST")
        assert (dry.json["matched"], dry.json["replayed"]) == (4, 0)
        answer = await request(worker.port, target, method="POST")
        assert answer.json["replayed"] == 4
        await receiver.wait_for(5)

        async def delivered() -> bool:
            return await delivered_to(worker, "ops") == {"delivered": 4}

        await until(delivered)
        assert await asyncio.to_thread(worker.stop) == 0
        worker.start()
        await worker.ready()
        assert sorted(await attempts_at(worker, "ops")) == [
            [("delivered", 204)],
            [("delivered", 204)],
            [("delivered", 204)],
            [("disabled", 410), ("delivered", 204)],
        ]
        assert await asyncio.to_thread(worker.stop) == 0


async def test_peace_is_kept_for_all_alerts_and_over_a_restart(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    async with Collector(status(502, Retry_After="3600")) as receiver, Collector() as other:
        settings = settings_of(broker, unique, ops=receiver.url, other=other.url)
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, "a")
        await receiver.wait_for(1)

        async def paused() -> bool:
            return await state_of(worker, "ops") == "paused"

        await until(paused)
        await fail(broker, settings, "b", "c", "d")
        await other.wait_for(4)
        assert await asyncio.to_thread(worker.stop) == 0
        worker.start()
        await worker.ready()
        assert await paused()
        await fail(broker, settings, "e", "f")
        await other.wait_for(6)
        assert await delivered_to(worker, "ops") == {"pending": 6}
        assert len(receiver.arrivals) == 1

        await request(worker.port, "/v1/receivers/ops/enable", method="POST")
        # The first one has its own next attempt, as late as it was told.
        await receiver.wait_for(6)
        assert await asyncio.to_thread(worker.stop) == 0


async def test_who_fails_is_probed_told_of_and_gets_everything_over_a_restart(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    campaigns = [f"c{n}" for n in range(12)]
    delivery = {
        "circuit": {"failures": 3, "wait": "1s", "longest_wait": "1s"},
        "retry_schedule": ["1h", "1h"],
        "tell": "other",
    }
    async with Collector() as receiver, Collector() as other:
        receiver.always = status(503, "no room")
        settings = settings_of(broker, unique, delivery, ops=receiver.url, other=other.url)
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, *campaigns)

        def told() -> list[str]:
            types = [str(each.value["type"]) for each in other.arrivals]
            return [each for each in types if each.startswith("receiver.")]

        await other.wait_until(lambda: told() == ["receiver.failing"])
        assert await state_of(worker, "ops") == "failing"
        assert await asyncio.to_thread(worker.stop) == 0
        worker.start()
        await worker.ready()
        assert await state_of(worker, "ops") == "failing"
        receiver.always = None

        async def delivered() -> bool:
            return await delivered_to(worker, "ops") == {"delivered": len(campaigns)}

        # Long before an hour has passed.
        await until(delivered)
        await other.wait_until(lambda: told() == ["receiver.failing", "receiver.recovered"])
        assert await state_of(worker, "ops") == "enabled"
        metrics = (await worker.ask("/metrics")).body.decode()
        name = "campaign_streams_receiver_changes_total"
        assert f'{name}{{change="recovered",receiver="ops"}} 1.0' in metrics
        assert await asyncio.to_thread(worker.stop) == 0


async def test_floods_keep_no_other_receiver_from_its_alerts(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    campaigns = [f"c{n}" for n in range(20)]
    async with (
        Collector() as good,
        raw_server(FLOODS["100 Continue"]) as flood,
        raw_server(FLOODS["dripping"]) as drip,
    ):
        settings = settings_of(broker, unique, flood=flood, drip=drip, good=good.url)
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, *campaigns)
        arrivals = await good.wait_for(len(campaigns))
        assert {each.value["data"]["campaign_id"] for each in arrivals} == set(campaigns)
        assert (await worker.ask("/livez")).status == 200
        assert await asyncio.to_thread(worker.stop) == 0


async def test_cloudevents_come_out(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """In both modes, again with the same bytes where the first attempt failed; and as a webhook."""
    async with (
        Collector(status(503), check=event_of) as structured,
        Collector(status(503), check=event_of) as binary,
        Collector() as webhook,
    ):
        settings = settings_of(broker, unique, ops=webhook.url)
        events = {"kind": "cloudevents", "source": "https://streams.example/", "token": "s3cret"}
        settings["receivers"] += [
            {**events, "name": "structured", "url": structured.url},
            {**events, "name": "binary", "url": binary.url, "mode": "binary"},
        ]
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, "sale/ü %")
        (arrival,) = await webhook.wait_for(1)
        for collector in (structured, binary):
            first, again = await collector.wait_for(2)
            assert (first.headers, first.body) == (again.headers, again.body)
            assert again.headers["authorization"] == "Bearer s3cret"
            assert event_of(again.headers, again.body) == {
                "specversion": "1.0",
                "id": arrival.webhook_id,
                "source": "https://streams.example/",
                "type": "campaign.alert.firing",
                "time": arrival.value["timestamp"],
                "subject": "sale%2F%C3%BC%20%25",
                "datacontenttype": "application/json",
                "data": arrival.value["data"],
            }
        assert structured.arrivals[0].headers["content-type"] == "application/cloudevents+json"
        attempts = 'campaign_streams_webhook_attempts_total{kind="cloudevents"'

        async def counted() -> bool:
            samples = (await worker.metrics()).items()
            of_kind = {name: n for name, n in samples if name.startswith(attempts)}
            results = [
                sum(n for name, n in of_kind.items() if f'result="{result}"' in name)
                for result in ("status", "delivered")
            ]
            return results == [2, 2]

        await until(counted)
        assert "s3cret" not in worker.log
        assert await asyncio.to_thread(worker.stop) == 0
