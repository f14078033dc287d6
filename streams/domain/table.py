"""Every retained window of one partition, and what of it must be written down.

A window that is being counted in is kept as changing cells; what changed it is in the log of
blocks. Once it is closed and quiet it is settled: its pages are written to the changelog topic. So
a cell is written about once, however often it changed, and costs little more than its bytes.

Reading back: the pages, then from the log the blocks that unsettled windows got since they were
last settled. The clock's record says which windows these are, and from where in the log.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Annotated, NamedTuple

import msgspec
import orjson

from streams.domain.buckets import Bucket, BucketRecord, Snapshot, Window, read_bucket
from streams.domain.counts import OTHER, Cell
from streams.domain.emission import Emission, WindowResult
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import PartialCounts, WindowCounts
from streams.domain.roster import Roster
from streams.domain.transitions import rfc3339
from streams.domain.watermark import Watermark
from streams.domain.windows import WindowPolicy
from streams.errors import FormatError

CHECKPOINT_KEY = orjson.dumps(("clock",))
FORMAT = 4
"""Version of what is written to the changelog topic for windows."""
QUIET_S = 2.0
"""A closed window is settled when nothing has changed it for so long (s, wall clock)."""
UNQUIET_S = 10.0
"""A closed window whose results are emitted is settled after so long (s) though it is not quiet, so
that events that come late all the time delay no result."""
SETTLED_AT_ONCE = 10_000
"""Campaigns that are written within some 100 ms, if they are in several windows."""
LONGEST_TAIL = 1_000_000
"""Counts in the log that may have to be read again; with more, open windows are settled too."""
MOST_UNSETTLED = 4_096
"""Windows that the clock's record names; with more, all of them are settled."""


class _Format(msgspec.Struct):
    """The part of the clock's record that every version writes."""

    format: int


class _Checkpoint(msgspec.Struct):
    """What the changelog topic has for the clock.

    `size` is that of the windows (s); `event_time` and `inputs`, event times by source partition,
    are ms. `unsettled` has, by a window's start (s), its `since` and `late_from`.
    """

    format: int
    size: Annotated[int, msgspec.Meta(gt=0)]
    event_time: int
    inputs: dict[int, int]
    unsettled: dict[int, tuple[int, int | None]]


_decode_format = msgspec.json.Decoder(_Format).decode
_decode_clock = msgspec.json.Decoder(_Checkpoint).decode


class Folded(NamedTuple):
    """Events counted under `OTHER`: of names, or of whole campaigns, that were too many."""

    names: int = 0
    campaigns: int = 0


class WindowTable:
    """The windows of one partition of campaigns.

    Args:
        policy: when windows close and expire.
        clock: the partition's event time.
        limits: how many names and campaigns are kept apart.
        emits: whether results of closed windows are emitted.

    Attributes:
        late_events: that were counted after their window was closed, or were too late for that.
        folded: events that were counted under `OTHER`.
    """

    def __init__(
        self,
        policy: WindowPolicy,
        clock: Watermark,
        limits: Limits = DEFAULT_LIMITS,
        *,
        emits: bool = False,
    ) -> None:
        self._policy = policy
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
        self.clock = clock
        self._windows: dict[int, Window] = {}
        self._open: set[int] = set()
        self._gone: dict[int, set[BucketRecord]] = {}
        """Windows that expired, and which records of them were written."""
        self._anew: set[int] = set()
        """Windows that have to be written whatever else is due."""
        self._is_expiring = False
        """Whether windows that have expired wait until they are emitted."""
        self._moved = False
        """Whether the clock's record has to be written."""
        self._rows = 0
        self._pages: dict[int, dict[BucketRecord, Bucket]] = {}
        self._clock_record: _Checkpoint | None = None
        self._written_windows = policy
        """Of the size that windows had which were read back."""
        self.late_events = 0
        self.folded = Folded()
        self.generation = 0
        """Goes up whenever a window opens, closes or expires."""

    # Counting

    def add(self, counts: WindowCounts, offset: int, now: float) -> WindowCounts | None:
        """Add counts to a window.

        Counts for a closed window correct it, and are marked as late; for one that has expired
        they are too late.

        Args:
            counts: of one window.
            offset: where in the log they are or, if they are yet to be written, will be.
            now: wall-clock time (s, UTC).

        Returns:
            The counts under the campaigns that they were added to; null if the window has expired.
        """
        start = self._policy.start_of(counts.start * 1000)
        self._moved = True
        if self._policy.is_expired(start, self.clock.event_time):
            self.late_events += counts.events
            return None
        window = self._windows.get(start)
        if window is None:
            window = self._windows[start] = self._new_window(start)
            self.generation += 1
            self._open.add(start)
            self._close_if_over(window, offset)
        late = window.late_from is not None
        if late:
            self.late_events += counts.events
        return self._change(window, counts, offset, now, late=late)

    def _new_window(self, start: int, pages: Iterable[Sequence[Bucket]] = ()) -> Window:
        return Window(start, pages, self._limits, emits=self._emits)

    def _change(
        self, window: Window, counts: WindowCounts, offset: int, now: float, *, late: bool
    ) -> WindowCounts:
        """Add counts to a window; return them under the campaigns that they were added to."""
        self._mark_changed(window, counts, offset, now)
        admitted = self._roster.admit(counts)
        added = window.add(admitted.counts, late=late)
        self._roster.appear(added.campaigns)
        before = self.folded
        self.folded = Folded(before.names + added.folded, before.campaigns + admitted.folded)
        return admitted.counts

    def _mark_changed(self, window: Window, counts: WindowCounts, offset: int, now: float) -> None:
        if window.since is None:
            window.since = offset
            window.rows_before = self._rows
        window.changed_at = now
        self._rows += counts.rows

    def advance(self, now: float, offset: int) -> None:
        """Move event time on: close windows, and drop those that expire.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the log, at which the next counts will be.
        """
        last_close = self._policy.closes_at(max(self._windows, default=0))
        if self.clock.advance(now, last_close):
            self._moved = True
            self._close_and_expire(offset)
        elif self._is_expiring:
            self._expire()

    def _close_and_expire(self, offset: int) -> None:
        for start in sorted(self._open):
            self._close_if_over(self._windows[start], offset)
        self._expire()

    def _expire(self) -> None:
        """Drop the windows that have expired, but not before their results are emitted."""
        self._is_expiring = False
        for start in self.starts():
            if not self._policy.is_expired(start, self.clock.event_time):
                break
            if self._emits and not self._windows[start].is_emitted:
                self._is_expiring = True
                self._anew.add(start)
                continue
            window = self._windows.pop(start)
            self._roster.leave(name for name, _ in window.campaigns())
            written = window.written
            self.generation += 1
            # Of shorter windows, with the same start, there may be pages too.
            self._gone[start] = written | self._gone.get(start, set())
            self._anew.discard(start)
            self._to_emit.discard(start)
            self._moved = True

    def _close_if_over(self, window: Window, offset: int) -> None:
        if self._policy.is_closed(window.start, self.clock.event_time):
            window.late_from = offset
            self._open.discard(window.start)
            self._to_emit.add(window.start)
            self.generation += 1
            self._moved = True

    # Written down

    def take_changes(self, now: float) -> Iterator[tuple[bytes, bytes | None]]:
        """Hand out what has to be written with the offset of the last block that was added.

        Args:
            now: wall-clock time (s, UTC).

        Yields:
            Keys and values for the changelog topic; all of them have to be written together.
        """
        gone, self._gone = self._gone, {}
        for start, written in gone.items():
            yield from ((bucket_key(start, *record), None) for record in sorted(written))
        emission = Emission()
        for start in sorted(self._due(now)):
            self._moved = True
            closed = self._emits and start not in self._open
            if closed:
                self._to_emit.add(start)
            for record, value in self._windows[start].settle(emission if closed else None):
                yield bucket_key(start, *record), value
        if self._emits:
            yield from self._emit(emission)
        if self._moved:
            self._moved = False
            yield CHECKPOINT_KEY, self._write_checkpoint()

    def _emit(self, emission: Emission) -> Iterator[tuple[bytes, bytes | None]]:
        """Emit what is left of closed windows; yield what has to be written with the results."""
        for start in sorted(self._to_emit):
            window = self._windows[start]
            for record, value in window.emit(emission):
                self._moved = True
                yield bucket_key(start, *record), value
            if window.is_emitted:
                self._to_emit.discard(start)
        self._results += emission.results

    def take_results(self) -> list[WindowResult]:
        """Hand out the results of closed windows that have to be written with the last changes."""
        results, self._results = self._results, []
        return results

    def _due(self, now: float) -> set[int]:
        """Return the windows to settle: the quiet ones; if the tail of the log is long, more."""
        unsettled = {s: w for s, w in self._windows.items() if w.since is not None}
        oldest = min((w.rows_before for w in unsettled.values()), default=self._rows)
        enough = self._rows - LONGEST_TAIL // 2 if self._rows - oldest > LONGEST_TAIL else -1
        anew, self._anew = self._anew, set()
        if len(unsettled) > MOST_UNSETTLED:
            return anew | unsettled.keys()
        long_ago = {start for start, window in unsettled.items() if window.rows_before < enough}
        closed = {s: w for s, w in sorted(unsettled.items()) if s not in self._open}
        quiet = (
            start
            for start, window in closed.items()
            if now - window.changed_at >= QUIET_S or self._has_waited(start, now)
        )
        if self._emits:
            self._unquiet = {start: self._unquiet.get(start, now) for start in closed}
        return anew.union(long_ago, self._at_once(quiet))

    def _has_waited(self, start: int, now: float) -> bool:
        """Tell whether a closed window has been waiting to be emitted, though it is not quiet."""
        return now - self._unquiet.get(start, now) >= UNQUIET_S

    def _at_once(self, starts: Iterable[int]) -> Iterator[int]:
        """Yield windows of so many campaigns that others have a turn soon; the rest comes next."""
        campaigns = 0
        for start in starts:
            if campaigns >= SETTLED_AT_ONCE:
                return
            campaigns += self._windows[start].changing
            yield start

    def _write_checkpoint(self) -> bytes:
        record = {
            "format": FORMAT,
            "size": self._policy.size,
            "event_time": self.clock.event_time,
            "inputs": self.clock.times,
            "unsettled": {
                start: (window.since, window.late_from)
                for start, window in self._windows.items()
                if window.since is not None
            },
        }
        return orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS)

    # Read back

    def restore_bucket(self, start: int, record: BucketRecord, value: bytes | None) -> None:
        """Read one record of a page back; null removes it.

        Raises:
            ValueError: if the value is no page.
        """
        pages = self._pages.setdefault(start, {})
        if value is not None:
            pages[record] = read_bucket(value)
        else:
            pages.pop(record, None)

    def restore_checkpoint(self, value: bytes) -> None:
        """Read the clock's record back.

        Raises:
            FormatError: if it was written by a version, or for windows, that do not fit.
            MsgspecError: if it is none.
        """
        written = _decode_format(value).format
        if written != FORMAT:
            raise FormatError(
                f"the changelog topic has windows of format {written}, and this version of "
                f"the program reads {FORMAT}: start the version that wrote them, or read "
                "docs/operations.md"
            )
        record = _decode_clock(value)
        if self._policy.size % record.size:
            raise FormatError(
                f"windows.size: {self._policy.size} s, but the changelog topic has windows of "
                f"{record.size} s: only a multiple of that can be made of them; for any other "
                "size count anew, as docs/operations.md says"
            )
        self._clock_record = record

    def restored(self) -> int | None:
        """Go on with what was read back, once that is all there is.

        Returns:
            The offset from which the log has to be read again (`replay`); null if it has not.

        Raises:
            FormatError: if there are pages without the clock's record, or without others of
                their window.
        """
        record, self._clock_record = self._clock_record, None
        all_pages, self._pages = self._pages, {}
        if record is None:
            if any(all_pages.values()):
                raise FormatError(
                    "the changelog topic has windows, but not the record of the clock that is "
                    "written with them: count anew, as docs/operations.md says"
                )
            return None
        self.clock.restore(record.inputs, record.event_time)
        for start, pages in all_pages.items():
            if pages:
                window = self._new_window(start, _in_order(start, pages))
                self._roster.restore(window.campaigns())
                window.late_from = 0
                self._windows[start] = window
        for start, (since, late_from) in record.unsettled.items():
            window = self._windows.setdefault(start, self._new_window(start))
            window.since, window.late_from = since, late_from
        self._written_windows = replace(self._policy, size=record.size)
        return min((w.since for w in self._windows.values() if w.since is not None), default=None)

    def replay(self, block: PartialCounts, offset: int, now: float) -> None:
        """Add a block of the log again, as far as its counts are in no page that was written."""
        for counts in block.windows:
            # The log may have counts of shorter windows than those that were written since.
            window = self._windows.get(self._written_windows.start_of(counts.start * 1000))
            if window is not None and window.since is not None and offset >= window.since:
                late = window.late_from is not None and offset >= window.late_from
                self._change(window, counts, offset, now, late=late)

    def resume(self, now: float, offset: int) -> None:
        """Go on at an offset of the log, after everything before it was replayed.

        What was read back is as it was; from here on it is as this table's policy wants it.
        """
        if self._written_windows.size != self._policy.size:
            self._merge_windows(now, offset)
        for window in self._windows.values():
            if not self._policy.is_closed(window.start, self.clock.event_time):
                self._open_again(window)
            elif window.late_from is None:
                self._open.add(window.start)
            else:
                self._to_emit.add(window.start)
        self.generation += 1
        self._close_and_expire(offset)

    def _open_again(self, window: Window) -> None:
        self._open.add(window.start)
        if window.late_from is not None and window.since is not None:
            # The log does not tell any more which of its counts came late.
            self._anew.add(window.start)
        if self._emits and window.emit_again():
            self._anew.add(window.start)
        window.late_from = None

    def _merge_windows(self, now: float, offset: int) -> None:
        """Make longer windows of those that were read back."""
        shorter, self._windows = self._windows, {}
        self._gone = {start: window.written for start, window in shorter.items()}
        for _, old in sorted(shorter.items()):
            start = self._policy.start_of(old.start * 1000)
            window = self._windows.setdefault(start, self._new_window(start))
            window.late_from = offset
            for counts in old.snapshot().counts():
                self._mark_changed(window, counts, offset, now)
                window.add(counts, late=False)
        self._roster = Roster(self._limits.campaigns)
        for window in self._windows.values():
            self._roster.restore(window.campaigns())
        self._anew = set(self._windows)
        self._written_windows = self._policy

    # Asked

    def starts(self) -> list[int]:
        """Return the starts (s) of all retained windows, oldest first."""
        return sorted(self._windows)

    def is_open(self, start: int) -> bool:
        """Tell whether a window is still open."""
        return not self._policy.is_closed(start, self.clock.event_time)

    def open_starts(self) -> list[int]:
        """Return the starts (s) of the open windows, oldest first."""
        return sorted(self._open)

    def has(self, campaign_id: str, start: int) -> bool:
        """Tell whether a campaign has counts in a window."""
        window = self._windows.get(start)
        return window is not None and window.has(campaign_id)

    def knows(self, campaign_id: str) -> bool:
        """Tell whether any retained window has the campaign; newest first, as most are active."""
        return any(self.has(campaign_id, start) for start in reversed(self.starts()))

    def cell(self, campaign_id: str, start: int) -> Cell | None:
        """Return the counts of a campaign in one window, as they are now."""
        window = self._windows.get(start)
        return window.cell(campaign_id) if window is not None else None

    def events(self, campaign_id: str, start: int) -> int:
        """Return how many events of all kinds a campaign has in one window."""
        window = self._windows.get(start)
        return window.events(campaign_id) if window is not None else 0

    def cells(self, campaign_id: str, starts: Iterable[int]) -> Iterator[tuple[int, Cell]]:
        """Yield a campaign's counts in those of the windows in which it has any."""
        for start in starts:
            cell = self.cell(campaign_id, start)
            if cell is not None:
                yield start, cell

    def snapshot(self, start: int) -> Snapshot | None:
        """Return the counts of one window as they are now; null if it is not retained."""
        window = self._windows.get(start)
        return window.snapshot() if window is not None else None

    def campaigns_in(self, start: int) -> Iterator[str]:
        """Yield the campaigns that have counts in a window."""
        return (name for name, _ in self._windows[start].campaigns())

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


def _in_order(start: int, records: Mapping[BucketRecord, Bucket]) -> list[list[Bucket]]:
    """Return the records of each page of a window (s), in order.

    A campaign's page is found by how many there are.
    """
    pages = [
        [records[each] for each in of_one]
        for _, of_one in groupby(sorted(records), key=attrgetter("page"))
    ]
    expected = {
        BucketRecord(page, part) for page, of in enumerate(pages) for part in range(len(of))
    }
    missing = expected - records.keys()
    if missing:
        raise FormatError(
            f"the changelog topic has page {max(records).page} of the window that begins at "
            f"{rfc3339(start)}, but not page {min(missing).page}: count anew, as "
            "docs/operations.md says"
        )
    return pages


def bucket_key(start: int, page: int, part: int = 0) -> bytes:
    """Return the key, on the changelog topic, of one record of a page of a window."""
    return orjson.dumps(("page", start, page, part) if part else ("page", start, page))
