"""What reads campaigns' windows, and keeps what it has made of them, for all requests together."""

from collections.abc import Sequence
from typing import TypeAlias

from streams.api.count_answers import Totals, Window
from streams.api.history import HistoryReader
from streams.api.stretches import StretchReader
from streams.domain.calendar_periods import Period
from streams.domain.counts import Cell

PeriodSums: TypeAlias = StretchReader[dict[Period, Cell]]
"""What windows add up to in hours or days."""
WindowRows: TypeAlias = StretchReader[list[Window]]
"""Windows, or longer ones merged of them, as they are shown."""

_MOST_COUNT_KEYS = 65_536
_MOST_FIGURES = 100_000
"""In windows that are kept: of twenty campaigns with a day of minutes and few statuses, some 25
MB."""


class Readers:
    """One of each kind."""

    def __init__(self) -> None:
        self.history = HistoryReader()
        self.periods: PeriodSums = StretchReader(_MOST_COUNT_KEYS, _count_keys)
        self.windows: WindowRows = StretchReader(_MOST_FIGURES, _count_figures)


def _count_keys(sums: dict[Period, Cell]) -> int:
    return sum(len(cell.sends) + len(cell.engagement) for cell in sums.values())


def _count_figures(windows: Sequence[Window]) -> int:
    groups = (group for each in windows for group in each.groups or ())
    return sum(map(_figures_in, windows)) + sum(map(_figures_in, groups))


def _figures_in(totals: Totals) -> int:
    """Return about how many figures there are, where a window with few statuses has some three."""
    return 1 + len(totals.counts) + len(totals.engagement)
