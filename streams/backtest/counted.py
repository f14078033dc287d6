"""Lines of counts become partial counts, and these become transitions.

A commit has the lines that have arrived since the one before it. An event time that is ahead of
the present moves event time no further than the present; and what is too far ahead, or older than
what is retained, is rejected, as by a worker.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.backtest.arrivals import Arrivals, BacktestSettings
from streams.backtest.counted_lines import CountedLine, Lines
from streams.backtest.event_times import EventTimes
from streams.backtest.line_columns import Integers
from streams.backtest.line_commits import LineCommits
from streams.backtest.task import BacktestTask, Decided
from streams.domain.events import Reason
from streams.errors import UserError

MOST_COUNTS, MOST_NAMES = 65_536, 500_000
"""Different counts that are known, and campaigns or count keys; then all are learned anew."""
NO_TIME = 0
"""Instead of the event time of a line that has none: all are later."""
AT_ONCE = 10_000
"""Lines that are taken from an iterable at once."""


class _Arrived(NamedTuple):
    """Lines of one block, their times of arrival (ms), and those of their commits (ms)."""

    block: Lines
    times: Integers
    commits: Integers

    def at(self, first: int, end: int) -> "_Arrived":
        """Return the lines at these positions."""
        block = Lines(self.block.file, self.block.first + first, self.block.lines[first:end])
        return _Arrived(block, self.times[first:end], self.commits[first:end])


class CountedArrivals(Arrivals[Lines]):
    """Lines of counts, on their way through a task.

    Args:
        settings: of the backtest.
    """

    def __init__(self, settings: BacktestSettings) -> None:
        super().__init__(settings)
        self._event_times = EventTimes(settings.ingest)
        self._commits: LineCommits | None = None
        self._waiting: list[_Arrived] = []
        """Lines of one commit: more may come."""

    def _begin(self, at: int) -> BacktestTask:
        task = super()._begin(at)
        if self._commits is None:
            settings = self.settings.partition
            self._commits = LineCommits(task, settings, self._note_unrecognised)
        return task

    def add(self, block: Lines) -> Iterator[Decided]:
        """Let lines arrive; yield what is decided before the last of them is committed.

        Raises:
            UserError: a line comes before the one ahead of it.
        """
        lines = block.lines
        if not lines:
            return
        task = self._begin(lines[0].at)
        seen = self.seen
        times = np.array([line.at for line in lines], np.int64)
        wrong = _first_disorder(seen.last_at, times)
        right = times[:wrong]
        if len(right):
            yield from self._arrive(_Arrived(block, right, task.commits_of(right)))
            seen.last_at = right.item(-1)
        if wrong is not None:
            raise UserError(_disorder(block, lines[wrong], seen.last_at))
        seen.arrivals += len(lines)

    def _arrive(self, arrived: _Arrived) -> Iterator[Decided]:
        """Commit lines of which no more can come in the same commit; let the others wait."""
        last = arrived.commits.item(-1)
        if last > self._until:
            whole = int(arrived.commits.searchsorted(last))
            yield from self._count([*self._waiting, arrived.at(0, whole)])
            if self._commits is not None:
                yield from self._commits.go_on_to(last)
            self._waiting.clear()
            arrived = arrived.at(whole, len(arrived.commits))
            self._until = last
        self._waiting.append(arrived)

    def _commit(self) -> Iterator[Decided]:
        yield from self._count(self._waiting)
        self._waiting.clear()
        if self._commits is not None:
            yield from self._commits.commit_kept()

    def _count(self, arrived: Sequence[_Arrived]) -> Iterator[Decided]:
        """Count lines of whole commits, but for those that a worker rejects."""
        lines = [line for each in arrived for line in each.block.lines]
        to_commit = self._commits
        if to_commit is None or not lines:
            return
        known = to_commit.vocabulary
        if max(known.campaigns, known.count_keys) > MOST_NAMES:
            to_commit.forget_names()
            known = to_commit.vocabulary
        elif known.counts > MOST_COUNTS:
            to_commit.forget_counts()
        commits = np.concatenate([each.commits for each in arrived])
        arrivals = np.concatenate([each.times for each in arrived])
        given = np.array([line.event_time or NO_TIME for line in lines], np.int64)
        are_given = given != NO_TIME
        columns = known.columns(lines, commits, np.where(are_given, given, arrivals))
        are_empty = known.are_empty(columns)
        accepted = self._event_times.accept(columns.times, commits, are_given, are_empty)
        self._reject(Reason.EXPIRED, accepted.are_late, arrived)
        self._reject(Reason.IMPOSSIBLE_TIME, accepted.are_ahead, arrived)
        columns.newest = accepted.newest
        yield from to_commit.commit(columns.at(accepted.are_counted))

    def _reject(
        self, reason: Reason, which: NDArray[np.bool_], arrived: Sequence[_Arrived]
    ) -> None:
        if which.any():
            all_lines = [(each.block, line) for each in arrived for line in each.block.lines]
            for at in which.nonzero()[0].tolist():
                block, line = all_lines[at]
                sends = sum(counted[4] for counted in line.counts)
                self.seen.reject(reason, sends, block.place_of(line))


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


def _first_disorder(last_at: int, times: Integers) -> int | None:
    """Return the position of the first time that is less than the one before it; null for none."""
    (wrong,) = (np.diff(times, prepend=last_at) < 0).nonzero()
    return int(wrong[0]) if len(wrong) else None
