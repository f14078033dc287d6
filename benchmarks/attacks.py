"""Hostile records of every kind, as a process of its own; the hostile benchmark starts it.

Each attack sends in its own rhythm until SIGTERM. Then standard output has one line of JSON: how
many records each of them sent.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.events import make
from tests.support.fuzzing import records as fuzzed
from tests.support.mixture import send_event

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
LARGE, LARGER = 1_200_000, 17_000_000
"""Bytes of a record that a topic with Kafka's defaults takes only packed, and of one that none of
ours takes unpacked."""
NAMES, LONG_NAMES = 30_000, 900
LONG = 4_000
"""Characters of a long status."""


class Attack(NamedTuple):
    """Records to send at once, again and again.

    Args:
        records: the values, without end.
        at_once: how many of them.
        every: seconds between two times.
        codec: what packs them; null for a different one each time.
    """

    records: Iterator[bytes | None]
    at_once: int
    every: float
    codec: str | None = None


def attacks(seed: int) -> dict[str, Attack]:
    """Return all of them, by name."""
    return {
        "large records": Attack(_padded(LARGE), 1, 1.0, "gzip"),
        "larger records": Attack(_padded(LARGER), 1, 5.0, "gzip"),
        "many names": Attack(_many_names(), 500, 0.25),
        "long names": Attack(_long_names(), 30, 1.0, "zstd"),
        "many campaigns": Attack(_many_campaigns(seed), 500, 0.25),
        "fuzzed records": Attack(fuzzed(seed, _now()), 250, 0.5),
    }


def _padded(size: int) -> Iterator[bytes]:
    """Events that are as large as that by what nobody needs."""
    while True:
        yield make("f" * 32, _now(), "SUCCESS").value[:-1] + b',"padding":"%b"}' % (b"x" * size)


def _many_names() -> Iterator[bytes]:
    """One campaign in which everything fails, with tens of thousands of treatments and statuses."""
    for n in count():
        status = "FAILURE" if n % 2 else f"STATUS_{n % NAMES}"
        yield orjson.dumps(send_event("many-names", _now(), status, treatment_id=str(n % NAMES)))


def _long_names() -> Iterator[bytes]:
    """One campaign in which everything fails, with statuses of thousands of characters."""
    for n in count():
        status = "FAILURE" if n % 2 else f"{n % LONG_NAMES:x}".rjust(LONG, "S")
        yield orjson.dumps(send_event("long-names", _now(), status))


def _many_campaigns(seed: int) -> Iterator[bytes]:
    """A campaign of its own for each event."""
    source = random.Random(seed)  # noqa: S311 - no secrets here
    while True:
        yield make(f"flood-{source.getrandbits(96):024x}", _now(), "FAILURE").value


def _now() -> int:
    return int(time.time() * 1000)


class Attacker:
    """Sends attacks to a topic until told to stop; `sent` has how many records of each."""

    def __init__(self, brokers: str, topic: str, partitions: int) -> None:
        self.sent: Counter[str] = Counter()
        self._brokers = brokers
        self._topic = topic
        self._partitions = partitions

    async def run(self, seed: int, stop: asyncio.Event) -> None:
        """Send."""
        async with asyncio.TaskGroup() as group:
            for name, attack in attacks(seed).items():
                group.create_task(self._attack(name, attack, stop))

    async def _attack(self, name: str, attack: Attack, stop: asyncio.Event) -> None:
        codecs = [attack.codec] if attack.codec else CODECS
        producers = [
            AIOKafkaProducer(
                bootstrap_servers=self._brokers,
                compression_type=codec,
                max_request_size=2 * LARGER,
                max_batch_size=2 * LARGER if attack.codec else 2**16,
            )
            for codec in codecs
        ]
        for producer in producers:
            await producer.start()
        try:
            for turn in count():
                if stop.is_set():
                    return
                await self._send(producers[turn % len(producers)], name, attack)
                await asyncio.sleep(attack.every)
        finally:
            for producer in producers:
                await producer.stop()

    async def _send(self, producer: AIOKafkaProducer, name: str, attack: Attack) -> None:
        futures = [
            await producer.send(
                self._topic, next(attack.records), b"any", partition=n % self._partitions
            )
            for n in range(attack.at_once)
        ]
        await asyncio.gather(*futures)
        self.sent[name] += attack.at_once


async def run(brokers: str, topic: str, partitions: int, seed: int) -> Counter[str]:
    """Attack until SIGTERM; return how many records of each attack were sent."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    attacker = Attacker(brokers, topic, partitions)
    await attacker.run(seed, stop)
    return attacker.sent


def main() -> None:
    """Attack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    sent = uvloop.run(run(**vars(options)))
    sys.stdout.write(orjson.dumps(sent).decode() + "\n")


if __name__ == "__main__":
    main()
