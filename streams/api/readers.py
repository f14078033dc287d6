"""What reads campaigns' windows, and keeps what it has made of them, for all requests together."""

from typing import TypeAlias

import msgspec

from streams.api.count_answers import Window
from streams.api.history import MOST_COUNT_KEYS, HistoryReader
from streams.api.stretches import StretchReader
from streams.domain.calendar_periods import Period
from streams.domain.counts import Cell

PeriodSums: TypeAlias = StretchReader[dict[Period, Cell]]
"""What windows add up to in hours or days."""
WindowRows: TypeAlias = StretchReader[bytes]
"""Windows, or longer ones merged of them, as they are shown: written by `encode_windows`."""

_MOST_BYTES = 32 * 1024 * 1024
"""Of windows: of some hundred campaigns with a day of minutes."""

encode_windows = msgspec.msgpack.Encoder().encode
"""Writes a list of windows in a third of the memory that it takes itself."""
decode_windows = msgspec.msgpack.Decoder(list[Window]).decode


class Readers:
    """One of each kind."""

    def __init__(self) -> None:
        self.history = HistoryReader()
        self.periods: PeriodSums = StretchReader(MOST_COUNT_KEYS, _count_keys)
        self.windows: WindowRows = StretchReader(_MOST_BYTES, len)


def _count_keys(sums: dict[Period, Cell]) -> int:
    return sum(cell.keys for cell in sums.values())
