"""Counts stay exact, and dead letters single, whatever happens to workers and the broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice

import pytest
from aiokafka import AIOKafkaProducer

from tests.integration.conftest import NewWorker
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import (
    assert_counts,
    assert_put_aside,
    count_topic,
    counted,
    total_of,
)
from tests.support.mixture import Mixture, SourceRecord
from tests.support.topics import Sender, create_topic
from tests.support.waiting import PATIENCE_S
from tests.support.workers import Settings, WorkerProcess, settings_for


class Load:
    """Sends a mixture, piece by piece, until it is told to end."""

    def __init__(self, address: str, settings: Settings, seed: int, **mixture: bool) -> None:
        until = int(time.time() * 1000)
        self.mixture = Mixture(10_000_000, until=until, span=1_200_000, seed=seed, **mixture)
        self._address = address
        self._topic = settings["topics"]["source"]
        self._ending = asyncio.Event()
        self._more = asyncio.Condition()
        self.sent = 0

    async def run(self) -> None:
        """Send about 8,000 records a second."""
        pieces = _pieces(self.mixture, 400)
        async with Sender(self._address, self._topic) as sender:
            while not self._ending.is_set():
                piece = next(pieces)
                await sender.send(piece)
                self.sent += len(piece)
                async with self._more:
                    self._more.notify_all()
                await asyncio.sleep(0.05)

    async def reaches(self, sent: int) -> None:
        """Wait until so many more are sent."""
        goal = self.sent + sent
        async with asyncio.timeout(PATIENCE_S), self._more:
            await self._more.wait_for(lambda: self.sent >= goal)

    def end(self) -> None:
        self._ending.set()


def _pieces(mixture: Mixture, size: int) -> Iterator[list[SourceRecord]]:
    records = mixture.records()
    while True:
        yield list(islice(records, size))


@asynccontextmanager
async def load_on(address: str, settings: Settings, seed: int) -> AsyncIterator[Load]:
    """Make the source topic and put load on it."""
    load = Load(address, settings, seed)
    await create_topic(address, settings["topics"]["source"], load.mixture.partitions)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.end()
        await running


def unfolded(broker: RunningBroker, prefix: str) -> Settings:
    """Return settings with which no count key is folded, for however long the load goes on.

    After 270,000 events a campaign has more keys in a window than `limits.names` is as shipped.
    """
    return settings_for(broker, prefix, limits={"names": 10_000})


async def progress(worker: WorkerProcess) -> None:
    """Wait until a worker counts on from where it stands."""
    first: int | None = None
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = await total_of(worker)
        if first is not None and seen is not None and seen > first:
            return
        first = first if first is not None else seen
        assert time.monotonic() < deadline, f"no progress:\n{worker.log[-3000:]}"
        await asyncio.sleep(0.1)


async def assert_exact(address: str, settings: Settings, worker: WorkerProcess) -> None:
    """Compare all counts and dead letters with an independent count of the topic."""
    oracle = await count_topic(address, settings)
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)
    await assert_put_aside(address, settings, oracle)


async def test_sigterm_under_load_and_start_again(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(broker, unique)
    async with load_on(broker.address, settings, seed=3) as load:
        worker = await new_worker(settings).ready()
        for _ in range(2):
            await progress(worker)
            assert await asyncio.to_thread(worker.stop) == 0
            await load.reaches(2_000)
            worker.start()
            await worker.ready()
        await progress(worker)
    await assert_exact(broker.address, settings, worker)
    assert "Traceback" not in worker.log
    assert "shutdown timed out" not in worker.log, "it took longer than it may"


@pytest.mark.kafka
async def test_kill_under_load_five_times(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(RunningBroker("kafka", kafka.address), unique)
    async with load_on(kafka.address, settings, seed=4) as load:
        worker = new_worker(settings)
        for _ in range(5):
            await worker.ready()
            await progress(worker)
            await load.reaches(1_000)
            worker.kill()
            worker.start()
        await worker.ready()
        await progress(worker)
    await assert_exact(kafka.address, settings, worker)


@pytest.mark.kafka
async def test_workers_come_and_go(kafka: KafkaBroker, unique: str, new_worker: NewWorker) -> None:
    settings = unfolded(RunningBroker("kafka", kafka.address), unique)
    async with load_on(kafka.address, settings, seed=5) as load:
        first = await new_worker(settings, "first").ready()
        await progress(first)
        second = await new_worker(settings, "second").ready()
        await progress(second)
        third = await new_worker(settings, "third").ready()
        await progress(third)
        assert await asyncio.to_thread(first.stop) == 0
        await progress(second)
        await load.reaches(2_000)
        second.kill()
        await progress(third)
    await assert_exact(kafka.address, settings, third)


@pytest.mark.kafka
async def test_two_workers_answer_alike(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(RunningBroker("kafka", kafka.address), unique)
    async with load_on(kafka.address, settings, seed=6):
        first = await new_worker(settings, "first").ready()
        second = await new_worker(settings, "second").ready()
        await progress(second)
    await assert_exact(kafka.address, settings, first)
    await assert_exact(kafka.address, settings, second)
    shares = [await _tasks_of(worker) for worker in (first, second)]
    assert sorted(shares[0] + shares[1]) == [0, 1, 2, 3]
    assert len(shares[0]) == len(shares[1])


async def _tasks_of(worker: WorkerProcess) -> list[int]:
    name = 'campaign_streams_event_time_seconds{partition="'
    samples = await worker.metrics()
    return [int(each.removeprefix(name)[:-2]) for each in samples if each.startswith(name)]


@pytest.mark.kafka
async def test_broker_gone_for_a_while(
    own_kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(RunningBroker("kafka", own_kafka.address), unique)
    async with load_on(own_kafka.address, settings, seed=7):
        worker = await new_worker(settings).ready()
        for break_it in (own_kafka.stop, own_kafka.kill):
            await progress(worker)
            await asyncio.to_thread(break_it)
            await asyncio.to_thread(own_kafka.start)
        await progress(worker)
    await assert_exact(own_kafka.address, settings, worker)
    assert worker.process.running


@pytest.mark.kafka
async def test_frozen_worker_comes_back(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(RunningBroker("kafka", kafka.address), unique)
    async with load_on(kafka.address, settings, seed=8):
        first = await new_worker(settings, "first").ready()
        second = await new_worker(settings, "second").ready()
        await progress(second)
        first.process.pause()
        # Not before the group has given its share to the other one.
        await progress(second)
        assert sorted(await _tasks_of(second)) == [0, 1, 2, 3]
        first.process.resume()
        await progress(second)
        await progress(first)
    await assert_exact(kafka.address, settings, first)
    await assert_exact(kafka.address, settings, second)


@pytest.mark.kafka
async def test_task_whose_writer_was_shut_out(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    """Without a rebalance: the worker takes its task again by itself."""
    rebalances = "campaign_streams_rebalances_total"
    settings = unfolded(RunningBroker("kafka", kafka.address), unique)
    async with load_on(kafka.address, settings, seed=9):
        worker = await new_worker(settings).ready()
        before = (await worker.metrics())[rebalances]
        for task in range(2):
            await progress(worker)
            intruder = AIOKafkaProducer(
                bootstrap_servers=kafka.address, transactional_id=f"{unique}-task-{task}"
            )
            async with intruder:
                await progress(worker)
        await progress(worker)
    await assert_exact(kafka.address, settings, worker)
    assert worker.log.count("task lost") >= 2
    assert (await worker.metrics())[rebalances] == before


@pytest.mark.kafka
async def test_sigterm_while_the_broker_is_gone(
    own_kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = unfolded(RunningBroker("kafka", own_kafka.address), unique)
    mixture = Mixture(5_000, until=int(time.time() * 1000), seed=10)
    await create_topic(own_kafka.address, settings["topics"]["source"], mixture.partitions)
    worker = await new_worker(settings).ready()
    async with Sender(own_kafka.address, settings["topics"]["source"]) as sender:
        await sender.send(mixture.records())
    await asyncio.to_thread(own_kafka.kill)
    assert await asyncio.to_thread(worker.stop) == 0
    await asyncio.to_thread(own_kafka.start)
    worker.start()
    await worker.ready()
    await assert_exact(own_kafka.address, settings, worker)


@pytest.mark.kafka
async def test_sigterm_under_load_while_the_broker_is_gone(
    own_kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    """What was under way cannot end, and the process has to all the same."""
    settings = unfolded(RunningBroker("kafka", own_kafka.address), unique)
    async with load_on(own_kafka.address, settings, seed=11):
        worker = await new_worker(settings).ready()
        await progress(worker)
        await asyncio.to_thread(own_kafka.stop)
        await asyncio.sleep(5)
        assert await asyncio.to_thread(worker.stop) == 0
        await asyncio.to_thread(own_kafka.start)
        worker.start()
        await worker.ready()
        await progress(worker)
    await assert_exact(own_kafka.address, settings, worker)
