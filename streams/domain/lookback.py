"""The closed windows of a rule's lookback.

A campaign with few attempts a minute has enough of them only in several windows together. Its
counts in closed windows are read from the window table, so a restart changes nothing. What rules
see in them is kept, as a clean bucket is bytes that have to be decoded, and counts are many.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors.history import Observation
from streams.domain.partial_counts import WindowCounts
from streams.domain.rules import Rule, Scope
from streams.domain.table import WindowTable

MOST_CELLS = 50_000
"""Closed windows of campaigns of which is kept what rules see; past this number all are dropped,
and read again when needed."""

Seen: TypeAlias = Mapping[Scope, Observation]
"""What a rule sees of one campaign in one window."""
View: TypeAlias = tuple[frozenset[str], bool, str]
"""All of a rule that decides what it sees."""


class _ClosedCell(NamedTuple):
    """What rules see of a campaign in a closed window; `app_id` is its app."""

    app_id: str | None
    seen: dict[View, Seen]


def _view(rule: Rule) -> View:
    return rule.statuses, rule.unrecognised, rule.scope


class ClosedWindows:
    """The closed windows of one partition that are within the longest lookback of its rules.

    Args:
        table: all windows of the partition.
        size: of a window (s).
        windows: length of the lookback, in windows, the open one included.
        rules: all rules.
        groups: which group each status is in.
    """

    def __init__(
        self,
        table: WindowTable,
        size: int,
        windows: int,
        rules: Iterable[Rule],
        groups: StatusGroups,
    ) -> None:
        self._table = table
        self._groups = groups
        self._rules = tuple(rules)
        self._views = {rule.name: _view(rule) for rule in self._rules}
        self._reach = (windows - 1) * size
        self._starts: list[int] = []
        """Starts (s) of the closed windows within reach, oldest first."""
        self._newest: dict[str, int] = {}
        """By campaign, the newest closed window (s) within reach that has it."""
        self._cells: dict[str, dict[int, _ClosedCell | None]] = {}
        """By campaign and start of a window (s), what is seen; null where there is nothing."""
        self._cells_kept = 0

    @property
    def starts(self) -> Sequence[int]:
        """Starts (s) of the closed windows within reach, oldest first."""
        return self._starts

    def update(self, oldest_open: int) -> None:
        """Follow the table after a window opened, closed or expired, or event time went on.

        Args:
            oldest_open: start (s) of the oldest window that event time leaves open.
        """
        if not self._reach:
            return
        first = oldest_open - self._reach
        known = set(self._starts)
        starts = [start for start in self._table.starts() if first <= start < oldest_open]
        for start in starts:
            if start not in known:
                self._index(start)
        if known.difference(starts):
            self._forget_before(starts[0] if starts else oldest_open)
        self._starts = starts

    def _index(self, start: int) -> None:
        names = dict.fromkeys(self._table.campaigns_in(start), start)
        if self._starts and start < self._starts[-1]:
            names = {name: max(start, self._newest.get(name, start)) for name in names}
        self._newest.update(names)

    def _forget_before(self, first: int) -> None:
        """Forget the windows that begin before `first` (s)."""
        self._newest = {name: at for name, at in self._newest.items() if at >= first}
        cells: dict[str, dict[int, _ClosedCell | None]] = {}
        for name, by_start in self._cells.items():
            if name in self._newest:
                cells[name] = {start: cell for start, cell in by_start.items() if start >= first}
        self._cells = cells
        self._cells_kept = sum(map(len, cells.values()))

    def corrected(self, start: int, counts: WindowCounts) -> None:
        """Note late counts, as they were added to the closed window that begins at `start` (s)."""
        if start not in self._starts:
            # Either out of reach, or closed since the last update: that will read all of it.
            return
        for name in counts.campaigns:
            self._newest[name] = max(start, self._newest.get(name, start))
            self._cells.get(name, {}).pop(start, None)

    def campaigns_since(self, first: int) -> set[str]:
        """Return the campaigns that have counts in a closed window from `first` (s) on."""
        return {name for name, newest in self._newest.items() if newest >= first}

    def __contains__(self, campaign_id: str) -> bool:
        """Tell whether a campaign has counts in any closed window within reach."""
        return campaign_id in self._newest

    def app_of(self, campaign_id: str) -> str | None:
        """Return the app of a campaign in the newest window that knows it."""
        apps = (cell.app_id for _, cell in self._cells_of(campaign_id))
        return next((app_id for app_id in apps if app_id is not None), None)

    def seen_by(self, rule: Rule, campaign_id: str) -> Iterator[tuple[int, Seen]]:
        """Yield what a rule sees of a campaign in closed windows (start, s), newest first."""
        view = self._views[rule.name]
        for start, cell in self._cells_of(campaign_id):
            yield start, cell.seen[view]

    def _cells_of(self, campaign_id: str) -> Iterator[tuple[int, _ClosedCell]]:
        newest = self._newest.get(campaign_id)
        if newest is None:
            return
        known = self._cells.get(campaign_id, {})
        for start in reversed(self._starts):
            if start <= newest:
                cell = known[start] if start in known else self._cell(campaign_id, start)
                if cell is not None:
                    yield start, cell

    def _cell(self, campaign_id: str, start: int) -> _ClosedCell | None:
        if self._cells_kept > MOST_CELLS:
            self._cells.clear()
            self._cells_kept = 0
        by_start = self._cells.setdefault(campaign_id, {})
        if start not in by_start:
            cell = self._table.cell(campaign_id, start)
            by_start[start] = self._observed(campaign_id, cell) if cell is not None else None
            self._cells_kept += 1
        return by_start[start]

    def _observed(self, campaign_id: str, cell: Cell) -> _ClosedCell:
        """Return what all rules that may be about the campaign see."""
        seen: dict[View, Seen] = {}
        for rule in self._rules:
            view = self._views[rule.name]
            if view not in seen and rule.matches_campaign(campaign_id):
                seen[view] = rule.observe(campaign_id, cell, self._groups)
        return _ClosedCell(cell.app_id, seen)
