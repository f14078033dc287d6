"""Kafka Streams, at least once and exactly once; what it counted is read from its changelog."""

import asyncio
import struct

from benchmarks import environment
from benchmarks.contenders.child import runner
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.progress import Task
from benchmarks.events import Truth
from tests.support.topics import read_topic

KEY_TAIL = struct.Struct(">qi")
"""After a window store's key in bytes: the window's start (ms), a sequence number."""
LENGTH, COUNT = struct.Struct(">h"), struct.Struct(">q")


def _contender(name: str, title: str, *, exactly_once: bool, keyed: bool = False) -> Contender:
    flags = ["--exactly-once"] if exactly_once else []

    def command(task: Task) -> list[str]:
        return [*environment.java("bench.streams.Main"), *task.arguments(), *flags]

    guarantee = "exactly once" if exactly_once else "at least once"
    run = runner(command, keyed=keyed, read_back=_changelog)
    return Contender(name, title, guarantee, keyed, run)


def _changelog(task: Task) -> Truth:
    """Read the counts as they would be restored."""
    topic = f"{task.group}-counts-changelog"
    counts = Truth()
    for record in asyncio.run(read_topic(task.brokers, topic)):
        key = record.key or b""
        campaign = key[: -KEY_TAIL.size].decode()
        start, _ = KEY_TAIL.unpack(key[-KEY_TAIL.size :])
        for status, count in _statuses(record.value or b""):
            counts[campaign, start // 1000, status] = count
    return counts


def _statuses(value: bytes) -> list[tuple[str, int]]:
    """Read counts by status, as Counts.java writes them."""
    found, at = [], 0
    while at < len(value):
        begin = at + LENGTH.size
        end = begin + LENGTH.unpack_from(value, at)[0]
        found.append((value[begin:end].decode(), COUNT.unpack_from(value, end)[0]))
        at = end + COUNT.size
    return found


CONTENDERS = (
    _contender("kafka-streams-eos", "Kafka Streams, exactly_once_v2", exactly_once=True),
    _contender("kafka-streams", "Kafka Streams, at_least_once", exactly_once=False),
    _contender(
        "kafka-streams-eos-keyed",
        "Kafka Streams, exactly_once_v2, keyed topic",
        exactly_once=True,
        keyed=True,
    ),
)
