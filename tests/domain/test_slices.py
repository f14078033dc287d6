"""Which slice explains an excess."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.slices import MOST_CELLS, CellKey, Tally, excess_by_status, explain

CELLS: list[CellKey] = [
    (channel, treatment, delivery)
    for channel, delivery in (("GCM", "GCM"), ("SMS", "CUSTOM"), ("EMAIL", "CUSTOM"))
    for treatment in ("0", "1")
]
USUAL = {key: Tally(1_000, 10) for key in CELLS}


def seen(rates: Mapping[CellKey, int], otherwise: int = 1) -> dict[CellKey, Tally]:
    """100 attempts in each cell, and so many hits."""
    return {key: Tally(100, rates.get(key, otherwise)) for key in CELLS}


def test_one_value_of_one_dimension() -> None:
    broken = {key: 88 for key in CELLS if key[0] == "SMS"}
    found = explain(seen(broken), USUAL)
    assert found.slice is not None
    assert found.slice.values == {"channel_type": "SMS"}
    assert found.slice.excess.seen == Tally(200, 176)
    assert found.slice.excess.expected == pytest.approx(2.0, abs=0.001)
    assert found.whole.seen == Tally(600, 180)


def test_a_delivery_type_of_several_channels() -> None:
    broken = {key: 40 for key in CELLS if key[2] == "CUSTOM"}
    found = explain(seen(broken), USUAL)
    assert found.slice is not None
    assert found.slice.values == {"delivery_type": "CUSTOM"}


def test_a_channel_is_named_rather_than_the_delivery_type_of_the_same_sends() -> None:
    broken = {key: 40 for key in CELLS if key[0] == "GCM"}
    found = explain(seen(broken), USUAL)
    assert found.slice is not None
    assert found.slice.values == {"channel_type": "GCM"}


def test_one_channel_of_one_treatment() -> None:
    found = explain(seen({("EMAIL", "1", "CUSTOM"): 70}), USUAL)
    assert found.slice is not None
    assert found.slice.values == {"channel_type": "EMAIL", "treatment_id": "1"}


def test_the_whole_is_left_whole() -> None:
    assert explain(seen({}, otherwise=30), USUAL).slice is None


def test_the_whole_is_left_whole_though_its_parts_differ_as_usual() -> None:
    """A third of the sends is lost everywhere, on top of what is usual."""
    usual = {key: Tally(1_000, 300 if key[0] == "SMS" else 2) for key in CELLS}
    lost = {key: 53 for key in CELLS if key[0] == "SMS"}
    assert explain(seen(lost, otherwise=33), usual).slice is None


def test_too_few_hits_name_nothing() -> None:
    found = explain({CELLS[0]: Tally(3, 1), CELLS[2]: Tally(3, 0)}, USUAL)
    assert found.slice is None


def test_no_excess_no_slice() -> None:
    found = explain(seen({}, otherwise=0), USUAL)
    assert found.slice is None
    assert found.whole.hits == 0


def test_sends_without_a_value_are_a_slice() -> None:
    cells: dict[CellKey, Tally] = {("A", None, "A"): Tally(100, 90), ("A", "1", "A"): Tally(100, 1)}
    found = explain(cells, {key: Tally(1_000, 10) for key in cells})
    assert found.slice is not None
    assert found.slice.values == {"treatment_id": None}


def test_a_newcomer_has_one_hit_in_twenty_to_be_usual() -> None:
    found = explain(seen({}, otherwise=50), {})
    assert found.whole.expected == pytest.approx(600 / 20)


def test_of_very_many_cells_the_whole_stays_exact() -> None:
    cells: dict[CellKey, Tally] = {
        ("A", str(at), "A"): Tally(10, 10 if at == 7 else 1) for at in range(2 * MOST_CELLS)
    }
    found = explain(cells, {key: Tally(100, 10) for key in cells})
    assert found.whole.seen == Tally(20 * MOST_CELLS, 2 * MOST_CELLS + 9)
    assert found.slice is not None
    assert found.slice.values == {"treatment_id": "7"}


_TALLIES = st.integers(0, 10**9).flatmap(
    lambda n: st.integers(0, n).map(lambda hits: Tally(n, hits))
)
_VALUES = st.sampled_from(("a", "b", None))
_COUNTS = st.dictionaries(st.tuples(_VALUES, _VALUES, _VALUES), _TALLIES, max_size=12)


@given(now=_COUNTS, usual=_COUNTS)
def test_any_counts_are_explained_and_sums_are_exact(
    now: dict[CellKey, Tally], usual: dict[CellKey, Tally]
) -> None:
    found = explain(now, usual)
    assert found.whole.seen == Tally(
        sum(tally.attempts for tally in now.values()), sum(tally.hits for tally in now.values())
    )
    assert 0 <= found.whole.expected <= found.whole.seen.attempts
    if found.slice is not None:
        part = found.slice.excess
        names = ("channel_type", "treatment_id", "delivery_type")
        of_it = [
            tally
            for key, tally in now.items()
            if all(
                dict(zip(names, key, strict=True))[n] == v for n, v in found.slice.values.items()
            )
        ]
        assert part.seen.attempts == sum(tally.attempts for tally in of_it)
        assert part.seen.hits == sum(tally.hits for tally in of_it)
        assert part.hits > 0


def test_the_order_of_cells_does_not_matter() -> None:
    now = seen({key: 40 for key in CELLS if key[1] == "1"})
    backwards = dict(reversed(now.items()))
    first, second = explain(now, USUAL).slice, explain(backwards, USUAL).slice
    assert first is not None
    assert second is not None
    assert first.values == second.values == {"treatment_id": "1"}


def test_the_status_that_grew_is_the_first() -> None:
    found = excess_by_status(100, {"FAILURE": 5, "UNKNOWN": 40}, 1_000, {"FAILURE": 50})
    assert list(found) == ["UNKNOWN", "FAILURE"]
    assert found["UNKNOWN"].hits == pytest.approx(40 - 100 * 0.5 / 1_020)
    assert found["FAILURE"].hits == pytest.approx(5 - 100 * 50.5 / 1_020)
