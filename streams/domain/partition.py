"""Everything that is known of one partition's campaigns: windows, alerts, deliveries.

This is what the counting agent drives, what the changelog topic holds, and what the API reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from streams.domain import changelog
from streams.domain.alert_records import Alert, AlertKey
from streams.domain.alerts import AlertBook
from streams.domain.commits import SuppressedTransition
from streams.domain.counts import OTHER
from streams.domain.deferrable import NOTHING, Deferrable
from streams.domain.deliveries import DeliveryKey, Outbox
from streams.domain.detector_states import DetectorStateKey
from streams.domain.emission import WindowResult
from streams.domain.evaluation import CampaignWindows, ObservedCampaign, ScopeWindows
from streams.domain.evaluation_queue import EvaluationQueue
from streams.domain.lookback import ClosedWindows
from streams.domain.notification import pipeline
from streams.domain.notification.stage import Notification, Suppressed
from streams.domain.partial_counts import PartialCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receivers import ReceiverBook, ReceiverKey
from streams.domain.rules import Hits, Rule
from streams.domain.table import CheckpointKey, WindowTable
from streams.domain.transitions import Transition
from streams.domain.watermark import Watermark


class EvaluationFailure(NamedTuple):
    """A campaign that a rule could not be evaluated for, and what it raised."""

    campaign_id: str
    error: Exception


class CampaignPartition:
    """The campaigns of one partition of the repartition topic.

    Args:
        number: the partition.
        settings: what all partitions of the worker have in common.
        inputs: the source partitions that feed this one.
        now: wall-clock time (s, UTC).

    Attributes:
        stores: what keeps records of the changelog topic beside the windows, by the type of key.
    """

    def __init__(
        self, number: int, settings: PartitionSettings, inputs: Iterable[int], now: float
    ) -> None:
        self.number = number
        self.settings = settings
        watermark = Watermark(inputs, settings.idle_timeout, now)
        self.table = WindowTable(
            settings.windows, watermark, settings.limits, emits=settings.emits_windows
        )
        self.alerts = AlertBook(
            settings.rules,
            settings.windows.size,
            settings.windows.retention,
            settings.new_id,
            settings.base_url,
        )
        self.deliveries = Outbox()
        self.receivers = ReceiverBook()
        self.stores: Mapping[type[changelog.Key], changelog.Store] = {
            AlertKey: self.alerts,
            DetectorStateKey: self.alerts.states,
            DeliveryKey: self.deliveries,
            ReceiverKey: self.receivers,
        }
        self._rules = {rule.name: rule for rule in settings.rules}
        self._hits = tuple(Hits(rule, settings.groups) for rule in settings.rules)
        self._hits_only = all(rule.detector.hits_only for rule in settings.rules)
        self._queue = EvaluationQueue(
            settings.rules, settings.groups, self.table, self.alerts.campaigns_with_live_alerts
        )
        lookback = max((rule.detector.lookback for rule in settings.rules), default=1)
        self._reach = (lookback - 1) * settings.windows.size
        self._closed = ClosedWindows(self.table, settings.windows.size, lookback)
        self._seen_windows = -1, -1
        """The table's generation, and the window that event time was in, at the last evaluation."""
        self._failures: list[EvaluationFailure] = []
        self._stages = pipeline.stages(settings, self.deliveries)
        self._suppressed: list[SuppressedTransition] = []

    def apply(self, partial_counts: PartialCounts, offset: int, now: float) -> None:
        """Add partial counts, then advance the watermark by the event times of their inputs.

        Args:
            partial_counts: of any windows.
            offset: where they are, or will be, in the repartition topic.
            now: wall-clock time (s, UTC).
        """
        for counts in partial_counts.windows:
            start = self.settings.windows.start_of(counts.start * 1000)
            added = self.table.add(counts, offset, now)
            if added is None:
                continue
            if self.table.is_open(start):
                self._queue.add(start, added)
            else:
                self._closed.corrected(start, added)
                self._queue.correct(start, added)
        for source, event_time in partial_counts.event_times.items():
            self.table.observe(source, event_time, now)

    def advance(self, now: float, offset: int) -> list[Transition]:
        """Let time go on: evaluate the rules, then close and expire windows.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the log, at which the next counts will be.
        """
        decided = self.evaluate(now)
        self.table.advance(now, offset)
        self._queue.forget_before(self._first_in_reach())
        return decided

    @property
    def to_evaluate(self) -> int:
        """How many campaigns have changed since the rules were evaluated for them."""
        return len(self._queue)

    def unchanged_until(self, now: float) -> float:
        """Return the wall-clock time (s, UTC) before which `advance` decides and closes nothing.

        That is, if nothing is applied until then, and `is_evaluated` was true at `now`. It may be
        `now` or before; infinity for never.
        """
        if not self.is_evaluated:
            return now
        return min(self.alerts.next_due_at, self.table.unchanged_until(now))

    @property
    def deferrable(self) -> Deferrable:
        """Which counts could as well be applied later, together with others."""
        if not (self._hits_only and self.is_evaluated):
            return NOTHING
        next_window = self._newest_window() + self.settings.windows.size
        return Deferrable(
            starts=frozenset(
                start for start in self.table.open_starts() if start >= self._queue.looked_back_from
            ),
            before=min(next_window * 1000, self.table.next_boundary),
            watched=(self.alerts.campaigns_with_live_alerts, self._queue.waiting),
            hits=self._hits,
        )

    @property
    def has_changed_deliveries(self) -> bool:
        """Whether the next `take_changes` has any of deliveries or of receivers."""
        return self.deliveries.has_changes or self.receivers.has_changes

    @property
    def is_evaluated(self) -> bool:
        """Whether the rules were evaluated on all counts and on the windows that are open now."""
        windows = self.table.generation, self._newest_window()
        return not self.to_evaluate and windows == self._seen_windows

    def evaluate(self, now: float, most: int | None = None) -> list[Transition]:
        """Evaluate the rules on the open windows of campaigns that changed, at `now` (s).

        With `most`, no more campaigns than that are evaluated, and the others at the next call.
        Each transition has gone through the notification stages then. Counts are written down with
        what they led to, so whoever reads them back does not evaluate them again.
        """
        starts = self.table.open_starts()[::-1]
        self._follow_windows(starts)
        self._queue.evaluate_anyway(self.alerts.forget(now))
        campaigns = self._queue.take(most)
        decided: list[Transition] = []
        for campaign_id in campaigns:
            try:
                for transition in self._evaluate(campaign_id, starts, now):
                    decided += self._notify([transition], now)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(campaign_id, error))
        self.alerts.persist_stale_evidence(campaigns)
        if self._queue.is_empty:
            decided += self._notify(self.alerts.tick(now), now)
        # The rate may be too high as before, where an alert expired.
        for campaign_id in self.alerts.take_without_live_alerts():
            self._queue.again_after(campaign_id, 1)
        return decided

    def _follow_windows(self, open_starts: list[int]) -> None:
        """Take note of windows that opened or closed, given those that are open, newest first."""
        seen = self.table.generation, self._newest_window()
        if seen == self._seen_windows:
            return
        self._seen_windows = seen
        self._closed.update(open_starts)
        self.alerts.roll(open_starts)
        self._queue.follow(open_starts)

    def _first_in_reach(self) -> int:
        """Return the start (s) of the first window that an open one, now or later, looks back on.

        A window that is older than all open ones may still open, while event time allows it. One
        that has expired is not there any more.
        """
        oldest_open = self.settings.windows.oldest_open(self.table.event_time)
        oldest_kept = self.table.oldest_start
        first = oldest_open if oldest_kept is None else min(oldest_kept, oldest_open)
        return max(oldest_open - self._reach, first)

    def _newest_window(self) -> int:
        """Return the start (s) of the window that the newest event time of all inputs is in."""
        return self.settings.windows.start_of(self.table.newest_event_time)

    def _evaluate(self, campaign_id: str, starts: list[int], now: float) -> Iterator[Transition]:
        """Evaluate the rules on a campaign's open windows, by their starts (s), newest first."""
        if campaign_id == OTHER:
            # A rate over campaigns that have nothing in common is no campaign's.
            return
        windows = self._windows_of(campaign_id, starts)
        newest, waits = self._newest_window(), []
        for rule in self.settings.rules:
            if not rule.matches_campaign(campaign_id):
                continue
            if not rule.matches_app(windows.app_id):
                # It may turn out to be another one.
                waits.append(1)
                continue
            for scope_windows in self._scopes(rule, windows):
                decision = self.alerts.evaluate(rule, scope_windows, now, newest)
                if decision.evaluation.again_after is not None:
                    waits.append(decision.evaluation.again_after)
                if decision.transition is not None:
                    yield decision.transition
        if waits or not windows.open:
            # Without counts in open windows there is nothing to evaluate, until there are new ones.
            self._queue.again_after(campaign_id, min(waits, default=1))
        if windows.open:
            self._queue.again_before(campaign_id, windows.open[-1][0])

    def _windows_of(self, campaign_id: str, open_starts: list[int]) -> CampaignWindows:
        cells = list(self.table.cells(campaign_id, open_starts))
        app_id = next((cell.app_id for _, cell in cells if cell.app_id is not None), None)
        return CampaignWindows(campaign_id, app_id, cells, lambda: self._closed.cells(campaign_id))

    def _scopes(self, rule: Rule, windows: CampaignWindows) -> Iterator[ScopeWindows]:
        """Yield what a campaign's windows say to a rule, for each scope."""
        return ObservedCampaign(rule, windows, self.settings.groups).scopes()

    def _notify(self, decided: Iterable[Transition], now: float) -> Iterator[Transition]:
        """Send each transition through the notification stages; yield it, whatever they decide."""
        for transition in decided:
            alert_id = transition.data.alert_id
            notification = Notification(transition, self.alerts.receivers(alert_id))
            decision = pipeline.run(self._stages, notification, now)
            if isinstance(decision, Suppressed):
                self.alerts.suppressed(alert_id, decision)
                self._suppressed.append(SuppressedTransition(transition, decision))
            yield transition

    def take_suppressed(self) -> list[SuppressedTransition]:
        """Return the transitions since the last call of which nobody is notified."""
        suppressed, self._suppressed = self._suppressed, []
        return suppressed

    def take_failures(self) -> list[EvaluationFailure]:
        """Return the campaigns whose evaluation failed since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def take_changes(self, now: float, *, others: bool = False) -> list[changelog.Record]:
        """Hand out the records that have to be written to the changelog topic.

        Whoever restores all of them (`streams.domain.restorer`), and replays the partial counts up
        to the last that was applied, knows what is known now. The first records of all have the
        checkpoint with them, as it says their format.

        Args:
            now: wall-clock time (s, UTC).
            others: whether the task writes records of its own to the changelog topic.
        """
        changes: list[tuple[changelog.Key, Any]] = [*self.table.take_changes(now)]
        for store in self.stores.values():
            changes += store.take_changes()
        if (changes or others) and not self.table.has_checkpoint:
            changes.insert(0, (CheckpointKey(), self.table.checkpoint()))
        return list(changelog.encode(changes))

    def take_results(self) -> list[WindowResult]:
        """Hand out the results of closed windows that have to be written with the last changes."""
        return self.table.take_results()

    def add_inputs(self, sources: Iterable[int], now: float) -> None:
        """Wait for the event time of these source partitions too, from wall-clock `now` (s) on."""
        self.table.add_inputs(sources, now)

    def finish_restore(self, now: float, offset: int) -> None:
        """Go on after everything was restored and replayed: `streams.domain.restorer` calls it.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the repartition topic, where reading goes on.
        """
        self.table.finish_restore(now, offset)
        starts = self.table.open_starts()[::-1]
        self._closed.update(starts)
        self._seen_windows = self.table.generation, self._newest_window()
        self._queue.resume(starts)
        self._restore_hits()
        self.alerts.resume(now)
        for alert in self.alerts.of_open_windows():
            try:
                self._refresh(alert, starts)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(alert.scope.campaign_id, error))

    def _restore_hits(self) -> None:
        """Count the hits of all windows that open ones, now or later, look back on."""
        first = self._first_in_reach()
        for start in self.table.starts():
            if start >= first:
                for counts in self.table.counts(start):
                    self._queue.restore(start, counts)

    def _refresh(self, alert: Alert, open_starts: list[int]) -> None:
        """Give an alert the figures of its windows, which are not written while these are open."""
        rule = self._rules.get(alert.rule)
        windows = self._windows_of(alert.scope.campaign_id, open_starts)
        of_scope = None
        if rule is not None and rule.matches(windows.campaign_id, windows.app_id):
            known = {each.scope: each for each in self._scopes(rule, windows)}
            of_scope = known.get(alert.scope)
        self.alerts.refresh(alert, rule, of_scope, open_starts, self._newest_window())

    def prepare_handover(self) -> None:
        """Let the next `take_changes` keep nothing back that could be worked out again.

        What can depends on the settings, and those of the next owner may be others.
        """
        self.alerts.persist_evidence()
