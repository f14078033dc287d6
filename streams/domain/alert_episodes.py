"""An alert that comes back is the same alert, reopened; and one whose rule has changed is over.

Each episode has a record of its own, so what a detector has told before stays with the episode that
it was told of. The newest one takes the alert's id and its history over when it fires.
"""

from math import inf

from streams.domain import transition_causes as causes
from streams.domain.alert_records import Alert, PastEpisode
from streams.domain.rules import Rule
from streams.domain.transition_causes import Cause

MOST_EPISODES = 12
"""Past episodes of an alert that are remembered: the newest."""


def comes_back(alert: Alert, before: Alert | None, rule: Rule) -> bool:
    """Tell whether an alert that is about to fire is another episode of the one before it.

    That is so if the breach began within the rule's `reopen_within` of the end. With 0, never.

    Args:
        alert: is pending.
        before: the newest of the same rule and scope that has ended, if any is remembered.
        rule: of both.
    """
    if before is None or before.ends_at is None or not rule.reopen_within:
        return False
    if is_redefined(before, rule):
        return False
    return alert.pending_since - before.ends_at <= rule.reopen_within


def reopen(alert: Alert, before: Alert) -> None:
    """Make an alert another episode of the one before it, whose record keeps what it was about."""
    alert.alert_id = before.alert_id
    alert.occurrence = before.occurrence + 1
    alert.first_starts_at = before.first_starts_at or before.starts_at
    alert.sequence = before.sequence
    alert.steps = before.steps
    alert.past = (*before.past, _past(before))[-MOST_EPISODES:]
    before.steps, before.past, before.explanation = [], (), None


def order(alert: Alert) -> tuple[float, float, int, int]:
    """Return what puts the alerts of a rule and scope that have ended in the order of their ends.

    Several may have begun and ended in one evaluation, so at the same time.
    """
    ends_at = alert.ends_at if alert.ends_at is not None else inf
    return ends_at, alert.pending_since, alert.occurrence, alert.episode


def _past(alert: Alert) -> PastEpisode:
    starts_at = alert.starts_at if alert.starts_at is not None else alert.pending_since
    ends_at = alert.ends_at if alert.ends_at is not None else starts_at
    attempts, hits = alert.totals
    return PastEpisode(alert.occurrence, starts_at, ends_at, alert.highest, attempts, hits)


def why_orphaned(alert: Alert, rule: Rule | None) -> Cause | None:
    """Return why an alert is over by the configuration alone; null if it goes on.

    It goes on while its rule has its name, looks at scopes of the same kind, takes the same
    statuses for hits, and matches its campaign. Another detector, or other settings of it, go on
    with it; its severity and labels stay as they were when it began.

    Args:
        alert: is live.
        rule: of its name; null if there is none.
    """
    if rule is None:
        return causes.rule_removed(alert.rule)
    if is_redefined(alert, rule):
        return causes.rule_changed("the rule has other statuses or another scope now")
    if not rule.matches_campaign(alert.scope.campaign_id):
        return causes.rule_changed("the rule does not match the campaign any more")
    if alert.app_id is not None and not rule.matches_app(alert.app_id):
        return causes.rule_changed(f"the rule does not match app {alert.app_id} any more")
    return None


def is_cut_off(alert: Alert) -> bool:
    """Tell whether an alert has ended by the configuration alone, and its breach may go on."""
    cause = alert.steps[-1].cause if alert.steps else None
    return cause is not None and cause.actor == "configuration"


def is_redefined(alert: Alert, rule: Rule | None) -> bool:
    """Tell whether the rule of an alert's name is about something else than the alert was.

    Then what the alert was about says nothing about the rule's next one. Alerts of versions that
    did not keep the definition are taken to be of the same one.
    """
    return rule is not None and alert.definition not in {"", rule.definition}
