"""The short notation of counts over time, in tests of rules.

Values, one a step, with spaces between them: `5` is five sends, `5x60` five in each of 60 steps,
`_` nothing arrives, `_x60` for 60 steps, and `10+5x4` is 10, 15, 20, 25. Prometheus writes rule
tests much like this, but there `5x60` are 61 values.
"""

import re

MOST_STEPS = 1_000_000
MOST = 1_000_000_000
_VALUES = re.compile(r"(_|\d{1,10})(?:([+-])(\d{1,10}))?(?:x(\d{1,7}))?", re.ASCII)


def parse_series(text: str) -> list[int | None]:
    """Read the values of a series; null for nothing.

    Raises:
        ValueError: says which part is wrong.
    """
    values: list[int | None] = []
    for part in text.split():
        found = _VALUES.fullmatch(part)
        if not found or (found[1] == "_" and found[2]) or (found[2] and not found[4]):
            raise ValueError(f"expected values such as 5, 5x60, _x60 or 10+5x4, not {part}")
        times = int(found[4] or 1)
        if len(values) + times > MOST_STEPS:
            raise ValueError(f"expected at most {MOST_STEPS:,} steps")
        values += _values(part, found[1], int((found[2] or "+") + (found[3] or "0")), times)
    return values


def _values(part: str, first: str, step: int, times: int) -> list[int | None]:
    if first == "_":
        return [None] * times
    values = [int(first) + step * at for at in range(times)]
    if values and not 0 <= min(values) <= max(values) <= MOST:
        raise ValueError(f"expected counts from 0 to {MOST:,}, and {part} has {values[-1]:,}")
    return list(values)
