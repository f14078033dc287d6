"""Batches say where they begin, whatever was rewound meanwhile. Fetching itself is Faust's."""

from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.engine.consume.fetching import Records
from streams.engine.consume.identified import IdentifiedFetches
from streams.engine.consume.positions import Position
from streams.engine.consume.transport import (
    Batch,
    BatchConsumerThread,
    SeekPosition,
    as_topic_partition,
)
from tests.support.tasks import record

ONE, TWO = TopicPartition("events", 0), TopicPartition("events", 1)
Fetched = dict[TopicPartition, list[Records]]


class Client:
    """Sends nothing."""

    cluster = None


class Consumer:
    """Is assigned two partitions, and notes what is sought."""

    def __init__(self) -> None:
        self.sought: list[tuple[TopicPartition, int]] = []
        self.logs = IdentifiedFetches(Client())

    def assignment(self) -> set[TopicPartition]:
        return {ONE, TWO}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))

    def highwater(self, partition: TopicPartition) -> int | None:
        return 100 if partition == ONE else None


class Thread(BatchConsumerThread):
    """Without a thread."""

    def __init__(self) -> None:
        self._seek_positions: dict[TopicPartition, SeekPosition] = {}
        self.reads = Consumer()

    def _ensure_consumer(self) -> Any:
        return self.reads

    async def call_thread(self, fun: Any, *args: Any, **kwargs: Any) -> Any:
        return await fun(*args, **kwargs)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Fetched:
    """What the next fetch brings."""
    brought: Fetched = {}

    async def fetch(*_: Any, **__: Any) -> Fetched:
        return dict(brought)

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    return brought


def fetch_of(partition: TopicPartition, *offsets: int, alike: int = 2) -> list[Records]:
    """Records with these offsets, so many in each of the broker's batches."""
    made: list[Any] = [record(partition, offset, b"") for offset in offsets]
    return [Records(made[first : first + alike]) for first in range(0, len(made), alike)]


async def batches(thread: Thread) -> list[Batch]:
    found = await thread._fetch_records(thread.reads, set())
    return [batch for each in found.values() for batch in each]


async def test_a_batch_begins_where_the_one_before_it_ended(fetched: Fetched) -> None:
    thread = Thread()
    sought = await thread.seek_to({ONE: Position(5), TWO: Position(0)})
    assert sought == {ONE: SeekPosition(0, 5), TWO: SeekPosition(0, 0)}
    assert thread.reads.sought == [(ONE, 5), (TWO, 0)]
    fetched[ONE] = fetch_of(ONE, 5, 6)
    fetched[TWO] = fetch_of(TWO, 2, 9)
    first, second = await batches(thread)
    assert (first.seek_epoch, first.start, first.end, first.waiting) == (0, 5, 7, 93)
    assert (second.seek_epoch, second.start, second.end) == (0, 0, 10)
    fetched[ONE] = fetch_of(ONE, 8)
    del fetched[TWO]
    (third,) = await batches(thread)
    assert (third.start, third.end) == (7, 9), "offsets between may be markers"


async def test_a_batch_says_how_often_its_partition_was_rewound(fetched: Fetched) -> None:
    thread = Thread()
    await thread.seek_to({ONE: Position(5), TWO: Position(0)})
    assert await thread.seek_to({ONE: Position(3)}) == {ONE: SeekPosition(1, 3)}
    fetched[ONE] = fetch_of(ONE, 3)
    fetched[TWO] = fetch_of(TWO, 0)
    assert [(b.partition, b.seek_epoch) for b in await batches(thread)] == [(ONE, 1), (TWO, 0)]


async def test_what_was_fetched_before_a_seek_is_left_out(fetched: Fetched) -> None:
    thread = Thread()
    await thread.seek_to({ONE: Position(50)})
    fetched[ONE] = fetch_of(ONE, 10, 11)
    assert await batches(thread) == []
    fetched[ONE] = fetch_of(ONE, 48, 49, 51, 52, alike=3)
    (batch,) = await batches(thread)
    assert (batch.start, [each.offset for each in batch.records]) == (50, [51, 52])


async def test_partitions_of_no_open_task_are_left_out(fetched: Fetched) -> None:
    thread = Thread()
    fetched[ONE] = fetch_of(ONE, 0)
    assert await batches(thread) == []


async def test_only_what_is_assigned_is_rewound() -> None:
    thread = Thread()
    foreign = TopicPartition("events", 9)
    assert await thread.seek_to({foreign: Position(5), ONE: Position(1)}) == {
        ONE: SeekPosition(0, 1)
    }
    assert thread.reads.sought == [(ONE, 1)]


def test_partitions_of_faust_become_aiokafkas() -> None:
    assert as_topic_partition(TP("events", 3)) == TopicPartition("events", 3)


def test_a_batch_in_parts_is_the_same_batches_in_a_row() -> None:
    sizes = [3, 4, 9, 1, 1, 1, 1, 20, 2]
    records = [record(ONE, 12 + 2 * n, b"x" * size) for n, size in enumerate(sizes)]
    batch = Batch(ONE, 7, 10, records, waiting=5)
    parts = list(batch.parts(8))
    assert [len(part.records) for part in parts] == [2, 1, 4, 1, 1]
    assert [each for part in parts for each in part.records] == records
    assert [part.start for part in parts] == [10, *(part.end for part in parts[:-1])]
    assert (parts[-1].end, parts[-1].waiting, parts[0].waiting) == (batch.end, 5, 12)
    assert {(part.partition, part.seek_epoch) for part in parts} == {(ONE, 7)}
    refusal = Batch(ONE, 7, 10, (), end_seen=3)
    assert list(refusal.parts(8)) == [refusal]


async def test_a_refusal_comes_after_all_that_was_fetched_before(fetched: Fetched) -> None:
    thread = Thread()
    await thread.seek_to({ONE: Position(5), TWO: Position(0)})
    fetched[ONE] = fetch_of(ONE, 5, 6)
    log = thread.reads.logs.log(ONE)
    assert log is not None
    log.refused, log.end = True, 42
    first, refusal = await batches(thread)
    assert first.end == refusal.start == refusal.end == 7
    assert (refusal.partition, refusal.seek_epoch, refusal.end_seen) == (ONE, 0, 42)
    assert not refusal.records
    del fetched[ONE]
    assert await batches(thread) == [], "it is said once"


async def test_what_no_task_reads_is_not_looked_for_by_aiokafka() -> None:
    thread = Thread()
    await thread.seek_to({ONE: Position(5), TWO: Position(3)})
    await thread.leave_others({TWO: Position(3)})
    assert thread.reads.sought[2:] == [(ONE, 0)]
    assert thread.reads.logs.log(ONE) is None
    assert thread.reads.logs.log(TWO) is not None
