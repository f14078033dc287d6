"""Templates of receivers, checked against sample alerts of the rules that may reach them."""

from collections.abc import Iterator, Sequence

from streams.configuration.alerting import RuleSettings
from streams.configuration.routes import PossibleRoutes
from streams.domain.transitions import Transition
from streams.receivers.receiver import Receiver
from streams.receivers.samples import samples
from streams.receivers.texts import TextReceiver
from streams.settings import Problem

ANY = RuleSettings(name="sample", group="failure")
"""The rule of a receiver that no rule names."""

MOST_ALIKE = 5
"""How many rules are tried beside those that differ."""


def problems_with_texts(
    receivers: Sequence[Receiver], rules: Sequence[RuleSettings]
) -> Iterator[Problem]:
    """Yield a problem for each template that fails for a sample, with the rule of that.

    The samples have transitions of every type, each with all that an alert can have and with
    nothing that it may lack, and the labels of the rules.
    """
    possible = PossibleRoutes(receivers)
    reached = {rule.name: possible.why_not(rule) for rule in rules}
    for at, receiver in enumerate(receivers):
        if not isinstance(receiver, TextReceiver) or not (receiver.title or receiver.text):
            continue
        told = [rule for rule in rules if reached[rule.name][receiver.name] is None] or [ANY]
        failures: dict[str, str] = {}
        for sample in _samples(told):
            for failure in receiver.texts(sample).failures:
                failures.setdefault(failure.part, f"{failure.reason} ({_about(sample)})")
        yield from ((("receivers", at, part), reason) for part, reason in failures.items())


def _samples(rules: Sequence[RuleSettings]) -> Iterator[Transition]:
    """Yield samples of rules that differ in severity, scope or the names of their labels.

    A template may go by the values of labels too, but there may be hundreds of them.
    """
    different: dict[object, RuleSettings] = {}
    for rule in rules:
        different.setdefault((rule.severity, rule.scope, frozenset(rule.labels)), rule)
    others = [rule for rule in rules if rule not in different.values()]
    for rule in [*different.values(), *others[:MOST_ALIKE]]:
        yield from samples(rule.name, rule.severity, rule.labels, rule.scope)


def _about(sample: Transition) -> str:
    return f"in a sample of {sample.type} of rule {sample.data.rule}"
