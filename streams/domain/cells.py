"""Counts of campaigns in one window while they change."""

import sys
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.domain.arrays import integers, sums_at
from streams.domain.counts import Cell
from streams.domain.limits import DEFAULT_LIMITS, BoundedCounts, Limits, Values
from streams.domain.partial_counts import Column, Counts, Dimensions, WindowCounts

_NO_APP = 0
"""Position, among the apps, of no app."""
_NOWHERE = -1
"""Instead of the position of a campaign that has none yet."""
_CAMPAIGN_BYTES = 110
"""Memory of a campaign's name and position, apart from the dictionary that they are in."""
_NAME_BYTES = 250
"""Memory of a count key that campaigns do not share, with its entry in a dictionary."""
SHARED = 256
"""Count keys that campaigns can share; any campaign may have that many."""
MOST_EXTRA = 100_000
"""Count keys past `SHARED`, of all campaigns of a window together."""


class Found(NamedTuple):
    """The campaigns of some counts, as they were looked up; adding the counts uses it up.

    Attributes:
        positions: where each of them is, or `_NOWHERE`.
        new: which of them are new: their positions in the counts.
    """

    positions: list[int]
    new: list[int]


class Cells:
    """Counts of campaigns in one window.

    Most campaigns have counts of one or two count keys, and of the same ones: each key has one
    dictionary, by the campaign's position, as a dictionary for each campaign would weigh more than
    the counts in it. Only `SHARED` keys are shared. A campaign that brings another key has a
    dictionary of its own from then on, so the keys of one campaign cost no other campaign anything.

    Args:
        counts: what was counted before, within the bounds.
        limits: how many count keys each campaign can have.
    """

    __slots__ = (
        *("_app_names", "_apps", "_at_app", "_columns", "_events", "_extra", "_late", "_limits"),
        *("_own", "_positions", "_revisions", "_shared", "_to_emit", "_values"),
    )

    def __init__(self, counts: WindowCounts | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._positions: dict[str, int] = {}
        self._apps: dict[str | None, int] = {None: _NO_APP}
        self._app_names: list[str | None] = [None]
        """The same apps, by their position."""
        self._at_app: list[int] = []
        self._events: list[int] = []
        """How many each campaign has, of all kinds."""
        self._columns: dict[Dimensions, dict[int, int]] = {}
        """By shared count key, the counts by position."""
        self._own: dict[int, BoundedCounts] = {}
        """By position, the counts of campaigns that share no keys."""
        self._shared = min(SHARED, limits.names)
        self._values = Values(limits)
        """Of shared keys: they are within the bounds, so every campaign that shares them is."""
        self._extra = 0
        """How many count keys campaigns have past `SHARED`."""
        self._late: dict[int, int] = {}
        self._to_emit: set[int] | None = None
        """Positions of campaigns that changed since they were emitted; null: all, none ever was."""
        self._revisions: dict[int, int] = {}
        """By position, how often a campaign was emitted, if not once."""
        if counts is not None:
            self._to_emit = set()
            self.put(counts)

    def add(self, counts: WindowCounts, *, late: bool = False, found: Found | None = None) -> int:
        """Add counts.

        Args:
            counts: of any campaigns.
            late: whether all of their events came after the window was closed.
            found: what `find` returned for them, if nothing was added since.

        Returns:
            The number of events whose count key was folded.
        """
        before = len(self._positions)
        found = found if found is not None else self.find(counts.campaigns)
        folded = self._add(counts, found, late=late, bounded=True)
        if self._to_emit is not None:
            self._to_emit.update(self._positions[name] for name in counts.campaigns)
            self._revisions.update(dict.fromkeys(range(before, len(self._positions)), 0))
        return folded

    def put(self, counts: WindowCounts) -> None:
        """Add counts as they are: they were within the bounds when they were counted."""
        self._add(counts, self.find(counts.campaigns), late=False, bounded=False)
        if self._to_emit is not None:
            at = [self._positions[name] for name in counts.campaigns]
            self._to_emit.update(at[position] for position in counts.to_emit)
            self._revisions.update({at[p]: often for p, often in counts.revisions.items()})

    def emit_all(self) -> None:
        """Have all campaigns emitted again."""
        if self._to_emit is not None:
            self._to_emit.update(range(len(self._positions)))

    def find(self, names: Sequence[str]) -> Found:
        """Look up campaigns."""
        positions = list(map(self._positions.get, names, repeat(_NOWHERE)))
        if min(positions, default=0) > _NOWHERE:
            return Found(positions, [])
        return Found(positions, [at for at, found in enumerate(positions) if found == _NOWHERE])

    def _add(self, counts: WindowCounts, found: Found, *, late: bool, bounded: bool) -> int:
        positions = self._positions_of(counts, found)
        events = self._events
        folded = 0
        for each in counts.columns:
            column = self._column(each.dimensions)
            if column is None or self._own:
                folded += self._add_apart(each, column, positions, bounded=bounded)
            else:
                for at, count in zip(each.at, each.counts, strict=True):
                    position = positions[at]
                    column[position] = column.get(position, 0) + count
                    events[position] += count
            if late:
                for at, count in zip(each.at, each.counts, strict=True):
                    self._add_late(positions[at], count)
        for at, count in counts.late.items():
            self._add_late(positions[at], count)
        return folded

    def _column(self, dimensions: Dimensions) -> dict[int, int] | None:
        """Return the counts of a shared count key; null if it is not, and cannot be, shared."""
        column = self._columns.get(dimensions)
        if column is not None or len(self._columns) >= self._shared:
            return column
        if self._values.folded(dimensions) != dimensions:
            return None
        self._values.add(dimensions)
        column = self._columns[dimensions] = {}
        return column

    def _add_apart(
        self,
        counts: Column,
        column: dict[int, int] | None,
        positions: list[int],
        *,
        bounded: bool,
    ) -> int:
        """Add counts of one count key where some campaigns share no keys."""
        folded = 0
        for at, count in zip(counts.at, counts.counts, strict=True):
            position = positions[at]
            self._events[position] += count
            names = self._own.get(position)
            if names is None and column is not None:
                column[position] = column.get(position, 0) + count
                continue
            names = names or self._part(position)
            before = len(names.counts)
            if not bounded:
                names.put(counts.dimensions, count)
            elif names.add(counts.dimensions, count, self._most):
                folded += count
            if before >= self._shared:
                self._extra += len(names.counts) - before
        return folded

    @property
    def _most(self) -> int:
        """How many count keys a campaign can have at present."""
        return self._limits.names if self._extra < MOST_EXTRA else self._shared

    def _part(self, position: int) -> BoundedCounts:
        """Give a campaign counts of its own: it shares no keys any more."""
        names = self._own[position] = BoundedCounts(self._limits)
        for dimensions, column in self._columns.items():
            count = column.pop(position, None)
            if count is not None:
                names.put(dimensions, count)
        return names

    def _positions_of(self, counts: WindowCounts, found: Found) -> list[int]:
        """Return where the campaigns are here; new ones are added, and what their apps are."""
        at_app = self._at_app
        of_counts = found.positions
        if found.new:
            positions, names = self._positions, counts.campaigns
            for at in found.new:
                of_counts[at] = positions.setdefault(names[at], len(positions))
            added = len(positions) - len(at_app)
            at_app.extend(repeat(_NO_APP, added))
            self._events.extend(repeat(0, added))
        apps = [self._app(app) for app in counts.apps]
        if _NO_APP in apps:
            for position, at in zip(of_counts, counts.at_app, strict=True):
                if apps[at] != _NO_APP:
                    at_app[position] = apps[at]
        else:
            for position, at in zip(of_counts, counts.at_app, strict=True):
                at_app[position] = apps[at]
        return of_counts

    def _app(self, name: str | None) -> int:
        """Return where an app is among the apps; a new one is added."""
        at = self._apps.setdefault(name, len(self._app_names))
        if at == len(self._app_names):
            self._app_names.append(name)
        return at

    def _add_late(self, position: int, count: int) -> None:
        self._late[position] = self._late.get(position, 0) + count

    def counts(self, start: int) -> WindowCounts:
        """Return a copy of it in columns, as counts of the window that begins at `start` (s)."""
        columns = {
            dimensions: Column(dimensions, list(column), list(column.values()))
            for dimensions, column in self._columns.items()
            if column
        }
        for position, names in self._own.items():
            for dimensions, count in names.counts.items():
                column = columns.get(dimensions)
                if column is None:
                    column = columns[dimensions] = Column(dimensions, [], [])
                column.at.append(position)
                column.counts.append(count)
        return WindowCounts(
            start,
            list(self._positions),
            list(self._app_names),
            list(self._at_app),
            list(columns.values()),
            dict(self._late),
        )

    def counts_to_write(self, start: int) -> WindowCounts:
        """Return the same copy, with what is to be emitted of it."""
        counts = self.counts(start)
        if self._to_emit is None:
            counts.to_emit = list(range(len(self._positions)))
            counts.revisions = dict.fromkeys(counts.to_emit, 0)
        else:
            counts.to_emit = sorted(self._to_emit)
            counts.revisions = dict(self._revisions)
        return counts

    def events(self, campaign_id: str) -> int:
        """Return how many events a campaign has, of all kinds."""
        position = self._positions.get(campaign_id)
        return self._events[position] if position is not None else 0

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of one campaign."""
        position = self._positions.get(campaign_id)
        if position is None:
            return None
        app_id = self._app_names[self._at_app[position]]
        cell = Cell(app_id, {}, {}, self._late.get(position, 0))
        names = self._own.get(position)
        if names is not None:
            for dimensions, count in names.counts.items():
                _side(cell, dimensions)[dimensions] = count
            return cell
        for dimensions, column in self._columns.items():
            shared = column.get(position)
            if shared is not None:
                _side(cell, dimensions)[dimensions] = shared
        return cell

    def totals(
        self, campaign_ids: Iterable[str], is_counted: Callable[[Dimensions], bool]
    ) -> list[int]:
        """Return how many events each campaign has of those count keys that are counted."""
        columns: list[dict[int, int]] = []
        others: list[dict[int, int]] = []
        for key, column in self._columns.items():
            (columns if is_counted(key) else others).append(column)
        totals = []
        for campaign_id in campaign_ids:
            position = self._positions.get(campaign_id)
            if position is None:
                totals.append(0)
                continue
            names = self._own.get(position) if self._own else None
            if names is not None:
                totals.append(sum(n for key, n in names.counts.items() if is_counted(key)))
            elif len(columns) <= len(others):
                totals.append(sum([column.get(position, 0) for column in columns]))
            else:
                not_counted = sum([column.get(position, 0) for column in others])
                totals.append(self._events[position] - not_counted)
        return totals

    def all_totals(self, is_counted: Callable[[Dimensions], bool]) -> NDArray[np.int64]:
        """Return the same of all campaigns, in the order of `campaigns`."""
        counted = {key for key in self._columns if is_counted(key)}
        others = self._columns.keys() - counted
        if len(counted) <= len(others):
            totals = self._totals_of(counted)
        else:
            totals = integers(self._events) - self._totals_of(others)
        for position, names in self._own.items():
            totals[position] = sum(n for key, n in names.counts.items() if is_counted(key))
        return totals

    def _totals_of(self, keys: Iterable[Dimensions]) -> NDArray[np.int64]:
        """Return how many events of some shared count keys each campaign has."""
        at: list[int] = []
        counts: list[int] = []
        for key in keys:
            at += self._columns[key]
            counts += self._columns[key].values()
        return sums_at(len(self), at, counts)

    def campaigns(self) -> Collection[str]:
        """Return the campaigns."""
        return self._positions.keys()

    def newest(self, count: int) -> list[str]:
        """Return the campaigns that were added last."""
        return list(islice(reversed(self._positions), count)) if count else []

    def apps(self) -> Iterator[tuple[str, str | None]]:
        """Return the campaigns and their apps."""
        return zip(self._positions, map(self._app_names.__getitem__, self._at_app), strict=True)

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._positions)

    @property
    def names(self) -> int:
        """How many counts there are, of all campaigns."""
        own = sum(len(names.counts) for names in self._own.values())
        return own + sum(map(len, self._columns.values()))

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        columns = sum(map(sys.getsizeof, self._columns.values()))
        own = _NAME_BYTES * sum(len(names.counts) for names in self._own.values())
        campaigns = sys.getsizeof(self._positions) + _CAMPAIGN_BYTES * len(self._positions)
        return columns + own + campaigns + sys.getsizeof(self._at_app) + sys.getsizeof(self._events)


def cell_of(counts: WindowCounts, position: int) -> Cell:
    """Return the counts of the campaign at a position, of counts that name each but once."""
    app_id = counts.apps[counts.at_app[position]]
    sends: Counts = {}
    engagement: Counts = {}
    for column in counts.columns:
        at, dimensions = column.at, column.dimensions
        # Mostly all campaigns have counts of it, in their order.
        if position < len(at) and at[position] == position:
            of_it = column.counts[position]
        elif position in at:
            of_it = column.counts[at.index(position)]
        else:
            continue
        (engagement if dimensions.engagement else sends)[dimensions] = of_it
    return Cell(app_id, sends, engagement, counts.late.get(position, 0))


def cells_of(counts: WindowCounts, wanted: Container[str]) -> Iterator[tuple[str, Cell]]:
    """Yield the counts of each wanted campaign, of counts that name each but once."""
    names = counts.campaigns
    cells = {
        position: Cell(counts.apps[app], {}, {}, counts.late.get(position, 0))
        for position, (name, app) in enumerate(zip(names, counts.at_app, strict=True))
        if name in wanted
    }
    for column in counts.columns:
        for at, count in zip(column.at, column.counts, strict=True):
            if at in cells:
                _side(cells[at], column.dimensions)[column.dimensions] = count
    return ((names[position], cell) for position, cell in cells.items())


def _side(cell: Cell, dimensions: Dimensions) -> Counts:
    return cell.engagement if dimensions.engagement else cell.sends
