"""Attempts and hits of a rule's scopes, added up from the columns of partial counts."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.counts import StatusGroups
from streams.domain.partial_counts import Column, WindowCounts
from streams.domain.rules import Rule, Scope

Part: TypeAlias = str | None
ScopeKey: TypeAlias = str | tuple[str, Part]
"""A scope: the campaign or, for a rule about parts of it, the campaign and the part."""
Sums: TypeAlias = dict[ScopeKey, int]

_NO_ATTEMPT, _ATTEMPT, _HIT = range(3)


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

    def hits(self, counts: WindowCounts) -> Sums:
        """Return the hits of each scope that has any."""
        sums: Sums = {}
        for column in counts.columns:
            if self._role_of(column) == _HIT:
                self._add(column, counts.campaigns, sums)
        return sums

    def attempts(self, counts: WindowCounts, keys: Iterable[ScopeKey]) -> Sums:
        """Return the attempts of these scopes, and of others of the same campaigns."""
        wanted = {campaign_of(key) for key in keys}
        positions = {at for at, name in enumerate(counts.campaigns) if name in wanted}
        sums: Sums = {}
        for column in counts.columns:
            if self._role_of(column) != _NO_ATTEMPT and not positions.isdisjoint(column.at):
                self._add_some(column, counts.campaigns, positions, sums)
        return sums

    def of_window(self, counts: Iterable[WindowCounts]) -> WindowSums:
        """Return the attempts and hits of each scope that has attempts in a window.

        Args:
            counts: of the window, those of one campaign all in one.
        """
        add_up = self._by_campaign if self._scope == "campaign" else self._by_part
        sums = [add_up(part) for part in counts]
        if len(sums) == 1:
            return sums[0]
        return WindowSums(
            [key for each in sums for key in each.keys],
            np.concatenate([each.attempts for each in sums]),
            np.concatenate([each.hits for each in sums]),
        )

    def _by_part(self, counts: WindowCounts) -> WindowSums:
        attempts: Sums = {}
        hits: Sums = {}
        everywhere = range(len(counts.campaigns))
        for column in counts.columns:
            role = self._role_of(column)
            if role != _NO_ATTEMPT:
                self._add_some(column, counts.campaigns, everywhere, attempts)
            if role == _HIT:
                self._add_some(column, counts.campaigns, everywhere, hits)
        keys = list(attempts)
        return WindowSums(
            keys,
            np.fromiter(attempts.values(), np.int64, len(keys)),
            np.fromiter((hits.get(key, 0) for key in keys), np.int64, len(keys)),
        )

    def _by_campaign(self, counts: WindowCounts) -> WindowSums:
        campaigns = counts.campaigns
        attempts = np.zeros(len(campaigns), np.int64)
        hits = np.zeros(len(campaigns), np.int64)
        for column in counts.columns:
            role = self._role_of(column)
            if role == _NO_ATTEMPT:
                continue
            at, numbers = np.array(column.at, np.int64), np.array(column.counts, np.int64)
            np.add.at(attempts, at, numbers)
            if role == _HIT:
                np.add.at(hits, at, numbers)
        with_attempts = np.flatnonzero(attempts)
        if len(with_attempts) == len(campaigns):
            return WindowSums(campaigns, attempts, hits)
        keys = [campaigns[at] for at in with_attempts.tolist()]
        return WindowSums(keys, attempts[with_attempts], hits[with_attempts])

    def _role_of(self, column: Column) -> int:
        dimensions = column.dimensions
        if dimensions.engagement:
            return _NO_ATTEMPT
        return self._roles.get(dimensions.outcome, self._unknown)

    def _add(self, column: Column, campaigns: list[str], sums: Sums) -> None:
        """Add what a column has to sums by scope."""
        if self._scope == "campaign":
            for at, count in zip(column.at, column.counts, strict=True):
                name = campaigns[at]
                sums[name] = sums.get(name, 0) + count
        else:
            self._add_some(column, campaigns, range(len(campaigns)), sums)

    def _add_some(
        self, column: Column, campaigns: list[str], positions: Container[int], sums: Sums
    ) -> None:
        """Add what a column has of the campaigns at some positions."""
        dimensions = column.dimensions
        is_treatment = self._scope == "treatment"
        part = dimensions.treatment_id if is_treatment else dimensions.channel_type
        for at, count in zip(column.at, column.counts, strict=True):
            if at in positions:
                name = campaigns[at]
                key = name if self._scope == "campaign" else self._part(name, part)
                sums[key] = sums.get(key, 0) + count


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
