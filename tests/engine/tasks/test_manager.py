"""The tasks of one worker: opened, lost, opened anew, handed over. Kafka is not needed for that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from streams.domain.events import Rejected
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts, decode, encode
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition
from streams.engine.consume.group import GroupConsumer
from streams.engine.consume.positions import Position, Positions
from streams.engine.consume.transport import Batch, BatchConsumer, SeekPosition
from streams.engine.produce.writer import RefusedError, TaskLostError, TransactionBatch
from streams.engine.tasks import manager as under_test
from streams.engine.tasks.assignor import TaskAssignor
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.manager import TaskManager
from streams.engine.tasks.poison_pills import PoisonPills
from streams.engine.tasks.restore import TaskRestorer
from streams.engine.tasks.task import StreamTask
from streams.errors import FormatError
from tests.support.mixture import send_event
from tests.support.partitions import all_cells, counts, rows_of, window_counts
from tests.support.tasks import CHANGELOG, NOW, REPARTITION, SOURCE, TaskHarness, state_of
from tests.support.waiting import until

SHARE = {SOURCE, REPARTITION}


class HarnessRestorer:
    """Opens task 1 on the harness."""

    def __init__(self) -> None:
        self.harnesses: list[TaskHarness] = []
        self.failures: list[Exception] = []
        self.context = TaskHarness().context
        self.why_not: dict[TopicPartition, str] = {}

    async def open(
        self,
        number: int,
        partitions: Iterable[TopicPartition],
        sources: int,
        poison_pills: PoisonPills,
    ) -> StreamTask:
        assert (number, set(partitions), sources) == (1, SHARE, 2)
        if self.failures:
            raise self.failures.pop()
        self.harnesses.append(TaskHarness(poison_pills=poison_pills, start=False))
        self.context = self.harnesses[-1].context
        return self.harnesses[-1].task

    async def find_positions(
        self, task: StreamTask
    ) -> tuple[Positions, Mapping[TopicPartition, str]]:
        asked = {each: task.positions[each] for each in task.to_position}
        found = {
            each: at
            for each, at in asked.items()
            if each not in self.why_not and await task.move(each, at, None)
        }
        return found, {each: self.why_not[each] for each in task.to_position}


class FakeConsumer:
    """Notes where it was told to read, and says that all batches from there are of epoch 0."""

    def __init__(self) -> None:
        self.on_seek: Callable[[Mapping[TopicPartition, SeekPosition]], None] = lambda _: None
        self.sought: list[Positions] = []
        self.resumed: list[set[TopicPartition]] = []

    async def seek_to(self, positions: Positions) -> None:
        self.sought.append(dict(positions))
        self.on_seek({each: SeekPosition(0, at.offset) for each, at in positions.items()})

    def resume_partitions(self, partitions: set[TopicPartition]) -> None:
        self.resumed.append(partitions)


def send_event_of(campaign_id: str, number: int) -> bytes:
    return orjson.dumps(send_event(campaign_id, int(NOW * 1000) + number, "SUCCESS"))


class ManagerHarness:
    """A task manager, and everything that it touches."""

    def __init__(self) -> None:
        self.assignor = TaskAssignor(2, "events", "repartition")
        self.assignor.sources = 2
        self.assignor.peers = {0: "http://other", 1: "http://self"}
        self.opening = HarnessRestorer()
        self.events = TaskEvents()
        self.consumer = FakeConsumer()
        self.crashes: list[BaseException] = []
        self.rebalances = 0
        self.losses: list[str] = []
        group = GroupConsumer()
        group.made(cast("BatchConsumer", self.consumer))
        self.tasks = TaskManager(
            self.assignor,
            cast("TaskRestorer", self.opening),
            group,
            self.events,
            interval=0.005,
            suspend_timeout=1.0,
            crashed=self.crashes.append,
            rebalanced=self._rebalanced,
            task_lost=self.losses.append,
        )
        self.consumer.on_seek = self.tasks.on_seek

    def _rebalanced(self) -> None:
        self.rebalances += 1

    @property
    def harness(self) -> TaskHarness:
        """The task that was opened last."""
        return self.opening.harnesses[-1]

    async def opened(self, times: int) -> None:
        """Wait until the task was opened so many times and is ready."""

        async def are() -> bool:
            return len(self.opening.harnesses) == times and 1 in self.tasks.ready()

        await until(are)

    async def written(self) -> None:
        """Wait until the task that was opened last has written something, and all it was given."""

        async def has() -> bool:
            task = self.harness.task
            return bool(self.harness.writer.written) and task.committed == {
                each: at.offset for each, at in task.positions.items()
            }

        await until(has)


@asynccontextmanager
async def manager_harness() -> AsyncIterator[ManagerHarness]:
    made = ManagerHarness()
    yield made
    await made.tasks.stop()
    assert made.crashes == []


async def test_what_the_group_gives_is_opened_and_read_from_where_it_stands() -> None:
    async with manager_harness() as made:
        joined = [made.tasks.joined]
        await made.tasks.assign(SHARE, 1)
        assert [*joined, made.tasks.joined] == [False, True]
        assert made.tasks.assigned() == {1: SHARE}
        assert made.tasks.states() == {"restoring": 1}
        await made.opened(1)
        assert made.tasks.states() == {"running": 1}
        assert made.assignor.held == {1}
        assert made.tasks.positions() == {SOURCE: Position(0), REPARTITION: Position(0)}
        assert made.tasks.peers() == {0: "http://other"}
        assert made.tasks.partitions() == 2
        assert made.consumer.sought == [{SOURCE: Position(0), REPARTITION: Position(0)}]
        assert made.consumer.resumed == [SHARE]


async def test_a_task_that_is_lost_is_opened_anew() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        for times in (1, 2, 3):
            await made.opened(times)
            harness = made.harness
            harness.writer.fail()
            await harness.take(SOURCE, b"nonsense")
            await made.opened(times + 1)
            assert harness.writer.closed
        assert made.consumer.sought[-1] == {SOURCE: Position(0), REPARTITION: Position(0)}


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


async def test_a_task_that_never_gets_to_write_is_opened_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = (0.0, 0.001, 0.002)
    waited: list[int] = []

    def pause(attempt: int) -> float:
        waited.append(attempt)
        return pauses[min(attempt, 2)]

    monkeypatch.setattr("streams.engine.tasks.manager._pause", pause)
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        for times in (1, 2, 3):
            await made.opened(times)
            made.harness.writer.fail()
            await made.harness.take(SOURCE, b"nonsense")
        await made.opened(4)
        assert waited == [0, 1, 2]
        await made.harness.take(SOURCE, b"nonsense")
        await until(_async(lambda: made.harness.task.has_committed))
        made.harness.writer.fail()
        await made.harness.take(SOURCE, b"nonsense")
        await made.opened(5)
        assert waited == [0, 1, 2], "it had written: that was no attempt in vain"


async def test_opening_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.tasks.manager.RETRY_AFTER", (0.0,))
    async with manager_harness() as made:
        made.opening.failures = [TaskLostError("no"), KafkaConnectionError("no"), OSError("no")]
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        assert made.opening.failures == []


async def test_a_task_that_stays_is_kept() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.harness.take(SOURCE, b"nonsense")
        await made.tasks.revoked()
        assert made.rebalances == 1
        await made.harness.take(SOURCE, b"left out")
        assert made.harness.writer.take().offsets[SOURCE].offset == 1
        await made.tasks.assign(SHARE, 2)
        await made.harness.take(SOURCE, b"nonsense")

        async def written() -> bool:
            return bool(made.harness.writer.written)

        await until(written)
        assert len(made.opening.harnesses) == 1


async def test_a_task_that_is_kept_waits_for_source_partitions_that_are_new() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.tasks.revoked()
        table, now = made.harness.task.partition.table, made.harness.now
        for source in range(2):
            table.observe(source, 5_000, now)
        made.assignor.sources = 3
        await made.tasks.assign(SHARE, 2)
        table.advance(now, 0)
        assert table.event_time == 0
        table.observe(2, 4_000, now)
        table.advance(now, 0)
        assert table.event_time == 4_000


async def test_tasks_that_come_and_go_are_told() -> None:
    async with manager_harness() as made:
        told: list[list[int]] = []
        made.events.on_change(lambda: told.append(sorted(made.tasks.ready())))
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.tasks.revoked()
        await made.tasks.assign([], 2)
        assert told == [[1], []]


async def test_a_task_that_others_may_have_had_is_opened_anew() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.tasks.revoked()
        await made.tasks.assign(SHARE, 3)
        await made.opened(2)
        assert made.opening.harnesses[0].writer.closed


async def test_a_task_that_goes_to_others_is_let_go() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.tasks.revoked()
        await made.tasks.assign([], 2)
        assert made.harness.writer.closed
        assert made.tasks.ready() == {}
        assert made.assignor.held == set()


async def test_a_task_that_cannot_be_committed_is_not_kept() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.harness.take(SOURCE, b"nonsense")
        made.harness.task.suspend()  # before its own task can commit
        made.harness.writer.fail()
        await made.tasks.revoked()
        assert made.tasks.ready() == {}
        await made.tasks.assign(SHARE, 2)
        await made.opened(2)


async def test_a_rebalance_waits_for_no_task_that_is_being_opened() -> None:
    async with manager_harness() as made:
        made.opening.failures = [OSError("no")] * 1000
        await made.tasks.assign(SHARE, 1)
        await asyncio.wait_for(made.tasks.revoked(), 10)
        made.opening.failures = []
        await made.tasks.assign(SHARE, 2)
        await made.opened(1)


async def test_a_rebalance_waits_for_all_that_are_being_opened_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the brokers away each takes seconds to let go of them."""
    made = ManagerHarness()
    ending: list[int] = []
    ended: list[int] = []

    async def never(number: int, *_: object) -> StreamTask:
        try:
            await asyncio.sleep(60)
        finally:
            ending.append(number)
            await asyncio.sleep(0.01)
            ended.append(len(ending))
        raise AssertionError

    monkeypatch.setattr(made.opening, "open", never)
    await made.tasks.assign({SOURCE, SOURCE._replace(partition=0)}, 1)
    await asyncio.sleep(0)
    await made.tasks.revoked()
    assert ended == [2, 2]


@pytest.mark.parametrize("then", ["it is opened", "it fails"])
async def test_a_cancellation_that_aiokafka_swallows_ends_an_opening_all_the_same(
    monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Two workers that have the same task would fence each other for ever."""
    made = ManagerHarness()
    opening = asyncio.Event()
    opened = made.opening.open

    async def swallow(*of: Any) -> StreamTask:
        if not opening.is_set():
            opening.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            if then == "it fails":
                raise OSError("closed")
        return await opened(*of)

    monkeypatch.setattr(made.opening, "open", swallow)
    await made.tasks.assign(SHARE, 1)
    await asyncio.wait_for(opening.wait(), 10)
    await asyncio.wait_for(made.tasks.revoked(), 10)
    await asyncio.sleep(0.05)
    assert not made.tasks.ready()
    assert all(harness.writer.closed for harness in made.opening.harnesses)
    assert len(made.opening.harnesses) == (then == "it is opened")


async def test_batches_of_others_are_left_out() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        foreign = SOURCE._replace(partition=0)
        await made.tasks.take(made.harness.batch(foreign, b"x"))
        await made.tasks.take(made.harness.batch(SOURCE._replace(partition=3), b"x"))
        await made.tasks.take(made.harness.batch(SOURCE, b"nonsense"))
        assert made.tasks.positions()[SOURCE].offset == 1


async def test_stopping_writes_everything_down_and_lets_go() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        made.harness.writer.written.clear()
        await made.harness.take(SOURCE, b"nonsense")
        await made.tasks.stop()
        assert made.harness.writer.take().offsets[SOURCE].offset == 1
        assert made.harness.writer.closed
        assert made.tasks.ready() == {}


async def test_after_an_error_that_nobody_expected_the_task_is_opened_anew() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        made.harness.writer.failure = RuntimeError("out of the blue")
        await made.harness.take(SOURCE, b"nonsense")
        await made.opened(2)
        assert made.losses == ["input"]
        await made.harness.take(SOURCE, b"nonsense")
        await made.written()


async def test_what_another_version_wrote_is_told() -> None:
    made = ManagerHarness()
    made.opening.failures = [FormatError("of tomorrow")]
    await made.tasks.assign(SHARE, 1)

    async def told() -> bool:
        return [str(each) for each in made.crashes] == ["of tomorrow"]

    await until(told)
    await made.tasks.stop()
    assert len(made.crashes) == 1, "it is told once, and the stop is as any other"


POISON = b'{"poison":1}'


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one record make the counting of its batch fail."""
    count = SourcePartition.count

    def fail(
        self: SourcePartition,
        values: Sequence[bytes | None],
        broker_time: int,
        pre_aggregator: PreAggregator,
    ) -> list[Rejected]:
        counted = count(self, values, broker_time, pre_aggregator)
        if POISON in values:
            raise OverflowError("poison")
        return counted

    monkeypatch.setattr(SourcePartition, "count", fail)


def dead(writes: TransactionBatch) -> list[tuple[bytes | None, bytes, bytes]]:
    """Value, reason and offset of each dead letter."""
    letters = writes.records.get(TopicPartition("dead", 0), [])
    return [
        (each.value, dict(each.headers)["reason"], dict(each.headers)["source-offset"])
        for each in letters
    ]


@pytest.mark.usefixtures("poison")
async def test_a_record_that_cannot_be_processed_costs_one_opening() -> None:
    values = [send_event_of("a", n) for n in range(7)] + [POISON] + [send_event_of("a", 8)]
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.harness.take(SOURCE, *values)
        await made.opened(2)
        assert made.losses == ["input"]
        assert made.opening.harnesses[0].writer.written == []
        # The same again, as it was not committed; and more of it.
        await made.harness.take(SOURCE, *values)
        await made.harness.take(SOURCE, POISON, *values[:2], POISON)
        await made.written()
        assert made.losses == ["input"]
        written = made.harness.writer.written
        assert [each for writes in written for each in dead(writes)] == [
            (POISON, b"unprocessable", at) for at in (b"7", b"9", b"12")
        ]
        assert made.harness.metrics.events == 10
        assert written[-1].offsets[SOURCE].offset == 13


async def test_a_block_that_cannot_be_processed_costs_one_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply = CampaignPartition.apply

    def fail(self: CampaignPartition, added: PartialCounts, offset: int, now: float) -> None:
        if offset == 1:
            # A trial does not show it: there the offset is another one.
            raise OverflowError("poison")
        apply(self, added, offset, now)

    monkeypatch.setattr(CampaignPartition, "apply", fail)
    value = encode(
        PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: 1}, 1, [window_counts(0, {"a": counts({"SENT": 1})})]
        )
    )
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.harness.take(REPARTITION, value, value, value)
        await made.opened(2)
        await made.harness.take(REPARTITION, value, value, value)
        await made.written()
        assert made.losses == ["input"]
        (writes,) = made.harness.writer.written
        assert dead(writes) == [(value, b"unprocessable", b"1")]
        (cell,) = [cell for _, cell in all_cells(made.harness.task.partition.table, 0)]
        assert sum(cell.sends.values()) == 2
        state = state_of(writes.records[CHANGELOG])
        assert state["unprocessable"] == b"[1]"


async def test_of_a_block_only_what_fails_becomes_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply = CampaignPartition.apply

    def fail(self: CampaignPartition, added: PartialCounts, offset: int, now: float) -> None:
        if any("poison" in window.campaigns for window in added.windows):
            raise OverflowError("poison")
        apply(self, added, offset, now)

    monkeypatch.setattr(CampaignPartition, "apply", fail)
    campaigns = {name: counts({"SENT": 2, "LOST": 1}) for name in ("a", "poison", "b")}
    mixed = [window_counts(0, campaigns), window_counts(60, campaigns)]
    value = encode(PartialCounts(PARTIAL_COUNTS_VERSION, {0: 1}, 1, mixed))
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        await made.harness.take(REPARTITION, value)
        await made.opened(2)
        await made.harness.take(REPARTITION, value, value)
        await made.written()
        assert made.losses == ["input"]
        table = made.harness.task.partition.table
        for start in (0, 60):
            counted = {name: sum(cell.sends.values()) for name, cell in all_cells(table, start)}
            assert counted == {"a": 6, "b": 6}
        letters = [each for writes in made.harness.writer.written for each in dead(writes)]
        assert [(reason, at) for _, reason, at in letters] == [
            (b"unprocessable", b"0"),
            (b"unprocessable", b"1"),
        ]
        for bad, *_ in letters:
            assert sorted(rows_of(decode(bad or b"").windows).values()) == [1, 1, 2, 2]


async def test_dead_letters_that_are_refused_twice_are_bare() -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        for times in (1, 2):
            await made.opened(times)
            dead_letters = TopicPartition("dead", 0)
            made.harness.writer.failure = RefusedError.of(dead_letters, MessageSizeTooLargeError())
            await made.harness.take(SOURCE, b"nonsense")
        await made.opened(3)
        assert made.losses == ["input", "input"]
        assert made.opening.harnesses[0].context.limits.outdated
        await made.harness.take(SOURCE, b"nonsense")
        await made.written()
        (writes,) = made.harness.writer.written
        assert dead(writes) == [(b"", b"not-json", b"0")]


async def test_a_lost_task_stays_visible_and_is_named_when_it_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        assert made.tasks.committed() == dict.fromkeys(SHARE)
        assert made.tasks.waiting() == ["reading back the state of partition 1"]
        await made.opened(1)
        await made.harness.take(SOURCE, b"nonsense")
        await made.written()
        assert (made.tasks.waiting(), made.tasks.committed()) == ([], {SOURCE: 1, REPARTITION: 0})
        made.opening.failures = [KafkaConnectionError("broker 3 is away")] * 99
        made.harness.writer.fail()
        await made.harness.take(SOURCE, b"nonsense")
        await until(_async(lambda: not made.tasks.ready()))
        assert (made.tasks.waiting(), made.tasks.committed()) == ([], {SOURCE: 1, REPARTITION: 0})
        monkeypatch.setattr(under_test, "REOPENED_WITHIN", 0.0)
        await until(_async(lambda: "broker 3 is away" in "".join(made.tasks.waiting())))
        (reason,) = made.tasks.waiting()
        assert reason.startswith("partition 1 waits: it cannot be opened")
        made.opening.failures = []
        await made.opened(2)
        await until(_async(lambda: not made.tasks.waiting()))
        await made.tasks.assign(set(), 2)
        assert made.tasks.committed() == {}


async def test_what_cannot_be_read_is_said_and_read_as_soon_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.engine.tasks.manager.LOOK_EVERY", 0.01)
    async with manager_harness() as made:
        await made.tasks.assign(SHARE, 1)
        await made.opened(1)
        assert made.tasks.unreadable() == []
        made.opening.why_not = {SOURCE: "topic events does not exist"}
        await made.harness.task.take(Batch(SOURCE, 0, 0, (), end_seen=7))

        async def is_said() -> bool:
            return made.tasks.unreadable() == ["topic events does not exist"]

        await until(is_said)
        assert made.tasks.positions() == {REPARTITION: Position(0)}, "a rebalance must not place it"
        assert made.tasks.committed() == {REPARTITION: 0}, "there is nothing to be behind of"
        made.opening.why_not = {}

        async def is_read() -> bool:
            return made.tasks.unreadable() == [] and SOURCE in made.tasks.positions()

        await until(is_read)
        assert made.consumer.sought[-1] == {SOURCE: Position(0)}
        assert made.consumer.resumed[-1] == {SOURCE}


async def test_a_group_that_gets_no_source_says_so() -> None:
    async with manager_harness() as made:
        made.assignor.sources = 0
        assert made.tasks.unreadable() == []
        await made.tasks.assign(set(), 1)
        (reason,) = made.tasks.unreadable()
        assert "topic events (topics.source) does not exist" in reason
