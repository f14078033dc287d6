import pytest

from streams.backtest.series import parse_series


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5", [5]),
        ("5x3 0 _", [5, 5, 5, 0, None]),
        ("_x2 1", [None, None, 1]),
        ("10+5x4", [10, 15, 20, 25]),
        ("10-5x3", [10, 5, 0]),
        ("7x0", []),
        ("", []),
    ],
)
def test_reads_values(text: str, values: list[int | None]) -> None:
    assert parse_series(text) == values


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("5 x3", "x3"),
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("5+1", "5+1"),
        ("_+1x2", "_+1x2"),
        ("5-3x3", "5-3x3"),
        ("1x1000001", "1,000,000 steps"),
        ("1x9999999 1x9999999", "1,000,000 steps"),
        ("9999999999", "9999999999"),
        ("٣", "٣"),
    ],
)
def test_refuses_what_is_none_and_names_it(text: str, part: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_series(text)
    assert part in str(caught.value)
