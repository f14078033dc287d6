"""Everything that is known of one partition's campaigns: windows, alerts, deliveries.

This is what the counting agent drives, what the state topic holds, and what the API reads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import orjson

from streams.domain import transitions
from streams.domain.alerts import Alert, AlertBook, Said
from streams.domain.blocks import Block, WindowCounts
from streams.domain.clock import EventClock
from streams.domain.counts import OTHER, Cell, StatusGroups
from streams.domain.deliveries import Delivery, DeliveryQueue
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.pages import PageRecord
from streams.domain.receivers import ReceiverBook
from streams.domain.rules import Rule, Scope
from streams.domain.table import WindowTable
from streams.domain.transitions import AlertData, Transition
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
        base_url: of the API, for links in alerts; null for alerts without links.
        new_id: makes alert ids.
        limits: how many names and campaigns are kept apart.
    """

    windows: WindowPolicy
    groups: StatusGroups
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...]
    idle_timeout: float
    base_url: str | None
    new_id: Callable[[], str]
    limits: Limits = DEFAULT_LIMITS


class EvaluationFailure(NamedTuple):
    """A campaign that a rule could not be evaluated for, and what it raised."""

    campaign_id: str
    error: Exception


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
        clock = EventClock(feeders, watch.idle_timeout, now)
        self.table = WindowTable(watch.windows, clock, watch.limits)
        self.alerts = AlertBook(
            watch.rules, watch.windows.size, watch.windows.retention, watch.new_id, watch.base_url
        )
        self.deliveries = DeliveryQueue()
        self.receivers = ReceiverBook()
        self._rules = {rule.name: rule for rule in watch.rules}
        self._hits = frozenset[str]().union(*(rule.statuses for rule in watch.rules))
        self._least_attempts = max(1, min((rule.min_attempts for rule in watch.rules), default=1))
        self._suspects: set[str] = set()
        self._undecided: dict[str, int] = {}
        """Campaigns of which any counts may say something to a rule, as too few attempts with hits
        among them did not, or an app that it is not about; and the newest window in which."""
        self._oldest_open: int | None = None
        self._failures: list[EvaluationFailure] = []

    def apply(self, block: Block, offset: int, now: float) -> None:
        """Add a block of counts, then let event time be heard.

        Args:
            block: the counts.
            offset: where in the log the block is; or, if it is yet to be written, where it will be.
            now: wall-clock time (s, UTC).
        """
        for counts in block.windows:
            added = self.table.add(counts, offset, now)
            if added is not None:
                self._suspect(added)
        for feeder, event_time in block.event_times.items():
            self.table.clock.hear(feeder, event_time, now)

    def _suspect(self, counts: WindowCounts) -> None:
        """Take note of campaigns about which the counts can change the mind of any rule.

        Hits can, and any counts where there is an alert or somebody is undecided. Otherwise more
        attempts without a hit only make a rate lower.
        """
        for column in counts.columns:
            if column.dimensions.is_send_with(self._hits):
                self._suspects.update([counts.campaigns[at] for at in column.at])
        self._suspects.update(self._undecided.keys() & counts.campaigns)
        self._suspects.update(self.alerts.watched & counts.campaigns)

    def advance(self, now: float, offset: int) -> list[Transition]:
        """Let time go on: close and expire windows, after all rules were held against them.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the log, at which the next counts will be.
        """
        decided = self.evaluate(now)
        self.table.advance(now, offset)
        return decided

    def evaluate(self, now: float) -> list[Transition]:
        """Hold the rules against the open windows of campaigns that changed, at `now` (s).

        Each transition is owed to the receivers of its rule from here on. Counts are written down
        with what they led to, so whoever reads them back has not to look at them again.
        """
        suspects, self._suspects = self._suspects, set()
        starts = self.table.open_starts()[::-1]
        self._notice_closed(starts)
        watched = set(self.alerts.watched)
        decided: list[Transition] = []
        for campaign_id in suspects:
            try:
                for transition in self._consider(campaign_id, starts, now):
                    decided += self._owe([transition], now)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(campaign_id, error))
        self.alerts.keep_unheard(suspects)
        decided += self._owe(self.alerts.tick(now), now)
        # The rate may be too high as before, where an alert expired.
        for campaign_id in watched - self.alerts.watched:
            self._leave_undecided(campaign_id, starts[:1])
        return decided

    def _notice_closed(self, open_starts: list[int]) -> None:
        """Let go of windows that are closed, given those that are open, newest first."""
        oldest = open_starts[-1] if open_starts else None
        if oldest != self._oldest_open:
            self._oldest_open = oldest
            self._undecided = {
                name: at
                for name, at in self._undecided.items()
                if oldest is not None and at >= oldest
            }
            self.alerts.keep_evidence()

    def _leave_undecided(self, campaign_id: str, starts: Iterable[int]) -> None:
        for start in starts:
            self._undecided[campaign_id] = max(start, self._undecided.get(campaign_id, start))

    def _consider(self, campaign_id: str, starts: list[int], now: float) -> Iterator[Transition]:
        """Hold the rules against a campaign's open windows, newest first."""
        if campaign_id == OTHER:
            # A rate over campaigns that have nothing in common is no campaign's.
            return
        most = max([self.table.events(campaign_id, start) for start in starts], default=0)
        if most < self._least_attempts:
            self._leave_undecided(campaign_id, starts[:1])
            return
        self._undecided.pop(campaign_id, None)
        cells = list(self.table.cells(campaign_id, starts))
        app_id = _app_of(cells)
        for rule in self.watch.rules:
            if not rule.matches_campaign(campaign_id):
                continue
            if most >= rule.min_attempts and rule.matches_app(app_id):
                yield from self._hold(rule, campaign_id, app_id, cells, now)
            else:
                self._leave_undecided(campaign_id, starts[:1])

    def _hold(
        self,
        rule: Rule,
        campaign_id: str,
        app_id: str | None,
        cells: list[tuple[int, Cell]],
        now: float,
    ) -> Iterator[Transition]:
        """Hold one rule against a campaign: for each scope, its newest window that says enough."""
        heard: set[Scope] = set()
        for start, cell in cells:
            for scope, seen in rule.observe(campaign_id, cell, self.watch.groups).items():
                if seen.attempts < rule.min_attempts:
                    if seen.hits:
                        self._leave_undecided(campaign_id, [start])
                elif scope not in heard:
                    heard.add(scope)
                    transition = self.alerts.consider(rule, Said(scope, app_id, start, seen), now)
                    if transition is not None:
                        yield transition

    def _owe(self, decided: Iterable[Transition], now: float) -> Iterator[Transition]:
        """Owe each transition to its receivers."""
        for transition in decided:
            names = self.alerts.receivers(transition.data.alert_id)
            body = transitions.encode(transition).decode()
            for receiver in self.watch.receivers:
                if "*" in names or receiver in names:
                    self.deliveries.add(_delivery(transition.data, receiver, body, now))
            yield transition

    def take_failures(self) -> list[EvaluationFailure]:
        """Return the campaigns whose evaluation failed since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def take_changes(self, now: float) -> list[tuple[bytes, bytes | None]]:
        """Hand out what has to be written at wall-clock `now` (s), for the state topic.

        Whoever reads all of it back, `replay`s the blocks from where `restored` says to the last
        that was applied, and then `resume`s, knows what is known now.
        """
        return [
            *self.table.take_changes(now),
            *self.alerts.take_changes(),
            *self.deliveries.take_changes(),
            *self.receivers.take_changes(),
        ]

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Read one record of the state topic back; null removes what it stands for.

        Raises:
            FormatError: if it was written by a version, or for windows, that do not fit.
            MsgspecError, ValueError: if it is broken.
        """
        match orjson.loads(key):
            case ["page", int(start), int(page)]:
                self.table.restore_page(start, PageRecord(page), value)
            case ["page", int(start), int(page), int(part)]:
                self.table.restore_page(start, PageRecord(page, part), value)
            case ["clock"] if value is not None:
                self.table.restore_clock(value)
            case ["alert", str(), str(alert_id)]:
                self.alerts.restore(alert_id, value)
            case ["delivery", str(), str(delivery_id)]:
                self.deliveries.restore(delivery_id, value)
            case ["receiver", str(name)]:
                self.receivers.restore(name, value)
            case other:
                raise ValueError(f"not a key of the state topic: {other!r}")

    def resume(self, now: float, offset: int) -> None:
        """Go on after everything was read back and replayed.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the log, where reading goes on.
        """
        self.table.resume(now, offset)
        starts = self.table.open_starts()
        self._oldest_open = min(starts, default=None)
        for start in starts:
            for campaign_id in self.table.campaigns_with(self._hits, start):
                self._undecided[campaign_id] = start
        self.alerts.resume(now)
        for alert in self.alerts.live():
            try:
                self._look_again(alert)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(alert.scope.campaign_id, error))

    def _look_again(self, alert: Alert) -> None:
        """Give an alert the figures of its window, which are not written while it is open."""
        campaign_id = alert.scope.campaign_id
        rule = self._rules.get(alert.rule)
        cells = dict(self.table.cells(campaign_id, self.table.open_starts()[::-1]))
        start = self.watch.windows.start_of(alert.window_start * 1000)
        if rule is None or start not in cells:
            return
        app_id = _app_of(cells.items())
        if rule.matches(campaign_id, app_id):
            seen = rule.observe(campaign_id, cells[start], self.watch.groups).get(alert.scope)
            if seen is not None and seen.attempts >= rule.min_attempts:
                self.alerts.look_again(alert, rule, Said(alert.scope, app_id, start, seen))

    def hand_over(self) -> None:
        """Let the next `take_changes` keep nothing back that could be worked out again.

        What can depends on the settings, and those of the next owner may be others.
        """
        self.alerts.keep_evidence()


def _app_of(cells: Iterable[tuple[int, Cell]]) -> str | None:
    """Return a campaign's app, given its windows, newest first."""
    return next((cell.app_id for _, cell in cells if cell.app_id is not None), None)


def _delivery(data: AlertData, receiver: str, body: str, now: float) -> Delivery:
    webhook_id = f"{data.alert_id}.{data.sequence}"
    return Delivery(
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
