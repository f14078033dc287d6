"""Batches in each of Kafka's codecs, on the source topic and on the topics of the worker's own."""

import struct
import time
from itertools import islice

import cramjam
import orjson
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.configuration.load import read
from streams.engine.consume.codecs import MOST_UNPACKED
from tests.integration.conftest import NewWorker
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import (
    assert_counts,
    assert_put_aside,
    count_topic,
    counted,
    dead_letter,
)
from tests.support.mixture import Mixture, SourceRecord, send_event
from tests.support.topics import Sender, create_topic
from tests.support.workers import Settings, settings_for

CODECS = ("gzip", "snappy", "lz4", "zstd")
LZ4, ZSTD = 3, 4
TASKS = 3


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_producers_of_every_codec(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    settings = settings_for(broker, unique)
    topic = settings["topics"]["source"]
    mixture = Mixture(12_000, until=now_ms(), partitions=2)
    await create_topic(broker.address, topic, mixture.partitions)
    records = mixture.records()
    worker = new_worker(settings)
    while part := list(islice(records, 500)):
        for n, codec in enumerate((None, *CODECS)):
            async with Sender(broker.address, topic, codec) as sender:
                await sender.send(part[n * 100 : n * 100 + 100])
    await worker.ready()
    oracle = await count_topic(broker.address, settings)
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)
    await assert_put_aside(broker.address, settings, oracle)
    assert worker.stop() == 0


async def make_topics(address: str, settings: Settings, codec: str) -> None:
    """Make all topics as they should be, but with their own compression."""
    topics = {f"topics.{name}": str(value) for name, value in settings["topics"].items()}
    configuration = read(None, {}, topics).configuration
    for topic, topic_name in configuration.topics.named():
        made = {name.replace(".", "_"): value for name, value in topic.settings.items()}
        await create_topic(address, topic_name, TASKS, **made, compression_type=codec)


@pytest.mark.kafka
@pytest.mark.parametrize("codec", CODECS)
async def test_topics_of_every_codec(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker, codec: str
) -> None:
    """State, blocks, alerts and dead letters are written, and read back after kills."""
    windows = {"size": 5, "grace": 1, "retention": 7_200}
    broker = RunningBroker("kafka", kafka.address)
    settings = settings_for(broker, unique, windows=windows)
    settings["topics"]["partitions"] = TASKS
    await make_topics(kafka.address, settings, codec)
    records = Mixture(20_000, until=now_ms(), partitions=TASKS).records()
    worker = new_worker(settings)
    async with Sender(kafka.address, settings["topics"]["source"]) as sender:
        for _ in range(2):
            await sender.send(islice(records, 10_000))
            await worker.ready()
            oracle = await count_topic(kafka.address, settings)
            await counted(worker, oracle.total)
            worker.kill()
            worker.start()
    await worker.ready()
    await counted(worker, oracle.total)
    await assert_counts(worker, oracle)
    await assert_put_aside(kafka.address, settings, oracle)
    assert worker.stop() == 0


# Batches that cannot be read


def send(campaign_id: str) -> SourceRecord:
    event = send_event(campaign_id, now_ms(), "SUCCESS", delivery_type="EMAIL")
    return SourceRecord(0, None, orjson.dumps(event))


def bomb() -> bytes:
    """A batch of one record: some ten kilobytes of zstd, more than is unpacked."""
    size = MOST_UNPACKED + 1
    # Attributes, time and offset after the batch's, no key, and the length of the value.
    head = b"\0" + b"".join(varint(number) for number in (0, 0, -1, size))
    record = varint(len(head) + size + 1)
    compressor = cramjam.zstd.Compressor(3)
    compressor.compress(record + head)
    compressor.compress(bytes(size))
    compressor.compress(b"\0")
    return batch_of(ZSTD, bytes(compressor.finish()))


def varint(number: int) -> bytes:
    """An integer as Kafka's records have it: zigzag, seven bits a byte, the lowest first."""
    rest, written = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*written, rest))


def batch_of(codec: int, records: bytes) -> bytes:
    """A batch of one record, as the codec has packed it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, now_ms(), None, b"x", [])
    made = bytearray(builder.build()[:61]) + records
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">h", made, 21, codec)
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


async def check_isolated(
    broker: RunningBroker, unique: str, new_worker: NewWorker, unreadable: bytes, why: str
) -> None:
    """Good batches around one that cannot be read are counted, before a restart and after it."""
    settings = settings_for(broker, unique)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, 1)
    worker = new_worker(settings)
    async with Sender(broker.address, topic, "lz4") as sender:
        for round_ in (1, 2):
            await sender.send([send("c") for _ in range(50)])
            await sender.send_bytes(0, unreadable)
            await sender.send([send("c") for _ in range(50)])
            await worker.ready()
            await counted(worker, 100 * round_)
            dead = await dead_letter(broker.address, settings, round_)
            assert worker.stop() == 0
            worker.start()
        await worker.ready()
        await counted(worker, 200)
    offsets = []
    for letter in dead:
        headers = {name: value.decode() for name, value in letter.headers}
        assert headers["reason"] == "unreadable"
        assert why in headers["detail"]
        offsets.append(int(headers["source-offset"]))
    assert offsets == [50, 151]
    assert worker.stop() == 0


@pytest.mark.kafka
async def test_a_batch_that_unpacks_to_more_than_there_is_room_for(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", kafka.address)
    await check_isolated(broker, unique, new_worker, bomb(), f"more than {MOST_UNPACKED} bytes")


@pytest.mark.embedded
async def test_a_batch_that_cannot_be_unpacked(
    embedded_broker: str, unique: str, new_worker: NewWorker
) -> None:
    """Apache Kafka lets no such batch in; but a disk or another broker may bring one."""
    broker = RunningBroker("embedded", embedded_broker)
    garbage = batch_of(LZ4, b"\xff\x00\xff\x00" * 10)
    await check_isolated(broker, unique, new_worker, garbage, f"a batch of {len(garbage)} bytes")
