"""Every retained window of one partition, and what of it must be written down.

A window is dirty while it has counts that are not on the changelog topic, but only in the partial
counts of the repartition topic. Once it is closed and quiet its dirty buckets are written to the
changelog topic. So a count is written about once, however often it changed, and costs little more
than its bytes.

To restore: the buckets, then from the repartition topic the partial counts that dirty windows got
since they were last written. The checkpoint says which windows are dirty, and from which offset.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

from streams.domain.buckets import Bucket, BucketKey, Snapshot, Wanted, Window, in_order
from streams.domain.checkpoint import Checkpoint, CheckpointKey, DirtyWindow
from streams.domain.counts import OTHER, Cell
from streams.domain.emission import Emission, WindowResult
from streams.domain.event_time_log import EventTimeLog
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import Dimensions, PartialCounts, WindowCounts
from streams.domain.rollups import ROLLED_AT_ONCE, RollupKey, Rollups
from streams.domain.roster import Roster
from streams.domain.watermark import Watermark
from streams.domain.windows import WindowPolicy
from streams.errors import FormatError

QUIET_S = 2.0
"""A closed window is written when nothing has changed it for this long (s, wall clock)."""
UNQUIET_S = 10.0
"""A closed window whose results are emitted is written after this long (s) though it is not quiet,
so that events that come late all the time delay no result."""
CAMPAIGNS_WRITTEN_AT_ONCE = 10_000
"""Campaigns that are written within some 100 ms, if they are in several windows."""
MOST_REPLAYED = 1_000_000
"""Counts in the repartition topic that may have to be replayed; with more, open windows are written
too."""
MOST_DIRTY = 4_096
"""Windows that the checkpoint names as dirty; with more, all of them are written."""


class Folded(NamedTuple):
    """Events counted under `OTHER`: of names, or of whole campaigns, that were too many."""

    names: int = 0
    campaigns: int = 0


class Replayed(NamedTuple):
    """Counts that were added again to the window that begins at `start` (s).

    `counts` are those under the campaigns that they were added to; null if the window has expired.
    """

    start: int
    counts: WindowCounts | None
    late: bool


class WindowTable:
    """The windows of one partition of campaigns.

    Args:
        policy: when windows close and expire.
        watermark: the partition's event time.
        limits: how many names and campaigns are kept apart.
        emits: whether results of closed windows are emitted.
        on_close: is called with each window that closes, before it may expire.
        observed_reach: how far back (s) the windows that event time was in are kept; null for none.

    Attributes:
        rollups: where the counts of windows go that expire.
        late_events: events that corrected a closed window, or what it was rolled up to.
        expired_events: events that were added nowhere, as their window had expired.
        folded: events that were counted under `OTHER`.
        generation: goes up whenever a window opens, closes or expires.
        has_checkpoint: whether a checkpoint was restored or handed out, ever.
    """

    def __init__(  # noqa: PLR0913 - what the windows of a partition have in common
        self,
        policy: WindowPolicy,
        watermark: Watermark,
        limits: Limits = DEFAULT_LIMITS,
        *,
        emits: bool = False,
        on_close: Callable[[Window], None] = lambda _: None,
        observed_reach: int | None = None,
    ) -> None:
        self._policy = policy
        self._on_close = on_close
        self._event_time_log = EventTimeLog(policy.size, observed_reach)
        self._emits = emits
        self._results: list[WindowResult] = []
        """What the last changes emitted, until it is taken."""
        self._to_emit: set[int] = set()
        """Closed windows of which something may have to be emitted."""
        self._unquiet: dict[int, float] = {}
        """Closed windows that are not quiet, and since when (s, wall clock) they are to be
        emitted."""
        self._limits = limits
        self._roster = Roster(limits.campaigns)
        self.rollups = Rollups(policy, limits)
        self._watermark = watermark
        self._windows: dict[int, Window] = {}
        self._open: set[int] = set()
        self._may_be_dirty: set[int] = set()
        """Windows among which are all that are dirty."""
        self._expired: set[BucketKey] = set()
        """Records of windows that expired: they have to be removed from the changelog topic."""
        self._write_anyway: set[int] = set()
        """Windows that have to be written whatever else is due."""
        self._is_expiring = False
        """Whether windows that have expired wait until they are emitted."""
        self._moved = False
        """Whether the checkpoint has to be written."""
        self._rows = 0
        """How many counts were added."""
        self._sorted: list[int] = []
        """The starts of all windows, in order, as they were at a generation and number of them."""
        self._sorted_at = 0, 0
        self._written_policy = policy
        """With the size that the restored windows had when they were written."""
        self.late_events = 0
        self.expired_events = 0
        self.folded = Folded()
        self.generation = 0
        self._not_replayed_until = 0
        """As `take_not_replayed_until` returns it next."""
        self.has_checkpoint = False

    # Event time

    @property
    def event_time(self) -> int:
        """The watermark (ms): how far event time has come in all inputs that are not idle."""
        return self._watermark.event_time

    @property
    def input_event_times(self) -> Mapping[int, int]:
        """The largest event time (ms) of each source partition that has brought any."""
        return self._watermark.times

    @property
    def newest_event_time(self) -> int:
        """The largest event time (ms) of any input, 0 before the first event."""
        return self._watermark.newest

    def observe(self, source: int, event_time: int, now: float) -> None:
        """Take note that a source partition reached an event time (ms) at wall-clock `now` (s)."""
        if event_time > self._watermark.times.get(source, 0):
            # It may come without any counts.
            self._moved = True
        self._watermark.observe(source, event_time, now)
        self._note_event_time(self._policy.start_of(event_time))

    def _note_event_time(self, start: int) -> None:
        if self._event_time_log.add(start, self.open_from):
            self._moved = True

    @property
    def observed(self) -> Collection[int]:
        """Starts (s) of the windows that event time was in, as far back as they are kept."""
        return self._event_time_log.starts

    def add_inputs(self, sources: Iterable[int], now: float) -> None:
        """Wait for the event time of these source partitions too, from wall-clock `now` (s) on."""
        self._watermark.add_inputs(sources, now)

    # Counting

    def add(self, counts: WindowCounts, offset: int, now: float) -> WindowCounts | None:
        """Add counts to a window.

        Counts for a closed window correct it, and are marked as late; for one that has expired
        they are added to what it was rolled up to, if that is retained.

        Args:
            counts: of one window.
            offset: where in the repartition topic they are or will be.
            now: wall-clock time (s, UTC).

        Returns:
            The counts under the campaigns that they were added to; null if the window has expired.
        """
        start = self._policy.start_of(counts.start * 1000)
        self._moved = True
        if self._has_expired(start):
            self._add_to_rollups(counts, offset, now)
            return None
        window = self._windows.get(start)
        if window is None:
            window = self._windows[start] = self._new_window(start)
            self.generation += 1
            self._open.add(start)
            self._close_if_over(window, offset)
        late = window.closed_at_offset is not None
        if late:
            self.late_events += counts.events
        self._note_event_time(start)
        return self._change(window, counts, offset, now, late=late)

    def _has_expired(self, start: int) -> bool:
        """Tell whether a window is not retained any more."""
        if self.rollups:
            return start < self.rollups.windows_from
        return self._policy.is_expired(start, self._watermark.event_time)

    def _add_to_rollups(self, counts: WindowCounts, offset: int, now: float) -> None:
        """Add counts to what their window was rolled up to; if that has expired, nowhere."""
        added = self.rollups.add(counts, self._watermark.event_time, offset, now)
        if added is None:
            self.expired_events += counts.events
            return
        self.late_events += counts.events
        before = self.folded
        self.folded = Folded(before.names + added.names, before.campaigns + added.campaigns)

    def _new_window(self, start: int, restored: Iterable[Sequence[Bucket]] = ()) -> Window:
        return Window(start, restored, self._limits, emits=self._emits)

    def _change(
        self, window: Window, counts: WindowCounts, offset: int, now: float, *, late: bool
    ) -> WindowCounts:
        """Add counts to a window; return them under the campaigns that they were added to."""
        self._mark_changed(window, counts, offset, now)
        found = window.find(counts)
        admitted = self._roster.admit(counts, found.new if found is not None else None)
        added = window.add(
            admitted.counts, late=late, found=found if admitted.counts is counts else None
        )
        self._roster.appear(added.campaigns)
        before = self.folded
        self.folded = Folded(before.names + added.folded, before.campaigns + admitted.folded)
        return admitted.counts

    def _mark_changed(self, window: Window, counts: WindowCounts, offset: int, now: float) -> None:
        if window.replay_from_offset is None:
            window.replay_from_offset = offset
            window.rows_before = self._rows
            self._may_be_dirty.add(window.start)
        window.changed_at = now
        self._rows += counts.rows

    def advance(self, now: float, offset: int) -> None:
        """Move event time on: close windows, and drop those that expire.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the repartition topic, at which the next counts will be.
        """
        last_close = self._policy.closes_at(self._newest_start)
        if self._watermark.advance(now, last_close):
            self._moved = True
            self._event_time_log.forget(self.open_from)
            self._close_and_expire(offset)
        elif self._is_expiring:
            self._expire()

    @property
    def next_boundary(self) -> int:
        """The next event time (ms) at which a window closes or expires, if there is one by then.

        Until then detectors look back on the same windows, and counts are late or expired as now.
        """
        next_close = self._policy.closes_at(self.open_from)
        if not self._windows:
            return next_close
        return min(next_close, self._policy.expires_at(self.starts()[0]))

    def unchanged_until(self, now: float) -> float:
        """Return the wall-clock time (s, UTC) before which no window closes or expires.

        That is, if nothing is added until then. It may be `now` or before; infinity for never.
        """
        idle_at = self._watermark.next_idle_at(now)
        if idle_at != inf:
            return idle_at
        boundary = self.next_boundary
        last_close = self._policy.closes_at(self._newest_start)
        return boundary / 1000 if boundary <= last_close else inf

    def _close_and_expire(self, offset: int) -> None:
        for start in sorted(self._open):
            self._close_if_over(self._windows[start], offset)
        self._expire()

    def _expire(self) -> None:
        """Drop the windows that have expired, but not before their results are emitted.

        Their counts go to the roll-ups; with many campaigns, some of them at the next call.
        """
        self._is_expiring = False
        left = ROLLED_AT_ONCE
        kept_from = self._policy.oldest_retained(self.event_time)
        for start in self.starts():
            if not self._policy.is_expired(start, self.event_time):
                break
            window = self._windows[start]
            is_emitted = not self._emits or window.is_emitted
            if not is_emitted:
                self._write_anyway.add(start)
            if not is_emitted or (self.rollups and (self._is_expiring or left <= 0)):
                # Counts are rolled up in the order of time: so one time says which were.
                self._is_expiring = True
                kept_from = min(kept_from, start)
                continue
            left -= len(window)
            self._drop(window)
        self.rollups.windows_from = max(self.rollups.windows_from, kept_from)
        self._is_expiring |= self.rollups.expire(self.event_time, left)
        self._moved |= self.rollups.has_changes

    def _drop(self, window: Window) -> None:
        """Drop a window; its counts go to the roll-ups."""
        start = window.start
        del self._windows[start]
        self.rollups.roll_up(window, start + self._policy.size)
        self._roster.leave(name for name, _ in window.campaigns())
        self.generation += 1
        self._note_not_replayed(start)
        self._expired |= window.written
        self._write_anyway.discard(start)
        self._to_emit.discard(start)
        self._moved = True

    def _close_if_over(self, window: Window, offset: int) -> None:
        if self._policy.is_closed(window.start, self._watermark.event_time):
            window.closed_at_offset = offset
            self._on_close(window)
            self._open.discard(window.start)
            self._to_emit.add(window.start)
            self.generation += 1
            self._moved = True
            if window.replay_from_offset is None:
                # All of it was written while it was open, so no record will say that it closed.
                self._note_not_replayed(window.start)

    # Written down

    def take_changes(
        self, now: float
    ) -> Iterator[tuple[BucketKey | RollupKey, bytes | None] | tuple[CheckpointKey, Checkpoint]]:
        """Hand out what has to be written with the offset of the last partial counts.

        Args:
            now: wall-clock time (s, UTC).

        Yields:
            Keys and values for the changelog topic; all of them have to be written together.
        """
        expired, self._expired = self._expired, set()
        # A window may have got records again, under keys of shorter windows that were merged.
        yield from ((key, None) for key in sorted(expired))
        emission = Emission()
        for start in sorted(self._due(now)):
            self._moved = True
            self._note_not_replayed(start)
            closed = self._emits and start not in self._open
            if closed:
                self._to_emit.add(start)
            yield from self._windows[start].write_dirty(emission if closed else None)
        if self._emits:
            yield from self._emit(emission)
        for change in self.rollups.take_changes(now, most_dirty=MOST_DIRTY):
            self._moved = True
            yield change
        if self._moved:
            yield CheckpointKey(), self.checkpoint()

    def _note_not_replayed(self, start: int) -> None:
        self._not_replayed_until = max(self._not_replayed_until, start + self._policy.size)

    def take_not_replayed_until(self) -> int:
        """Return the end (s) of the newest window of which counts need not be replayed any more.

        That is, of those that were written, have expired, or have closed with nothing that is still
        to be written, since this was last called; 0 for none.
        """
        until, self._not_replayed_until = self._not_replayed_until, 0
        return until

    def _emit(self, emission: Emission) -> Iterator[tuple[BucketKey, bytes | None]]:
        """Emit what is left of closed windows; yield what has to be written with the results."""
        for start in sorted(self._to_emit):
            window = self._windows[start]
            for change in window.emit(emission):
                self._moved = True
                yield change
            if window.is_emitted:
                self._to_emit.discard(start)
        self._results += emission.results

    def take_results(self) -> list[WindowResult]:
        """Hand out the results of closed windows that have to be written with the last changes."""
        results, self._results = self._results, []
        return results

    def _due(self, now: float) -> set[int]:
        """Return the windows to write: the quiet ones; if much would be replayed, more."""
        dirty = self._dirty()
        oldest = min((w.rows_before for w in dirty.values()), default=self._rows)
        enough = self._rows - MOST_REPLAYED // 2 if self._rows - oldest > MOST_REPLAYED else -1
        anyway, self._write_anyway = self._write_anyway, set()
        if len(dirty) > MOST_DIRTY:
            return anyway | dirty.keys()
        long_ago = {start for start, window in dirty.items() if window.rows_before < enough}
        closed = {s: w for s, w in dirty.items() if s not in self._open}
        quiet = (
            start
            for start, window in closed.items()
            if now - window.changed_at >= QUIET_S or self._has_waited(start, now)
        )
        if self._emits:
            self._unquiet = {start: self._unquiet.get(start, now) for start in closed}
        return anyway.union(long_ago, self._at_once(quiet))

    def _dirty(self) -> dict[int, Window]:
        """Return the dirty windows by their starts (s), in order: of all retained, few are."""
        windows, starts = self._windows, sorted(self._may_be_dirty)
        dirty = {start: windows[start] for start in starts if start in windows}
        dirty = {s: window for s, window in dirty.items() if window.replay_from_offset is not None}
        self._may_be_dirty = set(dirty)
        return dirty

    def _has_waited(self, start: int, now: float) -> bool:
        """Tell whether a closed window has been waiting to be emitted, though it is not quiet."""
        return now - self._unquiet.get(start, now) >= UNQUIET_S

    def _at_once(self, starts: Iterable[int]) -> Iterator[int]:
        """Yield windows up to a number of campaigns: the others come with the next changes."""
        campaigns = 0
        for start in starts:
            if campaigns >= CAMPAIGNS_WRITTEN_AT_ONCE:
                return
            campaigns += self._windows[start].dirty_campaigns
            yield start

    def checkpoint(self) -> Checkpoint:
        """Return how far the windows are, to be written now."""
        self._moved = False
        self.has_checkpoint = True
        dirty = {
            start: DirtyWindow(window.replay_from_offset, window.closed_at_offset)
            for start, window in self._dirty().items()
            if window.replay_from_offset is not None
        }
        inputs = dict(self.input_event_times)
        observed = self._event_time_log.ranges()
        size, event_time = self._policy.size, self.event_time
        return Checkpoint(size, event_time, inputs, dirty, observed, self.rollups.state())

    # Restored: `streams.domain.restorer` calls these, in this order

    def restore(
        self,
        checkpoint: Checkpoint,
        buckets: Mapping[BucketKey, Bucket],
        rollups: Mapping[RollupKey, Bucket] = MappingProxyType({}),
    ) -> int | None:
        """Go on from what was written down: windows, and those of roll-ups.

        Returns:
            The offset in the repartition topic from which partial counts have to be replayed; null
            if there are none.

        Raises:
            FormatError: if the windows cannot be made longer ones of this table's size, or one of
                them lacks a bucket.
        """
        if self._policy.size % checkpoint.window_size:
            raise FormatError(
                f"windows.size: {self._policy.size} s, but the changelog topic has windows of "
                f"{checkpoint.window_size} s: only a multiple of that can be made of them; for any "
                "other size count anew, as docs/operations.md says"
            )
        self.has_checkpoint = True
        self._watermark.restore(checkpoint.inputs, checkpoint.event_time)
        self._event_time_log.restore(checkpoint.observed, checkpoint.window_size)
        for start, keys in groupby(sorted(buckets), key=attrgetter("start")):
            window = self._new_window(start, in_order({key: buckets[key] for key in keys}))
            self._roster.restore(window.campaigns())
            window.closed_at_offset = 0
            self._windows[start] = window
        for start, dirty in checkpoint.dirty.items():
            window = self._windows.setdefault(start, self._new_window(start))
            window.replay_from_offset = dirty.replay_from_offset
            self._may_be_dirty.add(start)
            window.closed_at_offset = dirty.closed_at_offset
        self._written_policy = replace(self._policy, size=checkpoint.window_size)
        oldest = min(self._windows, default=checkpoint.event_time // 1000)
        replay_from = self.rollups.restore(checkpoint.rollups, rollups, oldest)
        offsets = {each.replay_from_offset for each in checkpoint.dirty.values()}
        return min(offsets if replay_from is None else {*offsets, replay_from}, default=None)

    def closed_at_offsets(self) -> list[tuple[int, int]]:
        """Return the offset at which each dirty window closed, and its start (s), in order."""
        return sorted(
            (window.closed_at_offset, start)
            for start, window in self._dirty().items()
            if window.replay_from_offset is not None and window.closed_at_offset is not None
        )

    def replay(self, partial_counts: PartialCounts, offset: int, now: float) -> list[Replayed]:
        """Add partial counts again, as far as they are in no bucket that was written.

        Returns:
            What was added, and the windows for which counts were too late.
        """
        replayed: list[Replayed] = []
        for counts in partial_counts.windows:
            # There may be counts of shorter windows than those that were written since.
            start = self._written_policy.start_of(counts.start * 1000)
            window = self._windows.get(start)
            if window is None:
                self.rollups.replay(counts, offset, now)
                replayed.append(Replayed(start, None, late=True))
            elif window.replay_from_offset is not None and offset >= window.replay_from_offset:
                closed_at = window.closed_at_offset
                late = closed_at is not None and offset >= closed_at
                added = self._change(window, counts, offset, now, late=late)
                replayed.append(Replayed(start, added, late=late))
        return replayed

    def finish_restore(self, now: float, offset: int) -> None:
        """Go on as this table's policy wants it, after everything before `offset` was replayed.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the repartition topic, where reading goes on.
        """
        if self._written_policy.size != self._policy.size:
            self._merge_windows(now, offset)
        self.rollups.finish_restore()
        for window in self._windows.values():
            if not self._policy.is_closed(window.start, self.event_time):
                self._open_again(window)
            elif window.closed_at_offset is None:
                self._open.add(window.start)
            else:
                self._to_emit.add(window.start)
        self.generation += 1
        self._close_and_expire(offset)

    def _open_again(self, window: Window) -> None:
        self._open.add(window.start)
        if window.closed_at_offset is not None and window.replay_from_offset is not None:
            # The repartition topic does not tell any more which of its counts came late.
            self._write_anyway.add(window.start)
        if self._emits and window.emit_again():
            self._write_anyway.add(window.start)
        window.closed_at_offset = None

    def _merge_windows(self, now: float, offset: int) -> None:
        """Make longer windows of those that were restored."""
        shorter, self._windows = self._windows, {}
        self._expired = {key for window in shorter.values() for key in window.written}
        for _, old in sorted(shorter.items()):
            start = self._policy.start_of(old.start * 1000)
            window = self._windows.setdefault(start, self._new_window(start))
            window.closed_at_offset = offset
            for counts in old.snapshot().counts():
                self._mark_changed(window, counts, offset, now)
                window.add(counts, late=False)
        self._roster = Roster(self._limits.campaigns)
        for window in self._windows.values():
            self._roster.restore(window.campaigns())
        self._write_anyway = set(self._windows)
        self._written_policy = self._policy

    # Asked

    def starts(self) -> list[int]:
        """Return the starts (s) of all retained windows, oldest first. It is not to be changed."""
        return self._in_order()

    def starts_between(self, first: float, last: float) -> list[int]:
        """Return those of windows that start at `first` (s) or later and before `last` (s)."""
        starts = self._in_order()
        return starts[bisect_left(starts, first) : bisect_left(starts, last)]

    def _in_order(self) -> list[int]:
        state = self.generation, len(self._windows)
        if self._sorted_at != state:
            self._sorted_at, self._sorted = state, sorted(self._windows)
        return self._sorted

    @property
    def oldest_start(self) -> int | None:
        """Start (s) of the oldest retained window; null if there is none."""
        starts = self.starts()
        return starts[0] if starts else None

    @property
    def _newest_start(self) -> int:
        """Start (s) of the newest retained window; 0 if there is none."""
        starts = self.starts()
        return starts[-1] if starts else 0

    def is_open(self, start: int) -> bool:
        """Tell whether a window is still open."""
        return not self._policy.is_closed(start, self._watermark.event_time)

    @property
    def open_from(self) -> int:
        """Start (s) of the oldest window that event time leaves open, with or without counts."""
        return self._policy.oldest_open(self._watermark.event_time)

    def open_starts(self) -> list[int]:
        """Return the starts (s) of the open windows, oldest first."""
        return sorted(self._open)

    def has(self, campaign_id: str, start: int) -> bool:
        """Tell whether a campaign has counts in a window."""
        window = self._windows.get(start)
        return window is not None and window.has(campaign_id)

    def knows(self, campaign_id: str) -> bool:
        """Tell whether any retained window has the campaign; newest first, as most are active."""
        windows = (self.has(campaign_id, start) for start in reversed(self.starts()))
        return any(windows) or self.rollups.knows(campaign_id)

    def app_of(self, campaign_id: str) -> str | None:
        """Return the app of a campaign, of the newest window that names one; null if none does."""
        windows = self.cells(campaign_id, reversed(self.starts()))
        cells = chain(windows, self.rollups.cells(campaign_id))
        return next((cell.app_id for _, cell in cells if cell.app_id is not None), None)

    def cell(self, campaign_id: str, start: int) -> Cell | None:
        """Return the counts of a campaign in one window, as they are now."""
        window = self._windows.get(start)
        return window.cell(campaign_id) if window is not None else None

    def totals(
        self,
        campaign_ids: Sequence[str],
        starts: Iterable[int],
        is_counted: Callable[[Dimensions], bool],
    ) -> list[int]:
        """Return how many events each campaign has, in some windows, of counted count keys."""
        windows = [self._windows[start] for start in starts if start in self._windows]
        of_each = [window.totals(campaign_ids, is_counted) for window in windows]
        return list(map(sum, zip(*of_each, strict=True))) if of_each else [0] * len(campaign_ids)

    def events(self, campaign_id: str, start: int) -> int:
        """Return how many events of all kinds a campaign has in one window."""
        window = self._windows.get(start)
        return window.events(campaign_id) if window is not None else 0

    def cells(self, campaign_id: str, starts: Iterable[int]) -> Iterator[tuple[int, Cell]]:
        """Yield a campaign's counts in those of the windows in which it has any."""
        wanted = Wanted.of(campaign_id)
        for start in starts:
            window = self._windows.get(start)
            cell = window.cell_of(wanted) if window is not None else None
            if cell is not None:
                yield start, cell

    def window(self, start: int) -> Window | None:
        """Return the window that begins at `start` (s); null if it is not retained."""
        return self._windows.get(start)

    def snapshot(self, start: int) -> Snapshot | None:
        """Return the counts of one window as they are now; null if it is not retained."""
        window = self._windows.get(start)
        return window.snapshot() if window is not None else None

    def changes(self, start: int) -> int | None:
        """Return how often counts were added to a window; null if it is not retained."""
        window = self._windows.get(start)
        return window.changes if window is not None else None

    def state_of(self, starts: Sequence[int]) -> tuple[int, int]:
        """Return how many of some windows are open, and how often they have changed.

        Args:
            starts: of the windows (s), oldest first; some may have expired meanwhile.
        """
        open_from, windows = self.open_from, self._windows
        changes = sum([windows[start].changes for start in starts if start in windows])
        return len(starts) - bisect_left(starts, open_from), changes

    def campaigns_in(self, start: int) -> Iterator[str]:
        """Yield the campaigns that have counts in a window."""
        return (name for name, _ in self._windows[start].campaigns())

    def campaigns_with_counts(self, start: int) -> int:
        """Return how many campaigns have counts in a window; 0 for one that is not retained."""
        window = self._windows.get(start)
        return len(window) if window is not None else 0

    def counts(self, start: int) -> Iterator[WindowCounts]:
        """Yield the counts of one window, in parts of some campaigns each."""
        return self._windows[start].snapshot().counts()

    def windows_with(self, campaign_id: str) -> int | None:
        """Return in how many retained windows a campaign has counts; null for `OTHER`."""
        return self._roster.windows_with(campaign_id) if campaign_id != OTHER else None

    @property
    def campaigns(self) -> int:
        """How many campaigns have counts under their own ids."""
        return len(self._roster)

    def __len__(self) -> int:
        """Return the number of cells."""
        return sum(map(len, self._windows.values()))

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(window.size for window in self._windows.values())
