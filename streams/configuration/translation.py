"""What the configuration says, in the words of the domain."""

import uuid
from collections.abc import Mapping

from streams.configuration.models import Configuration, RuleSettings
from streams.configuration.routes import matchers_of
from streams.domain.counts import StatusGroups
from streams.domain.deliveries import Retention
from streams.domain.limits import Limits
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import HitsOfAny, Rule
from streams.domain.sources import IngestSettings
from streams.outputs.registry import OUTPUTS
from streams.receivers.grouped import GroupedReceiver

KEEP_FIRING_WINDOWS = 3
"""How many windows an alert goes on after the rate is low, if a rule does not say: sends that fail
in every other window, or in every third one, are one episode."""


def partition_settings_of(configuration: Configuration, base_url: str | None) -> PartitionSettings:
    """Return what is counted and watched for.

    Args:
        configuration: all of it.
        base_url: where others reach the API, for links; null if nobody can.
    """
    windows, groups = configuration.windows, configuration.statuses.by_group()
    grouped = [each for each in configuration.receivers if isinstance(each, GroupedReceiver)]
    return PartitionSettings(
        windows=windows.policy(),
        groups=StatusGroups.of(groups),
        rules=tuple(_rule(rule, groups, windows.size) for rule in configuration.rules),
        receivers=tuple(receiver.name for receiver in configuration.receivers),
        idle_timeout=windows.idle_timeout,
        matchers=matchers_of(configuration.receivers),
        base_url=base_url,
        new_id=lambda: str(uuid.uuid4()),
        limits=_limits(configuration, groups),
        grouping={each.name: times for each in grouped if (times := each.group_times) is not None},
        group_labels={
            each.name: labels for each in grouped if (labels := each.group_labels) is not None
        },
        rate_limits={each.name: limit for each in grouped if (limit := each.limit) is not None},
        emits_windows=any(
            output.reads_windows and configuration.topics.name_of(output.topic) is not None
            for output in OUTPUTS
        ),
        retention=_retention(configuration),
        take_acknowledgements=frozenset(
            each.name for each in configuration.receivers if each.takes_acknowledgements
        ),
        notice_before=configuration.silences.notice_before,
        take_notices=frozenset(
            each.name for each in configuration.receivers if each.told_of_silences
        ),
        tell=configuration.delivery.tell,
    )


def _retention(configuration: Configuration) -> Retention:
    delivery = configuration.delivery
    return Retention(delivery.keep_given_up, delivery.keep_delivered, delivery.most_delivered)


def _limits(configuration: Configuration, groups: Mapping[str, tuple[str, ...]]) -> Limits:
    """Return the bounds; a status that a group or a rule names is always kept."""
    limits = configuration.limits
    known = [*groups.values(), *(rule.statuses or () for rule in configuration.rules)]
    return Limits(
        limits.campaigns,
        limits.names,
        limits.values,
        configuration.source.event_format.known_statuses.union(*known),
    )


def ingest_settings_of(configuration: Configuration) -> IngestSettings:
    """Return how records of the source topic are read."""
    windows, source = configuration.windows, configuration.source
    groups = configuration.statuses.by_group()
    rules = [_rule(rule, groups, windows.size) for rule in configuration.rules]
    return IngestSettings(
        source.event_format,
        windows.policy(),
        source.max_record_bytes,
        int(source.max_future_skew * 1000),
        HitsOfAny(rules, StatusGroups.of(groups)),
    )


def _rule(settings: RuleSettings, groups: dict[str, tuple[str, ...]], window: int) -> Rule:
    statuses = settings.statuses or groups.get(settings.group or "", ())
    detector = settings.detector.detector()
    keep = settings.keep_firing_for
    if keep is None:
        keep = detector.keep_firing_for
    return Rule(
        name=settings.name,
        statuses=frozenset(statuses),
        unrecognised=settings.group == "unrecognised",
        detector=detector,
        scope=settings.scope,
        campaigns=tuple(settings.match.campaigns),
        apps=tuple(settings.match.apps),
        for_=settings.for_,
        keep_firing_for=KEEP_FIRING_WINDOWS * window if keep is None else keep,
        no_data_after=settings.no_data_after,
        repeat_interval=settings.repeat_interval,
        reopen_within=settings.reopen_within,
        severity=settings.severity,
        labels=dict(settings.labels),
        receivers=tuple(settings.receivers),
    )
