"""The life of an alert: inactive, pending, firing, resolved or expired.

One `AlertBook` holds the alerts of one partition's campaigns. It is shown what the open windows
say, and decides the transitions. An alert's state is written down in the same transaction as the
transition that led to it, so each is decided once.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, KeysView
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple, TypeAlias

from streams.domain import alert_labels
from streams.domain.alert_records import Alert, AlertKey, HighestCounts, State, Step
from streams.domain.detector_states import DetectorStates
from streams.domain.detectors.detector import Evaluation, Figures, Reason
from streams.domain.detectors.folding import shown
from streams.domain.detectors.history import Notified, ScopeHistory, Stretch
from streams.domain.evaluation import ScopeWindows
from streams.domain.notification.group import GROUPED
from streams.domain.notification.silence import is_held
from streams.domain.notification.stage import Suppressed
from streams.domain.rendering import describe, evidence_of
from streams.domain.rule_folds import Episode, RuleFold
from streams.domain.rules import Rule, Scope
from streams.domain.silences.book import SilenceBook
from streams.domain.transitions import (
    AlertData,
    Explanation,
    Transition,
    TransitionType,
    rfc3339,
)

MOST_STEPS = 24
"""How many transitions of an alert are remembered: its first one and the newest."""

EXPLAINED_AGAIN_AFTER = 10.0
"""Seconds after which a firing alert is explained again, as more is known then; after that, when it
fires for more than twice as long."""

Explain: TypeAlias = Callable[[Rule, Alert, Alert | None], Explanation | None]
"""Returns what explains an alert, given the one before it that its rule had in its scope; null for
nothing, and then what was said of it before stays."""


class Decision(NamedTuple):
    """What an evaluation came to, and the transition that it led to; null if it led to none."""

    evaluation: Evaluation
    transition: Transition | None


class AlertBook:
    """The alerts of one partition.

    Args:
        rules: what to watch for; an alert whose rule is gone is ended as `expired`.
        window_size: in seconds.
        history: how long, in seconds, an ended alert is remembered.
        new_id: makes alert ids.
        base_url: of the API, for links, without a slash at its end; null for no links.
        explain: finds out what explains an alert.
        silences: by which alerts are silenced.

    Attributes:
        states: what the rules' detectors remember.
    """

    def __init__(  # noqa: PLR0913 - what a partition's alerts have in common
        self,
        rules: Iterable[Rule],
        window_size: int,
        history: float,
        new_id: Callable[[], str],
        base_url: str | None = None,
        *,
        explain: Explain = lambda *_: None,
        silences: SilenceBook | None = None,
    ) -> None:
        rules = tuple(rules)
        self._rules = {rule.name: rule for rule in rules}
        self.states = DetectorStates(rules)
        self._window_size = window_size
        self._history = history
        self._new_id = new_id
        self._base_url = base_url
        self._explanation_of = explain
        self._silences = SilenceBook() if silences is None else silences
        self._seen_silences = self._silences.version
        self._held: dict[str, float] = {}
        """Firing alerts of whose newest transition nobody was notified as they are silenced, by id;
        and up to when (s) they certainly are, if the silences stay as they are."""
        self._alerts: dict[str, Alert] = {}
        self._live: dict[tuple[str, Scope], Alert] = {}
        self._newest_ended: dict[tuple[str, Scope], Alert] = {}
        """The newest alert that has ended, of each rule and scope."""
        self._ended: list[tuple[float, str]] = []
        """When alerts ended, and their ids: a heap."""
        self._due: list[tuple[float, str]] = []
        """When (s) `tick` has something to do about live alerts, and their ids: a heap."""
        self._due_at: dict[str, float] = {}
        """By live alert, the time of its entry there that counts; any other one is outdated."""
        self._of_campaign: dict[str, dict[str, Alert]] = {}
        """The live alerts of each campaign that has any, by their ids."""
        self._without_alerts: set[str] = set()
        """Campaigns whose last live alert has ended since `take_without_live_alerts`."""
        self._changed: dict[str, str] = {}
        self._unwritten: set[str] = set()
        """Alerts whose newest figures were not written, as their windows are open."""
        self._evaluated: set[str] = set()
        """Ids of the alerts that were evaluated since the last `persist_stale_evidence`."""

    # Deciding

    @property
    def campaigns_with_live_alerts(self) -> KeysView[str]:
        """The campaigns that have a live alert."""
        return self._of_campaign.keys()

    def take_without_live_alerts(self) -> set[str]:
        """Return the campaigns that had a live alert at the last call or since, and have none."""
        ended, self._without_alerts = self._without_alerts, set()
        return {name for name in ended if name not in self._of_campaign}

    def evaluate(self, rule: Rule, windows: ScopeWindows, now: float, newest: int) -> Decision:
        """Decide what the windows of a scope mean for its alert.

        Args:
            rule: is about the scope.
            windows: of the scope.
            now: wall-clock time (s, UTC).
            newest: start (s) of the window that event time is in.
        """
        alert = self._live.get((rule.name, windows.scope))
        history = self._history_of(rule, windows, alert, newest)
        state = self.states.get(rule, windows.scope)
        evaluation = rule.detector.evaluate(history, state)
        self.states.put(rule, windows.scope, evaluation.state, now)
        if alert is None:
            if evaluation.breach is None:
                return Decision(evaluation, None)
            alert = self._open(rule, windows, evaluation.breach, evaluation.first, now)
        elif history.has_new_attempts or (
            history.has_new_closing and evaluation.recovered is False
        ):
            # That there are no attempts may be what it is about.
            alert.last_evaluated_at = now
        self._evaluated.add(alert.alert_id)
        self._refresh_figures(alert, windows, evaluation)
        return Decision(evaluation, self._step(alert, rule, evaluation, now))

    def follow(
        self, rule: Rule, windows: ScopeWindows, fold: RuleFold, now: float, newest: int
    ) -> Iterator[Transition]:
        """Follow what a folding detector has found in a scope since the last call.

        Args:
            rule: is about the scope.
            windows: of the scope.
            fold: of the rule.
            now: wall-clock time (s, UTC).
            newest: start (s) of the window that event time is in.
        """
        key = rule.name, windows.scope
        alert = self._live.get(key)
        episodes = fold.take_episodes(windows.scope, windows.folded)
        if alert is not None and alert.episode not in {each.number for each in episodes}:
            # Nothing is known any more of the breach that it is about.
            yield from self._finish(alert, windows, None, now)
        for episode in episodes:
            alert = self._live.get(key)
            history = self._history_of(rule, windows, alert, newest)
            if alert is None:
                alert = self._open_episode(rule, windows, history, episode, now)
            elif history.has_new_attempts:
                alert.last_evaluated_at = now
            if alert is None:
                continue
            self._evaluated.add(alert.alert_id)
            if alert.state == "pending" and now - alert.pending_since >= rule.for_:
                yield self._fire(alert, now)
            if episode.end is not None:
                yield from self._finish(alert, windows, shown(episode.end, history), now)
            else:
                evaluation = rule.detector.evaluate(history, windows.folded)
                self._refresh_figures(alert, windows, evaluation)

    def _open_episode(
        self,
        rule: Rule,
        windows: ScopeWindows,
        history: ScopeHistory,
        episode: Episode,
        now: float,
    ) -> Alert | None:
        """Raise an alert about a breach; null if an alert that has ended was about it."""
        ended = self._newest_ended.get((rule.name, windows.scope))
        if episode.begin is None or (ended is not None and episode.number <= ended.episode):
            return None
        alert = self._open(rule, windows, shown(episode.begin, history), None, now)
        alert.episode = episode.number
        alert.counted = _counted(windows)
        return alert

    def _finish(
        self, alert: Alert, windows: ScopeWindows, figures: Figures | None, now: float
    ) -> Iterator[Transition]:
        """End an alert, as the breach that it is about has ended with these figures."""
        if alert.state == "pending":
            self._drop(alert)
            return
        evaluation = Evaluation(Reason.RECOVERED, None, figures, True)
        self._refresh_figures(alert, windows, evaluation)
        yield self._end(alert, "resolved", now)

    def _history_of(
        self, rule: Rule, windows: ScopeWindows, alert: Alert | None, newest: int
    ) -> ScopeHistory:
        ended = self._newest_ended.get((rule.name, windows.scope))
        return ScopeHistory(
            open=windows.open,
            closed=windows.closed,
            newest=newest,
            size=self._window_size,
            evaluated=alert.counted if alert is not None else None,
            notified=Notified(ended.since, ended.breached, ended.closed_through, ended.counted)
            if ended is not None
            else None,
            closing=windows.closing,
        )

    def _refresh_figures(self, alert: Alert, windows: ScopeWindows, evaluation: Evaluation) -> None:
        """Let an alert know what windows say: figures that can be worked out again from them."""
        self._unwritten.add(alert.alert_id)
        alert.close_all_but(windows.open.keys())
        alert.counted = _counted(windows)
        if evaluation.figures is not None:
            self._set_evidence(alert, evaluation.figures)
        highest = evaluation.highest
        alert.now = self._highest(highest) if highest is not None else None
        if evaluation.breach is not None:
            last = evaluation.breach.stretch.last
            if last > alert.breached or last < alert.since:
                alert.breached = max(alert.breached, last)
                alert.since = min(alert.since, last)
                self._mark(alert)

    def _set_evidence(self, alert: Alert, figures: Figures) -> None:
        alert.window_start = figures.stretch.start
        alert.window_end = figures.stretch.last + self._window_size
        alert.evidence = evidence_of(figures)

    def _highest(self, stretch: Stretch) -> HighestCounts:
        seen = stretch.seen
        return HighestCounts(
            seen.attempts, seen.hits, stretch.start, stretch.last + self._window_size
        )

    def _fire(self, alert: Alert, now: float) -> Transition:
        """Let an alert fire that was pending long enough."""
        alert.state = "firing"
        alert.starts_at = alert.pending_since
        alert.notified = ()
        return self._notify(alert, "campaign.alert.firing", now)

    def _step(
        self, alert: Alert, rule: Rule, evaluation: Evaluation, now: float
    ) -> Transition | None:
        if alert.state == "pending":
            if not evaluation.breaching:
                self._drop(alert)
            elif now - alert.pending_since >= rule.for_:
                return self._fire(alert, now)
            return None
        if evaluation.recovered is None:
            return None
        if not evaluation.recovered:
            self._set_recovering(alert, None)
            return None
        if alert.recovering_since is None:
            self._set_recovering(alert, now)
        since = alert.recovering_since
        if since is not None and now - since >= rule.keep_firing_for:
            if evaluation.current is not None:
                self._set_evidence(alert, evaluation.current)
            return self._end(alert, "resolved", now)
        return None

    def roll(self, open_starts: Collection[int]) -> None:
        """Follow the window table after a window opened, closed or expired.

        What windows say of alerts is written down: it may not be worked out from them again.

        Args:
            open_starts: of the open windows (s).
        """
        still_open = frozenset(open_starts)
        for alert in self._live.values():
            alert.close_all_but(still_open)
            alert.peak, alert.now = alert.highest, None
            self._mark(alert)

    def forget(self, now: float) -> set[str]:
        """Forget episodes and states of detectors that are too old at wall-clock `now` (s, UTC).

        Returns:
            The campaigns with a live alert that was evaluated beside a forgotten one. What it was
            about is news again, as it is to whoever reads the live alert back.
        """
        self.states.forget(now)
        beside = set()
        while self._ended and now - self._ended[0][0] >= self._history:
            alert = self._alerts[heappop(self._ended)[1]]
            self._forget(alert)
            if (alert.rule, alert.scope) in self._live:
                beside.add(alert.scope.campaign_id)
        return beside

    @property
    def next_due_at(self) -> float:
        """When (s, UTC) `forget` or `tick` has something to do at the earliest; infinity: never."""
        if self._held and self._silences.version != self._seen_silences:
            return 0.0
        due = self._due[0][0] if self._due else inf
        forgotten = self._ended[0][0] + self._history if self._ended else inf
        return min(due, forgotten, self.states.next_forgotten_at)

    def tick(self, now: float) -> list[Transition]:
        """Let time (s, UTC) do its part: reminders, ends of silences, and alerts without data.

        What is not due costs nothing.
        """
        transitions: list[Transition] = []
        self._follow_silences()
        while self._due and self._due[0][0] <= now:
            at, alert_id = heappop(self._due)
            if self._due_at.get(alert_id) == at:
                del self._due_at[alert_id]
                transitions += self._let_time_pass(self._alerts[alert_id], now)
        return transitions

    def _let_time_pass(self, alert: Alert, now: float) -> Iterator[Transition]:
        """Do what is due for a live alert, which has no entry in `_due`."""
        rule = self._rules.get(alert.rule)
        if rule is None or alert.last_evaluated_at + rule.no_data_after <= now:
            if alert.state == "pending":
                self._drop(alert)
            else:
                yield self._end(alert, "expired", now)
        elif alert.alert_id in self._held:
            yield from self._release(alert, now)
        elif self._next_due(alert) <= now:
            yield self._notify(alert, "campaign.alert.reminder", now)
        else:
            # There were attempts since the entry was made.
            self._schedule(alert)

    def _follow_silences(self) -> None:
        """Have each alert that is held looked at again if the silences have changed."""
        if self._silences.version == self._seen_silences:
            return
        self._seen_silences = self._silences.version
        for alert_id in self._held:
            self._held[alert_id] = 0.0
            self._schedule(self._alerts[alert_id])

    def _release(self, alert: Alert, now: float) -> Iterator[Transition]:
        """Notify of an alert that is held, if it is not silenced any more."""
        silenced = self._silences.silenced(alert_labels.of_alert(alert), now)
        if silenced is not None:
            self._held[alert.alert_id] = silenced.until
            self._schedule(alert)
            return
        del self._held[alert.alert_id]
        is_news = alert.notified is not None and not alert.notified
        kind: TransitionType = "campaign.alert.firing" if is_news else "campaign.alert.reminder"
        yield self._notify(alert, kind, now)

    def _next_due(self, alert: Alert) -> float:
        """Return when (s) a live alert has no data for too long, or a reminder of it is due.

        There are no reminders of one that is held: it is looked at when its silences end.
        """
        rule = self._rules.get(alert.rule)
        if rule is None:
            return 0.0
        expires_at = alert.last_evaluated_at + rule.no_data_after
        if alert.state != "firing":
            return expires_at
        if alert.alert_id in self._held:
            return min(expires_at, self._held[alert.alert_id])
        return min(expires_at, (alert.notified_at or 0) + rule.repeat_interval)

    def _schedule(self, alert: Alert) -> None:
        """Make an entry in `_due` if there is none as early.

        Attempts put off when an alert expires; the entry stays, and is made anew in its time.
        """
        due = self._next_due(alert)
        if due < self._due_at.get(alert.alert_id, inf):
            self._due_at[alert.alert_id] = due
            heappush(self._due, (due, alert.alert_id))

    def _open(
        self,
        rule: Rule,
        windows: ScopeWindows,
        breach: Figures,
        first: Stretch | None,
        now: float,
    ) -> Alert:
        stretch = breach.stretch
        first = first or stretch
        of_open = {at: seen for at, seen in windows.open.items() if first.start <= at <= first.last}
        alert = Alert(
            alert_id=self._new_id(),
            rule=rule.name,
            scope=windows.scope,
            app_id=windows.app_id,
            state="pending",
            severity=rule.severity,
            labels=dict(rule.labels),
            receivers=rule.receivers,
            pending_since=now,
            last_evaluated_at=now,
            window_start=stretch.start,
            window_end=stretch.last + self._window_size,
            evidence=evidence_of(breach),
            since=first.start,
            breached=stretch.last,
            counted={},
            counted_size=self._window_size,
            closed=(
                # A breach that folds may begin in the middle of an open window.
                max(0, first.seen.attempts - sum(seen.attempts for seen in of_open.values())),
                max(0, first.seen.hits - sum(seen.hits for seen in of_open.values())),
            ),
            closed_through=min(of_open, default=first.last + 1) - 1,
        )
        self._enter(alert)
        self._schedule(alert)
        self._mark(alert)
        return alert

    def _set_recovering(self, alert: Alert, since: float | None) -> None:
        if alert.recovering_since != since:
            alert.recovering_since = since
            self._mark(alert)

    def _end(self, alert: Alert, state: State, now: float) -> Transition:
        alert.state = state
        alert.ends_at = now
        self._explain(alert, now)
        self._leave(alert)
        self._newest_ended[alert.rule, alert.scope] = alert
        heappush(self._ended, (now, alert.alert_id))
        kind: TransitionType = (
            "campaign.alert.resolved" if state == "resolved" else "campaign.alert.expired"
        )
        return self._notify(alert, kind, now)

    def _drop(self, alert: Alert) -> None:
        self._leave(alert)
        self._forget(alert)

    def _forget(self, alert: Alert) -> None:
        del self._alerts[alert.alert_id]
        if self._newest_ended.get((alert.rule, alert.scope)) is alert:
            del self._newest_ended[alert.rule, alert.scope]
        self._mark(alert)

    def _enter(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        self._alerts[alert.alert_id] = alert
        self._live[alert.rule, alert.scope] = alert
        self._of_campaign.setdefault(campaign_id, {})[alert.alert_id] = alert

    def _leave(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        del self._live[alert.rule, alert.scope]
        self._due_at.pop(alert.alert_id, None)
        self._held.pop(alert.alert_id, None)
        del self._of_campaign[campaign_id][alert.alert_id]
        if not self._of_campaign[campaign_id]:
            del self._of_campaign[campaign_id]
            self._without_alerts.add(campaign_id)

    # Notifying

    def _notify(self, alert: Alert, kind: TransitionType, now: float) -> Transition:
        alert.sequence += 1
        alert.notified_at = now
        # Receivers have been told of this rate: an open window's rate may fall again.
        alert.peak = alert.highest
        if alert.is_live:
            self._explain(alert, now)
        alert.steps.append(Step(kind, now, alert.sequence))
        if len(alert.steps) > MOST_STEPS:
            del alert.steps[1]
        self._mark(alert)
        if alert.is_live:
            self._schedule(alert)
        return Transition(kind, rfc3339(now), self.describe(alert))

    def _explain(self, alert: Alert, now: float) -> None:
        rule = self._rules.get(alert.rule)
        if rule is None:
            return
        alert.explained_at = now
        before = self._newest_ended.get((alert.rule, alert.scope))
        alert.explanation = self._explanation_of(rule, alert, before) or alert.explanation

    def explain_again(self, campaign_id: str, now: float) -> None:
        """Explain the firing alerts of a campaign by all that is known at `now` (s), if it is time.

        That is so after `EXPLAINED_AGAIN_AFTER`, and then seldom.
        """
        for alert in self._of_campaign.get(campaign_id, {}).values():
            since, explained_at = alert.starts_at, alert.explained_at
            if alert.state != "firing" or since is None or explained_at is None:
                continue
            if now - since >= 2 * (explained_at - since) + EXPLAINED_AGAIN_AFTER:
                self._explain(alert, now)
                self._mark(alert)

    def suppressed(self, alert_id: str, why: Suppressed) -> None:
        """Take note that nobody is notified of an alert's newest transition."""
        alert = self._alerts[alert_id]
        alert.steps[-1].suppressed = why
        self._mark(alert)
        self._hold(alert)
        if alert.alert_id in self._held:
            self._schedule(alert)

    def _hold(self, alert: Alert) -> None:
        """Have a live alert looked at once it is not silenced any more, if it is now."""
        if alert.is_live and alert.steps and is_held(alert.steps[-1].suppressed):
            self._held[alert.alert_id] = 0.0

    def notified(self, alert_id: str, receivers: Iterable[str]) -> None:
        """Take note that receivers are notified of an alert's newest transition."""
        alert = self._alerts[alert_id]
        known = alert.notified
        if known is not None and (new := [name for name in receivers if name not in known]):
            alert.notified = (*known, *new)
            self._mark(alert)

    def told(self, alert_id: str, receivers: Iterable[str], sequence: int) -> None:
        """Take note that receivers are notified after all of a transition, by its number."""
        alert = self._alerts.get(alert_id)
        if alert is None:
            return
        for step in alert.steps:
            if step.sequence == sequence:
                step.suppressed = None
        self.notified(alert_id, receivers)
        self._mark(alert)

    def grouped(self, alert_id: str, receivers: Iterable[str], why: str) -> None:
        """Take note that receivers are told of an alert in a group from here on."""
        alert = self._alerts[alert_id]
        for step in alert.steps:
            if step.suppressed is not None and step.suppressed.reason == GROUPED:
                step.suppressed = Suppressed(GROUPED, why)
        self.notified(alert_id, receivers)
        self._mark(alert)

    def describe(self, alert: Alert) -> AlertData:
        """Return the alert as receivers and the API show it."""
        return describe(alert, self._base_url)

    # Written down and read back

    def _mark(self, alert: Alert) -> None:
        self._changed[alert.alert_id] = alert.scope.campaign_id
        self._unwritten.discard(alert.alert_id)

    def persist_evidence(self) -> None:
        """Write down what windows say of alerts: it may not be worked out from their counts again.

        While nothing closes it can, and it changes all the time, so it is not written each time.
        """
        for alert_id in list(self._unwritten):
            self._mark(self._alerts[alert_id])

    def persist_stale_evidence(self, campaigns: Collection[str]) -> None:
        """Persist the evidence of alerts whose campaign was evaluated, but not their scope or rule.

        Their app changed, or no open window has their scope any more: after a restart this evidence
        could not be worked out again from the windows.
        """
        for campaign_id in campaigns:
            for alert in self._of_campaign.get(campaign_id, {}).values():
                if alert.alert_id in self._unwritten and alert.alert_id not in self._evaluated:
                    self._mark(alert)
        self._evaluated.clear()

    def take_changes(self) -> Iterator[tuple[AlertKey, Alert | None]]:
        """Hand out the alerts that changed since the last call; null for those that are gone."""
        changed, self._changed = self._changed, {}
        for alert_id, campaign_id in changed.items():
            yield AlertKey(campaign_id, alert_id), self._alerts.get(alert_id)

    def restore(self, key: AlertKey, alert: Alert) -> None:
        """Take an alert as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if (alert.scope.campaign_id, alert.alert_id) != (key.campaign_id, key.alert_id):
            raise ValueError(f"its value is alert {alert.alert_id} of {alert.scope.campaign_id}")
        self._alerts[alert.alert_id] = alert
        if alert.is_live:
            self._enter(alert)

    def resume(self, now: float) -> None:
        """Go on after a pause of unknown length, in which nobody evaluated, at `now` (s).

        The alerts that `of_open_windows` returns have to be given their figures again (`refresh`).
        """
        ended = [(a.ends_at, a.alert_id) for a in self.alerts() if a.ends_at is not None]
        for _, alert_id in sorted(ended):
            alert = self._alerts[alert_id]
            self._newest_ended[alert.rule, alert.scope] = alert
        self._ended = ended
        heapify(self._ended)
        for alert in self._live.values():
            alert.last_evaluated_at = now
            self._hold(alert)
        self._due_at = {each.alert_id: self._next_due(each) for each in self._live.values()}
        self._due = [(due, alert_id) for alert_id, due in self._due_at.items()]
        heapify(self._due)
        self._without_alerts.clear()
        self.states.resume(now)

    def of_open_windows(self) -> list[Alert]:
        """Return the alerts whose figures of open windows were not written down as they are now.

        Those are the live alerts; and, after a change of `windows.size`, the newest ended alert of
        a scope, as its counts of open windows are no evidence for the next one.
        """
        size = self._window_size
        resized = [each for each in self._newest_ended.values() if each.counted_size != size]
        return [*self._live.values(), *resized]

    def refresh(
        self,
        alert: Alert,
        rule: Rule | None,
        windows: ScopeWindows | None,
        open_starts: Collection[int],
        newest: int,
    ) -> None:
        """Give an alert that was read back the figures of its open windows.

        Args:
            alert: one of `of_open_windows`.
            rule: its rule; null if it is gone.
            windows: of its scope; null if the rule has nothing to do with it.
            open_starts: of all open windows (s).
            newest: start (s) of the window that event time is in.
        """
        resized = alert.counted_size != self._window_size
        if resized:
            self._resize(alert)
        alert.close_all_but(frozenset(open_starts))
        if windows is not None:
            self._refresh(alert, rule, windows, newest, resized=resized)
        # What is open again is counted as such from here on.
        closed_through = min([alert.closed_through, *(start - 1 for start in open_starts)])
        if resized or closed_through != alert.closed_through:
            alert.closed_through = closed_through
            self._mark(alert)

    def _refresh(
        self, alert: Alert, rule: Rule | None, windows: ScopeWindows, newest: int, *, resized: bool
    ) -> None:
        for start, seen in windows.open.items():
            was_closed = resized or start <= alert.closed_through
            if start >= alert.since and start not in alert.counted and was_closed:
                alert.closed = alert.closed[0] - seen.attempts, alert.closed[1] - seen.hits
        if alert.is_live and rule is not None:
            history = self._history_of(rule, windows, alert, newest)
            state = windows.folded or self.states.get(rule, windows.scope)
            self._refresh_figures(alert, windows, rule.detector.evaluate(history, state))
        else:
            alert.counted = _counted(windows)

    def _resize(self, alert: Alert) -> None:
        """Forget the windows that were counted, but not what was in them: they are longer now."""
        alert.close_all_but(())
        size = self._window_size
        alert.counted_size = size
        alert.since -= alert.since % size
        alert.breached -= alert.breached % size

    # Asked

    def receivers(self, alert_id: str) -> tuple[str, ...]:
        """Return the names of the receivers that are notified of an alert, as its rule says."""
        alert = self._alerts[alert_id]
        rule = self._rules.get(alert.rule)
        return rule.receivers if rule is not None else alert.receivers

    def notified_receivers(self, alert_id: str) -> tuple[str, ...] | None:
        """Return the names of those who were notified that an alert fires; null: not known."""
        return self._alerts[alert_id].notified

    def live(self) -> list[Alert]:
        """Return the alerts whose episodes go on."""
        return list(self._live.values())

    def live_of(self, campaign_id: str) -> list[Alert]:
        """Return those of one campaign."""
        return list(self._of_campaign.get(campaign_id, {}).values())

    def alerts(self) -> list[Alert]:
        """Return all alerts, live and remembered."""
        return list(self._alerts.values())

    def get(self, alert_id: str) -> Alert | None:
        """Return one alert."""
        return self._alerts.get(alert_id)


def _counted(windows: ScopeWindows) -> dict[int, tuple[int, int]]:
    """Return attempts and hits in each open window, by its start (s)."""
    return {start: (seen.attempts, seen.hits) for start, seen in windows.open.items()}
