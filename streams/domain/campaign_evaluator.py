"""Evaluates the rules for one campaign at a time, on what its windows say."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.counts import OTHER
from streams.domain.detectors.accounts import Account
from streams.domain.detectors.detector import Evaluation
from streams.domain.detectors.history import Closing
from streams.domain.evaluation import CampaignWindows, ObservedCampaign, ScopeWindows
from streams.domain.evaluation_queue import ANY_HIT, EvaluationQueue, Lack
from streams.domain.folds import Folds
from streams.domain.lookback import ClosedWindows
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rule_folds import RuleFold
from streams.domain.rules import Rule, Scope
from streams.domain.table import WindowTable
from streams.domain.transitions import Transition


class Due(NamedTuple):
    """A campaign to evaluate.

    Attributes:
        campaign_id: its id.
        rules: all of them; or those that are evaluated on closing, if that is why it is due.
        has_closed: whether event time has closed windows since it was evaluated on closing.
    """

    campaign_id: str
    rules: Sequence[Rule]
    has_closed: bool


class CampaignEvaluator:
    """Evaluates the rules for campaigns of one partition.

    Args:
        settings: what is watched for.
        table: the windows.
        folds: of the rules whose detectors fold.
        alerts: those there are.
        queue: gets when campaigns have to be evaluated again.
        closed: the closed windows that open ones look back on.

    Attributes:
        oldest_open: start (s) of the oldest window that event time left open at the last
            evaluation; 0 if no rule is evaluated on closing.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a partition that an evaluation concerns
        self,
        settings: PartitionSettings,
        table: WindowTable,
        folds: Folds,
        alerts: AlertBook,
        queue: EvaluationQueue,
        closed: ClosedWindows,
    ) -> None:
        self.oldest_open = 0
        self._settings = settings
        self._rules = {rule.name: rule for rule in settings.rules}
        self._table = table
        self._folds = folds
        self._alerts = alerts
        self._queue = queue
        self._closed = closed

    def evaluate(self, due: Due, starts: list[int], now: float) -> Iterator[Transition]:
        """Evaluate the rules on a campaign's open windows, by their starts (s), newest first."""
        campaign_id = due.campaign_id
        if campaign_id == OTHER:
            # A rate over campaigns that have nothing in common is no campaign's.
            return
        windows = self._windows_of(campaign_id, starts)
        waits: list[int] = []
        lacks: dict[str, Lack] = {}
        for rule in due.rules:
            if not rule.matches_campaign(campaign_id):
                continue
            lacks[rule.name] = ANY_HIT
            fold = self._folds.of(rule)
            seen = self._seen_by(rule, windows, has_closed=due.has_closed)
            if not rule.matches_app(seen.app_id):
                # It may turn out to be another one.
                waits.append(1)
                if fold is not None:
                    fold.pass_over(campaign_id)
            elif fold is not None:
                yield from self._follow(rule, fold, seen, now, waits)
            else:
                yield from self._evaluate_windows(rule, seen, now, waits, lacks)
        self._queue.evaluated(campaign_id, lacks)
        if due.rules is self._settings.rules:
            self._wait(windows, waits)

    def _wait(self, windows: CampaignWindows, waits: Sequence[int]) -> None:
        """Have a campaign evaluated again after as many attempts as any rule waits for."""
        if waits or not windows.open:
            # Without counts in open windows there is nothing to evaluate, until there are new ones.
            self._queue.again_after(windows.campaign_id, min(waits, default=1))
        if windows.open:
            self._queue.again_before(windows.campaign_id, windows.open[-1][0])

    def _evaluate_windows(
        self,
        rule: Rule,
        windows: CampaignWindows,
        now: float,
        waits: list[int],
        lacks: dict[str, Lack],
    ) -> Iterator[Transition]:
        """Evaluate a rule on a campaign's windows.

        Args:
            rule: is about the campaign.
            windows: as the rule sees them.
            now: wall-clock time (s, UTC).
            waits: after how many more attempts it has to be done again is added.
            lacks: gets how many hits the campaign lacks for the rule.
        """
        newest = self._newest_window
        for scope_windows in self._scopes(rule, windows):
            decision = self._alerts.evaluate(rule, scope_windows, now, newest)
            if decision.evaluation.again_after is not None:
                waits.append(decision.evaluation.again_after)
            lacks[rule.name] = _lack(rule, scope_windows, decision.evaluation)
            if decision.transition is not None:
                yield decision.transition

    def _follow(
        self,
        rule: Rule,
        fold: RuleFold,
        windows: CampaignWindows,
        now: float,
        waits: list[int],
    ) -> Iterator[Transition]:
        """Follow what a rule's fold has found in the scopes of a campaign.

        Where a breach goes on without an alert, the next attempts may raise one.
        """
        campaign_id = windows.campaign_id
        scopes = fold.scopes_to_follow(campaign_id)
        scopes |= {alert.scope for alert in self._live_alerts(rule, campaign_id)}
        if not scopes:
            return
        known = {each.scope: each for each in self._scopes(rule, windows)}
        for scope in scopes:
            of_scope = _with_fold(known.get(scope), scope, fold)
            yield from self._alerts.follow(rule, of_scope, fold, now, self._newest_window)
            goes_on = of_scope.folded is not None and of_scope.folded.is_breaching
            if goes_on and self._alerts.live_about(rule.name, scope) is None:
                waits.append(1)

    def _windows_of(self, campaign_id: str, open_starts: list[int]) -> CampaignWindows:
        cells = list(self._table.cells(campaign_id, open_starts))
        app_id = next((cell.app_id for _, cell in cells if cell.app_id is not None), None)
        return CampaignWindows(
            campaign_id, app_id, cells, lambda rule: self._closed.seen_by(rule, campaign_id)
        )

    def _seen_by(
        self, rule: Rule, windows: CampaignWindows, *, has_closed: bool
    ) -> CampaignWindows:
        """Return a campaign's windows as a rule sees them.

        To a rule that is evaluated on closing, the app of a silent campaign is that of its closed
        windows, or else that of its alert.
        """
        if not rule.detector.on_closing:
            return windows
        through = self.oldest_open - self._settings.windows.size
        closing = Closing(through, self._table.observed, has_closed)
        app_id = windows.app_id or self._closed.app_of(windows.campaign_id)
        alerts = self._live_alerts(rule, windows.campaign_id)
        of_alerts = (alert.app_id for alert in alerts if alert.app_id is not None)
        return windows._replace(app_id=app_id or next(of_alerts, None), closing=closing)

    def _live_alerts(self, rule: Rule, campaign_id: str) -> list[Alert]:
        return [each for each in self._alerts.live_of(campaign_id) if each.rule == rule.name]

    def _scopes(self, rule: Rule, windows: CampaignWindows) -> Iterator[ScopeWindows]:
        """Yield what a campaign's windows say to a rule, for each scope."""
        observed = ObservedCampaign(rule, windows, self._settings.groups)
        if windows.closing is None:
            return observed.scopes()
        alerts = self._live_alerts(rule, windows.campaign_id)
        if not (windows.closing.is_new or alerts):
            # What closed windows say has been decided on.
            return observed.scopes()
        if not self._table.windows_with(windows.campaign_id):
            alerts = []
        reach = (rule.detector.lookback - 1) * self._settings.windows.size
        oldest = self.oldest_open - reach
        return observed.all_scopes(oldest, [alert.scope for alert in alerts])

    def accounts(self, rule: Rule, campaign_id: str) -> Iterator[tuple[Scope, Account]]:
        """Say in figures why scopes of a campaign breach, or why not.

        Of a rule by windows, those are the scopes with attempts in open ones, or in any that it is
        evaluated on when they close. Counts may be added between two of them.
        """
        if self._folds.of(rule) is not None:
            yield from self._folds.accounts(rule, campaign_id, self._table)
            return
        newest = self._newest_window
        windows = self._windows_of(campaign_id, self._table.open_starts()[::-1])
        for seen in self._scopes(rule, self._seen_by(rule, windows, has_closed=True)):
            alert = self._alerts.live_about(rule.name, seen.scope)
            history = self._alerts.history_of(rule, seen, alert, newest)
            state = self._alerts.states.get(rule, seen.scope)
            yield seen.scope, rule.detector.account(history, state)

    def catch_up(self, alert: Alert) -> None:
        """Give an alert the figures of its fold, if it is about a breach that goes on."""
        rule = self._rules.get(alert.rule)
        fold = self._folds.of(rule) if rule is not None else None
        if rule is None or fold is None or alert.scope.campaign_id in fold.stirred:
            # What has turned is followed with the next evaluation.
            return
        of_scope = self._windows_about(rule, alert.scope, self._table.open_starts()[::-1])
        if of_scope is not None and of_scope.folded is not None and of_scope.folded.is_breaching:
            self._alerts.show(alert, rule, of_scope, self._newest_window)

    def refresh(self, alert: Alert, open_starts: list[int]) -> None:
        """Give an alert the figures of its windows, which are not written while these are open."""
        rule = self._rules.get(alert.rule)
        of_scope = None
        if rule is not None:
            of_scope = self._windows_about(rule, alert.scope, open_starts)
        self._alerts.refresh(alert, rule, of_scope, open_starts, self._newest_window)

    def _windows_about(
        self, rule: Rule, scope: Scope, open_starts: list[int]
    ) -> ScopeWindows | None:
        """Return what a rule sees in one scope; null if it is not about that, as things are."""
        windows = self._windows_of(scope.campaign_id, open_starts)
        seen = self._seen_by(rule, windows, has_closed=False)
        if not rule.matches(seen.campaign_id, seen.app_id):
            return None
        known = {each.scope: each for each in self._scopes(rule, seen)}
        of_scope, fold = known.get(scope), self._folds.of(rule)
        return of_scope if fold is None else _with_fold(of_scope, scope, fold)

    @property
    def _newest_window(self) -> int:
        """Start (s) of the window that the newest event time of all inputs is in."""
        return self._settings.windows.start_of(self._table.newest_event_time)


def _with_fold(windows: ScopeWindows | None, scope: Scope, fold: RuleFold) -> ScopeWindows:
    """Return what open windows, if any has counts of it, and a rule's fold say of a scope."""
    if windows is None:
        windows = ScopeWindows(scope, None, {}, lambda: iter(()))
    return windows._replace(folded=fold.get(scope))


def _lack(rule: Rule, windows: ScopeWindows, evaluation: Evaluation) -> Lack:
    """Return how many hits a campaign lacks for a rule.

    Of a rule's treatments and channels, those without attempts in open windows were not evaluated.
    """
    if rule.scope != "campaign" or evaluation.hits_left is None:
        return ANY_HIT
    return Lack(evaluation.hits_left, min(windows.open))
