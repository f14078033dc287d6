"""What the worker tells Prometheus."""

import time
from collections import Counter as Tallied
from collections.abc import Iterable, Mapping
from itertools import product
from typing import get_args

import structlog
from aiokafka.structs import TopicPartition

from streams.domain.commits import Commit
from streams.domain.counts import LONGEST_STATUS, StatusGroups
from streams.domain.deliveries import Delivery
from streams.domain.events import Reason
from streams.domain.notification.pipeline import SUPPRESSIONS
from streams.domain.partition import CampaignPartition, EvaluationFailure
from streams.domain.receiver_events import ReceiverChange
from streams.domain.transitions import TransitionType
from streams.observability.exposition import negotiate
from streams.observability.families import Families
from streams.observability.http_metrics import HttpMetrics
from streams.observability.partition_gauges import PartitionGauges
from streams.observability.process import DELAYS, register_process
from streams.observability.state_gauges import StateGauges
from streams.receivers.outcomes import Failure, shown
from streams.receivers.receiver import Receiver, ResentReceiver
from streams.receivers.templates import Part, TemplateFailure
from streams.receivers.texts import TextReceiver

_log = structlog.get_logger(__name__)

MOST_FAILURES = 100
"""Campaigns whose failed evaluation is logged; all are counted."""
MOST_VERSIONS = 100
"""Of event_version, in the log."""
MOST_STATUSES = 100
"""Of statuses that are in no group, in the log."""
ATTEMPT_RESULTS = ("delivered", "disabled", *get_args(Failure))
COMMIT_OUTCOMES = ("committed", "refused", "failed")
FETCH_OUTCOMES = ("answered", "failed")


class Metrics:
    """All metrics of one worker, in a registry of their own.

    Args:
        version: of the program.

    Attributes:
        http: of the API.
        state: of the worker.
        families: what there is.
    """

    def __init__(self, version: str) -> None:
        families = self.families = Families()
        register_process(families.registry)
        self.http = HttpMetrics(families)
        self.state = StateGauges(families)
        self._partitions = PartitionGauges(families)
        self._events = families.counter(
            "events", "Source records by kind and what became of them", "kind", "outcome"
        )
        self._versions = families.counter(
            "unknown_event_versions", "Counted events of an event_version other than 3.x"
        )
        self._dead = families.counter(
            "dead_letters", "Records written to the dead-letter topic", "reason"
        )
        self._unrecognised = families.counter(
            "unrecognised_attempts", "Counted sends with a status that is in no group"
        )
        self._late = families.counter("late_events", "Events that corrected a closed window")
        self._expired = families.counter(
            "expired_events",
            "Counted events that came into no window, as theirs had expired before they reached it",
        )
        self._other = families.counter(
            "other_events", "Events counted under __other__, past a bound of limits", "kind"
        )
        self._transitions = families.counter(
            "alert_transitions", "Decided alert transitions", "rule", "type"
        )
        self._suppressed = families.counter(
            "notifications_suppressed", "Transitions of which nobody is notified", "reason"
        )
        self._evaluation_failures = families.counter(
            "evaluation_failures", "Evaluations of a campaign's rules that failed"
        )
        self._failed_campaigns: set[str] = set()
        self._decide = families.histogram(
            "event_to_alert_seconds", "From an event's arrival to the decision it led to"
        )
        self._commits = families.counter(
            "commits",
            "Transactions of tasks by outcome; refused: a broker does not take a record",
            "outcome",
        )
        self._committed_records = families.counter(
            "committed_records", "Records that were written in these transactions"
        )
        self._fetches = families.counter(
            "fetches", "Requests for records of the consumer group's member, by outcome", "outcome"
        )
        self._fetched_bytes = families.counter(
            "fetched_bytes", "Bytes of records in the answers, as brokers have them", "topic"
        )
        self._loop_delay = families.histogram(
            "event_loop_delay_seconds",
            "How late the event loop woke who slept, measured four times a second",
            buckets=DELAYS,
        )
        self._commit_seconds = families.histogram("flush_seconds", "Duration of a commit")
        self._attempts = families.counter(
            "webhook_attempts",
            "Attempts to deliver a webhook",
            "kind",
            "receiver",
            "result",
        )
        self._template_failures = families.counter(
            "template_failures",
            "Attempts with a built-in text, as the receiver's template could not be rendered",
            "kind",
            "part",
        )
        self._names_skipped = families.counter(
            "names_skipped", "Records of a topic of names that name nothing", "topic"
        )
        self._resent = families.counter(
            "alerts_resent", "Firing alerts that a receiver was told of again", "kind", "result"
        )
        self._deliver = families.histogram(
            "webhook_delivery_seconds", "From a transition's decision to its delivery"
        )
        self._lag = families.gauge(
            "consumer_lag_records", "Not yet committed", "topic", "partition"
        )
        self._lost_records = families.counter(
            "lost_records",
            "Records that were deleted or cut off before they were read, as far as is known",
            "topic",
            "partition",
            "cause",
        )
        self._receiver_changes = families.counter(
            "receiver_changes",
            "Times a receiver began to fail, took webhooks again, or was disabled",
            "receiver",
            "change",
        )
        self._clock = families.gauge("clock_offset_seconds", "The broker's time less the worker's")
        self._rebalances = families.counter("rebalances", "Rebalances of the consumer group")
        self._task_losses = families.counter(
            "task_losses",
            "Times a task was lost and reopened",
            "cause",
        )
        self._recovered = families.gauge(
            "recovery_progress_ratio", "Share of the state that is read back", "partition"
        )
        build = families.gauge("build_info", "Always 1", "version")
        build.labels(version).set(1)
        self._told: set[str] = set()
        self._statuses: set[str] = set()
        self._expect_always()

    def expect(self, rules: Iterable[str], receivers: Iterable[Receiver]) -> None:
        """Show series of these rules and receivers from the first page on, with zeros.

        A rate of a series that appears with its first event misses that event.
        """
        rules, receivers = tuple(rules), tuple(receivers)
        self._partitions.expect(rules, [receiver.name for receiver in receivers])
        for rule, type_ in product(rules, get_args(TransitionType)):
            self._transitions.labels(rule, type_)
        for receiver in receivers:
            for result in ATTEMPT_RESULTS:
                self._attempts.labels(receiver.kind, receiver.name, result)
            for part in get_args(Part) if isinstance(receiver, TextReceiver) else ():
                self._template_failures.labels(receiver.kind, part)
            for result in ATTEMPT_RESULTS if isinstance(receiver, ResentReceiver) else ():
                self._resent.labels(receiver.kind, result)
            for change in get_args(ReceiverChange):
                self._receiver_changes.labels(receiver.name, change)

    def _expect_always(self) -> None:
        """Show series of which all labels are known, with zeros."""
        for reason in Reason:
            self._dead.labels(reason)
        for kind in ("send", "engagement"):
            self._events.labels(kind, "counted")
        self._events.labels("any", "dead_letter")
        for kind in ("names", "campaigns"):
            self._other.labels(kind)
        for suppression in SUPPRESSIONS:
            self._suppressed.labels(suppression)
        for cause in ("input", "kafka"):
            self._task_losses.labels(cause)
        for outcome in COMMIT_OUTCOMES:
            self._commits.labels(outcome)
        for outcome in FETCH_OUTCOMES:
            self._fetches.labels(outcome)

    # Told by the tasks

    def committed(self, commit: Commit, groups: StatusGroups) -> None:
        """A task's transaction was committed; `groups` are those of the send statuses."""
        self._commits.labels("committed").inc()
        self._committed_records.inc(commit.records)
        self._commit_seconds.observe(commit.seconds)
        self._events.labels("send", "counted").inc(commit.counted - commit.engagement)
        self._events.labels("engagement", "counted").inc(commit.engagement)
        for kind, count in commit.skipped.items():
            self._events.labels(kind, "skipped").inc(count)
        if commit.unknown_versions:
            self._versions.inc(commit.unknown_versions.total())
            self._tell_versions(commit.unknown_versions)
        if commit.unrecognised:
            self.unrecognised(commit.unrecognised, groups)
        for reason, count in Tallied(each.reason for each in commit.rejected).items():
            self._dead.labels(reason).inc(count)
            self._events.labels("any", "dead_letter").inc(count)
        self._late.inc(commit.late)
        self._expired.inc(commit.expired)
        if any(commit.folded):
            self._other.labels("names").inc(commit.folded.names)
            self._other.labels("campaigns").inc(commit.folded.campaigns)
        for transition, event_age in commit.decisions:
            self._transitions.labels(transition.data.rule, transition.type).inc()
            self._decide.observe(event_age)
        for transition, why in commit.suppressed:
            self._suppressed.labels(why.reason).inc()
            _log.info(
                "notification suppressed",
                alert_id=transition.data.alert_id,
                campaign_id=transition.data.campaign_id,
                rule=transition.data.rule,
                type=transition.type,
                reason=why.reason,
                detail=why.detail,
            )

    def _tell_versions(self, versions: Iterable[str]) -> None:
        """Say once of each version that somebody should look at the change."""
        for version in set(versions) - self._told:
            if len(self._told) < MOST_VERSIONS:
                self._told.add(version)
                _log.warning("unknown event_version, counted all the same", event_version=version)

    def unrecognised(self, events: Mapping[str, int], groups: StatusGroups) -> None:
        """Count sends whose status is in no group; say once of each status what it may mean."""
        self._unrecognised.inc(sum(events.values()))
        for status in events.keys() - self._statuses:
            if len(self._statuses) < MOST_STATUSES:
                self._statuses.add(status)
                _log.warning(
                    "a send status is in no group: it counts as an attempt, and rules look at it "
                    "only in the group unrecognised; if it has one, name it in statuses",
                    status=status[:LONGEST_STATUS],
                    did_you_mean=groups.nearest(status),
                )

    def evaluation_failed(self, failures: Iterable[EvaluationFailure]) -> None:
        """Rules could not be evaluated for campaigns; log each campaign once."""
        for campaign_id, error in failures:
            self._evaluation_failures.inc()
            known = self._failed_campaigns
            if campaign_id not in known and len(known) < MOST_FAILURES:
                known.add(campaign_id)
                _log.error(
                    "rules were not evaluated for a campaign",
                    campaign_id=campaign_id,
                    exc_info=error,
                )

    def commit_failed(self, outcome: str) -> None:
        """A task's transaction was not committed: `refused`, or `failed` for any other reason."""
        self._commits.labels(outcome).inc()

    def records_lost(self, partition: TopicPartition, cause: str, records: int) -> None:
        """Records, as far as is known, cannot be read any more, and were not."""
        self._lost_records.labels(partition.topic, str(partition.partition), cause).inc(records)

    def recovered(self, partition: int, reached: int, end: int) -> None:
        """A partition's state was read back, up to an offset."""
        self._recovered.labels(str(partition)).set(reached / end if end else 1.0)

    def clock_offset(self, seconds: float) -> None:
        """The broker's time differs from the worker's by so much."""
        self._clock.set(seconds)

    def rebalanced(self) -> None:
        """A rebalance of the group begins."""
        self._rebalances.inc()

    def task_lost(self, cause: str) -> None:
        """A task was lost: `input` or `kafka` is the cause."""
        self._task_losses.labels(cause).inc()

    def fetched(self, outcome: str, sizes: Mapping[str, int]) -> None:
        """A request for records ended; `sizes` has the bytes of the answer, by topic.

        Called from the consumer's thread.
        """
        self._fetches.labels(outcome).inc()
        for topic, size in sizes.items():
            self._fetched_bytes.labels(topic).inc(size)

    # Told by others

    def loop_delayed(self, seconds: float) -> None:
        """The event loop woke somebody so late."""
        self._loop_delay.observe(seconds)

    def attempted(self, receiver: Receiver, result: str) -> None:
        """A webhook was attempted."""
        self._attempts.labels(receiver.kind, receiver.name, result).inc()

    def name_skipped(self, topic: str) -> None:
        """A record of a topic of names, by its name, names nothing."""
        self._names_skipped.labels(topic).inc()

    def template_failed(
        self, receiver: Receiver, delivery: Delivery, failure: TemplateFailure
    ) -> None:
        """A title or text was sent as it is built in, since a template could not be rendered."""
        self._template_failures.labels(receiver.kind, failure.part).inc()
        _log.warning(
            "template cannot be rendered, the built-in text is sent",
            receiver=receiver.name,
            delivery_id=delivery.delivery_id,
            alert_id=delivery.alert_id,
            campaign_id=delivery.campaign_id,
            part=failure.part,
            reason=shown(failure.reason),
        )

    def receiver_changed(self, name: str, change: str) -> None:
        """A receiver fails, takes webhooks again, or is disabled."""
        self._receiver_changes.labels(name, change).inc()

    def resent(self, kind: str, result: str, alerts: int) -> None:
        """A receiver was told again that some alerts fire."""
        self._resent.labels(kind, result).inc(alerts)

    def delivered(self, seconds: float) -> None:
        """A webhook was delivered, `seconds` after its transition was decided."""
        self._deliver.observe(seconds)

    def lag(self, lag: Mapping[TopicPartition, int]) -> None:
        """The broker was asked how far behind each partition is."""
        self._lag.clear()
        for partition, records in lag.items():
            self._lag.labels(partition.topic, str(partition.partition)).set(records)

    # Asked

    def page(
        self, partitions: Mapping[int, CampaignPartition], accept: str = ""
    ) -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that `Accept` asks for."""
        self._partitions.read(partitions, time.time())
        self.state.read()
        write, content_type = negotiate(accept)
        return write(self.families.registry), content_type
