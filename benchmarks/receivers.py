"""Twenty hostile receivers beside a good one: what they cost the good one, and the worker.

    python -m benchmarks.receivers --incidents 200

Campaigns start to fail one after the other, as in `benchmarks.latency`, and every receiver is sent
each alert. The hostile ones are a process of their own: they flood, drip, never answer or never
end. Once without and once with them, on the embedded broker: the time from a producer's send to
the arrival at the good receiver, and how long `/livez` takes, asked at a fixed pace.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.feed import fill
from benchmarks.latency import WARM_UP_S, Incidents
from benchmarks.worker import settings_of
from streams.demo.embedded_broker import EmbeddedBroker
from tests.support.hostile import twenty
from tests.support.ports import LOOPBACK
from tests.support.receiver import SECRET, Collector
from tests.support.workers import WorkerProcess

LIVEZ_EVERY_S = 0.02
HEAD = (
    "receivers",
    "incidents",
    "good p50 ms",
    "good p99 ms",
    "good max ms",
    "/livez p99 ms",
    "/livez max ms",
    "attempts that failed",
)


class Measured(NamedTuple):
    """Times in ms."""

    told: list[float]
    livez: list[float]
    failed_attempts: int


@contextmanager
def hostile() -> Iterator[Mapping[str, str]]:
    """Start the hostile receivers; lend their URLs by name."""
    command = [sys.executable, "-m", "tests.support.hostile"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None  # noqa: S101 - for the type
        try:
            lines = [process.stdout.readline() for _ in twenty()]
            yield dict(line.strip().split("\t") for line in lines)
        finally:
            process.kill()


async def ask_livez(port: int, times: list[float]) -> None:
    """Ask at a fixed pace until cancelled; a question counts from when it was due."""
    url = f"http://{LOOPBACK}:{port}/livez"
    async with aiohttp.ClientSession() as session:
        due = time.perf_counter()
        while True:
            due += LIVEZ_EVERY_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            async with session.get(url) as response:
                await response.read()
            now = time.perf_counter()
            times.append((now - due) * 1000)
            due = max(due, now - LIVEZ_EVERY_S)


async def measure(
    address: str, name: str, others: Mapping[str, str], incidents: int, directory: Path
) -> Measured:
    """Measure once, with a fresh worker and topic."""
    feed = await fill(address, name, (), keyed=False)
    livez: list[float] = []
    async with Collector() as receiver:
        urls = {"good": receiver.url, **others}
        settings = settings_of(
            feed,
            name,
            receivers=[
                {
                    "name": each.replace(" ", "-").replace("/", "-"),
                    "url": url,
                    "secrets": [SECRET],
                    "group_by": "none",
                }
                for each, url in urls.items()
            ],
            delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        )
        settings["kafka"]["guarantee"] = "at-least-once"
        with WorkerProcess(settings, directory, name) as worker:
            await worker.ready()
            asking = asyncio.create_task(ask_livez(worker.port, livez))
            await asyncio.sleep(WARM_UP_S)
            told = await Incidents(feed, receiver, 1).run(incidents)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            attempts = await worker.metrics()
            worker.stop()
    prefix = "campaign_streams_webhook_attempts_total"
    made = {each: n for each, n in attempts.items() if each.startswith(prefix)}
    failed = sum(n for each, n in made.items() if 'result="delivered"' not in each)
    return Measured(told, livez, int(failed))


def _row(name: str, measured: Measured) -> list[str]:
    told = (f"{table.percentile(measured.told, share):.0f}" for share in (0.5, 0.99, 1.0))
    livez = (f"{table.percentile(measured.livez, share):.0f}" for share in (0.99, 1.0))
    return [name, str(len(measured.told)), *told, *livez, f"{measured.failed_attempts:,}"]


def main() -> None:
    """Measure without and with them."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.receivers", description="Receivers."
    )
    parser.add_argument("--incidents", type=int, default=200)
    options = parser.parse_args()
    rows = []
    with EmbeddedBroker(port=0) as broker, tempfile.TemporaryDirectory() as directory:
        alone = asyncio.run(
            measure(broker.address, "alone", {}, options.incidents, Path(directory))
        )
        rows.append(_row("a good one", alone))
        with hostile() as others:
            beside = asyncio.run(
                measure(broker.address, "beside", others, options.incidents, Path(directory))
            )
        rows.append(_row(f"{len(others)} hostile ones too", beside))
    title = "Hostile receivers beside a good one"
    table.publish("receivers", table.Results(title, HEAD, rows), **vars(options))


if __name__ == "__main__":
    main()
