"""What a campaign's windows add up to."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from streams.api.reading import empty, include
from streams.api.stretches import Parts, StretchReader, WindowRange
from streams.api.time_slices import TimeSlices
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition

MOST_COUNT_KEYS = 65_536
"""Those of sums that are kept: of 170 campaigns with a day of minutes and some ten keys."""


class History(NamedTuple):
    """The sum of a campaign's windows, and when (s) the first and the last of them begin."""

    total: Cell
    first: int
    last: int


class HistoryReader:
    """Adds up all retained windows of campaigns."""

    def __init__(self) -> None:
        self._sums: StretchReader[History] = StretchReader(
            MOST_COUNT_KEYS, lambda history: history.total.keys
        )

    async def read(
        self, partitions: Iterable[CampaignPartition], campaign_id: str, slices: TimeSlices
    ) -> History | None:
        """Return the sum of a campaign's windows, also of roll-ups; null if there are none."""
        everything = WindowRange(campaign_id, -math.inf, math.inf)
        found: list[History] = []
        for partition in partitions:
            newest = self._sums.newest(partition, everything, _add_up, slices)
            found += reversed([each async for each in newest])
        return _sum(found) if found else None


def _add_up(parts: Parts) -> History:
    return _sum(History(part.cell, part.start, part.start) for part in parts)


def _sum(histories: Iterable[History]) -> History:
    """Return the sum of some, at least one; the last one that names an app is right about that."""
    total, first, last = empty(), math.inf, -math.inf
    for each in histories:
        include(total, each.total)
        first, last = min(first, each.first), max(last, each.last)
    return History(total, int(first), int(last))
