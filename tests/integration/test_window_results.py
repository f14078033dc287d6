"""`campaign-windows`: each closed window and each correction once, whatever ends the worker."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.comparing import ALL, count_topic, counted
from tests.support.mixture import SourceRecord, send_event
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.waiting import until
from tests.support.window_ledger import WindowLedger, WindowName
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
CAMPAIGNS = 60
PLACES = 12
"""Campaigns that a task keeps apart: fewer than there are, so some are in `__other__`."""
ROUNDS = 6


def records(number: int) -> list[SourceRecord]:
    """Events of now and of a while ago, of every campaign."""
    now = int(time.time() * 1000)
    made = []
    for n in range(CAMPAIGNS):
        statuses = ["SUCCESS", "FAILURE", "EXPIRED"] if n % 2 else ["THROTTLED", "SUCCESS"]
        times = [now, now - 60_000] if (n + number) % 3 == 0 else [now]
        made += [
            SourceRecord(
                (n + at) % SOURCES,
                None,
                orjson.dumps(send_event(f"c/{n}", at, status, app_id=f"app-{n}")),
            )
            for at in times
            for status in statuses
        ]
    return made


async def windows_of(worker: WorkerProcess) -> dict[WindowName, Any]:
    """All windows of all campaigns, as the API has them."""
    rows = (await worker.json(f"/v1/campaigns?{ALL}"))["campaigns"]
    found: dict[WindowName, Any] = {}
    for row in rows:
        name = row["campaign_id"]
        answer = await worker.json(f"/v1/campaigns/{quote(name, safe='')}/windows")
        assert not answer["partial"]
        found |= {WindowName(name, each["start"], each["end"]): each for each in answer["windows"]}
    return found


async def ledger_of(broker: RunningBroker, settings: Settings) -> WindowLedger:
    committed = broker.guarantee == "exactly-once"
    ledger = WindowLedger()
    for record in await read_topic(
        broker.address, settings["topics"]["windows"], committed=committed
    ):
        ledger.take(record)
    return ledger


@pytest.mark.parametrize("keyed", [False, True])
async def test_each_closed_window_and_each_correction_has_one_result(
    broker: RunningBroker, unique: str, new_worker: NewWorker, keyed: bool
) -> None:
    settings = settings_for(
        broker,
        unique,
        topics={"windows": f"{unique}-windows"},
        source={"keyed": keyed},
        windows={"size": 2, "grace": 1, "retention": 3_600, "idle_timeout": 3},
        limits={"campaigns": PLACES},
    )
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    worker = await new_worker(settings).ready()
    async with Sender(broker.address, topic) as sender:
        for number in range(ROUNDS):
            for _ in range(4):
                await sender.send(records(number))
                await asyncio.sleep(0.7)
            # Without transactions a crash may write a record twice.
            if broker.guarantee == "exactly-once":
                worker.kill()
            else:
                assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
    await worker.ready()
    oracle = await count_topic(broker.address, settings)
    await counted(worker, oracle.total)
    differences: list[str] = []

    async def all_closed() -> bool:
        nonlocal differences
        windows = await windows_of(worker)
        ledger = await ledger_of(broker, settings)
        compared = [ledger.difference(name, window) for name, window in windows.items()]
        differences = [each for each in compared if each is not None]
        return not differences and {each["state"] for each in windows.values()} == {"closed"}

    try:
        await until(all_closed)
    except AssertionError:
        raise AssertionError(differences[:5], worker.log[-2000:]) from None
    before = (await ledger_of(broker, settings)).records
    await asyncio.sleep(3.0)
    ledger = await ledger_of(broker, settings)
    assert ledger.records == before, "nothing has changed"
    windows = await windows_of(worker)
    assert ledger.names() == windows.keys()
    assert ledger.problems() == []
    campaigns = {name.campaign_id for name in ledger.names()}
    assert "__other__" in campaigns
    assert len(campaigns) > PLACES, "a task keeps so many apart"
    assert any(each["late_events"] for each in windows.values())
    assert sum(_events(each) for each in windows.values()) == oracle.total


def _events(window: Any) -> int:
    events: int = sum([*window["counts"].values(), *window["engagement"].values()])
    return events


async def test_without_a_name_there_is_no_topic_and_no_result(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """And the schema is published all the same, so that consumers can be written first."""
    worker = await new_worker(settings_for(broker, unique)).ready()
    schema = await worker.json("/v1/schemas/window-result")
    assert schema["title"] == "campaign-streams window result"
    assert "windows" not in worker.log
