"""Roll-ups: longer windows that take over the counts of shorter ones when these expire.

A count is always in exactly one place: in its window; or, once that has expired, in the window of
the first roll-up; or of the next one. It moves in one commit: the record of the shorter window goes
with the transaction that writes the longer one. So counting costs nothing for it, and a sum over
all that is retained is exact at any moment, through crashes and replays.

Each roll-up is a level. `kept_from` of a level says which counts are in it: those of times before
are in longer windows. It only moves on, and is in the checkpoint, so it also says, when partial
counts are replayed, where they were added. Counts that come after their window was rolled up are
added to the level that has it; until that is written they are replayed, as those of windows are.

A level that the configuration no longer has goes on as it is: its windows are rolled up into the
next longer ones that hold them whole or, where none does, kept for as long as the last level's.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from math import inf
from typing import NamedTuple

import msgspec

from streams.domain.buckets import Bucket, BucketKey, Window, in_order
from streams.domain.cells import Cells
from streams.domain.checkpoint import DirtyRollup, RollupsState, RollupStart
from streams.domain.counts import OTHER, Cell
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import WindowCounts
from streams.domain.roster import Roster
from streams.domain.windows import MS, Rollup, RollupStep, WindowPolicy

ROLLED_AT_ONCE = 10_000
"""Campaigns, of all windows together, that are rolled up within some 100 ms: one commit's."""
QUIET_S = 2.0
"""A window that got counts of its own is written when none came for this long (s, wall clock)."""
UNQUIET_S = 10.0
"""It is written after this long (s), though it is not quiet."""


class RollupKey(msgspec.Struct, frozen=True, order=True, array_like=True, tag="rollup", gc=False):
    """Key, on the changelog topic, of a bucket of a window of a roll-up.

    The step is that of `RollupStep`; start, bucket, part and the value are those of `BucketKey`.
    """

    step: int
    time_zone: str
    start: int
    bucket: int
    part: int = 0


class Span(NamedTuple):
    """A window of a roll-up: from `start` to before `end` (s).

    Attributes:
        start: its first second.
        end: the one after its last.
        step: of the roll-up.
    """

    start: int
    end: int
    step: RollupStep


class Added(NamedTuple):
    """Events of counts that were added: under `OTHER`, as names or campaigns were too many."""

    names: int
    campaigns: int


class Level:
    """The windows of one roll-up.

    Args:
        step: how long they are.
        rollup: of the configuration; null if that has none of this step any more.
        kept_from: counts of times (s) before are in longer windows.

    Attributes:
        windows: by their start (s).
    """

    __slots__ = ("kept_from", "rollup", "step", "windows")

    def __init__(self, step: RollupStep, rollup: Rollup | None, kept_from: int = 0) -> None:
        self.step = step
        self.rollup = rollup
        self.kept_from = kept_from
        self.windows: dict[int, Window] = {}

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return sum(map(len, self.windows.values()))

    @property
    def size(self) -> int:
        """About how many bytes the counts take in memory."""
        return sum(window.size for window in self.windows.values())

    def key(self, key: BucketKey) -> RollupKey:
        """Return the key of a bucket of this level."""
        return RollupKey(self.step.seconds, self.step.time_zone, key.start, key.bucket, key.part)


class Rollups:
    """The roll-ups of one partition.

    Args:
        policy: which there are.
        limits: how many names and campaigns are kept apart; campaigns in all roll-ups together.

    Attributes:
        windows_from: counts of times (s) before are in no window but in roll-ups, or expired.
        complete_from: since when (s) all counts are retained; before, some may have expired.
        levels: the roll-ups, shortest step first.
        moves: goes up whenever counts move on, or expire.
        changes: goes up with all that changes the counts of any window.
        rolled_up: windows whose counts were added to longer ones.
        other_events: events that are counted under `OTHER` since they were rolled up.
    """

    def __init__(self, policy: WindowPolicy, limits: Limits = DEFAULT_LIMITS) -> None:
        self._policy = policy
        self._limits = limits
        self._roster = Roster(limits.campaigns)
        self.levels = [Level(each.step, each) for each in policy.rollups]
        self._destinations = list(self.levels)
        """Those that counts can be added to."""
        self._last_retention = max([policy.retention, *(r.retention for r in policy.rollups)])
        self.windows_from = 0
        self.complete_from = 0
        self.moves = 0
        self.changes = 0
        self.rolled_up = 0
        self.other_events = 0
        self._spans: list[Span] = []
        """All windows in order, as they were at a number of changes and of windows."""
        self._spans_at = 0, 0
        self._gone: set[RollupKey] = set()
        """Records that have to be removed from the changelog topic."""
        self._to_write: set[Span] = set()
        """Windows that got the counts of others, whose records go with the next changes."""
        self._unwritten_since: dict[Span, float] = {}
        """Windows with counts that have to be replayed, and since when (s, wall clock)."""

    def __bool__(self) -> bool:
        """Tell whether counts can go on to any."""
        return bool(self._destinations)

    # Counts of windows that expire

    def roll_up(self, window: Window, end: int) -> None:
        """Take over the counts of a window that has expired, and that ended at `end` (s)."""
        self._pass_on(window, end, self._target(0, window.start, end))

    def expire(self, event_time: int, most: int) -> bool:
        """Hand on or drop the windows that have expired at an event time (ms).

        Args:
            event_time: the watermark (ms).
            most: campaigns that may be handed on.

        Returns:
            Whether there are more than that.
        """
        left = most
        for level in self.levels:
            left = self._expire(level, event_time, left)
        return left < 0

    def _expire(self, level: Level, event_time: int, left: int) -> int:
        """Expire windows of a level; return how many campaigns may follow, negative if too few."""
        waiting: float = inf
        for start in self._expired(level, event_time):
            if left <= 0:
                waiting, left = start, -1
                break
            window, end = level.windows.pop(start), level.step.end_of(start)
            left -= len(window)
            self._pass_on(window, end, self._target(level.step.seconds, start, end))
            self._roster.leave(name for name, _ in window.campaigns())
            self._gone |= {level.key(key) for key in window.written}
            self._forget(Span(start, end, level.step))
        following = self._following(level)
        if following is not None and level.rollup is not None:
            since = max(0, event_time // MS - self._policy.grace - level.rollup.retention)
            kept_from = min(following.step.start_of(since), waiting)
            level.kept_from = max(level.kept_from, int(kept_from))
        return left

    def _expired(self, level: Level, event_time: int) -> list[int]:
        """Return the starts (s) of a level's windows that have expired, oldest first."""
        if not level.windows:
            return []
        if level.rollup is not None and event_time < self._expires_at(level, min(level.windows)):
            return []
        return sorted(s for s in level.windows if event_time >= self._expires_at(level, s))

    def _expires_at(self, level: Level, start: int) -> int:
        """Return the event time (ms) from which a window of a level is expired.

        All that go into the same longer window expire together, so that it is written once.
        """
        end = level.step.end_of(start)
        target = self._target(level.step.seconds, start, end)
        if level.rollup is None:
            return 0 if target is not None else self._at(end, self._last_retention)
        return self._at(target.step.end_of(start) if target else end, level.rollup.retention)

    def _at(self, end: int, retention: int) -> int:
        return (end + self._policy.grace + retention) * MS

    def _following(self, level: Level) -> Level | None:
        longer = (d for d in self._destinations if d.step.seconds > level.step.seconds)
        return next(longer, None)

    def _target(self, longer_than: int, start: int, end: int) -> Level | None:
        """Return the level whose window takes over from one from `start` to `end` (s)."""
        for level in self._destinations:
            is_whole = level.step.seconds > longer_than and level.step.end_of(start) >= end
            if is_whole and self._keeps(level, start):
                return level
        return None

    def _keeps(self, level: Level, time: int) -> bool:
        """Tell whether a level is where counts of a time (s) are, if they are in none before."""
        return level is self._destinations[-1] or level.step.start_of(time) >= level.kept_from

    def _pass_on(self, window: Window, end: int, target: Level | None) -> None:
        self.moves += 1
        self.changes += 1
        if target is None:
            self.complete_from = max(self.complete_from, end)
            return
        whole = Cells(limits=self._limits)
        for counts in window.snapshot().counts():
            whole.put(counts)
        # What is counted as `OTHER` already is not folded anew.
        before = whole.events(OTHER)
        names, campaigns = self._put(target, whole.counts(window.start), late=False)
        self.other_events += names + campaigns - before
        self.rolled_up += 1
        start = target.step.start_of(window.start)
        self._to_write.add(Span(start, target.step.end_of(start), target.step))

    def _put(self, level: Level, counts: WindowCounts, *, late: bool) -> Added:
        self.changes += 1
        start = level.step.start_of(counts.start)
        window = level.windows.get(start)
        if window is None:
            window = level.windows[start] = Window(start, (), self._limits)
        admitted = self._roster.admit(counts)
        added = window.add(admitted.counts, late=late)
        self._roster.appear(added.campaigns)
        return Added(added.folded, admitted.folded)

    # Counts whose windows are rolled up

    def add(self, counts: WindowCounts, event_time: int, offset: int, now: float) -> Added | None:
        """Add counts whose window is rolled up: they come late.

        Args:
            counts: of one window.
            event_time: the watermark (ms).
            offset: where in the repartition topic they are or will be.
            now: wall-clock time (s, UTC).

        Returns:
            What became of them; null if they were added nowhere, as even that has expired.
        """
        if event_time >= self._policy.gone_from(counts.start):
            return None
        level = self._level_of(counts.start)
        return None if level is None else self._add(level, counts, offset, now)

    def _level_of(self, time: int) -> Level | None:
        """Return the level where counts of a time (s) are, once its window is rolled up."""
        return next((each for each in self._destinations if self._keeps(each, time)), None)

    def _add(self, level: Level, counts: WindowCounts, offset: int, now: float) -> Added:
        added = self._put(level, counts, late=True)
        span = self._span(level, counts.start)
        window = level.windows[span.start]
        if window.replay_from_offset is None:
            window.replay_from_offset = offset
            self._unwritten_since[span] = now
        window.changed_at = now
        return added

    @staticmethod
    def _span(level: Level, time: int) -> Span:
        return Span(level.step.start_of(time), level.step.end_of(time), level.step)

    # Written down

    @property
    def has_changes(self) -> bool:
        """Whether the next `take_changes` has any whatever the time."""
        return bool(self._gone or self._to_write)

    def take_changes(
        self, now: float, *, most_dirty: int
    ) -> Iterator[tuple[RollupKey, bytes | None]]:
        """Hand out what has to be written with the records of windows that were rolled up.

        Args:
            now: wall-clock time (s, UTC).
            most_dirty: windows whose counts may have to be replayed; with more, all are written.

        Yields:
            Keys and values for the changelog topic; null for a record that goes.
        """
        gone, self._gone = self._gone, set()
        yield from ((key, None) for key in sorted(gone))
        at_once = len(self._unwritten_since) > most_dirty
        due = self._to_write | {
            span for span in self._unwritten_since if at_once or self._is_due(span, now)
        }
        self._to_write = set()
        levels = {level.step: level for level in self.levels}
        for span in sorted(due):
            self._unwritten_since.pop(span, None)
            level = levels[span.step]
            for key, value in level.windows[span.start].write_dirty():
                yield level.key(key), value

    def _is_due(self, span: Span, now: float) -> bool:
        window = self._window(span)
        is_quiet = window is None or now - window.changed_at >= QUIET_S
        return is_quiet or now - self._unwritten_since[span] >= UNQUIET_S

    def _forget(self, span: Span) -> None:
        self._to_write.discard(span)
        self._unwritten_since.pop(span, None)

    def state(self) -> RollupsState:
        """Return what the checkpoint says of roll-ups, to be written now."""
        return RollupsState(
            windows_from=self.windows_from,
            complete_from=self.complete_from,
            steps=[
                RollupStart(each.step.seconds, each.step.time_zone, each.kept_from)
                for each in self._destinations
            ],
            dirty=[
                DirtyRollup(level.step.seconds, level.step.time_zone, start, at)
                for level in self.levels
                for start, window in level.windows.items()
                if (at := window.replay_from_offset) is not None
            ],
        )

    # Restored: `WindowTable` calls these, in this order

    def restore(
        self, state: RollupsState | None, buckets: Mapping[RollupKey, Bucket], since: int
    ) -> int | None:
        """Go on from what was written down: with the levels that were there then.

        Args:
            state: of the checkpoint; null if that is of a format without roll-ups.
            buckets: of the windows.
            since: then, from when on (s) all counts are retained.

        Returns:
            The offset from which partial counts have to be replayed; null if there are none.

        Raises:
            FormatError: if a window lacks a bucket.
        """
        if state is None:
            state = RollupsState(windows_from=0, complete_from=since, steps=[], dirty=[])
        self.windows_from, self.complete_from = state.windows_from, state.complete_from
        levels = {
            step: Level(step, None, each.kept_from)
            for each in state.steps
            for step in [RollupStep(each.step, each.time_zone)]
        }
        self._destinations = list(levels.values())
        for step, start, parts in _windows_of(buckets):
            window = Window(start, parts, self._limits)
            self._roster.restore(window.campaigns())
            levels.setdefault(step, Level(step, None)).windows[start] = window
        for dirty in state.dirty:
            level = levels[RollupStep(dirty.step, dirty.time_zone)]
            window = level.windows.setdefault(dirty.start, Window(dirty.start, (), self._limits))
            window.replay_from_offset = dirty.replay_from_offset
            # With the next changes: where such counts go may change with the configuration.
            self._unwritten_since[self._span(level, dirty.start)] = -inf
        self.levels = [levels[step] for step in sorted(levels)]
        return min((each.replay_from_offset for each in state.dirty), default=None)

    def replay(self, counts: WindowCounts, offset: int, now: float) -> None:
        """Add counts of a window that is rolled up again, if they are in no bucket yet."""
        level = self._level_of(counts.start)
        if level is None:
            return
        window = level.windows.get(level.step.start_of(counts.start))
        if window is None or window.replay_from_offset is None:
            return
        if offset >= window.replay_from_offset:
            self._add(level, counts, offset, now)

    def finish_restore(self) -> None:
        """Go on with the levels of the configuration, after everything was replayed."""
        known = {level.step: level for level in self.levels}
        written = {level.step for level in self._destinations}
        kept_from = self.windows_from
        levels = []
        for rollup in self._policy.rollups:
            level = known.pop(rollup.step, None) or Level(rollup.step, rollup)
            level.rollup = rollup
            if rollup.step not in written:
                # What is older is in longer windows, as it was before there was this level.
                level.kept_from = max(level.kept_from, kept_from)
            kept_from = level.kept_from
            levels.append(level)
        self._destinations = levels
        self.levels = sorted(
            [*levels, *(level for level in known.values() if level.windows)],
            key=lambda level: level.step,
        )
        self.windows_from = self.windows_from if levels else 0

    # Asked

    def spans(self) -> list[Span]:
        """Return all retained windows, oldest first. It is not to be changed."""
        windows = sum(len(level.windows) for level in self.levels)
        if self._spans_at != (self.changes, windows):
            self._spans_at = self.changes, windows
            self._spans = sorted(
                Span(start, level.step.end_of(start), level.step)
                for level in self.levels
                for start in level.windows
            )
        return self._spans

    def changes_of(self, spans: Iterable[Span]) -> int:
        """Return how often counts were added to some retained windows, in all."""
        windows = map(self._window, spans)
        return sum(window.changes for window in windows if window is not None)

    def cell(self, campaign_id: str, span: Span) -> Cell | None:
        """Return the counts of a campaign in one window, as they are now."""
        window = self._window(span)
        return window.cell(campaign_id) if window is not None else None

    def has(self, campaign_id: str, span: Span) -> bool:
        """Tell whether a campaign has counts in one window."""
        window = self._window(span)
        return window is not None and window.has(campaign_id)

    def cells(self, campaign_id: str) -> Iterator[tuple[Span, Cell]]:
        """Yield the windows in which a campaign has counts, newest first."""
        if not self.knows(campaign_id):
            return
        for span in reversed(self.spans()):
            cell = self.cell(campaign_id, span)
            if cell is not None:
                yield span, cell

    def knows(self, campaign_id: str) -> bool:
        """Tell whether any window has counts of a campaign."""
        if campaign_id != OTHER:
            return self._roster.windows_with(campaign_id) > 0
        return any(self._all_windows_have(campaign_id))

    def _all_windows_have(self, campaign_id: str) -> Iterable[bool]:
        for level in self.levels:
            yield from (window.has(campaign_id) for window in level.windows.values())

    def _window(self, span: Span) -> Window | None:
        levels = (level for level in self.levels if level.step == span.step)
        return next((level.windows.get(span.start) for level in levels), None)

    @property
    def campaigns(self) -> int:
        """How many campaigns have counts under their own ids."""
        return len(self._roster)


def _windows_of(
    buckets: Mapping[RollupKey, Bucket],
) -> Iterator[tuple[RollupStep, int, list[list[Bucket]]]]:
    """Yield each window that buckets are of: its step, its start (s), and its parts in order."""
    for (step, zone, start), keys in groupby(
        sorted(buckets), key=lambda key: (key.step, key.time_zone, key.start)
    ):
        of_window = {BucketKey(start, key.bucket, key.part): buckets[key] for key in keys}
        yield RollupStep(step, zone), start, in_order(of_window)
