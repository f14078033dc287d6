"""Who is notified by a worker, with which texts, and what the history says of the others."""

import asyncio

from tests.integration.conftest import NewWorker
from tests.integration.test_receivers import fail, settings_of
from tests.support.brokers import RunningBroker
from tests.support.kinds import SLACK_PATH
from tests.support.receiver import Collector
from tests.support.slack import message_of
from tests.support.topics import create_topic
from tests.support.waiting import until


async def test_matchers_and_templates_in_a_worker(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    async with Collector() as ops, Collector() as pager, Collector(check=message_of) as chat:
        settings = settings_of(broker, unique, ops=ops.url, pager=pager.url)
        settings["receivers"][1]["matchers"] = ["severity=critical", 'campaign_id=~"spring-.*"']
        settings["receivers"].append(
            {
                "name": "chat",
                "kind": "slack",
                "url": f"http://127.0.0.1:{chat.port}/",
                "webhook_path": SLACK_PATH,
                "group_by": "none",
                "title": "{{ campaign_id }}: {{ evidence.rate|percent }}",
                # It holds for the samples, and not if everything fails.
                "text": "{{ 1 / (evidence.attempts - evidence.hits) }}",
            }
        )
        await create_topic(broker.address, settings["topics"]["source"], 1)
        worker = new_worker(settings)
        await worker.ready()
        await fail(broker, settings, "summer <!here>", "spring-1")
        await ops.wait_for(2)
        (only,) = await pager.wait_for(1)
        assert only.value["data"]["campaign_id"] == "spring-1"
        messages = [each.value for each in await chat.wait_for(2)]
        titles = {message["blocks"][0]["text"]["text"] for message in messages}
        assert titles == {"summer <!here>: 100.0%", "spring-1: 100.0%"}
        assert all("failure-spike firing" in each["blocks"][1]["text"]["text"] for each in messages)

        alerts = (await worker.json("/v1/alerts"))["alerts"]
        withheld = {each["campaign_id"]: each["transitions"][0]["withheld"] for each in alerts}
        why = 'campaign_id=~"spring-.*" does not match: campaign_id is "summer <!here>"'
        assert withheld == {
            "summer <!here>": [{"receiver": "pager", "reason": "not-matched", "detail": why}],
            "spring-1": [],
        }
        sample = 'campaign_streams_template_failures_total{kind="slack",part="text"}'

        async def counted() -> bool:
            return (await worker.metrics()).get(sample) == 2

        await until(counted)
        assert "ZeroDivisionError" in worker.log
        assert await asyncio.to_thread(worker.stop) == 0
