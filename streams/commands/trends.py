"""How campaigns went: windows drawn as lines of small blocks, on a true time axis."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from streams.commands.rows import Item
from streams.commands.sparklines import on_axis, sparkline
from streams.commands.tables import terminal_width
from streams.domain.transitions import rfc3339

_LEAST_TOP = 0.05
"""A failed share up to this is drawn low, however low the others are."""
_LABEL = 10


def failed_lately(
    rows: Sequence[Item], size: int, windows: int
) -> tuple[str, Callable[[Item], str]]:
    """Return the title of a column, and what it shows of a campaign with its `recent` windows.

    All rows have the same axes: the newest `windows` windows of `size` (s), up to the same share.
    """
    starts = [_seconds(each["start"]) for row in rows for each in row["recent"]]
    shares = [_failed(each) for row in rows for each in row["recent"]]
    last, top = max(starts, default=0), _top(shares)
    first = last - (windows - 1) * size

    def line(row: Item) -> str:
        failed = {_seconds(each["start"]): _failed(each) for each in row["recent"]}
        return sparkline(on_axis(failed, first, last, size), top)

    return f"trend (0-{top:.0%})", line


def failed_and_attempts(windows: Sequence[Item], step: int) -> list[str]:
    """Return lines that draw the attempts, and the share that failed, of windows of `step` (s).

    Where there are more windows than the terminal has room for, several are one block.
    """
    if not windows:
        return []
    starts = [_seconds(each["start"]) for each in windows]
    room = max(10, (terminal_width() or 80) - 2 * _LABEL - 4)
    block = step * -(-((max(starts) - min(starts)) // step + 1) // room)
    attempts: dict[int, float | None] = {}
    failed: dict[int, float] = {}
    for start, each in zip(starts, windows, strict=True):
        at = start - start % block
        attempts[at] = (attempts.get(at) or 0) + each["attempts"]
        failed[at] = failed.get(at, 0) + (_failed(each) or 0) * each["attempts"]
    shares = {at: failed[at] / total if total else None for at, total in attempts.items()}
    first, last = min(attempts), max(attempts)
    most, top = max(total or 0 for total in attempts.values()), _top(shares.values())
    sent, lost = (
        sparkline(on_axis(values, first, last, block), highest)
        for values, highest in ((attempts, most), (shares, top))
    )
    return [
        "",
        f"{'attempts':{_LABEL}}{sent}  to {most:,.0f}",
        f"{'failed':{_LABEL}}{lost}  to {top:.1%}",
        f"since {rfc3339(first)}, {block:,} s each",
    ]


def _top(shares: Iterable[float | None]) -> float:
    return max([_LEAST_TOP, *(each for each in shares if each is not None)])


def _failed(window: Item) -> float | None:
    share: float | None = window["rates"]["failure"]
    return share


def _seconds(written: str) -> int:
    return int(datetime.fromisoformat(written).timestamp())
