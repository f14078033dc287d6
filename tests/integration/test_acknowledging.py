"""Alerts are acknowledged by any worker, once, and what was answered outlives kill -9."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, going_on, settings_of, transitions
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.http import request
from tests.support.receiver import Collector
from tests.support.waiting import until
from tests.support.workers import WorkerProcess

CAMPAIGNS = 12
KILLS = 4


async def firing(worker: WorkerProcess) -> list[Any]:
    try:
        answer = await worker.ask("/v1/alerts?state=firing")
    except (OSError, TimeoutError, IndexError):
        return []
    return answer.json["alerts"] if answer.status == 200 else []


async def acknowledge(workers: list[WorkerProcess], alert_id: str, by: str) -> str:
    """Ask any worker until one answers; return who has acknowledged it, by the answer."""
    target = f"/v1/alerts/{alert_id}/acknowledge?by={by}"
    while True:
        worker = random.choice(workers)  # noqa: S311 - any
        try:
            answer = await request(worker.port, target, method="POST")
        except (OSError, TimeoutError, IndexError):
            await asyncio.sleep(0.2)
            continue
        if answer.status == 200:
            name: str = answer.json["alert"]["acknowledged"]["by"]
            return name
        assert answer.status == 503, answer.body
        await asyncio.sleep(0.2)


@pytest.mark.kafka
async def test_what_was_answered_outlives_kills(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broken = [Traffic(f"c{n}") for n in range(CAMPAIGNS)]
    for each in broken:
        each.failing = 0.5
    async with Collector() as receiver:
        settings = settings_of(RunningBroker("kafka", kafka.address), unique, receiver.url)
        settings["kafka"]["session_timeout"] = 6
        workers = [new_worker(settings, name) for name in ("one", "other")]
        async with going_on(kafka.address, settings["topics"]["source"], *broken):
            for worker in workers:
                await worker.ready()

            async def all_fire() -> bool:
                return len(await firing(workers[0])) == CAMPAIGNS

            # What a receiver has is committed; what a worker says may not be.
            told = await receiver.wait_for(CAMPAIGNS, within=90)
            alerts = sorted({each.value["data"]["alert_id"] for each in told})
            assert len(alerts) == CAMPAIGNS
            # Two people ask for each alert at the same time, of any worker.
            asking = [
                asyncio.create_task(acknowledge(workers, alert_id, f"{person}-{n}"))
                for n, alert_id in enumerate(alerts)
                for person in ("ana", "ben")
            ]
            for kill in range(KILLS):
                await asyncio.sleep(0.3)
                victim = workers[kill % 2]
                victim.kill()
                victim.start()
            answers = await asyncio.wait_for(asyncio.gather(*asking), 120)
            for worker in workers:
                await worker.ready()
            await until(all_fire)
            shown = {each["alert_id"]: each for each in await firing(workers[1])}
        for at, alert_id in enumerate(alerts):
            first, second = answers[2 * at : 2 * at + 2]
            assert first == second == shown[alert_id]["acknowledged"]["by"]
        for worker in workers:
            assert await asyncio.to_thread(worker.stop) == 0
        written = await transitions(RunningBroker("kafka", kafka.address), settings)
    decided = Counter((each["data"]["alert_id"], each["type"]) for each in written)
    for alert_id in alerts:
        assert decided[alert_id, "campaign.alert.acknowledged"] == 1
        assert decided[alert_id, "campaign.alert.firing"] == 1
    types = {each.value["type"] for each in receiver.arrivals}
    assert types == {"campaign.alert.firing"}, "a webhook has no notion of acknowledgements"
