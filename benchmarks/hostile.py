"""Honest events beside hostile records: what the hostile ones cost everybody else.

    python -m benchmarks.hostile --seconds 40 --rate 20000

In each run the same honest load, questions and incidents on a worker of its own, while the same
process attacks with everything in `benchmarks.attacks`: a topic that the worker does not read, or
its source. So broker and cores are as busy in both, and what differs is what the hostile records
cost the worker. A new broker and a machine that others use are now fast, now slow: after a run that
does not count there are two of each kind, in the order elsewhere, source, source, elsewhere.

The dead-letter topic has Kafka's default settings. After each run all honest events are compared
with an independent count, then again after kill -9 and a restart. Exit status 1 if one is not
counted, or counted twice.
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Truth
from benchmarks.feed import Feed, fill
from benchmarks.latency import Incidents
from benchmarks.measuring import usage
from benchmarks.worker import differing, settings_of
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK
from tests.support.receiver import SECRET, Collector
from tests.support.topics import committed_offsets, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess

LIVE_EVERY_S, LIST_EVERY_S = 0.02, 0.5
WARM_UP_S = 5.0
INCIDENT_S = 0.3
"""About what an incident takes, with the pause after it."""
CAUGHT_UP_WITHIN_S = 180.0
COUNTED_AGAIN_WITHIN_S = 30
"""A worker that was killed reads the last counts again after it is ready."""
ORDER = (False, True, True, False)
"""Whether the source is attacked, by run."""
HEAD = ("", "attacks elsewhere", "attacks on the source", "ratio")


@dataclass
class Measured:
    """One run. Times in ms, by what they are of."""

    times: dict[str, list[float]] = field(default_factory=dict)
    honest: int = 0
    differing: int = 0
    differing_restarted: int = 0
    tasks_lost: int = 0
    dead_letters: int = 0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    attacks: Mapping[str, int] = field(default_factory=dict)

    def add(self, what: str, milliseconds: float) -> None:
        """Keep a time."""
        self.times.setdefault(what, []).append(milliseconds)

    def plus(self, other: "Measured") -> "Measured":
        """Return this run and another one of the same kind together."""
        return Measured(
            {what: times + other.times[what] for what, times in self.times.items()},
            self.honest + other.honest,
            self.differing + other.differing,
            self.differing_restarted + other.differing_restarted,
            self.tasks_lost + other.tasks_lost,
            self.dead_letters + other.dead_letters,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
            Counter(self.attacks) + Counter(other.attacks),
        )


@contextlib.contextmanager
def process(module: str, **options: object) -> Iterator[list[str]]:
    """Run a module of the benchmarks until the block ends; then the list has what it printed."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    printed: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603 - our own
        try:
            yield printed
        finally:
            running.terminate()
            printed.append(running.communicate()[0])


async def ask(worker: WorkerProcess, measured: Measured, target: str, every: float) -> None:
    """Ask the same question again and again, until cancelled."""
    base = f"http://{LOOPBACK}:{worker.port}"
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base, timeout=timeout) as session:
        while True:
            began = time.perf_counter()
            async with session.get(target) as response:
                await response.read()
                response.raise_for_status()
            measured.add(target, (time.perf_counter() - began) * 1000)
            await asyncio.sleep(every)


async def measure(
    broker: KafkaBroker, name: str, options: argparse.Namespace, directory: Path, *, hostile: bool
) -> Measured:
    """Run once."""
    measured = Measured()
    feed = await fill(broker.address, name, (), keyed=False)
    await create_topic(broker.address, f"{name}-dead", 4)
    async with Collector() as receiver:
        settings = settings_of(
            feed,
            name,
            receivers=[
                {"name": "ops", "url": receiver.url, "secrets": [SECRET], "group_by": "none"}
            ],
            delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        )
        with WorkerProcess(settings, directory, name) as worker:
            await worker.ready()
            file = directory / f"{name}.truth"
            await _traffic(worker, feed, receiver, options, measured, file, hostile=hostile)
            truth = read_truth(file)
            measured.honest = truth.total()
            await _compare(worker, feed, name, truth, measured)
            worker.stop()
    measured.tasks_lost = worker.log.count("task lost")
    measured.dead_letters = len(await read_topic(broker.address, f"{name}-dead"))
    return measured


async def _traffic(  # noqa: PLR0913, PLR0917 - the parts of one run
    worker: WorkerProcess,
    feed: Feed,
    receiver: Collector,
    options: argparse.Namespace,
    measured: Measured,
    file: Path,
    *,
    hostile: bool,
) -> None:
    """Let everything flow; `file` gets how the load must be counted."""
    where = {"brokers": feed.address, "partitions": feed.partitions}
    attacked_topic = feed.plain if hostile else await _unread_topic(feed)
    with process("load", **where, topic=feed.plain, rate=options.rate, truth=file):
        await asyncio.sleep(WARM_UP_S)
        with process("attacks", **where, topic=attacked_topic, seed=options.seed) as attacked:
            before = usage(worker.process.pid).cpu_seconds
            async with asking(worker, measured):
                incidents = Incidents(feed, receiver, options.seed)
                times = await incidents.run(int(options.seconds / INCIDENT_S))
            measured.times["incident to webhook"] = times
            measured.cpu_seconds = usage(worker.process.pid).cpu_seconds - before
        measured.attacks = orjson.loads(attacked[0])


async def _unread_topic(feed: Feed) -> str:
    """Make a topic as the source is, which nobody reads."""
    name = f"{feed.plain}-unread"
    await create_topic(feed.address, name, feed.partitions)
    return name


@contextlib.asynccontextmanager
async def asking(worker: WorkerProcess, measured: Measured) -> AsyncIterator[None]:
    """Ask for life and for the list of campaigns while the block runs."""
    tasks = [
        asyncio.create_task(ask(worker, measured, "/livez", LIVE_EVERY_S)),
        asyncio.create_task(ask(worker, measured, "/v1/campaigns?limit=100", LIST_EVERY_S)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def read_truth(file: Path) -> Truth:
    """Read what the load wrote."""
    truth = Truth()
    for campaign, start, status, count in orjson.loads(file.read_bytes()):
        truth[campaign, start, status] = count
    return truth


async def _compare(
    worker: WorkerProcess, feed: Feed, group: str, truth: Truth, measured: Measured
) -> None:
    """Compare the honest counts, before and after a kill."""
    await until(_caught_up(feed, group), CAUGHT_UP_WITHIN_S)
    measured.peak_bytes = usage(worker.process.pid).peak_bytes
    measured.differing = await differing(worker, truth)
    worker.kill()
    worker.start()
    await worker.ready()
    measured.differing_restarted = await _differing_at_last(worker, truth)


async def _differing_at_last(worker: WorkerProcess, truth: Truth) -> int:
    for _ in range(COUNTED_AGAIN_WITHIN_S):
        found = await differing(worker, truth)
        if not found:
            return 0
        await asyncio.sleep(1)
    return found


def _caught_up(feed: Feed, group: str) -> Callable[[], Awaitable[bool]]:
    """Make a condition: the group has committed all that is in the source topic."""

    async def caught_up() -> bool:
        records = await read_ends(feed)
        committed = await committed_offsets(feed.address, group, feed.plain)
        return all(committed.get(number, 0) >= end for number, end in records.items())

    return caught_up


async def read_ends(feed: Feed) -> dict[int, int]:
    """Ask for the end offset of each partition of the source topic."""
    consumer: AIOKafkaConsumer[bytes, bytes] = AIOKafkaConsumer(bootstrap_servers=feed.address)
    await consumer.start()
    try:
        partitions = [TopicPartition(feed.plain, n) for n in range(feed.partitions)]
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    return {each.partition: end for each, end in ends.items()}


def _rows(elsewhere: Measured, beside: Measured) -> Iterator[list[str]]:
    for what in elsewhere.times:
        for share, label in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            figures = [table.percentile(each.times[what], share) for each in (elsewhere, beside)]
            ratio = figures[1] / figures[0] if figures[0] else 0.0
            yield [f"{what}, {label} ms", *(f"{ms:.1f}" for ms in figures), f"{ratio:.2f}"]
    for label, name in (
        ("honest events", "honest"),
        ("honest counts that differ", "differing"),
        ("the same after kill -9 and restart", "differing_restarted"),
        ("tasks lost", "tasks_lost"),
        ("dead letters", "dead_letters"),
    ):
        yield [label, *(f"{getattr(each, name):,}" for each in (elsewhere, beside)), ""]
    cpu = [each.cpu_seconds for each in (elsewhere, beside)]
    yield ["CPU of the worker, s", *(f"{each:.1f}" for each in cpu), f"{cpu[1] / cpu[0]:.2f}"]
    peak = [each.peak_bytes / 2**20 for each in (elsewhere, beside)]
    yield ["peak memory, MiB", *(f"{each:.0f}" for each in peak), f"{peak[1] / peak[0]:.2f}"]
    for name, sent in beside.attacks.items():
        yield [f"attack: {name}", f"{elsewhere.attacks[name]:,}", f"{sent:,}", ""]


def main() -> None:
    """Measure with attacks elsewhere and on the source, and print the quotients."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description="Hostility.")
    parser.add_argument("--seconds", type=float, default=40, help="of each run")
    parser.add_argument("--rate", type=int, default=20_000, help="honest events per second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:

        def run(name: str, *, hostile: bool) -> Measured:
            return asyncio.run(measure(broker, name, options, Path(directory), hostile=hostile))

        run("warm-up", hostile=True)
        runs = [run(f"run-{n}", hostile=hostile) for n, hostile in enumerate(ORDER)]
    both = runs[0].plus(runs[3]), runs[1].plus(runs[2])
    title = f"{options.rate:,} honest events a second, and hostile records beside them"
    table.publish("hostile", table.Results(title, HEAD, list(_rows(*both))), **vars(options))
    if any(each.differing or each.differing_restarted for each in both):
        sys.exit(1)


if __name__ == "__main__":
    main()
