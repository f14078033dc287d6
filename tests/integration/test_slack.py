"""A bot's message of an alert is the same one after its worker was killed, and its group's too."""

import asyncio

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, firing, going_on, settings_of
from tests.support.brokers import RunningBroker
from tests.support.receiver import Collector
from tests.support.slack_api import NAME, TOKEN, Workspace
from tests.support.waiting import until


async def test_another_worker_updates_the_message(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    traffic, slack = Traffic("sale <!here>"), Workspace()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = slack.call
        settings = settings_of(broker, unique, "https://unused.example/")
        settings["receivers"] = [
            {
                "name": "chat",
                "kind": "slack",
                "url": f"http://127.0.0.1:{collector.port}/api/",
                "token": TOKEN,
                "channel": NAME,
                # It holds for the samples, and not of what fails from the beginning.
                "title": "{{ title }}{% if evidence.hits > 100000 %}!{% endif %}",
            }
        ]
        first = new_worker(settings, "first")
        async with going_on(broker.address, settings["topics"]["source"], traffic):
            await first.ready()
            traffic.failing = 0.5
            await collector.wait_for(1, within=120)
            (alert,) = await firing(first)

            async def is_written_down() -> bool:
                found = await first.json(f"/v1/deliveries?alert_id={alert['alert_id']}")
                return [each["state"] for each in found["deliveries"]] == ["delivered"]

            await until(is_written_down)
            second = new_worker(settings, "second")
            await second.ready()
            await asyncio.to_thread(first.kill)
            traffic.failing = 0.0
            await collector.wait_for(3, within=120)
        (shown,) = slack.messages.values()
        assert (shown.titles, slack.refusals) == (["Firing", "Resolved"], [])
        assert [(text.partition(":")[0], seen) for text, seen in shown.replies] == [
            ("Resolved", False)
        ]
        assert TOKEN not in first.log + second.log
        assert await asyncio.to_thread(second.stop) == 0
