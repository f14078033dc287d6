"""Everything that is known of one partition's campaigns: windows, alerts, deliveries.

This is what the counting agent drives, what the state topic holds, and what the API reads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from streams.domain import transitions
from streams.domain.alerts import AlertBook, Said
from streams.domain.blocks import Block, CampaignCounts
from streams.domain.clock import EventClock
from streams.domain.counts import Cell, StatusGroups
from streams.domain.deliveries import Delivery, DeliveryQueue
from streams.domain.rules import Rule, Scope
from streams.domain.table import WindowTable
from streams.domain.transitions import Transition
from streams.domain.windows import WindowPolicy


@dataclass(frozen=True, slots=True)
class Watch:
    """What is counted and watched for, the same in every partition.

    Args:
        windows: the windows.
        groups: which group each status is in.
        rules: what alerts are raised for.
        receivers: the names of those who can be told.
        idle_timeout: seconds without events after which a partition no longer waits for a feeder.
        base_url: of the API, for links in alerts.
        new_id: makes alert ids.
    """

    windows: WindowPolicy
    groups: StatusGroups
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...]
    idle_timeout: float
    base_url: str
    new_id: Callable[[], str]


class CampaignPartition:
    """The campaigns of one partition of the keyed topic.

    Args:
        number: the partition.
        watch: what is counted and watched for.
        feeders: the source partitions that feed this one.
        now: wall-clock time (s, UTC).
    """

    def __init__(self, number: int, watch: Watch, feeders: Iterable[int], now: float) -> None:
        self.number = number
        self.watch = watch
        self.table = WindowTable(watch.windows, EventClock(feeders, watch.idle_timeout, now))
        self.alerts = AlertBook(
            watch.rules, watch.windows.size, watch.windows.retention, watch.new_id, watch.base_url
        )
        self.deliveries = DeliveryQueue()
        self._hits = frozenset[str]().union(*(rule.statuses for rule in watch.rules))
        self._suspects: set[str] = set()
        self._last_hits: dict[str, int] = {}
        """By campaign, the newest open window that has hits, or may have."""
        self._oldest_open = 0

    def apply(self, block: Block, now: float) -> None:
        """Add a block of counts, then move event time on, at wall-clock `now` (s)."""
        for counts in block.campaigns:
            touched = self.table.add(counts)
            if touched and self._is_suspect(counts, max(each.start for each in touched)):
                self._suspects.add(counts.campaign_id)
        for feeder, event_time in block.event_times.items():
            self.table.clock.hear(feeder, event_time, now)

    def _is_suspect(self, counts: CampaignCounts, newest: int) -> bool:
        """Tell whether the counts can change the mind of any rule.

        Any counts can, where there are hits: they may be the attempts that were too few.
        """
        name = counts.campaign_id
        if any(each.outcome in self._hits for window in counts.windows for each in window.sends):
            self._last_hits[name] = max(newest, self._last_hits.get(name, newest))
        return name in self._last_hits or self.alerts.watches(name)

    def _forget_hits(self, open_starts: list[int]) -> None:
        """Forget campaigns whose windows with hits are closed; newest open window first."""
        oldest = open_starts[-1] if open_starts else self._oldest_open
        if oldest > self._oldest_open:
            self._last_hits = {name: at for name, at in self._last_hits.items() if at >= oldest}
            self._oldest_open = oldest

    def evaluate(self, now: float) -> list[Transition]:
        """Hold the rules against the open windows of campaigns that changed, at `now` (s).

        Each transition is owed to the receivers of its rule from here on.
        """
        suspects, self._suspects = self._suspects, set()
        starts = self.table.open_starts()[::-1]
        self._forget_hits(starts)
        decided: list[tuple[Rule | None, Transition]] = [
            (rule, transition)
            for campaign_id in suspects
            for rule in self.watch.rules
            for transition in self._hold(rule, campaign_id, starts, now)
        ]
        rules = {rule.name: rule for rule in self.watch.rules}
        decided += [(rules.get(t.data.rule), t) for t in self.alerts.tick(now)]
        for rule, transition in decided:
            self._owe(rule, transition, now)
        return [transition for _, transition in decided]

    def _hold(
        self, rule: Rule, campaign_id: str, starts: list[int], now: float
    ) -> Iterator[Transition]:
        """Hold one rule against a campaign: for each scope, its newest window that says enough."""
        heard: set[Scope] = set()
        for start, cell in self.table.cells(campaign_id, starts):
            if not rule.matches(campaign_id, cell.app_id):
                continue
            for scope, seen in rule.observe(campaign_id, cell, self.watch.groups).items():
                if scope in heard or seen.attempts < rule.min_attempts:
                    continue
                heard.add(scope)
                said = Said(scope, cell.app_id, start, seen)
                transition = self.alerts.consider(rule, said, now)
                if transition is not None:
                    yield transition

    def _owe(self, rule: Rule | None, transition: Transition, now: float) -> None:
        names = rule.receivers if rule is not None else ("*",)
        body = transitions.encode(transition).decode()
        data = transition.data
        for receiver in self.watch.receivers:
            if "*" not in names and receiver not in names:
                continue
            webhook_id = f"{data.alert_id}.{data.sequence}"
            self.deliveries.add(
                Delivery(
                    delivery_id=f"{webhook_id}.{receiver}",
                    webhook_id=webhook_id,
                    receiver=receiver,
                    campaign_id=data.campaign_id,
                    alert_id=data.alert_id,
                    sequence=data.sequence,
                    body=body,
                    created_at=now,
                    next_attempt_at=now,
                )
            )

    def take_changes(self) -> list[tuple[bytes, bytes | None]]:
        """Hand out what changed since the last call, as keys and values for the state topic."""
        return [
            *self.table.take_changes(),
            *self.alerts.take_changes(),
            *self.deliveries.take_changes(),
        ]

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Read one record of the state topic back; null removes what it stands for.

        Raises:
            ValueError: if the key is none of ours.
        """
        match orjson.loads(key):
            case ["window", str(campaign_id), int(start)]:
                self.table.restore(campaign_id, start, value)
            case ["clock"] if value is not None:
                self.table.restore_clock(value)
            case ["alert", str(), str(alert_id)]:
                self.alerts.restore(alert_id, value)
            case ["delivery", str(), str(delivery_id)]:
                self.deliveries.restore(delivery_id, value)
            case other:
                raise ValueError(f"not a key of the state topic: {other!r}")

    def resume(self, now: float) -> None:
        """Go on after the state was read back, at wall-clock `now` (s)."""
        self.table.advance(now)
        for start in self.table.open_starts():
            self._last_hits.update(dict.fromkeys(self.table.campaigns(start), start))
        self.alerts.resume(now)

    def cells(self, campaign_id: str) -> list[tuple[int, Cell]]:
        """Return a campaign's retained windows, oldest first."""
        return list(self.table.cells(campaign_id, self.table.starts()))


class Holder(Protocol):
    """Whoever holds partitions in memory: what the API and the dispatcher ask."""

    def ready(self) -> Mapping[int, CampaignPartition]:
        """Return the partitions that are here and up to date, by number."""
        ...

    def partitions(self) -> int:
        """Return how many partitions there are in all."""
        ...

    def peers(self) -> Mapping[int, str]:
        """Return the base URLs of the workers that hold the other partitions, by partition."""
        ...
