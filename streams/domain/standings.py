"""How rules stand in a campaign: which of them fire, and why the others do not, in figures."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from streams.domain.alert_records import Alert
from streams.domain.counts import OTHER
from streams.domain.detectors.accounts import Account
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule, Scope
from streams.domain.silences.book import Silenced
from streams.domain.silences.matchers import labels_of
from streams.domain.transitions import rfc3339

Standing: TypeAlias = Literal[
    "firing", "pending", "breaching", "not-breaching", "no-attempts", "not-about"
]
"""- firing, pending: there is an alert.
- breaching: all that it takes holds, and there is no alert: it is about to begin, or one that has
  ended was about the same.
- not-breaching: something that it takes does not hold.
- no-attempts: there is nothing to judge.
- not-about: the rule is not about the campaign."""


class ScopeStanding(NamedTuple):
    """How one rule stands in one scope.

    Attributes:
        rule: the rule.
        scope: the campaign, or a part of it.
        standing: in one word.
        why: in one sentence.
        account: in figures; null if there is nothing to judge.
        alert: the live alert; null for none.
        silenced: by which silences an alert of the rule in this scope is silenced; null for none.
    """

    rule: Rule
    scope: Scope
    standing: Standing
    why: str
    account: Account | None = None
    alert: Alert | None = None
    silenced: Silenced | None = None


def standings(
    partition: CampaignPartition, rules: Iterable[Rule], campaign_id: str, now: float
) -> Iterator[ScopeStanding]:
    """Yield how rules stand in each scope of a campaign; counts may be added between two of them.

    Args:
        partition: has the campaign.
        rules: of the partition.
        campaign_id: the campaign.
        now: wall-clock time (s, UTC), for silences.
    """
    app_id = partition.table.app_of(campaign_id)
    for rule in rules:
        why_not = _why_not_about(rule, campaign_id, app_id)
        if why_not is not None:
            yield ScopeStanding(rule, Scope(campaign_id), "not-about", why_not)
            continue
        told: set[Scope] = set()
        for scope, account in partition.accounts(rule, campaign_id):
            told.add(scope)
            yield _standing(partition, rule, scope, account, app_id, now)
        alerts = [each for each in partition.alerts.live_of(campaign_id) if each.rule == rule.name]
        others = {each.scope for each in alerts} - told
        for scope in others or (() if told else (Scope(campaign_id),)):
            yield _standing(partition, rule, scope, None, app_id, now)


def _why_not_about(rule: Rule, campaign_id: str, app_id: str | None) -> str | None:
    if campaign_id == OTHER:
        return "no rule is about campaigns that are counted together"
    if not rule.matches_campaign(campaign_id):
        return "the rule's match.campaigns does not have the campaign"
    if not rule.matches_app(app_id):
        return "the rule's match.apps does not have the campaign's app"
    return None


def _standing(  # noqa: PLR0913, PLR0917 - all that there is of it
    partition: CampaignPartition,
    rule: Rule,
    scope: Scope,
    account: Account | None,
    app_id: str | None,
    now: float,
) -> ScopeStanding:
    alert = partition.alerts.live_about(rule.name, scope)
    if alert is not None:
        partition.alerts.catch_up(alert)
    labels = labels_of(
        rule.labels,
        rule=rule.name,
        severity=rule.severity,
        campaign_id=scope.campaign_id,
        app_id=app_id,
        treatment_id=scope.treatment_id,
        channel_type=scope.channel_type,
    )
    silenced = partition.settings.silences.silenced(labels, now)
    word = _word(account, alert)
    why = _why(word, rule, account, alert)
    if silenced is not None and alert is not None:
        why += "; nobody is notified, as it is silenced"
    return ScopeStanding(rule, scope, word, why, account, alert, silenced)


def _word(account: Account | None, alert: Alert | None) -> Standing:
    if alert is not None:
        return "firing" if alert.state == "firing" else "pending"
    if account is None or (not account.requirements and not account.attempts):
        return "no-attempts"
    return "breaching" if account.is_breach else "not-breaching"


def _why(word: Standing, rule: Rule, account: Account | None, alert: Alert | None) -> str:
    if alert is not None:
        seen = alert.evidence
        began = alert.starts_at if alert.starts_at is not None else alert.pending_since
        counts = f"{seen.hits:,} of {seen.attempts:,} attempts ({seen.rate:.1%})"
        usual = f", usually {seen.baseline_rate:.1%}" if seen.baseline_rate is not None else ""
        if word == "firing":
            return f"it has been firing since {rfc3339(began)}: {counts}{usual}"
        return (
            f"a breach has been going on since {rfc3339(began)}, {counts}{usual}, and the rule "
            f"waits until it has lasted for {rule.for_:g} s"
        )
    if account is None or word == "no-attempts":
        return "there is nothing to judge: no attempts in open windows, or no hits so far"
    if word == "breaching":
        return "; ".join(("all that it takes holds", *account.notes))
    return _why_no_breach(account)


def _why_no_breach(account: Account) -> str:
    usual = f"usually {account.usual_rate:.1%}" if account.usual_rate is not None else ""
    if account.attempts:
        rate = account.hits / account.attempts
        counts = f"{account.hits:,} of {account.attempts:,} attempts ({rate:.1%})"
    else:
        counts = "no hits that may be more than usual"
    text = ", ".join(filter(None, (counts, usual)))
    text = "; ".join((text, *(each.text for each in account.unmet)))
    missing = account.hits_missing
    if missing:
        text += f"; {missing:,} more {'hit' if missing == 1 else 'hits'} in a row would be a breach"
    return text
