"""A send to the changelog topic that fails for good: nothing is committed past it, nothing is
lost."""

import re
import time
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.integration.conftest import NewWorker
from tests.integration.test_faults import assert_exact, load_on, progress, unfolded
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.mixture import Mixture
from tests.support.topics import Sender, committed_offsets, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess

pytestmark = pytest.mark.kafka

TOO_SMALL = 110
"""Bytes: enough for the marker that ends a transaction, and for nothing that a task writes."""
LOST = re.compile(r"\[warning +\] task lost .*")


@pytest.fixture
def settings(kafka: KafkaBroker, unique: str) -> Settings:
    return unfolded(RunningBroker("kafka", kafka.address), unique)


async def limit_records(address: str, topic: str, size: int) -> None:
    """Let a topic take no larger batch (bytes) from now on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        configs = {"cleanup.policy": "compact", "max.message.bytes": str(size)}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)
        (response,) = await admin.alter_configs([resource])
        assert all(code == 0 for code, *_ in response.resources), response
    finally:
        await admin.close()


async def committed(address: str, settings: Settings) -> list[dict[int, int]]:
    """How far the group says that it has read."""
    group, topics = settings["kafka"]["group_id"], settings["topics"]
    return [await committed_offsets(address, group, topics[t]) for t in ("source", "repartition")]


async def visible(address: str, settings: Settings) -> list[Any]:
    """Everything that others can see of the worker's work."""
    names = [
        settings["topics"][role] for role in ("repartition", "changelog", "alerts", "dead_letter")
    ]
    return [[(r.partition, r.offset) for r in await read_topic(address, name)] for name in names]


def attempts_without_commit(worker: WorkerProcess) -> dict[str, int]:
    """For each task that was lost, how often in a row before it had written anything."""
    found: dict[str, int] = {}
    for line in LOST.findall(worker.log):
        fields = dict(re.findall(r"(\w+)=('[^']*'|\"[^\"]*\"|\S+)", line))
        assert "MessageSizeTooLarge" in fields["error"], line
        found[fields["task"]] = int(fields["attempts_without_commit"])
    return found


async def test_state_topic_that_refuses_every_record(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    """While events go on: offsets stand still, the worker says why, and tries again."""
    state = settings["topics"]["changelog"]
    async with load_on(kafka.address, settings, seed=12) as load:
        worker = await new_worker(settings).ready()
        await progress(worker)
        await limit_records(kafka.address, state, TOO_SMALL)

        async def all_have_failed() -> bool:
            return (
                len(attempts_without_commit(worker)) == 4
                and min(attempts_without_commit(worker).values()) >= 1
            )

        await until(all_have_failed)
        before = await committed(kafka.address, settings), await visible(kafka.address, settings)
        await load.reaches(2_000)

        async def all_have_failed_again() -> bool:
            return min(attempts_without_commit(worker).values()) >= 3

        await until(all_have_failed_again)
        after = await committed(kafka.address, settings), await visible(kafka.address, settings)
        assert after == before
        assert worker.process.running
        await limit_records(kafka.address, state, 1_000_000)
        await progress(worker)
    await assert_exact(kafka.address, settings, worker)
    assert "Traceback" not in worker.log


async def test_dead_letters_wait_for_the_state(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    """A worker that starts with such a topic: nothing is written of what it reads."""
    topics = settings["topics"]
    mixture = Mixture(5_000, until=int(time.time() * 1000), seed=13)
    await create_topic(kafka.address, topics["source"], mixture.partitions)
    worker = await new_worker(settings).ready()
    await limit_records(kafka.address, topics["changelog"], TOO_SMALL)
    before = await visible(kafka.address, settings)
    async with Sender(kafka.address, topics["source"]) as sender:
        await sender.send(mixture.records())

    async def some_have_failed() -> bool:
        return max(attempts_without_commit(worker).values(), default=0) >= 2

    await until(some_have_failed)
    # The offsets at which tasks begin are written at once, and are all there is.
    source, keyed = await committed(kafka.address, settings)
    assert not any([*source.values(), *keyed.values()])
    assert await visible(kafka.address, settings) == before
    # Told to stop it does so, and its next life has all of it to do.
    assert worker.stop() == 0
    await limit_records(kafka.address, topics["changelog"], 1_000_000)
    worker.start()
    await worker.ready()
    await assert_exact(kafka.address, settings, worker)
