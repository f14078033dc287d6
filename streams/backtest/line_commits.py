"""Which lines are committed when, and which are kept until later.

A worker commits ten times a second, and most commits change nothing: the counts of campaigns that
are as usual need not be in a window before one opens, closes or expires, or before the campaign is
evaluated (`streams.domain.deferrable` says why nothing is decided otherwise). So such lines are
kept as they are, many commits of them at once. Their hits are folded: those of many commits
together or, if with any of them a breach begins or ends, commit by commit.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from streams.backtest.kept_lines import (
    KeptLines,
    counts_by_commit,
    kept_counts,
    window_counts,
)
from streams.backtest.line_columns import Integers, IsCounted, LineColumns, Vocabulary, with_room
from streams.backtest.line_hits import CommitHits, LineHits
from streams.backtest.task import BacktestTask, Decided
from streams.domain.deferrable import NOTHING, Deferrable
from streams.domain.fold_records import KeptCount
from streams.domain.folds import DeferredHits
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts, WindowCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import HitsOfAny

INPUT = 0
"""The one source partition that all counts are from."""
MOST_KEPT = 500_000
"""Lines that are kept, though they could be for longer."""
LEAST_AT_ONCE, MOST_AT_ONCE = 64, 16_384
"""Lines that are looked at together: more and more, as long as no commit among them changes what is
deferrable."""
_NOT_KNOWN = -1


class LineCommits:
    """Commits lines to a task.

    Args:
        task: that they are for.
        settings: what is counted and which rules are evaluated.
        note: is called with all counts that are added to windows.

    Attributes:
        vocabulary: what the lines name and count.
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
        self._counted_at = 0
        """Time (ms) of the commit of the last line."""
        self._newest = 0
        """The newest event time (ms) of all lines."""
        self._told_at = 0
        """Time (ms) of the last commit that observed it."""
        self._at_once = LEAST_AT_ONCE
        self._forgotten_campaigns = self._forgotten_keys = 0
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
        self._campaigns = 0
        """How many there were when it was last noted which of them are watched."""
        self._watched: set[str] = set()
        """Campaigns of which counts without hits are not deferrable,"""
        self._is_watched = np.zeros(0, np.bool_)
        """and the same by number."""
        self._is_breaching: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_) for _ in hits]
        """By rule and number, the campaigns whose attempts are folded, with hits or not."""
        self._in_windows = np.zeros(0, np.int64)
        """By campaign, how many attempts there are in open windows; or `_NOT_KNOWN`."""

    def forget_counts(self) -> None:
        """Forget what lines count: all of it is learned anew."""
        self._add_kept()
        self.vocabulary.forget_counts()

    def forget_names(self) -> None:
        """Forget what lines name as well. Names that were forgotten may still have their places."""
        self._add_kept()
        self._forgotten_campaigns += self.vocabulary.campaigns
        self._forgotten_keys += self.vocabulary.most_keys
        self._begin_anew()

    # Decided

    def commit(self, lines: LineColumns) -> Iterator[Decided]:
        """Commit lines, of whole commits, as far as that has to be; keep the rest."""
        position = 0
        while position < len(lines):
            commit_at = lines.commits.item(position)
            yield from self.go_on_to(commit_at)
            self._follow_task()
            part = self._whole_commits(lines, position)
            deferrable = self._before_due(part)
            if deferrable:
                done = yield from self._defer(part.at(slice(0, deferrable)))
                at_once = 2 * self._at_once if done == deferrable else self._at_once // 2
                self._at_once = min(max(LEAST_AT_ONCE, at_once), MOST_AT_ONCE)
            else:
                done = int(part.commits.searchsorted(commit_at, "right"))
                due = part.at(slice(0, done))
                if self._may_be_late(due):
                    yield from self.commit_kept()
                yield from self._commit_all(due)
            position += done

    def go_on_to(self, commit_at: int) -> Iterator[Decided]:
        """Let time go on to a commit at `commit_at` (ms), through those that it makes by itself."""
        if commit_at >= self._task.next_due:
            yield from self.commit_kept()
        yield from self._task.pass_time(commit_at)

    def _whole_commits(self, lines: LineColumns, position: int) -> LineColumns:
        """Return some of the next lines, up to the end of a commit."""
        last = lines.commits.item(min(position + self._at_once, len(lines)) - 1)
        return lines.at(slice(position, int(lines.commits.searchsorted(last, "right"))))

    def _follow_task(self) -> None:
        """Take note of what is deferrable now."""
        deferrable = self._task.deferrable
        watched = deferrable.all_watched(folds_hits=self._folds_hits)
        campaigns = self.vocabulary.campaigns
        has_more = campaigns > self._campaigns
        self._in_windows = with_room(self._in_windows, campaigns, _NOT_KNOWN)
        if deferrable.starts != self._deferrable.starts:
            self._in_windows[:] = _NOT_KNOWN
        if has_more or watched != self._watched:
            # One that is watched may be named only now.
            self._is_watched = self._are_named(watched)
        if has_more or deferrable.breaching != self._deferrable.breaching:
            self._is_breaching = list(map(self._are_named, deferrable.breaching))
        self._campaigns = campaigns
        self._deferrable, self._watched = deferrable, watched

    def _are_named(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Return, by the number of a campaign, whether it is among these."""
        are_named = np.zeros(self.vocabulary.campaigns, np.bool_)
        numbers = map(self.vocabulary.number_of, names)
        are_named[[number for number in numbers if number is not None]] = True
        return are_named

    def _has_changed(self) -> bool:
        """Tell whether other counts are deferrable than before the last commit."""
        now, before = self._task.deferrable, self._deferrable
        if now is before:
            return False
        watched = now.all_watched(folds_hits=self._folds_hits)
        return not now.is_like(before) or watched != self._watched

    @property
    def _has_room(self) -> bool:
        """Whether there are places for all names, so that they are counted under no other.

        Where there are not, it depends on the order of all counts which names have places.
        """
        limits = self._settings.limits
        campaigns = self._forgotten_campaigns + self.vocabulary.campaigns
        keys = self._forgotten_keys + self.vocabulary.most_keys
        return 2 * campaigns <= limits.campaigns and keys <= min(limits.names, limits.values)

    def _before_due(self, lines: LineColumns) -> int:
        """Return how many lines come before the first commit that has to have all that is kept."""
        deferrable = self._deferrable
        windows = self._starts(lines)
        are_due = np.ones(len(lines), np.bool_)
        for start in deferrable.starts:
            are_due &= windows != start
        are_due |= (lines.times >= deferrable.before) | (lines.commits >= self._task.next_due)
        (due,) = are_due.nonzero()
        if not len(due):
            return len(lines)
        return int(lines.commits.searchsorted(lines.commits[due[0]]))

    def _may_be_late(self, lines: LineColumns) -> bool:
        """Tell whether lines are in a window that is not open, and older than the newest open one.

        What is kept may have closed it.
        """
        newest = max(self._deferrable.starts, default=np.inf)
        windows = self._starts(lines)
        return any(
            start not in self._deferrable.starts
            for start in np.unique(windows[windows < newest]).tolist()
        )

    def _starts(self, lines: LineColumns) -> Integers:
        """Return the start (s) of the window of each line."""
        return lines.times // self._size_ms * (self._size_ms // 1000)

    # Deferred

    def _defer(self, lines: LineColumns) -> Generator[Decided, None, int]:
        """Keep deferrable lines, and commit what is watched, until something else is deferrable.

        Returns:
            How many lines were kept or committed.
        """
        are_told = self._are_told(lines)
        told, quiet = lines.at(are_told), lines.at(~are_told)
        records = counts_by_commit(told, self.vocabulary, self._size_ms)
        hits = self._fold_or_split(quiet, is_all=not records)
        kept = 0
        for commit_at in sorted({*records, *hits}):
            if commit_at >= self._task.next_due:
                break
            end = int(lines.commits.searchsorted(commit_at, "right"))
            newest = lines.newest.item(end - 1)
            of_commit = hits.get(commit_at)
            has_turned = of_commit is not None and self._fold(commit_at, of_commit, quiet, newest)
            windows = records.get(commit_at)
            if windows is None and not has_turned:
                continue
            self._counted_at, self._newest = commit_at, newest
            if has_turned or not self._folds_hits:
                # What is told is not the whole of the same campaigns, or of what has turned.
                kept = self._keep(quiet, kept, commit_at)
            if has_turned:
                self._add_kept()
            yield from self._commit_told(windows or [])
            if has_turned or self._has_changed():
                self._keep(quiet, kept, commit_at)
                return end
        end = int(lines.commits.searchsorted(self._task.next_due))
        last = lines.commits.item(end - 1)
        self._keep(quiet, kept, last)
        self._counted_at, self._newest = last, lines.newest.item(end - 1)
        if len(self._kept) > MOST_KEPT:
            self._add_kept()
        return end

    def _keep(self, quiet: LineColumns, first: int, commit_at: int) -> int:
        """Keep lines from a position on, up to the commit at `commit_at` (ms).

        Returns:
            The position after them.
        """
        end = int(quiet.commits.searchsorted(commit_at, "right"))
        self._kept.add(quiet.at(slice(first, end)))
        return end

    def _are_told(self, lines: LineColumns) -> NDArray[np.bool_]:
        """Tell which lines have to be committed, with what is kept of the same campaigns."""
        if not self._has_room:
            return np.ones(len(lines), np.bool_)
        are_told = self._is_watched[lines.campaigns]
        if not self._folds_hits:
            # The other lines of the same campaign and commit as well.
            commits, _ = lines.numbered_commits()
            pairs = commits * self.vocabulary.campaigns + lines.campaigns
            for hits in self.vocabulary.hits(lines):
                are_told |= np.isin(pairs, pairs[hits > 0])
        return are_told

    def _fold_or_split(self, lines: LineColumns, *, is_all: bool) -> dict[int, CommitHits]:
        """Fold hits together if no rule is evaluated with any; or return them by commit (ms).

        Args:
            lines: the hits are in these.
            is_all: whether no other lines come meanwhile: only then they are folded together.
        """
        if not (self._folds_hits and len(lines)):
            return {}
        to_fold = self.vocabulary, self._is_breaching, self._size_ms
        hits = LineHits(lines, *to_fold, self._attempts, partial(self._kept_of, lines))
        if not hits or (is_all and self._task.add_series(hits.series())):
            return {}
        return {lines.commits.item(each.end - 1): each for each in hits.by_commit()}

    def _fold(self, commit_at: int, hits: CommitHits, lines: LineColumns, newest: int) -> bool:
        """Fold the hits of a commit; tell whether rules have to be evaluated then.

        Args:
            commit_at: time of the commit (ms).
            hits: of the commit.
            lines: that they are in.
            newest: event time (ms): the newest with this commit.
        """

        def kept(campaign_id: str) -> Iterator[KeptCount]:
            number = self.vocabulary.number_of(campaign_id)
            return self._kept_of(lines, number, hits.end) if number is not None else iter(())

        return self._task.add_hits(commit_at, DeferredHits(newest, hits.of_rules, kept))

    def _attempts(self, campaigns: Integers) -> Integers:
        """Return how many attempts each campaign has in open windows, with what is kept."""
        missing = campaigns[self._in_windows[campaigns] == _NOT_KNOWN]
        if len(missing):
            numbers = np.unique(missing)
            names = self.vocabulary.campaign_names
            self._in_windows[numbers] = self._task.attempts([names[n] for n in numbers.tolist()])
        attempts: Integers = self._in_windows[campaigns] + self._kept.attempts(campaigns)
        return attempts

    def _kept_of(self, lines: LineColumns, campaign: int, end: int) -> Iterator[KeptCount]:
        """Yield counts of a campaign that windows do not have yet, with the lines before `end`."""
        yield from self._kept.of(campaign)
        seen = lines.at(slice(0, end))
        yield from kept_counts(seen, campaign, self.vocabulary, self._size_ms)

    # Committed

    def _commit_told(self, windows: list[WindowCounts]) -> Iterator[Decided]:
        """Commit counts, and what is kept of the same campaigns."""
        names = {name for counts in windows for name in counts.campaigns}
        found = map(self.vocabulary.number_of, names)
        numbers = np.array([number for number in found if number is not None], np.int64)
        kept = self._kept.take(numbers)
        if kept:
            self._task.add_kept(self._counted_at, self._noted(kept))
        self._in_windows[numbers] = _NOT_KNOWN
        self._told_at = self._counted_at
        record = self._record(self._noted(windows))
        return self._task.commit_few(self._counted_at, record)

    def _commit_all(self, lines: LineColumns) -> Iterator[Decided]:
        """Commit all lines of a commit, and all that is kept."""
        self._add_kept()
        self._told_at = self._counted_at = lines.commits.item(-1)
        self._newest = lines.newest.item(-1)
        windows = window_counts(lines, self.vocabulary, self._size_ms)
        return self._task.commit(self._counted_at, self._record(self._noted(windows)))

    def commit_kept(self) -> Iterator[Decided]:
        """Commit all that is kept, at the time of the last lines."""
        self._add_kept()
        if self._told_at < self._counted_at:
            self._told_at = self._counted_at
            yield from self._task.commit(self._counted_at, self._record([]))

    def _add_kept(self) -> None:
        """Add all that is kept to the windows."""
        if len(self._kept):
            self._task.add_kept(self._counted_at, self._noted(self._kept.take_all()))
            self._in_windows[:] = _NOT_KNOWN

    def _record(self, windows: list[WindowCounts]) -> PartialCounts:
        event_times = {INPUT: self._newest}
        return PartialCounts(PARTIAL_COUNTS_VERSION, event_times, self._counted_at, windows)

    def _noted(self, windows: list[WindowCounts]) -> list[WindowCounts]:
        self._note(windows)
        return windows
