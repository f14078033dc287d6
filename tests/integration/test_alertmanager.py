"""Alerts in a real Alertmanager: there from the firing to the end, and told by it once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, going_on
from tests.support.alertmanager import Alertmanager, seconds_of
from tests.support.brokers import RunningBroker
from tests.support.real_alertmanager import PROGRAM, RealAlertmanager
from tests.support.receiver import Collector
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

FIRES_FOR_S = 15.0
"""Longer than a worker takes to start on a busy machine, and not much."""
RESENT = 'campaign_streams_alerts_resent_total{kind="alertmanager",result="delivered"}'
CAMPAIGN = 'sale/ü "100 %"'


def settings_of(broker: RunningBroker, prefix: str, url: str) -> Settings:
    detector = {"kind": "threshold", "level": 0.2, "recovery_level": 0.1, "min_attempts": 30}
    return settings_for(
        broker,
        prefix,
        windows={"size": 2, "grace": 2, "retention": 3600},
        rules=[
            {
                "name": "failing",
                "group": "failure",
                "detector": detector,
                "keep_firing_for": "1s",
                "labels": {"team": "sending", "on-call": "ü"},
            }
        ],
        receivers=[
            {
                "name": "am",
                "kind": "alertmanager",
                "url": url,
                "resend_interval": 1,
                "timeout": 2,
                "fires_for": FIRES_FOR_S,
            }
        ],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"], "retry_schedule": ["1s"]},
    )


def statuses(told: Collector) -> list[str]:
    return [arrival.value["status"] for arrival in told.arrivals]


async def only(manager: RealAlertmanager) -> Any:
    """Return the one alert that fires."""
    (alert,) = await manager.alerts()
    return alert


async def fires(manager: RealAlertmanager) -> bool:
    return len(await manager.alerts()) == 1


async def is_over(manager: RealAlertmanager) -> bool:
    return await manager.alerts() == []


async def all_delivered(worker: WorkerProcess) -> bool:
    return not (await worker.json("/v1/deliveries?state=pending"))["deliveries"]


@pytest.mark.skipif(PROGRAM is None, reason="prometheus-alertmanager is not installed")
@pytest.mark.parametrize(
    "broker", [pytest.param("embedded", marks=pytest.mark.embedded)], indirect=True
)
async def test_an_alert_is_there_for_as_long_as_it_fires(
    broker: RunningBroker, unique: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    traffic = Traffic(CAMPAIGN)
    async with (
        Collector(check=lambda _, __: None) as told,
        RealAlertmanager(tmp_path, told.url) as manager,
    ):
        settings = settings_of(broker, unique, manager.url)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], traffic):
            await worker.ready()
            traffic.failing = 0.5
            await until(lambda: fires(manager))
            first = await only(manager)
            assert first["labels"] == {
                "alertname": "failing",
                "severity": "critical",
                "campaign_id": CAMPAIGN,
                "app_id": first["labels"]["app_id"],
                "team": "sending",
                "on_call": "ü",
            }

            # It is there past the end it was given first, also when the worker is killed meanwhile,
            # and its figures move.
            await asyncio.to_thread(worker.kill)
            worker.start()
            await worker.ready()
            # What was delivered may not have been committed, and is delivered again then.
            await until(lambda: all_delivered(worker))
            again = await only(manager)
            while time.time() < seconds_of(again["endsAt"]) + 2:
                newest = await only(manager)
                await asyncio.sleep(0.2)
            assert newest["startsAt"] == first["startsAt"]
            assert newest["annotations"]["alert_id"] == first["annotations"]["alert_id"]
            assert newest["annotations"]["window"] != first["annotations"]["window"]

            # Alertmanager keeps no alerts over a restart.
            await manager.stop()
            await manager.start()
            await until(lambda: fires(manager))

            alert_id = first["annotations"]["alert_id"]
            shown = (await worker.json(f"/v1/alerts/{alert_id}"))["alert"]
            assert [each["type"] for each in shown["transitions"]] == ["campaign.alert.firing"]

            traffic.failing = 0.0
            await until(lambda: is_over(manager))
            over_at = time.monotonic()
            while time.monotonic() < over_at + 4:
                assert await is_over(manager)
                await asyncio.sleep(0.1)
        await told.wait_until(lambda: "resolved" in statuses(told))
        assert statuses(told) == ["firing", "resolved"]
        (resolved,) = told.arrivals[-1].value["alerts"]
        assert resolved["labels"] == first["labels"]
        assert (await worker.metrics())[RESENT] >= 5
        assert await asyncio.to_thread(worker.stop) == 0


def has_ended(told: Collector, before: int) -> bool:
    """Tell, when a request has just come, whether it is the end of the alert."""
    newest = told.arrivals[before:][-1:]
    return any(seconds_of(each.value[0]["endsAt"]) <= time.time() for each in newest)


async def test_a_worker_that_was_frozen_tells_of_no_alert_that_is_over(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    """It still has the alert in memory when it goes on, and another worker told of its end.

    Here Alertmanager is a stand-in, which knows what it was told last.
    """
    traffic = Traffic(CAMPAIGN)
    stand_in = Alertmanager(time.time)
    async with Collector(check=lambda _, __: None) as told:
        told.always = stand_in.post_alerts
        settings = settings_of(broker, unique, told.url)
        frozen = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], traffic):
            await frozen.ready()
            traffic.failing = 0.5
            # It is told again, so its first delivery is known to have succeeded.
            await told.wait_for(3)
            frozen.process.pause()
            before = len(told.arrivals)
            traffic.failing = 0.0
            other = new_worker(settings, "other")
            await other.ready()
            await told.wait_until(lambda: has_ended(told, before), within=60)
            count = len(told.arrivals)
            frozen.process.resume()
            await asyncio.sleep(4)
            assert stand_in.firing() == []
            assert stand_in.refusals == []
            assert len(told.arrivals) == count
        assert await asyncio.to_thread(other.stop) == 0
