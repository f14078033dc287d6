"""From a producer's send to the webhook's arrival, at several loads.

    python -m benchmarks.latency --loads 1000,5000,20000 --incidents 200

One campaign after the other starts to fail: some healthy sends, and a moment later a burst of
failures. The time runs from just before the burst is handed to the producer until the receiver has
the first `campaign.alert.firing` of that campaign. Rules, commit interval and delivery are as
shipped; other processes make the load.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import campaign_ids, make
from benchmarks.feed import Feed, fill
from benchmarks.worker import settings_of
from tests.support.brokers import KafkaBroker
from tests.support.mixture import SourceRecord
from tests.support.receiver import SECRET, Arrival, Collector
from tests.support.topics import Sender
from tests.support.workers import WorkerProcess

HEALTHY, FAILING = 60, 120
"""Sends of a campaign before its incident, and failures that make the incident."""
PAUSE_S = 1.0
WARM_UP_S = 5.0
BETWEEN_S = (0.1, 0.4)
"""Between incidents, at random, so that they do not keep step with the commits."""
PATIENCE_S = 60.0
BUCKETS_MS = (50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000, 60_000)
HEAD = ("load, events/s", "sent, events/s", "incidents", "p50 ms", "p90 ms", "p99 ms", "max ms")


class Measured(NamedTuple):
    """The times (ms) at one load, and the load that really was (events/s)."""

    load: int
    sent: float
    times: list[float]


@contextmanager
def loaded(feed: Feed, rate: int, rates: list[float]) -> Iterator[None]:
    """Keep a load going; afterwards `rates` has its real rate (events/s)."""
    if not rate:
        rates.append(0.0)
        yield
        return
    module = [sys.executable, "-m", "benchmarks.load", f"--rate={rate}"]
    where = [
        f"--brokers={feed.address}",
        f"--topic={feed.plain}",
        f"--partitions={feed.partitions}",
    ]
    with subprocess.Popen([*module, *where], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield
        finally:
            process.terminate()
            output, _ = process.communicate()
        sent, seconds = output.split()
        rates.append(int(sent) / float(seconds))


class Incidents:
    """Makes campaigns fail one after the other, and takes the times."""

    def __init__(self, feed: Feed, receiver: Collector, seed: int) -> None:
        self._feed = feed
        self._receiver = receiver
        self._source = random.Random(seed)  # noqa: S311 - no secrets here
        self._sent: dict[str, float] = {}

    async def run(self, count: int) -> list[float]:
        """Make so many; return the milliseconds until each was told."""
        ids = campaign_ids(count, self._source)
        async with Sender(self._feed.address, self._feed.plain) as sender:
            await sender.send(self._records(ids, "SUCCESS", HEALTHY))
            await asyncio.sleep(PAUSE_S)
            for campaign_id in ids:
                records = list(self._records([campaign_id], "FAILURE", FAILING))
                self._sent[campaign_id] = time.monotonic()
                await sender.send(records)
                await asyncio.sleep(self._source.uniform(*BETWEEN_S))
        await self._receiver.wait_until(
            lambda: self._sent.keys() <= self._told().keys(), PATIENCE_S
        )
        told = self._told()
        return [(told[each] - sent) * 1000 for each, sent in self._sent.items()]

    def _records(self, ids: list[str], status: str, count: int) -> Iterator[SourceRecord]:
        now = int(time.time() * 1000)
        for campaign_id in ids:
            for n in range(count):
                value = make(campaign_id, now, status).value
                yield SourceRecord(n % self._feed.partitions, None, value)

    def _told(self) -> dict[str, float]:
        """When each campaign's first firing webhook came (s, monotonic)."""
        told: dict[str, float] = {}
        for arrival in self._receiver.arrivals:
            campaign = _fires(arrival)
            if campaign is not None:
                told.setdefault(campaign, arrival.at)
        return told


def _fires(arrival: Arrival) -> str | None:
    value = arrival.value
    fires = value["type"] == "campaign.alert.firing"
    return str(value["data"]["campaign_id"]) if fires else None


async def measure(broker: KafkaBroker, load: int, incidents: int, directory: Path) -> Measured:
    """Measure at one load, with a fresh worker and topic."""
    feed = await fill(broker.address, f"latency-{load}", (), keyed=False)
    rates: list[float] = []
    async with Collector() as receiver:
        settings = settings_of(
            feed,
            f"latency-{load}",
            receivers=[
                {"name": "ops", "url": receiver.url, "secrets": [SECRET], "group_by": "none"}
            ],
            delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        )
        with WorkerProcess(settings, directory, f"latency-{load}") as worker:
            await worker.ready()
            with loaded(feed, load, rates):
                await asyncio.sleep(WARM_UP_S)
                times = await Incidents(feed, receiver, load).run(incidents)
            worker.stop()
    return Measured(load, rates[0], times)


def _row(measured: Measured) -> list[str]:
    times = measured.times
    shares = [table.percentile(times, share) for share in (0.5, 0.9, 0.99, 1.0)]
    counts = [f"{measured.load:,}", f"{measured.sent:,.0f}", str(len(times))]
    return [*counts, *(f"{ms:.0f}" for ms in shares)]


def _histogram(measured: list[Measured]) -> table.Results:
    head = ("up to ms", *(f"{each.load:,}/s" for each in measured))
    rows, above = [], 0
    for bound in BUCKETS_MS:
        counts = [sum(above < ms <= bound for ms in each.times) for each in measured]
        rows.append([f"{bound:,}", *map(str, counts)])
        above = bound
    return table.Results("The same as a histogram", head, rows)


def main() -> None:
    """Measure at each load."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description="Latency.")
    parser.add_argument("--loads", default="1000,5000,20000", help="events per second")
    parser.add_argument("--incidents", type=int, default=200)
    options = parser.parse_args()
    measured = []
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        for load in map(int, options.loads.split(",")):
            measured.append(asyncio.run(measure(broker, load, options.incidents, Path(directory))))
            sys.stdout.write(f"{_row(measured[-1])}\n")
            sys.stdout.flush()
    title = "From a producer's send to the webhook's arrival"
    rows = [_row(each) for each in measured]
    table.publish("latency", table.Results(title, HEAD, rows), **vars(options))
    table.publish("latency-histogram", _histogram(measured), **vars(options))


if __name__ == "__main__":
    main()
