"""Where alerts go, as far as the configuration alone says it."""

import difflib
from collections.abc import Iterator, Mapping

from streams.configuration.alerting import RuleSettings
from streams.configuration.models import Configuration
from streams.domain.notification.route import NOT_MATCHED, Routes
from streams.domain.silences.matchers import Matcher, labels_of, parse

FROM_EVENTS = frozenset({"campaign_id", "app_id"})
"""The labels of which a rule does not fix the values."""
FROM_SCOPES: Mapping[str, str] = {"treatment_id": "treatment", "channel_type": "channel"}
"""Labels that come from events too, each with the scope without which alerts do not have it."""


def matchers_of(configuration: Configuration) -> dict[str, tuple[Matcher, ...]]:
    """Return the matchers of each receiver that has any, by its name."""
    return {
        receiver.name: tuple(map(parse, receiver.matchers))
        for receiver in configuration.receivers
        if receiver.matchers
    }


def routes_of(configuration: Configuration) -> Routes:
    """Return which receivers alerts are for."""
    names = [receiver.name for receiver in configuration.receivers]
    return Routes(names, matchers_of(configuration))


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


def doubts_about_routes(configuration: Configuration) -> Iterator[str]:
    """Yield one line for each matcher of an unknown label, and for who or what is never matched."""
    known = {name for rule in configuration.rules for name in labels_of_rule(rule)}
    matchers = matchers_of(configuration)
    for receiver, each in matchers.items():
        for matcher in each:
            if configuration.rules and matcher.name not in known:
                near = difflib.get_close_matches(matcher.name, sorted(known), n=1)
                hint = f": did you mean {near[0]}?" if near else ""
                yield f"receiver {receiver} asks for label {matcher.name}, which no rule has{hint}"
    yield from _never_matched(configuration, matchers)


def _never_matched(
    configuration: Configuration, matchers: Mapping[str, tuple[Matcher, ...]]
) -> Iterator[str]:
    """Yield a line for each receiver that gets nothing, and each rule of which nobody is told."""
    why = {
        (rule.name, name): reason
        for rule in configuration.rules
        for name, reason in _why_never(configuration, rule, matchers).items()
    }
    for receiver in configuration.receivers:
        reasons = [reason for (_, name), reason in why.items() if name == receiver.name]
        if reasons and None not in reasons:
            yield f"receiver {receiver.name} gets nothing: {reasons[0]}"
    for rule in configuration.rules:
        reasons = [reason for (name, _), reason in why.items() if name == rule.name]
        if reasons and None not in reasons:
            yield f"nobody is told of alerts of rule {rule.name}: {reasons[0]}"


def _why_never(
    configuration: Configuration, rule: RuleSettings, matchers: Mapping[str, tuple[Matcher, ...]]
) -> dict[str, str | None]:
    """Say of each receiver that a rule names why it gets none of its alerts; null if it may."""
    labels = labels_of_rule(rule)
    open_ = FROM_EVENTS | {name for name, scope in FROM_SCOPES.items() if scope == rule.scope}
    fixed = {
        name: [matcher for matcher in each if matcher.name not in open_]
        for name, each in matchers.items()
    }
    routes = Routes([receiver.name for receiver in configuration.receivers], fixed)
    reasons = {name: routes.why_not(name, rule.receivers, labels) for name in routes.receivers}
    return {
        name: None if why is None else why.detail
        for name, why in reasons.items()
        if why is None or why.reason == NOT_MATCHED
    }
