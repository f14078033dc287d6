from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.backtest.counted_lines import CountedLine
from streams.backtest.kept_lines import KeptLines, counts_by_commit, window_counts
from streams.backtest.line_columns import LineColumns, Vocabulary
from streams.domain.partial_counts import Dimensions, WindowCounts
from tests.backtest import worlds

SIZE_MS = 2_000
STEP = 250

Cells = Counter[tuple[int, str, Dimensions]]


def columns_of(lines: Sequence[CountedLine]) -> tuple[Vocabulary, LineColumns]:
    vocabulary = Vocabulary(lambda key: key.outcome != "DAILY_CAP", [])
    at = np.array([line.at for line in lines], np.int64)
    times = np.array([line.event_time or line.at for line in lines], np.int64)
    columns = vocabulary.columns(lines, -(-at // STEP) * STEP, times)
    return vocabulary, columns.at(~vocabulary.are_empty(columns))


def cells_of_lines(lines: Iterable[CountedLine]) -> Cells:
    cells = Cells()
    for line in lines:
        start = (line.event_time or line.at) // SIZE_MS * SIZE_MS // 1000
        for status, treatment, delivery, channel, count in line.counts:
            if count:
                key = Dimensions(status, treatment or None, delivery or None, channel or None)
                cells[start, line.campaign_id, key] += count
    return cells


def cells_of_windows(windows: Iterable[WindowCounts]) -> Cells:
    cells = Cells()
    for window in windows:
        assert len(set(window.campaigns)) == len(window.campaigns) == len(window.at_app)
        assert len({column.dimensions for column in window.columns}) == len(window.columns)
        for column in window.columns:
            for at, count in zip(column.at, column.counts, strict=True):
                cells[window.start, window.campaigns[at], column.dimensions] += count
    return cells


@given(worlds.lines())
def test_counts_of_lines_are_those_of_their_windows_and_commits(lines: list[CountedLine]) -> None:
    vocabulary, columns = columns_of(lines)
    windows = window_counts(columns, vocabulary, SIZE_MS)
    assert cells_of_windows(windows) == cells_of_lines(lines)
    by_commit = counts_by_commit(columns, vocabulary, SIZE_MS)
    expected: dict[int, list[CountedLine]] = {}
    for line in lines:
        if any(counted[4] for counted in line.counts):
            expected.setdefault(-(-line.at // STEP) * STEP, []).append(line)
    assert list(by_commit) == list(expected)
    for commit, found in by_commit.items():
        assert cells_of_windows(found) == cells_of_lines(expected[commit])


@given(worlds.lines(most=20))
def test_a_campaign_has_the_app_that_its_newest_line_of_the_window_names(
    lines: list[CountedLine],
) -> None:
    vocabulary, columns = columns_of(lines)
    expected: dict[tuple[int, str], str | None] = {}
    for line in lines:
        if any(counted[4] for counted in line.counts):
            key = (line.event_time or line.at) // SIZE_MS * SIZE_MS // 1000, line.campaign_id
            expected[key] = line.app_id or expected.get(key)
    found = {
        (window.start, name): window.apps[at]
        for window in window_counts(columns, vocabulary, SIZE_MS)
        for name, at in zip(window.campaigns, window.at_app, strict=True)
    }
    assert found == expected


@given(worlds.lines(), st.sampled_from([["a1"], ["a1", "b"], ["b"], []]), st.integers(1, 60))
def test_what_is_taken_and_what_stays_are_all(
    lines: list[CountedLine], taken: list[str], first: int
) -> None:
    vocabulary, columns = columns_of(lines)
    kept = KeptLines(vocabulary, SIZE_MS)
    kept.add(columns.at(slice(0, first)))
    kept.add(columns.at(slice(first, None)))
    all_names = np.arange(vocabulary.campaigns)
    attempts = kept.attempts(all_names).tolist()
    numbers = [n for n in map(vocabulary.number_of, taken) if n is not None]
    before = cells_of_windows(kept.take(np.array(numbers, np.int64)))
    of_them = [line for line in lines if line.campaign_id in taken]
    assert before == cells_of_lines(of_them)
    assert not kept.attempts(np.array(numbers, np.int64)).any()
    rest = cells_of_windows(kept.take_all())
    assert before + rest == cells_of_lines(lines)
    assert not len(kept)
    assert kept.take_all() == []
    for name, count in zip(vocabulary.campaign_names, attempts, strict=True):
        own = cells_of_lines(line for line in lines if line.campaign_id == name)
        assert count == sum(n for (_, _, key), n in own.items() if key.outcome != "DAILY_CAP")
