"""What an event costs against the number of campaigns, partitions, tasks and retained windows.

    python -m benchmarks.flat --events 500000

Also how many bytes the internal topics take per event, as they lie on the broker's disk.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import History, Traffic
from benchmarks.feed import Feed, append, fill
from benchmarks.measuring import usage
from benchmarks.worker import CatchUp, catch_up, reach, settings_of, settled, start_up_cost
from tests.support.brokers import KafkaBroker
from tests.support.workers import WorkerProcess

HEAD = (
    *("what varies", "campaigns", "partitions", "tasks", "retained before"),
    *("events/s", "CPU µs/event", "against first", "state B/event", "keyed B/event", "peak MiB"),
)


class Shape(NamedTuple):
    """One case.

    With `history`, each campaign has so many windows before the events come, and the worker that
    counted these goes on; otherwise a fresh worker catches up on a full topic.
    """

    varies: str
    campaigns: int = 1000
    partitions: int = 4
    tasks: int = 4
    history: int | None = None


SHAPES = (
    *(Shape("campaigns", campaigns=n) for n in (100, 1_000, 10_000, 100_000)),
    *(Shape("partitions", partitions=n) for n in (1, 4, 16, 64)),
    *(Shape("partitions and tasks", partitions=n, tasks=n) for n in (1, 16, 64)),
    *(Shape("retained windows", campaigns=200, history=n) for n in (0, 120, 1_200)),
)


class Measured(NamedTuple):
    """A case with its cost, and the bytes per event of both internal topics."""

    shape: Shape
    cost: CatchUp
    state: float
    keyed: float


async def measure(broker: KafkaBroker, shape: Shape, traffic: Traffic, path: Path) -> Measured:
    """Count events of one shape."""
    name = f"flat-{shape.varies.split()[-1]}-" + "-".join(map(str, shape[1:]))
    history = History(shape.campaigns, shape.history or 0)
    feed = await fill(broker.address, name, history, partitions=shape.partitions, keyed=False)
    worker = WorkerProcess(settings_of(feed, name, tasks=shape.tasks), path, name)
    before = (0, 0)
    if shape.history is None:
        with worker:
            start_up = await start_up_cost(worker)
            worker.stop()
        await append(feed, traffic, keyed=False)
        with worker:
            cost = await catch_up(worker, traffic.count, start_up)
            worker.stop()
    else:
        with worker:
            await worker.ready()
            await reach((worker,), feed.events)
            await settled((worker,))
            before = _sizes(broker, name)
            cost = await _more(worker, feed, traffic)
            worker.stop()
    state, keyed = (
        (now - then) / traffic.count for now, then in zip(_sizes(broker, name), before, strict=True)
    )
    return Measured(shape, cost, state, keyed)


async def _more(worker: WorkerProcess, feed: Feed, traffic: Traffic) -> CatchUp:
    """Send more events to a worker that has a history, as fast as that goes.

    A restart would be all about reading the history back.
    """
    first = await settled((worker,))
    events = list(traffic)
    began = time.perf_counter()
    await append(feed, events, keyed=False)
    await reach((worker,), feed.events + traffic.count)
    last = await settled((worker,))
    used = last.cpu_seconds - first.cpu_seconds
    peak = usage(worker.process.pid).peak_bytes
    per_event = used / traffic.count * 1e6
    return CatchUp(traffic.count, last.at - began, used, per_event, peak)


def _sizes(broker: KafkaBroker, group: str) -> tuple[int, int]:
    """Return the bytes on disk of a group's changelog topic and repartition topic."""
    data = broker.directory / "data"
    state, keyed = (
        sum(file.stat().st_size for file in data.glob(f"{group}-{name}-*/*.log"))
        for name in ("changelog", "partial-counts")
    )
    return state, keyed


def rows(measured: Sequence[Measured]) -> list[list[str]]:
    """Make the rows of the table; each is compared with the first of those that vary the same."""
    first: dict[str, float] = {}
    made = []
    for shape, cost, state, keyed in measured:
        begin = first.setdefault(shape.varies, cost.cpu_us)
        made.append(
            [
                shape.varies,
                *("-" if n is None else f"{n:,}" for n in shape[1:]),
                f"{cost.rate:,.0f}",
                f"{cost.cpu_us:.2f}",
                f"{cost.cpu_us / begin:.2f}",
                f"{state:.1f}",
                f"{keyed:.1f}",
                f"{cost.peak_bytes / 2**20:.0f}",
            ]
        )
    return made


def main() -> None:
    """Measure all shapes, one after the other."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description="Flat costs.")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--only", default="", help="what varies: campaigns, partitions, …")
    parser.add_argument("--span", type=int, default=600, help="seconds of event time")
    options = parser.parse_args()
    measured = []
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        for shape in SHAPES:
            if shape.varies.startswith(options.only):
                traffic = Traffic(options.events, shape.campaigns, options.span)
                made = asyncio.run(measure(broker, shape, traffic, Path(directory)))
                measured.append(made)
                sys.stdout.write(f"{shape}: {made.cost.cpu_us:.2f} µs\n")
                sys.stdout.flush()
    title = f"Cost per event, {options.events:,} events in {options.span} s of event time"
    table.publish("flat", table.Results(title, HEAD, rows(measured)), **vars(options))


if __name__ == "__main__":
    main()
