"""All alerts of one partition: by id, campaign, rule and scope; and which of them have changed."""

from collections.abc import Collection, Iterable, Iterator, KeysView

from streams.domain.alert_records import Alert, AlertKey
from streams.domain.rules import Scope


class AlertIndex:
    """The alerts of one partition, as they are looked up, written down and read back."""

    def __init__(self) -> None:
        self._alerts: dict[str, Alert] = {}
        """All episodes, by the ids of their records."""
        self._reopened: dict[str, str] = {}
        """The record of the newest episode of each alert that came back, by the alert's id."""
        self._live: dict[tuple[str, Scope], Alert] = {}
        self._newest_ended: dict[tuple[str, Scope], Alert] = {}
        """The newest alert that has ended, of each rule and scope."""
        self._of_campaign: dict[str, dict[str, Alert]] = {}
        """The live alerts of each campaign that has any, by their ids."""
        self._attended: dict[str, set[str]] = {}
        """By campaign, the live alerts of which any new counts may change more than the figures."""
        self._unattended: dict[str, set[str]] = {}
        """The other live alerts: the fold of their rule says when they are over."""
        self._outdated: set[str] = set()
        """Those of them with counts that are not in their figures."""
        self._ended_in: set[str] = set()
        """Campaigns with an alert that has ended since `take_unattended`."""
        self._changed: dict[str, str] = {}
        self._unwritten: set[str] = set()
        """Alerts whose newest figures were not written, as their windows are open."""
        self._evaluated: set[str] = set()
        """Ids of the alerts that were evaluated since the last `persist_stale_evidence`."""

    # Looked up

    @property
    def campaigns_with_live_alerts(self) -> KeysView[str]:
        """The campaigns that have a live alert."""
        return self._of_campaign.keys()

    @property
    def attended_campaigns(self) -> KeysView[str]:
        """The campaigns with a live alert of which any new counts may change more than the figures.

        That is one that is pending, or one of a rule whose detector judges windows, or that is
        about some apps only.
        """
        return self._attended.keys()

    def take_unattended(self) -> set[str]:
        """Return the campaigns with an alert that has ended since, and none that is attended."""
        ended, self._ended_in = self._ended_in, set()
        return {name for name in ended if name not in self._attended}

    def live(self) -> list[Alert]:
        """Return the alerts whose episodes go on."""
        return list(self._live.values())

    def live_of(self, campaign_id: str) -> list[Alert]:
        """Return those of one campaign."""
        return list(self._of_campaign.get(campaign_id, {}).values())

    def live_about(self, rule: str, scope: Scope) -> Alert | None:
        """Return that of a rule in a scope; null if there is none."""
        return self._live.get((rule, scope))

    def alerts(self) -> list[Alert]:
        """Return all alerts, live and remembered; of one that came back the newest episode."""
        reopened = self._reopened
        return [
            each
            for each in self._alerts.values()
            if reopened.get(each.alert_id, each.record_id) == each.record_id
        ]

    def get(self, alert_id: str) -> Alert | None:
        """Return the newest episode of an alert."""
        return self._alerts.get(self._reopened.get(alert_id, alert_id))

    def newest(self, alert_id: str) -> Alert:
        """Return the newest episode of an alert that there is."""
        return self._alerts[self._reopened.get(alert_id, alert_id)]

    # Kept

    def _enter(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        self._alerts[alert.record_id] = alert
        self._live[alert.rule, alert.scope] = alert
        self._of_campaign.setdefault(campaign_id, {})[alert.record_id] = alert
        self._attended.setdefault(campaign_id, set()).add(alert.record_id)

    def _leave(self, alert: Alert) -> None:
        campaign_id = alert.scope.campaign_id
        del self._live[alert.rule, alert.scope]
        del self._of_campaign[campaign_id][alert.record_id]
        self._outdated.discard(alert.record_id)
        for by_campaign in (self._attended, self._unattended):
            _discard(by_campaign, campaign_id, alert.record_id)
        if not self._of_campaign[campaign_id]:
            del self._of_campaign[campaign_id]
        self._ended_in.add(campaign_id)

    def _set_unattended(self, alert: Alert) -> None:
        """Say that new counts change no more than the figures of a live alert."""
        campaign_id = alert.scope.campaign_id
        _discard(self._attended, campaign_id, alert.record_id)
        self._unattended.setdefault(campaign_id, set()).add(alert.record_id)

    def _is_attended(self, alert: Alert) -> bool:
        return alert.record_id in self._attended.get(alert.scope.campaign_id, ())

    def outdate(self, campaigns: Iterable[str]) -> None:
        """Take note that campaigns have new counts, which alerts get when they are looked at."""
        if self._unattended:
            for campaign_id in self._unattended.keys() & campaigns:
                self._outdated |= self._unattended[campaign_id]

    def _forget(self, alert: Alert) -> None:
        del self._alerts[alert.record_id]
        if self._reopened.get(alert.alert_id) == alert.record_id:
            del self._reopened[alert.alert_id]
        if self._newest_ended.get((alert.rule, alert.scope)) is alert:
            del self._newest_ended[alert.rule, alert.scope]
        self._mark(alert)

    # Written down and read back

    def _mark(self, alert: Alert) -> None:
        self._changed[alert.record_id] = alert.scope.campaign_id
        self._unwritten.discard(alert.record_id)

    def persist_evidence(self) -> None:
        """Write down what windows say of alerts: it may not be worked out from their counts again.

        While nothing closes it can, and it changes all the time, so it is not written each time.
        """
        for record_id in list(self._unwritten):
            self._mark(self._alerts[record_id])

    def persist_stale_evidence(self, campaigns: Collection[str]) -> None:
        """Persist the evidence of alerts whose campaign was evaluated, but not their scope or rule.

        Their app changed, or no open window has their scope any more: after a restart this evidence
        could not be worked out again from the windows.
        """
        for campaign_id in campaigns:
            for alert in self._of_campaign.get(campaign_id, {}).values():
                if alert.record_id in self._unwritten and alert.record_id not in self._evaluated:
                    self._mark(alert)
        self._evaluated.clear()

    def take_changes(self) -> Iterator[tuple[AlertKey, Alert | None]]:
        """Hand out the alerts that changed since the last call; null for those that are gone."""
        changed, self._changed = self._changed, {}
        for record_id, campaign_id in changed.items():
            yield AlertKey(campaign_id, record_id), self._alerts.get(record_id)

    def restore(self, key: AlertKey, alert: Alert) -> None:
        """Take an alert as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if (alert.scope.campaign_id, alert.record_id) != (key.campaign_id, key.record_id):
            raise ValueError(f"its value is alert {alert.record_id} of {alert.scope.campaign_id}")
        self._alerts[alert.record_id] = alert
        newest = self._alerts.get(self._reopened.get(alert.alert_id, ""))
        if alert.occurrence > (newest.occurrence if newest is not None else 1):
            self._reopened[alert.alert_id] = alert.record_id
        if alert.is_live:
            self._enter(alert)


def _discard(by_campaign: dict[str, set[str]], campaign_id: str, record_id: str) -> None:
    records = by_campaign.get(campaign_id)
    if records is not None:
        records.discard(record_id)
        if not records:
            del by_campaign[campaign_id]
