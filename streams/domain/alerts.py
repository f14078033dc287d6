"""The life of an alert: inactive, pending, firing, resolved or expired.

One `AlertBook` holds the alerts of one partition's campaigns. It is shown what the open windows
say, and decides the transitions. An alert's state is written down in the same transaction as the
transition that led to it, so each is decided once.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, KeysView
from heapq import heapify, heappop, heappush
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import quote

import msgspec
import orjson

from streams.domain.counts import largest_counts
from streams.domain.detectors import Observation, Verdict
from streams.domain.rules import Rule, Scope
from streams.domain.transitions import (
    AlertData,
    Evidence,
    Links,
    Span,
    Transition,
    TransitionType,
    rfc3339,
)
from streams.errors import FormatError

State: TypeAlias = Literal["pending", "firing", "resolved", "expired"]
LIVE: frozenset[State] = frozenset({"pending", "firing"})

EVIDENCE_STATUSES = 50
EVIDENCE_BYTES = 8 * 1024
"""How many statuses the evidence lists, and how long their names may be together. The figures are
in the alert, its transition and each delivery, and all of these are records with a bound."""


class Alert(msgspec.Struct):
    """One episode of one rule in one scope. Times are seconds since the epoch, UTC.

    `pending_since` is when the breach began; `recovering_since` when the rate fell to the
    recovery level or below, null while it has not; `heard_at` when a window last said anything, and
    `window_start` and `window_size` (s) which one that was. `receivers` are told of its end even
    if its rule is gone by then.
    """

    alert_id: str
    rule: str
    scope: Scope
    app_id: str | None
    state: State
    severity: str
    labels: dict[str, str]
    receivers: tuple[str, ...]
    pending_since: float
    heard_at: float
    window_start: int
    window_size: int
    evidence: Evidence
    starts_at: float | None = None
    ends_at: float | None = None
    recovering_since: float | None = None
    notified_at: float | None = None
    sequence: int = 0

    @property
    def is_live(self) -> bool:
        """Tell whether the episode goes on."""
        return self.state in LIVE


class Said(NamedTuple):
    """What one window, `window_start` in seconds since the epoch, says of a scope."""

    scope: Scope
    app_id: str | None
    window_start: int
    seen: Observation


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Alert).decode


class AlertBook:
    """The alerts of one partition.

    Args:
        rules: what to watch for; an alert whose rule is gone is ended as `expired`.
        window_size: in seconds.
        history: how long, in seconds, an ended alert is remembered.
        new_id: makes alert ids.
        base_url: of the API, for links, without a slash at its end; null for no links.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        window_size: int,
        history: float,
        new_id: Callable[[], str],
        base_url: str | None = None,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._window_size = window_size
        self._history = history
        self._new_id = new_id
        self._base_url = base_url
        self._alerts: dict[str, Alert] = {}
        self._live: dict[tuple[str, Scope], Alert] = {}
        self._ended: list[tuple[float, str]] = []
        """When alerts ended, and their ids: a heap."""
        self._live_campaigns: dict[str, int] = {}
        self._changed: dict[str, str] = {}
        self._unwritten: set[str] = set()
        """Alerts whose newest figures were not written, as their windows are open."""
        self._heard: set[str] = set()
        """Alerts that were shown something since `keep_unheard`."""

    # Deciding

    @property
    def watched(self) -> KeysView[str]:
        """The campaigns that have a live alert."""
        return self._live_campaigns.keys()

    def consider(self, rule: Rule, said: Said, now: float) -> Transition | None:
        """Show the book what a window says of a scope, at wall-clock `now` (s)."""
        scope, seen = said.scope, said.seen
        verdict = rule.detector.judge(seen)
        alert = self._live.get((rule.name, scope))
        if alert is None:
            if not verdict.breaching:
                return None
            alert = self._open(rule, said, _evidence(seen, verdict), now)
        else:
            alert.heard_at = now
            self._heard.add(alert.alert_id)
            self._take_in(alert, said, verdict)
        return self._step(alert, rule, verdict, seen.rate, now)

    def _take_in(self, alert: Alert, said: Said, verdict: Verdict) -> None:
        window = said.window_start, self._window_size
        if (alert.window_start, alert.window_size) != window:
            self._mark(alert)
        else:
            self._unwritten.add(alert.alert_id)
        alert.window_start, alert.window_size = window
        alert.evidence = _evidence(said.seen, verdict)

    def _step(
        self, alert: Alert, rule: Rule, verdict: Verdict, rate: float, now: float
    ) -> Transition | None:
        if alert.state == "pending":
            if not verdict.breaching:
                self._drop(alert)
            elif now - alert.pending_since >= rule.for_:
                alert.state = "firing"
                alert.starts_at = alert.pending_since
                return self._tell(alert, "campaign.alert.firing", now)
            return None
        if rate > rule.recovery_level:
            self._set_recovering(alert, None)
        elif alert.recovering_since is None:
            self._set_recovering(alert, now)
        since = alert.recovering_since
        if since is not None and now - since >= rule.keep_firing_for:
            return self._end(alert, "resolved", now)
        return None

    def tick(self, now: float) -> list[Transition]:
        """Let time (s, UTC) do its part: reminders, alerts without data, forgotten episodes."""
        transitions = []
        while self._ended and now - self._ended[0][0] >= self._history:
            self._forget(self._alerts[heappop(self._ended)[1]])
        for alert in list(self._live.values()):
            rule = self._rules.get(alert.rule)
            if rule is None or now - alert.heard_at >= rule.no_data_after:
                if alert.state == "pending":
                    self._drop(alert)
                else:
                    transitions.append(self._end(alert, "expired", now))
            elif alert.state == "firing" and now - (alert.notified_at or 0) >= rule.repeat_interval:
                transitions.append(self._tell(alert, "campaign.alert.reminder", now))
        return transitions

    def _open(self, rule: Rule, said: Said, evidence: Evidence, now: float) -> Alert:
        alert = Alert(
            alert_id=self._new_id(),
            rule=rule.name,
            scope=said.scope,
            app_id=said.app_id,
            state="pending",
            severity=rule.severity,
            labels=dict(rule.labels),
            receivers=rule.receivers,
            pending_since=now,
            heard_at=now,
            window_start=said.window_start,
            window_size=self._window_size,
            evidence=evidence,
        )
        self._enter(alert)
        self._mark(alert)
        return alert

    def _set_recovering(self, alert: Alert, since: float | None) -> None:
        if alert.recovering_since != since:
            alert.recovering_since = since
            self._mark(alert)

    def _end(self, alert: Alert, state: State, now: float) -> Transition:
        alert.state = state
        alert.ends_at = now
        self._leave(alert)
        heappush(self._ended, (now, alert.alert_id))
        kind: TransitionType = (
            "campaign.alert.resolved" if state == "resolved" else "campaign.alert.expired"
        )
        return self._tell(alert, kind, now)

    def _drop(self, alert: Alert) -> None:
        self._leave(alert)
        self._forget(alert)

    def _forget(self, alert: Alert) -> None:
        del self._alerts[alert.alert_id]
        self._mark(alert)

    def _enter(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        self._alerts[alert.alert_id] = alert
        self._live[alert.rule, alert.scope] = alert
        self._live_campaigns[campaign_id] = self._live_campaigns.get(campaign_id, 0) + 1

    def _leave(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        del self._live[alert.rule, alert.scope]
        self._live_campaigns[campaign_id] -= 1
        if not self._live_campaigns[campaign_id]:
            del self._live_campaigns[campaign_id]

    # Telling

    def _tell(self, alert: Alert, kind: TransitionType, now: float) -> Transition:
        alert.sequence += 1
        alert.notified_at = now
        self._mark(alert)
        return Transition(kind, rfc3339(now), self.describe(alert))

    def describe(self, alert: Alert) -> AlertData:
        """Return the alert as receivers and the API show it."""
        end = alert.window_start + alert.window_size
        return AlertData(
            alert_id=alert.alert_id,
            sequence=alert.sequence,
            rule=alert.rule,
            severity=alert.severity,
            campaign_id=alert.scope.campaign_id,
            treatment_id=alert.scope.treatment_id,
            delivery_type=None,
            channel_type=alert.scope.channel_type,
            app_id=alert.app_id,
            starts_at=rfc3339(alert.starts_at or alert.pending_since),
            ends_at=rfc3339(alert.ends_at) if alert.ends_at is not None else None,
            window=Span(rfc3339(alert.window_start), rfc3339(end)),
            evidence=alert.evidence,
            summary=_summary(alert),
            labels=alert.labels,
            links=self._links(alert),
        )

    def _links(self, alert: Alert) -> Links | None:
        if self._base_url is None:
            return None
        quoted = _quote(alert.scope.campaign_id)
        return Links(
            windows=f"{self._base_url}/v1/campaigns/{quoted}/windows",
            alert=f"{self._base_url}/v1/alerts/{alert.alert_id}",
        )

    # Written down and read back

    def _mark(self, alert: Alert) -> None:
        self._changed[alert.alert_id] = alert.scope.campaign_id
        self._unwritten.discard(alert.alert_id)

    def keep_evidence(self) -> None:
        """Write down what windows say of alerts: it may not be worked out from their counts again.

        While nothing closes it can, and it changes all the time, so it is not written each time.
        """
        for alert_id in list(self._unwritten):
            self._mark(self._alerts[alert_id])

    def keep_unheard(self, campaigns: Collection[str]) -> None:
        """Do so for alerts of campaigns that were looked at and had nothing to say to their rule.

        From here on there are counts of which the rule wants to know nothing.
        """
        for alert_id in self._unwritten - self._heard:
            alert = self._alerts[alert_id]
            if alert.scope.campaign_id in campaigns:
                self._mark(alert)
        self._heard.clear()

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Hand out what changed since the last call, as keys and values for the state topic."""
        changed, self._changed = self._changed, {}
        for alert_id, campaign_id in changed.items():
            alert = self._alerts.get(alert_id)
            yield (
                orjson.dumps(("alert", campaign_id, alert_id)),
                _encode(alert) if alert is not None else None,
            )

    def restore(self, alert_id: str, value: bytes | None) -> None:
        """Read one alert back; null removes it.

        Raises:
            FormatError: if it was written by a version that does not fit.
        """
        old = self._alerts.pop(alert_id, None)
        if old is not None and old.is_live:
            self._leave(old)
        if value is None:
            return
        try:
            alert = _decode(value)
        except msgspec.ValidationError as error:
            raise FormatError(
                f"alert {alert_id} on the state topic: {error}; start the version that wrote it, "
                "or read docs/operations.md"
            ) from error
        self._alerts[alert_id] = alert
        if alert.is_live:
            self._enter(alert)

    def resume(self, now: float) -> None:
        """Go on after a pause of unknown length, in which nobody listened, at `now` (s).

        What open windows say of live alerts has to be told again (`look_again`).
        """
        self._ended = [(a.ends_at, a.alert_id) for a in self.alerts() if a.ends_at is not None]
        heapify(self._ended)
        for alert in self._live.values():
            alert.heard_at = now

    def look_again(self, alert: Alert, rule: Rule, said: Said) -> None:
        """Give an alert that was read back the figures of its open window."""
        self._take_in(alert, said, rule.detector.judge(said.seen))

    # Asked

    def receivers(self, alert_id: str) -> tuple[str, ...]:
        """Return the names of those who are told of an alert, as its rule says."""
        alert = self._alerts[alert_id]
        rule = self._rules.get(alert.rule)
        return rule.receivers if rule is not None else alert.receivers

    def live(self) -> list[Alert]:
        """Return the alerts whose episodes go on."""
        return list(self._live.values())

    def alerts(self) -> list[Alert]:
        """Return all alerts, live and remembered."""
        return list(self._alerts.values())

    def get(self, alert_id: str) -> Alert | None:
        """Return one alert."""
        return self._alerts.get(alert_id)


def _evidence(seen: Observation, verdict: Verdict) -> Evidence:
    return Evidence(
        attempts=seen.attempts,
        hits=seen.hits,
        rate=round(seen.rate, 6),
        lower_bound=round(verdict.lower_bound, 6),
        baseline_rate=verdict.baseline_rate,
        counts=largest_counts(seen.counts, EVIDENCE_STATUSES, EVIDENCE_BYTES),
    )


def _quote(campaign_id: str) -> str:
    return quote(campaign_id, safe="")


def _summary(alert: Alert) -> str:
    seen = alert.evidence
    where = "".join(
        f", {name} {value}"
        for name, value in (
            ("treatment", alert.scope.treatment_id),
            ("channel", alert.scope.channel_type),
        )
        if value is not None
    )
    return (
        f"{alert.rule} {alert.state} in campaign {alert.scope.campaign_id}{where}: "
        f"{seen.hits} of {seen.attempts} attempts ({seen.rate:.1%})"
    )
