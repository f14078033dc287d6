import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.backtest.event_times import EventTimes
from streams.domain.events import EARLIEST_MS
from streams.domain.formats import pinpoint
from streams.domain.sources import IngestSettings
from streams.domain.windows import WindowPolicy
from tests.backtest.worlds import START

STEP = 100
WINDOWS = WindowPolicy(2, 1, 8)
INGEST = IngestSettings(pinpoint.FORMAT, WINDOWS, max_future_skew_ms=3_000)

LINES = st.lists(
    st.tuples(
        st.sampled_from([0, 50, 100, 900, 5_000, 30_000]),
        st.sampled_from([None, 0, 500, 7_000, 11_000, 14_000, 60_000, -1_000, -3_200, -40_000]),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@given(LINES, st.integers(1, 9))
def test_lines_are_accepted_as_one_by_one(
    lines: list[tuple[int, int | None, bool]], at_once: int
) -> None:
    """Waits before lines (ms), how old their event times are, and whether they count anything."""
    at, newest = START, 0
    expected: list[tuple[bool, bool, bool, int]] = []
    rows: list[tuple[int, int, bool, bool]] = []
    for wait, behind, is_empty in lines:
        at += wait
        commit = -(-at // STEP) * STEP
        time = at - (behind or 0)
        is_late = time < max(EARLIEST_MS, WINDOWS.oldest_countable(newest)) and behind is not None
        is_ahead = time > commit + INGEST.max_future_skew_ms and not is_late
        if not (is_late or is_ahead or is_empty):
            newest = max(newest, min(time, commit))
        expected.append((not (is_late or is_ahead or is_empty), is_late, is_ahead, newest))
        rows.append((time, commit, behind is not None, is_empty))

    event_times = EventTimes(INGEST)
    found: list[tuple[bool, bool, bool, int]] = []
    for first in range(0, len(rows), at_once):
        times, commits, given_times, empty = zip(*rows[first : first + at_once], strict=True)
        accepted = event_times.accept(
            np.array(times), np.array(commits), np.array(given_times), np.array(empty)
        )
        found += zip(*[each.tolist() for each in accepted], strict=True)
    assert found == expected
