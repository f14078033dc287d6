"""Which lines are committed when, and which are kept until later.

A worker commits ten times a second, and most commits change nothing: the counts of campaigns that
are as usual need not be in a window before one opens, closes or expires, or before the campaign is
evaluated (`streams.domain.deferrable` says why nothing is decided otherwise). So such lines are
kept as they are, many commits of them at once. Their hits are folded, commit by commit.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from streams.backtest.kept_lines import KeptLines, kept_counts, window_counts
from streams.backtest.line_columns import Integers, IsCounted, LineColumns, Vocabulary
from streams.backtest.line_hits import hits_by_commit
from streams.backtest.task import BacktestTask, Decided
from streams.domain.deferrable import NOTHING, Deferrable
from streams.domain.folds import DeferredHits
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts, WindowCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rule_folds import KeptCount
from streams.domain.rules import HitsOfAny

INPUT = 0
"""The one source partition that all counts are from."""
MOST_KEPT = 500_000
"""Lines that are kept, though they could be for longer."""
LEAST_AT_ONCE, MOST_AT_ONCE = 64, 16_384
"""Lines that are looked at together: more and more, as long as none has to be committed."""
_NOT_KNOWN = -1


class LineCommits:
    """Commits lines to a task.

    Args:
        task: that they are for.
        settings: what is counted and which rules are evaluated.
        note: is called with all counts that are added to windows.

    Attributes:
        vocabulary: what the lines name and count.
        counted_at: time (ms) of the commit of the last line.
    """

    def __init__(
        self,
        task: BacktestTask,
        settings: PartitionSettings,
        note: Callable[[Sequence[WindowCounts]], None],
    ) -> None:
        self._task = task
        self._settings = settings
        self._note = note
        self._size_ms = settings.windows.size * 1000
        self.counted_at = 0
        self._newest = 0
        """The newest event time (ms) of all lines."""
        self._told_at = 0
        """Time (ms) of the last commit that observed it."""
        self._at_once = LEAST_AT_ONCE
        self._begin_anew()

    def _begin_anew(self) -> None:
        groups, rules = self._settings.groups, self._settings.rules
        any_hits = HitsOfAny(rules, groups)
        hits: Sequence[IsCounted] | None = self._task.deferrable_hits
        self._folds_hits = hits is not None
        if hits is None:
            hits = [lambda key: key.is_send_with(any_hits)]
        self.vocabulary = Vocabulary(groups.counts_attempts, hits)
        self._kept = KeptLines(self.vocabulary, self._size_ms)
        self._deferrable: Deferrable = NOTHING
        self._is_watched = np.zeros(0, np.bool_)
        """By campaign, whether counts without hits are not deferrable."""
        self._in_windows = np.zeros(0, np.int64)
        """By campaign, how many attempts there are in open windows; or `_NOT_KNOWN`."""

    def forget_names(self) -> None:
        """Forget what lines name and count: all of it is learned anew."""
        self._add_kept()
        self._begin_anew()

    # Decided

    def commit(self, lines: LineColumns) -> Iterator[Decided]:
        """Commit lines, of whole commits, as far as that has to be; keep the rest."""
        position = 0
        while position < len(lines):
            commit_at = lines.commits.item(position)
            if commit_at >= self._task.next_due:
                yield from self.commit_kept()
            yield from self._task.pass_time(commit_at)
            self._follow_task()
            part = self._whole_commits(lines, position)
            quiet = self._quiet(part)
            if quiet:
                self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
                position += yield from self._keep(part.at(slice(0, quiet)))
            else:
                self._at_once = max(self._at_once // 2, LEAST_AT_ONCE)
                end = int(part.commits.searchsorted(commit_at, "right"))
                yield from self._commit_now(part.at(slice(0, end)))
                position += end

    def _whole_commits(self, lines: LineColumns, position: int) -> LineColumns:
        """Return some of the next lines, up to the end of a commit."""
        last = lines.commits.item(min(position + self._at_once, len(lines)) - 1)
        return lines.at(slice(position, int(lines.commits.searchsorted(last, "right"))))

    def _follow_task(self) -> None:
        """Take note of what is deferrable now."""
        deferrable = self._task.deferrable
        campaigns = self.vocabulary.campaigns
        if len(self._is_watched) < campaigns:
            more = campaigns + campaigns // 8 - len(self._is_watched)
            self._is_watched = np.concatenate((self._is_watched, np.zeros(more, np.bool_)))
            self._in_windows = np.concatenate((self._in_windows, np.full(more, _NOT_KNOWN)))
        elif deferrable is self._deferrable:
            return
        if deferrable is not self._deferrable:
            self._in_windows[:] = _NOT_KNOWN
        self._deferrable = deferrable
        self._is_watched[:] = False
        number_of = self.vocabulary.number_of
        watched = [number_of(name) for names in deferrable.watched for name in names]
        self._is_watched[[number for number in watched if number is not None]] = True

    @property
    def _may_fold(self) -> bool:
        """Whether hits may be folded before windows have their counts.

        That is, if there are places for all names, so that they are counted under no other.
        """
        limits = self._settings.limits
        names = self.vocabulary
        return (
            self._folds_hits
            and names.count_keys <= min(limits.names, limits.values)
            and 2 * names.campaigns <= limits.campaigns
        )

    def _quiet(self, lines: LineColumns) -> int:
        """Return how many lines come before the first commit that has to be made."""
        is_loud = self._are_due(lines) | self._are_watched(lines)
        (loud,) = is_loud.nonzero()
        if not len(loud):
            return len(lines)
        return int(lines.commits.searchsorted(lines.commits[loud[0]]))

    def _are_due(self, lines: LineColumns) -> NDArray[np.bool_]:
        """Tell which lines have to be committed with all that is kept."""
        starts, before, _ = self._deferrable
        are_due = (lines.times >= before) | (lines.commits >= self._task.next_due)
        windows = lines.times // self._size_ms * (self._size_ms // 1000)
        is_open = np.zeros(len(lines), np.bool_)
        for start in starts:
            is_open |= windows == start
        return are_due | ~is_open

    def _are_watched(self, lines: LineColumns) -> NDArray[np.bool_]:
        """Tell which lines have to be committed, with what is kept of the same campaigns."""
        are_watched = self._is_watched[lines.campaigns]
        if not self._may_fold:
            for hits in self.vocabulary.hits(lines):
                are_watched |= hits > 0
        return are_watched

    # Kept

    def _keep(self, lines: LineColumns) -> Iterator[Decided]:
        """Keep lines, and fold their hits, up to the first commit that leads to an evaluation.

        Returns:
            How many lines were kept.
        """
        folded, has_turned = self._fold(lines)
        kept = lines.at(slice(0, folded))
        self._kept.add(kept)
        self._count(kept)
        if has_turned:
            self._add_kept()
            yield from self._commit_event_time()
        elif len(self._kept) > MOST_KEPT:
            self._add_kept()
        return folded

    def _count(self, lines: LineColumns) -> None:
        self.counted_at = lines.commits.item(-1)
        self._newest = lines.newest.item(-1)

    def _fold(self, lines: LineColumns) -> tuple[int, bool]:
        """Fold the hits of lines, commit by commit, until rules have to be evaluated.

        Returns:
            How many lines were folded, and whether rules have to be evaluated then.
        """
        if self._may_fold:
            for commit in hits_by_commit(lines, self.vocabulary, self._size_ms, self._attempts):
                newest = lines.newest.item(commit.end - 1)
                kept = partial(self._kept_of, lines, commit.end)
                if self._task.add_hits(DeferredHits(newest, commit.of_rules, kept)):
                    return commit.end, True
        return len(lines), False

    def _attempts(self, campaigns: Integers) -> Integers:
        """Return how many attempts each campaign has in open windows, with what is kept."""
        missing = campaigns[self._in_windows[campaigns] == _NOT_KNOWN]
        if len(missing):
            numbers = np.unique(missing)
            names = self.vocabulary.campaign_names
            self._in_windows[numbers] = self._task.attempts([names[n] for n in numbers.tolist()])
        attempts: Integers = self._in_windows[campaigns] + self._kept.attempts(campaigns)
        return attempts

    def _kept_of(self, lines: LineColumns, end: int, campaign_id: str) -> Iterator[KeptCount]:
        """Yield the counts that windows do not have yet, with the lines before `end`."""
        number = self.vocabulary.number_of(campaign_id)
        if number is not None:
            yield from self._kept.of(number)
            seen = lines.at(slice(0, end))
            yield from kept_counts(seen, number, self.vocabulary, self._size_ms)

    # Committed

    def commit_kept(self) -> Iterator[Decided]:
        """Commit all that is kept, at the time of the last lines."""
        self._add_kept()
        if self._told_at < self.counted_at:
            yield from self._commit_event_time()

    def _add_kept(self) -> None:
        """Add all that is kept to the windows."""
        if len(self._kept):
            self._task.add_kept(self.counted_at, self._noted(self._kept.take_all()))
            self._in_windows[:] = _NOT_KNOWN

    def _commit_event_time(self) -> Iterator[Decided]:
        """Commit at the time of the last lines, whose counts the windows have."""
        self._told_at = self.counted_at
        yield from self._task.commit(self.counted_at, self._record([]))

    def _commit_now(self, lines: LineColumns) -> Iterator[Decided]:
        """Commit lines of one commit."""
        if self._are_due(lines).any():
            self._add_kept()
            self._count(lines)
            self._told_at = self.counted_at
            yield from self._task.commit(self.counted_at, self._record(self._counts_of(lines)))
            return
        numbers = np.unique(lines.campaigns[self._are_watched(lines)])
        is_told = np.isin(lines.campaigns, numbers)
        quiet = lines.at(~is_told)
        _, has_turned = self._fold(quiet)
        self._kept.add(quiet)
        self._count(lines)
        if has_turned:
            self._add_kept()
        else:
            self._task.add_kept(self.counted_at, self._noted(self._kept.take(numbers)))
            self._in_windows[numbers] = _NOT_KNOWN
        self._told_at = self.counted_at
        record = self._record(self._counts_of(lines.at(is_told)))
        yield from self._task.commit_few(self.counted_at, record)

    def _record(self, windows: list[WindowCounts]) -> PartialCounts:
        event_times = {INPUT: self._newest}
        return PartialCounts(PARTIAL_COUNTS_VERSION, event_times, self.counted_at, windows)

    def _counts_of(self, lines: LineColumns) -> list[WindowCounts]:
        return self._noted(window_counts(lines, self.vocabulary, self._size_ms))

    def _noted(self, windows: list[WindowCounts]) -> list[WindowCounts]:
        self._note(windows)
        return windows
