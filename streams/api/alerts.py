"""Alerts and the rules that they are of."""

from collections.abc import Sequence

import msgspec

from streams.api import answers, detectors
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.newest import CURSOR, LIMIT, Newest
from streams.api.parameters import choice, text
from streams.api.problems import not_found
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain import alert_records as domain
from streams.domain.alerts import AlertBook
from streams.domain.notification.stage import Suppressed
from streams.domain.partition import CampaignPartition
from streams.domain.rendering import peak_of
from streams.domain.transitions import rfc3339

STATE = choice("state", ("pending", "firing", "resolved", "expired"), "Only alerts in this state.")
CAMPAIGN = text("campaign_id", "Only what is about this campaign.")
RULE = text("rule", "Only alerts of this rule.")
SEVERITY = text("severity", "Only alerts of this severity.")
TREATMENT = text("treatment_id", "Only what is about this treatment.")
CHANNEL = text("channel_type", "Only what is about this channel.")
GROUP = text("group_id", "Only alerts that receivers are told of in this group.")
ALERT_ID = text("alert_id", "The alert's id.")

_NEWEST: Newest[domain.Alert, answers.Alerts] = Newest(
    answers.Alerts, "alerts", "pending_since", "alert_id"
)


def show(book: AlertBook, alert: domain.Alert, group_id: str | None = None) -> answers.Alert:
    """Return an alert, told of in a group or in none, as the API shows it."""
    notified_at = rfc3339(alert.notified_at) if alert.notified_at is not None else None
    return answers.Alert(
        **msgspec.structs.asdict(book.describe(alert)),
        state=alert.state,
        pending_since=rfc3339(alert.pending_since),
        notified_at=notified_at,
        transitions=[
            answers.AlertTransition(
                step.type,
                rfc3339(step.at),
                step.sequence,
                _suppressed(step.suppressed),
                [answers.Withheld(w.reason, w.detail, w.receiver) for w in step.withheld],
                step.cause,
            )
            for step in alert.steps
        ],
        past_episodes=[
            answers.PastEpisode(
                each.number,
                rfc3339(each.starts_at),
                rfc3339(each.ends_at),
                peak_of(each.peak),
                each.attempts,
                each.hits,
            )
            for each in alert.past
        ],
        group_id=group_id,
    )


def _show(partition: CampaignPartition, alert: domain.Alert) -> answers.Alert:
    return show(partition.alerts, alert, partition.groups.group_of(alert.alert_id))


def _suppressed(why: Suppressed | None) -> answers.Suppressed | None:
    return None if why is None else answers.Suppressed(why.reason, why.detail)


async def alerts(context: Context, ask: Ask) -> answers.Alerts:
    """Answer with alerts, newest first."""
    return await _NEWEST.page(
        context,
        ask,
        lambda partition: _of_group(partition, ask),
        lambda alert: _is_wanted(alert, ask),
        _show,
    )


def _of_group(partition: CampaignPartition, ask: Ask) -> list[domain.Alert]:
    """Return all alerts of a partition, or those of the group that is asked for."""
    found, wanted = partition.alerts.alerts(), ask.get(GROUP, None)
    if wanted is None:
        return found
    return [alert for alert in found if wanted in partition.groups.groups_of(alert.alert_id)]


def _is_wanted(alert: domain.Alert, ask: Ask) -> bool:
    return (
        ask.sees(alert.scope.campaign_id, alert.app_id)
        and ask.allows(STATE, alert.state)
        and ask.allows(CAMPAIGN, alert.scope.campaign_id)
        and ask.allows(TREATMENT, alert.scope.treatment_id)
        and ask.allows(CHANNEL, alert.scope.channel_type)
        and ask.allows(RULE, alert.rule)
        and ask.allows(SEVERITY, alert.severity)
    )


async def one_alert(context: Context, ask: Ask) -> answers.OneAlert:
    """Answer with one alert."""
    alert_id = ask.path["alert_id"]

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneAlert | None:
        for partition in partitions:
            alert = partition.alerts.get(alert_id)
            if alert is not None and ask.sees(alert.scope.campaign_id, alert.app_id):
                return answers.OneAlert(as_of="", alert=_show(partition, alert))
        return None

    everywhere = context.cluster.everywhere()
    nothing = not_found(f"there is no alert {alert_id}, or it ended long ago: see /v1/alerts")
    gathered = await context.cluster.require(ask, everywhere, answers.OneAlert, local, nothing)
    # It is here, whatever else is missing.
    return context.stamp(gathered.parts[0], ())


async def rules(context: Context, ask: Ask) -> answers.Rules:
    """Answer with all rules that are about something the caller may see."""
    patterns_of = ask.caller.visible.patterns_of
    return answers.Rules(
        [
            answers.Rule(
                name=rule.name,
                statuses=sorted(rule.statuses),
                unrecognised=rule.unrecognised,
                scope=rule.scope,
                match=answers.Match(campaigns, apps),
                detector=detectors.shown(rule.detector),
                for_=rule.for_,
                keep_firing_for=rule.keep_firing_for,
                no_data_after=rule.no_data_after,
                repeat_interval=rule.repeat_interval,
                reopen_within=rule.reopen_within,
                severity=rule.severity,
                labels=dict(rule.labels),
                receivers=list(rule.receivers),
            )
            for rule in context.settings.rules
            for campaigns, apps in (patterns_of(rule),)
            if campaigns and apps
        ]
    )


ROUTES = (
    Route(
        "/v1/alerts",
        alerts,
        "Alerts, current and past, newest first",
        answers.Alerts,
        (STATE, CAMPAIGN, TREATMENT, CHANNEL, RULE, SEVERITY, GROUP, LIMIT, CURSOR),
        rows=Rows("alerts", answers.Alert),
        for_some=True,
    ),
    Route(
        "/v1/alerts/{alert_id}",
        one_alert,
        "One alert",
        answers.OneAlert,
        (ALERT_ID,),
        for_some=True,
    ),
    Route(
        "/v1/rules",
        rules,
        "The rules that raise alerts",
        answers.Rules,
        rows=Rows("rules", answers.Rule),
        for_some=True,
    ),
)
