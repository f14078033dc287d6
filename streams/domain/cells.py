"""Counts of campaigns in one window while they change."""

import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import repeat

from streams.domain.blocks import Column, Counts, Dimensions, WindowCounts
from streams.domain.counts import Cell

_NO_APP = 0
"""Where among the apps it is said that there is none."""
_NAME_BYTES = 110
"""What a campaign's name and position weigh, apart from the dictionary that they are in."""


class Cells:
    """Counts of campaigns in one window.

    Each kind of count has one dictionary, by the campaign's position: most campaigns have counts
    of one or two kinds, and a dictionary for each campaign would weigh more than what is in it.
    """

    __slots__ = ("_apps", "_at_app", "_columns", "_events", "_late", "_positions")

    def __init__(self, counts: WindowCounts | None = None) -> None:
        self._positions: dict[str, int] = {}
        self._apps: dict[str | None, int] = {None: _NO_APP}
        self._at_app: list[int] = []
        self._events: list[int] = []
        """How many each campaign has, of all kinds."""
        self._columns: dict[Dimensions, dict[int, int]] = {}
        self._late: dict[int, int] = {}
        if counts is not None:
            self.add(counts)

    def add(self, counts: WindowCounts, *, late: bool = False) -> None:
        """Add counts; `late` says that all of their events came after the window was closed."""
        positions = self._positions_of(counts)
        events = self._events
        for each in counts.columns:
            column = self._columns.setdefault(each.dimensions, {})
            for at, count in zip(each.at, each.counts, strict=True):
                position = positions[at]
                column[position] = column.get(position, 0) + count
                events[position] += count
            if late:
                for at, count in zip(each.at, each.counts, strict=True):
                    self._add_late(positions[at], count)
        for at, count in counts.late.items():
            self._add_late(positions[at], count)

    def _positions_of(self, counts: WindowCounts) -> list[int]:
        """Return where the campaigns are here; new ones are added, and what their apps are."""
        positions = self._positions
        found = [positions.setdefault(name, len(positions)) for name in counts.campaigns]
        at_app = self._at_app
        added = len(positions) - len(at_app)
        at_app.extend(repeat(_NO_APP, added))
        self._events.extend(repeat(0, added))
        apps = [self._apps.setdefault(app, len(self._apps)) for app in counts.apps]
        for position, at in zip(found, counts.at_app, strict=True):
            app = apps[at]
            if app != _NO_APP:
                at_app[position] = app
        return found

    def _add_late(self, position: int, count: int) -> None:
        self._late[position] = self._late.get(position, 0) + count

    def counts(self, start: int) -> WindowCounts:
        """Return all of it in columns, as counts of the window that begins at `start` (s)."""
        columns = [
            Column(dimensions, list(column), list(column.values()))
            for dimensions, column in self._columns.items()
        ]
        return WindowCounts(
            start, list(self._positions), list(self._apps), self._at_app, columns, self._late
        )

    def events(self, campaign_id: str) -> int:
        """Return how many events a campaign has, of all kinds."""
        position = self._positions.get(campaign_id)
        return self._events[position] if position is not None else 0

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of one campaign."""
        position = self._positions.get(campaign_id)
        if position is None:
            return None
        app_id = list(self._apps)[self._at_app[position]]
        cell = Cell(app_id, {}, {}, self._late.get(position, 0))
        for dimensions, column in self._columns.items():
            count = column.get(position)
            if count is not None:
                _part(cell, dimensions)[dimensions] = count
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
        positions: set[int] = set()
        for dimensions, column in self._columns.items():
            if dimensions.is_send_with(wanted):
                positions.update(column)
        return {name for name, position in self._positions.items() if position in positions}

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._positions)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        columns = sum(map(sys.getsizeof, self._columns.values()))
        names = sys.getsizeof(self._positions) + _NAME_BYTES * len(self._positions)
        return columns + names + sys.getsizeof(self._at_app) + sys.getsizeof(self._events)


def cell_of(counts: WindowCounts, position: int) -> Cell:
    """Return the counts of the campaign at a position, of counts that name each but once."""
    app_id = counts.apps[counts.at_app[position]]
    cell = Cell(app_id, {}, {}, counts.late.get(position, 0))
    for column in counts.columns:
        if position in column.at:
            of_it = column.counts[column.at.index(position)]
            _part(cell, column.dimensions)[column.dimensions] = of_it
    return cell


def cells_of(counts: WindowCounts) -> Iterable[tuple[str, Cell]]:
    """Return the counts of each campaign, of counts that name each but once."""
    cells = [
        Cell(counts.apps[app], {}, {}, counts.late.get(position, 0))
        for position, app in enumerate(counts.at_app)
    ]
    for column in counts.columns:
        for at, count in zip(column.at, column.counts, strict=True):
            _part(cells[at], column.dimensions)[column.dimensions] = count
    return zip(counts.campaigns, cells, strict=True)


def _part(cell: Cell, dimensions: Dimensions) -> Counts:
    return cell.engagement if dimensions.engagement else cell.sends
