"""Counts of campaigns in one window while they change."""

import sys
from collections.abc import Collection, Iterable, Iterator
from operator import or_

from streams.domain.blocks import Dimensions, WindowCounts
from streams.domain.counts import Cell

_SHIFT = 32
_MASK = (1 << _SHIFT) - 1
_ROW_BYTES, _NAME_BYTES = 64, 96
"""What the objects weigh that one row, and one campaign, has in the dictionaries, more or less."""


class Cells:
    """Counts of campaigns in one window.

    One flat dictionary holds all of them, by the positions of campaign and dimensions: most cells
    have one or two counts, and a dictionary for each would weigh more than what is in it.
    """

    __slots__ = ("_apps", "_dimensions", "_late", "_positions", "_rows")

    def __init__(self, counts: WindowCounts | None = None) -> None:
        self._positions: dict[str, int] = {}
        self._apps: list[str | None] = []
        self._late: dict[int, int] = {}
        self._dimensions: dict[Dimensions, int] = {}
        self._rows: dict[int, int] = {}
        if counts is not None:
            self.add(counts)

    def add(self, counts: WindowCounts, *, late: bool = False) -> None:
        """Add counts; `late` says that all of their events came after the window was closed."""
        shifted = self._campaigns(counts)
        known = self._dimensions
        dimensions = [known.setdefault(each, len(known)) for each in counts.dimensions]
        rows = self._rows
        keys = map(
            or_,
            map(shifted.__getitem__, counts.at_campaign),
            map(dimensions.__getitem__, counts.at_dimension),
        )
        for key, count in zip(keys, counts.counts, strict=True):
            rows[key] = rows.get(key, 0) + count
        if late:
            for campaign, count in zip(counts.at_campaign, counts.counts, strict=True):
                self._add_late(shifted[campaign] >> _SHIFT, count)
        for campaign, count in counts.late.items():
            self._add_late(shifted[campaign] >> _SHIFT, count)

    def _campaigns(self, counts: WindowCounts) -> list[int]:
        """Return the campaigns' positions, as they are in the keys of rows."""
        positions, apps = self._positions, self._apps
        shifted = []
        for name, app in zip(counts.campaigns, counts.apps, strict=True):
            position = positions.get(name)
            if position is None:
                position = positions[name] = len(positions)
                apps.append(app)
            elif app is not None:
                apps[position] = app
            shifted.append(position << _SHIFT)
        return shifted

    def _add_late(self, position: int, count: int) -> None:
        self._late[position] = self._late.get(position, 0) + count

    def counts(self, start: int) -> WindowCounts:
        """Return all of it in columns, as counts of the window that begins at `start` (s)."""
        return WindowCounts(
            start,
            list(self._positions),
            self._apps,
            list(self._dimensions),
            [key >> _SHIFT for key in self._rows],
            [key & _MASK for key in self._rows],
            list(self._rows.values()),
            self._late,
        )

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of one campaign."""
        position = self._positions.get(campaign_id)
        if position is None:
            return None
        cell = Cell(self._apps[position], {}, {}, self._late.get(position, 0))
        first = position << _SHIFT
        for dimensions, at in self._dimensions.items():
            count = self._rows.get(first | at)
            if count is not None:
                target = cell.engagement if dimensions.engagement else cell.sends
                target[dimensions] = count
        return cell

    def cells(self) -> Iterator[tuple[str, Cell]]:
        """Yield the counts of each campaign that is there at the beginning."""
        for campaign_id in list(self._positions):
            cell = self.cell(campaign_id)
            if cell is not None:
                yield campaign_id, cell

    def campaigns(self) -> Collection[str]:
        """Return the campaigns."""
        return self._positions.keys()

    def campaigns_with(self, outcomes: Iterable[str]) -> set[str]:
        """Return the campaigns that have sends with one of these statuses."""
        wanted = set(outcomes)
        of_them = {
            at
            for dimensions, at in self._dimensions.items()
            if dimensions.outcome in wanted and not dimensions.engagement
        }
        positions = {key >> _SHIFT for key in self._rows if key & _MASK in of_them}
        return {name for name, position in self._positions.items() if position in positions}

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._positions)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return (
            sys.getsizeof(self._rows)
            + sys.getsizeof(self._positions)
            + _ROW_BYTES * len(self._rows)
            + _NAME_BYTES * len(self._positions)
        )


def cell_of(counts: WindowCounts, position: int) -> Cell:
    """Return the counts of the campaign at a position."""
    cell = Cell(counts.apps[position], {}, {}, counts.late.get(position, 0))
    for campaign, dimension, count in zip(
        counts.at_campaign, counts.at_dimension, counts.counts, strict=True
    ):
        if campaign == position:
            dimensions = counts.dimensions[dimension]
            target = cell.engagement if dimensions.engagement else cell.sends
            target[dimensions] = count
    return cell


def cells_of(counts: WindowCounts) -> Iterable[tuple[str, Cell]]:
    """Return the counts of each campaign."""
    cells = [
        Cell(app, {}, {}, counts.late.get(position, 0)) for position, app in enumerate(counts.apps)
    ]
    for campaign, dimension, count in zip(
        counts.at_campaign, counts.at_dimension, counts.counts, strict=True
    ):
        dimensions, cell = counts.dimensions[dimension], cells[campaign]
        target = cell.engagement if dimensions.engagement else cell.sends
        target[dimensions] = count
    return zip(counts.campaigns, cells, strict=True)
