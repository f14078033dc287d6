"""Where alerts go, as far as the configuration alone says it."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from streams.configuration.alerting import RuleSettings
from streams.domain.notification.route import NOT_MATCHED, Routes
from streams.domain.notification.stage import Withheld
from streams.domain.silences.matchers import Matcher, labels_of, parse
from streams.receivers.grouped import GroupedReceiver
from streams.receivers.receiver import Receiver

FROM_EVENTS = frozenset({"campaign_id", "app_id"})
"""The labels of which a rule does not fix the values."""
FROM_SCOPES: Mapping[str, str] = {"treatment_id": "treatment", "channel_type": "channel"}
"""Labels that come from events too, each with the scope without which alerts do not have it."""


def matchers_of(receivers: Sequence[Receiver]) -> dict[str, tuple[Matcher, ...]]:
    """Return the matchers of each receiver that has any, by its name."""
    return {each.name: tuple(map(parse, each.matchers)) for each in receivers if each.matchers}


def routes_of(receivers: Sequence[Receiver]) -> Routes:
    """Return which receivers alerts are for."""
    return Routes([receiver.name for receiver in receivers], matchers_of(receivers))


def labels_of_rule(rule: RuleSettings) -> dict[str, str]:
    """Return the labels of an alert of a rule; those that come from events are empty."""
    return labels_of(
        rule.labels,
        rule=rule.name,
        severity=rule.severity,
        campaign_id="",
        app_id=None,
        treatment_id=None,
        channel_type=None,
    )


class PossibleRoutes:
    """Which receivers may get alerts of which rules, whatever comes from events.

    Args:
        receivers: all that are configured.
    """

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._names = [receiver.name for receiver in receivers]
        self._matchers = matchers_of(receivers)

    def why_not(self, rule: RuleSettings) -> dict[str, Withheld | None]:
        """Say of each receiver why it gets no alert of a rule; null if it may get some."""
        from_events = FROM_EVENTS | {
            name for name, scope in FROM_SCOPES.items() if scope == rule.scope
        }
        fixed = {
            name: [matcher for matcher in matchers if matcher.name not in from_events]
            for name, matchers in self._matchers.items()
        }
        routes, labels = Routes(self._names, fixed), labels_of_rule(rule)
        return {name: routes.why_not(name, rule.receivers, labels) for name in self._names}


def doubts_about_routes(
    receivers: Sequence[Receiver], rules: Sequence[RuleSettings]
) -> Iterator[str]:
    """Yield one line for each label that no rule has, and for who or what is never matched."""
    known = sorted({name for rule in rules for name in labels_of_rule(rule)})
    for receiver, matchers in matchers_of(receivers).items():
        for matcher in matchers:
            if rules and matcher.name not in known:
                hint = _hint(matcher.name, known)
                yield f"receiver {receiver} asks for label {matcher.name}, which no rule has{hint}"
    for each in receivers:
        for name in (each.group_labels or ()) if isinstance(each, GroupedReceiver) else ():
            if rules and name not in known:
                hint = _hint(name, known)
                yield f"receiver {each.name} groups by label {name}, which no rule has{hint}"
    yield from _never_matched(receivers, rules)


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _never_matched(receivers: Sequence[Receiver], rules: Sequence[RuleSettings]) -> Iterator[str]:
    """Yield a line for each receiver that gets nothing, and each rule of which nobody is told."""
    possible = PossibleRoutes(receivers)
    why = {
        (rule.name, name): reason.detail if reason is not None else None
        for rule in rules
        for name, reason in possible.why_not(rule).items()
        if reason is None or reason.reason == NOT_MATCHED
    }
    for receiver in receivers:
        reasons = [reason for (_, name), reason in why.items() if name == receiver.name]
        if reasons and None not in reasons:
            yield f"receiver {receiver.name} gets nothing: {reasons[0]}"
    for rule in rules:
        reasons = [reason for (name, _), reason in why.items() if name == rule.name]
        if reasons and None not in reasons:
            yield f"nobody is told of alerts of rule {rule.name}: {reasons[0]}"
