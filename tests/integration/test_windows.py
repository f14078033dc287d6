"""Windows over time: events out of all time, late ones, and the end of a window."""

import time
from typing import Any

import orjson

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.comparing import assert_counts, assert_put_aside, count_topic, counted
from tests.support.mixture import (
    YEAR_1970_MS,
    YEAR_2099_MS,
    SourceRecord,
    send_event,
)
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 2


def sends(campaign_id: str, seconds: float, times: int = 1) -> list[SourceRecord]:
    """Successes of one campaign at one time, in every source partition."""
    value = orjson.dumps(send_event(campaign_id, int(seconds * 1000), "SUCCESS"))
    return [SourceRecord(p, None, value) for p in range(SOURCES) for _ in range(times)]


async def windows_of(worker: WorkerProcess, campaign_id: str) -> list[Any]:
    """A campaign's windows; none for an unknown campaign."""
    answer = await worker.ask(f"/v1/campaigns/{campaign_id}/windows")
    if answer.status == 404:
        return []
    assert answer.status == 200, answer.body
    windows: list[Any] = answer.json["windows"]
    return windows


async def states_are(worker: WorkerProcess, campaign_id: str, states: list[str]) -> None:
    """Wait until a campaign's windows are in these states, oldest first."""

    async def are() -> bool:
        return [w["state"] for w in await windows_of(worker, campaign_id)] == states

    await until(are)


async def test_no_window_closes_for_an_event_out_of_time(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(broker, unique)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    now = int(time.time())
    worker = await new_worker(settings).ready()
    async with Sender(broker.address, topic) as sender:
        await sender.send(sends("present", now, 10))
        for year in (YEAR_2099_MS, YEAR_1970_MS):
            await sender.send(sends("absent", year / 1000))
        # Ahead, but by less than what is allowed: counted, and moves nothing.
        await sender.send(sends("ahead", now + 200))
        await sender.send(sends("present", now - 20, 10))
    oracle = await count_topic(broker.address, settings)
    await counted(worker, oracle.total)
    assert await assert_counts(worker, oracle) == 0
    await assert_put_aside(broker.address, settings, oracle)
    assert sorted(oracle.refused.values()) == ["impossible-time"] * 2 * SOURCES
    assert {w["state"] for w in await windows_of(worker, "present")} == {"open"}
    assert (await worker.ask("/v1/campaigns/absent")).status == 404


async def test_late_events_correct_a_closed_window(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(broker, unique)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    now = int(time.time()) // 60 * 60
    worker = await new_worker(settings).ready()
    async with Sender(broker.address, topic) as sender:
        await sender.send(sends("summer", now - 600, 5))
        # Enough campaigns that every partition of counts hears of every source partition.
        for n in range(20):
            await sender.send(sends(f"other-{n}", now - 30))
        await states_are(worker, "summer", ["closed"])
        await sender.send(sends("summer", now - 590, 3))
    oracle = await count_topic(broker.address, settings)
    await counted(worker, oracle.total)
    assert await assert_counts(worker, oracle) == 3 * SOURCES
    (window,) = await windows_of(worker, "summer")
    assert window["counts"] == {"SUCCESS": 8 * SOURCES}
    assert window["late_events"] == 3 * SOURCES


async def test_late_and_expired_events_are_told_apart(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    windows = {"size": 1, "grace": 1, "retention": 60, "idle_timeout": 2}
    settings = settings_for(broker, unique, windows=windows)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    now = int(time.time())
    worker = await new_worker(settings).ready()

    def sends_in(
        partition: int, campaign_id: str, seconds: float, times: int
    ) -> list[SourceRecord]:
        every = sends(campaign_id, seconds, times)
        return [record for record in every if record.partition == partition]

    async def sample(name: str) -> float:
        return (await worker.metrics()).get(f"campaign_streams_{name}", 0.0)

    async def all_are_told() -> bool:
        return await sample("expired_events_total") + await sample("late_events_total") == 3 + 4

    async with Sender(broker.address, topic) as sender:
        # Source partition 1 is silent, so event time is that of partition 0.
        await sender.send(sends_in(0, "late", now - 100, 2))
        for n in range(20):
            await sender.send(sends_in(0, f"other-{n}", now - 90, 1))
        await states_are(worker, "late", ["closed"])
        await sender.send(sends_in(0, "late", now - 100, 3))
        for n in range(20):
            await sender.send(sends_in(0, f"other-{n}", now - 10, 1))
        await states_are(worker, "late", [])
        # Older than what is retained: at its own source partition, and at the task alone.
        await sender.send(sends_in(0, "late", now - 100, 1))
        await sender.send(sends_in(1, "late", now - 100, 4))
    await until(all_are_told)
    assert await sample("late_events_total") == 3
    assert await sample("expired_events_total") == 4
    assert await sample('dead_letters_total{reason="expired"}') == 1
    assert await sample('events_total{kind="send",outcome="counted"}') == 2 + 20 + 3 + 20 + 4


async def last_values(broker: RunningBroker, settings: Settings) -> dict[bytes, bytes | None]:
    """The last value of each key of the changelog topic."""
    committed = broker.guarantee == "exactly-once"
    records = await read_topic(broker.address, settings["topics"]["changelog"], committed=committed)
    return {record.key or b"": record.value for record in records}


def pages_of(values: dict[bytes, bytes | None], campaign_id: str) -> list[bytes]:
    """The keys of buckets that have counts of a campaign."""
    return [
        key
        for key, value in values.items()
        if orjson.loads(key)[0] == "bucket" and value and campaign_id.encode() in value
    ]


async def test_expired_window_is_gone(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    windows = {"size": 1, "grace": 1, "retention": 2, "idle_timeout": 3600}
    settings = settings_for(broker, unique, windows=windows)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    now = int(time.time())
    worker = await new_worker(settings).ready()

    pages: list[bytes] = []

    async def written() -> bool:
        pages[:] = pages_of(await last_values(broker, settings), "brief")
        return bool(pages)

    async def erased() -> bool:
        values = await last_values(broker, settings)
        return {values[page] for page in pages} == {None}

    async with Sender(broker.address, topic) as sender:
        await sender.send(sends("brief", now - 100, 4))
        await states_are(worker, "brief", ["open"])
        # Its window closes, and is kept.
        await sender.send(sends("brief", now - 97, 4))
        await until(written)
        for n in range(20):
            await sender.send(sends(f"other-{n}", now - 10))
        await states_are(worker, "brief", [])
        # Older than what is retained: a dead letter.
        await sender.send(sends("brief", now - 90))
    oracle = await count_topic(broker.address, settings)
    assert sorted(oracle.refused.values()) == ["expired"] * SOURCES
    await assert_put_aside(broker.address, settings, oracle)
    await until(erased)
    for life in ("worker", "its next life"):
        assert (await worker.ask("/v1/campaigns/brief")).status == 404, life
        assert await cells_of(worker) == 20
        assert worker.stop() == 0
        worker.start()
        await worker.ready()


async def cells_of(worker: WorkerProcess) -> float:
    """How many windows of campaigns are kept."""
    samples = await worker.metrics()
    return sum(v for name, v in samples.items() if name.startswith("campaign_streams_window_cells"))


async def test_many_long_names_stop_nothing(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """More of them at once than fit into one record of a broker."""
    settings = settings_for(broker, unique)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    now = time.time()
    names = [f"{n:04}" + "x" * 1000 for n in range(6_000)]
    async with Sender(broker.address, topic) as sender:
        await sender.send(record for name in names for record in sends(name, now))
        await sender.send(sends("short", now))
    worker = await new_worker(settings).ready()

    async def all_are_there() -> bool:
        assert "task lost" not in worker.log
        short = [w["attempts"] for w in await windows_of(worker, "short")]
        return await cells_of(worker) == len(names) + 1 and short == [SOURCES]

    await until(all_are_there)
