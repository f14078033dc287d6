"""Everything that is known of one partition's campaigns: windows, alerts, deliveries.

This is what the counting agent drives, what the changelog topic holds, and what the API reads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from streams.domain import changelog
from streams.domain.alert_records import Alert, AlertKey
from streams.domain.alerts import AlertBook
from streams.domain.buckets import Bucket, BucketKey, Window
from streams.domain.campaign_evaluator import CampaignEvaluator, Due
from streams.domain.causes.handover import (
    GroupedAlertKey,
    LaneParts,
    LaneVersionKey,
    NamedGroupKey,
)
from streams.domain.causes.lane_groups import LaneGroups
from streams.domain.causes.records import TellerKey
from streams.domain.causes.teller import TellerParts, Tellers
from streams.domain.changed_cells import ChangedCells
from streams.domain.checkpoint import Checkpoint, CheckpointKey
from streams.domain.commits import SuppressedTransition
from streams.domain.counts import OTHER
from streams.domain.deferrable import NOTHING, Deferrable
from streams.domain.deliveries import DeliveryKey, Outbox
from streams.domain.detector_states import DetectorStateKey
from streams.domain.detectors.accounts import Account
from streams.domain.emission import WindowResult
from streams.domain.evaluation_queue import EvaluationQueue
from streams.domain.explaining import Explainer
from streams.domain.fleet.events import FleetEvents
from streams.domain.fleet.receiver_trouble import TroubleKey
from streams.domain.fleet.silence_notices import NoticeKey
from streams.domain.fold_records import HitSeries
from streams.domain.folded_scopes import FoldGroupKey
from streams.domain.folds import AddedRecord, DeferredHits, Folds, FoldsKey
from streams.domain.lookback import ClosedWindows
from streams.domain.notification import pipeline
from streams.domain.notification.stage import Notification, Suppressed
from streams.domain.operators import OperatorRequests
from streams.domain.partial_counts import Dimensions, PartialCounts, WindowCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.pools import PoolsKey
from streams.domain.receivers import ReceiverBook, ReceiverKey
from streams.domain.rollups import RollupKey
from streams.domain.rules import Rule, Scope
from streams.domain.sample_book import SampleBook
from streams.domain.sent_messages import MessageKey
from streams.domain.table import WindowTable
from streams.domain.transitions import ENDS, Explanation, Transition
from streams.domain.watermark import Watermark


class EvaluationFailure(NamedTuple):
    """A campaign that a rule could not be evaluated for, and what it raised."""

    campaign_id: str
    error: Exception


class _SeenWindows(NamedTuple):
    """The windows as they were at the last evaluation.

    Attributes:
        generation: of the table.
        newest: start (s) of the window that the newest event time was in.
        oldest_open: start (s) of the oldest window that event time left open; 0 if no rule is
            evaluated on closing.
    """

    generation: int
    newest: int
    oldest_open: int


class CampaignPartition:
    """The campaigns of one partition of the repartition topic.

    Args:
        number: the partition.
        settings: what all partitions of the worker have in common.
        inputs: the source partitions that feed this one.
        now: wall-clock time (s, UTC).

    Attributes:
        stores: what keeps records of the changelog topic beside the windows, by the type of key.
        samples: of events that alerts may be about.
        operators: what people ask to be done with its alerts.
        groups: alerts that are told of in groups.
        tellers: of those rules whose causes this partition tells of.
        changed: campaigns whose windows have changed.
        fleet: what is told once for all workers.
    """

    def __init__(
        self, number: int, settings: PartitionSettings, inputs: Iterable[int], now: float
    ) -> None:
        self.number = number
        self.settings = settings
        inputs = tuple(inputs)
        watermark = Watermark(inputs, settings.idle_timeout, now)
        self.folds = Folds(settings, inputs)
        size = settings.windows.size
        self._on_closing = tuple(rule for rule in settings.rules if rule.detector.on_closing)
        reaches = [(rule.detector.lookback - 1) * size for rule in self._on_closing]
        self.table = WindowTable(
            settings.windows,
            watermark,
            settings.limits,
            emits=settings.emits_windows,
            on_close=self._window_closes,
            observed_reach=max(reaches, default=None),
        )
        self._explainer = Explainer(self.table, settings.windows, settings.groups)
        self.alerts = AlertBook(
            settings.rules,
            settings.windows.size,
            settings.windows.retention,
            settings.new_id,
            settings.base_url,
            explain=self._explain,
            catch_up=self._catch_up,
            silences=settings.silences,
            names=settings.names,
        )
        self.samples = SampleBook(settings.windows, settings.groups)
        self.changed = ChangedCells()
        self.deliveries = Outbox(settings.retention)
        self.operators = OperatorRequests()
        self.receivers = ReceiverBook()
        self.groups = LaneGroups(
            LaneParts(
                number=number,
                lanes=settings.lanes,
                rules=settings.rules,
                groups=settings.groups,
                times=settings.grouping,
                view=settings.group_view,
                table=self.table,
                alerts=self.alerts,
                outbox=self.deliveries,
                labels=settings.group_labels,
                limits=settings.rate_limits,
            )
        )
        self.tellers = Tellers(
            TellerParts(
                number=number,
                lanes=settings.lanes,
                rules=settings.rules,
                receivers=settings.receivers,
                times=settings.grouping,
                view=settings.group_view,
                outbox=self.deliveries,
                base_url=settings.base_url,
                limits=settings.rate_limits,
                names=settings.names,
            )
        )
        self.fleet = FleetEvents(number, settings, self.alerts, self.receivers, self.deliveries)
        self.stores: Mapping[type[changelog.Key], changelog.Store] = {
            AlertKey: self.alerts,
            DetectorStateKey: self.alerts.states,
            FoldsKey: self.folds,
            FoldGroupKey: self.folds,
            PoolsKey: self.folds,
            DeliveryKey: self.deliveries,
            MessageKey: self.deliveries.messages,
            ReceiverKey: self.receivers,
            GroupedAlertKey: self.groups,
            NamedGroupKey: self.groups,
            LaneVersionKey: self.groups,
            TellerKey: self.tellers,
            NoticeKey: self.fleet.notices,
            TroubleKey: self.fleet.trouble,
        }
        by_windows = [rule for rule in settings.rules if self.folds.of(rule) is None]
        self._hits_only = all(rule.detector.hits_only for rule in settings.rules)
        self._queue = EvaluationQueue(
            by_windows,
            settings.groups,
            self.table,
            self.alerts.campaigns_with_live_alerts,
            self.alerts.attended_campaigns,
        )
        lookback = max((rule.detector.lookback for rule in settings.rules), default=1)
        self._reach = (lookback - 1) * size
        self._closed = ClosedWindows(self.table, size, lookback, settings.rules, settings.groups)
        self._evaluator = CampaignEvaluator(
            settings, self.table, self.folds, self.alerts, self._queue, self._closed
        )
        self._closing_reach = max(reaches, default=None)
        self._closing: set[str] = set()
        """Campaigns to evaluate on closing: event time has closed windows since they were."""
        self._table_closed: list[tuple[int, int]] = []
        """During a replay: the offsets at which windows closed, and their starts (s), in order."""
        self._replayed_from: int | None = None
        """The offset from which partial counts are replayed; null if none are."""
        self._seen_windows = _SeenWindows(-1, -1, 0)
        self._failures: list[EvaluationFailure] = []
        self._stages = pipeline.stages(settings, self.groups, self.groups.overflow, self.deliveries)
        self._suppressed: list[SuppressedTransition] = []

    def apply(self, partial_counts: PartialCounts, offset: int, now: float) -> None:
        """Add partial counts, then advance the watermark by the event times of their inputs.

        Args:
            partial_counts: of any windows.
            offset: where they are, or will be, in the repartition topic.
            now: wall-clock time (s, UTC).
        """
        record = AddedRecord(offset, partial_counts, [], [])
        for counts in partial_counts.windows:
            start = self.settings.windows.start_of(counts.start * 1000)
            self.changed.change(start, counts.campaigns, offset, now)
            added = self.table.add(counts, offset, now)
            if added is None:
                record.late.append(start)
            elif self.table.is_open(start):
                self._queue.add(start, added)
                record.on_time.append((start, added))
            else:
                self._closed.corrected(start, added)
                self._queue.correct(start, added)
                record.late.append(start)
        if self.folds:
            self.folds.fold(record, self.table)
            self._follow_breaches(now)
        for _, added in record.on_time:
            self.alerts.outdate(added.campaigns)
        self.samples.add(partial_counts.samples)
        for source, event_time in partial_counts.event_times.items():
            self.table.observe(source, event_time, now)

    def _follow_breaches(self, now: float) -> None:
        for rule, scope, at in self.folds.take_gone_on():
            self.alerts.goes_on(rule, scope, self.settings.windows.start_of(at), now)

    def follow_changes(self) -> None:
        """Know from here on which windows change, as somebody asks."""
        starts = () if self.changed.is_followed else self.table.open_starts()
        self.changed.follow({start: self.table.campaigns_in(start) for start in starts})

    def apply_kept(self, counts: Iterable[WindowCounts], offset: int, now: float) -> None:
        """Add counts that were deferrable and still are: to windows alone, as nothing follows.

        Args:
            counts: of open windows.
            offset: of the partial counts that are applied next.
            now: wall-clock time (s, UTC).
        """
        for each in counts:
            self.changed.change(each.start, each.campaigns, offset, now)
            self.alerts.outdate(each.campaigns)
            self.table.add(each, offset, now)

    def add_hits(self, hits: DeferredHits, offset: int, now: float) -> bool:
        """Fold hits of counts that are deferrable, which are applied later.

        Args:
            hits: of one record.
            offset: of the partial counts that are applied next.
            now: wall-clock time (s, UTC).

        Returns:
            Whether rules have to be evaluated now, with the counts applied.
        """
        has_turned = self.folds.add_hits(hits, offset, self.table)
        self._follow_breaches(now)
        return has_turned

    def add_series(self, hits: Sequence[HitSeries]) -> bool:
        """Fold hits of counts that are deferrable, which are applied later, of records in a row.

        Returns:
            Whether that was done: it is not if rules would have to be evaluated with any of them.
        """
        gone_on = self.folds.add_series(hits, self.table)
        for rule, scope, at, arrived_at in gone_on or ():
            window = self.settings.windows.start_of(at)
            self.alerts.goes_on(rule, scope, window, arrived_at / 1000)
        return gone_on is not None

    def attempts(self, campaign_ids: Sequence[str]) -> list[int]:
        """Return how many attempts campaigns have in open windows, as folds see them."""
        return self.folds.attempts(campaign_ids, self.table)

    @property
    def deferrable_hits(self) -> list[Callable[[Dimensions], bool]] | None:
        """What tells, for each rule, whether a count key is one of hits, if all rules fold these.

        Null if hits have to be applied with their counts.
        """
        has_others = any(self.folds.of(rule) is None for rule in self.settings.rules)
        return None if has_others else self.folds.hits_of_campaigns

    def advance(self, now: float, offset: int) -> list[Transition]:
        """Let time go on: evaluate the rules, then close and expire windows.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the log, at which the next counts will be.
        """
        decided = self.evaluate(now)
        self.table.advance(now, offset)
        self._queue.forget_before(self._first_in_reach(), self.folds.breaching())
        self._step_groups(now)
        return decided

    def _step_groups(self, now: float) -> None:
        """Let time (s, UTC) do its part for what is told of all partitions together."""
        try:
            self.groups.step(now)
        except Exception as error:  # noqa: BLE001 - alerts matter more than what they have in common
            self._failures.append(EvaluationFailure(OTHER, error))
            self.groups.release_all(now)
        self.tellers.step(now)
        failures = [*self.tellers.take_failures(), *self.fleet.step(now)]
        self._failures += [EvaluationFailure(OTHER, error) for error in failures]

    @property
    def to_evaluate(self) -> int:
        """How many campaigns have changed since the rules were evaluated for them."""
        return len(self._queue) + len(self._closing) + self.folds.stirred

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
                start
                for start in self.table.open_starts()
                if start >= max(self._queue.looked_back_from, self.folds.closed_until)
            ),
            before=min(next_window * 1000, self.table.next_boundary),
            watched=(self.alerts.attended_campaigns, self._queue.waiting),
            breaching=self.folds.breaching_by_rule(),
        )

    @property
    def has_changed_deliveries(self) -> bool:
        """Whether the next `take_changes` has any of deliveries or of receivers."""
        return self.deliveries.has_changes or self.receivers.has_changes

    @property
    def is_evaluated(self) -> bool:
        """Whether the rules were evaluated on all counts and on the windows that are open now.

        And whether all is done that operators asked for.
        """
        is_asked = self.to_evaluate or self.operators
        return not is_asked and self._windows_now() == self._seen_windows

    def evaluate(self, now: float, most: int | None = None) -> list[Transition]:
        """Evaluate the rules on the open windows of campaigns that changed, at `now` (s).

        With `most`, no more campaigns than that are evaluated, and the others at the next call.
        Each transition has gone through the notification stages then. Counts are written down with
        what they led to, so whoever reads them back does not evaluate them again.
        """
        starts = self.table.open_starts()[::-1]
        self._explainer.begin()
        self._follow_windows(starts)
        self._queue.evaluate_anyway(self.alerts.forget(now))
        self._queue.evaluate_anyway(self.folds.take_stirred())
        decided = list(self._notify(self.alerts.end_orphans(now), now))
        for asked in self.operators.take():
            decided += self._notify(self.alerts.acknowledge(asked, now), now)
        due = self._take(most)
        for each in due:
            try:
                for transition in self._evaluator.evaluate(each, starts, now):
                    decided += self._notify([transition], now)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(each.campaign_id, error))
        self.alerts.persist_stale_evidence([each.campaign_id for each in due])
        if not self.to_evaluate:
            # After all transitions, whose explanations cannot wait.
            self.alerts.explain_again(now, lambda: self._explainer.has_time)
            decided += self._notify(self.alerts.tick(now), now)
        # The rate may be too high as before, where an alert expired.
        for campaign_id in self.alerts.take_unattended():
            self._queue.again_after(campaign_id, 1)
        return decided

    def _take(self, most: int | None) -> list[Due]:
        """Hand out the campaigns to evaluate, no more than `most`; the others stay."""
        due = self._queue.take(most)
        left = most - len(due) if most is not None else None
        silent = set(islice(self._closing - due, left))
        closing = self._closing & due
        self._closing -= due | silent
        return [
            *(Due(name, self.settings.rules, has_closed=name in closing) for name in due),
            *(Due(name, self._on_closing, has_closed=True) for name in silent),
        ]

    def _follow_windows(self, open_starts: list[int]) -> None:
        """Take note of windows that opened or closed, given those that are open, newest first."""
        seen = self._windows_now()
        if seen == self._seen_windows:
            return
        has_closed = seen.oldest_open > self._seen_windows.oldest_open
        self._see(seen)
        self._closed.update(self.table.open_from)
        if self._closing_reach is not None and has_closed:
            self._closing |= self._closed.campaigns_since(seen.oldest_open - self._closing_reach)
            self._closing |= self.alerts.campaigns_with_live_alerts
        self.alerts.roll(open_starts)
        self._queue.follow(open_starts)

    def _see(self, windows: _SeenWindows) -> None:
        """Take note of the windows that rules are evaluated on from here on."""
        self._seen_windows = windows
        self._evaluator.oldest_open = windows.oldest_open

    def _windows_now(self) -> _SeenWindows:
        oldest_open = self.table.open_from if self._closing_reach is not None else 0
        return _SeenWindows(self.table.generation, self._newest_window(), oldest_open)

    def _first_in_reach(self) -> int:
        """Return the start (s) of the first window that an open one, now or later, looks back on.

        A window that is older than all open ones may still open, while event time allows it. One
        that has expired is not there any more.
        """
        oldest_open, oldest_kept = self.table.open_from, self.table.oldest_start
        first = oldest_open if oldest_kept is None else min(oldest_kept, oldest_open)
        return max(oldest_open - self._reach, first)

    def _newest_window(self) -> int:
        """Return the start (s) of the window that the newest event time of all inputs is in."""
        return self.settings.windows.start_of(self.table.newest_event_time)

    def _window_closes(self, window: Window) -> None:
        """Let all that follows windows know the counts of one that closes."""
        self.alerts.catch_up_all()
        self.folds.window_closes(window)

    def _catch_up(self, alert: Alert) -> None:
        try:
            self._evaluator.catch_up(alert)
        except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
            self._failures.append(EvaluationFailure(alert.scope.campaign_id, error))

    def _explain(self, rule: Rule, alert: Alert, before: Alert | None) -> Explanation | None:
        """Return what explains an alert; null if nothing can be said."""
        try:
            found = self._explainer.explain(rule, alert, before)
            if found is not None:
                found.samples = self.samples.of(rule, alert, found)
        except Exception as error:  # noqa: BLE001 - the alert matters more than what explains it
            self._failures.append(EvaluationFailure(alert.scope.campaign_id, error))
            return None
        return found

    def accounts(self, rule: Rule, campaign_id: str) -> Iterator[tuple[Scope, Account]]:
        """Say in figures why scopes of a campaign breach, or why not: for whoever asks.

        Of a rule by windows, those are the scopes with attempts in open ones, or in any that it is
        evaluated on when they close. Counts may be added between two of them.
        """
        return self._evaluator.accounts(rule, campaign_id)

    def _notify(self, decided: Iterable[Transition], now: float) -> Iterator[Transition]:
        """Send each transition through the notification stages; yield it, whatever they decide."""
        for transition in decided:
            alert_id = transition.data.alert_id
            if transition.type in ENDS:
                self.groups.ending(alert_id, now)
            notification = Notification(
                transition,
                self.alerts.receivers(alert_id),
                self.alerts.notified_receivers(alert_id),
            )
            decision = pipeline.run(self._stages, notification, now)
            if isinstance(decision, Suppressed):
                self.alerts.suppressed(alert_id, decision)
                self._suppressed.append(SuppressedTransition(transition, decision))
            else:
                self.alerts.notified(alert_id, decision.receivers, decision.withheld)
            yield transition

    def take_group_records(self) -> list[tuple[bytes, bytes | None]]:
        """Return the records for the groups topic since the last call, in their order."""
        of_groups = [*self.groups.take_records(), *self.tellers.take_records()]
        return [*of_groups, *self.fleet.take_records()]

    def take_suppressed(self) -> list[SuppressedTransition]:
        """Return the transitions since the last call of which nobody is notified."""
        suppressed, self._suppressed = self._suppressed, []
        return suppressed

    def take_failures(self) -> list[EvaluationFailure]:
        """Return the campaigns whose evaluation failed since the last call."""
        failures, self._failures = self._failures, []
        return failures + [EvaluationFailure(*each) for each in self.folds.take_failures()]

    def take_changes(self, now: float, *, others: bool = False) -> list[changelog.Record]:
        """Hand out the records that have to be written to the changelog topic.

        Whoever restores all of them (`streams.domain.restorer`), and replays the partial counts up
        to the last that was applied, knows what is known now. The first records of all have the
        checkpoint with them, as it says their format.

        Args:
            now: wall-clock time (s, UTC).
            others: whether the task writes records of its own to the changelog topic.
        """
        self.operators.begin_commit()
        changes: list[tuple[changelog.Key, Any]] = [*self.table.take_changes(now)]
        self.folds.not_replayed(self.table.take_not_replayed_until())
        for store in self.stores.values():
            changes += store.take_changes()
        if (changes or others) and not self.table.has_checkpoint:
            changes.insert(0, (CheckpointKey(), self.table.checkpoint()))
        return list(changelog.encode(changes))

    def mark_committed(self) -> None:
        """Take note that what the last `take_changes` handed out is committed."""
        self.deliveries.mark_committed()
        self.operators.mark_committed()

    def take_results(self) -> list[WindowResult]:
        """Hand out the results of closed windows that have to be written with the last changes."""
        return self.table.take_results()

    def add_inputs(self, sources: Iterable[int], now: float) -> None:
        """Wait for the event time of these source partitions too, from wall-clock `now` (s) on."""
        sources = tuple(sources)
        self.table.add_inputs(sources, now)
        self.folds.add_inputs(sources)

    def begin_replay(
        self,
        checkpoint: Checkpoint,
        buckets: Mapping[BucketKey, Bucket],
        rollups: Mapping[RollupKey, Bucket],
    ) -> int | None:
        """Go on from what was written down, as far as that is: `streams.domain.restorer` calls it.

        Returns:
            The offset in the repartition topic from which partial counts have to be replayed; null
            if there are none.

        Raises:
            FormatError: if the windows do not fit the settings, or one of them lacks a bucket.
        """
        self.folds.restored()
        offsets = self.table.restore(checkpoint, buckets, rollups), self.folds.replay_from_offset
        self._table_closed = self.table.closed_at_offsets()
        self._replayed_from = min((each for each in offsets if each is not None), default=None)
        return self._replayed_from

    def replay(self, partial_counts: PartialCounts, offset: int, now: float) -> None:
        """Add partial counts again, as far as they are not in what was written.

        Args:
            partial_counts: the counts.
            offset: where in the repartition topic they are.
            now: wall-clock time (s, UTC).
        """
        self._follow_table(offset)
        for each in partial_counts.windows:
            start = self.settings.windows.start_of(each.start * 1000)
            self.changed.change(start, each.campaigns, offset, now)
        record = AddedRecord(offset, partial_counts, [], [])
        for start, counts, is_late in self.table.replay(partial_counts, offset, now):
            if is_late or counts is None:
                record.late.append(start)
            else:
                record.on_time.append((start, counts))
        if self.folds:
            self.folds.replay(record, self.table)

    def _follow_table(self, offset: int) -> None:
        """Let the folds learn the windows that had closed before the record at an offset."""
        closed = self._table_closed
        while closed and closed[0][0] <= offset:
            self.folds.table_closed(closed.pop(0)[1], self.table)

    def finish_restore(self, now: float, offset: int) -> None:
        """Go on after everything was restored and replayed: `streams.domain.restorer` calls it.

        Args:
            now: wall-clock time (s, UTC).
            offset: of the repartition topic, where reading goes on.
        """
        self._follow_table(offset)
        self.changed.restored(self._replayed_from, offset, now)
        self.table.finish_restore(now, offset)
        self.folds.finish_replay()
        starts = self.table.open_starts()[::-1]
        self._see(self._windows_now())
        self._closed.update(self.table.open_from)
        self._queue.resume(starts)
        self._restore_hits()
        self._queue.wait(self.folds.breaching())
        self.alerts.resume(now, starts)
        for alert in self.alerts.of_open_windows():
            try:
                self._evaluator.refresh(alert, starts)
            except Exception as error:  # noqa: BLE001 - one campaign must not stop the others
                self._failures.append(EvaluationFailure(alert.scope.campaign_id, error))

    def _restore_hits(self) -> None:
        """Count the hits of all windows that open ones, now or later, look back on."""
        first = self._first_in_reach()
        for start in self.table.starts():
            if start >= first:
                for counts in self.table.counts(start):
                    self._queue.restore(start, counts)

    def prepare_handover(self) -> None:
        """Let the next `take_changes` keep nothing back that could be worked out again.

        What can depends on the settings, and those of the next owner may be others.
        """
        self.alerts.catch_up_all()
        self.alerts.persist_evidence()
        self.folds.write()
