"""The windows of one partition against plain counting, through any number of lives."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.domain.blocks import CampaignCounts, Dimensions, WindowCounts
from streams.domain.clock import EventClock
from streams.domain.counts import Cell, unpack
from streams.domain.table import WindowTable
from streams.domain.windows import WindowPolicy

POLICY = WindowPolicy(size=10, grace=5, retention=40)
SUCCESS = Dimensions("SUCCESS", "0", "EMAIL", "EMAIL")
OPENED = Dimensions("opened_notification", None, None, None)


def table_of(policy: WindowPolicy = POLICY) -> WindowTable:
    return WindowTable(policy, EventClock([0], 60.0, 0.0))


def counts(campaign_id: str, start: int, sends: int, opened: int = 0) -> CampaignCounts:
    window = WindowCounts(start, {SUCCESS: sends}, {OPENED: opened} if opened else {})
    return CampaignCounts(campaign_id, "app", [window])


def move_to(table: WindowTable, event_time: int) -> None:
    table.clock.hear(0, event_time, 0.0)
    table.advance(0.0)


def test_counts_add_up() -> None:
    table = table_of()
    table.add(counts("a", 0, 2, 1))
    table.add(counts("a", 0, 3))
    assert table.cell("a", 0) == Cell("app", {SUCCESS: 5}, {OPENED: 1}, 0)
    assert table.cell("a", 10) is None
    assert table.cell("b", 0) is None
    assert (table.knows("a"), table.knows("b")) == (True, False)


def test_events_for_a_closed_window_correct_it_and_are_late() -> None:
    table = table_of()
    assert [tuple(each) for each in table.add(counts("a", 0, 2))] == [("a", 0)]
    move_to(table, 15_000)
    assert not table.is_open(0)
    assert table.add(counts("a", 0, 3, 1)) == []
    assert table.cell("a", 0) == Cell("app", {SUCCESS: 5}, {OPENED: 1}, 4)
    assert table.late_events == 4


def test_a_closed_window_is_packed_and_again_after_a_correction() -> None:
    table = table_of()
    table.add(counts("a", 0, 2))
    assert table.packed_bytes == 0
    move_to(table, 15_000)
    packed = table.packed_bytes
    assert packed > 0
    table.add(counts("a", 0, 2))
    assert table.packed_bytes == 0
    table.advance(0.0)
    assert table.packed_bytes >= packed


def test_what_expires_leaves_null_behind_and_nothing_in_memory() -> None:
    table = table_of()
    table.add(counts("a", 0, 2))
    table.add(counts("b", 0, 2))
    table.add(counts("a", 50, 1))
    assert set(dict(table.take_changes())) == {CLOCK, key("a", 0), key("b", 0), key("a", 50)}
    move_to(table, 54_999)
    assert table.starts() == [0, 50]
    move_to(table, 55_000)
    assert table.starts() == [50]
    assert (table.knows("b"), len(table)) == (False, 1)
    changes = dict(table.take_changes())
    assert changes.pop(CLOCK)
    assert changes == {key("a", 0): None, key("b", 0): None}
    assert dict(table.take_changes()) == {}


def test_names_do_not_outlive_their_windows() -> None:
    table = table_of()
    for second in range(0, 10_000, 10):
        for n in range(20):
            table.add(counts(f"{second}-{n}", second, 1))
        move_to(table, second * 1000)
    assert len(table._names) < 3_000


CLOCK = orjson.dumps(["clock"])


def key(name: str, start: int) -> bytes:
    return orjson.dumps(["window", name, start])


@dataclass
class Reference:
    """Counts in plain dictionaries."""

    sends: Counter[tuple[str, int]] = field(default_factory=Counter)
    late: Counter[tuple[str, int]] = field(default_factory=Counter)


class Lives(RuleBasedStateMachine):
    """Counts, moves time, writes down, and now and then begins a new life from what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table_of()
        self.expected = Reference()
        self.topic: dict[bytes, bytes | None] = {}

    @rule(name=st.sampled_from("abc"), back=st.integers(0, 6), count=st.integers(1, 9))
    def add(self, name: str, back: int, count: int) -> None:
        event_time = self.table.clock.event_time
        start = POLICY.start_of(event_time) + 10 - back * 10
        if start < 0 or POLICY.is_expired(start, event_time):
            return
        touched = self.table.add(counts(name, start, count))
        self.expected.sends[name, start] += count
        if event_time >= (start + 15) * 1000:
            self.expected.late[name, start] += count
            assert touched == []
        else:
            assert [tuple(each) for each in touched] == [(name, start)]

    @rule(step=st.integers(0, 30_000))
    def advance(self, step: int) -> None:
        move_to(self.table, self.table.clock.event_time + step)
        for at in list(self.expected.sends):
            if self.table.clock.event_time >= (at[1] + 55) * 1000:
                del self.expected.sends[at]

    @rule()
    def write(self) -> None:
        self.topic.update(self.table.take_changes())

    @rule()
    def begin_anew(self) -> None:
        self.write()
        # Compaction may or may not have removed what is null.
        table = table_of()
        for record_key, value in self.topic.items():
            restore(table, record_key, value)
        table.advance(0.0)
        assert table.clock.event_time <= self.table.clock.event_time
        # What moved event time since the last change comes again with the next event.
        move_to(table, self.table.clock.event_time)
        self.table = table

    @invariant()
    def counts_are_right(self) -> None:
        found = {
            (name, start): cell
            for name in self.table.campaigns()
            for start, cell in self.table.cells(name, self.table.starts_of(name))
        }
        assert {at: cell.sends[SUCCESS] for at, cell in found.items()} == self.expected.sends
        late = {at: cell.late_events for at, cell in found.items() if cell.late_events}
        assert late == {at: n for at, n in self.expected.late.items() if at in self.expected.sends}
        assert len(self.table) == len(self.expected.sends)
        assert self.table.starts() == sorted({start for _, start in self.expected.sends})

    @invariant()
    def the_topic_holds_what_memory_holds(self) -> None:
        if self.table.changes:
            return
        windows = {k: v for k, v in self.topic.items() if k != CLOCK}
        kept = {at: unpack(value) for at, value in windows.items() if value is not None}
        assert {at: cell.sends[SUCCESS] for at, cell in kept.items()} == {
            key(name, start): count for (name, start), count in self.expected.sends.items()
        }


def restore(table: WindowTable, record_key: bytes, value: bytes | None) -> None:
    parts: list[Any] = orjson.loads(record_key)
    if parts == ["clock"]:
        assert value is not None
        table.restore_clock(value)
    else:
        table.restore(parts[1], parts[2], value)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
