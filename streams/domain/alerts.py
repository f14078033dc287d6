"""The life of an alert: inactive, pending, firing, resolved or expired.

One `AlertBook` holds the alerts of one partition's campaigns. It is shown what the open windows
say, and decides the transitions. An alert's state is written down in the same transaction as the
transition that led to it, so each is decided once.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple, TypeAlias

from streams.domain import alert_episodes, alert_figures, alert_notices
from streams.domain import transition_causes as causes
from streams.domain.alert_holds import Holds
from streams.domain.alert_index import AlertIndex
from streams.domain.alert_records import Alert, State, Step
from streams.domain.alert_timers import AlertTimers
from streams.domain.detector_states import DetectorStates
from streams.domain.detectors.detector import Evaluation, Figures, Reason
from streams.domain.detectors.folding import highest_of, shown
from streams.domain.detectors.history import Notified, ScopeHistory, Stretch
from streams.domain.evaluation import ScopeWindows
from streams.domain.names import NAMELESS, Names
from streams.domain.notification.stage import Suppressed, Withheld
from streams.domain.operators import Acknowledgement
from streams.domain.rendering import describe
from streams.domain.rule_folds import Episode, RuleFold
from streams.domain.rules import Rule, Scope
from streams.domain.silences.book import SilenceBook
from streams.domain.transition_causes import Acknowledged, Cause
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


class AlertBook(AlertIndex):
    """The alerts of one partition.

    Args:
        rules: what to watch for; an alert whose rule is gone, or is about something else now, is
            ended as `expired`.
        window_size: in seconds.
        history: how long, in seconds, an ended alert is remembered.
        new_id: makes alert ids.
        base_url: of the API, for links, without a slash at its end; null for no links.
        explain: finds out what explains an alert.
        catch_up: gives an alert the figures of counts that have come since (`show`).
        silences: by which alerts are silenced.
        names: of campaigns and apps.

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
        catch_up: Callable[[Alert], None] = lambda _: None,
        silences: SilenceBook | None = None,
        names: Names = NAMELESS,
    ) -> None:
        super().__init__()
        rules = tuple(rules)
        self._rules = {rule.name: rule for rule in rules}
        self.states = DetectorStates(rules)
        self._window_size = window_size
        self._history = history
        self._new_id = new_id
        self._base_url = base_url
        self._names = names
        self._explanation_of = explain
        self._catch_up_by = catch_up
        self._held = Holds(SilenceBook() if silences is None else silences)
        self._orphaned: dict[str, Cause] = {}
        """Live alerts that are over by the configuration alone, and why."""
        self._ended: list[tuple[float, str]] = []
        """When alerts ended, and their ids: a heap."""
        self._timers = AlertTimers()
        self._to_explain = AlertTimers()
        """When firing alerts are to be explained again."""
        self._open_starts: Collection[int] = ()
        """Of the open windows (s)."""

    # Deciding

    def evaluate(self, rule: Rule, windows: ScopeWindows, now: float, newest: int) -> Decision:
        """Decide what the windows of a scope mean for its alert.

        Args:
            rule: is about the scope.
            windows: of the scope.
            now: wall-clock time (s, UTC).
            newest: start (s) of the window that event time is in.
        """
        alert = self._live.get((rule.name, windows.scope))
        history = self.history_of(rule, windows, alert, newest)
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
        self._evaluated.add(alert.record_id)
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
            lost = Evaluation(Reason.RECOVERED, None, None, True)
            yield from self._finish(alert, windows, lost, now, causes.STATE_LOST)
        for episode in episodes:
            alert = self._live.get(key)
            history = self.history_of(rule, windows, alert, newest)
            if alert is None:
                alert = self._open_episode(rule, windows, history, episode, now)
            elif self._is_attended(alert) and history.has_new_attempts:
                # Of others, `goes_on` says when there were attempts.
                alert.last_evaluated_at = now
            if alert is None:
                continue
            self._evaluated.add(alert.record_id)
            if alert.state == "pending" and now - alert.pending_since >= rule.for_:
                yield self._fire(alert, rule, now)
            if episode.end is not None:
                end, highest = shown(episode.end, history), highest_of(episode.end, history.size)
                over = Evaluation(Reason.RECOVERED, None, end, True, highest=highest)
                yield from self._finish(alert, windows, over, now, causes.RECOVERED)
            else:
                evaluation = rule.detector.evaluate(history, windows.folded)
                self._refresh_figures(alert, windows, evaluation)
                self._leave_to_fold(alert, rule)

    def _open_episode(
        self,
        rule: Rule,
        windows: ScopeWindows,
        history: ScopeHistory,
        episode: Episode,
        now: float,
    ) -> Alert | None:
        """Raise an alert about a breach; null if an alert that has ended was about it.

        One that the configuration has cut off was about it for a while only.
        """
        ended = self._newest_ended.get((rule.name, windows.scope))
        if episode.begin is None or (ended is not None and episode.number < ended.episode):
            return None
        is_same = ended is not None and episode.number == ended.episode
        if ended is not None and is_same and not alert_episodes.is_cut_off(ended):
            return None
        alert = self._open(rule, windows, shown(episode.begin, history), None, now)
        alert.episode = episode.number
        alert.counted = alert_figures.counted(windows)
        return alert

    def _finish(
        self,
        alert: Alert,
        windows: ScopeWindows,
        evaluation: Evaluation,
        now: float,
        cause: Cause,
    ) -> Iterator[Transition]:
        """End an alert, as the breach that it is about has ended."""
        if alert.state == "pending":
            self._drop(alert)
            return
        self._refresh_figures(alert, windows, evaluation)
        yield self._end(alert, "resolved", now, cause)

    def history_of(
        self, rule: Rule, windows: ScopeWindows, alert: Alert | None, newest: int
    ) -> ScopeHistory:
        """Return what a rule's detector is shown of a scope.

        Args:
            rule: is about the scope.
            windows: of the scope.
            alert: its live alert; null if there is none.
            newest: start (s) of the window that event time is in.
        """
        ended = self._newest_ended.get((rule.name, windows.scope))
        if ended is not None and alert_episodes.is_redefined(ended, rule):
            ended = None
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

    def _leave_to_fold(self, alert: Alert, rule: Rule) -> None:
        """Let an alert be: what fires goes on until its fold says that it is over.

        But with any counts its campaign may be of another app, which the rule is not about.
        """
        if alert.state == "firing" and "*" in rule.apps:
            self._set_unattended(alert)

    def goes_on(self, rule: Rule, scope: Scope, window: int, now: float) -> None:
        """Take note that a breach goes on, with attempts whose figures can wait (`outdate`).

        Args:
            rule: has a folding detector.
            scope: of the breach.
            window: start (s) of the one that the newest attempts are in.
            now: wall-clock time (s, UTC).
        """
        alert = self._live.get((rule.name, scope))
        if alert is None or self._is_attended(alert):
            return
        alert.last_evaluated_at = now
        if window > alert.breached:
            alert.breached = window
            self._mark(alert)

    def show(self, alert: Alert, rule: Rule, windows: ScopeWindows, newest: int) -> None:
        """Give a live alert the figures of its fold or, of any other detector, of its windows.

        Args:
            alert: of a breach that goes on.
            rule: its rule.
            windows: of its scope.
            newest: start (s) of the window that event time is in.
        """
        history = self.history_of(rule, windows, alert, newest)
        state = windows.folded or self.states.get(rule, windows.scope)
        self._refresh_figures(alert, windows, rule.detector.evaluate(history, state))

    def catch_up_all(self) -> None:
        """Give all alerts the figures of counts that have come since, before windows change."""
        for record_id in sorted(self._outdated):
            self.catch_up(self._alerts[record_id])

    def catch_up(self, alert: Alert) -> None:
        """Give an alert the figures of counts that have come since, as somebody looks at them."""
        if alert.record_id in self._outdated:
            self._outdated.discard(alert.record_id)
            self._catch_up_by(alert)

    def _refresh_figures(self, alert: Alert, windows: ScopeWindows, evaluation: Evaluation) -> None:
        """Let an alert know what windows say: figures that can be worked out again from them."""
        self._outdated.discard(alert.record_id)
        self._unwritten.add(alert.record_id)
        if alert_figures.set_figures(alert, windows, evaluation, self._window_size):
            self._mark(alert)

    def _fire(self, alert: Alert, rule: Rule, now: float) -> Transition:
        """Let an alert fire that was pending long enough, or the one before it fire again."""
        before = self._newest_ended.get((alert.rule, alert.scope))
        if before is not None and alert_episodes.comes_back(alert, before, rule):
            alert_episodes.reopen(alert, before)
            self._mark(before)
            self._reopened[alert.alert_id] = alert.record_id
        alert.state = "firing"
        alert.starts_at = alert.pending_since
        alert.notified = ()
        return self._notify(alert, "campaign.alert.firing", now, causes.BREACH)

    def _step(
        self, alert: Alert, rule: Rule, evaluation: Evaluation, now: float
    ) -> Transition | None:
        if alert.state == "pending":
            if not evaluation.breaching:
                self._drop(alert)
            elif now - alert.pending_since >= rule.for_:
                return self._fire(alert, rule, now)
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
                alert_figures.set_evidence(alert, evaluation.current, self._window_size)
            return self._end(alert, "resolved", now, causes.RECOVERED)
        return None

    def roll(self, open_starts: Collection[int]) -> None:
        """Follow the window table after a window opened, closed or expired.

        What windows say of alerts is written down: it may not be worked out from them again.

        Args:
            open_starts: of the open windows (s).
        """
        self.catch_up_all()
        self._open_starts = still_open = frozenset(open_starts)
        for alert in self._live.values():
            alert.close_all_but(still_open)
            alert_figures.close_through(alert, still_open, resized=False)
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
        if self._orphaned or self._held.have_to_be_looked_at:
            return 0.0
        forgotten = self._ended[0][0] + self._history if self._ended else inf
        times = self._timers.next_at, self._to_explain.next_at
        return min(*times, forgotten, self.states.next_forgotten_at)

    def tick(self, now: float) -> list[Transition]:
        """Let time (s, UTC) do its part: reminders, ends of silences, and alerts without data.

        What is not due costs nothing.
        """
        transitions = list(self.end_orphans(now))
        for record_id in self._held.follow():
            self._schedule(self._alerts[record_id])
        for record_id in self._timers.take(now):
            transitions += self._let_time_pass(self._alerts[record_id], now)
        return transitions

    def end_orphans(self, now: float) -> Iterator[Transition]:
        """End the alerts that are over by the configuration alone, at `now` (s, UTC)."""
        orphaned, self._orphaned = self._orphaned, {}
        for record_id, cause in orphaned.items():
            yield from self._expire(self._alerts[record_id], now, cause)

    def _expire(self, alert: Alert, now: float, cause: Cause) -> Iterator[Transition]:
        if alert.state == "pending":
            self._drop(alert)
        else:
            yield self._end(alert, "expired", now, cause)

    def _let_time_pass(self, alert: Alert, now: float) -> Iterator[Transition]:
        """Do what is due for a live alert, which has no timer."""
        rule = self._rules[alert.rule]
        if alert.last_evaluated_at + rule.no_data_after <= now:
            yield from self._expire(alert, now, causes.no_data(rule.no_data_after))
        elif alert.record_id in self._held:
            yield from self._release(alert, now)
        elif self._next_due(alert) <= now:
            yield self._notify(alert, "campaign.alert.reminder", now, causes.STILL_FIRING)
        else:
            # There were attempts since the timer was set.
            self._schedule(alert)

    def _release(self, alert: Alert, now: float) -> Iterator[Transition]:
        """Notify of an alert that is held, if it is not silenced any more.

        Whoever acknowledged it needs no reminder, but those who know nothing of it are notified.
        """
        is_news = alert.notified is not None and not alert.notified
        if self._held.still(alert, now) or (alert.acknowledged is not None and not is_news):
            self._schedule(alert)
            return
        kind: TransitionType = "campaign.alert.firing" if is_news else "campaign.alert.reminder"
        yield self._notify(alert, kind, now, causes.SILENCE_ENDED)

    def acknowledge(self, asked: Acknowledgement, now: float) -> Iterator[Transition]:
        """Take note that an operator has taken a firing alert on: there are no more reminders.

        That holds until the alert ends. Nothing happens if somebody has before, or if the alert
        does not fire.

        Args:
            asked: of which alert, by whom.
            now: wall-clock time (s, UTC).
        """
        alert = self.get(asked.alert_id)
        if alert is None or alert.state != "firing" or alert.acknowledged is not None:
            return
        alert.acknowledged = Acknowledged(asked.by, asked.comment, rfc3339(now))
        cause = causes.acknowledged(asked.by, asked.comment, asked.token, asked.reason)
        yield self._notify(alert, "campaign.alert.acknowledged", now, cause)

    def _next_due(self, alert: Alert) -> float:
        """Return when (s) a live alert has no data for too long, or a reminder of it is due.

        There are no reminders of one that is held: it is looked at when its silences end.
        """
        rule = self._rules[alert.rule]
        expires_at = alert.last_evaluated_at + rule.no_data_after
        if alert.state != "firing":
            return expires_at
        if alert.record_id in self._held:
            return min(expires_at, self._held.until(alert.record_id))
        if alert.acknowledged is not None:
            return expires_at
        return min(expires_at, (alert.notified_at or 0) + rule.repeat_interval)

    def _schedule(self, alert: Alert) -> None:
        """Set the timer of a live alert, unless it is over anyway."""
        if alert.record_id not in self._orphaned:
            self._timers.set(alert.record_id, self._next_due(alert))

    def _open(
        self,
        rule: Rule,
        windows: ScopeWindows,
        breach: Figures,
        first: Stretch | None,
        now: float,
    ) -> Alert:
        size = self._window_size
        alert = alert_figures.new_alert(self._new_id(), rule, windows, breach, first, now, size)
        # Of those that are open, some may not have counts of its scope yet.
        alert_figures.close_through(alert, self._open_starts, resized=False)
        self._enter(alert)
        self._schedule(alert)
        self._mark(alert)
        return alert

    def _set_recovering(self, alert: Alert, since: float | None) -> None:
        if alert.recovering_since != since:
            alert.recovering_since = since
            self._mark(alert)

    def _end(self, alert: Alert, state: State, now: float, cause: Cause) -> Transition:
        self.catch_up(alert)
        alert.state = state
        alert.ends_at = now
        alert.acknowledged = None
        self._explain(alert, now)
        self._leave(alert)
        self._newest_ended[alert.rule, alert.scope] = alert
        heappush(self._ended, (now, alert.record_id))
        kind: TransitionType = (
            "campaign.alert.resolved" if state == "resolved" else "campaign.alert.expired"
        )
        return self._notify(alert, kind, now, cause)

    def _drop(self, alert: Alert) -> None:
        self._leave(alert)
        self._forget(alert)

    def _leave(self, alert: Alert) -> None:
        super()._leave(alert)
        self._timers.drop(alert.record_id)
        self._to_explain.drop(alert.record_id)
        self._held.drop(alert.record_id)
        self._orphaned.pop(alert.record_id, None)

    # Notifying

    def _notify(self, alert: Alert, kind: TransitionType, now: float, cause: Cause) -> Transition:
        self.catch_up(alert)
        alert.sequence += 1
        alert.notified_at = now
        # Receivers have been told of this rate: an open window's rate may fall again.
        alert.peak = alert.highest
        if alert.is_live:
            self._explain(alert, now)
        alert.steps.append(Step(kind, now, alert.sequence, cause=cause))
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
        again_at = _explained_again_at(alert)
        if again_at is not None:
            self._to_explain.set(alert.record_id, again_at)

    def explain_again(self, now: float, has_time: Callable[[], bool]) -> None:
        """Explain firing alerts by all that is known at `now` (s), if it is time.

        That is so after `EXPLAINED_AGAIN_AFTER`, and then seldom; later while there is no time.
        """
        for record_id in list(self._to_explain.take(now)):
            alert = self._alerts[record_id]
            again_at = _explained_again_at(alert)
            if again_at is None:
                continue
            if again_at <= now and has_time():
                self._explain(alert, now)
                self._mark(alert)
            else:
                # Another transition has explained it meanwhile, or it has to wait.
                self._to_explain.set(record_id, again_at)

    def suppressed(self, alert_id: str, why: Suppressed) -> None:
        """Take note that nobody is notified of an alert's newest transition."""
        alert = self.newest(alert_id)
        alert.steps[-1].suppressed = why
        self._mark(alert)
        if alert.is_live and self._held.hold(alert):
            self._schedule(alert)

    def notified(
        self, alert_id: str, receivers: Iterable[str], withheld: tuple[Withheld, ...] = ()
    ) -> None:
        """Take note that receivers are notified of an alert's newest transition, others not."""
        alert = self.newest(alert_id)
        is_withheld = alert_notices.withhold(alert.steps[-1], withheld)
        if alert_notices.add_notified(alert, receivers) or is_withheld:
            self._mark(alert)

    def told(self, alert_id: str, receivers: Collection[str], sequence: int) -> None:
        """Take note that receivers are notified after all of a transition, by its number."""
        alert = self.get(alert_id)
        if alert is None:
            return
        alert_notices.told(alert, receivers, sequence)
        self._mark(alert)

    def rate_limited(self, alert_id: str, receivers: Collection[str], sequence: int) -> None:
        """Take note that receivers are not notified yet of a transition, by its number."""
        alert = self.get(alert_id)
        if alert is not None:
            alert_notices.rate_limited(alert, receivers, sequence)
            self._mark(alert)

    def grouped(self, alert_id: str, receivers: Collection[str], reason: str, why: str) -> None:
        """Take note that receivers are told of an alert in a group from here on."""
        alert = self.newest(alert_id)
        alert_notices.grouped(alert, receivers, reason, why)
        self._mark(alert)

    def totals(self, alert: Alert) -> tuple[int, int]:
        """Return the attempts and hits of an alert as they are now."""
        self.catch_up(alert)
        return alert.totals

    def describe(self, alert: Alert) -> AlertData:
        """Return the alert as receivers and the API show it."""
        self.catch_up(alert)
        return describe(alert, self._base_url, self._names)

    # Read back

    def resume(self, now: float, open_starts: Collection[int] = ()) -> None:
        """Go on after a pause of unknown length, in which nobody evaluated, at `now` (s).

        The alerts that `of_open_windows` returns have to be given their figures again (`refresh`).

        Args:
            now: wall-clock time (s, UTC).
            open_starts: of the open windows (s).
        """
        self._open_starts = open_starts
        ended = [alert for alert in self._alerts.values() if alert.ends_at is not None]
        for alert in sorted(ended, key=alert_episodes.order):
            self._newest_ended[alert.rule, alert.scope] = alert
        self._ended = [(each.ends_at, each.record_id) for each in ended if each.ends_at is not None]
        heapify(self._ended)
        for alert in self._live.values():
            alert.last_evaluated_at = now
            why = alert_episodes.why_orphaned(alert, self._rules.get(alert.rule))
            if why is not None:
                self._orphaned[alert.record_id] = why
            self._held.hold(alert)
        known = [each for each in self._live.values() if each.record_id not in self._orphaned]
        self._timers.reset({each.record_id: self._next_due(each) for each in known})
        again = {each.record_id: _explained_again_at(each) for each in known}
        self._to_explain.reset({name: at for name, at in again.items() if at is not None})
        self._ended_in.clear()
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
            alert_figures.resize(alert, self._window_size)
        alert.close_all_but(frozenset(open_starts))
        # To a rule that is about something else now, windows say nothing of the alert.
        if windows is not None and alert.record_id not in self._orphaned:
            alert_figures.uncount_reopened(alert, windows, resized=resized)
            if alert.is_live and rule is not None:
                self.show(alert, rule, windows, newest)
                if windows.folded is not None and windows.folded.is_breaching:
                    self._leave_to_fold(alert, rule)
            else:
                alert.counted = alert_figures.counted(windows)
        if alert_figures.close_through(alert, open_starts, resized=resized):
            self._mark(alert)

    # Asked

    def receivers(self, alert_id: str) -> tuple[str, ...]:
        """Return the names of the receivers that are notified of an alert, as its rule says."""
        alert = self.newest(alert_id)
        rule = self._rules.get(alert.rule)
        return rule.receivers if rule is not None else alert.receivers

    def notified_receivers(self, alert_id: str) -> tuple[str, ...] | None:
        """Return the names of those who were notified that an alert fires; null: not known."""
        return self.newest(alert_id).notified


def _explained_again_at(alert: Alert) -> float | None:
    """Return when (s, UTC) a firing alert is explained again; null for never."""
    since, explained_at = alert.starts_at, alert.explained_at
    if alert.state != "firing" or since is None or explained_at is None:
        return None
    return since + 2 * (explained_at - since) + EXPLAINED_AGAIN_AFTER
