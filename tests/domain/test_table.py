"""The windows of one partition against plain counting, through any number of lives."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.domain import buckets, changelog
from streams.domain import table as under_test
from streams.domain.buckets import BucketKey
from streams.domain.changelog import CHECKPOINT_KEY, FORMAT
from streams.domain.checkpoint import CheckpointKey
from streams.domain.counts import OTHER, Cell
from streams.domain.formats import pinpoint
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    RECORD_BYTES,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.table import QUIET_S, WindowTable
from streams.domain.watermark import Watermark
from streams.domain.windows import WindowPolicy
from streams.errors import FormatError
from tests.support.changelogs import written
from tests.support.partitions import all_cells, window_counts
from tests.support.partitions import counts as counts_of

POLICY = WindowPolicy(size=10, grace=5, retention=40)
SUCCESS = Dimensions("SUCCESS", "0", "EMAIL", "EMAIL")
OPENED = Dimensions("opened_notification", None, None, None, engagement=True)


def table_of(
    policy: WindowPolicy = POLICY, now: float = 0.0, limits: Limits = DEFAULT_LIMITS
) -> WindowTable:
    return WindowTable(policy, Watermark([0], 60.0, now), limits)


def counts(start: int, sends: int, *campaigns: str, opened: int = 0) -> WindowCounts:
    of_each = {SUCCESS: sends, **({OPENED: opened} if opened else {})}
    return window_counts(start, {name: dict(of_each) for name in campaigns})


def bucket_key(start: int, bucket: int, part: int = 0) -> bytes:
    return changelog.key_of(BucketKey(start, bucket, part))


def restore(table: WindowTable, records: Mapping[bytes, bytes | None]) -> int | None:
    """Restore a table from what is there after compaction; return from where to replay."""
    found: dict[Any, Any] = dict(
        changelog.decode(key, value) for key, value in records.items() if value
    )
    return table.restore(found.pop(CheckpointKey()), found) if found else None


def move_to(table: WindowTable, event_time: int, offset: int = 0) -> None:
    table.observe(0, event_time, 0.0)
    table.advance(0.0, offset)


def test_counts_add_up() -> None:
    table = table_of()
    assert table.add(counts(0, 2, "a", opened=1), 0, 0.0)
    assert table.add(counts(0, 3, "a"), 1, 0.0)
    assert table.cell("a", 0) == Cell("app", {SUCCESS: 5}, {OPENED: 1}, 0)
    assert table.cell("a", 10) is None
    assert table.cell("b", 0) is None
    assert (table.knows("a"), table.knows("b")) == (True, False)
    assert len(table) == 1


def test_events_for_a_closed_window_correct_it_and_are_late() -> None:
    table = table_of()
    assert table.add(counts(0, 2, "a"), 0, 0.0)
    move_to(table, 15_000)
    assert not table.is_open(0)
    assert table.add(counts(0, 3, "a", opened=1), 1, 0.0)
    assert table.cell("a", 0) == Cell("app", {SUCCESS: 5}, {OPENED: 1}, 4)
    assert table.late_events == 4


def test_events_for_a_window_that_has_expired_leave_nothing() -> None:
    table = table_of()
    move_to(table, 100_000)
    assert not table.add(counts(0, 3, "a"), 0, 0.0)
    assert (table.starts(), table.late_events, table.expired_events) == ([], 0, 3)


def test_a_window_is_written_once_when_it_is_closed_and_quiet() -> None:
    table = table_of()
    table.add(counts(0, 2, "a", "b"), 7, 0.0)
    assert list(written(table.take_changes(100.0))) == [CHECKPOINT_KEY], (
        "it is open, and in the log"
    )
    move_to(table, 15_000, 8)
    assert list(written(table.take_changes(QUIET_S / 2))) == [CHECKPOINT_KEY], (
        "late events may follow"
    )
    assert list(written(table.take_changes(QUIET_S))) == [bucket_key(0, 0), CHECKPOINT_KEY]
    assert written(table.take_changes(100.0)) == {}
    table.add(counts(0, 1, "a"), 9, 200.0)
    assert list(written(table.take_changes(200.0))) == [CHECKPOINT_KEY]
    assert list(written(table.take_changes(300.0))) == [bucket_key(0, 0), CHECKPOINT_KEY]


def test_a_correction_writes_its_own_page_only() -> None:
    table = table_of()
    names = [f"c{n}" for n in range(200)]
    table.add(counts(0, 2, *names), 0, 0.0)
    move_to(table, 15_000, 1)
    assert (
        len(written(table.take_changes(100.0))) == 8
    )  # 7 of 32 campaigns at most on average, and the clock
    table.add(counts(0, 1, "c7"), 1, 200.0)
    assert len(written(table.take_changes(300.0))) == 2
    assert len(table) == 200
    assert {cell.sends[SUCCESS] for _, cell in all_cells(table, 0)} == {2, 3}


def test_many_campaigns_are_settled_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "CAMPAIGNS_WRITTEN_AT_ONCE", 3)
    life = Life()
    for start in (0, 10, 20, 30):
        life.add(counts(start, 1, "a", "b"))
    life.move_to(45_000)
    life.now = 100.0
    windows = []
    for _ in range(3):
        changes = written(life.table.take_changes(life.now))
        life.topic.update(changes)
        windows.append([orjson.loads(key)[1] for key in changes if key != CHECKPOINT_KEY])
        life.restart()
        assert len(life.table) == 8
        life.now += 100.0
    assert windows == [[0, 10], [20, 30], []]


def test_a_settled_cell_costs_little() -> None:
    table = table_of()
    names = [f"{n:032x}" for n in range(10_000)]
    table.add(counts(0, 2, *names), 0, 0.0)
    assert table.size < 400 * len(names)
    move_to(table, 15_000, 1)
    list(table.take_changes(100.0))
    assert table.size < 100 * len(names)


def test_a_page_is_as_many_records_as_its_names_need() -> None:
    limits = Limits(values=1_000)
    life = Life(table_of(limits=limits), limits=limits)
    names = {f"{number:04}" + "x" * 2000: number + 1 for number in range(900)}
    whole = window_counts(0, {"a": counts_of(names), "b": counts_of({"SENT": 7})})
    life.add(whole)
    life.move_to(16_000)
    life.add(whole)
    life.now = 100.0
    life.write()
    pages_written = {key: value for key, value in life.topic.items() if key != CHECKPOINT_KEY}
    assert len(pages_written) > 3
    assert max(len(value or b"") for value in pages_written.values()) <= RECORD_BYTES
    life.restart()
    cell = life.table.cell("a", 0)
    assert cell is not None
    assert {each.outcome: count for each, count in cell.sends.items()} == {
        name: 2 * count for name, count in names.items()
    }
    assert cell.late_events == sum(names.values())
    life.move_to(80_000)
    life.write()
    assert {life.topic[key] for key in pages_written} == {None}


def test_floods_are_counted_as_other_and_read_back_alike() -> None:
    known = pinpoint.FORMAT.known_statuses
    limits = Limits(campaigns=100, names=20, values=10, statuses=known)
    life = Life(table_of(limits=limits), limits=limits)
    honest = {f"honest-{n}": {SUCCESS: 2} for n in range(20)}
    life.add(window_counts(0, honest, "honest"))
    for n in range(0, 600, 50):
        flood = {f"flood-{n + i}": {SUCCESS: 1} for i in range(50)}
        life.add(window_counts(0, flood, "hostile"))
        statuses = {f"status-{n + i}": 1 for i in range(50)}
        life.add(window_counts(0, {"honest-0": counts_of(statuses)}, "honest"))
    life.add(window_counts(0, {OTHER: {SUCCESS: 1}}, "honest"))
    for _ in range(3):
        table = life.table
        assert table.campaigns == 60
        assert dict(all_cells(table, 0)).keys() == {
            *honest,
            *(f"flood-{n}" for n in range(40)),
            OTHER,
        }
        other = table.cell(OTHER, 0)
        assert other is not None
        assert (other.app_id, other.sends) == (None, {SUCCESS: 561})
        flooded = table.cell("honest-0", 0)
        assert flooded is not None
        assert flooded.sends == {SUCCESS: 2} | counts_of(
            {f"status-{n}": 1 for n in range(10)} | {OTHER: 590}
        )
        life.write()
        life.restart()
        life.move_to(16_000)
        life.now += 100.0
    assert life.table.folded == (0, 0)
    life.move_to(80_000)
    assert life.table.campaigns == 0


def test_a_campaign_that_is_known_is_kept_in_the_windows_to_come() -> None:
    table = table_of(limits=Limits(campaigns=10))
    table.add(counts(0, 1, "a", "b", "c"), 0, 0.0)
    table.add(counts(10, 1, *(f"flood-{n}" for n in range(50))), 1, 0.0)
    added = table.add(counts(10, 1, "a", "d"), 2, 0.0)
    assert added is not None
    assert added.campaigns == ["a", OTHER]
    assert (table.folded, table.campaigns) == ((0, 49), 5)


def test_a_page_that_needs_fewer_records_leaves_null_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life = Life()
    life.add(counts(0, 1, *"abcdef"))
    life.move_to(16_000)
    monkeypatch.setattr(buckets, "BUCKET_RECORD_BYTES", 40)
    life.now = 100.0
    life.write()
    assert bucket_key(0, 0, 1) in life.topic
    monkeypatch.setattr(buckets, "BUCKET_RECORD_BYTES", 4000)
    life.add(counts(0, 1, *"abcdef"))
    life.now = 200.0
    life.write()
    assert {key for key, value in life.topic.items() if value} == {bucket_key(0, 0), CHECKPOINT_KEY}
    life.restart()
    assert {cell.sends[SUCCESS] for _, cell in all_cells(life.table, 0)} == {2}


def test_the_clocks_record_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MOST_DIRTY", 3)
    table = table_of()
    for start in (0, 10, 20):
        table.add(counts(start, 1, "a"), 0, 0.0)
    assert list(written(table.take_changes(0.0))) == [CHECKPOINT_KEY]
    table.add(counts(30, 1, "a"), 0, 0.0)
    changes = written(table.take_changes(0.0))
    assert len(changes) == 5
    assert orjson.loads(changes[CHECKPOINT_KEY] or b"")["dirty"] == {}


def test_open_windows_are_settled_too_when_much_would_be_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "MOST_REPLAYED", 10)
    table = table_of()
    for offset in range(10):
        table.add(counts(0, 1, "a"), offset, 0.0)
        assert list(written(table.take_changes(0.0))) == [CHECKPOINT_KEY]
    table.add(counts(10, 1, "a"), 10, 0.0)
    assert list(written(table.take_changes(0.0))) == [bucket_key(0, 0), CHECKPOINT_KEY]
    assert table.is_open(0)
    table.add(counts(0, 1, "a"), 11, 0.0)
    assert table.cell("a", 0) == Cell("app", {SUCCESS: 11}, {})


def test_what_expires_leaves_null_behind_and_nothing_in_memory() -> None:
    table = table_of()
    table.add(counts(0, 2, "a", "b"), 0, 0.0)
    move_to(table, 20_000)
    assert bucket_key(0, 0) in written(table.take_changes(100.0))
    table.add(counts(50, 1, "a"), 1, 100.0)
    move_to(table, 54_999)
    assert table.starts() == [0, 50]
    move_to(table, 55_000)
    assert table.starts() == [50]
    assert (table.knows("b"), len(table)) == (False, 1)
    changes = written(table.take_changes(100.0))
    assert changes.pop(CHECKPOINT_KEY)
    assert changes == {bucket_key(0, 0): None}
    assert written(table.take_changes(100.0)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, rf"format {FORMAT + 1}.*reads formats 5 to {FORMAT}"),
        ({"window_size": 4}, r"windows\.size: 10 s.*windows of 4 s"),
        ({"window_size": 20}, r"windows\.size: 10 s.*windows of 20 s"),
    ],
)
def test_what_others_wrote_is_not_guessed_at(change: dict[str, Any], message: str) -> None:
    table = table_of()
    table.add(counts(0, 2, "a"), 0, 0.0)
    ((key, checkpoint),) = written(table.take_changes(0.0)).items()
    again = table_of()
    with pytest.raises(FormatError, match=message):
        restore(again, {key: orjson.dumps({**orjson.loads(checkpoint or b""), **change})})


def test_a_window_that_lacks_a_bucket_is_not_guessed_at() -> None:
    table = table_of()
    table.add(counts(0, 2, *(f"c{n}" for n in range(100))), 0, 0.0)
    move_to(table, 15_000)
    records = written(table.take_changes(100.0))
    del records[bucket_key(0, 1)]
    with pytest.raises(FormatError, match=r"1970-01-01T00:00:00Z.*not bucket 1"):
        restore(table_of(), records)


@dataclass
class Life:
    """A table, and all that it had written and was given before."""

    table: WindowTable = field(default_factory=table_of)
    log: list[PartialCounts] = field(default_factory=list)
    topic: dict[bytes, bytes | None] = field(default_factory=dict)
    now: float = 0.0
    limits: Limits = DEFAULT_LIMITS

    def add(self, *windows: WindowCounts) -> list[bool]:
        offset = len(self.log)
        self.log.append(PartialCounts(PARTIAL_COUNTS_VERSION, {}, 0, list(windows)))
        for each in windows:
            self.table.add(each, offset, self.now)
        return [each.start in self.table.open_starts() for each in windows]

    def move_to(self, event_time: int) -> None:
        self.table.observe(0, event_time, self.now)
        self.table.advance(self.now, len(self.log))

    def write(self) -> None:
        self.topic.update(written(self.table.take_changes(self.now)))

    def restart(self, policy: WindowPolicy = POLICY) -> None:
        """Compaction may or may not have removed what is null."""
        table = table_of(policy, self.now, self.limits)
        begin = restore(table, self.topic)
        for offset in range(len(self.log) if begin is None else begin, len(self.log)):
            table.replay(self.log[offset], offset, self.now)
        table.finish_restore(self.now, len(self.log))
        self.table = table


def test_windows_become_longer_ones_where_they_fit() -> None:
    life = Life()
    life.add(counts(0, 1, "a", "b"), counts(10, 2, "a"), counts(20, 4, "a"))
    life.move_to(25_000)
    life.now = 10.0
    life.write()
    life.add(counts(0, 1, "a"), counts(20, 1, "b"))
    life.write()
    longer = replace(POLICY, size=20)
    for _ in range(2):
        life.restart(longer)
        assert life.table.starts() == [0, 20]
        assert life.table.cell("a", 0) == Cell("app", {SUCCESS: 4}, {}, 1)
        assert life.table.cell("b", 0) == Cell("app", {SUCCESS: 1}, {})
        assert life.table.cell("a", 20) == Cell("app", {SUCCESS: 4}, {})
        assert life.table.cell("b", 20) == Cell("app", {SUCCESS: 1}, {})
        life.write()
    assert {key for key, value in life.topic.items() if value is not None} == {
        CHECKPOINT_KEY,
        bucket_key(0, 0),
        bucket_key(20, 0),
    }
    # What was on its way when the windows became longer.
    life.add(counts(30, 8, "a"))
    assert life.table.cell("a", 20) == Cell("app", {SUCCESS: 12}, {})
    life.write()
    life.restart(longer)
    assert life.table.cell("a", 20) == Cell("app", {SUCCESS: 12}, {})


def test_windows_that_become_longer_may_expire_at_once() -> None:
    life = Life()
    life.add(counts(0, 2, "a"))
    life.move_to(25_000)
    life.now = 10.0
    life.write()
    assert bucket_key(0, 0) in life.topic
    life.add(counts(40, 1, "a"))
    life.move_to(45_000)
    life.write()
    for _ in range(2):
        life.restart(WindowPolicy(size=20, grace=5, retention=10))
        assert life.table.starts() == [40]
        life.write()
    assert life.topic[bucket_key(0, 0)] is None


def test_the_app_of_the_newest_window_is_that_of_a_longer_one() -> None:
    life = Life()
    life.add(window_counts(0, {"a": {SUCCESS: 1}}, "old"))
    life.add(window_counts(10, {"a": {SUCCESS: 1}}, "new"))
    life.move_to(25_000)
    life.now = 10.0
    life.write()
    life.add(window_counts(0, {"a": {SUCCESS: 1}}, "old"))
    life.now = 20.0
    life.write()
    # As the topic is after compaction: what was written last comes last.
    life.topic[bucket_key(0, 0)] = life.topic.pop(bucket_key(0, 0))
    life.restart(replace(POLICY, size=20))
    assert life.table.cell("a", 0) == Cell("new", {SUCCESS: 3}, {}, 1)


def test_a_window_that_is_open_again_keeps_its_late_counts() -> None:
    life = Life()
    life.add(counts(0, 2, "a"))
    life.move_to(15_000)
    life.add(counts(0, 3, "a"))
    life.write()
    longer = replace(POLICY, grace=15)
    life.restart(longer)
    assert life.table.open_starts() == [0]
    assert life.add(counts(0, 1, "a")) == [True]
    for _ in range(2):
        assert life.table.cell("a", 0) == Cell("app", {SUCCESS: 6}, {}, 3)
        life.write()
        life.restart(longer)


def test_a_window_that_is_closed_by_a_shorter_grace_is_corrected_late() -> None:
    life = Life()
    life.add(counts(0, 2, "a"))
    life.move_to(12_000)
    life.write()
    shorter = replace(POLICY, grace=0)
    life.restart(shorter)
    assert (life.table.is_open(0), life.table.open_starts()) == (False, [])
    assert life.add(counts(0, 3, "a")) == [False]
    for _ in range(2):
        assert life.table.cell("a", 0) == Cell("app", {SUCCESS: 5}, {}, 3)
        life.write()
        life.restart(shorter)


def test_what_a_shorter_retention_lets_expire_stays_away() -> None:
    life = Life()
    life.add(counts(0, 2, "a"))
    life.move_to(30_000)
    life.write()
    shorter = replace(POLICY, retention=0)
    for policy in (shorter, shorter, POLICY):
        life.restart(policy)
        assert life.table.starts() == []
        if policy is shorter:
            life.add(counts(0, 3, "a"))
        life.write()


def test_event_time_that_goes_on_without_a_silent_feeder_does_not_go_back() -> None:
    life = Life(WindowTable(POLICY, Watermark([0, 1], 60.0, 0.0)))
    life.now = 50.0
    life.add(counts(20, 2, "a"))
    life.move_to(30_000)
    life.write()
    assert life.table.event_time == 0
    life.now = 60.0
    life.table.advance(life.now, len(life.log))
    assert (life.table.event_time, life.table.open_starts()) == (30_000, [20])
    life.write()
    life.restart()
    assert life.table.event_time == 30_000


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 7)),
            st.tuples(st.just("advance"), st.integers(1, 30_000)),
            st.tuples(st.just("write"), st.sampled_from((0, 5))),
            st.tuples(st.just("begin"), st.sampled_from((1, 1, 2))),
        ),
        min_size=10,
        max_size=40,
    )
)
def test_no_count_is_lost_while_windows_become_longer(steps: list[tuple[str, int]]) -> None:
    """Blocks may come from a worker that has shorter windows, and may be read again."""
    life, policy = Life(), replace(POLICY, retention=10_000)
    life.restart(policy)
    expected: Counter[int] = Counter()
    for number, (step, how) in enumerate(steps):
        match step:
            case "add":
                life.add(counts(how * 10, 1, f"c{number % 3}"))
                expected[how * 10] += 1
            case "advance":
                life.move_to(life.table.event_time + how)
            case "write":
                life.now += how
                life.write()
            case "begin":
                life.write()
                policy = replace(policy, size=policy.size * how)
                life.restart(policy)
        wanted: Counter[int] = Counter()
        for start, count in expected.items():
            wanted[policy.start_of(start * 1000)] += count
        found: Counter[int] = Counter()
        for (_, start), cell in _cells(life.table):
            found[start] += cell.sends[SUCCESS]
        assert found == wanted


@dataclass
class Reference:
    """Counts in plain dictionaries."""

    sends: Counter[tuple[str, int]] = field(default_factory=Counter)
    late: Counter[tuple[str, int]] = field(default_factory=Counter)


NAMES = [f"c{n}" for n in range(40)]


class Lives(RuleBasedStateMachine):
    """Counts, moves time, writes down, and now and then begins a new life from what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.expected = Reference()
        self.written = True

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12, unique=True),
        backs=st.lists(st.integers(0, 6), min_size=1, max_size=2, unique=True),
        count=st.integers(1, 9),
    )
    def add(self, names: list[str], backs: list[int], count: int) -> None:
        event_time = self.life.table.event_time
        starts = [POLICY.start_of(event_time) + 10 - back * 10 for back in backs]
        starts = [s for s in starts if s >= 0 and not POLICY.is_expired(s, event_time)]
        took = self.life.add(*(counts(start, count, *names) for start in starts))
        self.written = self.written and not starts
        for start, is_open in zip(starts, took, strict=True):
            assert is_open == (event_time < (start + 15) * 1000)
            for name in names:
                self.expected.sends[name, start] += count
                self.expected.late[name, start] += count * (not is_open)

    @rule(step=st.integers(0, 30_000))
    def advance(self, step: int) -> None:
        table = self.life.table
        self.life.move_to(table.event_time + step)
        self.written = self.written and not step
        for at in list(self.expected.sends):
            if table.event_time >= (at[1] + 55) * 1000:
                del self.expected.sends[at]

    @rule(seconds=st.sampled_from((0.0, 1.0, 5.0)))
    def write(self, seconds: float) -> None:
        self.life.now += seconds
        self.life.write()
        self.written = True

    @rule()
    def restart(self) -> None:
        if not self.written:
            self.life.write()
        event_time = self.life.table.event_time
        self.life.restart()
        assert self.life.table.event_time == event_time

    @invariant()
    def counts_are_right(self) -> None:
        table = self.life.table
        found = dict(_cells(table))
        assert {at: cell.sends[SUCCESS] for at, cell in found.items()} == self.expected.sends
        late = {at: cell.late_events for at, cell in found.items() if cell.late_events}
        wanted = {at: n for at, n in self.expected.late.items() if n and at in found}
        assert late == wanted
        assert len(table) == len(self.expected.sends)
        assert table.starts() == sorted({start for _, start in self.expected.sends})
        for name in NAMES[:3]:
            one_by_one = dict(table.cells(name, table.starts()))
            assert one_by_one == {s: cell for (n, s), cell in found.items() if n == name}


def _cells(table: WindowTable) -> Iterable[tuple[tuple[str, int], Cell]]:
    return (((n, start), cell) for start in table.starts() for n, cell in all_cells(table, start))


@pytest.fixture(autouse=True)
def small_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lives are lived at random, buckets are small and the log is short."""
    if request.cls is not None:
        monkeypatch.setattr(buckets, "CAMPAIGNS_PER_BUCKET", 3)
        monkeypatch.setattr(buckets, "BUCKET_RECORD_BYTES", 60)
        monkeypatch.setattr(under_test, "MOST_REPLAYED", 60)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=150, stateful_step_count=40)
