"""Lines of small blocks: how a figure went, in the width of a word."""

import sys
from collections.abc import Mapping, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.:-=+*#"
"""For terminals whose encoding has no blocks."""


def sparkline(values: Sequence[float | None], top: float) -> str:
    """Return a block for each value, from 0 to `top`; a blank where there is none."""
    blocks = _blocks()
    return "".join(
        " " if value is None else blocks[_height(value, top, len(blocks))] for value in values
    )


def _height(value: float, top: float, heights: int) -> int:
    """Return a block's number; the lowest is for 0 alone, so that little is not nothing."""
    if value <= 0 or top <= 0:
        return 0
    return max(1, min(heights - 1, round(value / top * (heights - 1))))


def _blocks() -> str:
    try:
        _BLOCKS.encode(sys.stdout.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return _PLAIN
    return _BLOCKS


def on_axis(
    values: Mapping[int, float | None], first: int, last: int, step: int
) -> list[float | None]:
    """Return the values at all times (s) from `first` to `last`, `step` apart; null for none."""
    return [values.get(time) for time in range(first, last + 1, step)]
