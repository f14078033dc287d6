"""Roll-ups against plain counting: through late events, crashes, replays and other settings."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.domain import buckets, changelog
from streams.domain import table as tables
from streams.domain.buckets import Bucket, BucketKey
from streams.domain.checkpoint import Checkpoint, CheckpointKey
from streams.domain.counts import OTHER, Cell
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.rollups import QUIET_S, RollupKey, Span
from streams.domain.table import WindowTable
from streams.domain.watermark import Watermark
from streams.domain.windows import DAY, Rollup, RollupStep, WindowPolicy
from tests.support.changelogs import written
from tests.support.partitions import all_cells, window_counts

SUCCESS = Dimensions("SUCCESS", "0", "EMAIL", "EMAIL")
NAMES = [f"campaign-{n}" for n in range(8)]
SIZE, STEP, LONGEST = 10, 60, 300
POLICY = WindowPolicy(
    SIZE, 5, 40, (Rollup(RollupStep(STEP), 200), Rollup(RollupStep(LONGEST), 3_000))
)
POLICIES = (
    POLICY,
    POLICY,
    replace(POLICY, retention=100),
    replace(POLICY, size=20, retention=60),
    replace(POLICY, rollups=(Rollup(RollupStep(STEP), 900),)),
    replace(POLICY, rollups=(Rollup(RollupStep(LONGEST), 1_000),)),
    replace(POLICY, rollups=(Rollup(RollupStep(120), 130), Rollup(RollupStep(LONGEST * 2), 2_000))),
)


def counts(start: int, sends: int, *campaigns: str) -> WindowCounts:
    return window_counts(start, {name: {SUCCESS: sends} for name in campaigns})


class Life:
    """A table, its changelog topic as it is after compaction, and its log of partial counts."""

    def __init__(
        self, policy: WindowPolicy = POLICY, limits: Limits = DEFAULT_LIMITS, *, emits: bool = False
    ) -> None:
        self.policy, self.limits, self.emits = policy, limits, emits
        self.now = 0.0
        self.topic: dict[bytes, bytes] = {}
        self.log: list[WindowCounts] = []
        self.committed = 0
        self.table = self._new()

    def _new(self) -> WindowTable:
        return WindowTable(
            self.policy, Watermark([0], 1e12, self.now), self.limits, emits=self.emits
        )

    def add(self, added: WindowCounts) -> bool:
        """Add counts; tell whether they are counted anywhere."""
        before = self.table.expired_events
        self.log.append(added)
        self.table.add(added, len(self.log) - 1, self.now)
        return self.table.expired_events == before

    def move_to(self, event_time: int) -> None:
        self.table.observe(0, event_time * 1000, self.now)
        self.table.advance(self.now, len(self.log))

    def write(self) -> dict[bytes, bytes | None]:
        changes = written(self.table.take_changes(self.now))
        self.table.take_results()
        for key, value in changes.items():
            if value is None:
                del self.topic[key]
            else:
                self.topic[key] = value
        self.committed = len(self.log)
        return changes

    def restart(self, policy: WindowPolicy | None = None) -> list[WindowCounts]:
        """Begin anew from what is written; return the counts that were not committed."""
        self.policy = policy or self.policy
        self.table = self._new()
        rest = self.log[self.committed :]
        del self.log[self.committed :]
        found = [changelog.decode(key, value) for key, value in self.topic.items()]
        windows = {k: v for k, v in found if isinstance(k, BucketKey)}
        rolled = {k: v for k, v in found if isinstance(k, RollupKey)}
        for key, checkpoint in found:
            if isinstance(key, CheckpointKey):
                self._restore(checkpoint, windows, rolled)
        return rest

    def _restore(
        self,
        checkpoint: Checkpoint,
        windows: Mapping[BucketKey, Bucket],
        rolled: Mapping[RollupKey, Bucket],
    ) -> None:
        begin = self.table.restore(checkpoint, windows, rolled)
        for offset in range(len(self.log) if begin is None else begin, self.committed):
            record = PartialCounts(PARTIAL_COUNTS_VERSION, {}, 0, [self.log[offset]])
            self.table.replay(record, offset, self.now)
        self.table.finish_restore(self.now, self.committed)


def places(table: WindowTable, size: int) -> Iterable[tuple[int, int, str, Cell]]:
    """Yield all cells there are anywhere, with the start and the end (s) of their windows."""
    for start in table.starts():
        for name, cell in all_cells(table, start):
            yield start, start + size, name, cell
    for span in table.rollups.spans():
        for name in ("a", *NAMES, OTHER):
            rolled = table.rollups.cell(name, span)
            if rolled is not None:
                yield span.start, span.end, name, rolled


def sums(life: Life, step: int) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """Add up sends, and late events, by steps that have every window whole."""
    sends, late = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for start, end, name, cell in places(life.table, life.policy.size):
        at = start // step * step
        assert end <= at + step
        sends[name, at] += sum(cell.sends.values())
        late[name, at] += cell.late_events
    return sends, +late


class Lives(RuleBasedStateMachine):
    """Counts, also very late; writes, crashes, goes on with other settings."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.counted: Counter[tuple[str, int]] = Counter()
        """By campaign and time (s)."""
        self.committed = self.counted.copy()
        self.longest = STEP * 10

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True),
        back=st.one_of(st.integers(-1, 8), st.integers(0, 150)),
        count=st.integers(1, 9),
    )
    def add(self, names: list[str], back: int, count: int) -> None:
        start = POLICY.start_of(self.life.table.event_time) - back * SIZE
        if start >= 0:
            self._add(counts(start, count, *names))

    def _add(self, added: WindowCounts) -> None:
        table, policy = self.life.table, self.life.policy
        if self.life.add(added):
            self.counted.update(
                {(name, added.start): added.columns[0].counts[0] for name in added.campaigns}
            )
        else:
            assert table.event_time >= policy.gone_from(added.start)

    @rule(step=st.one_of(st.integers(0, 30), st.integers(0, 400), st.just(2_000)))
    def advance(self, step: int) -> None:
        self.life.move_to(self.life.table.event_time // 1000 + step)

    @rule(seconds=st.sampled_from((0.0, 1.0, 5.0)))
    def write(self, seconds: float) -> None:
        self.life.now += seconds
        self.life.write()
        self.committed = self.counted.copy()

    @rule(policy=st.sampled_from(POLICIES))
    def crash(self, policy: WindowPolicy) -> None:
        if policy.size % self.life.policy.size:
            policy = replace(policy, size=self.life.policy.size)
        self.counted = self.committed.copy()
        for added in self.life.restart(policy):
            self._add(added)

    @invariant()
    def sums_are_right(self) -> None:
        complete_from = self.life.table.rollups.complete_from
        found, late = sums(self.life, 600)
        expected = Counter[tuple[str, int]]()
        for (name, time), count in self.counted.items():
            expected[name, time // 600 * 600] += count
        for at in found.keys() | expected.keys():
            if at[1] >= complete_from:
                assert found[at] == expected[at]
            assert found[at] <= expected[at]
            assert late[at] <= found[at]

    @invariant()
    def nothing_goes_before_its_time(self) -> None:
        rollups_ = self.life.table.rollups
        most = max(r.retention for p in POLICIES for r in p.rollups)
        least = min(p.rollups[-1].retention for p in POLICIES)
        assert rollups_.complete_from <= max(0, self.life.table.event_time // 1000 - least)
        oldest = self.life.table.event_time // 1000 - most - 2 * LONGEST - 5
        for _ in range(50):
            # Little is done at once.
            if all(span.end > oldest for span in rollups_.spans()):
                return
            self.life.move_to(self.life.table.event_time // 1000)
        raise AssertionError("some do not expire")

    @invariant()
    def windows_are_whole(self) -> None:
        table, size = self.life.table, self.life.policy.size
        expected = Counter[tuple[str, int]]()
        for (name, time), count in self.counted.items():
            if time >= max(table.rollups.windows_from, table.rollups.complete_from):
                expected[name, time // size * size] += count
        found = {
            (name, start): sum(cell.sends.values())
            for start in table.starts()
            for name, cell in all_cells(table, start)
            if start >= table.rollups.complete_from
        }
        assert found == expected


@pytest.fixture(autouse=True)
def small_buckets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lives are lived at random, buckets are small, and little is done at once."""
    if request.cls is not None:
        monkeypatch.setattr(buckets, "CAMPAIGNS_PER_BUCKET", 3)
        monkeypatch.setattr(buckets, "BUCKET_RECORD_BYTES", 60)
        monkeypatch.setattr(tables, "ROLLED_AT_ONCE", 15)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=40)


def test_the_windows_of_one_longer_window_go_on_together_in_one_record() -> None:
    life = Life()
    for start in range(0, 120, SIZE):
        life.add(counts(start, 1, "a"))
    life.move_to(104)
    assert life.table.starts() == list(range(0, 120, SIZE))
    life.write()
    life.move_to(105)
    assert life.table.starts() == list(range(60, 120, SIZE))
    rolled = [key for key in life.write() if b"rollup" in key]
    assert rolled == [b'["rollup",60,"UTC",0,0,0]']
    life.move_to(165)
    life.move_to(504)
    assert [span.start for span in life.table.rollups.spans()] == [0, 60]
    life.move_to(505)
    changes = life.write()
    assert changes[b'["rollup",60,"UTC",0,0,0]'] is None
    assert [span[:2] for span in life.table.rollups.spans()] == [(0, 300)]
    assert sums(life, 300)[0] == {("a", 0): 12}


def test_a_count_behind_its_window_is_late_and_opens_none() -> None:
    life = Life()
    life.move_to(1_000)
    for start in (950, 800, 100):
        assert life.add(counts(start, 2, "a"))
    assert life.table.starts() == [950]
    assert [(s.start, s.step.seconds) for s in life.table.rollups.spans()] == [(0, 300), (780, 60)]
    assert life.table.late_events == 6
    life.move_to(10_000)
    assert not life.add(counts(100, 2, "a"))
    assert life.table.expired_events == 2


def test_what_comes_late_is_written_when_it_is_quiet_and_replayed_until_then() -> None:
    life = Life()
    life.move_to(1_000)
    life.add(counts(800, 2, "a"))
    assert [key for key in life.write() if b"rollup" in key] == []
    for _ in range(2):
        assert life.restart() == []
        assert sums(life, 60) == ({("a", 780): 2}, {("a", 780): 2})
    life.write()
    life.add(counts(800, 3, "a"))
    life.now += QUIET_S
    assert [key for key in life.write() if b"rollup" in key] == [b'["rollup",60,"UTC",780,0,0]']
    life.add(counts(800, 1, "a"))
    life.write()
    life.restart()
    assert sums(life, 60)[0] == {("a", 780): 6}


def test_results_are_emitted_before_their_window_is_rolled_up() -> None:
    life = Life(emits=True)
    life.add(counts(0, 1, "a"))
    life.move_to(2_000)
    life.add(counts(0, 2, "a"))
    assert life.table.starts() == [0]
    emitted = written(life.table.take_changes(life.now))
    assert emitted
    assert [(r.start, sum(r.cell.sends.values())) for r in life.table.take_results()] == [(0, 3)]
    life.move_to(2_001)
    assert life.table.starts() == []
    life.add(counts(0, 4, "a"))
    assert sums(life, 300)[0] == {("a", 0): 7}


def test_a_flood_of_campaigns_is_bounded_in_rollups_too() -> None:
    limits = Limits(campaigns=20)
    life = Life(limits=limits)
    for start in range(0, 3_000, SIZE):
        life.move_to(start)
        added = {f"made-up-{start}-{n}": {SUCCESS: 1} for n in range(3)}
        life.add(window_counts(start, {"honest": {SUCCESS: 1}, **added}, f"app-{start % 3}"))
    life.move_to(3_100)
    table = life.table
    assert table.rollups.campaigns <= 20
    sends: Counter[str] = Counter()
    for start in table.starts():
        for name, cell in all_cells(table, start):
            sends[name] += sum(cell.sends.values())
    for span in table.rollups.spans():
        for name in (
            "honest",
            OTHER,
            *(f"made-up-{s}-{n}" for s in range(0, 3_000, SIZE) for n in range(3)),
        ):
            rolled = table.rollups.cell(name, span)
            sends[name] += sum(rolled.sends.values()) if rolled is not None else 0
    assert sends["honest"] == 300
    assert sends.total() == 1_200
    assert table.rollups.other_events > 0


def test_an_upgrade_says_since_when_all_is_retained() -> None:
    life = Life(replace(POLICY, rollups=()))
    for start in range(0, 200, SIZE):
        life.move_to(start)
        life.add(counts(start, 1, "a"))
    life.write()
    assert life.table.rollups.complete_from == life.table.starts()[0]
    life.topic[b'["checkpoint"]'] = life.topic[b'["checkpoint"]'].replace(b'"rollups":', b'"x":')
    life.restart(POLICY)
    assert life.table.rollups.complete_from == life.table.starts()[0] > 0
    kept = sum(sums(life, 600)[0].values())
    life.move_to(1_000)
    assert sum(sums(life, 600)[0].values()) == kept


def test_a_year_of_days_costs_less_than_a_day_of_minutes() -> None:
    """Of campaigns that send all the time, by all statuses and treatments that are usual."""
    names = [f"{n:032x}" for n in range(40)]
    keys = [
        Dimensions(outcome, treatment, "EMAIL", "EMAIL")
        for outcome in ("SUCCESS", "TRANSIENT_FAILURE", "THROTTLED")
        for treatment in ("0", "1")
    ]
    policy = WindowPolicy(60, 30, DAY, (Rollup(RollupStep(DAY), 400 * DAY),))
    table = WindowTable(policy, Watermark([0], 1e12, 0.0))
    year = 366 * DAY
    for day in range(365):
        of_each = {name: dict.fromkeys(keys, 1000000 + day) for name in names}
        table.add(window_counts(day * DAY, of_each), 0, 0.0)
        table.observe(0, (day + 1) * DAY * 1000, 0.0)
        table.advance(0.0, 0)
        list(table.take_changes(1e9))
    for minute in range(1440):
        start = year + minute * 60
        table.add(window_counts(start, {name: dict.fromkeys(keys, 50) for name in names}), 0, 0.0)
    table.observe(0, (year + DAY) * 1000, 0.0)
    table.advance(0.0, 0)
    while any(key != CheckpointKey() for key, _ in table.take_changes(2e9)):
        pass  # a part at a time
    (days,) = table.rollups.levels
    assert (days.cells, len(table)) == (365 * 40, 1440 * 40)
    assert table.size < 60 * len(table)
    assert 2 * days.size < table.size


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 3, 8), 23),
        ("America/Santiago", (2026, 9, 6), 23),
        ("Asia/Kolkata", (2026, 7, 1), 24),
        ("UTC", (2026, 7, 1), 24),
    ],
)
def test_days_are_those_of_their_zone(zone: str, date: tuple[int, int, int], hours: int) -> None:
    step = RollupStep(DAY, zone)
    noon = int(datetime(*date, 12, tzinfo=ZoneInfo(zone)).timestamp())
    start, end = step.start_of(noon), step.end_of(noon)
    assert end - start == hours * 3600
    assert step.start_of(end) == end
    assert step.start_of(start - 1) < start == step.end_of(start - 1)
    assert datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo(zone)).day == date[2]


@pytest.mark.parametrize("late_into_rollups", [True, False])
@pytest.mark.parametrize("rollups_of", [POLICY, POLICIES[4], replace(POLICY, rollups=())])
def test_what_is_countable_is_what_is_kept_for_late_events(
    rollups_of: WindowPolicy, *, late_into_rollups: bool
) -> None:
    rollups_of = replace(rollups_of, late_into_rollups=late_into_rollups)
    chance = random.Random(1)  # noqa: S311 - repeatable
    for _ in range(200):
        event_time = chance.randrange(10_000_000)
        oldest = rollups_of.oldest_countable(event_time)
        assert rollups_of.uncountable_from(oldest // 1000) > event_time
        if oldest:
            assert rollups_of.uncountable_from(oldest // 1000 - 1) <= event_time
        if not late_into_rollups:
            kept_from = event_time // 1000 - rollups_of.grace - rollups_of.retention
            assert oldest == (kept_from - kept_from % rollups_of.size) * 1000


def test_spans_are_in_the_order_of_time() -> None:
    life = Life()
    life.move_to(1_000)
    for start in (800, 100, 840, 400):
        life.add(counts(start, 1, "a"))
    assert life.table.rollups.spans() == [
        Span(0, 300, RollupStep(300)),
        Span(300, 600, RollupStep(300)),
        Span(780, 840, RollupStep(60)),
        Span(840, 900, RollupStep(60)),
    ]
