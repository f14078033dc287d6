"""What the worker tells Prometheus."""

import time
from collections import Counter as Tallied
from collections.abc import Iterable, Mapping
from typing import get_args

import structlog
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.domain.alert_records import Alert
from streams.domain.commits import Commit
from streams.domain.counts import LONGEST_STATUS, StatusGroups
from streams.domain.deliveries import Delivery, DeliveryState
from streams.domain.partition import CampaignPartition, EvaluationFailure
from streams.domain.receivers import standing
from streams.observability.exposition import negotiate
from streams.receivers.outcomes import shown
from streams.receivers.receiver import Receiver
from streams.receivers.templates import TemplateFailure

_log = structlog.get_logger(__name__)

PREFIX = "campaign_streams"
MOST_FAILURES = 100
"""Campaigns whose failed evaluation is logged; all are counted."""
MOST_VERSIONS = 100
"""Of event_version, in the log."""
MOST_STATUSES = 100
"""Of statuses that are in no group, in the log."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._events = self._counter(
            "events", "Source records by kind and what became of them", "kind", "outcome"
        )
        self._versions = self._counter(
            "unknown_event_versions", "Counted events of an event_version other than 3.x"
        )
        self._dead = self._counter(
            "dead_letters", "Records written to the dead-letter topic", "reason"
        )
        self._unrecognised = self._counter(
            "unrecognised_attempts", "Counted sends with a status that is in no group"
        )
        self._late = self._counter("late_events", "Events that corrected a closed window")
        self._expired = self._counter(
            "expired_events",
            "Counted events that came into no window, as theirs had expired before they reached it",
        )
        self._other = self._counter(
            "other_events", "Events counted under __other__, past a bound of limits", "kind"
        )
        self._transitions = self._counter(
            "alert_transitions", "Decided alert transitions", "rule", "type"
        )
        self._suppressed = self._counter(
            "notifications_suppressed", "Transitions of which nobody is notified", "reason"
        )
        self._evaluation_failures = self._counter(
            "evaluation_failures", "Evaluations of a campaign's rules that failed"
        )
        self._failed_campaigns: set[str] = set()
        self._decide = self._histogram(
            "event_to_alert_seconds", "From an event's arrival to the decision it led to"
        )
        self._commit_seconds = self._histogram("flush_seconds", "Duration of a commit")
        self._attempts = self._counter(
            "webhook_attempts", "Attempts to deliver a webhook", "kind", "result"
        )
        self._template_failures = self._counter(
            "template_failures",
            "Attempts with a built-in text, as the receiver's template could not be rendered",
            "kind",
            "part",
        )
        self._names_skipped = self._counter(
            "names_skipped", "Records of a topic of names that name nothing", "topic"
        )
        self._resent = self._counter(
            "alerts_resent", "Firing alerts that a receiver was told of again", "kind", "result"
        )
        self._deliver = self._histogram(
            "webhook_delivery_seconds", "From a transition's decision to its delivery"
        )
        self._lag = self._gauge("consumer_lag_records", "Not yet committed", "topic", "partition")
        self._event_time = self._gauge("event_time_seconds", "Event time, Unix time", "partition")
        self._open_windows = self._gauge("open_windows", "Windows still open", "partition")
        self._cells = self._gauge("window_cells", "Campaigns times windows kept", "partition")
        self._campaigns = self._gauge(
            "known_campaigns", "Campaigns counted under their own ids", "partition"
        )
        self._bytes = self._gauge("window_table_bytes", "Packed size of windows", "partition")
        self._alerts = self._gauge("alerts", "Alerts by rule and state", "rule", "state")
        self._outbox = self._gauge("outbox_deliveries", "Deliveries by state", "state")
        self._lost_records = self._counter(
            "lost_records",
            "Records that were deleted or cut off before they were read, as far as is known",
            "topic",
            "partition",
            "cause",
        )
        self._receivers = self._gauge(
            "receivers_restricted", "Receivers that fail, are paused or disabled", "state"
        )
        self._receiver_changes = self._counter(
            "receiver_changes",
            "Times a receiver began to fail, took webhooks again, or was disabled",
            "receiver",
            "change",
        )
        self._clock = self._gauge("clock_offset_seconds", "The broker's time less the worker's")
        self._rebalances = self._counter("rebalances", "Rebalances of the consumer group")
        self._task_losses = self._counter(
            "task_losses",
            "Times a task was lost and reopened",
            "cause",
        )
        self._recovered = self._gauge(
            "recovery_progress_ratio", "Share of the state that is read back", "partition"
        )
        build = self._gauge("build_info", "Always 1", "version")
        build.labels(version).set(1)
        self._told: set[str] = set()
        self._statuses: set[str] = set()

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", about, labels, registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", about, registry=self._registry, buckets=SECONDS)

    # Told by the tasks

    def committed(self, commit: Commit, groups: StatusGroups) -> None:
        """A task's transaction was committed; `groups` are those of the send statuses."""
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

    # Told by others

    def attempted(self, kind: str, result: str) -> None:
        """A webhook was attempted."""
        self._attempts.labels(kind, result).inc()

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
        for gauge in (
            self._event_time,
            self._open_windows,
            self._cells,
            self._campaigns,
            self._bytes,
        ):
            gauge.clear()
        for number, partition in partitions.items():
            self._look_at(str(number), partition)
        self._alerts.clear()
        for (rule, state), count in _alerts(partitions.values()).items():
            self._alerts.labels(rule, state).set(count)
        self._outbox.clear()
        states = Tallied(d.state for p in partitions.values() for d in p.deliveries.deliveries())
        for state in get_args(DeliveryState):
            self._outbox.labels(state).set(states[state])
        restricted = _restricted(partitions.values(), time.time())
        for state in ("failing", "paused", "disabled"):
            self._receivers.labels(state).set(restricted[state])
        write, content_type = negotiate(accept)
        return write(self._registry), content_type

    def _look_at(self, number: str, partition: CampaignPartition) -> None:
        table = partition.table
        self._event_time.labels(number).set(table.event_time / 1000)
        self._open_windows.labels(number).set(len(table.open_starts()))
        self._cells.labels(number).set(len(table))
        self._campaigns.labels(number).set(table.campaigns)
        self._bytes.labels(number).set(table.size)


def _alerts(partitions: Iterable[CampaignPartition]) -> Tallied[tuple[str, str]]:
    alerts: Iterable[Alert] = (a for p in partitions for a in p.alerts.alerts())
    return Tallied((alert.rule, alert.state) for alert in alerts)


def _restricted(partitions: Iterable[CampaignPartition], now: float) -> Tallied[str]:
    """Count the receivers that get nothing, or only probes, at wall-clock `now` (s), by why."""
    books = [partition.receivers for partition in partitions]
    names = {name for book in books for name in book.names()}
    known = (standing(name, books) for name in names)
    return Tallied(
        each.status if each.holds(now) else "failing"
        for each in known
        if each is not None and (each.holds(now) or each.failing_since)
    )
