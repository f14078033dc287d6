"""What a task reads, and what it writes at once. Its campaigns are those of partition 1 of 2."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain import changelog, partial_counts, transitions
from streams.domain.alert_records import Alert
from streams.domain.changelog import FORMAT
from streams.domain.detectors.volume import Volume
from streams.domain.operators import Acknowledgement
from streams.domain.partial_counts import PartialCounts, partition_of
from streams.engine.consume.positions import (
    Position,
    as_committed,
    as_input_offsets,
    from_committed,
    from_input_offsets,
)
from streams.engine.consume.transport import Batch, SeekPosition
from streams.engine.produce.writer import RefusedError, TaskLostError, TransactionBatch, WriteError
from streams.engine.tasks import task as under_test
from streams.engine.tasks.logs import Cause, LostRecords
from streams.engine.tasks.offsets import CATCHING_UP_RECORDS, TaskOffsets
from streams.engine.tasks.poison_pills import UnprocessableError
from streams.engine.tasks.state import TaskState
from streams.engine.tasks.task import CATCH_UP_INTERVAL
from streams.errors import FormatError
from tests.support.mixture import send_event
from tests.support.partitions import FAILURE_SPIKE, PARTITION_SETTINGS
from tests.support.tasks import (
    CHANGELOG,
    NOW,
    REPARTITION,
    SOURCE,
    TOPICS,
    TaskHarness,
    record,
    state_of,
)

MS = int(NOW * 1000)
HERE = next(name for name in "abcdef" if partition_of(name, 2) == 1)
THERE = next(name for name in "abcdef" if partition_of(name, 2) == 0)


def send(campaign_id: str = HERE, status: str = "SUCCESS", time: int = MS) -> bytes:
    return orjson.dumps(send_event(campaign_id, time, status, delivery_type="EMAIL"))


async def commits_nothing(harness: TaskHarness, why: str | None = None) -> None:
    """See that the task is lost and has written nothing: what it has cannot be trusted."""
    with pytest.raises(TaskLostError, match=why):
        await harness.task.commit_for_handover()
    assert harness.writer.written == []


async def test_source_records_become_partial_counts_and_offsets_in_one_write() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send(HERE), send(THERE), send(HERE, time=MS - 60_000))
    assert harness.writer.written == []
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    assert {(p.topic, p.partition) for p in writes.records} == {
        ("repartition", 0),
        ("repartition", 1),
    }
    (here,) = writes.records[REPARTITION]
    added = partial_counts.decode(here.value or b"")
    assert added.event_times == {1: MS}
    assert [each.campaigns for each in added.windows] == [[HERE], [HERE]]
    assert writes.offsets == {SOURCE: as_committed(Position(3, MS))}
    assert harness.task.committed == {SOURCE: 3, REPARTITION: 0}
    assert harness.metrics.events == 3


@pytest.mark.parametrize("on_closing", [False, True])
async def test_where_a_rule_asks_for_it_partitions_without_counts_get_event_times(
    *, on_closing: bool
) -> None:
    rules = (replace(FAILURE_SPIKE, detector=Volume()),) if on_closing else (FAILURE_SPIKE,)
    harness = TaskHarness(replace(PARTITION_SETTINGS, rules=rules))
    await harness.take(SOURCE, send(THERE))
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    heartbeats = writes.records.get(REPARTITION, [])
    assert len(heartbeats) == on_closing
    for heartbeat in heartbeats:
        added = partial_counts.decode(heartbeat.value or b"")
        assert (added.event_times, added.windows) == ({1: MS}, [])
        await harness.take(REPARTITION, heartbeat.value)
        assert harness.task.partition.table.input_event_times == {1: MS}
        await harness.task.commit_for_handover()
        state = state_of(harness.writer.take().records[CHANGELOG])
        written = orjson.loads(state["checkpoint"] or b"")
        assert written["inputs"] == {"1": MS}
        start = harness.task.partition.settings.windows.start_of(MS)
        assert written["observed"] == [[start, start]]


async def test_partial_counts_become_windows_that_are_recovered_from_the_log() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send(), send())
    await harness.task.commit_for_handover()
    (record,) = harness.writer.take().records[REPARTITION]
    await harness.take(REPARTITION, record.value, gap=1)
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    start = harness.task.partition.settings.windows.start_of(MS)
    (checkpoint,) = state_of(writes.records[CHANGELOG]).values()
    assert orjson.loads(checkpoint or b"")["dirty"] == {str(start): [1, None]}
    assert writes.offsets == {REPARTITION: OffsetAndMetadata(2, "")}
    assert len(writes.records) == 1


async def test_a_window_is_written_when_it_is_closed_and_quiet() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    await harness.settle()
    await harness.task.commit_for_handover()
    assert harness.writer.take().offsets == {REPARTITION: OffsetAndMetadata(1, "")}
    harness.now += harness.task.partition.settings.idle_timeout + 100
    await harness.task.tick()
    writes = harness.writer.take()
    start = harness.task.partition.settings.windows.start_of(MS)
    state = state_of(writes.records[CHANGELOG])
    assert list(state) == [f"bucket {start} 0 0", "checkpoint"]
    assert orjson.loads(state["checkpoint"] or b"")["dirty"] == {}
    assert writes.offsets == {}


@pytest.mark.parametrize("repartitions", [True, False])
async def test_many_campaigns_are_evaluated_in_several_steps(
    monkeypatch: pytest.MonkeyPatch, repartitions: bool
) -> None:
    monkeypatch.setattr(under_test, "EVALUATED_AT_ONCE", 10)
    harness = TaskHarness(repartitions=repartitions)
    names = [f"c{n}" for n in range(200) if partition_of(f"c{n}", 2) == 1][:60]
    await harness.take(SOURCE, *(send(name, "FAILURE") for name in names for _ in range(60)))
    if repartitions:
        await harness.settle()
    async with turns_of_others() as turns:
        await harness.task.tick()
    assert len(turns) >= 4
    decided = [each.data.campaign_id for each in harness.metrics.transitions]
    assert sorted(decided) == sorted(names)
    alerts = [r for p, each in harness.writer.take().records.items() if "alerts" in p for r in each]
    assert len(alerts) == len(names)


async def test_partial_counts_wait_while_campaigns_are_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "EVALUATED_AT_ONCE", 1)
    harness = TaskHarness()
    names = [f"c{n}" for n in range(20) if partition_of(f"c{n}", 2) == 1]
    await harness.take(SOURCE, *(send(name, "FAILURE") for name in names for _ in range(60)))
    await harness.task.commit_for_handover()
    (record,) = harness.writer.take().records[REPARTITION]
    await harness.take(REPARTITION, record.value)
    reading = asyncio.create_task(_read_again_and_again(harness, record.value))
    await asyncio.wait_for(harness.task.tick(), 5.0)
    writes = harness.writer.take()
    assert sum(len(each) for p, each in writes.records.items() if "alerts" in p) == len(names)
    assert writes.offsets[REPARTITION].offset <= 2
    reading.cancel()
    assert harness.task.positions[REPARTITION].offset < 10


async def _read_again_and_again(harness: TaskHarness, value: bytes | None) -> None:
    while True:
        await harness.take(REPARTITION, value)
        await asyncio.sleep(0)


async def test_without_repartitioning_what_comes_while_campaigns_are_evaluated_is_written_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "EVALUATED_AT_ONCE", 1)
    harness = TaskHarness(repartitions=False)
    harness.now += 3_600
    await harness.take(SOURCE, *(send(f"c{n}", "FAILURE") for n in range(5) for _ in range(60)))
    await harness.take(SOURCE, send("c5", time=MS + 3_600_000))
    ticking = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0)
    assert not ticking.done()
    # Once the others are added the first window is over: these two are late.
    await harness.take(SOURCE, send("c1"), send("c2"))
    await ticking
    writes = harness.writer.take()
    assert writes.offsets[SOURCE].offset == 303
    added = [partial_counts.decode(each.value or b"") for each in writes.records[REPARTITION]]
    assert [sum(counts.events for counts in each.windows) for each in added] == [301, 2]
    table = harness.task.partition.table
    kept = sum(counts.events for start in table.starts() for counts in table.counts(start))
    assert kept == 303
    assert table.late_events == 2
    checkpoint = state_of(writes.records[CHANGELOG])["checkpoint"]
    assert list(orjson.loads(checkpoint or b"")["dirty"].values()) == [[0, 1], [0, None]]


async def test_partial_counts_are_added_in_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "BYTES_AT_ONCE", 1)
    harness = TaskHarness()
    await harness.take(SOURCE, send(), send())
    await harness.task.commit_for_handover()
    (record,) = harness.writer.take().records[REPARTITION]
    async with turns_of_others() as turns:
        taking = asyncio.create_task(harness.take(REPARTITION, *[record.value] * 10))
        await asyncio.sleep(0)
        # What is committed meanwhile is what was added by then.
        await harness.task.commit_for_handover()
        await taking
    assert len(turns) >= 8
    committed = harness.writer.take().offsets[REPARTITION].offset
    assert 0 < committed < 10
    await harness.task.commit_for_handover()
    assert harness.writer.take().offsets[REPARTITION].offset == 10
    start = harness.task.partition.settings.windows.start_of(MS)
    assert harness.task.partition.table.events(HERE, start) == 20


@contextlib.asynccontextmanager
async def turns_of_others() -> AsyncIterator[list[None]]:
    """Lend the turns that others have had of the event loop meanwhile."""
    turns: list[None] = []

    async def take_turns() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(None)

    taking_turns = asyncio.create_task(take_turns())
    yield turns
    taking_turns.cancel()


async def test_nothing_read_nothing_written() -> None:
    harness = TaskHarness()
    await harness.task.commit_for_handover()
    harness.now += 10
    await harness.task.tick()
    assert harness.writer.written == []


async def test_records_that_cannot_be_counted_are_dead_lettered_with_their_offsets() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, b"nonsense", send(), None, b"x" * 3000)
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    dead = writes.records[SOURCE._replace(topic="dead", partition=0)]
    assert [each.value for each in dead] == [b"nonsense", None, b"x" * 3000]
    headers = dict(dead[1].headers)
    assert headers.pop("detail")
    assert headers == {
        "trace": b"1",
        "reason": b"not-json",
        "source-topic": b"events",
        "source-partition": b"1",
        "source-offset": b"2",
        "failed-at": b"2026-09-21T14:13:20Z",
    }
    assert dead[1].key == b"key"
    assert REPARTITION in writes.records
    assert writes.offsets[SOURCE].offset == 4
    assert [each.reason for each in harness.metrics.rejections] == [
        "not-json",
        "not-json",
        "too-large",
    ]


async def test_what_is_no_partial_counts_is_dead_lettered_with_its_own_offset() -> None:
    harness = TaskHarness()
    await harness.take(REPARTITION, b"nonsense")
    await harness.task.tick()
    writes = harness.writer.take()
    (dead,) = writes.records[SOURCE._replace(topic="dead", partition=0)]
    assert dict(dead.headers)["reason"] == b"not-partial-counts"
    assert dict(dead.headers)["source-topic"] == b"repartition"
    assert writes.offsets == {REPARTITION: OffsetAndMetadata(1, "")}


async def test_a_batch_that_does_not_follow_loses_the_task() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    await harness.take(SOURCE, send(), start=5)
    with pytest.raises(TaskLostError, match="read from 5, not from 1"):
        await harness.task.tick()
    await commits_nothing(harness)


@pytest.mark.parametrize("start", [0, 3])
async def test_a_batch_from_before_a_seek_is_left_out(start: int) -> None:
    harness = TaskHarness()
    harness.task.on_seek({SOURCE: SeekPosition(1, 0)})
    await harness.take(SOURCE, send(), start=start, seek_epoch=0)
    await harness.task.commit_for_handover()
    assert harness.writer.written == []
    await harness.take(SOURCE, send(), seek_epoch=1)
    await harness.task.commit_for_handover()
    assert harness.writer.take().offsets[SOURCE].offset == 1


async def test_a_suspended_task_takes_nothing() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    harness.task.suspend()
    await harness.take(SOURCE, send())
    await harness.task.commit_for_handover()
    assert harness.writer.take().offsets[SOURCE].offset == 1


async def test_a_commit_that_fails_loses_the_task_for_good() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    harness.writer.fail()
    with pytest.raises(WriteError, match="the broker is gone"):
        await harness.task.commit_for_handover()
    harness.writer.failure = None
    await harness.take(SOURCE, send())
    assert harness.task.positions[SOURCE].offset == 1
    for _ in range(2):
        with pytest.raises(TaskLostError, match="the broker is gone"):
            await harness.task.tick()
    assert harness.writer.written == []
    assert harness.task.committed[SOURCE] == 0
    assert harness.metrics.commits == []
    assert harness.metrics.failed_commits == ["failed"]


async def test_a_commit_that_a_broker_refuses_is_counted_as_that() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    harness.writer.failure = RefusedError("a record is too large")
    with pytest.raises(RefusedError):
        await harness.task.commit_for_handover()
    assert harness.metrics.failed_commits == ["refused"]


async def test_a_commit_that_is_broken_off_loses_the_task_too() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send())
    harness.writer.failure = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await harness.task.commit_for_handover()
    assert harness.metrics.failed_commits == ["failed"]
    harness.writer.failure = None
    await commits_nothing(harness, "CancelledError")


async def test_a_failed_commit_within_take_is_told_by_the_next_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 1)
    harness = TaskHarness()
    harness.writer.fail()
    await harness.take(SOURCE, send(), send(THERE))
    with pytest.raises(WriteError):
        await harness.task.tick()


async def test_a_full_task_commits_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 2)
    harness = TaskHarness()
    await harness.take(SOURCE, send(), send())
    assert harness.writer.written == []
    await harness.take(SOURCE, send(THERE), send(status="FAILURE"))
    assert harness.writer.take().offsets[SOURCE].offset == 4


async def test_statuses_in_no_group_are_noted_when_they_are_written() -> None:
    harness = TaskHarness()
    for status in ("Success", "Success", "FAILURE", "failure"):
        await harness.take(SOURCE, send(status=status))
    await harness.task.tick()
    assert harness.metrics.unrecognised_events == {"Success": 2, "failure": 1}


async def test_a_task_ends_when_time_turns_out_to_be_another() -> None:
    harness = TaskHarness()
    clock = harness.context.clock
    await harness.take(SOURCE, send())
    clock.appended(CHANGELOG, clock.wall() + 3, clock.wall(), clock.wall())
    await harness.take(SOURCE, send())
    await harness.task.tick()
    assert harness.metrics.events == 2
    clock.appended(CHANGELOG, clock.wall() + 3_600, clock.wall(), clock.wall())
    await harness.take(SOURCE, send())
    with pytest.raises(TaskLostError, match=r"the broker's time turned out to be \+3600 s off"):
        await harness.task.tick()
    assert harness.metrics.events == 2


async def test_the_time_of_a_log_that_the_broker_stamps_is_the_brokers() -> None:
    """Also while nobody has said by how much the worker's clock is wrong."""
    harness = TaskHarness()
    later = MS + 3_600_000
    values = [send(time=later), send(time=later + 600_000)]
    batch = harness.batch(SOURCE, *values)
    stamped = [
        record(SOURCE, n, value, timestamp=later, timestamp_type=1)
        for n, value in enumerate(values)
    ]
    await harness.task.take(batch._replace(records=stamped))
    await harness.task.commit_for_handover()
    assert [each.position for each in harness.metrics.rejections] == [1]


async def test_a_spike_is_decided_and_written_in_one_go() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
    await harness.settle()
    await harness.task.tick()
    writes = harness.writer.take()
    (told,) = (
        each for p, records in writes.records.items() for each in records if p[0] == "alerts"
    )
    transition = transitions.decode(told.value or b"")
    assert (transition.type, told.key) == ("campaign.alert.firing", HERE.encode())
    state = state_of(writes.records[CHANGELOG])
    assert sorted(key.split()[0] for key in state) == ["alert", "checkpoint", "delivery"]
    assert writes.offsets[REPARTITION].offset <= 2
    (owed,) = harness.task.partition.deliveries.due(harness.now)
    assert owed.alert_id == transition.data.alert_id


async def test_transitions_are_where_the_key_of_their_campaign_belongs() -> None:
    """CRC-32 of the campaign's id, worked out elsewhere, over the topic's three partitions."""
    harness = TaskHarness()
    homes = {"c0": 0, "c1": 2, "c2": 1, "c9": 2}
    for name in homes:
        await harness.take(SOURCE, *(send(name, status="FAILURE") for _ in range(60)))
    await harness.settle()
    await harness.task.tick()
    writes = harness.writer.take()
    found = {
        (record.key or b"").decode(): partition.partition
        for partition, records in writes.records.items()
        if partition.topic == "alerts"
        for record in records
    }
    assert found == homes


@pytest.mark.parametrize(("partitions", "number"), [(1, 0), (2, 1), (3, 1)])
async def test_dead_letters_have_one_partition_a_task_as_far_as_there_are_any(
    partitions: int, number: int
) -> None:
    topics = replace(TOPICS, dead_letter_partitions=partitions)
    harness = TaskHarness(topics=topics)
    await harness.take(SOURCE, b"no JSON")
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    dead = [partition for partition in writes.records if partition.topic == "dead"]
    assert dead == [TopicPartition("dead", number)]
    assert set(dead) < set(harness.task._context.written_by(1, 2))


async def test_catching_up_a_task_commits_less_often() -> None:
    harness = TaskHarness()
    await harness.task.take(harness.batch(SOURCE, send())._replace(waiting=CATCHING_UP_RECORDS + 1))
    await harness.task.tick()
    assert harness.writer.take().offsets[SOURCE].offset == 1
    await harness.task.take(harness.batch(SOURCE, send())._replace(waiting=CATCHING_UP_RECORDS + 1))
    for _ in range(9):
        harness.now += CATCH_UP_INTERVAL / 10
        await harness.task.tick()
        assert harness.writer.written == []
    harness.now += CATCH_UP_INTERVAL / 10 + 0.001
    await harness.task.tick()
    assert harness.writer.take().offsets[SOURCE].offset == 2


async def test_a_task_that_is_up_to_date_commits_at_every_tick() -> None:
    harness = TaskHarness()
    for count in range(1, 4):
        await harness.task.take(harness.batch(SOURCE, send())._replace(waiting=CATCHING_UP_RECORDS))
        await harness.task.tick()
        assert harness.writer.take().offsets[SOURCE].offset == count


@pytest.mark.parametrize("repartitions", [True, False])
async def test_no_count_is_written_before_it_was_decided_on(repartitions: bool) -> None:
    """Also not by a last commit before the task is handed over."""
    harness = TaskHarness(repartitions=repartitions)
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
    if repartitions:
        await harness.settle()
    await harness.task.commit_for_handover()
    writes = harness.writer.take()
    assert {partition.topic for partition in writes.records} >= {"alerts", "changelog"}
    (transition,) = harness.metrics.transitions
    assert transition.type == "campaign.alert.firing"


@pytest.mark.parametrize("repartitions", [True, False])
async def test_figures_are_handed_over_with_the_last_counts(repartitions: bool) -> None:
    harness = TaskHarness(repartitions=repartitions)
    for count in (60, 120):
        await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
        if repartitions:
            await harness.settle()
        await harness.task.commit_for_handover()
        state = state_of(harness.writer.take().records[CHANGELOG])
        (alert,) = (value for name, value in state.items() if name.startswith("alert "))
        assert orjson.loads(alert or b"")["evidence"]["attempts"] == count


async def test_nothing_is_delivered_that_was_not_written() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
    await harness.settle()
    harness.writer.fail()
    with pytest.raises(WriteError):
        await harness.task.tick()
    assert harness.task.partition.deliveries.due(harness.now + 1000) == []


async def test_a_source_keyed_by_campaign_is_not_repartitioned() -> None:
    harness = TaskHarness(repartitions=False)
    start = harness.task.partition.settings.windows.start_of(MS)
    for offset, since in ((2, 0), (4, 0)):
        await harness.take(SOURCE, send(), b"nonsense")
        await harness.task.tick()
        writes = harness.writer.take()
        assert {partition.topic for partition in writes.records} == {
            "repartition",
            "changelog",
            "dead",
        }
        assert writes.offsets == {SOURCE: as_committed(Position(offset, MS))}
        (checkpoint,) = state_of(writes.records[CHANGELOG]).values()
        assert orjson.loads(checkpoint or b"")["dirty"] == {str(start): [since, None]}
        ((_, cell),) = harness.task.partition.table.cells(HERE, [start])
        assert sum(cell.sends.values()) == offset // 2
    assert harness.metrics.events == 2


async def test_without_repartitioning_a_window_begins_after_all_that_was_written() -> None:
    harness = TaskHarness(repartitions=False)
    for minutes in (0, 60):
        await harness.take(SOURCE, send(time=MS - 3_600_000 + minutes * 60_000))
        await harness.task.tick()
    (checkpoint,) = state_of(harness.writer.written[1].records[CHANGELOG]).values()
    assert list(orjson.loads(checkpoint or b"")["dirty"].values()) == [[0, 3], [2, None]]


async def test_without_repartitioning_counts_are_added_record_by_record_as_in_a_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = partial_counts.encode_records
    small = lambda counts, limit=100: encode(counts, limit)  # noqa: E731
    monkeypatch.setattr(partial_counts, "encode_records", small)
    harness = TaskHarness(repartitions=False)
    added: list[tuple[int, bytes]] = []
    apply = harness.task.partition.apply

    def spy(counts: PartialCounts, offset: int, now: float) -> None:
        added.append((offset, partial_counts.encode(counts)))
        apply(counts, offset, now)

    monkeypatch.setattr(harness.task.partition, "apply", spy)
    for begin in (0, 3):
        added.clear()
        await harness.take(SOURCE, send(HERE), send(THERE))
        await harness.task.tick()
        written = [each.value for each in harness.writer.take().records[REPARTITION]]
        assert added == list(enumerate(written, begin))
        assert len(written) == 2


async def test_partial_counts_of_another_version_stop_the_worker_and_lose_nothing() -> None:
    harness = TaskHarness()
    await harness.take(REPARTITION, partial_counts.encode([99, "of tomorrow"]))
    for _ in range(2):
        with pytest.raises(FormatError, match="format 99"):
            await harness.task.tick()
    assert harness.writer.written == []
    assert harness.task.committed[REPARTITION] == 0


@pytest.mark.parametrize(("timestamp_type", "rejections"), [(0, 0), (1, 1)])
async def test_the_brokers_time_is_taken_where_the_topic_has_it(
    timestamp_type: int, rejections: int
) -> None:
    harness = TaskHarness()
    taken_in = MS - 3_600_000
    late = record(SOURCE, 0, send(), timestamp=taken_in, timestamp_type=timestamp_type)
    await harness.task.take(Batch(SOURCE, 0, 0, [late]))
    await harness.task.commit_for_handover()
    assert len(harness.metrics.rejections) == rejections


async def test_while_a_full_task_is_written_down_more_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 1)
    harness = TaskHarness()
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(HERE), send(THERE))
    assert harness.task._output.is_full is False, "the early commit has taken it"
    await harness.take(SOURCE, send(HERE))
    assert harness.task.positions[SOURCE].offset == 3
    full_again = asyncio.create_task(harness.take(SOURCE, send(THERE)))
    await asyncio.sleep(0.01)
    assert not full_again.done(), "one commit at a time"
    let_go.set()
    await full_again
    await harness.task.tick()
    offsets = [writes.offsets for writes in harness.writer.written]
    assert offsets == [{SOURCE: as_committed(Position(at, MS))} for at in (2, 4)]
    assert harness.metrics.events == 4


@pytest.mark.parametrize(
    ("error", "told"),
    [(WriteError("gone"), WriteError), (RuntimeError("a bug"), UnprocessableError)],
)
async def test_an_early_commit_that_fails_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: type[Exception]
) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 0)
    harness = TaskHarness()
    harness.writer.failure = error
    await harness.take(SOURCE, send(HERE))
    await harness.take(SOURCE, send(HERE))
    with pytest.raises(told):
        await harness.task.tick()
    await commits_nothing(harness)
    assert harness.task.committed[SOURCE] == 0


async def test_an_early_evaluation_that_fails_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by whoever comes before the next tick: a rebalance, or one more early commit."""
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 0)
    harness = TaskHarness()
    with monkeypatch.context() as patch:
        patch.setattr(under_test, "EVALUATED_AT_ONCE", -1)
        patch.setattr(harness.task.partition, "evaluate", lambda *_: 1 / 0)
        await harness.take(SOURCE, send(HERE))
        await asyncio.sleep(0)
    with pytest.raises(UnprocessableError, match="ZeroDivisionError"):
        await harness.task.commit_for_handover()
    assert harness.writer.written == []


@pytest.mark.parametrize("early", [True, False])
async def test_what_was_collected_and_lost_on_the_way_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    harness = TaskHarness()
    with monkeypatch.context() as patch:
        patch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 0 if early else 9)
        patch.setattr(harness.task.partition, "take_changes", lambda *_, **__: 1 / 0)
        await harness.take(SOURCE, send(HERE))
        with pytest.raises(UnprocessableError, match="ZeroDivisionError"):
            await harness.task.tick()
    await harness.take(SOURCE, send(THERE))
    await commits_nothing(harness)


async def test_half_a_batch_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = TaskHarness()
    monkeypatch.setattr(harness.task._output, "dead_letter", lambda *_: 1 / 0)
    await harness.take(SOURCE, send(HERE), b"nonsense")
    await commits_nothing(harness, "ZeroDivisionError")


async def test_a_suspended_task_writes_no_more_than_its_last_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 1)
    harness = TaskHarness()
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(HERE), send(THERE))
    full_again = asyncio.create_task(harness.take(SOURCE, send(HERE), send(THERE)))
    ticking = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0)
    harness.task.suspend()
    last = asyncio.create_task(harness.task.commit_for_handover())
    await asyncio.sleep(0.01)
    let_go.set()
    await last
    written = len(harness.writer.written)
    await asyncio.gather(full_again, ticking)
    await asyncio.sleep(0.01)
    assert len(harness.writer.written) == written == 2
    assert harness.task.committed[SOURCE] == 4


async def test_failed_counts_are_known_until_their_dead_letter_is_committed() -> None:
    """Not only until that of the one before it is: the task may be lost between the two."""
    harness = TaskHarness()
    await harness.take(SOURCE, send(HERE))
    await harness.task.commit_for_handover()
    (record,) = harness.writer.take().records[REPARTITION]
    await harness.take(REPARTITION, record.value)
    let_go = harness.writer.hold()
    ticking = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0)
    harness.poison_pills.failed_counts[1] = "what was raised"
    await harness.take(REPARTITION, record.value)
    let_go.set()
    await ticking
    assert harness.poison_pills.failed_counts.keys() == {1}
    await harness.task.tick()
    assert harness.poison_pills.failed_counts == {}


async def test_two_that_find_a_task_full_begin_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 1)
    harness = TaskHarness()
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(HERE), send(THERE))
    takers = [asyncio.create_task(harness.take(SOURCE, send(HERE), send(THERE))) for _ in range(2)]
    await asyncio.sleep(0.01)
    let_go.set()
    await asyncio.gather(*takers)
    assert [each.offsets[SOURCE].offset for each in harness.writer.written] == [2, 6]


async def test_without_repartitioning_time_waits_for_a_commit_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or counts that close their own window would be taken for late when they are read again."""
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 1)
    harness = TaskHarness(repartitions=False)
    windows = harness.task.partition.settings.windows
    old = MS - 3_600_000
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(time=old), send(time=MS))
    ticking = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0.01)
    let_go.set()
    await ticking
    (checkpoint,) = state_of(harness.writer.written[-1].records[CHANGELOG]).values()
    dirty = orjson.loads(checkpoint or b"")["dirty"]
    assert dirty[str(windows.start_of(old))] == [0, 2], (
        "late from behind the record and its transaction on"
    )


async def test_a_lost_task_is_let_go_without_the_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may hold hundreds of megabytes, and the collector runs seldom."""
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 0)
    harness = TaskHarness()
    gone = weakref.ref(harness.task)
    gc.disable()
    try:
        harness.writer.fail()
        await harness.take(SOURCE, send(HERE))
        for _ in range(2):
            with contextlib.suppress(TaskLostError):
                await harness.task.tick()
        await harness.task.close()
        # The harness holds on to it too: by itself, and by the error's traceback.
        harness.writer.failure = None
        del harness.task
        assert gone() is None
    finally:
        gc.enable()


async def test_closing_waits_for_a_commit_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.engine.tasks.output_buffer.FULL_COUNTS", 0)
    harness = TaskHarness()
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(HERE))
    closing = asyncio.create_task(harness.task.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    let_go.set()
    await closing
    assert harness.writer.closed
    assert len(harness.writer.written) == 1


async def test_closing_lets_go_of_the_writer() -> None:
    harness = TaskHarness()
    await harness.task.close()
    assert harness.writer.closed
    assert harness.task.state is TaskState.CLOSED


@pytest.mark.parametrize("metadata", ["", "x", "[]", "{}", '{"event_time": "x"}', "null"])
def test_offsets_of_others_say_nothing_of_event_time(metadata: str) -> None:
    assert from_committed(OffsetAndMetadata(5, metadata)) == Position(5, 0)


def test_what_was_read_comes_back() -> None:
    positions = {SOURCE: Position(3, MS), REPARTITION: Position(7)}
    assert from_input_offsets(as_input_offsets(positions)) == positions
    assert from_committed(as_committed(Position(3, MS))) == Position(3, MS)


async def test_a_refusal_ends_the_reading_of_a_partition_until_it_is_moved() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, send(HERE), send(HERE))
    refusal = Batch(SOURCE, 0, 2, (), end_seen=9)
    await harness.task.take(refusal._replace(seek_epoch=5))
    assert harness.task.to_position == {}, "it is of another life"
    await harness.task.take(refusal)
    assert harness.task.to_position == {SOURCE: 9}
    assert harness.task.readable.keys() == {REPARTITION}
    await harness.take(SOURCE, send(HERE), start=2)
    moved = Position(0, 5, UUID(int=2))
    assert await harness.task.move(SOURCE, moved, LostRecords(Cause.RECREATED, 7, 2))
    writes = harness.writer.take()
    assert from_committed(writes.offsets[SOURCE]) == moved
    assert REPARTITION in writes.records, (
        "what was counted of the old log is in the same transaction"
    )
    assert harness.metrics.events == 2
    assert harness.metrics.losses == [(SOURCE, "topic-recreated", 7)]
    assert harness.task.to_position == {}
    assert harness.task.readable[SOURCE] == moved


async def test_a_loss_is_not_counted_before_it_is_written_down() -> None:
    harness = TaskHarness()
    harness.writer.fail()
    with pytest.raises(WriteError, match="the broker is gone"):
        await harness.task.move(SOURCE, Position(5, 0), LostRecords(Cause.EXPIRED, 5))
    assert harness.metrics.losses == []


async def test_nothing_moves_in_a_rebalance() -> None:
    harness = TaskHarness()
    await harness.task.take(Batch(SOURCE, 0, 0, (), end_seen=7))
    harness.task.suspend()
    assert not await harness.task.move(SOURCE, Position(5, 0), None)
    assert harness.task.to_position == {SOURCE: 7}


async def test_the_first_commit_of_a_task_says_the_format() -> None:
    harness = TaskHarness()
    harness.task.partition.table.has_checkpoint = False
    await harness.task.commit_for_handover()
    assert harness.writer.written == [], "there is nothing to say it of"
    await harness.take(SOURCE, b"no JSON")
    await harness.task.commit_for_handover()
    state = state_of(harness.writer.take().records[CHANGELOG])
    assert orjson.loads(state.pop("checkpoint") or b"")["format"] == FORMAT
    assert state == {}
    await harness.take(SOURCE, b"no JSON")
    await harness.task.commit_for_handover()
    assert CHANGELOG not in harness.writer.take().records


async def test_positions_of_partitions_that_are_not_read_now_are_kept() -> None:
    elsewhere = TopicPartition("events", 3)
    progress = TaskOffsets(
        CHANGELOG,
        REPARTITION,
        {SOURCE: Position(0)},
        {CHANGELOG: 0},
        {elsewhere: Position(8, 9, UUID(int=1))},
    )
    progress.move(SOURCE, Position(4))
    writes = TransactionBatch()
    progress.add_to(writes)
    ((record,),) = writes.records.values()
    _, offsets = changelog.decode(record.key or b"", record.value or b"")
    assert from_input_offsets(offsets) == {
        SOURCE: Position(4),
        elsewhere: Position(8, 9, UUID(int=1)),
    }


async def test_what_was_not_committed_was_not_told_to_the_instruments() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)), b"no JSON")
    assert (harness.metrics.events, harness.metrics.rejections) == (0, [])
    harness.writer.fail()
    with pytest.raises(WriteError):
        await harness.task.tick()
    assert (harness.metrics.events, harness.metrics.rejections, harness.metrics.transitions) == (
        0,
        [],
        [],
    )


async def test_each_commit_is_told_by_itself() -> None:
    harness = TaskHarness()
    let_go = harness.writer.hold()
    await harness.take(SOURCE, send(), b"no JSON")
    commit = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0.01)
    # This one comes while the first two are on their way, and will be lost.
    await harness.take(SOURCE, send(), b"nor this")
    assert (harness.metrics.events, harness.metrics.rejections) == (0, [])
    let_go.set()
    await commit
    assert harness.metrics.events == 1
    assert [each.position for each in harness.metrics.rejections] == [1]
    harness.writer.fail()
    with pytest.raises(WriteError):
        await harness.task.tick()
    assert (harness.metrics.events, len(harness.metrics.rejections)) == (1, 1)


async def test_transitions_and_late_events_are_told_when_they_are_committed() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
    await harness.settle()
    let_go = harness.writer.hold()
    commit = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0.01)
    assert harness.metrics.transitions == []
    let_go.set()
    await commit
    (transition,) = harness.metrics.transitions
    assert transition.type == "campaign.alert.firing"


async def test_a_commit_says_what_it_held() -> None:
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)), b"no JSON")
    await harness.settle()
    (counted,) = harness.metrics.commits
    assert (counted.partition, counted.records) == (1, 3), "counts, dead letter and positions"
    assert (counted.counted, len(counted.rejected)) == (60, 1)
    assert not counted.has_deliveries
    await harness.task.tick()
    decided = harness.metrics.commits[1]
    assert [each.data.campaign_id for each in decided.transitions] == [HERE]
    assert decided.has_deliveries
    assert (decided.counted, decided.rejected) == (0, [])
    (delivery,) = harness.task.partition.deliveries.due(harness.now)
    harness.task.partition.deliveries.delivered(delivery)
    await harness.task.tick()
    assert [each.has_deliveries for each in harness.metrics.commits] == [False, True, True]
    harness.now += 1
    await harness.task.tick()
    assert len(harness.metrics.commits) == 3, "nothing was written, nothing is told"


async def test_what_was_skipped_alone_is_told_too() -> None:
    harness = TaskHarness()
    await harness.take(
        SOURCE, orjson.dumps({**send_event(HERE, MS, "x"), "event_type": "_other.x"})
    )
    await harness.task.tick()
    (commit,) = harness.metrics.commits
    assert commit.counted == 0
    assert commit.skipped.total() + len(commit.rejected) == 1


@pytest.mark.parametrize("repartitions", [True, False])
async def test_rules_are_evaluated_once_a_tick_and_again_if_a_window_closed(
    monkeypatch: pytest.MonkeyPatch, repartitions: bool
) -> None:
    harness = TaskHarness(repartitions=repartitions)
    evaluate, evaluated = harness.task.partition.evaluate, []

    def counting(*of: Any) -> list[transitions.Transition]:
        evaluated.append(of)
        return evaluate(*of)

    monkeypatch.setattr(harness.task.partition, "evaluate", counting)
    for _ in range(3):
        await harness.take(SOURCE, send())
        await harness.task.tick()
        for writes in harness.writer.written if repartitions else []:
            for each in writes.records.get(REPARTITION, []):
                await harness.take(REPARTITION, each.value)
        harness.writer.written.clear()
    assert len(evaluated) == 3
    harness.now += harness.task.partition.settings.idle_timeout + 100
    await harness.task.tick()
    assert len(evaluated) == 5, "the alerts of the window that closed have another newest window"


async def with_alert() -> tuple[TaskHarness, Alert]:
    """A task with an alert that fires, committed."""
    harness = TaskHarness()
    await harness.take(SOURCE, *(send(status="FAILURE") for _ in range(60)))
    await harness.settle()
    await harness.task.tick()
    harness.writer.written.clear()
    (alert,) = harness.task.partition.alerts.alerts()
    return harness, alert


async def test_an_acknowledgement_is_written_with_what_it_led_to_and_answered_then() -> None:
    harness, alert = await with_alert()
    answered: list[str] = []
    asked = Acknowledgement(alert.alert_id, "ana", "", lambda: answered.append("ana"))
    harness.task.partition.operators.add(asked)
    go = harness.writer.hold()
    ticking = asyncio.create_task(harness.task.tick())
    await asyncio.sleep(0.01)
    assert (alert.acknowledged is not None, answered) == (True, []), "it is being written"
    late = Acknowledgement(alert.alert_id, "ben", "", lambda: answered.append("ben"))
    harness.task.partition.operators.add(late)
    go.set()
    await ticking
    assert answered == ["ana"]
    writes = harness.writer.take().records
    (told,) = (each for p, records in writes.items() for each in records if p.topic == "alerts")
    assert transitions.decode(told.value or b"").type == "campaign.alert.acknowledged"
    assert any(b'"acknowledged":{"by":"ana"' in (each.value or b"") for each in writes[CHANGELOG])
    await harness.task.tick()
    assert answered == ["ana", "ben"], "there was nothing to write, as it had been acknowledged"
    assert harness.writer.written == []


async def test_an_acknowledgement_that_was_not_written_is_not_answered() -> None:
    harness, alert = await with_alert()
    answered: list[str] = []
    asked = Acknowledgement(alert.alert_id, "ana", "", lambda: answered.append("ana"))
    harness.task.partition.operators.add(asked)
    harness.writer.fail()
    with pytest.raises(WriteError):
        await harness.task.tick()
    assert answered == []


async def test_an_acknowledgement_before_a_handover_is_handed_over() -> None:
    harness, alert = await with_alert()
    answered: list[str] = []
    asked = Acknowledgement(alert.alert_id, "ana", "", lambda: answered.append("ana"))
    harness.task.suspend()
    harness.task.partition.operators.add(asked)
    await harness.task.commit_for_handover()
    assert answered == ["ana"]
