"""What an event costs with two workers on one topic, against one.

    python -m benchmarks.workers --events 2000000

The workers share out an empty topic and are frozen while it is filled: so all of them catch up from
the first event on, and neither their start nor the forming of their group is in the figures.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Traffic
from benchmarks.feed import append, fill
from benchmarks.worker import Moment, reach, settings_of, settled
from tests.support.brokers import KafkaBroker
from tests.support.waiting import until
from tests.support.workers import WorkerProcess

TASKS = 4
LANE_METRIC = "campaign_streams_window_cells{"
SESSION = "5m"
"""Workers that are frozen must stay in their group."""
HEAD = ("workers", "events", "events/s", "CPU µs/event", "against one")


async def measure(address: str, traffic: Traffic, group: str, count: int, path: Path) -> Moment:
    """Let so many workers count a topic; return events, seconds and CPU seconds of that."""
    feed = await fill(address, group, (), keyed=False)
    settings = settings_of(feed, group)
    settings["kafka"]["session_timeout"] = SESSION
    workers = [WorkerProcess(settings, path, f"{group}-{n}") for n in range(count)]
    with ExitStack() as running:
        for worker in workers:
            running.enter_context(worker)
        await _shared_out(workers)
        first = await settled(workers)
        for worker in workers:
            worker.process.pause()
        await append(feed, traffic, keyed=False)
        began = time.perf_counter()
        for worker in workers:
            worker.process.resume()
        await reach(workers, traffic.count)
        last = await settled(workers)
        for worker in workers:
            worker.stop()
    return Moment(last.at - began, traffic.count, last.cpu_seconds - first.cpu_seconds)


async def _shared_out(workers: Sequence[WorkerProcess]) -> None:
    """Wait until every worker has as many tasks as it should."""
    for worker in workers:
        await worker.ready()

    async def all_have() -> bool:
        tasks = [_tasks(await worker.metrics()) for worker in workers]
        return all(number == TASKS // len(workers) for number in tasks)

    await until(all_have)


def _tasks(metrics: Mapping[str, float]) -> int:
    """How many tasks a worker has, by a metric that has a sample for each."""
    return sum(name.startswith(LANE_METRIC) for name in metrics)


def main() -> None:
    """Measure one and two workers in turn."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="Scaling.")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[int, list[Moment]] = {1: [], 2: []}
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        traffic = Traffic(options.events, options.campaigns)
        for number in range(options.rounds):
            for count, moments in found.items():
                group = f"workers-{count}-{number}"
                measuring = measure(broker.address, traffic, group, count, Path(directory))
                moments.append(asyncio.run(measuring))
                sys.stdout.write(f"round {number + 1}, {count}: {moments[-1]}\n")
                sys.stdout.flush()
    title = f"Workers on one topic, {options.events:,} events, {options.campaigns:,} campaigns"
    table.publish("workers", table.Results(title, HEAD, _rows(found)), **vars(options))


def _rows(found: dict[int, list[Moment]]) -> list[list[str]]:
    costs = {n: [m.cpu_seconds / m.counted * 1e6 for m in moments] for n, moments in found.items()}
    return [
        [
            str(count),
            f"{min(moment.counted for moment in moments):,}",
            table.spread(moment.counted / moment.at for moment in moments),
            table.spread(costs[count], 2),
            table.spread((it / one for it, one in zip(costs[count], costs[1], strict=True)), 3),
        ]
        for count, moments in found.items()
    ]


if __name__ == "__main__":
    main()
