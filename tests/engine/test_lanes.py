"""The lanes of one worker: opened, lost, opened anew, handed over. Kafka is not needed for that."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from streams.engine.assignor import LaneAssignor
from streams.engine.lane import Lane
from streams.engine.lanes import Lanes
from streams.engine.opening import Opening
from streams.engine.transport import BatchConsumer
from streams.engine.writer import LaneLostError
from tests.support.lanes import KEYED, SOURCE, Bench
from tests.support.waiting import until

SHARE = {SOURCE, KEYED}


class BenchOpening:
    """Opens lane 1 on the bench."""

    def __init__(self) -> None:
        self.benches: list[Bench] = []
        self.failures: list[Exception] = []

    async def open(self, number: int, partitions: Iterable[TopicPartition], sources: int) -> Lane:
        assert (number, set(partitions), sources) == (1, SHARE, 2)
        if self.failures:
            raise self.failures.pop()
        self.benches.append(Bench())
        return self.benches[-1].lane


class NotedConsumer:
    """Notes where it was told to read."""

    def __init__(self) -> None:
        self.rewound: list[Mapping[TopicPartition, int]] = []
        self.resumed: list[set[TopicPartition]] = []

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> None:
        self.rewound.append(dict(positions))

    def resume_partitions(self, partitions: set[TopicPartition]) -> None:
        self.resumed.append(partitions)


class Rig:
    """Lanes, and everything that they touch."""

    def __init__(self) -> None:
        self.assignor = LaneAssignor(2, "events", "keyed")
        self.assignor.sources = 2
        self.assignor.peers = {0: "http://other", 1: "http://self"}
        self.opening = BenchOpening()
        self.consumer = NotedConsumer()
        self.crashes: list[BaseException] = []
        self.rebalances = 0
        self.lanes = Lanes(
            self.assignor,
            cast("Opening", self.opening),
            interval=0.005,
            park_timeout=1.0,
            flushed=lambda: None,
            crashed=self.crashes.append,
            rebalanced=self._rebalanced,
        )
        self.lanes.consumer = cast("BatchConsumer", self.consumer)

    def _rebalanced(self) -> None:
        self.rebalances += 1

    @property
    def bench(self) -> Bench:
        """The lane that was opened last."""
        return self.opening.benches[-1]

    async def opened(self, times: int) -> None:
        """Wait until the lane was opened so many times and is ready."""

        async def are() -> bool:
            return len(self.opening.benches) == times and 1 in self.lanes.ready()

        await until(are)


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.lanes.stop()
    assert made.crashes == []


async def test_what_the_group_gives_is_opened_and_read_from_where_it_stands() -> None:
    async with rig() as made:
        joined = [made.lanes.joined]
        await made.lanes.assign(SHARE, 1)
        assert [*joined, made.lanes.joined] == [False, True]
        assert made.lanes.assigned() == {1: SHARE}
        await made.opened(1)
        assert made.assignor.held == {1}
        assert made.lanes.positions() == {SOURCE: 0, KEYED: 0}
        assert made.lanes.peers() == {0: "http://other"}
        assert made.lanes.partitions() == 2
        assert made.consumer.rewound == [{SOURCE: 0, KEYED: 0}]
        assert made.consumer.resumed == [SHARE]


async def test_a_lane_that_is_lost_is_opened_anew() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        for times in (1, 2, 3):
            await made.opened(times)
            bench = made.bench
            bench.writer.fail()
            await bench.take(SOURCE, b"nonsense")
            await made.opened(times + 1)
            assert bench.writer.closed
        assert made.consumer.rewound[-1] == {SOURCE: 0, KEYED: 0}


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


async def test_a_lane_that_never_gets_to_write_is_opened_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = (0.0, 0.001, 0.002)
    waited: list[int] = []

    def pause(attempt: int) -> float:
        waited.append(attempt)
        return pauses[min(attempt, 2)]

    monkeypatch.setattr("streams.engine.lanes._pause", pause)
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        for times in (1, 2, 3):
            await made.opened(times)
            made.bench.writer.fail()
            await made.bench.take(SOURCE, b"nonsense")
        await made.opened(4)
        assert waited == [0, 1, 2]
        await made.bench.take(SOURCE, b"nonsense")
        await until(_async(lambda: made.bench.lane.has_written))
        made.bench.writer.fail()
        await made.bench.take(SOURCE, b"nonsense")
        await made.opened(5)
        assert waited == [0, 1, 2], "it had written: that was no attempt in vain"


async def test_opening_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.lanes.RETRY_AFTER", (0.0,))
    async with rig() as made:
        made.opening.failures = [LaneLostError("no"), KafkaConnectionError("no"), OSError("no")]
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        assert made.opening.failures == []


async def test_a_lane_that_stays_is_kept() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        await made.bench.take(SOURCE, b"nonsense")
        await made.lanes.revoked()
        assert made.rebalances == 1
        await made.bench.take(SOURCE, b"left out")
        assert made.bench.writer.take().offsets[SOURCE].offset == 1
        await made.lanes.assign(SHARE, 2)
        await made.bench.take(SOURCE, b"nonsense")

        async def written() -> bool:
            return bool(made.bench.writer.written)

        await until(written)
        assert len(made.opening.benches) == 1


async def test_a_lane_that_is_kept_waits_for_source_partitions_that_are_new() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        await made.lanes.revoked()
        clock, now = made.bench.lane.partition.table.clock, made.bench.now
        for feeder in range(2):
            clock.hear(feeder, 5_000, now)
        made.assignor.sources = 3
        await made.lanes.assign(SHARE, 2)
        assert not clock.advance(now, 0)
        clock.hear(2, 4_000, now)
        assert clock.advance(now, 0)
        assert clock.event_time == 4_000


async def test_a_lane_that_others_may_have_had_is_opened_anew() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        await made.lanes.revoked()
        await made.lanes.assign(SHARE, 3)
        await made.opened(2)
        assert made.opening.benches[0].writer.closed


async def test_a_lane_that_goes_to_others_is_let_go() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        await made.lanes.revoked()
        await made.lanes.assign([], 2)
        assert made.bench.writer.closed
        assert made.lanes.ready() == {}
        assert made.assignor.held == set()


async def test_a_lane_that_cannot_be_flushed_is_not_kept() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        await made.bench.take(SOURCE, b"nonsense")
        made.bench.lane.parked = True  # before its own task can flush
        made.bench.writer.fail()
        await made.lanes.revoked()
        assert made.lanes.ready() == {}
        await made.lanes.assign(SHARE, 2)
        await made.opened(2)


async def test_a_rebalance_waits_for_no_lane_that_is_being_opened() -> None:
    async with rig() as made:
        made.opening.failures = [OSError("no")] * 1000
        await made.lanes.assign(SHARE, 1)
        await asyncio.wait_for(made.lanes.revoked(), 10)
        made.opening.failures = []
        await made.lanes.assign(SHARE, 2)
        await made.opened(1)


async def test_batches_of_others_are_left_out() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        foreign = SOURCE._replace(partition=0)
        await made.lanes.take(made.bench.batch(foreign, b"x"))
        await made.lanes.take(made.bench.batch(SOURCE._replace(partition=3), b"x"))
        await made.lanes.take(made.bench.batch(SOURCE, b"nonsense"))
        assert made.lanes.positions()[SOURCE] == 1


async def test_stopping_writes_everything_down_and_lets_go() -> None:
    async with rig() as made:
        await made.lanes.assign(SHARE, 1)
        await made.opened(1)
        made.bench.writer.written.clear()
        await made.bench.take(SOURCE, b"nonsense")
        await made.lanes.stop()
        assert made.bench.writer.take().offsets[SOURCE].offset == 1
        assert made.bench.writer.closed
        assert made.lanes.ready() == {}


async def test_an_error_that_nobody_expected_is_told() -> None:
    made = Rig()
    await made.lanes.assign(SHARE, 1)
    await made.opened(1)
    made.bench.writer.failure = RuntimeError("out of the blue")
    await made.bench.take(SOURCE, b"nonsense")

    async def told() -> bool:
        return [str(each) for each in made.crashes] == ["out of the blue"]

    await until(told)
