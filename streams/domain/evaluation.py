"""What the windows of one campaign say to one rule, for each scope."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors.folding import Folded
from streams.domain.detectors.history import Closing, Observation
from streams.domain.rules import Rule, Scope


class ScopeWindows(NamedTuple):
    """What a campaign's windows say of one scope.

    Attributes:
        scope: what it is about.
        app_id: the campaign's app; null while it is unknown.
        open: counts in each open window with any attempts, by its start (s), newest first.
        closed: reads the counts in closed windows with any attempts, with their starts (s), newest
            first. Only what is taken is read.
        closing: how far windows are closed; null for a rule that is not evaluated on closing.
        folded: what the fold of the scope has come to; null if the rule's detector does not fold.
    """

    scope: Scope
    app_id: str | None
    open: Mapping[int, Observation]
    closed: Callable[[], Iterator[tuple[int, Observation]]]
    closing: Closing | None = None
    folded: Folded | None = None


class CampaignWindows(NamedTuple):
    """The counts of one campaign by their window's start (s), newest first.

    `closed` reads what a rule sees in the closed ones; only what is taken is read. `closing` is how
    far windows are closed, for a rule that is evaluated on closing.
    """

    campaign_id: str
    app_id: str | None
    open: list[tuple[int, Cell]]
    closed: Callable[[Rule], Iterator[tuple[int, Mapping[Scope, Observation]]]]
    closing: Closing | None = None


class ObservedCampaign:
    """The windows of one campaign, as one rule sees them.

    Args:
        rule: the rule.
        campaign: the windows.
        groups: which group each status is in.
    """

    def __init__(self, rule: Rule, campaign: CampaignWindows, groups: StatusGroups) -> None:
        self._app_id = campaign.app_id
        self._closing = campaign.closing

        self._open = [
            (start, rule.observe(campaign.campaign_id, cell, groups))
            for start, cell in campaign.open
        ]
        self._closed = partial(campaign.closed, rule)

    def scopes(self) -> Iterator[ScopeWindows]:
        """Yield what there is of each scope that has attempts in an open window."""
        for scope, of_it in self._by_scope().items():
            yield self._windows_of(scope, of_it)

    def all_scopes(self, oldest: int, others: Iterable[Scope]) -> Iterator[ScopeWindows]:
        """Yield what there is of each scope that has attempts in any window.

        Args:
            oldest: start (s) of the first closed window that counts.
            others: scopes that are yielded though they have no attempts.
        """
        by_scope = self._by_scope()
        for start, scopes in self._closed():
            if start < oldest:
                break
            for scope in scopes:
                by_scope.setdefault(scope, {})
        for scope in others:
            by_scope.setdefault(scope, {})
        for scope, of_it in by_scope.items():
            yield self._windows_of(scope, of_it)

    def _by_scope(self) -> dict[Scope, dict[int, Observation]]:
        by_scope: dict[Scope, dict[int, Observation]] = {}
        for start, scopes in self._open:
            for scope, seen in scopes.items():
                by_scope.setdefault(scope, {})[start] = seen
        return by_scope

    def _windows_of(self, scope: Scope, of_it: Mapping[int, Observation]) -> ScopeWindows:
        closed = partial(self._closed_of, scope)
        return ScopeWindows(scope, self._app_id, of_it, closed, self._closing)

    def _closed_of(self, scope: Scope) -> Iterator[tuple[int, Observation]]:
        for start, scopes in self._closed():
            if scope in scopes:
                yield start, scopes[scope]
