"""Incidents that are easy to miss, or to tell too often: bytes in, webhooks and answers out.

All of them go on at once, each in a campaign of its own, and the worker is restarted meanwhile.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import pytest

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, endpoint, send_event
from tests.support.receiver import SECRET, Collector
from tests.support.topics import Sender, create_topic, ensure_topic
from tests.support.waiting import until
from tests.support.workers import THRESHOLD, Settings, WorkerProcess, settings_for

SOURCES = 3
SIZE_S = 2
INCIDENT_WINDOWS = 10
"""For so many windows sends fail; from then on they do not."""
PAUSE_S = 0.1
AHEAD_S = 240
FIRING, RESOLVED = "campaign.alert.firing", "campaign.alert.resolved"


@dataclass(frozen=True, slots=True)
class Sends:
    """What is sent of a campaign at one moment.

    Attributes:
        count: how many a `PAUSE_S`, or a window if `a_window`.
        fails: whether they fail, by the number of windows since the incident began.
        shift: seconds between now and what their events say.
        channel: of the endpoint; null leaves the delivery type to say which it is.
    """

    count: int
    fails: Callable[[int], bool]
    shift: float = 0.0
    channel: str = "GCM"
    a_window: bool = False


def _never(_: int) -> bool:
    return False


def _during(number: int) -> bool:
    return number < INCIDENT_WINDOWS


Incidents: TypeAlias = dict[str, list[Sends]]

IN_TIME: Incidents = {
    # SMS fails beside healthy e-mail; neither names a delivery type.
    "channel": [Sends(4, _during, channel="SMS"), Sends(60, _never, channel="EMAIL")],
    # What fails comes late, but within grace, behind a newer window in which all is well.
    "behind": [Sends(20, _during, shift=-SIZE_S), Sends(20, _never)],
    # Each window by itself has too few attempts.
    "few": [Sends(20, _during, a_window=True)],
    # Every other minute, in fast motion.
    "every other": [Sends(20, lambda number: _during(number) and number % 2 == 0)],
    # Recovers at no failures at all.
    "zero": [Sends(20, _during)],
}
AHEAD: Incidents = {
    # The clock of a healthy producer is four minutes ahead. After a restart that makes event time
    # go to the present at once, and what was sent meanwhile is late.
    "ahead": [Sends(20, _during), Sends(20, _never, shift=AHEAD_S)],
}


class Traffic:
    """Sends of all campaigns, from the beginning of a window on."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self.began = (int(time.time()) // SIZE_S + 1) * SIZE_S
        self.failed: Counter[str] = Counter()
        self._last_window = -1

    async def send(self, sender: Sender) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            now = time.time()
            if now >= self.began:
                await sender.send(list(self._records(now)))

    def _records(self, now: float) -> Iterator[SourceRecord]:
        number = int(now - self.began) // SIZE_S
        is_new, self._last_window = number != self._last_window, number
        for campaign_id, parts in self._incidents.items():
            for part in parts:
                status = "FAILURE" if part.fails(number) else "SUCCESS"
                context = endpoint(part.channel)
                event_time = int((now + part.shift) * 1000)
                value = orjson.dumps(send_event(campaign_id, event_time, status, context=context))
                count = part.count if is_new or not part.a_window else 0
                self.failed[campaign_id] += count if part.fails(number) else 0
                yield from (SourceRecord(n % SOURCES, None, value) for n in range(count))


@asynccontextmanager
async def going_on(address: str, topic: str, incidents: Incidents) -> AsyncIterator[Traffic]:
    """Keep sending."""
    await ensure_topic(address, topic, SOURCES)
    traffic = Traffic(incidents)
    async with Sender(address, topic) as sender:
        running = asyncio.create_task(traffic.send(sender))
        try:
            yield traffic
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def settings_of(broker: RunningBroker, prefix: str, receiver: str) -> Settings:
    """Rules with `threshold` as it is by default, and short windows."""
    others = [name for name in IN_TIME | AHEAD if name not in {"channel", "zero"}]
    return settings_for(
        broker,
        prefix,
        windows={"size": SIZE_S, "grace": 2, "retention": 3600},
        rules=[
            {
                "name": "campaigns",
                "group": "failure",
                "detector": THRESHOLD,
                "match": {"campaigns": others},
            },
            {
                "name": "channels",
                "group": "failure",
                "scope": "channel",
                "detector": THRESHOLD,
                "match": {"campaigns": ["channel"]},
            },
            {
                "name": "none",
                "group": "failure",
                "detector": {**THRESHOLD, "recovery_level": 0.0},
                "match": {"campaigns": ["zero"]},
            },
        ],
        receivers=[{"name": "ops", "url": receiver, "secrets": [SECRET], "group_by": "none"}],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )


@pytest.mark.parametrize("incidents", [IN_TIME, AHEAD], ids=["in time", "ahead"])
async def test_each_is_raised_once_and_resolved_once(
    broker: RunningBroker, unique: str, new_worker: NewWorker, incidents: Incidents
) -> None:
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        worker = new_worker(settings)
        topic = settings["topics"]["source"]
        async with going_on(broker.address, topic, incidents) as traffic:
            await worker.ready()
            await receiver.wait_for(len(incidents), within=60)
            # A restart in the middle of all of them changes nothing.
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            await receiver.wait_until(lambda: _resolved(receiver) == set(incidents), within=90)
            # Nothing more comes in the time that an alert goes on after the rate is low.
            await asyncio.sleep(4 * SIZE_S)
        alerts = (await worker.json("/v1/alerts"))["alerts"]
    stories: dict[str, list[str]] = {}
    for arrival in receiver.arrivals:
        value = arrival.value
        stories.setdefault(value["data"]["campaign_id"], []).append(value["type"])
    assert stories == {name: [FIRING, RESOLVED] for name in incidents}
    assert len(receiver.ids()) == len(set(receiver.ids()))
    assert {alert["campaign_id"]: alert["state"] for alert in alerts} == dict.fromkeys(
        incidents, "resolved"
    )
    _check_figures({alert["campaign_id"]: alert for alert in alerts}, traffic.failed)
    assert {data["alert_id"]: data for data in _ends(receiver)} == {
        alert["alert_id"]: {name: alert[name] for name in data}
        for alert in alerts
        for data in _ends(receiver)[:1]
    }


def _resolved(receiver: Collector) -> set[str]:
    return {data["campaign_id"] for data in _ends(receiver)}


def _ends(receiver: Collector) -> list[Any]:
    return [each.value["data"] for each in receiver.arrivals if each.value["type"] == RESOLVED]


def _check_figures(alerts: dict[str, Any], failed: Counter[str]) -> None:
    for campaign_id, alert in alerts.items():
        steps = [(step["type"], step["sequence"]) for step in alert["transitions"]]
        assert steps == [(FIRING, 1), (RESOLVED, 2)], campaign_id
        # The end says how bad it was.
        assert alert["evidence"]["rate"] <= 0.05 < alert["peak"]["rate"], campaign_id
        assert f"peak {alert['peak']['hits']:,} of " in alert["summary"]
    for campaign_id in alerts.keys() - {"behind", "ahead"}:
        assert alerts[campaign_id]["totals"]["hits"] == failed[campaign_id], campaign_id
        assert alerts[campaign_id]["peak"]["rate"] == 1.0
    if "channel" in alerts:
        channel = alerts["channel"]
        assert (channel["channel_type"], channel["delivery_type"]) == ("SMS", None)
        assert alerts["zero"]["evidence"]["hits"] == 0
        assert failed["few"] == 20 * INCIDENT_WINDOWS


async def test_nothing_is_told_of_what_is_told_already(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """An alert that ended for want of data is not raised again by the window it was about."""
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        settings["windows"] = {"size": 60, "grace": 60, "retention": 3600}
        rule = {"name": "campaigns", "group": "failure", "no_data_after": "2s"}
        detector = {**THRESHOLD, "min_attempts": 50}
        settings["rules"] = [{**rule, "detector": detector, "reopen_within": "0s"}]
        topic = settings["topics"]["source"]
        await create_topic(broker.address, topic, SOURCES)
        worker = new_worker(settings)
        await worker.ready()
        async with Sender(broker.address, topic) as sender:
            begin = int(time.time())

            async def send(status: str, count: int) -> None:
                value = orjson.dumps(send_event("c", begin * 1000, status))
                await sender.send([SourceRecord(0, None, value)] * count)

            await send("FAILURE", 200)
            await receiver.wait_for(2, within=60)
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await worker.ready()
            await send("FAILURE", 30)
            await until(lambda: _counted(worker, 230))
            await asyncio.sleep(1)
            assert len(receiver.arrivals) == 2
            # So many more are an incident of their own.
            await send("FAILURE", 30)
            await receiver.wait_for(3, within=60)
    types = [each.value["type"].removeprefix("campaign.alert.") for each in receiver.arrivals]
    assert types[:3] == ["firing", "expired", "firing"]
    ids = [each.value["data"]["alert_id"] for each in receiver.arrivals]
    assert ids[0] == ids[1] != ids[2]


async def _counted(worker: WorkerProcess, attempts: int) -> bool:
    answer = await worker.ask("/v1/campaigns/c")
    return answer.status == 200 and bool(answer.json["totals"]["attempts"] == attempts)
