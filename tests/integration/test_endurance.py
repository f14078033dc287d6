"""A day of constant traffic in fast motion: memory and state level out."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import orjson
import pytest

from tests.integration.conftest import NewWorker
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import assert_counts, count_topic, counted
from tests.support.mixture import STATUSES, SourceRecord, send_event
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.workers import Settings, WorkerProcess, settings_for

pytestmark = pytest.mark.kafka

MINUTE, HOUR = 60, 3600
SOURCES = 3
MARK = b"@time@"


@dataclass(frozen=True)
class Traffic:
    """The same events every minute, up to now.

    Args:
        hours: of event time.
        speed: how many times as fast as time goes.
        campaigns: each has one event a minute of each of two statuses.
    """

    hours: int
    speed: int
    campaigns: int

    def minutes(self) -> Iterator[list[SourceRecord]]:
        """Yield each minute's events."""
        now = int(time.time()) // MINUTE * MINUTE
        marked = [
            orjson.dumps(
                {**send_event(f"campaign-{n}", 0, status), "event_timestamp": MARK.decode()}
            )
            for n in range(self.campaigns)
            for status in (STATUSES[0], STATUSES[1 + n % 16])
        ]
        quoted = b'"' + MARK + b'"'
        for start in range(now - self.hours * HOUR, now, MINUTE):
            time_ms = str(start * 1000 + 30_000).encode()
            yield [
                SourceRecord(n % SOURCES, None, value.replace(quoted, time_ms))
                for n, value in enumerate(marked)
            ]

    async def send(self, address: str, topic: str) -> AsyncIterator[float]:
        """Send all of it at its speed; yield after every hour which share is sent."""
        began = time.monotonic()
        async with Sender(address, topic) as sender:
            for n, records in enumerate(self.minutes(), 1):
                await sender.send(records)
                ahead = began + n * MINUTE / self.speed - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                if n % 60 == 0:
                    yield n / (self.hours * 60)


class Sample(NamedTuple):
    """What a worker needs when a share of the traffic was sent."""

    share: float
    resident: float
    cells: float
    records: float
    bytes: float


def resident(pid: int) -> float:
    """How much memory (MiB) a process has."""
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kib) / 1024


async def sample(worker: WorkerProcess, address: str, settings: Settings, share: float) -> Sample:
    """Look at a worker: memory (MiB), cells, and what is live on the changelog topic."""
    metrics = await worker.metrics()
    cells = sum(v for k, v in metrics.items() if k.startswith("campaign_streams_window_cells"))
    records = await read_topic(address, settings["topics"]["changelog"])
    last = {(each.partition, each.key): each.value for each in records}
    live = [value for value in last.values() if value is not None]
    return Sample(share, resident(worker.process.pid), cells, len(live), sum(map(len, live)))


async def endure(
    traffic: Traffic, address: str, settings: Settings, worker: WorkerProcess, warm: float
) -> None:
    """Send the traffic, look at the worker every hour; after `warm` it must be level."""
    topic = settings["topics"]["source"]
    samples = [
        await sample(worker, address, settings, share)
        async for share in traffic.send(address, topic)
    ]
    for each in samples:
        print("  ".join(f"{name} {value:,.2f}" for name, value in each._asdict().items()))  # noqa: T201 - figures for -s
    level = [each for each in samples if each.share > warm]
    half = len(level) // 2
    assert half >= 5
    for name in ("resident", "cells", "records", "bytes"):
        first, second = (
            fmean(getattr(each, name) for each in part) for part in (level[:half], level[half:])
        )
        assert second < 1.1 * first, f"{name}: {first:,.1f}, then {second:,.1f}"


async def assert_retained(address: str, settings: Settings, worker: WorkerProcess) -> None:
    """Every count that is retained is right, and nothing else is there."""
    oracle = await count_topic(address, settings)
    assert not oracle.refused
    reached = min(oracle.event_times.values()) // 1000
    kept = oracle.size + oracle.grace + oracle.retention
    oracle.windows = {at: w for at, w in oracle.windows.items() if at[1] + kept > reached}
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)


async def test_a_day(kafka: KafkaBroker, unique: str, new_worker: NewWorker) -> None:
    # A window has to live several times as long as it must be quiet to be written (2 s): with less
    # it is chance how many are written before they expire.
    await run(kafka, unique, new_worker, Traffic(hours=24, speed=3000, campaigns=40), retention=6)


@pytest.mark.long
async def test_four_days_of_what_is_retained_by_default(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    await run(kafka, unique, new_worker, Traffic(hours=96, speed=1000, campaigns=40), retention=24)


async def run(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker, traffic: Traffic, retention: int
) -> None:
    broker = RunningBroker("kafka", kafka.address)
    # Silence is by the clock on the wall, which stands still here.
    windows = {"retention": retention * HOUR, "idle_timeout": HOUR}
    settings = settings_for(broker, unique, windows=windows)
    await create_topic(broker.address, settings["topics"]["source"], SOURCES)
    worker = await new_worker(settings).ready()
    await endure(traffic, broker.address, settings, worker, warm=(retention + 1) / traffic.hours)
    await assert_retained(broker.address, settings, worker)
