"""Lines that have arrived, and whose counts the windows do not have yet."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.backtest.line_columns import NO_APP, Integers, LineColumns, Vocabulary, with_room
from streams.domain.arrays import are_new, stable_order
from streams.domain.fold_records import KeptCount
from streams.domain.partial_counts import Column, WindowCounts


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
        campaigns = self._vocabulary.campaigns
        self._attempts = with_room(self._attempts, campaigns, 0)
        self._has_any = with_room(self._has_any, campaigns, 0)

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
    by_window = _by_group(lines, lines.times // size_ms, vocabulary)
    return [_of_window(counts, window * size_ms) for window, counts in by_window]


def counts_by_commit(
    lines: LineColumns, vocabulary: Vocabulary, size_ms: int
) -> dict[int, list[WindowCounts]]:
    """Return the counts of lines in columns, by commit (ms) and window."""
    if not len(lines):
        return {}
    windows = lines.times // size_ms
    oldest = int(windows.min())
    many = int(windows.max()) - oldest + 1
    numbers, ends = lines.numbered_commits()
    by_commit: dict[int, list[WindowCounts]] = {}
    for group, counts in _by_group(lines, numbers * many + windows - oldest, vocabulary):
        number, window = divmod(group, many)
        of_commit = by_commit.setdefault(lines.commits.item(ends[number] - 1), [])
        of_commit.append(_of_window(counts, (oldest + window) * size_ms))
    return by_commit


def _of_window(counts: WindowCounts, start_ms: int) -> WindowCounts:
    counts.start = start_ms // 1000
    return counts


def _by_group(
    lines: LineColumns, groups: Integers, vocabulary: Vocabulary
) -> Iterator[tuple[int, WindowCounts]]:
    """Yield the counts of lines in columns, by the group of the line; none says which window."""
    if not len(lines):
        return
    # Groups, campaigns in them and count keys are in the order in which they first came: where
    # there are not places for all of them, that decides which have one.
    distinct = _distinct(groups)
    by_first = distinct.first.argsort()
    groups = by_first.argsort()[distinct.positions]
    # A campaign of a group has a place; those of a group follow one another.
    found = _distinct(groups * vocabulary.campaigns + lines.campaigns)
    in_order = np.lexsort((found.first, found.numbers // vocabulary.campaigns))
    place_of_line = in_order.argsort()[found.positions]
    group_of, campaigns = np.divmod(found.numbers[in_order], vocabulary.campaigns)
    first_of = group_of.searchsorted(group_of)
    columns = _columns(lines, place_of_line, first_of, vocabulary)
    apps = _newest_apps(lines, place_of_line, len(campaigns))
    names, app_names = vocabulary.campaign_names, vocabulary.app_names
    ends = [*columns, len(campaigns)][1:]
    for (first, of_group), end in zip(columns.items(), ends, strict=True):
        of_campaigns, of_apps = campaigns[first:end].tolist(), apps[first:end].tolist()
        position_of: dict[int, int] = {}
        at_app = [position_of.setdefault(app, len(position_of)) for app in of_apps]
        in_columns = WindowCounts(
            0,
            [names[campaign] for campaign in of_campaigns],
            [app_names[app] for app in position_of],
            at_app,
            of_group,
        )
        yield distinct.numbers.item(by_first[group_of[first]]), in_columns


def _columns(
    lines: LineColumns, place_of_line: Integers, first_of: Integers, vocabulary: Vocabulary
) -> dict[int, list[Column]]:
    """Return the counts of lines by count key, for each group.

    Args:
        lines: the lines.
        place_of_line: the place of each one's campaign.
        first_of: for each place, the first place of its group: it stands for the group.
        vocabulary: what lines count.
    """
    entries = vocabulary.entries(lines)
    place_of = place_of_line[entries.at]
    many_places, many_keys = len(first_of), len(vocabulary.dimensions)
    column_of = first_of[place_of] * many_keys + entries.keys
    cells = _distinct(column_of * many_places + place_of)
    sums = np.zeros(len(cells.numbers), np.int64)
    np.add.at(sums, cells.positions, entries.numbers)
    of_cells, places = np.divmod(cells.numbers, many_places)
    (changes,) = (of_cells[1:] != of_cells[:-1]).nonzero()
    begins = np.concatenate(([0], changes + 1))
    ends = [*begins[1:].tolist(), len(of_cells)]
    at, counts = (places - first_of[places]).tolist(), sums.tolist()
    columns: dict[int, list[Column]] = {}
    firsts = np.minimum.reduceat(cells.first, begins)
    for which in np.lexsort((firsts, of_cells[begins] // many_keys)).tolist():
        begin, end = begins.item(which), ends[which]
        group, key = divmod(of_cells.item(begin), many_keys)
        column = Column(vocabulary.dimensions[key], at[begin:end], counts[begin:end])
        columns.setdefault(group, []).append(column)
    return columns


class _Distinct(NamedTuple):
    """The distinct ones of some numbers.

    Attributes:
        numbers: in order.
        first: where each of them first is.
        positions: for each of all numbers, its position among these.
    """

    numbers: Integers
    first: Integers
    positions: Integers


def _distinct(numbers: Integers) -> _Distinct:
    order = stable_order(numbers)
    in_order = numbers[order]
    is_first = are_new(in_order)
    positions = np.empty(len(numbers), np.int64)
    positions[order] = is_first.cumsum() - 1
    return _Distinct(in_order[is_first], order[is_first], positions)


def _newest_apps(lines: LineColumns, positions: Integers, size: int) -> Integers:
    """Return the app that the newest line of each campaign names, by the campaign's position."""
    apps = np.full(size, NO_APP)
    names_any: NDArray[np.bool_] = lines.apps != NO_APP
    apps[positions[names_any]] = lines.apps[names_any]
    return apps
