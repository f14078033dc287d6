"""Fuzzed records through a worker on a real Apache Kafka: what became of each of them.

    python -m tests.fuzz_worker --records 1000000 --seed 1

Every record has to be counted, skipped or a dead letter with a reason, as the independent count
says. Then the worker is killed, and has to say the same again. Exit status 1 if anything differs.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from tests.chaos.asking import Asker
from tests.chaos.cells import Difference, compare_answers
from tests.chaos.dead import DeadLetters
from tests.chaos.following import Follower
from tests.chaos.truth import CellName, Truth
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.fuzzing import records
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender, committed_offsets, create_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess, settings_for

NAME = "fuzz"
PARTITIONS, TASKS = 6, 4
AT_ONCE = 5_000
AGE_S = 1200
"""How old the newest usual event is: whether one is ahead of the broker's time must not depend on
the moment at which it arrives."""
WITHIN_S = 1800.0
PARTITION_SETTINGS = {"max_message_bytes": str(4 * 1024 * 1024)}


class Fuzzing:
    """One worker, all that was sent to it, and what it made of that."""

    def __init__(self, broker: RunningBroker, worker: WorkerProcess) -> None:
        self.truth = Truth(size=60, grace=30, retention=86_400)
        self.reasons: Counter[str] = Counter()
        self._broker = broker
        self._worker = worker
        self._source = Follower(broker.address, f"{NAME}-events", PARTITIONS)

    async def send(self, count: int, seed: int) -> None:
        """Send records, and count them."""
        chance = random.Random(seed)  # noqa: S311 - repeatable
        stream = islice(records(seed, int(time.time() - AGE_S) * 1000), count)
        async with Sender(self._broker.address, f"{NAME}-events") as sender:
            while some := list(self._some(stream, chance)):
                await sender.send(some)
                async for record in self._source.read():
                    self.truth.take(record)

    @staticmethod
    def _some(stream: Iterator[bytes | None], chance: random.Random) -> Iterator[SourceRecord]:
        for value in islice(stream, AT_ONCE):
            yield SourceRecord(chance.randrange(PARTITIONS), None, value)

    async def arrived(self) -> None:
        """Wait until the worker has committed all of the source and of the repartition topic."""
        for role, partitions in (("events", PARTITIONS), ("repartition", TASKS)):
            topic, ends = f"{NAME}-{role}", dict[int, int]()
            # Behind the last record come the markers of transactions, which nobody commits.
            async for record in Follower(self._broker.address, topic, partitions).read():
                ends[record.partition] = record.offset + 1
            await until(partial(self._committed, topic, ends), WITHIN_S)

    async def _committed(self, topic: str, ends: Mapping[int, int]) -> bool:
        offsets = await committed_offsets(self._broker.address, NAME, topic)
        return all(offsets.get(number, 0) >= end for number, end in ends.items())

    async def wrong(self) -> list[str]:
        """Return all that differs: each retained cell, each dead letter, the sum of everything."""
        asker = Asker("worker", self._worker)
        difference = Difference()
        truth = self.truth
        retained = {name: counts for name, counts in truth.cells.items() if not self._expired(name)}
        await compare_answers(asker, retained, set(truth.cells), truth.size, difference)
        letters = DeadLetters()
        self.reasons.clear()
        async for record in Follower(self._broker.address, f"{NAME}-dead", TASKS).read():
            letters.take(record)
            self.reasons[dict(record.headers)["reason"].decode()] += 1
        total, expected = await asker.total(), sum(sum(each.values()) for each in retained.values())
        sums = [] if total == expected else [f"{total} events retained, not {expected}"]
        return [*difference.where, *letters.problems(truth.refused), *sums]

    def _expired(self, name: CellName) -> bool:
        return name.start < self.truth.expired_before


@asynccontextmanager
async def fuzzing(
    kafka: KafkaBroker, directory: Path
) -> AsyncIterator[tuple[Fuzzing, WorkerProcess]]:
    """Make the topic, and lend a worker on it."""
    broker = RunningBroker("kafka", kafka.address)
    await create_topic(broker.address, f"{NAME}-events", PARTITIONS, **PARTITION_SETTINGS)
    with WorkerProcess(settings_for(broker, NAME), directory) as worker:
        await worker.ready()
        yield Fuzzing(broker, worker), worker
        worker.stop()


async def run(count: int, seed: int) -> int:
    """Fuzz, print the figures, return the exit status."""
    began = time.monotonic()
    with KafkaBroker() as kafka, tempfile.TemporaryDirectory() as directory:
        async with fuzzing(kafka, Path(directory)) as (of, worker):
            await of.send(count, seed)
            await of.arrived()
            wrong = await of.wrong()
            worker.kill()
            worker.start()
            await worker.ready()
            wrong += [f"restarted: {each}" for each in await of.wrong()]
            lost = worker.log.count("task lost")
    truth = of.truth
    skipped = truth.records - truth.counted - len(truth.refused)
    lines = [
        f"{truth.records:,} records, seed {seed}, {time.monotonic() - began:.0f} s",
        f"counted   {truth.counted:>10,}",
        f"skipped   {skipped:>10,}",
        *(f"dead      {n:>10,}  {reason}" for reason, n in of.reasons.most_common()),
        f"tasks lost{lost:>10,}",
        f"wrong     {len(wrong):>10,}",
        *(each[:500] for each in wrong[:20]),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong or truth.records != count else 0


def main() -> int:
    """Fuzz a worker."""
    parser = argparse.ArgumentParser(description="Fuzzed records through a worker.")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return asyncio.run(run(options.records, options.seed))


if __name__ == "__main__":
    sys.exit(main())
