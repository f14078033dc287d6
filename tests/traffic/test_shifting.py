import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.traffic.shifting import latest_time, shifted


def test_the_latest_time_is_the_largest_not_the_last() -> None:
    events = [
        b'{"event_timestamp":5}',
        b'{"event_timestamp":9}',
        b'{"event_timestamp":"12"}',
        b"{}",
    ]
    assert latest_time(events, 10) == 9
    assert latest_time(events[2:], 10) is None


def test_a_time_that_cannot_be_is_not_the_latest() -> None:
    events = [b'{"event_timestamp":9223372036854775807}', b'{"event_timestamp":9}']
    assert latest_time(events, 10) == 9
    assert latest_time(events, 9) is None


@given(
    rest=st.dictionaries(
        st.text(max_size=5).filter(lambda key: not key.endswith("_timestamp")),
        st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    event_ms=st.integers(0, 2**45),
    arrival_ms=st.integers(0, 2**45),
    by_ms=st.integers(-(2**45), 2**45),
)
def test_only_the_times_move(
    rest: dict[str, object], event_ms: int, arrival_ms: int, by_ms: int
) -> None:
    event = {**rest, "event_timestamp": event_ms, "arrival_timestamp": arrival_ms}
    moved = json.loads(shifted(json.dumps(event).encode(), by_ms))
    assert moved == {
        **rest,
        "event_timestamp": event_ms + by_ms,
        "arrival_timestamp": arrival_ms + by_ms,
    }


def test_what_is_written_inside_stays_as_it_is() -> None:
    event = b'{"metrics":{"price":645.0, "event_timestamp":7},"event_timestamp":10,"e":"\\u00e9"}'
    assert shifted(event, 5) == event.replace(b"10", b"15")


@pytest.mark.parametrize("written", [b"1795711750000", b"1795711750000.0", b"1.79571175e12"])
def test_a_whole_number_moves_however_it_is_written(written: bytes) -> None:
    event = b'{"event_timestamp":%s}' % written
    assert latest_time([event], 2**63) == 1795711750000
    assert shifted(event, 5) == b'{"event_timestamp":1795711750005}'


@pytest.mark.parametrize(
    "event",
    [
        b'{"event_timestamp":1.5}',
        b'{"event_timestamp":"10"}',
        b'{"event_timestamp":null}',
        b'{"a":1}',
        b"[1]",
    ],
)
def test_without_a_usable_time_nothing_changes(event: bytes) -> None:
    assert shifted(event, 5) == event
