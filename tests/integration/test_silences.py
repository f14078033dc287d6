"""A silenced alert changes state and is not told; once nothing silences it, it is told."""

import asyncio
import time
from typing import Any

import pytest

from streams.domain.transitions import rfc3339
from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import (
    FIRING,
    RESOLVED,
    Traffic,
    firing,
    going_on,
    settings_of,
    transitions,
)
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.receiver import Collector
from tests.support.topics import read_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess


async def silence(worker: WorkerProcess, *matchers: str, lasts: float = 600.0) -> str:
    """Make a silence from now on; return its id."""
    answer = await worker.post(
        "/v1/silences",
        {
            "matchers": list(matchers),
            "created_by": "anna",
            "comment": "new certificate",
            "ends_at": rfc3339(time.time() + lasts),
        },
    )
    assert answer.status == 201, answer.body
    made: str = answer.json["silence"]["silence_id"]
    return made


async def end(worker: WorkerProcess, silence_id: str) -> None:
    answer = await worker.delete(f"/v1/silences/{silence_id}?ended_by=anna")
    assert (answer.status, answer.json["silence"]["state"]) == (200, "expired"), answer.body


async def known(worker: WorkerProcess) -> list[str]:
    found = (await worker.json("/v1/silences?state=active"))["silences"]
    return [each["silence_id"] for each in found]


async def test_told_once_the_silence_ends(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    broken, other = Traffic("a/b 100%"), Traffic("other")
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], broken, other):
            await worker.ready()
            silence_id = await silence(worker, 'campaign_id="a/b 100%"', "team=sending")
            broken.failing = other.failing = 0.5
            (told,) = await receiver.wait_for(1, within=90)
            assert told.value["data"]["campaign_id"] == "other"
            await until(lambda: _fire(worker, 2))

            # A restart: the silence is known before anything is decided.
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            assert await known(worker) == [silence_id]
            await asyncio.sleep(2)
            assert len(receiver.arrivals) == 1
            (held,) = [a for a in await firing(worker) if a["campaign_id"] == "a/b 100%"]
            assert [each["suppressed"]["reason"] for each in held["transitions"]] == ["silenced"]
            assert silence_id in held["transitions"][0]["suppressed"]["detail"]

            await end(worker, silence_id)
            _, late = await receiver.wait_for(2, within=90)
            assert (late.value["type"], late.value["data"]["alert_id"]) == (
                FIRING,
                held["alert_id"],
            )

            # Its end, while it is silenced once more, is not told.
            await silence(worker, 'campaign_id="a/b 100%"')
            broken.failing = other.failing = 0.0
            *_, ended = await receiver.wait_for(3, within=90)
            assert (ended.value["type"], ended.value["data"]["campaign_id"]) == (RESOLVED, "other")
            await until(lambda: _fire(worker, 0))
            await asyncio.sleep(2)
            assert len(receiver.arrivals) == 3
    written = await transitions(broker, settings)
    assert sorted(each["type"] for each in written) == [FIRING] * 3 + [RESOLVED] * 2
    records = await read_topic(broker.address, settings["topics"]["silences"], committed=False)
    assert len(records) == 3


async def _fire(worker: WorkerProcess, number: int) -> bool:
    return len(await firing(worker)) == number


async def test_every_worker_knows(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_of(broker, unique, "http://127.0.0.1:9/")
    workers = [new_worker(settings, name) for name in ("a", "b", "c")]
    async with going_on(broker.address, settings["topics"]["source"], Traffic("sound")):
        for worker in workers:
            await worker.ready()
        made: list[str] = []
        for n in range(9):
            made.append(await silence(workers[n % 3], f"campaign_id=c{n}"))
            await until(lambda: _all_know(workers, made))
        for worker, silence_id in zip(workers, made[:3], strict=True):
            await end(worker, silence_id)
        await until(lambda: _all_know(workers, made[3:]))


async def _all_know(workers: list[WorkerProcess], made: list[str]) -> bool:
    found: list[Any] = await asyncio.gather(*(known(each) for each in workers))
    return all(sorted(each) == sorted(made) for each in found)


@pytest.mark.kafka
async def test_a_silence_made_while_the_brokers_are_away_is_not_promised(
    own_kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", own_kafka.address)
    settings = settings_of(broker, unique, "http://127.0.0.1:9/")
    worker = new_worker(settings)
    await worker.ready()
    before = await silence(worker, "campaign_id=before")
    await asyncio.to_thread(own_kafka.stop)
    answer = await worker.post(
        "/v1/silences",
        {
            "matchers": ["campaign_id=meanwhile"],
            "created_by": "anna",
            "comment": "new certificate",
            "ends_at": rfc3339(time.time() + 600),
        },
    )
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert settings["topics"]["silences"] in answer.json["detail"]
    assert await known(worker) == [before]
    await asyncio.to_thread(own_kafka.start)
    await worker.ready()
    after = await silence(worker, "campaign_id=after")
    assert {before, after} <= set(await known(worker))
