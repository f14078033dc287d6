"""Attempts and hits of a rule's scopes, added up from the columns of partial counts."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.arrays import integers
from streams.domain.cells import Cells
from streams.domain.counts import Cell, StatusGroups
from streams.domain.partial_counts import Column, Dimensions, WindowCounts
from streams.domain.rules import Rule, Scope

Part: TypeAlias = str | None
ScopeKey: TypeAlias = str | tuple[str, Part]
"""A scope: the campaign or, for a rule about parts of it, the campaign and the part."""
Sums: TypeAlias = dict[ScopeKey, int]

_NO_ATTEMPT, _ATTEMPT, _HIT = range(3)


class Added(NamedTuple):
    """Attempts, above 0, and hits among them, that a record adds to a scope.

    The newest of them are in the window that begins at `start` (s). The app is that of its
    campaign; null if the record does not name it.
    """

    key: ScopeKey
    attempts: int
    hits: int
    start: int
    app: str | None

    def with_newer(self, newer: "Added") -> "Added":
        """Return the sum of this and what the same record adds to the scope in a newer window."""
        attempts, hits = self.attempts + newer.attempts, self.hits + newer.hits
        app = newer.app if self.app is None else self.app
        return Added(self.key, attempts, hits, newer.start, app)


class RecordCounts:
    """Counts of one window in one record, and what all rules have in common of them.

    Args:
        start: of the window (s).
        counts: a campaign may be named more than once.
        groups: which group each status is in.
    """

    def __init__(self, start: int, counts: WindowCounts, groups: StatusGroups) -> None:
        self.start = start
        self.counts = counts
        self._groups = groups

    def attempts_at(self, positions: Collection[int]) -> dict[int, int]:
        """Return the attempts of the campaigns at some positions, of many that there are."""
        is_wanted = np.zeros(len(self.counts.campaigns), np.bool_)
        is_wanted[list(positions)] = True
        attempts = dict.fromkeys(positions, 0)
        for at, counts in self._attempts:
            for wanted in np.flatnonzero(is_wanted[at]).tolist():
                attempts[at.item(wanted)] += counts[wanted]
        return attempts

    @cached_property
    def _attempts(self) -> list[tuple[NDArray[np.int64], list[int]]]:
        """Of each count key whose events are attempts, positions of campaigns, and their counts."""
        is_attempt = self._groups.counts_attempts
        columns = self.counts.columns
        return [(integers(c.at), c.counts) for c in columns if is_attempt(c.dimensions)]

    @cached_property
    def names_any_twice(self) -> bool:
        """Whether a campaign has several positions."""
        return len(set(self.counts.campaigns)) < len(self.counts.campaigns)

    def app_at(self, position: int) -> str | None:
        """Return the app of the campaign at a position."""
        return self.counts.apps[self.counts.at_app[position]]


class ClosingCounts:
    """Counts of a window that closes, and what all rules have in common of them.

    Args:
        start: of the window (s).
        parts: of the window, the counts of a campaign all in one.
        groups: which group each status is in.
    """

    def __init__(
        self, start: int, parts: Sequence[Cells | WindowCounts], groups: StatusGroups
    ) -> None:
        self.start = start
        self._parts = parts
        self._groups = groups

    @cached_property
    def campaigns(self) -> list[str]:
        """Those that have counts."""
        return [name for part in self._parts for name in _campaigns(part)]

    @cached_property
    def attempts(self) -> NDArray[np.int64]:
        """The attempts of each."""
        return self.totals(self._groups.counts_attempts)

    def totals(self, is_counted: Callable[[Dimensions], bool]) -> NDArray[np.int64]:
        """Return how many events of counted count keys each campaign has."""
        totals = [part.all_totals(is_counted) for part in self._parts]
        return np.concatenate(totals) if totals else np.zeros(0, np.int64)

    @cached_property
    def apps(self) -> dict[str, str | None]:
        """The apps by campaign."""
        return dict(chain.from_iterable(map(_apps, self._parts)))

    @cached_property
    def columns(self) -> list[WindowCounts]:
        """All counts, by count key."""
        parts = self._parts
        return [p.counts(self.start) if isinstance(p, Cells) else p for p in parts]


def _campaigns(part: Cells | WindowCounts) -> Collection[str]:
    return part.campaigns() if isinstance(part, Cells) else part.campaigns


def _apps(part: Cells | WindowCounts) -> Iterator[tuple[str, str | None]]:
    if isinstance(part, Cells):
        return part.apps()
    return zip(part.campaigns, map(part.apps.__getitem__, part.at_app), strict=True)


class WindowSums(NamedTuple):
    """Attempts, above 0, and hits in a window of each of these scopes, which are all different."""

    keys: Sequence[ScopeKey]
    attempts: NDArray[np.int64]
    hits: NDArray[np.int64]


def campaign_of(key: ScopeKey) -> str:
    """Return the campaign that a scope is of."""
    return key if isinstance(key, str) else key[0]


class ScopeSums:
    """Adds up counts as one rule sees them.

    Args:
        rule: the rule.
        groups: which group each status is in.
        part: returns the scope that a part of a campaign is counted in.
    """

    def __init__(
        self, rule: Rule, groups: StatusGroups, part: Callable[[str, Part], ScopeKey]
    ) -> None:
        self._scope = rule.scope
        self._part = part
        self._roles = {
            status: _role(rule, groups, status) for status in {*groups.group_of, *rule.statuses}
        }
        self._unknown = _HIT if rule.unrecognised else _ATTEMPT

    def of_record(self, windows: Sequence[RecordCounts], live: set[ScopeKey]) -> Iterable[Added]:
        """Return what a record adds to each scope with hits, and to those of `live`.

        Args:
            windows: what it has in each window, oldest first.
            live: scopes.
        """
        add_up = self._by_position if self._scope == "campaign" else self._by_name
        if len(windows) == 1:
            return add_up(windows[0], live)
        return _added_up(each for window in windows for each in add_up(window, live))

    def _by_name(self, record: RecordCounts, live: set[ScopeKey]) -> list[Added]:
        campaigns, columns = record.counts.campaigns, record.counts.columns
        names = {campaign_of(key) for key in live}
        for column in columns:
            if self._role_of(column.dimensions) == _HIT:
                names.update(map(campaigns.__getitem__, column.at))
        # A campaign may be named more than once.
        wanted = {at for at, name in enumerate(campaigns) if name in names}
        hits: Sums = {}
        for column in columns:
            if self._role_of(column.dimensions) == _HIT:
                self._add(column, campaigns, wanted, hits)
        attempts: Sums = {}
        for column in columns:
            if self._role_of(column.dimensions) != _NO_ATTEMPT and not wanted.isdisjoint(column.at):
                self._add(column, campaigns, wanted, attempts)
        apps = {campaigns[at]: record.app_at(at) for at in wanted}
        return [
            Added(key, count, hits.get(key, 0), record.start, apps[campaign_of(key)])
            for key, count in attempts.items()
            if key in hits or key in live
        ]

    def _by_position(self, record: RecordCounts, live: set[ScopeKey]) -> Iterable[Added]:
        hits: dict[int, int] = {}
        for column in record.counts.columns:
            if self._role_of(column.dimensions) == _HIT:
                for at, count in zip(column.at, column.counts, strict=True):
                    hits[at] = hits.get(at, 0) + count
        campaigns = record.counts.campaigns
        # Positions without hits that matter: of what fires, and of campaigns with hits elsewhere.
        silent = live.intersection(campaigns) if live else set[ScopeKey]()
        if hits and record.names_any_twice:
            silent.update(map(campaigns.__getitem__, hits))
        if silent:
            for at, name in enumerate(campaigns):
                if name in silent:
                    hits.setdefault(at, 0)
        if not hits:
            return ()
        attempts = record.attempts_at(hits)
        added = [
            Added(campaigns[at], attempts[at], count, record.start, record.app_at(at))
            for at, count in hits.items()
            if attempts[at]
        ]
        return _added_up(added) if record.names_any_twice else added

    def of_cell(self, key: ScopeKey, cell: Cell) -> tuple[int, int]:
        """Return the attempts and hits of a scope among the counts of its campaign in a window."""
        attempts = hits = 0
        for dimensions, count in cell.sends.items():
            role = self._role_of(dimensions)
            if role != _NO_ATTEMPT and (
                isinstance(key, str) or self._part(key[0], self._part_of(dimensions)) == key
            ):
                attempts += count
                hits += count if role == _HIT else 0
        return attempts, hits

    def of_window(self, counts: ClosingCounts) -> WindowSums:
        """Return the attempts and hits of each scope that has attempts in a window."""
        return self._by_campaign(counts) if self._scope == "campaign" else self._by_part(counts)

    def _by_part(self, counts: ClosingCounts) -> WindowSums:
        attempts: Sums = {}
        hits: Sums = {}
        for part in counts.columns:
            everywhere = range(len(part.campaigns))
            for column in part.columns:
                role = self._role_of(column.dimensions)
                if role != _NO_ATTEMPT:
                    self._add(column, part.campaigns, everywhere, attempts)
                if role == _HIT:
                    self._add(column, part.campaigns, everywhere, hits)
        keys = list(attempts)
        return WindowSums(
            keys,
            np.fromiter(attempts.values(), np.int64, len(keys)),
            np.fromiter((hits.get(key, 0) for key in keys), np.int64, len(keys)),
        )

    def _by_campaign(self, counts: ClosingCounts) -> WindowSums:
        campaigns, attempts = counts.campaigns, counts.attempts
        hits = counts.totals(self.is_hit)
        with_attempts = np.flatnonzero(attempts)
        if len(with_attempts) == len(campaigns):
            return WindowSums(campaigns, attempts, hits)
        keys = [campaigns[at] for at in with_attempts.tolist()]
        return WindowSums(keys, attempts[with_attempts], hits[with_attempts])

    def is_hit(self, key: Dimensions) -> bool:
        """Tell whether events of a count key are hits."""
        return self._role_of(key) == _HIT

    def _role_of(self, key: Dimensions) -> int:
        if key.engagement:
            return _NO_ATTEMPT
        return self._roles.get(key.outcome, self._unknown)

    def _part_of(self, dimensions: Dimensions) -> Part:
        is_treatment = self._scope == "treatment"
        return dimensions.treatment_id if is_treatment else dimensions.channel_type

    def _add(
        self, column: Column, campaigns: list[str], positions: Container[int], sums: Sums
    ) -> None:
        """Add what a column has of parts of the campaigns at some positions."""
        part = self._part_of(column.dimensions)
        for at, count in zip(column.at, column.counts, strict=True):
            if at in positions:
                key = self._part(campaigns[at], part)
                sums[key] = sums.get(key, 0) + count


def _added_up(added: Iterable[Added]) -> Iterable[Added]:
    """Return the sums by scope of what a record adds, oldest window first."""
    sums: dict[ScopeKey, Added] = {}
    for each in added:
        before = sums.get(each.key)
        sums[each.key] = each if before is None else before.with_newer(each)
    return sums.values()


def _role(rule: Rule, groups: StatusGroups, status: str) -> int:
    if not groups.is_attempt(status):
        return _NO_ATTEMPT
    return _HIT if rule.is_hit(status, groups) else _ATTEMPT


def key_of(rule: Rule, scope: Scope) -> ScopeKey:
    """Return the key of a scope of a rule."""
    if rule.scope == "campaign":
        return scope.campaign_id
    return scope.campaign_id, scope.treatment_id if rule.scope == "treatment" else (
        scope.channel_type
    )


def scope_of(rule: Rule, key: ScopeKey) -> Scope:
    """Return the scope of a rule that has a key."""
    if isinstance(key, str):
        return Scope(key)
    if rule.scope == "treatment":
        return Scope(key[0], treatment_id=key[1])
    return Scope(key[0], channel_type=key[1])
