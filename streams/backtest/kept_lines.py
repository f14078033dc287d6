"""Lines that have arrived, and whose counts the windows do not have yet."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streams.backtest.line_columns import NO_APP, Integers, LineColumns, Vocabulary
from streams.domain.partial_counts import Column, WindowCounts
from streams.domain.rule_folds import KeptCount


class KeptLines:
    """Lines that a later commit is to have.

    Args:
        vocabulary: what the lines name and count.
        size_ms: of a window (ms).
    """

    def __init__(self, vocabulary: Vocabulary, size_ms: int) -> None:
        self._vocabulary = vocabulary
        self._size_ms = size_ms
        self._parts: list[LineColumns] = []
        self._lines = 0
        self._attempts = np.zeros(0, np.int64)
        """By campaign."""
        self._has_any = np.zeros(0, np.bool_)
        """Whether any lines are of a campaign."""

    def __len__(self) -> int:
        """Return how many lines there are."""
        return self._lines

    def add(self, lines: LineColumns) -> None:
        """Keep lines."""
        if len(lines):
            self._make_room()
            self._parts.append(lines)
            self._lines += len(lines)
            np.add.at(self._attempts, lines.campaigns, self._vocabulary.attempts(lines))
            self._has_any[lines.campaigns] = True

    def _make_room(self) -> None:
        more = self._vocabulary.campaigns - len(self._attempts)
        if more > 0:
            more += len(self._attempts) // 8
            self._attempts = np.concatenate((self._attempts, np.zeros(more, np.int64)))
            self._has_any = np.concatenate((self._has_any, np.zeros(more, np.bool_)))

    def attempts(self, campaigns: Integers) -> Integers:
        """Return the attempts of each of these campaigns."""
        self._make_room()
        return self._attempts[campaigns]

    def take_all(self) -> list[WindowCounts]:
        """Hand out all counts."""
        if not self._parts:
            return []
        lines = LineColumns.joined(self._parts)
        counts = window_counts(lines, self._vocabulary, self._size_ms)
        self._parts, self._lines = [], 0
        self._attempts[:] = 0
        self._has_any[:] = False
        return counts

    def take(self, campaigns: Integers) -> list[WindowCounts]:
        """Hand out the counts of some campaigns, and keep the others."""
        self._make_room()
        if not self._has_any[campaigns].any():
            return []
        lines = LineColumns.joined(self._parts)
        is_taken = np.isin(lines.campaigns, campaigns)
        self._parts = [lines.at(~is_taken)]
        self._lines = len(self._parts[0])
        self._attempts[campaigns] = 0
        self._has_any[campaigns] = False
        return window_counts(lines.at(is_taken), self._vocabulary, self._size_ms)

    def of(self, campaign: int) -> Iterator[KeptCount]:
        """Yield the counts of a campaign."""
        for lines in self._parts:
            yield from kept_counts(lines, campaign, self._vocabulary, self._size_ms)


def kept_counts(
    lines: LineColumns, campaign: int, vocabulary: Vocabulary, size_ms: int
) -> Iterator[KeptCount]:
    """Yield the counts that lines have of a campaign."""
    of_it = lines.at(lines.campaigns == campaign)
    for counts in window_counts(of_it, vocabulary, size_ms):
        for column in counts.columns:
            yield KeptCount(counts.start, column.dimensions, column.counts[0])


def window_counts(lines: LineColumns, vocabulary: Vocabulary, size_ms: int) -> list[WindowCounts]:
    """Return the counts of lines in columns, by window."""
    windows = lines.times // size_ms
    if not len(lines):
        return []
    first = windows.item(0)
    if (windows == first).all():
        return [_in_columns(lines, first * size_ms // 1000, vocabulary)]
    return [
        _in_columns(lines.at(windows == window), window * size_ms // 1000, vocabulary)
        for window in dict.fromkeys(windows.tolist())
    ]


def _in_columns(lines: LineColumns, start: int, vocabulary: Vocabulary) -> WindowCounts:
    """Return the counts of lines of the window from `start` (s) on."""
    campaigns, positions = _distinct(lines.campaigns)
    apps, at_app = _distinct(_newest_apps(lines, positions, len(campaigns)))
    entries = vocabulary.entries(lines)
    # Each count key has a column, and each campaign a place in it.
    cells, at_cell = _distinct(entries.keys * len(campaigns) + positions[entries.at])
    sums = np.zeros(len(cells), np.int64)
    np.add.at(sums, at_cell, entries.numbers)
    keys, at = np.divmod(cells, len(campaigns))
    ends = [*(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    begins = [0, *ends[:-1]]
    dimensions = vocabulary.dimensions
    columns = [
        Column(dimensions[keys.item(begin)], at[begin:end].tolist(), sums[begin:end].tolist())
        for begin, end in zip(begins, ends, strict=True)
    ]
    names = vocabulary.campaign_names
    return WindowCounts(
        start,
        [names[number] for number in campaigns.tolist()],
        [vocabulary.app_names[number] for number in apps.tolist()],
        at_app.tolist(),
        columns,
    )


def _distinct(numbers: Integers) -> tuple[Integers, Integers]:
    """Return the distinct numbers in order, and for each of all its position there."""
    order = numbers.argsort(kind="stable")
    in_order = numbers[order]
    is_first = np.ones(len(numbers), np.bool_)
    is_first[1:] = in_order[1:] != in_order[:-1]
    positions = np.empty(len(numbers), np.int64)
    positions[order] = is_first.cumsum() - 1
    return in_order[is_first], positions


def _newest_apps(lines: LineColumns, positions: Integers, size: int) -> Integers:
    """Return the app that the newest line of each campaign names, by the campaign's position."""
    apps = np.full(size, NO_APP)
    names_any: NDArray[np.bool_] = lines.apps != NO_APP
    apps[positions[names_any]] = lines.apps[names_any]
    return apps
