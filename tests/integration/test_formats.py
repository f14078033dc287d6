"""Events of another format than the product's own: bytes in, counts and an alert out."""

import time
from typing import Any

import orjson

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import transitions
from tests.support import flat_format
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord
from tests.support.receiver import SECRET, Collector
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import settings_for

DELIVERED, BOUNCED = 700, 300


def record(**fields: Any) -> SourceRecord:
    sent = {"campaign": "c", "at": int(time.time() * 1000), "tenant": "shop", "via": "sms"}
    return SourceRecord(0, None, orjson.dumps({**sent, **fields}))


async def test_a_second_format_is_counted_and_raises_an_alert(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    async with Collector() as receiver:
        settings = settings_for(
            broker,
            unique,
            source={"format": "flat"},
            windows={"size": 3600},
            receivers=[{"name": "ops", "url": receiver.url, "secrets": [SECRET]}],
            delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        )
        topics = settings["topics"]
        await create_topic(broker.address, topics["source"], 1)
        worker = new_worker(settings, module=flat_format.MODULE)
        await worker.ready()
        async with Sender(broker.address, topics["source"]) as sender:
            await sender.send([record(result="delivered")] * DELIVERED)
            await sender.send([record(result="bounced", variant="b")] * BOUNCED)
            await sender.send([record(campaign="")])
        (told,) = await receiver.wait_for(1, within=90)

        async def all_counted() -> bool:
            answer = await worker.ask("/v1/campaigns/c/windows?by=treatment_id")
            return answer.status == 200 and (
                sum(window["attempts"] for window in answer.json["windows"]) == DELIVERED + BOUNCED
            )

        await until(all_counted)
        answer = await worker.json("/v1/campaigns/c/windows?by=channel_type")
        dead = await read_topic(broker.address, topics["dead_letter"])
        (written,) = await transitions(broker, settings)
    data = told.value["data"]
    # Which statuses are failures is the format's own: the configuration names no group.
    assert (data["rule"], data["campaign_id"], data["app_id"]) == ("failure-spike", "c", "shop")
    assert "bounced" in data["evidence"]["counts"]
    assert written["data"] == data
    counts: dict[str, int] = {}
    for window in answer["windows"]:
        assert [group["channel_type"] for group in window["groups"]] == ["sms"]
        for status, count in window["counts"].items():
            counts[status] = counts.get(status, 0) + count
    assert counts == {"delivered": DELIVERED, "bounced": BOUNCED}
    (letter,) = dead
    headers = dict(letter.headers)
    assert (headers["reason"], headers["detail"]) == (b"missing-field", b"campaign")
