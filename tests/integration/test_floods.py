"""Floods of names and campaigns: what is honest stays exact, and no event is lost from the sums."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.comparing import count_topic
from tests.support.mixture import SourceRecord, send_event
from tests.support.oracle import DIMENSIONS, GROUPS, Oracle
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

SOURCES = 3
OTHER = "__other__"
HONEST = [f"honest-{n}" for n in range(16)]
LATER = [f"later-{n}" for n in range(8)]
FLOODED = "flooded"
KNOWN = ["SUCCESS", "FAILURE", "THROTTLED", "QUIET_TIME"]


class Flood(NamedTuple):
    """How many names there are, and how many events of honest campaigns between them."""

    names: int
    campaigns: int
    honest: int


def events(flood: Flood, now: int) -> Iterator[dict[str, Any]]:
    """Honest events all along; campaigns of another app, and names in one campaign, without end."""
    chance = random.Random("flood")  # noqa: S311 - repeatable
    kinds = ["name"] * flood.names + ["campaign"] * flood.campaigns + ["honest"] * flood.honest
    chance.shuffle(kinds)
    for campaign_id in [*HONEST, FLOODED]:
        yield send_event(campaign_id, now, "SUCCESS", app_id="honest")
    for number, kind in enumerate(kinds):
        status = chance.choice(KNOWN)
        if kind == "campaign":
            yield send_event(f"flood-{number}", now, status, app_id="hostile")
        elif kind == "honest":
            # Half of them begin when the flood is there.
            known = HONEST if number < len(kinds) // 2 else HONEST + LATER
            campaign_id, treatment = chance.choice(known), chance.choice("012")
            yield send_event(campaign_id, now, status, treatment_id=treatment, app_id="honest")
        else:
            name = f"name-{number}"
            fields: dict[str, Any] = {"treatment_id": "0", "delivery_type": "GCM"}
            which = chance.choice(["treatment_id", "delivery_type", "status"])
            named = {**fields, which: name} if which != "status" else fields
            outcome = name if which == "status" else status
            yield send_event(FLOODED, now, outcome, app_id="honest", **named)


async def send(broker: RunningBroker, topic: str, flood: Flood) -> None:
    now = int(time.time()) // 60 * 60_000
    records = [
        SourceRecord(number % SOURCES, None, orjson.dumps(event))
        for number, event in enumerate(events(flood, now))
    ]
    async with Sender(broker.address, topic) as sender:
        for at in range(0, len(records), 10_000):
            await sender.send(records[at : at + 10_000])


async def all_rows(worker: WorkerProcess) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    cursor = ""
    while True:
        answer = await worker.json(f"/v1/campaigns?active_within=8000h&limit=1000{cursor}")
        assert not answer["partial"]
        rows |= {row["campaign_id"]: row for row in answer["campaigns"]}
        if answer["next_cursor"] is None:
            return rows
        cursor = f"&cursor={answer['next_cursor']}"


async def assert_floods(worker: WorkerProcess, oracle: Oracle, settings: Settings) -> None:
    """Compare honest campaigns in all they have, and sums of what was flooded."""
    for campaign_id in [*HONEST, *LATER]:
        target = f"/v1/campaigns/{campaign_id}/windows?by={','.join(DIMENSIONS)}"
        windows = (await worker.json(target))["windows"]
        expected = oracle.answer(campaign_id)
        for window, groups in zip(windows, oracle.groups(campaign_id, DIMENSIONS), strict=True):
            found = {tuple(group[name] for name in DIMENSIONS): group for group in window["groups"]}
            assert {k: g["counts"] for k, g in found.items()} == {
                k: g["counts"] for k, g in groups.items()
            }
        names = ("start", "counts", "attempts", "rates")
        assert [{name: each[name] for name in names} for each in windows] == [
            {name: each[name] for name in names} for each in expected
        ]
    await _assert_flooded_campaign(worker, oracle, settings)
    await _assert_flood_of_campaigns(worker, oracle, settings)


async def _assert_flooded_campaign(
    worker: WorkerProcess, oracle: Oracle, settings: Settings
) -> None:
    limits = {"names": 1000, "values": 100, **settings.get("limits", {})}
    target = f"/v1/campaigns/{FLOODED}/windows?by={','.join(DIMENSIONS)}"
    windows = (await worker.json(target))["windows"]
    for window, truth in zip(windows, oracle.answer(FLOODED), strict=True):
        assert _by_group(window["counts"]) == _by_group(truth["counts"])
        assert {s: n for s, n in window["counts"].items() if s in GROUPS} == {
            s: n for s, n in truth["counts"].items() if s in GROUPS
        }
        assert (window["attempts"], window["rates"]) == (truth["attempts"], truth["rates"])
        assert window["counts"][OTHER] > 0
        names = [group["counts"] for group in window["groups"]]
        assert sum(map(len, names)) <= limits["names"] + len(GROUPS) + 1
        assert sum(map(sum, (each.values() for each in names))) == sum(truth["counts"].values())
        for dimension in DIMENSIONS:
            assert len({g[dimension] for g in window["groups"]}) <= limits["values"] + 2


async def _assert_flood_of_campaigns(
    worker: WorkerProcess, oracle: Oracle, settings: Settings
) -> None:
    rows = await all_rows(worker)
    campaigns = oracle.campaigns
    truth = {c: sum(sum(w["counts"].values()) for w in oracle.answer(c)) for c in campaigns}
    assert sum(sum(row["counts"].values()) for row in rows.values()) == oracle.total
    for campaign_id, row in rows.items():
        if campaign_id != OTHER:
            assert sum(row["counts"].values()) == truth[campaign_id]
    assert rows.keys() >= {*HONEST, *LATER, FLOODED}
    room = settings.get("limits", {}).get("campaigns", 100_000) * settings["topics"]["partitions"]
    assert len(rows) <= room
    folded = campaigns - rows.keys()
    if folded:
        described = await worker.json(f"/v1/campaigns/{OTHER}")
        counts = Counter[str]()
        for campaign_id in folded:
            for window in oracle.answer(campaign_id):
                counts.update(window["counts"])
        assert described["totals"]["counts"] == dict(counts)
        assert rows[OTHER]["counts"] == dict(counts)


def _by_group(counts: dict[str, int]) -> Counter[str]:
    groups: Counter[str] = Counter()
    for status, count in counts.items():
        groups[GROUPS.get(status, "unrecognised")] += count
    return groups


async def flooded(
    broker: RunningBroker, settings: Settings, worker: WorkerProcess, flood: Flood
) -> None:
    """Let the flood come; compare, and again after a restart."""
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, SOURCES)
    await worker.ready()
    await send(broker, topic, flood)
    oracle = await count_topic(broker.address, settings)
    await all_counted(worker, oracle.total)
    await assert_floods(worker, oracle, settings)
    metrics = await worker.metrics()
    for kind in ("names", "campaigns"):
        folded = metrics.get(f'campaign_streams_other_events_total{{kind="{kind}"}}', 0)
        assert folded > 0 or kind == "campaigns"
    if broker.guarantee == "exactly-once":
        worker.kill()
    else:
        assert worker.stop() == 0
    worker.start()
    await worker.ready()
    await assert_floods(worker, oracle, settings)


async def all_counted(worker: WorkerProcess, total: int) -> None:
    async def seen() -> bool:
        rows = await all_rows(worker)
        found = sum(sum(row["counts"].values()) for row in rows.values())
        assert found <= total
        return found == total

    await until(seen)


async def test_floods_are_counted_as_other_and_honest_campaigns_as_they_are(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    limits = {"names": 60, "values": 10, "campaigns": 100}
    settings = settings_for(broker, unique, limits=limits, topics={"partitions": 4})
    await flooded(broker, settings, new_worker(settings), Flood(3_000, 4_000, 3_000))


@pytest.mark.long
async def test_floods_with_the_limits_as_they_are(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(broker, unique, topics={"partitions": 1})
    await flooded(broker, settings, new_worker(settings), Flood(30_000, 200_000, 20_000))
