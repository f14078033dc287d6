"""The source topic is deleted and made anew, or loses records: what can be read is counted once."""

import asyncio
import time
from collections.abc import Iterable, Iterator

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from tests.integration.conftest import NewWorker
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import counted, total_of
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender, create_topic, delete_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

PARTITIONS = 4
LOST = "campaign_streams_lost_records_total"


def event(number: int) -> bytes:
    """A send event of one of 20 campaigns."""
    return orjson.dumps(
        {
            "event_type": "_campaign.send",
            "event_timestamp": int(time.time() * 1000),
            "event_version": "3.1",
            "attributes": {
                "campaign_id": f"campaign-{number % 20}",
                "treatment_id": "0",
                "campaign_send_status": "SUCCESS",
            },
        }
    )


def events(count: int, partitions: Iterable[int] = range(PARTITIONS)) -> Iterator[SourceRecord]:
    """So many events, spread over partitions."""
    numbers = list(partitions)
    for number in range(count):
        yield SourceRecord(numbers[number % len(numbers)], None, event(number))


async def send(address: str, settings: Settings, count: int, *partitions: int) -> None:
    async with Sender(address, settings["topics"]["source"]) as sender:
        await sender.send(events(count, partitions or range(PARTITIONS)))


async def recreate(address: str, name: str, partitions: int = PARTITIONS) -> None:
    """Delete a topic and make it anew, as soon as the broker lets us."""
    await delete_topic(address, name)
    await asyncio.sleep(0.5)
    await create_topic(address, name, partitions)


async def delete_records(address: str, name: str, before: dict[int, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(name, p): RecordsToDelete(at) for p, at in before.items()}
        )
    finally:
        await admin.close()


async def lost(worker: WorkerProcess, cause: str) -> float:
    """How many records the worker says are lost for this cause."""
    metrics = await worker.metrics()
    return sum(value for name, value in metrics.items() if name.startswith(LOST) and cause in name)


async def lag(worker: WorkerProcess, topic: str) -> dict[str, float]:
    metrics = await worker.metrics()
    return {
        name: value
        for name, value in metrics.items()
        if name.startswith("campaign_streams_consumer_lag") and topic in name
    }


async def no_lag(worker: WorkerProcess, topic: str, partitions: int = PARTITIONS) -> None:
    """Wait until the worker says of each partition that nothing waits."""

    async def level() -> bool:
        found = await lag(worker, topic)
        return len(found) == partitions and not any(found.values())

    await until(level)


@pytest.fixture(params=[False, True], ids=["repartitioned", "keyed"])
def settings(request: pytest.FixtureRequest, broker: RunningBroker, unique: str) -> Settings:
    return settings_for(broker, unique, source={"keyed": request.param})


@pytest.fixture(params=[False, True], ids=["repartitioned", "keyed"])
def on_kafka(request: pytest.FixtureRequest, kafka: KafkaBroker, unique: str) -> Settings:
    broker = RunningBroker("kafka", kafka.address)
    return settings_for(broker, unique, source={"keyed": request.param})


async def test_topic_made_anew_while_the_worker_runs(
    broker: RunningBroker, settings: Settings, new_worker: NewWorker
) -> None:
    source = settings["topics"]["source"]
    await create_topic(broker.address, source, PARTITIONS)
    await send(broker.address, settings, 4_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 4_000)
    await recreate(broker.address, source)
    await send(broker.address, settings, 1_000)
    await counted(worker, 5_000)
    await worker.ready()
    await no_lag(worker, source)
    assert worker.log.count("topic was deleted and made anew") == PARTITIONS
    assert await lost(worker, "topic-recreated") == 0
    # Once more, and past the offset of the first one.
    await recreate(broker.address, source)
    await send(broker.address, settings, 6_000)
    await counted(worker, 11_000)
    assert worker.log.count("topic was deleted and made anew") == 2 * PARTITIONS
    assert "Traceback" not in worker.log


@pytest.mark.kafka
async def test_topic_made_anew_while_the_worker_is_down(
    kafka: KafkaBroker, on_kafka: Settings, new_worker: NewWorker
) -> None:
    broker, settings = kafka, on_kafka
    source = settings["topics"]["source"]
    await create_topic(broker.address, source, PARTITIONS)
    await send(broker.address, settings, 2_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 2_000)
    assert await asyncio.to_thread(worker.stop) == 0
    await recreate(broker.address, source)
    # Past the offset where the worker stood: only the topic's id tells.
    await send(broker.address, settings, 6_000)
    worker.start()
    await worker.ready()
    await counted(worker, 8_000)
    await no_lag(worker, source)
    assert "Traceback" not in worker.log


async def test_topic_does_not_exist_for_some_time(
    broker: RunningBroker, settings: Settings, new_worker: NewWorker
) -> None:
    source = settings["topics"]["source"]
    await create_topic(broker.address, source, PARTITIONS)
    await send(broker.address, settings, 2_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 2_000)
    await delete_topic(broker.address, source)

    async def unready() -> bool:
        answer = await worker.ask("/readyz")
        return answer.status == 503 and f"topic {source}" in answer.json["detail"]

    await until(unready)
    await asyncio.sleep(8)
    assert await unready()
    assert await total_of(worker) == 2_000, "the tables can be asked meanwhile"
    assert worker.process.running
    await create_topic(broker.address, source, PARTITIONS)
    await send(broker.address, settings, 1_000)
    await counted(worker, 3_000)
    await worker.ready()
    await no_lag(worker, source)
    assert "Traceback" not in worker.log


@pytest.mark.kafka  # the embedded broker cannot delete records
async def test_records_deleted_ahead_of_the_worker(
    kafka: KafkaBroker, on_kafka: Settings, new_worker: NewWorker
) -> None:
    broker, settings = kafka, on_kafka
    source = settings["topics"]["source"]
    await create_topic(broker.address, source, PARTITIONS)
    await send(broker.address, settings, 2_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 2_000)
    assert await asyncio.to_thread(worker.stop) == 0
    await send(broker.address, settings, 2_000)
    await delete_records(broker.address, source, {0: 700, 1: 900, 2: 500, 3: 400})
    worker.start()
    await worker.ready()
    await counted(worker, 4_000 - 200 - 400)
    await no_lag(worker, source)
    assert await lost(worker, "expired") == 600
    assert worker.log.count("records were deleted before they were read") == 2


@pytest.mark.kafka
async def test_topic_made_anew_with_more_partitions_under_load_and_two_workers(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(RunningBroker("kafka", kafka.address), unique)
    source = settings["topics"]["source"]
    await create_topic(kafka.address, source, PARTITIONS)
    workers = [await new_worker(settings, name).ready() for name in ("a", "b")]
    await send(kafka.address, settings, 60_000)
    await recreate(kafka.address, source, 6)
    async with Sender(kafka.address, source) as sender:
        await sender.send(events(9_000, range(6)))

    async def level() -> bool:
        found = {name: at for each in workers for name, at in (await lag(each, source)).items()}
        return len(found) == 6 and not any(found.values())

    await until(level)
    total = await total_of(workers[0])
    assert total is not None
    lost_of_old = sum([await lost(each, "topic-recreated") for each in workers])
    assert 9_000 < total <= 69_000 - lost_of_old
    async with Sender(kafka.address, source) as sender:
        await sender.send(events(600, range(6)))
    await counted(workers[1], total + 600)


@pytest.mark.kafka
async def test_keyed_topic_made_anew_with_another_number_of_partitions_is_not_read(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(RunningBroker("kafka", kafka.address), unique, source={"keyed": True})
    source = settings["topics"]["source"]
    await create_topic(kafka.address, source, PARTITIONS)
    await send(kafka.address, settings, 1_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 1_000)
    for partitions in (2, 6):
        await recreate(kafka.address, source, partitions)
        await send(kafka.address, settings, 500, 0, 1)

        async def refused() -> bool:
            answer = await worker.ask("/readyz")
            why = f"has {partitions} partitions"  # noqa: B023 - asked at once
            return answer.status == 503 and why in answer.json["detail"]

        await until(refused)
    assert await total_of(worker) == 1_000
    await recreate(kafka.address, source)
    await send(kafka.address, settings, 500)
    await counted(worker, 1_500)
    await worker.ready()


@pytest.mark.kafka
@pytest.mark.parametrize("role", ["repartition", "changelog", "alerts"])
async def test_an_internal_topic_made_anew_is_named(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker, role: str
) -> None:
    settings = settings_for(RunningBroker("kafka", kafka.address), unique)
    await create_topic(kafka.address, settings["topics"]["source"], PARTITIONS)
    await send(kafka.address, settings, 1_000)
    worker = await new_worker(settings).ready()
    await counted(worker, 1_000)
    name = settings["topics"][role]
    await delete_topic(kafka.address, name)
    await send(kafka.address, settings, 400)

    async def named() -> bool:
        answer = await worker.ask("/readyz")
        return answer.status == 503 and name in answer.json["detail"]

    if role != "alerts":  # which nobody writes to now
        await until(named)
    await create_topic(kafka.address, name, PARTITIONS, cleanup_policy="compact")
    if role == "alerts":
        await counted(worker, 1_400)
    else:
        await asyncio.sleep(5)
        await until(named)
    assert worker.process.running
