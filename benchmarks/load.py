"""A steady load of healthy sends, as a process of its own; the latency benchmark starts it.

Every 20 ms the events of those 20 ms go to all partitions, timed by the wall clock. On SIGTERM it
says on standard output how many it sent and in how many seconds, and with `--truth` it writes to a
file how they must be counted: JSON, a list of [campaign, window start (s), status, count].
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import uvloop

from benchmarks.events import Truth, campaign_ids, make
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender

TICK_S = 0.02
CAMPAIGNS = 200
SEED = 3
"""Of the campaigns' ids, which are drawn first."""


class Load:
    """Sends `rate` events a second of some campaigns to a topic with so many partitions.

    Attributes:
        sent: how many events.
        truth: how they must be counted.
    """

    def __init__(self, rate: int, partitions: int, campaigns: int = CAMPAIGNS) -> None:
        self.sent = 0
        self.truth = Truth()
        self._rate = rate
        self._partitions = partitions
        self._source = random.Random(SEED)  # noqa: S311 - no secrets here
        self._ids = campaign_ids(campaigns, self._source)

    async def run(self, sender: Sender, stop: asyncio.Event) -> float:
        """Send until told to stop; return the seconds that took."""
        began = time.perf_counter()
        while not stop.is_set():
            due = int((time.perf_counter() - began) * self._rate) - self.sent
            await sender.send(self._records(due))
            self.sent += due
            late = (time.perf_counter() - began) % TICK_S
            await asyncio.sleep(TICK_S - late)
        return time.perf_counter() - began

    def _records(self, count: int) -> Iterator[SourceRecord]:
        now = int(time.time() * 1000)
        for n in range(count):
            event = make(self._source.choice(self._ids), now, "SUCCESS")
            self.truth[event.cell] += 1
            yield SourceRecord(n % self._partitions, None, event.value)


async def run(brokers: str, topic: str, load: Load) -> float:
    """Send until SIGTERM; return the seconds that took."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Sender(brokers, topic) as sender:
        return await load.run(sender, stop)


def main() -> None:
    """Send."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--campaigns", type=int, default=CAMPAIGNS)
    parser.add_argument("--truth", type=Path)
    options = parser.parse_args()
    load = Load(options.rate, options.partitions, options.campaigns)
    seconds = uvloop.run(run(options.brokers, options.topic, load))
    if options.truth:
        rows = [(*cell, count) for cell, count in load.truth.items()]
        options.truth.write_bytes(orjson.dumps(rows))
    sys.stdout.write(f"{load.sent} {seconds:.3f}\n")


if __name__ == "__main__":
    main()
