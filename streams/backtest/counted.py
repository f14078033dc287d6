"""Lines of counts become partial counts, and these become transitions.

The partial counts of one commit are as a worker's pre-aggregator hands them out: in columns, by
window and count key. As there, an event time that is ahead of the present moves event time no
further than the present; and what is too far ahead, or older than what is retained, is rejected.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

from streams.backtest.arrivals import Arrivals, BacktestSettings
from streams.backtest.counted_lines import CountedLine, Lines
from streams.backtest.task import Decided
from streams.domain.deferrable import NOTHING, Deferrable
from streams.domain.events import EARLIEST_MS, Reason
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.errors import UserError

INPUT = 0
"""The one source partition that all counts are from."""
MOST_ROWS = 20_000
"""Counts that are added at once, though they could be deferred for longer."""

AT_ONCE = 1_000
"""Lines that are taken from an iterable at once."""
MOST_STATUSES = 10_000
"""Statuses of which it is remembered whether they are hits."""

_Key: TypeAlias = tuple[str, str | None, str | None, str | None]
_Growing: TypeAlias = tuple[Callable[[int], None], Callable[[int], None]]
"""How to add a campaign's position, and its count, to a column."""


class _Window:
    """Counts of one window, in columns that grow."""

    __slots__ = ("apps", "columns", "growing", "positions")

    def __init__(self) -> None:
        self.positions: dict[str, int] = {}
        self.apps: list[str | None] = []
        """By the campaign's position, its app."""
        self.columns: list[Column] = []
        self.growing: dict[_Key, _Growing] = {}

    def add_column(self, key: _Key) -> _Growing:
        """Add a column; an empty name stands for none, as in an event."""
        outcome, treatment, delivery, channel = key
        dimensions = Dimensions(outcome, treatment or None, delivery or None, channel or None)
        column = Column(dimensions, [], [])
        self.columns.append(column)
        growing = self.growing[key] = column.at.append, column.counts.append
        return growing

    def counts(self, start: int) -> WindowCounts:
        """Return the columns, as counts of the window that begins at `start` (s)."""
        apps: dict[str | None, int] = {}
        at_app = [apps.setdefault(app, len(apps)) for app in self.apps]
        return WindowCounts(start, list(self.positions), list(apps), at_app, self.columns)


class CountedArrivals(Arrivals[Lines]):
    """Lines of counts, on their way through a task.

    Args:
        settings: of the backtest.
    """

    def __init__(self, settings: BacktestSettings) -> None:
        super().__init__(settings)
        self._windows: dict[int, _Window] = {}
        """By start (s)."""
        self._rows = 0
        self._deferrable: Deferrable = NOTHING
        self._is_deferrable = False
        """Whether all that has arrived since the last commit is."""
        self._hits: dict[str, bool] = {}
        """Whether statuses are hits of any rule."""
        self._event_time = 0
        self._oldest, self._next_expiry = EARLIEST_MS, 0

    def add(self, block: Lines) -> Iterator[Decided]:  # noqa: C901, PLR0912, PLR0915 - the hot loop: in parts, it would be calls per line
        """Let lines arrive; yield what is decided before the last of them is committed.

        Raises:
            UserError: a line comes before the one ahead of it.
        """
        lines = block.lines
        if not lines:
            return
        self._begin(lines[0].at)
        seen, step_ms = self.seen, self.task.interval_ms
        size_ms = self.settings.ingest.windows.size * 1000
        skew_ms = self.settings.ingest.max_future_skew_ms
        until, last_at = self._until, seen.last_at
        event_time, rows = self._event_time, self._rows
        defers, deferrable = self._is_deferrable, self._deferrable
        with_alerts, waiting = deferrable.watched
        next_due, next_expiry = self.task.next_due, self._next_expiry
        # Event times from `first` up to `end` (ms) belong into `window`.
        first = end = 0
        window = _Window()
        positions, growing, apps = window.positions, window.growing, window.apps

        for line in lines:
            at = line.at
            if at > until:
                commit_at = -(-at // step_ms) * step_ms
                if commit_at < next_due and (not rows or (defers and rows < MOST_ROWS)):
                    until = commit_at
                else:
                    self._until, self._event_time, self._rows = until, event_time, rows
                    yield from self._next_commit(commit_at)
                    until, rows = self._until, 0
                    defers, deferrable = self._is_deferrable, self._deferrable
                    with_alerts, waiting = deferrable.watched
                    next_due = self.task.next_due
                    first = end = 0
            elif at < last_at:
                raise UserError(_disorder(block, line, last_at))
            last_at = at
            time = line.event_time
            if time is None:
                time = at
            elif not self._oldest <= time <= until + skew_ms:
                self._reject(block, line, time)
                continue
            if not first <= time < end:
                first = time - time % size_ms
                end = first + size_ms
                window = self._window(first // 1000)
                positions, growing, apps = window.positions, window.growing, window.apps
                defers = defers and first // 1000 in deferrable.starts
            name, app = line.campaign_id, line.app_id
            position = -1
            for counted in line.counts:
                count = counted[4]
                if not count:
                    continue
                key = counted[:4]
                column = growing.get(key)
                if column is None:
                    column = window.add_column(key)
                    defers = defers and not self._is_hit(key[0])
                if position < 0:
                    position = positions.setdefault(name, len(apps))
                    if position == len(apps):
                        apps.append(app)
                    elif app is not None:
                        apps[position] = app
                column[0](position)
                column[1](count)
                rows += 1
            if position >= 0:
                if time > event_time:
                    event_time = time if time <= until else until  # noqa: FURB136 - min is a call per line
                    if event_time >= next_expiry:
                        next_expiry = self._follow(event_time)
                if defers and (time >= deferrable.before or name in with_alerts or name in waiting):
                    defers = False

        self._until, self._event_time, self._rows = until, event_time, rows
        self._is_deferrable = defers
        seen.last_at = last_at
        seen.arrivals += len(lines)

    def _window(self, start: int) -> _Window:
        window = self._windows.get(start)
        if window is None:
            window = self._windows[start] = _Window()
        return window

    def _is_hit(self, status: str) -> bool:
        known = self._hits.get(status)
        if known is None:
            known = any(status in hits for hits in self._deferrable.hits)
            if len(self._hits) < MOST_STATUSES:
                self._hits[status] = known
        return known

    def _follow(self, event_time: int) -> int:
        """Work out which event times have expired (ms), and return when that changes."""
        windows = self.settings.ingest.windows
        oldest = windows.oldest_countable(event_time)
        self._oldest = max(EARLIEST_MS, oldest)
        self._next_expiry = windows.uncountable_from(oldest // 1000)
        return self._next_expiry

    def _reject(self, block: Lines, line: CountedLine, time: int) -> None:
        reason = Reason.EXPIRED if time < self._oldest else Reason.IMPOSSIBLE_TIME
        sends = sum(counted[4] for counted in line.counts)
        self.seen.reject(reason, sends, block.place_of(line))

    # Committed

    def _next_commit(self, commit_at: int) -> Iterator[Decided]:
        """Commit what has arrived, and go on to the commit at `commit_at` (ms)."""
        yield from self._commit()
        yield from self.task.pass_time(commit_at)
        self._deferrable = self.task.deferrable
        self._is_deferrable = bool(self._deferrable.starts)
        self._until = commit_at

    def _commit(self) -> Iterator[Decided]:
        windows, self._windows = self._windows, {}
        if self._rows:
            self._rows = 0
            made = [of_it.counts(start) for start, of_it in windows.items()]
            counts = PartialCounts(
                PARTIAL_COUNTS_VERSION,
                {INPUT: self._event_time},
                self._until,
                [each for each in made if each.campaigns],
            )
            self._note_unrecognised(counts)
            yield from self.task.commit(self._until, counts)


def transitions_of(
    lines: Iterable[CountedLine],
    settings: BacktestSettings,
    *,
    name: str = "counts",
    until: int = 0,
) -> Iterator[Decided]:
    """Yield what rules say of counts, wherever these come from, and when it is decided.

    Detectors that do not go by hits alone are given the counts of each commit as one record, as a
    worker's source task makes it.

    Args:
        lines: in the order of `at`; any iterable: only some are held at once.
        settings: of the backtest.
        name: where the lines are from, for errors.
        until: time goes on up to there (ms, UTC), without arrivals.

    Raises:
        UserError: a line comes before the one ahead of it.
    """
    arrivals, left, first = CountedArrivals(settings), iter(lines), 1
    while block := list(islice(left, AT_ONCE)):
        yield from arrivals.add(Lines(name, first, block))
        first += len(block)
    yield from arrivals.finish(until)


def _disorder(block: Lines, line: CountedLine, last_at: int) -> str:
    return (
        f"{block.place_of(line)}: at is {line.at}: expected lines in the order of at, and the one "
        f"before has {last_at}"
    )
