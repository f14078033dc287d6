"""What to watch for, in which campaigns, and whom to tell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.history import Observation

ScopeKind: TypeAlias = Literal["campaign", "treatment", "channel"]


class Scope(NamedTuple):
    """What one alert is about. `treatment_id` or `channel_type` is set if the rule looks there.

    `channel_type` is the channel of the endpoint: real sends of SMS and e-mail have no delivery
    type, and for CUSTOM ones it does not say which channel it is.
    """

    campaign_id: str
    treatment_id: str | None = None
    channel_type: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Durations are seconds.

    Args:
        name: unique among the rules.
        statuses: the send statuses that are hits.
        unrecognised: whether every status that is in no group is a hit too.
        detector: decides when counts are a breach, and when that is over.
        scope: what an alert of this rule is about.
        campaigns: shell-style patterns of campaign ids.
        apps: shell-style patterns of app ids.
        for_: how long a breach must last before the alert fires.
        keep_firing_for: how long a recovery must last before the alert is resolved.
        no_data_after: an alert without attempts in its scope for so long has expired.
        repeat_interval: how often a firing alert is repeated.
        reopen_within: an alert that fires again so long after its end at most is the same one,
            reopened; 0 for never.
        severity: passed on to receivers.
        labels: passed on to receivers.
        receivers: names of those who are told; `*` is everybody.
        definition: a digest of what the rule's alerts are about: its statuses and its scope.
    """

    name: str
    statuses: frozenset[str]
    detector: Detector
    unrecognised: bool = False
    scope: ScopeKind = "campaign"
    campaigns: tuple[str, ...] = ("*",)
    apps: tuple[str, ...] = ("*",)
    for_: float = 0.0
    keep_firing_for: float = 180.0
    no_data_after: float = 900.0
    repeat_interval: float = 14_400.0
    severity: str = "critical"
    labels: Mapping[str, str] = field(default_factory=dict)
    receivers: tuple[str, ...] = ("*",)
    reopen_within: float = 0.0
    definition: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        about = repr((sorted(self.statuses), self.unrecognised, self.scope))
        object.__setattr__(self, "definition", sha256(about.encode()).hexdigest()[:16])

    def matches(self, campaign_id: str, app_id: str | None) -> bool:
        """Tell whether the rule is about this campaign."""
        return self.matches_campaign(campaign_id) and self.matches_app(app_id)

    def matches_campaign(self, campaign_id: str) -> bool:
        """Tell whether the rule is about this campaign, in one of its apps."""
        return _any_matches(campaign_id, self.campaigns)

    def matches_app(self, app_id: str | None) -> bool:
        """Tell whether the rule is about campaigns of this app."""
        return _any_matches(app_id or "", self.apps)

    def observe(
        self, campaign_id: str, cell: Cell, groups: StatusGroups
    ) -> dict[Scope, Observation]:
        """Count attempts and hits in one window, for each of the campaign's scopes."""
        by_scope: dict[Scope, dict[str, int]] = {}
        for dimensions, count in cell.sends.items():
            outcome = dimensions.outcome
            if not groups.is_attempt(outcome):
                continue
            scope = self._scope(campaign_id, dimensions.treatment_id, dimensions.channel_type)
            counts = by_scope.get(scope)
            if counts is None:
                by_scope[scope] = {outcome: count}
            else:
                counts[outcome] = counts.get(outcome, 0) + count
        return {scope: self._observation(counts, groups) for scope, counts in by_scope.items()}

    def _scope(self, campaign_id: str, treatment_id: str | None, channel_type: str | None) -> Scope:
        if self.scope == "treatment":
            return Scope(campaign_id, treatment_id=treatment_id)
        if self.scope == "channel":
            return Scope(campaign_id, channel_type=channel_type)
        return Scope(campaign_id)

    def _observation(self, counts: dict[str, int], groups: StatusGroups) -> Observation:
        hits = sum([n for status, n in counts.items() if self.is_hit(status, groups)])
        return Observation(sum(counts.values()), hits, counts)

    def is_hit(self, status: str, groups: StatusGroups) -> bool:
        """Tell whether sends with this status are hits."""
        return status in self.statuses or (self.unrecognised and status not in groups.group_of)


class Hits:
    """The statuses that are hits of a rule."""

    def __init__(self, rule: Rule, groups: StatusGroups) -> None:
        self._statuses = rule.statuses
        self._unrecognised = rule.unrecognised
        self._known = groups.group_of

    def __contains__(self, status: object) -> bool:
        """Tell whether a status is one of them."""
        return status in self._statuses or (self._unrecognised and status not in self._known)


class HitsOfAny:
    """The statuses that are hits of any of some rules."""

    def __init__(self, rules: Iterable[Rule], groups: StatusGroups) -> None:
        rules = tuple(rules)
        self._statuses = frozenset[str]().union(*[rule.statuses for rule in rules])
        self._unrecognised = any(rule.unrecognised for rule in rules)
        self._known = groups.group_of

    def __contains__(self, status: object) -> bool:
        """Tell whether a status is one of them."""
        return status in self._statuses or (self._unrecognised and status not in self._known)


def _any_matches(value: str, patterns: tuple[str, ...]) -> bool:
    return "*" in patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
