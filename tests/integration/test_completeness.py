"""Three workers, twelve partitions: each says all there is, or which partitions it misses."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

import orjson
import pytest

from streams.domain.transitions import rfc3339
from tests.integration.conftest import NewWorker
from tests.support.answered import LISTS, Truth, asked_all, whole_list
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.http import request
from tests.support.mixture import ODD_IDS, SourceRecord, send_event
from tests.support.receiver import SECRET, Collector
from tests.support.topics import Sender, create_topic
from tests.support.waiting import PATIENCE_S, until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
PARTITIONS = 12
WINDOW_S = 60
WINDOWS = 3
QUIET_S = 3.0
STATUSES = {"FAILURE": 12, "THROTTLED": 3}
Counts = dict[tuple[str, str], Counter[str]]
"""Events by status, by campaign and start of the window."""


def settings_of(broker: RunningBroker, prefix: str, receiver: str) -> Settings:
    settings = settings_for(
        broker,
        prefix,
        windows={"size": WINDOW_S, "grace": 30, "retention": 86_400, "idle_timeout": 3600},
        receivers=[
            {"name": "ops", "url": receiver, "secrets": [SECRET], "group_by": "none"},
            {
                "name": "pager",
                "url": receiver,
                "secrets": [SECRET],
                "group_by": ["rule"],
                "group_wait": "5s",
            },
        ],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )
    settings["topics"]["partitions"] = PARTITIONS
    return settings


def sent(campaigns: Sequence[str], first: int) -> tuple[list[SourceRecord], Counts]:
    """Return events in the windows from `first` (s) on, and what they come to."""
    records, counts = [], Counts()
    for window in range(WINDOWS):
        start = first + window * WINDOW_S
        for at, campaign_id in enumerate(campaigns):
            of_it = Counter({"SUCCESS": 20 + at, **(STATUSES if at % 3 == 0 else {})})
            counts[campaign_id, rfc3339(start)] = of_it
            for n, status in enumerate(of_it.elements()):
                at_ms = start * 1000 + WINDOW_S * 1000 * n // of_it.total()
                event = send_event(campaign_id, at_ms, status, treatment_id=str(n % 2))
                records.append(SourceRecord(n % SOURCES, None, orjson.dumps(event)))
    return records, counts


async def counted(worker: WorkerProcess, campaigns: Sequence[str]) -> Counts:
    found = Counts()
    for campaign_id in campaigns:
        answer = await worker.ask(f"/v1/campaigns/{quote(campaign_id, safe='')}/windows")
        for window in answer.json["windows"] if answer.status == 200 else ():
            found[campaign_id, window["start"]] = Counter(window["counts"])
    return found


async def told(worker: WorkerProcess) -> list[frozenset[str]]:
    """Return the ids of what goes on to come for a while: alerts, deliveries, groups."""
    return [
        frozenset((await whole_list(worker, replace(route, page=route.page and 1000))).items)
        for route in LISTS
        if not route.is_settled
    ]


async def settled(worker: WorkerProcess) -> None:
    """Return when alerts and deliveries have been the same for a while."""
    before: list[frozenset[str]] = []
    since = time.monotonic()

    async def is_quiet() -> bool:
        nonlocal before, since
        now = await told(worker)
        # A machine that is slow enough tells of alerts one by one, and there are no groups.
        if now != before or not all(now[:2]):
            before, since = now, time.monotonic()
        return time.monotonic() - since >= QUIET_S

    await until(is_quiet, within=2 * PATIENCE_S)


async def note(worker: WorkerProcess, campaigns: Sequence[str]) -> None:
    """Make silences and names, of which every worker knows all."""
    for campaign_id in campaigns:
        silence = {
            "matchers": ["campaign_id=nobody"],
            "created_by": "anna",
            "comment": campaign_id,
            "ends_at": rfc3339(time.time() + 3600),
        }
        assert (await worker.post("/v1/silences", silence)).status == 201
        target = f"/v1/campaigns/{quote(campaign_id, safe='')}/name"
        body = orjson.dumps({"name": f"Name of {campaign_id}"})
        assert (await request(worker.port, target, method="PUT", body=body)).status == 200


async def hold_while(
    truth: Truth, workers: Sequence[WorkerProcess], joining: WorkerProcess
) -> list[int]:
    """Ask workers, of which the last is joining, until each says everything.

    Returns:
        How many answers of each round were short, and said so.

    Raises:
        AssertionError: one was short in silence, or wrong.
    """
    short: list[int] = []

    async def round_of(worker: WorkerProcess) -> int:
        try:
            return await asked_all(worker, truth)
        except (OSError, IndexError, asyncio.IncompleteReadError):
            assert worker is joining, "a worker does not answer"
            return 1  # it does not listen yet

    async def everything_is_said() -> bool:
        short.append(sum(await asyncio.gather(*map(round_of, workers))))
        return short[-1] == 0

    await until(everything_is_said, within=PATIENCE_S * 2)
    return short


async def go_round(
    broker: RunningBroker, prefix: str, new_worker: NewWorker, campaigns: Sequence[str], kills: int
) -> list[list[int]]:
    """Send; compare what three workers say; kill and replace some of them, and go on comparing.

    Returns:
        For each worker that was killed, how many answers of each round were short and said so.
    """
    first = int(time.time()) // WINDOW_S * WINDOW_S - (WINDOWS + 1) * WINDOW_S
    records, counts = sent(campaigns, first)
    async with Collector() as receiver:
        settings = settings_of(broker, prefix, receiver.url)
        await create_topic(broker.address, settings["topics"]["source"], SOURCES)
        workers = [new_worker(settings, f"worker-{n}") for n in range(3)]
        for each in workers:
            await each.ready()
        async with Sender(broker.address, settings["topics"]["source"]) as sender:
            await sender.send(records)
        await note(workers[0], campaigns)

        async def all_is_counted() -> bool:
            return await counted(workers[0], campaigns) == counts

        await until(all_is_counted)
        await settled(workers[1])
        truth = await Truth.told_by(workers[0], campaigns, rfc3339(first), PARTITIONS)
        empty = {route.name for route, items in truth.lists.items() if not items}
        assert empty <= {"groups"}
        assert set(truth.lists[LISTS[0]]) == set(campaigns)
        for each in workers:
            assert await asked_all(each, truth) == 0
        history = []
        for n in range(kills):
            await asyncio.to_thread(workers.pop(0).kill)
            workers.append(new_worker(settings, f"worker-{n + 3}"))
            history.append(await hold_while(truth, workers, workers[-1]))
        return history


@pytest.mark.parametrize(
    "broker", [pytest.param("embedded", marks=pytest.mark.embedded)], indirect=True
)
async def test_every_worker_says_everything_or_what_it_misses(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    campaigns = [*ODD_IDS, *(f"{n:032x}" for n in range(7))]
    ((first, *_, last),) = await go_round(broker, unique, new_worker, campaigns, kills=1)
    assert first > 0, "nothing was missing when a worker was killed"
    assert last == 0


@pytest.mark.long
@pytest.mark.kafka
async def test_so_it_is_through_many_rebalances(
    own_kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", own_kafka.address)
    campaigns = [*ODD_IDS, *(f"{n:032x}" for n in range(60))]
    history = await go_round(broker, unique, new_worker, campaigns, kills=5)
    assert len(history) == 5
    for first, *_, last in history:
        assert first > 0
        assert last == 0
