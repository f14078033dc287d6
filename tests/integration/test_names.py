"""Names of campaigns and apps, known to every worker, whoever wrote them."""

from aiokafka import AIOKafkaProducer

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import THRESHOLD, Traffic, going_on, settings_of
from tests.support.brokers import RunningBroker
from tests.support.http import HttpAnswer, request
from tests.support.receiver import Collector
from tests.support.topics import read_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess

TARGET = "/v1/campaigns/a%2Fb/name"


async def give(worker: WorkerProcess, target: str, body: bytes) -> HttpAnswer:
    return await request(worker.port, target, method="PUT", body=body)


async def write(address: str, topic: str, key: bytes | None, value: bytes | None) -> None:
    """Write to a topic as another system would."""
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=key)
    finally:
        await producer.stop()


async def test_every_worker_knows_names(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    broken = Traffic("a/b")
    async with Collector() as receiver:
        settings = settings_of(broker, unique, receiver.url, THRESHOLD)
        topic = settings["topics"]["campaign_names"]
        one, other = new_worker(settings, "one"), new_worker(settings, "other")
        async with going_on(broker.address, settings["topics"]["source"], broken):
            await one.ready()
            await other.ready()
            answer = await give(one, TARGET, b'{"name": "Spring sale"}')
            assert (answer.status, answer.json) == (200, {"id": "a/b", "name": "Spring sale"})
            assert await one.json(TARGET) == answer.json, "whoever wrote it knows it at once"
            await until(lambda: _is_called(other, "Spring sale"))

            # Another system writes to the topic, and somebody writes rubbish.
            rubbish = [(b"a/b", b"\xff{"), (b"", b"{}"), (b"\xff", b'{"name": "x"}')]
            for key, value in rubbish:
                await write(broker.address, topic, key, value)
            await write(broker.address, topic, b"a/b", b'{"name": "Summer sale", "by": "crm"}')
            for worker in (one, other):
                await until(lambda worker=worker: _is_called(worker, "Summer sale"))  # type: ignore[misc]
                skipped = f'campaign_streams_names_skipped_total{{topic="{topic}"}}'
                assert (await worker.metrics())[skipped] == 3

            broken.failing = 0.5
            (told,) = await receiver.wait_for(1, within=90)
            assert told.value["data"]["campaign_name"] == "Summer sale"
            assert "in campaign Summer sale (a/b)" in told.value["data"]["summary"]
            rows = (await other.json("/v1/campaigns"))["campaigns"]
            assert [row["campaign_name"] for row in rows] == ["Summer sale"]

            assert (await other.delete(TARGET)).json["name"] == "Summer sale"
            await until(lambda: _is_called(one, None))
    records = await read_topic(broker.address, topic, committed=False)
    assert len(records) == 6


async def _is_called(worker: WorkerProcess, name: str | None) -> bool:
    answer = await worker.ask(TARGET)
    return answer.status == 404 if name is None else answer.json.get("name") == name
