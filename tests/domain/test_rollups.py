"""Roll-ups against plain counting: through late events, crashes, replays and other settings."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

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
from streams.domain.rollups import RollupKey
from streams.domain.table import WindowTable
from streams.domain.watermark import Watermark
from streams.domain.windows import Rollup, RollupStep, WindowPolicy
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
        for name in (*NAMES, OTHER):
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
            assert table.event_time >= policy.uncountable_from(added.start)

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
