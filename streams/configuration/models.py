"""Every key of the configuration, with its default: `Configuration()` is what no file says."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from streams.configuration.alerting import (
    DeliverySettings,
    MatchSettings,
    RuleSettings,
    SilenceSettings,
    default_rules,
)
from streams.configuration.counting import (
    FlushSettings,
    LimitSettings,
    SourceSettings,
    StatusSettings,
    WindowSettings,
)
from streams.configuration.http import HttpSettings, TokenSettings
from streams.configuration.kafka import KafkaSettings, SaslSettings, TlsSettings, TopicSettings
from streams.configuration.kinds import kind_of, one_of
from streams.configuration.texts import problems_with_texts
from streams.domain.notification.route import EVERY_RECEIVER
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.receivers.registry import KINDS
from streams.settings import Problem, ProblemsError, Settings, same_names

__all__ = [
    "Configuration",
    "DeliverySettings",
    "FlushSettings",
    "HttpSettings",
    "KafkaSettings",
    "LimitSettings",
    "LoggingSettings",
    "MatchSettings",
    "RuleSettings",
    "SaslSettings",
    "SilenceSettings",
    "SourceSettings",
    "StatusSettings",
    "TlsSettings",
    "TokenSettings",
    "TopicSettings",
    "WindowSettings",
]


if TYPE_CHECKING:
    AnyReceiver: TypeAlias = Receiver
else:
    AnyReceiver = one_of(KINDS)


class LoggingSettings(Settings):
    """What goes to standard error, and how."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"


class Configuration(Settings):
    """The whole configuration. Checks across sections run where the sections themselves are right.

    The order of the fields matters: a check sees the sections above its own.
    """

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    source: SourceSettings = SourceSettings()
    windows: WindowSettings = WindowSettings()
    statuses: StatusSettings = StatusSettings()
    limits: LimitSettings = LimitSettings()
    flush: FlushSettings = FlushSettings()
    http: HttpSettings = HttpSettings()
    delivery: DeliverySettings = DeliverySettings()
    receivers: tuple[AnyReceiver, ...] = ()
    rules: tuple[RuleSettings, ...] = Field(default_factory=default_rules)
    silences: SilenceSettings = SilenceSettings()
    logging: LoggingSettings = LoggingSettings()
    include: Path | None = None

    @field_validator("statuses")
    @classmethod
    def _groups_of_the_format(
        cls, statuses: StatusSettings, info: ValidationInfo
    ) -> StatusSettings:
        source = info.data.get("source")
        return statuses.with_defaults(source.event_format) if source else statuses

    @field_validator("flush")
    @classmethod
    def _within_a_transaction(cls, flush: FlushSettings, info: ValidationInfo) -> FlushSettings:
        kafka = info.data.get("kafka")
        if kafka and flush.interval >= kafka.transaction_timeout:
            expected = (
                f"expected less than kafka.transaction_timeout ({kafka.transaction_timeout}s)"
            )
            raise ProblemsError([(("interval",), expected)])
        return flush

    @field_validator("receivers")
    @classmethod
    def _allowed_receivers(
        cls, receivers: tuple[Receiver, ...], info: ValidationInfo
    ) -> tuple[Receiver, ...]:
        problems = same_names(receiver.name for receiver in receivers)
        delivery = info.data.get("delivery")
        if delivery and not delivery.allow_http:
            expected = "expected https, or delivery.allow_http: true"
            problems += [
                ((at, "url"), expected)
                for at, receiver in enumerate(receivers)
                if isinstance(receiver, HttpReceiver) and not receiver.url.startswith("https:")
            ]
        if delivery and delivery.tell is not None:
            problems += _not_told(delivery.tell, receivers)
        for name in delivery.no_proxy if delivery else ():
            if name not in {receiver.name for receiver in receivers}:
                problems.append(
                    ((), f"delivery.no_proxy names receiver {name}, which does not exist")
                )
        if problems:
            raise ProblemsError(problems)
        return receivers

    @model_validator(mode="after")
    def _texts_for_all_alerts(self) -> Self:
        problems = list(problems_with_texts(self.receivers, self.rules))
        if problems:
            raise ProblemsError(problems)
        return self

    @field_validator("rules")
    @classmethod
    def _watch_and_tell_what_exists(
        cls, rules: tuple[RuleSettings, ...], info: ValidationInfo
    ) -> tuple[RuleSettings, ...]:
        problems = same_names(rule.name for rule in rules)
        receivers, statuses = info.data.get("receivers"), info.data.get("statuses")
        for at, rule in enumerate(rules):
            if receivers is not None:
                known = [receiver.name for receiver in receivers]
                problems += [
                    ((at, "receivers"), _unknown_receiver(rule.name, name, known))
                    for name in rule.receivers
                    if name not in {EVERY_RECEIVER, *known}
                ]
            suppressed = set(rule.statuses or ()) & set(statuses.suppressed if statuses else ())
            problems += [
                ((at, "statuses"), f"rule {rule.name}: {status} is suppressed, so not an attempt")
                for status in sorted(suppressed)
            ]
        if problems:
            raise ProblemsError(problems)
        return rules


def _not_told(name: str, receivers: Sequence[Receiver]) -> list[Problem]:
    """Problems with the receiver that is told of the others' trouble."""
    for at, receiver in enumerate(receivers):
        if receiver.name == name:
            if receiver.told_of_receivers:
                return []
            kinds = sorted(kind_of(kind) for kind in KINDS if kind.told_of_receivers)
            expected = f"delivery.tell needs one of kind {', '.join(kinds)}, not {receiver.kind}"
            return [((at, "kind"), f"receiver {name}: {expected}")]
    known = ", ".join(receiver.name for receiver in receivers) or "none"
    return [((), f"delivery.tell names receiver {name}, which does not exist (known: {known})")]


def _unknown_receiver(rule: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}" if near else f"known receivers: {', '.join(known) or 'none'}"
    return f"rule {rule} names receiver {name}, which does not exist ({hint})"
