"""Growth without loss: more source partitions, more tasks, other windows, another version."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from streams.domain.changelog import FORMAT
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION
from tests.integration.conftest import NewWorker
from tests.integration.test_faults import assert_exact, progress
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import assert_counts, count_topic, counted
from tests.support.mixture import Mixture, SourceRecord, send_event
from tests.support.topics import Sender, committed_offsets, create_topic, read_topic
from tests.support.variants import (
    BOTH_PARTIAL_COUNTS,
    NEXT_FORMAT,
    NEXT_PARTIAL_COUNTS,
    QUICK_METADATA,
    VariantProcess,
)
from tests.support.waiting import PATIENCE_S, until
from tests.support.workers import Settings, WorkerProcess, settings_for

pytestmark = pytest.mark.kafka

RULE = {
    "name": "failure-spike",
    "group": "failure",
    "detector": {"kind": "threshold", "level": 0.2},
}
SICK = "a campaign that fails"


@pytest.fixture
def settings(kafka: KafkaBroker, unique: str) -> Settings:
    return settings_for(RunningBroker("kafka", kafka.address), unique, rules=[RULE])


@pytest.fixture
def new_variant(tmp_path: Path) -> Iterator[Any]:
    """Make a worker with a changed program, started; all are gone when the test ends."""
    with ExitStack() as stack:

        def make(settings: Settings, change: str, name: str) -> WorkerProcess:
            worker = VariantProcess(settings, tmp_path, name)
            worker.change = change
            return stack.enter_context(worker)

        yield make


def mixture_of(partitions: int, *, count: int = 2_000, seed: int = 1, bad: float = 0.0) -> Mixture:
    """Events of the last 20 minutes, some an hour late: open, closed and settled windows."""
    now = int(time.time() * 1000)
    return Mixture(
        count, until=now, partitions=partitions, campaigns=5, disorder=10_000, seed=seed, bad=bad
    )


def failures(partitions: int) -> list[SourceRecord]:
    """A campaign that fails now."""
    value = orjson.dumps(send_event(SICK, int(time.time() * 1000), "FAILURE"))
    return [SourceRecord(n % partitions, None, value) for n in range(100)]


async def send(address: str, settings: Settings, *records: SourceRecord) -> None:
    async with Sender(address, settings["topics"]["source"]) as sender:
        await sender.send(records)


@asynccontextmanager
async def flowing(address: str, topic: str, mixture: Mixture) -> AsyncIterator[None]:
    """Keep sending, some thousand records a second."""
    ending = asyncio.Event()

    async def run() -> None:
        records = mixture.records()
        async with Sender(address, topic) as sender:
            while not ending.is_set():
                await sender.send(islice(records, 200))
                await asyncio.sleep(0.05)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        ending.set()
        await running


@asynccontextmanager
async def admin_of(address: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def grow(address: str, topic: str, partitions: int) -> None:
    async with admin_of(address) as admin:
        response = await admin.create_partitions({topic: NewPartitions(partitions)})
        assert all(code == 0 for _, code, *_ in response.topic_errors), response


async def is_gone(address: str, topic: str) -> bool:
    async with admin_of(address) as admin:
        return topic not in await admin.list_topics()


async def written(address: str, settings: Settings) -> tuple[Any, ...]:
    """All that a worker writes, and how far it says that it has read."""
    topics = settings["topics"]
    group = settings["kafka"]["group_id"]
    offsets = [
        await committed_offsets(address, group, topics[t]) for t in ("source", "repartition")
    ]
    names = (topics[role] for role in ("repartition", "changelog", "alerts", "dead_letter"))
    records = [await read_topic(address, name, committed=False) for name in names]
    return offsets, [[(r.partition, r.offset, r.value) for r in each] for each in records]


async def ended(worker: WorkerProcess) -> int:
    """Wait for a worker to end by itself; return its exit status."""
    return await asyncio.to_thread(worker.process._process.wait, PATIENCE_S)


def last_line(worker: WorkerProcess) -> str:
    """What it said last; nothing it said may be for programmers."""
    assert "Traceback" not in worker.log, worker.log
    said = [line for line in worker.log.splitlines() if line.startswith("campaign-streams: ")]
    return said[-1]


async def test_source_gets_more_partitions_while_workers_run(
    kafka: KafkaBroker, settings: Settings, new_variant: Any
) -> None:
    topic = settings["topics"]["source"]
    group = settings["kafka"]["group_id"]
    await create_topic(kafka.address, topic, 3)

    async def all_are_read(partitions: int) -> bool:
        return len(await committed_offsets(kafka.address, group, topic)) == partitions

    first = await new_variant(settings, QUICK_METADATA, "first").ready()
    async with flowing(kafka.address, topic, mixture_of(3, count=10**7, bad=0.03)):
        await progress(first)
        await grow(kafka.address, topic, 5)
        async with flowing(kafka.address, topic, mixture_of(5, count=10**7, seed=2, bad=0.03)):
            await until(lambda: all_are_read(5))
            second = await new_variant(settings, QUICK_METADATA, "second").ready()
            await grow(kafka.address, topic, 7)
            async with flowing(kafka.address, topic, mixture_of(7, count=10**7, seed=3)):
                await until(lambda: all_are_read(7))
                await progress(second)
    await assert_exact(kafka.address, settings, first)
    await assert_exact(kafka.address, settings, second)
    assert len((await count_topic(kafka.address, settings)).event_times) == 7


async def test_more_tasks_are_refused_and_counted_anew(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    topic = settings["topics"]["source"]
    await create_topic(kafka.address, topic, 3)
    await send(kafka.address, settings, *mixture_of(3, bad=0.03).records())
    worker = await new_worker(settings).ready()
    await assert_exact(kafka.address, settings, worker)
    assert worker.stop() == 0

    more = {**settings, "topics": {**settings["topics"], "partitions": 6}}
    before = await written(kafka.address, settings)
    refused = new_worker(more, "refused")
    assert await ended(refused) == 1
    assert "topics.partitions says 6" in last_line(refused)
    assert "set topics.partitions to 4" in last_line(refused)
    assert "docs/operations.md" in last_line(refused)
    assert await written(kafka.address, settings) == before

    # The source has not kept everything; what it has kept is what is counted.
    async with admin_of(kafka.address) as admin:
        await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(300)})
    anew = {
        "kafka": {**settings["kafka"], "group_id": settings["kafka"]["group_id"] + "-2"},
        "topics": {role: name + "-2" for role, name in settings["topics"].items()},
    }
    anew["topics"] |= {"source": topic, "partitions": 6}
    other = await new_worker({**settings, **anew}, "anew").ready()
    await send(kafka.address, settings, *mixture_of(3, count=1_000, seed=2).records())
    await assert_exact(kafka.address, {**settings, **anew}, other)


async def test_longer_windows_are_made_of_those_that_are_there(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    topics = settings["topics"]
    await create_topic(kafka.address, topics["source"], 3)
    worker = await new_worker(settings).ready()
    mixture = mixture_of(3)
    await send(kafka.address, settings, *mixture.records(), *failures(3))

    async def has_settled_pages() -> bool:
        keys = {record.key for record in await read_topic(kafka.address, topics["changelog"])}
        return any(orjson.loads(key or b"")[0] == "bucket" for key in keys)

    async def fires() -> bool:
        return len(await alerts_of(worker, "firing")) == 1

    await until(has_settled_pages)
    await until(fires)
    (alert,) = await alerts_of(worker, "firing")
    # More for windows that are settled, closed and open: they stop on their way.
    await send(kafka.address, settings, *mixture_of(3, seed=2).records())
    assert worker.stop() == 0
    told = await read_topic(kafka.address, topics["alerts"])

    longer = {**settings, "windows": {"size": 300}}
    worker = await new_worker(longer, "longer").ready()
    oracle = await count_topic(kafka.address, longer)
    assert {start % 300 for _, start in oracle.windows} == {0}
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)
    await send(kafka.address, settings, *mixture_of(3, seed=3).records())
    for _ in range(2):
        oracle = await count_topic(kafka.address, longer)
        await counted(worker, oracle.total)
        await assert_counts(worker, oracle)
        assert [each["alert_id"] for each in await alerts_of(worker, "firing")] == [
            alert["alert_id"]
        ]
        # Once more from what was written since.
        worker.kill()
        worker.start()
        await worker.ready()
    assert worker.stop() == 0
    now_told = await read_topic(kafka.address, topics["alerts"])
    assert [r.value for r in now_told] == [r.value for r in told], "nothing new has happened"
    shorter = new_worker(settings, "shorter")
    assert await ended(shorter) == 1
    assert "windows.size: 60 s, but the changelog topic has windows of 300 s" in last_line(shorter)


async def alerts_of(worker: WorkerProcess, state: str) -> list[Any]:
    """The alerts of the campaign that fails; the mixture is not what this is about."""
    alerts = (await worker.json(f"/v1/alerts?state={state}"))["alerts"]
    return [each for each in alerts if each["campaign_id"] == SICK]


async def test_windows_that_cannot_be_made_of_others_are_refused(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    await create_topic(kafka.address, settings["topics"]["source"], 3)
    worker = await new_worker(settings).ready()
    await send(kafka.address, settings, *mixture_of(3, bad=0.03).records())
    await assert_exact(kafka.address, settings, worker)
    assert worker.stop() == 0
    before = await written(kafka.address, settings)
    other = new_worker({**settings, "windows": {"size": 45}}, "other")
    assert await ended(other) == 1
    assert "windows.size: 45 s, but the changelog topic has windows of 60 s" in last_line(other)
    assert "docs/operations.md" in last_line(other)
    assert await written(kafka.address, settings) == before
    worker.start()
    await worker.ready()
    await send(kafka.address, settings, *mixture_of(3, count=1_000, seed=2).records())
    await assert_exact(kafka.address, settings, worker)


async def has_counted(address: str, settings: Settings, new_worker: NewWorker) -> WorkerProcess:
    """Return a worker that was stopped; its events are keyed, in as many partitions as tasks."""
    await create_topic(address, settings["topics"]["source"], 4)
    worker = await new_worker(settings).ready()
    mixture = Mixture(2_000, until=int(time.time() * 1000), partitions=4, keyed=True)
    await send(address, settings, *mixture.records())
    await assert_exact(address, settings, worker)
    assert worker.stop() == 0
    return worker


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_hop_that_is_put_in_or_left_out_is_refused(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker, keyed: bool
) -> None:
    """The log would be counted twice, or campaigns looked for where they are not."""
    settings = {**settings, "source": {"keyed": keyed}}
    await has_counted(kafka.address, settings, new_worker)
    before = await written(kafka.address, settings)
    other = new_worker({**settings, "source": {"keyed": not keyed}}, "other")
    assert await ended(other) == 1
    assert f"written with source.keyed: {str(keyed).lower()}" in last_line(other)
    assert await written(kafka.address, settings) == before


async def test_a_log_that_was_made_anew_is_not_taken_for_the_old_one(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker
) -> None:
    """What open windows had in it is lost; to go on would lose what they get from then on."""
    topics = settings["topics"]
    settings = {**settings, "source": {"keyed": True}}
    worker = await has_counted(kafka.address, settings, new_worker)
    async with admin_of(kafka.address) as admin:
        await admin.delete_topics([topics["repartition"]])
    await until(lambda: is_gone(kafka.address, topics["repartition"]))
    worker.start()

    async def says_so() -> bool:
        return f"needs {topics['repartition']} up to offset" in worker.log

    await until(says_so)
    assert (await worker.ask("/readyz")).status == 503
    assert worker.process.running


async def test_state_of_a_newer_version_is_left_alone(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker, new_variant: Any
) -> None:
    await create_topic(kafka.address, settings["topics"]["source"], 3)
    await send(kafka.address, settings, *mixture_of(3, bad=0.03).records())
    newer = await new_variant(settings, NEXT_FORMAT, "newer").ready()
    await assert_exact(kafka.address, settings, newer)
    assert newer.stop() == 0
    before = await written(kafka.address, settings)
    worker = new_worker(settings)
    assert await ended(worker) == 1
    assert f"the changelog topic has format {FORMAT + 1}" in last_line(worker)
    assert await written(kafka.address, settings) == before
    newer.start()
    await newer.ready()
    await send(kafka.address, settings, *mixture_of(3, count=1_000, seed=2).records())
    await assert_exact(kafka.address, settings, newer)


async def test_blocks_of_a_newer_version_are_left_alone(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker, new_variant: Any
) -> None:
    """Not even read again are those of open windows: what was in them would be missing."""
    await create_topic(kafka.address, settings["topics"]["source"], 3)
    newer = await new_variant(settings, NEXT_PARTIAL_COUNTS, "newer").ready()
    await send(kafka.address, settings, *mixture_of(3).records())
    await assert_exact(kafka.address, settings, newer)
    assert newer.stop() == 0
    before = await written(kafka.address, settings)
    worker = new_worker(settings)
    assert await ended(worker) == 1
    assert f"partial counts of format {PARTIAL_COUNTS_VERSION + 1}" in last_line(worker)
    assert await written(kafka.address, settings) == before
    newer.start()
    await newer.ready()
    await assert_exact(kafka.address, settings, newer)


async def test_block_of_a_newer_version_ends_a_worker(
    kafka: KafkaBroker, settings: Settings, new_worker: NewWorker, new_variant: Any
) -> None:
    topics = settings["topics"]
    await create_topic(kafka.address, topics["source"], 3)
    worker = await new_worker(settings).ready()
    await send(kafka.address, settings, *mixture_of(3, bad=0.03).records())
    await assert_exact(kafka.address, settings, worker)
    task = 2
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        foreign = msgspec.msgpack.encode([PARTIAL_COUNTS_VERSION + 1, {}, 0, []])
        sent = await producer.send_and_wait(topics["repartition"], foreign, partition=task)
    assert await ended(worker) == 1
    assert f"partial counts of format {PARTIAL_COUNTS_VERSION + 1}" in last_line(worker)
    await send(kafka.address, settings, *mixture_of(3, count=1_000, seed=2).records())
    worker.start()
    assert await ended(worker) == 1
    group = settings["kafka"]["group_id"]
    offsets = await committed_offsets(kafka.address, group, topics["repartition"])
    assert offsets[task] <= sent.offset
    newer = await new_variant(settings, BOTH_PARTIAL_COUNTS, "newer").ready()
    await send(kafka.address, settings, *mixture_of(3, count=1_000, seed=3).records())
    await assert_exact(kafka.address, settings, newer)
