"""What goes into the source topic comes out of the API, counted, or of the dead-letter topic."""

import time
from collections import Counter
from itertools import islice

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.comparing import (
    assert_counts,
    assert_each_dimension,
    assert_put_aside,
    count_topic,
    counted,
)
from tests.support.mixture import Mixture
from tests.support.oracle import Oracle
from tests.support.topics import Sender, create_topic
from tests.support.workers import Settings, WorkerProcess, settings_for


def now_ms() -> int:
    return int(time.time() * 1000)


async def assert_metrics(worker: WorkerProcess, oracle: Oracle) -> None:
    """Compare what one worker, which did all the work, tells Prometheus."""
    samples = await worker.metrics()
    prefix = "campaign_streams"
    for kind, count in oracle.skipped.items():
        name = f'{prefix}_events_total{{kind="{kind}",outcome="skipped"}}'
        assert samples[name] == count
    for kind, count in oracle.counted.items():
        name = f'{prefix}_events_total{{kind="{kind}",outcome="counted"}}'
        assert samples[name] == count
    for reason, count in Counter(oracle.refused.values()).items():
        assert samples[f'{prefix}_dead_letters_total{{reason="{reason}"}}'] == count


async def check_mixture(
    broker: RunningBroker, settings: Settings, mixture: Mixture, new_worker: NewWorker
) -> None:
    """Send half before the worker is there, half while it works, and compare everything."""
    await create_topic(broker.address, settings["topics"]["source"], mixture.partitions)
    records = mixture.records()
    async with Sender(broker.address, settings["topics"]["source"]) as sender:
        await sender.send(islice(records, mixture.count // 2))
        worker = new_worker(settings)
        await worker.ready()
        await sender.send(records)
    oracle = await count_topic(broker.address, settings)
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)
    await assert_each_dimension(worker, oracle)
    await assert_put_aside(broker.address, settings, oracle)
    await assert_metrics(worker, oracle)
    assert worker.stop() == 0


async def test_every_count_of_a_mixture(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    count = 200_000 if broker.kind == "kafka" else 20_000
    mixture = Mixture(count, until=now_ms())
    await check_mixture(broker, settings_for(broker, unique), mixture, new_worker)


async def test_every_count_when_producers_key_by_campaign(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    mixture = Mixture(20_000, until=now_ms(), keyed=True, partitions=5, seed=2)
    settings = settings_for(broker, unique, source={"keyed": True})
    await check_mixture(broker, settings, mixture, new_worker)
