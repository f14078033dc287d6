"""What readers of the live stream cost one worker's API, in CPU time, without a broker.

    python -m benchmarks.stream_cost --readers 500 --commits 50

The API over partitions in memory, in this process; readers in another one. Each commit changes a
window of each of 200 campaigns. The same without readers is subtracted.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from tests.api.conftest import NOW, RunningApi, running
from tests.support.partitions import counts, holder

TASKS, CAMPAIGNS = 4, 200
PAUSE_S = 0.12
START = int(NOW) - 60
HEAD = ("readers", "commits", "events told", "CPU s", "CPU µs for each event told")


class Cost:
    """One API, and its counts."""

    def __init__(self, api: RunningApi, commits: int) -> None:
        self.names = [f"{n:032x}" for n in range(CAMPAIGNS)]
        self._api = api
        self._commits = commits

    def commit(self) -> None:
        """Count something of each campaign."""
        for name in self.names:
            self._api.holder.add(name, START, counts({"SUCCESS": 1}))
        self._api.commit()

    async def run(self) -> float:
        """Commit again and again; return the CPU seconds that took."""
        began = time.process_time()
        for _ in range(self._commits):
            self.commit()
            await asyncio.sleep(PAUSE_S)
        return time.process_time() - began


async def measure(readers: int, commits: int, directory: Path) -> tuple[float, int]:
    """Return the CPU seconds with so many readers, and how many events these were told."""
    async with running(holder(TASKS)) as api:
        cost = Cost(api, commits)
        cost.commit()
        if not readers:
            return await cost.run(), 0
        campaigns, result = directory / "campaigns", directory / "result"
        campaigns.write_bytes(orjson.dumps(cost.names))
        with _readers(
            ports=api.port, tasks=TASKS, readers=readers, campaigns=campaigns, result=result
        ) as reading:
            try:
                begun = asyncio.create_task(asyncio.to_thread(_read_line, reading))
                while not begun.done():  # what readers have to be told of to begin
                    cost.commit()
                    await asyncio.sleep(1.0)
                used = await cost.run()
                reading.terminate()
                await asyncio.to_thread(reading.wait)
            finally:
                reading.kill()
        return used, int(orjson.loads(result.read_bytes())["counters"]["events"])


def _readers(**options: object) -> "subprocess.Popen[str]":
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks.stream_readers", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own


def _read_line(process: "subprocess.Popen[str]") -> str:
    return process.stdout.readline() if process.stdout else ""


def main() -> None:
    """Measure without readers and with them."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream_cost", description="Cost.")
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--commits", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        none, _ = uvloop.run(measure(0, options.commits, path))
        used, told = uvloop.run(measure(options.readers, options.commits, path))
    rows = [
        ["0", str(options.commits), "0", f"{none:.2f}", ""],
        [
            str(options.readers),
            str(options.commits),
            f"{told:,}",
            f"{used:.2f}",
            f"{(used - none) / told * 1e6:.2f}",
        ],
    ]
    title = "What readers of the live stream cost"
    table.publish("stream-cost", table.Results(title, HEAD, rows), **vars(options))


if __name__ == "__main__":
    main()
