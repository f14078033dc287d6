"""What partitions hold, as it is when the metrics are asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, get_args

from streams.domain.alert_records import Alert, State
from streams.domain.deliveries import Delivery, DeliveryState
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import standing
from streams.observability.families import Families
from streams.observability.rollup_gauges import RollupGauges

RESTRICTED = ("failing", "paused", "disabled")
"""States of a receiver that gets nothing, or only probes."""
RECEIVER_STATES = ("enabled", *RESTRICTED)


class _Waiting(NamedTuple):
    """Deliveries by receiver and state, and when (s, UTC) the oldest pending one was decided."""

    by_state: Counter[tuple[str, str]]
    oldest: dict[str, float]


class PartitionGauges:
    """Gauges of partitions, their alerts, deliveries and receivers.

    Args:
        families: makes them.
    """

    def __init__(self, families: Families) -> None:
        self._event_time = families.gauge(
            "event_time_seconds", "Event time, Unix time", "partition"
        )
        self._source_event_time = families.gauge(
            "source_event_time_seconds",
            "Largest event time of a source partition, Unix time",
            "partition",
        )
        self._open_windows = families.gauge("open_windows", "Windows still open", "partition")
        self._cells = families.gauge("window_cells", "Campaigns times windows kept", "partition")
        self._campaigns = families.gauge(
            "known_campaigns", "Campaigns counted under their own ids", "partition"
        )
        self._bytes = families.gauge("window_table_bytes", "Packed size of windows", "partition")
        self._rollups = RollupGauges(families)
        self._alerts = families.gauge("alerts", "Alerts by rule and state", "rule", "state")
        self._groups = families.gauge("alert_groups", "Groups that tell of alerts that fire")
        self._grouped = families.gauge("grouped_alerts", "Firing alerts that groups tell of")
        self._outbox = families.gauge("outbox_deliveries", "Deliveries by state", "state")
        self._deliveries = families.gauge(
            "receiver_deliveries", "Deliveries by receiver and state", "receiver", "state"
        )
        self._oldest = families.gauge(
            "oldest_pending_delivery_age_seconds",
            "Time since the oldest delivery that still waits was decided; 0 if none waits",
            "receiver",
        )
        self._restricted = families.gauge(
            "receivers_restricted", "Receivers that fail, are paused or disabled", "state"
        )
        self._receiver_state = families.gauge(
            "receiver_state",
            "1 for the state that a receiver is in; failing: its circuit is open",
            "receiver",
            "state",
        )
        self._rules: tuple[str, ...] = ()
        self._receivers: tuple[str, ...] = ()

    def expect(self, rules: Iterable[str], receivers: Iterable[str]) -> None:
        """Show these rules and receivers from the first page on, with zeros."""
        self._rules, self._receivers = tuple(rules), tuple(receivers)

    def read(self, partitions: Mapping[int, CampaignPartition], now: float) -> None:
        """Set all gauges to what partitions hold at wall-clock `now` (s, UTC)."""
        self._read_tables(partitions)
        self._read_alerts(partitions.values())
        self._read_deliveries(partitions.values(), now)
        self._read_receivers(partitions.values(), now)

    def _read_tables(self, partitions: Mapping[int, CampaignPartition]) -> None:
        for gauge in (
            self._event_time,
            self._source_event_time,
            self._open_windows,
            self._cells,
            self._campaigns,
            self._bytes,
        ):
            gauge.clear()
        for number, partition in partitions.items():
            table, name = partition.table, str(number)
            self._event_time.labels(name).set(table.event_time / 1000)
            self._open_windows.labels(name).set(len(table.open_starts()))
            self._cells.labels(name).set(len(table))
            self._campaigns.labels(name).set(table.campaigns)
            self._bytes.labels(name).set(table.size)
        self._rollups.read(partitions)
        for source, newest in _source_event_times(partitions.values()).items():
            self._source_event_time.labels(str(source)).set(newest / 1000)

    def _read_alerts(self, partitions: Iterable[CampaignPartition]) -> None:
        self._alerts.clear()
        for rule in self._rules:
            for state in get_args(State):
                self._alerts.labels(rule, state).set(0)
        counted: Counter[tuple[str, str]] = Counter()
        groups: Counter[str] = Counter()
        for partition in partitions:
            for alert in partition.alerts.alerts():
                counted[alert.rule, alert.state] += 1
                group = _group_of(partition, alert)
                if group is not None:
                    groups[group] += 1
        for (rule, state), count in counted.items():
            self._alerts.labels(rule, state).set(count)
        self._groups.set(len(groups))
        self._grouped.set(groups.total())

    def _read_deliveries(self, partitions: Iterable[CampaignPartition], now: float) -> None:
        waiting = _count_deliveries(d for p in partitions for d in p.deliveries.deliveries())
        self._deliveries.clear()
        self._oldest.clear()
        states = get_args(DeliveryState)
        for receiver in {*self._receivers, *(name for name, _ in waiting.by_state)}:
            for state in states:
                self._deliveries.labels(receiver, state).set(waiting.by_state[receiver, state])
            decided_at = waiting.oldest.get(receiver, now)
            self._oldest.labels(receiver).set(max(0.0, now - decided_at))
        for state in states:
            total = sum(n for (_, each), n in waiting.by_state.items() if each == state)
            self._outbox.labels(state).set(total)

    def _read_receivers(self, partitions: Iterable[CampaignPartition], now: float) -> None:
        states = _receiver_states(partitions, now)
        restricted = Counter(states.values())
        for state in RESTRICTED:
            self._restricted.labels(state).set(restricted[state])
        for receiver in self._receivers:
            for state in RECEIVER_STATES:
                is_in = states.get(receiver, "enabled") == state
                self._receiver_state.labels(receiver, state).set(is_in)


def _source_event_times(partitions: Iterable[CampaignPartition]) -> Mapping[int, int]:
    """Return the largest event time (ms) of each source partition.

    Its events are counted in all partitions of campaigns, one of which may have heard last of it.
    """
    newest: dict[int, int] = {}
    for partition in partitions:
        for source, event_time in partition.table.input_event_times.items():
            newest[source] = max(event_time, newest.get(source, 0))
    return newest


def _group_of(partition: CampaignPartition, alert: Alert) -> str | None:
    return partition.groups.group_of(alert.alert_id) if alert.state == "firing" else None


def _count_deliveries(deliveries: Iterable[Delivery]) -> _Waiting:
    counted = _Waiting(Counter(), {})
    for delivery in deliveries:
        counted.by_state[delivery.receiver, delivery.state] += 1
        if delivery.state == "pending":
            before = counted.oldest.get(delivery.receiver, delivery.created_at)
            counted.oldest[delivery.receiver] = min(before, delivery.created_at)
    return counted


def _receiver_states(partitions: Iterable[CampaignPartition], now: float) -> Mapping[str, str]:
    """Return the states, at wall-clock `now` (s), of receivers that get nothing or only probes."""
    books = [partition.receivers for partition in partitions]
    found = {}
    for name in {name for book in books for name in book.names()}:
        known = standing(name, books)
        if known is not None and known.holds(now):
            found[name] = str(known.status)
        elif known is not None and known.failing_since:
            found[name] = "failing"
    return found
