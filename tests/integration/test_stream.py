"""The live stream of real workers: who follows it knows in the end what the tables hold."""

import asyncio
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import aiohttp

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, going_on, settings_of
from tests.support.brokers import RunningBroker
from tests.support.event_stream import reading
from tests.support.receiver import Collector
from tests.support.waiting import until
from tests.support.workers import WorkerProcess


class Follower:
    """Follows the stream of any worker that answers, on from where it was."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self.windows: dict[tuple[str, str], Any] = {}
        self.alerts: dict[str, Any] = {}
        self.missed: list[Any] = []
        self.connected = 0
        self._urls = [f"http://127.0.0.1:{worker.port}" for worker in workers]
        self._last: str | None = None

    async def follow(self) -> None:
        for url in cycle(self._urls):
            try:
                await self._read(url)
            except (aiohttp.ClientError, EOFError, OSError, AssertionError):
                await asyncio.sleep(0.1)

    async def _read(self, url: str) -> None:
        async with reading(url, last_event_id=self._last) as events:
            self.connected += 1
            while True:
                event = await events.next()
                self._last = events.last_event_id or self._last
                match event.kind:
                    case "window":
                        key = event.data["campaign_id"], event.data["start"]
                        self.windows[key] = event.data
                    case "alert":
                        self.alerts[event.data["alert_id"]] = event.data
                    case "missed":
                        self.missed.append(event.data)


async def held(worker: WorkerProcess, names: Sequence[str]) -> dict[tuple[str, str], Any]:
    """All windows as the API has them."""
    found = {}
    for name in names:
        for window in (await worker.json(f"/v1/campaigns/{name}/windows"))["windows"]:
            found[name, window["start"]] = window
    return found


async def test_no_change_is_missed_while_workers_are_killed(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    traffic = [Traffic(f"campaign-{n}") for n in range(8)]
    names = [each.campaign_id for each in traffic]
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url)
        workers = [new_worker(settings, f"worker-{n}") for n in range(2)]
        for each in workers:
            await each.ready()
        follower = Follower(workers)
        following = asyncio.create_task(follower.follow())
        try:
            await until(lambda: _is(follower.connected > 0))
            async with going_on(broker.address, settings["topics"]["source"], *traffic):
                await until(lambda: _is({name for name, _ in follower.windows} == set(names)))
                for each in workers:
                    traffic[0].failing = 0.6 - traffic[0].failing
                    await asyncio.to_thread(each.kill)
                    await asyncio.sleep(2)
                    each.start()
                    await each.ready()
                    await asyncio.sleep(2)

            async def knows_all() -> bool:
                windows = await held(workers[0], names)
                followed = {key: follower.windows.get(key) for key in windows}
                same = all(
                    seen is not None and {**window, **_named(seen)} == seen
                    for (window, seen) in zip(windows.values(), followed.values(), strict=True)
                )
                alerts = (await workers[1].json("/v1/alerts"))["alerts"]
                told = follower.alerts
                return same and all(_told(told.get(a["alert_id"], {})) == _told(a) for a in alerts)

            await until(knows_all)
            assert follower.connected > 1
            assert follower.missed == []
            assert follower.alerts
        finally:
            following.cancel()


async def _is(fact: object) -> bool:
    return bool(fact)


def _told(alert: dict[str, Any]) -> list[Any]:
    """Return what a transition changes; figures go on while an alert fires, as windows tell."""
    return [alert.get(name) for name in ("state", "transitions", "past_episodes", "acknowledged")]


def _named(window: Any) -> dict[str, Any]:
    return {name: window[name] for name in ("campaign_id", "app_id")}
