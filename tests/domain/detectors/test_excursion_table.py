from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.detectors import excursion_table
from streams.domain.detectors.baseline import Rise
from streams.domain.detectors.excursion_table import ExcursionTable
from streams.domain.detectors.excursions import GAP, Excursion
from streams.domain.detectors.folding import Series

START = 1_790_000_040_000

EXCURSIONS = st.builds(
    lambda rate, weight, evidence, attempts, share: Excursion(
        since=START,
        rate=rate,
        weight=weight,
        attempts=attempts,
        hits=round(share * attempts),
        evidence=evidence,
        stretch_attempts=attempts,
        stretch_hits=round(share * attempts),
    ),
    st.floats(1e-4, 0.6),
    st.floats(2.0, 3_200.0),
    st.sampled_from([0.0, 0.3, 4.0]),
    st.sampled_from([1, 2, 7, 40, 900, 20_000, 800_000]),
    st.sampled_from([0.0, 0.01, 0.03, 0.1, 0.3, 1.0]),
)


@given(
    st.lists(EXCURSIONS, min_size=1, max_size=20),
    st.lists(st.tuples(st.booleans(), st.sampled_from([0, 1, 30, 2_000, 10**9])), min_size=20),
)
def test_what_is_told_to_be_over_at_once_is_over_by_itself(
    excursions: list[Excursion], others: list[tuple[bool, int]]
) -> None:
    """Excursions, whether they are of newcomers, and how many attempts come without hits."""
    table = ExcursionTable(Rise())
    table.make_room(len(excursions))
    places = np.arange(len(excursions))
    are_newcomers, before = zip(*others[: len(excursions)], strict=True)
    table.set_newcomers(places, np.array(are_newcomers))
    for place, excursion in enumerate(excursions):
        table.keep(place, excursion)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(excursion_table, "MANY", 1)
        go_on = may_go_on(table, START + 1_000, before)
        assert not any(may_go_on(table, START + GAP + 1, before))
    for place in range(len(excursions)):
        later = table.quiet_at(place)
        later.add_attempts(before[place])
        judge = table.judge(place, later)
        if not go_on[place]:
            assert not judge.exceeds(later, 0.0)
        elif later.stretch_attempts <= 10**6:
            # The bound says nothing of the rest, but is near to it.
            assert judge.exceeds(later, -5.0 - 0.5 * later.stretch_hits)


def test_of_few_excursions_any_may_go_on() -> None:
    table = ExcursionTable(Rise())
    table.make_room(2)
    table.keep(0, Excursion(START, 0.01, 100.0, attempts=1, hits=1, stretch_attempts=1))
    assert may_go_on(table, START + GAP + 1, [10**6, 0]) == [True, False]


def may_go_on(table: ExcursionTable, at: int, before: Sequence[int]) -> list[bool]:
    """Whether excursions at the first places may not be over before one more hit each."""
    places = np.arange(len(before))
    ones = np.ones(len(places), np.int64)
    counts = at * ones, ones, ones, np.array(before)
    series = Series(places, places, *counts, lambda _: (1, 1))
    nulls = np.full(len(places), 0.01), np.full(len(places), 100.0)
    found: list[bool] = table.may_go_on(series, nulls).tolist()
    return found
