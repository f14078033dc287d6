"""What the windows of one campaign say to one rule, for each scope.

A window with fewer than `min_attempts` says nothing by itself; then the windows before it are added
to it, newest first, until there are enough, as far back as the rule allows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import NamedTuple

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors import Observation
from streams.domain.rules import Rule, Scope


class Stretch(NamedTuple):
    """Counts of windows in a row, together: the first begins at `start`, the last at `last` (s)."""

    start: int
    last: int
    seen: Observation


class ScopeHistory(NamedTuple):
    """What a campaign's windows say of one scope.

    Attributes:
        scope: what it is about.
        app_id: the campaign's app; null while it is unknown.
        open: counts in each open window with any attempts, by its start (s), newest first.
        enough: for each of these, newest first, its counts together with those before it that are
            needed; without those that have too few attempts even so.
        waits_for: with how many more attempts, none of them a hit, a detector can come to another
            result; null if no number of them can.
    """

    scope: Scope
    app_id: str | None
    open: Mapping[int, Observation]
    enough: list[Stretch]
    waits_for: int | None


class CampaignWindows(NamedTuple):
    """The counts of one campaign by their window's start (s), newest first.

    `closed` reads the closed ones; only as many as are needed are taken.
    """

    campaign_id: str
    app_id: str | None
    open: list[tuple[int, Cell]]
    closed: Callable[[], Iterator[tuple[int, Cell]]]


class History:
    """The windows of one campaign, as one rule sees them.

    Args:
        rule: the rule.
        campaign: the windows.
        groups: which group each status is in.
        size: of a window (s).
    """

    def __init__(
        self, rule: Rule, campaign: CampaignWindows, groups: StatusGroups, size: int
    ) -> None:
        self._rule = rule
        self._size = size
        self._app_id = campaign.app_id

        def observe(
            cells: Iterable[tuple[int, Cell]],
        ) -> Iterator[tuple[int, dict[Scope, Observation]]]:
            for start, cell in cells:
                yield start, rule.observe(campaign.campaign_id, cell, groups)

        self._open = list(observe(campaign.open))
        self._seen_closed: list[tuple[int, dict[Scope, Observation]]] = []
        self._more_closed = observe(campaign.closed())

    def scopes(self, notified_through: Callable[[Scope], int]) -> Iterator[ScopeHistory]:
        """Yield what there is of each scope that has attempts in an open window.

        Args:
            notified_through: the newest window (s) that an alert of this scope which has ended was
                about. It and those before it are not added to newer ones: the next alert has to
                have evidence of its own.
        """
        by_scope: dict[Scope, dict[int, Observation]] = {}
        for start, scopes in self._open:
            for scope, seen in scopes.items():
                by_scope.setdefault(scope, {})[start] = seen
        for scope, of_it in by_scope.items():
            yield self._scope(scope, of_it, notified_through(scope))

    def _scope(self, scope: Scope, of_it: dict[int, Observation], told: int) -> ScopeHistory:
        enough: list[Stretch] = []
        waits: list[int] = []
        least = self._rule.min_attempts
        for last, alone in of_it.items():
            start, attempts, hits, without_oldest = last, alone.attempts, alone.hits, 0
            parts: list[Observation] = []
            if attempts < least:
                oldest = max(told + 1, last - (self._rule.lookback_windows - 1) * self._size)
                for before, more in self._before(scope, of_it, last, oldest):
                    start, without_oldest = before, attempts
                    attempts, hits = attempts + more.attempts, hits + more.hits
                    parts.append(more)
                    if attempts >= least:
                        break
            if attempts >= least:
                enough.append(Stretch(start, last, reduce(Observation.plus, parts, alone)))
            if hits and last <= told:
                waits.append(1)
            elif hits and attempts < least:
                waits.append(least - attempts)
            elif hits and start < last:
                waits.append(least - without_oldest)
        return ScopeHistory(scope, self._app_id, of_it, enough, min(waits, default=None))

    def _before(
        self, scope: Scope, of_it: dict[int, Observation], last: int, oldest: int
    ) -> Iterator[tuple[int, Observation]]:
        """Yield the windows of a scope before `last` and not before `oldest` (s), newest first."""
        for start, seen in of_it.items():
            if oldest <= start < last:
                yield start, seen
        for start, scopes in self._closed():
            if start < oldest:
                return
            if scope in scopes:
                yield start, scopes[scope]

    def _closed(self) -> Iterator[tuple[int, dict[Scope, Observation]]]:
        at = 0
        while True:
            if at == len(self._seen_closed):
                more = next(self._more_closed, None)
                if more is None:
                    return
                self._seen_closed.append(more)
            yield self._seen_closed[at]
            at += 1
