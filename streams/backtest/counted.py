"""Lines of counts become partial counts, and these become transitions.

The lines of one commit are sorted out together. Counts of campaigns to which nothing happens are
kept, added up, until a later commit has to have them: `streams.domain.deferrable` says why nothing
is decided otherwise. The others are, as a worker's pre-aggregator hands them out, in columns by
window and count key. As there, an event time that is ahead of the present moves event time no
further than the present; and what is too far ahead, or older than what is retained, is rejected.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from streams.backtest.arrivals import Arrivals, BacktestSettings
from streams.backtest.counted_lines import Counted, CountedLine, Lines
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
from streams.domain.rules import HitsOfAny
from streams.errors import UserError

INPUT = 0
"""The one source partition that all counts are from."""
MOST_KEPT = 200_000
"""Campaigns of which counts are kept, though they could be for longer."""
MOST_KNOWN = 65_536
"""Counts of lines of which it is remembered what they are; then all are worked out anew."""
MOST_COUNT_KEYS = 10_000
"""The same of count keys."""
AT_ONCE = 1_000
"""Lines that are taken from an iterable at once."""

_Sums: TypeAlias = dict[int, int]
"""By the number of the count key, how many sends."""
_Apps: TypeAlias = dict[str, str]
"""By campaign, the app that its newest line named."""


class _Known(NamedTuple):
    """What the counts of a line are.

    Attributes:
        counts: as they are in the line: as long as they are kept, no others have their identity.
        sums: by count key, above 0.
        is_hit: whether any of them are hits of any rule.
    """

    counts: Sequence[Counted]
    sums: _Sums
    is_hit: bool


class _CountKeys:
    """The count keys of all lines, by number.

    Args:
        hits: statuses that are hits of any rule.
    """

    def __init__(self, hits: HitsOfAny) -> None:
        self._hits = hits
        self._dimensions: list[Dimensions] = []
        self._numbers: dict[Dimensions, int] = {}
        self._known: dict[int, _Known] = {}
        """By the identity of a line's counts."""

    def known(self, lines: Iterable[CountedLine]) -> list[_Known]:
        """Return what the counts of each line are."""
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        get = self._known.get
        return [get(id(line.counts)) or self._learn(line.counts) for line in lines]

    def _learn(self, counts: Sequence[Counted]) -> _Known:
        sums: _Sums = {}
        is_hit = False
        for status, treatment, delivery, channel, count in counts:
            if count:
                # An empty name stands for none, as in an event.
                key = Dimensions(status, treatment or None, delivery or None, channel or None)
                number = self._numbers.setdefault(key, len(self._numbers))
                if number == len(self._dimensions):
                    self._dimensions.append(key)
                sums[number] = sums.get(number, 0) + count
                is_hit = is_hit or status in self._hits
        known = self._known[id(counts)] = _Known(counts, sums, is_hit)
        return known

    def window(self, start: int, window: "_Window") -> WindowCounts:
        """Return the sums of campaigns in columns, as counts of a window from `start` (s) on."""
        of_each, apps = window.sums, window.apps
        columns: dict[int, tuple[list[int], list[int]]] = {}
        for position, sums in enumerate(of_each.values()):
            for number, count in sums.items():
                column = columns.get(number)
                if column is None:
                    column = columns[number] = [], []
                column[0].append(position)
                column[1].append(count)
        numbers: dict[str | None, int] = {}
        at_app = [numbers.setdefault(apps.get(name), len(numbers)) for name in of_each]
        made = [Column(self._dimensions[number], *column) for number, column in columns.items()]
        return WindowCounts(start, list(of_each), list(numbers), at_app, made)

    def forget(self) -> None:
        """Forget all if they are too many; there must be no sums by their numbers any more."""
        if len(self._dimensions) > MOST_COUNT_KEYS:
            self._known.clear()
            self._numbers.clear()
            self._dimensions.clear()


class _Window:
    """Counts of campaigns in one window."""

    __slots__ = ("apps", "sums")

    def __init__(self) -> None:
        self.sums: dict[str, _Sums] = {}
        self.apps: _Apps = {}

    def take(self, campaigns: Iterable[str]) -> "_Window":
        """Return the counts of some campaigns, and keep those of others."""
        taken = _Window()
        for name in campaigns:
            sums = self.sums.pop(name, None)
            if sums is not None:
                taken.sums[name] = sums
                app = self.apps.pop(name, None)
                if app is not None:
                    taken.apps[name] = app
        return taken


_Windows: TypeAlias = dict[int, _Window]
"""By start (s)."""


def _has_any(windows: _Windows) -> bool:
    return any(window.sums for window in windows.values())


class CountedArrivals(Arrivals[Lines]):
    """Lines of counts, on their way through a task.

    Args:
        settings: of the backtest.
    """

    def __init__(self, settings: BacktestSettings) -> None:
        super().__init__(settings)
        partition = settings.partition
        self._keys = _CountKeys(HitsOfAny(partition.rules, partition.groups))
        self._arrived: list[Lines] = []
        """What the next commit may have."""
        self._kept: _Windows = {}
        """Counts that a later commit may have."""
        self._deferrable: Deferrable = NOTHING
        self._event_time = 0
        """How far it is (ms), with all that was sorted out:"""
        self._counted_at = 0
        """by the commit at this time (ms), the last one that had any counts."""
        self._oldest, self._next_expiry = EARLIEST_MS, 0

    def add(self, block: Lines) -> Iterator[Decided]:
        """Let lines arrive; yield what is decided before the last of them is committed.

        Raises:
            UserError: a line comes before the one ahead of it.
        """
        lines = block.lines
        if not lines:
            return
        self._begin(lines[0].at)
        seen = self.seen
        times = [line.at for line in lines]
        wrong = _first_disorder(seen.last_at, times)
        first, end = 0, len(lines) if wrong is None else wrong
        while first < end:
            until = bisect_right(times, self._until, first, end)
            if until > first:
                part = lines if until - first == len(lines) else lines[first:until]
                self._arrived.append(Lines(block.file, block.first + first, part))
                seen.last_at = times[until - 1]
                first = until
            if until < end:
                yield from self._go_on_to(times[until])
        if wrong is not None:
            raise UserError(_disorder(block, lines[wrong], seen.last_at))
        seen.arrivals += len(lines)

    def _go_on_to(self, at: int) -> Iterator[Decided]:
        """Let time go on to the commit of what arrives at `at` (ms)."""
        task = self.task
        commit_at = task.commit_of(at)
        yield from self._sort_out()
        if commit_at >= task.next_due:
            yield from self._commit_kept()
        yield from task.pass_time(commit_at)
        self._deferrable = task.deferrable
        self._until = commit_at

    def _commit(self) -> Iterator[Decided]:
        yield from self._sort_out()
        yield from self._commit_kept()

    # Sorted out

    def _sort_out(self) -> Iterator[Decided]:
        """Commit what has arrived, as far as that has to be; keep the rest."""
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        known = [self._keys.known(block.lines) for block in arrived]
        watched = {
            line.campaign_id
            for block, of_block in zip(arrived, known, strict=True)
            for line, each in zip(block.lines, of_block, strict=True)
            if each.is_hit
        }
        watched.update(*self._deferrable.watched)
        before = self._event_time, self._counted_at
        told: _Windows = {}
        is_due = False
        for block, of_block in zip(arrived, known, strict=True):
            is_due |= self._add(block, of_block, watched, told)
        if self._counted_at != self._until:
            # No line had any counts: a worker has no record of them, and observes no event time.
            return
        is_due |= sum([len(window.sums) for window in self._kept.values()]) > MOST_KEPT
        if is_due:
            yield from self._commit_all(told, before)
        else:
            yield from self._commit_few(told)

    def _commit_all(self, told: _Windows, before: tuple[int, int]) -> Iterator[Decided]:
        """Commit counts, and all that is kept.

        Args:
            told: the counts.
            before: event time (ms) as it was ahead of them, and the commit (ms) that knew it.
        """
        kept, self._kept = self._kept, {}
        if not _has_any(told):
            told = kept
        elif _has_any(kept):
            self.task.add(self._until, self._record(kept, *before))
        if _has_any(told):
            yield from self._decided(told)
        self._keys.forget()

    def _commit_few(self, told: _Windows) -> Iterator[Decided]:
        """Commit counts, and what is kept of the same campaigns."""
        names = {name for window in told.values() for name in window.sums}
        if names:
            kept = {start: window.take(names) for start, window in self._kept.items()}
            self.task.add_kept(self._until, self._columns(kept))
            counts = self._record(told, self._event_time, self._until)
            yield from self.task.commit_few(self._until, counts)

    def _add(  # noqa: C901 - the hot loop: in parts, it would be calls per line
        self, block: Lines, known: Sequence[_Known], watched: set[str], told: _Windows
    ) -> bool:
        """Sort out lines by window; tell whether they and all that is kept have to be committed.

        Args:
            block: the lines.
            known: what the counts of each are.
            watched: the campaigns whose counts have to be committed.
            told: gets these counts. The others are kept.
        """
        size_ms = self.settings.ingest.windows.size * 1000
        until = self._until
        latest = until + self.settings.ingest.max_future_skew_ms
        event_time = self._event_time
        starts, before = self._deferrable.starts, self._deferrable.before
        keeps = bool(starts)
        is_due = not keeps
        # Event times from `first` up to `end` (ms) belong into the windows `quiet` and `loud`; with
        # these times it is as due as known.
        first = end = 0
        quiet = loud = _Window()
        for line, each in zip(block.lines, known, strict=True):
            time = line.event_time
            if time is None:
                time = line.at
            elif not self._oldest <= time <= latest:
                self._reject(block, line, time)
                continue
            sums = each.sums
            if not sums:
                continue
            if time > event_time:
                event_time = time if time <= until else until  # noqa: FURB136 - min is a call per line
                if event_time >= self._next_expiry:
                    self._follow(event_time)
            if not first <= time < end:
                first = time - time % size_ms
                end = first + size_ms
                start = first // 1000
                is_due = is_due or start not in starts or time >= before
                if time < before < end:
                    end = before
                quiet = self._kept.setdefault(start, _Window())
                loud = told.setdefault(start, _Window())
            name = line.campaign_id
            window = quiet if keeps and name not in watched else loud
            of_it = window.sums.get(name)
            if of_it is None:
                window.sums[name] = sums.copy()
            else:
                for number, count in sums.items():
                    of_it[number] = of_it.get(number, 0) + count
            if line.app_id is not None:
                window.apps[name] = line.app_id
        self._event_time = event_time
        self._counted_at = until if end else self._counted_at
        return is_due

    def _follow(self, event_time: int) -> None:
        """Work out which event times have expired (ms), and when that changes."""
        windows = self.settings.ingest.windows
        oldest = windows.oldest_countable(event_time)
        self._oldest = max(EARLIEST_MS, oldest)
        self._next_expiry = windows.uncountable_from(oldest // 1000)

    def _reject(self, block: Lines, line: CountedLine, time: int) -> None:
        reason = Reason.EXPIRED if time < self._oldest else Reason.IMPOSSIBLE_TIME
        sends = sum(counted[4] for counted in line.counts)
        self.seen.reject(reason, sends, block.place_of(line))

    # Committed

    def _commit_kept(self) -> Iterator[Decided]:
        """Commit all that is kept, at the time of the last counts."""
        kept, self._kept = self._kept, {}
        if _has_any(kept):
            if self.task.committed_at < self._counted_at:
                yield from self._decided(kept)
            else:
                counts = self._record(kept, self._event_time, self._counted_at)
                self.task.add(self._counted_at, counts)
        self._keys.forget()

    def _decided(self, windows: _Windows) -> Iterator[Decided]:
        counts = self._record(windows, self._event_time, self._counted_at)
        return self.task.commit(self._counted_at, counts)

    def _record(self, windows: _Windows, event_time: int, at: int) -> PartialCounts:
        """Return counts as they are when event time is so far (ms), at the commit at `at` (ms)."""
        columns = self._columns(windows)
        return PartialCounts(PARTIAL_COUNTS_VERSION, {INPUT: event_time}, at, columns)

    def _columns(self, windows: _Windows) -> list[WindowCounts]:
        """Return counts in columns, to be applied next."""
        made = [self._keys.window(*each) for each in windows.items() if each[1].sums]
        self._note_unrecognised(made)
        return made


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


def _first_disorder(last_at: int, times: list[int]) -> int | None:
    """Return the position of the first time that is less than the one before it; null for none."""
    if times[0] >= last_at and times == sorted(times):
        return None
    pairs = zip([last_at, *times], times, strict=False)
    return next(at for at, (before, time) in enumerate(pairs) if time < before)
