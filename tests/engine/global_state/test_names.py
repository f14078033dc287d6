"""Names on a topic to which anybody may write, read by every worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streams.cancelling import cancel
from streams.configuration.kafka import KafkaSettings
from streams.domain.names import BadNameError, NameBook
from streams.engine.cluster.client import connection
from streams.engine.global_state.names import Names
from streams.engine.global_state.topic import GlobalTopic
from tests.engine.global_state.test_topic import holds
from tests.support.brokers import RunningBroker
from tests.support.topics import create_topic
from tests.support.waiting import until


@asynccontextmanager
async def following(address: str, topic: str) -> AsyncIterator[tuple[Names, list[int]]]:
    client, told = connection(KafkaSettings(bootstrap_servers=(address,))), list[int]()
    names = Names(client, topic, 1, NameBook(), lambda: told.append(1))
    running = asyncio.create_task(names.follow())
    try:
        await names.read()
        yield names, told
    finally:
        await cancel(running)


async def write(names: Names, key: bytes, value: bytes | None) -> None:
    """Write a record as another system would, and wait until the book has it."""
    topic: GlobalTopic = names._topic
    await topic.write(key, value)


async def test_all_know_what_one_is_told(broker: RunningBroker, unique: str) -> None:
    await create_topic(broker.address, unique, 1, cleanup_policy="compact")
    async with following(broker.address, unique) as (one, told):
        async with following(broker.address, unique) as (other, _):
            assert await one.set("a/b", " Spring sale ") == "Spring sale"
            assert one.book.of("a/b") == "Spring sale", "whoever wrote it knows it at once"
            await until(holds(lambda: other.book.of("a/b") == "Spring sale"))
            with pytest.raises(BadNameError):
                await one.set("a/b", "two\nlines")
            for key, value in ((b"a/b", b"\xff{"), (b"", b"{}"), (b"\xff", b'{"name": "x"}')):
                await write(other, key, value)
            await write(other, b"a/b", b'{"name": "Summer sale", "by": "crm"}')
            await until(holds(lambda: one.book.of("a/b") == "Summer sale"))
            assert len(told) == one.book.skipped == 3
            assert other.out_of_date is None
        async with following(broker.address, unique) as (late, _):
            assert late.book.of("a/b") == "Summer sale"
            assert await late.remove("a/b") == "Summer sale"
            assert await late.remove("a/b") is None
            await until(holds(lambda: one.book.of("a/b") is None))
