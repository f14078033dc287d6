from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
    bucket_of,
    decode,
    decode_campaigns,
    decode_counts,
    encode,
    encode_records,
    encode_window,
    partition_of,
    split,
)
from streams.errors import FormatError
from tests.support.partitions import rows_of, window_counts

SENT = Dimensions("SUCCESS", None, "EMAIL", "EMAIL")
texts = st.text(max_size=12)
names = st.none() | texts
dimensions = st.builds(Dimensions, texts, names, names, names, st.booleans())
counts = st.dictionaries(dimensions, st.integers(1, 10**9), min_size=1, max_size=4)
windows = st.builds(
    window_counts, st.integers(0, 10**10), st.dictionaries(texts, counts, max_size=9), names
)
event_times = st.dictionaries(st.integers(0, 99), st.integers(0, 10**13), max_size=3)
received = st.integers(0, 10**13)
made = st.builds(
    PartialCounts,
    st.just(PARTIAL_COUNTS_VERSION),
    event_times,
    received,
    st.lists(windows, max_size=5),
)


@given(made)
def test_partial_counts_come_back_as_they_were(partial: PartialCounts) -> None:
    assert decode(encode(partial)) == partial


@given(windows)
def test_a_windows_counts_come_back_as_they_were(counts: WindowCounts) -> None:
    value = encode(counts)
    assert decode_counts(value) == counts
    assert decode_campaigns(value) == counts.campaigns


@given(made, st.integers(1, 200))
def test_records_hold_all_partial_counts(partial: PartialCounts, limit: int) -> None:
    values = list(encode_records(partial, limit))
    parts = [decode(value) for value in values]
    assert rows_of([w for part in parts for w in part.windows]) == rows_of(partial.windows)
    assert [part.event_times for part in parts[:-1]] == [{}] * (len(parts) - 1)
    assert parts[-1].event_times == partial.event_times
    assert {part.received_at for part in parts} == {partial.received_at}
    for value, part in zip(values, parts, strict=True):
        assert len(value) <= limit or sum(len(each.columns) for each in part.windows) <= 1


@given(windows, st.integers(1, 200))
def test_records_of_a_window_add_up_to_it(counts: WindowCounts, limit: int) -> None:
    counts.late = {at: at + 1 for at in range(0, len(counts.campaigns), 2)}
    parts = [(value, decode_counts(value)) for value in encode_window(counts, limit)]
    assert rows_of(part for _, part in parts) == rows_of([counts])
    late = Counter[str]()
    for value, part in parts:
        late.update({part.campaigns[at]: n for at, n in part.late.items()})
        assert len(value) <= limit or max(len(part.campaigns), len(part.columns)) <= 1
    assert late == {counts.campaigns[at]: n for at, n in counts.late.items()}


def test_a_start_that_is_no_date_is_no_partial_counts() -> None:
    whole = WindowCounts(10**12, ["a"], ["app"], [0], [Column(SENT, [0], [1])])
    with pytest.raises(ValueError, match="not partial counts"):
        decode(encode(PartialCounts(PARTIAL_COUNTS_VERSION, {}, 0, [whole])))


@given(windows, st.integers(1, 7))
def test_buckets_hold_all_counts_each_campaign_in_its_own(
    counts: WindowCounts, buckets: int
) -> None:
    counts.late = {at: at + 1 for at in range(0, len(counts.campaigns), 2)}
    parts = split(counts, buckets)
    assert len(parts) == buckets
    assert rows_of(parts) == rows_of([counts])
    late = {counts.campaigns[at]: n for at, n in counts.late.items()}
    assert {part.campaigns[at]: n for part in parts for at, n in part.late.items()} == late
    for number, part in enumerate(parts):
        assert buckets == 1 or all(bucket_of(name, buckets) == number for name in part.campaigns)


@pytest.mark.parametrize("value", [b"", b"\xc1", b"{}", b"\x94\x01\x80\x00"])
def test_other_bytes_are_no_partial_counts(value: bytes) -> None:
    with pytest.raises(ValueError, match="not partial counts"):
        decode(value)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"columns": [Column(SENT, [0, 2], [1, 1])]},
        {"columns": [Column(SENT, [-1], [1])]},
        {"columns": [Column(SENT, [0, 1], [1])]},
        {"columns": [Column(SENT, [0], [1, 1])]},
        {"at_app": [0]},
        {"at_app": [0, 1]},
        {"at_app": [0, -1]},
        {"apps": []},
        {"late": {2: 1}},
    ],
)
def test_columns_that_do_not_fit_together_are_no_partial_counts(spoilt: dict[str, Any]) -> None:
    whole = WindowCounts(60, ["a", "b"], ["app"], [0, 0], [Column(SENT, [0, 1], [1, 2])], {1: 1})
    assert decode(encode(PartialCounts(PARTIAL_COUNTS_VERSION, {}, 0, [whole]))).windows == [whole]
    for name, value in spoilt.items():
        setattr(whole, name, value)
    with pytest.raises(ValueError, match=r"not partial counts|not counts of a window"):
        decode(encode(PartialCounts(PARTIAL_COUNTS_VERSION, {}, 0, [whole])))


def test_another_version_is_named() -> None:
    with pytest.raises(FormatError, match=r"format 7.*reads format 3"):
        decode(encode(PartialCounts(7, {}, 0, [])))
    with pytest.raises(FormatError, match=r"format 9"):
        decode(encode([9, "of tomorrow"]))


def test_partitions_never_change() -> None:
    """Where a campaign's counts are depends on it."""
    known = {"4f8d6097c2e8400fa3081d875example": 3, "a/b": 0, "ünïcode": 2, "100%": 0}
    assert {name: partition_of(name, 4) for name in known} == known
