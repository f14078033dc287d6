"""How long point queries take while the worker catches up at full speed.

    python -m benchmarks.queries --events 1000000

This process asks at a fixed pace, over connections that stay open; the time of a question runs from
when it was due, so a worker that is stuck makes all questions meanwhile late.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Traffic, Truth
from benchmarks.feed import fill
from benchmarks.worker import reach, settings_of
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK
from tests.support.workers import WorkerProcess

HEAD = ("question", "campaigns", "asked", "answered 200", "p50 ms", "p90 ms", "p99 ms", "max ms")
POINTS = ("/v1/campaigns/{id}/windows/{start}", "/v1/campaigns/{id}")
WATCH_S = 1.0


class Asker:
    """Asks for windows and campaigns in turn, `pace` times a second.

    `answers` has the milliseconds and the status of each, by question.
    """

    def __init__(self, session: aiohttp.ClientSession, truth: Truth, pace: float) -> None:
        self.answers: dict[str, list[tuple[float, int]]] = {point: [] for point in POINTS}
        self._session = session
        # The oldest windows are there first.
        oldest = min(start for _, start, _ in truth)
        self._cells = sorted({cell[:2] for cell in truth if cell[1] <= oldest + 120})
        self._pace = pace
        self._choice = random.Random(2)  # noqa: S311 - no secrets here
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Ask until cancelled; then wait for what is under way."""
        began, number = time.perf_counter(), 0
        try:
            while True:
                due = began + number / self._pace
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                task = asyncio.create_task(self._ask(POINTS[number % len(POINTS)], due))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                number += 1
        finally:
            await asyncio.gather(*self._tasks)

    async def _ask(self, point: str, due: float) -> None:
        campaign, start = self._choice.choice(self._cells)
        async with self._session.get(point.format(id=campaign, start=start * 1000)) as response:
            await response.read()
        self.answers[point].append(((time.perf_counter() - due) * 1000, response.status))


async def measure(worker: WorkerProcess, truth: Truth, events: int, pace: float) -> Asker:
    """Ask while a worker, just started, catches up."""
    await worker.ready()
    await reach((worker,), 1)
    base = f"http://{LOOPBACK}:{worker.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=60)) as session:
        asker = Asker(session, truth, pace)
        asking = asyncio.create_task(asker.run())
        await reach((worker,), events, WATCH_S)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return asker


def main() -> None:
    """Measure once for each number of campaigns."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries", description="Queries.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--campaigns", default="200,20000", help="with commas")
    parser.add_argument("--pace", type=float, default=100, help="questions per second")
    options = parser.parse_args()
    rows = []
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        for campaigns in map(int, options.campaigns.split(",")):
            name = f"queries-{campaigns}"
            traffic = Traffic(options.events, campaigns)
            feed = asyncio.run(fill(broker.address, name, traffic, keyed=False))
            with WorkerProcess(settings_of(feed, name), Path(directory), name) as worker:
                asker = asyncio.run(measure(worker, feed.truth, options.events, options.pace))
                worker.stop()
            rows += [
                _row(f"{campaigns:,}", point, answers)
                for point, answers in asker.answers.items()
                if answers
            ]
    title = f"Queries while catching up on {options.events:,} events, {options.pace:.0f} a second"
    table.publish("queries", table.Results(title, HEAD, rows), **vars(options))


def _row(campaigns: str, point: str, answers: Sequence[tuple[float, int]]) -> list[str]:
    times = [ms for ms, _ in answers]
    good = sum(status == 200 for _, status in answers)  # noqa: PLR2004
    shares = [table.percentile(times, share) for share in (0.5, 0.9, 0.99, 1.0)]
    figures = (f"{ms:.1f}" for ms in shares)
    return [point, campaigns, f"{len(times):,}", f"{good:,}", *figures]


if __name__ == "__main__":
    main()
