"""Memory per live cell (one window of one campaign), and how long a restart with them takes.

python -m benchmarks.memory --cells 1000000
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import History
from benchmarks.feed import fill
from benchmarks.measuring import usage
from benchmarks.worker import catch_up, settings_of, settled, start_up_cost
from tests.support.brokers import KafkaBroker
from tests.support.workers import WorkerProcess

METRIC = "campaign_streams_{}{{"
HEAD = ("what", "figure")


async def measure(address: str, history: History, directory: Path) -> list[list[str]]:
    """Fill a worker with cells, look at it, start it anew, look again."""
    nothing = await fill(address, "memory-none", (), keyed=False)
    with WorkerProcess(settings_of(nothing, "memory-none"), directory, "empty") as empty:
        await start_up_cost(empty)
        base = usage(empty.process.pid)
        empty.stop()
    feed = await fill(address, "memory", history, keyed=False)
    worker = WorkerProcess(settings_of(feed, "memory"), directory, "full")
    with worker:
        cost = await catch_up(worker, feed.events, 0.0)
        metrics = dict(await worker.metrics())
        full = usage(worker.process.pid)
        worker.stop()
    began = time.perf_counter()
    with worker:
        await worker.ready(within=600)
        ready = time.perf_counter() - began
        await settled((worker,))
        again = usage(worker.process.pid)
        worker.stop()
    cells = history.campaigns * history.windows
    kept = _total(metrics, "window_cells")
    packed = _total(metrics, "window_table_bytes")
    per_cell = (full.resident_bytes - base.resident_bytes) / cells
    per_cell_again = (again.resident_bytes - base.resident_bytes) / cells
    return [
        ["live cells", f"{cells:,}"],
        ["cells by the worker's own metric", f"{kept:,.0f}"],
        ["windows still open then", f"{_total(metrics, 'open_windows'):,.0f}"],
        ["events in a cell", f"{history.each}"],
        ["memory of an empty worker, MiB", _mib(base.resident_bytes)],
        ["memory with the cells, MiB", _mib(full.resident_bytes)],
        ["bytes per cell", f"{per_cell:,.0f}"],
        ["of these packed counts, by the metric", f"{packed / cells:,.0f}"],
        ["peak while counting them, MiB", _mib(full.peak_bytes)],
        ["CPU µs per event while counting them", f"{cost.cpu_us:.2f}"],
        ["seconds from a restart to ready", f"{ready:.1f}"],
        ["peak of the restarted worker, MiB", _mib(again.peak_bytes)],
        ["bytes per cell after the restart", f"{per_cell_again:,.0f}"],
    ]


def _total(metrics: dict[str, float], name: str) -> float:
    prefix = METRIC.format(name)
    return sum(value for sample, value in metrics.items() if sample.startswith(prefix))


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"


def main() -> None:
    """Measure once."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Memory.")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--windows", type=int, default=10, help="of each campaign")
    parser.add_argument("--each", type=int, default=2, help="events in a cell, each another status")
    options = parser.parse_args()
    history = History(options.cells // options.windows, options.windows, options.each)
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        rows = asyncio.run(measure(broker.address, history, Path(directory)))
    title = f"Memory, {options.cells:,} cells"
    table.publish("memory", table.Results(title, HEAD, rows), **vars(options))


if __name__ == "__main__":
    main()
