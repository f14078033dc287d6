"""The floor: whole fetches from a bare consumer, typed decode, a dictionary, and nothing else.

No group, no offsets, no durable state, no windows that close. What it costs, everything in Python
on top of aiokafka costs at least. It runs on uvloop.
"""

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.contenders.progress import Progress, Task, task, write_counts


class Attributes(msgspec.Struct, gc=False):
    """What is counted by."""

    campaign_id: str
    campaign_send_status: str


class Event(msgspec.Struct, gc=False):
    """What is needed of an event."""

    event_type: str
    event_timestamp: int
    attributes: Attributes


async def count(given: Task, *, check_crcs: bool) -> dict[tuple[str, int, str], int]:
    """Count all events by campaign, minute and status."""
    partitions = [TopicPartition(given.topic, number) for number in range(given.partitions)]
    consumer: AIOKafkaConsumer[bytes, bytes] = AIOKafkaConsumer(
        bootstrap_servers=given.brokers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=check_crcs,
    )
    await consumer.start()
    consumer.assign(partitions)
    decode = msgspec.json.Decoder(Event).decode
    counts: dict[tuple[str, int, str], int] = {}
    progress = Progress(given.events)
    try:
        while progress.counted < given.events:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    event = decode(record.value)
                    attributes = event.attributes
                    minute = event.event_timestamp // 60_000
                    cell = (attributes.campaign_id, minute, attributes.campaign_send_status)
                    counts[cell] = counts.get(cell, 0) + 1
                progress.add(len(records))
        progress.done()
    finally:
        await consumer.stop()
    return counts


def main() -> None:
    """Count, and leave the counts."""
    given, flags = task("no-crc")
    counts = uvloop.run(count(given, check_crcs=not vars(flags)["no_crc"]))
    cells = ((campaign, minute * 60, status, n) for (campaign, minute, status), n in counts.items())
    write_counts(given.counts, cells)


if __name__ == "__main__":
    main()
