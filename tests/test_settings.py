import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.settings import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("5s", 5),
        ("1m", 60),
        ("24h", 86400),
        ("7d", 604800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0s", 0),
        (90, 90),
        (0.25, 0.25),
    ],
)
def test_durations_are_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1:30",
        "5 s",
        "s",
        "-5s",
        "5x",
        "5s ",
        "1e3s",
        "\u0665s",
        True,
        None,
        -1,
        [5],
        math.nan,
        math.inf,
    ],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 200ms"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(
    st.integers(0, 10**6),
    st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]),
)
def test_a_number_and_a_unit_multiply(number: int, unit: tuple[str, float]) -> None:
    name, seconds = unit
    assert parse_duration(f"{number}{name}") == pytest.approx(number * seconds)


@given(st.lists(st.sampled_from(["1d", "2h", "3m", "4s", "5ms"]), min_size=1))
def test_parts_add_up(parts: list[str]) -> None:
    total = sum(parse_duration(part) for part in parts)
    assert parse_duration("".join(parts)) == pytest.approx(total)
