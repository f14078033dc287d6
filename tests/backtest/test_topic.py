import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.backtest.events import EventArrival
from streams.backtest.topic import Input, SourceTopic, _merged
from streams.configuration.load import load
from streams.errors import TopicError
from tests.support.brokers import RunningBroker
from tests.traffic.topics import make_topic


def record(offset: int, timestamp: int) -> Any:
    return SimpleNamespace(offset=offset, timestamp=timestamp, value=b"%d" % offset)


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=4))
def test_events_come_in_the_order_of_their_arrival(partitions: list[list[int]]) -> None:
    inputs = [
        Input(TopicPartition("t", n), len(times), 0, is_read=True)
        for n, times in enumerate(partitions)
    ]
    for each, times in zip(inputs, partitions, strict=True):
        for offset, at in enumerate(times):
            each.add(record(offset, at))
    merged = [event for block in _merged(inputs) for event in block]
    assert [event.at for event in merged] == sorted(event.at for event in merged)
    for n, times in enumerate(partitions):
        of_it = [event.value for event in merged if event.source == n]
        assert of_it == [b"%d" % offset for offset in range(len(times))]


def test_nothing_is_taken_that_another_partition_may_be_ahead_of() -> None:
    ahead, behind = (Input(TopicPartition("t", n), 3, 0) for n in range(2))
    ahead.add(record(0, 10))
    assert list(_merged([ahead, behind])) == []
    behind.add(record(0, 20))
    assert [event.at for block in _merged([ahead, behind]) for event in block] == [10]


def test_records_after_the_end_are_not_read_and_time_does_not_go_back() -> None:
    each = Input(TopicPartition("t", 1), 4, 100)
    for offset, at in enumerate((-1, 50, 130, 120, 300)):
        each.add(record(offset, at))
    assert [(event.at, event.value) for event in each.arrived] == [
        (100, b"0"),
        (130, b"2"),
        (130, b"3"),
    ]
    assert each.arrived[0] == EventArrival(100, b"0", 1, "t, partition 1, offset 0")


async def send(address: str, topic: str, values: Sequence[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=int(value) % 2)
            await asyncio.sleep(0.02)
    finally:
        await producer.stop()


async def read(address: str, topic: str, since: float) -> list[EventArrival]:
    overrides = {"kafka.bootstrap_servers": address, "kafka.guarantee": "at-least-once"}
    source = SourceTopic(load(None, {}, overrides), topic, int(since * 1000))
    assert await source.partitions() == 2
    return [event async for block in source.read() for event in block]


async def test_reads_a_topic_from_a_time_on(broker: RunningBroker, unique: str) -> None:
    await make_topic(broker.address, unique, 2)
    began = time.time()
    await send(broker.address, unique, [b"1", b"2", b"3"])
    await asyncio.sleep(0.05)
    later = time.time()
    await send(broker.address, unique, [b"4", b"5", b"7"])

    every = await read(broker.address, unique, began - 5)
    assert [event.value for event in every] == [b"1", b"2", b"3", b"4", b"5", b"7"]
    assert [event.source for event in every] == [1, 0, 1, 0, 1, 1]
    assert [event.value for event in await read(broker.address, unique, later)] == [
        b"4",
        b"5",
        b"7",
    ]
    assert await read(broker.address, unique, time.time() + 60) == []


@pytest.mark.embedded
async def test_a_topic_that_is_not_there_is_not_made(embedded_broker: str, unique: str) -> None:
    for _ in range(2):
        with pytest.raises(TopicError, match=f"there is no topic {unique}"):
            await read(embedded_broker, unique, 0)
