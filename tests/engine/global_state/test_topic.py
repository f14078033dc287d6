"""A topic that is read whole: from the beginning, then as it grows, by everybody alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.cancelling import cancel
from streams.configuration.kafka import KafkaSettings
from streams.engine.cluster.client import connection
from streams.engine.global_state import topic as module
from streams.engine.global_state.topic import GlobalTopic
from streams.errors import UnavailableError
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.topics import create_topic, delete_topic
from tests.support.waiting import until


class Held:
    """A table that is a dictionary; remembers each time it was replaced."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.replaced = 0

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        self.replaced += 1
        self.records.clear()
        for key, value in records.items():
            self.apply(key, value)

    def apply(self, key: bytes, value: bytes | None) -> None:
        self.records.pop(key, None)
        if value is not None:
            self.records[key] = value


@asynccontextmanager
async def following(
    address: str, name: str, partitions: int = 1, *, read_committed: bool = False
) -> AsyncIterator[tuple[GlobalTopic, Held]]:
    held = Held()
    client = connection(KafkaSettings(bootstrap_servers=(address,)))
    topic = GlobalTopic(client, name, partitions, held, read_committed=read_committed)
    running = asyncio.create_task(topic.follow())
    try:
        yield topic, held
    finally:
        await cancel(running)


async def test_what_one_writes_all_read(broker: RunningBroker, unique: str) -> None:
    await create_topic(broker.address, unique, 2, cleanup_policy="compact")
    async with following(broker.address, unique, 2) as (one, seen):
        async with following(broker.address, unique, 2) as (other, seen_too):
            await asyncio.gather(one.read(), other.read())
            assert (seen.records, seen_too.records) == ({}, {})
            for n in range(8):
                writer, own = ((one, seen), (other, seen_too))[n % 2]
                await writer.write(b"key-%d" % n, b"value-%d" % n)
                assert own.records[b"key-%d" % n] == b"value-%d" % n, "it reads what it wrote"
            await one.write(b"key-0", None)
            await other.write(b"key-1", b"again")
            wanted = {b"key-1": b"again"} | {b"key-%d" % n: b"value-%d" % n for n in range(2, 8)}
            await until(holds(lambda: seen.records == seen_too.records == wanted))
        async with following(broker.address, unique, 2) as (late, found):
            await late.read()
            await until(holds(lambda: found.records == wanted))
            assert found.replaced == 1, "it is read whole, in one step"


def holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """The condition as `until` takes it."""

    async def asked() -> bool:
        return condition()

    return asked


class HangingConsumer(AIOKafkaConsumer):  # type: ignore[misc,type-arg,unused-ignore]
    """Waits for good, if it is told to: for records, or also as it is closed."""

    hangs = False
    closes = True

    async def getmany(self, *args: Any, **kwargs: Any) -> Any:
        if HangingConsumer.hangs:
            await asyncio.Event().wait()
        return await super().getmany(*args, **kwargs)

    async def stop(self) -> None:
        try:
            if HangingConsumer.hangs:
                HangingConsumer.hangs = False
                if not HangingConsumer.closes:
                    await asyncio.Event().wait()
        finally:
            await super().stop()


@pytest.mark.parametrize("closes", [True, False])
async def test_a_client_that_hangs_is_replaced(
    broker: RunningBroker, unique: str, monkeypatch: pytest.MonkeyPatch, *, closes: bool
) -> None:
    monkeypatch.setattr(module, "AIOKafkaConsumer", HangingConsumer)
    monkeypatch.setattr(module, "FETCH_WITHIN", 2.0)
    monkeypatch.setattr(module, "CLOSE_WITHIN", 0.5)
    await create_topic(broker.address, unique, 1, cleanup_policy="compact")
    async with following(broker.address, unique) as (topic, held):
        await topic.read()
        HangingConsumer.closes, HangingConsumer.hangs = closes, True
        await until(holds(lambda: held.replaced == 2))
        await topic.write(b"key", b"value")
        assert held.records == {b"key": b"value"}


@pytest.mark.kafka
async def test_a_topic_that_is_made_anew_is_read_anew(kafka: KafkaBroker, unique: str) -> None:
    await create_topic(kafka.address, unique, 1, cleanup_policy="compact")
    async with following(kafka.address, unique) as (topic, held):
        await topic.read()
        for n in range(5):
            await topic.write(b"old-%d" % n, b"x")
        await delete_topic(kafka.address, unique)
        await asyncio.sleep(1)
        assert len(held.records) == 5, "what is known stays, as long as nothing else is"
        await create_topic(kafka.address, unique, 1, cleanup_policy="compact")
        await until(holds(lambda: held.records == {}))
        await topic.write(b"new", b"y")
        assert held.records == {b"new": b"y"}


@pytest.mark.kafka
async def test_brokers_that_are_away_for_a_while(
    own_kafka: KafkaBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_WITHIN", 2.0)
    monkeypatch.setattr(module, "OUT_OF_DATE_AFTER", 3.0)
    await create_topic(own_kafka.address, unique, 1, cleanup_policy="compact")
    async with following(own_kafka.address, unique) as (topic, held):
        await topic.read()
        await topic.write(b"before", b"x")
        await asyncio.to_thread(own_kafka.stop)
        with pytest.raises(UnavailableError, match=f"{unique} could not be written to within 2 s"):
            await topic.write(b"meanwhile", b"y")
        await until(holds(lambda: topic.out_of_date is not None))
        assert unique in str(topic.out_of_date)
        assert held.records == {b"before": b"x"}
        await asyncio.to_thread(own_kafka.start)
        await until(holds(lambda: topic.out_of_date is None))
        monkeypatch.setattr(module, "WRITE_WITHIN", 60.0)
        await topic.write(b"after", b"z")
        assert held.records[b"after"] == b"z"
        assert held.records[b"before"] == b"x"


@pytest.mark.kafka
async def test_nothing_is_read_of_a_transaction_that_is_open_or_was_aborted(
    kafka: KafkaBroker, unique: str
) -> None:
    """And nobody who starts waits for its end: that may be the business of a killed worker."""
    await create_topic(kafka.address, unique, 1, cleanup_policy="compact")
    writer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=unique)
    await writer.start()
    try:
        async with writer.transaction():
            await writer.send_and_wait(unique, b"1", key=b"a")
        await writer.begin_transaction()
        await writer.send_and_wait(unique, b"2", key=b"a")
        async with following(kafka.address, unique, read_committed=True) as (topic, held):
            async with asyncio.timeout(10):
                await topic.read()
            assert held.records == {b"a": b"1"}
            await writer.abort_transaction()
            async with writer.transaction():
                await writer.send_and_wait(unique, b"3", key=b"b")
            await until(lambda: _has(held, {b"a": b"1", b"b": b"3"}))
    finally:
        await writer.stop()


async def _has(held: Held, records: dict[bytes, bytes]) -> bool:
    return held.records == records
