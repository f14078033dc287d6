"""Of three brokers some go for good, or come back without what they had."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.chaos.kafka import Cluster, Coordinated, LinkedKafka
from tests.integration.conftest import NewWorker
from tests.integration.test_source_changes import LOST, PARTITIONS, send
from tests.support import kafka_jars
from tests.support.brokers import RunningBroker
from tests.support.comparing import counted, total_of
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

pytestmark = pytest.mark.kafka
WITHIN_S = 150.0


@pytest.fixture
def cluster(kafka: object) -> Iterator[Cluster]:  # noqa: ARG001 - says what is missing
    """Three brokers, with all of Kafka's own topics on all of them."""
    assert kafka_jars.why_unavailable() is None
    made = Cluster([], 3)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        for broker in made.brokers:
            broker.close()


def settings_of(cluster: Cluster, unique: str) -> Settings:
    settings = settings_for(
        RunningBroker("kafka", cluster.address), unique, topics={"replication_factor": 3}
    )
    settings["kafka"]["bootstrap_servers"] = cluster.address.split(",")
    return settings


async def create_on(cluster: Cluster, name: str, replicas: list[int], **configs: str) -> None:
    """Make a topic whose partitions are all on the same brokers; the first leads."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.address)
    await admin.start()
    try:
        response = await admin.create_topics(
            [
                NewTopic(
                    name,
                    -1,
                    -1,
                    dict.fromkeys(range(PARTITIONS), replicas),
                    {each.replace("_", "."): value for each, value in configs.items()},
                )
            ]
        )
        assert all(code == 0 for _, code, *_ in response.topic_errors), response
    finally:
        await admin.close()


async def led_by(cluster: Cluster, topic: str, broker: LinkedKafka) -> None:
    """Wait until a broker leads all partitions of a topic."""

    async def leads() -> bool:
        return all([await cluster.leader(topic, p) is broker for p in range(PARTITIONS)])

    await until(leads, WITHIN_S)


async def test_a_log_that_was_cut_off_is_read_from_there(
    cluster: Cluster, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_of(cluster, unique)
    source = settings["topics"]["source"]
    first, second, _ = cluster.brokers
    await create_on(
        cluster, source, [1, 2], unclean_leader_election_enable="true", min_insync_replicas="1"
    )
    await send(cluster.address, settings, 1_000)
    worker: WorkerProcess = await new_worker(settings).ready()
    await counted(worker, 1_000, WITHIN_S)
    await asyncio.to_thread(second.stop)
    await send(cluster.address, settings, 400)
    await counted(worker, 1_400, WITHIN_S)
    # Only the first has the 400. It goes; the second leads without them, and its log grows past
    # where the worker is.
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(second.start)
    await led_by(cluster, source, second)
    await send(cluster.address, settings, 800)
    await counted(worker, 1_400 + 800, WITHIN_S)
    assert worker.log.count("log was cut off") == PARTITIONS
    metrics = await worker.metrics()
    found = {name: value for name, value in metrics.items() if name.startswith(LOST)}
    assert len(found) == PARTITIONS
    assert not any(found.values()), "what was cut off had been counted"
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("of", ["group", "transaction"])
async def test_a_coordinator_that_goes_for_good_is_replaced(
    cluster: Cluster, unique: str, new_worker: NewWorker, of: Coordinated
) -> None:
    settings = settings_of(cluster, unique)
    await create_on(cluster, settings["topics"]["source"], [1, 2, 3])
    await send(cluster.address, settings, 1_000)
    worker: WorkerProcess = await new_worker(settings).ready()
    await counted(worker, 1_000, WITHIN_S)
    group = settings["kafka"]["group_id"]
    name = group if of == "group" else f"{group}-task-0"
    gone = await cluster.coordinator(of, name)
    await asyncio.to_thread(gone.kill)
    left = ",".join(each.address for each in cluster.brokers if each is not gone)
    for total in (2_000, 3_000):
        await send(left, settings, 1_000)
        await counted(worker, total, WITHIN_S)
    await worker.ready(WITHIN_S)
    assert await total_of(worker) == 3_000
    # Another worker joins the group, and takes over some of the tasks.
    other: WorkerProcess = await new_worker(settings, "other").ready(WITHIN_S)
    await send(left, settings, 1_000)
    await counted(other, 4_000, WITHIN_S)
