"""An operator takes an alert on: it is acknowledged, once, and that is committed before it is said.

The worker that holds the alert's partition does it with the next commit of its task. Whoever asks
another worker is answered by way of that one.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from streams.api import answers
from streams.api.alerts import ALERT_ID, show
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import short_text
from streams.api.problems import ProblemError, not_found
from streams.api.routing import Route
from streams.domain.alert_records import Alert
from streams.domain.operators import LONGEST_COMMENT, LONGEST_NAME, Acknowledgement
from streams.domain.partition import CampaignPartition
from streams.domain.transition_causes import AcknowledgedReason

COMMITTED_WITHIN = 1.5
"""Seconds: less than another worker that asks this one waits for the answer."""

BY = short_text(
    *("by", 1, LONGEST_NAME),
    "Who acknowledges it: a name, as it is shown; without it, the name of the token, and with "
    "neither the request is refused.",
    required=False,
)
COMMENT = short_text("comment", 0, LONGEST_COMMENT, "What they say about it; nothing without it.")


async def acknowledge(context: Context, ask: Ask) -> answers.OneAlert:
    """Acknowledge a firing alert; the answer has who has acknowledged it, which may be another."""
    alert_id, ask = ask.path["alert_id"], ask.attributed(BY)

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneAlert | None:
        for partition in partitions:
            alert = partition.alerts.get(alert_id)
            if alert is not None and ask.sees(alert.scope.campaign_id, alert.app_id):
                _check(alert)
                if alert.acknowledged is None or not partition.operators.is_settled(alert_id):
                    alert = await _acknowledged(partition, alert_id, ask)
                return answers.OneAlert(as_of="", alert=show(partition.alerts, alert))
        return None

    everywhere = context.cluster.everywhere()
    nothing = not_found(f"there is no alert {alert_id}, or it ended long ago: see /v1/alerts")
    gathered = await context.cluster.require(ask, everywhere, answers.OneAlert, local, nothing)
    return context.stamp(gathered.parts[0], ())


async def _acknowledged(partition: CampaignPartition, alert_id: str, ask: Ask) -> Alert:
    """Return the alert, once its acknowledgement is committed.

    Raises:
        ProblemError: 503 if it was not committed in time, or there is too much to do; 409 if the
            alert has ended meanwhile.
    """
    by, comment, committed = ask.query[BY.name], ask.get(COMMENT, ""), asyncio.Event()
    reason: AcknowledgedReason = "pagerduty" if ask.asker.via == "pagerduty" else "acknowledged"
    token = ask.asker.token
    request = Acknowledgement(alert_id, by, comment, committed.set, token, reason)
    if not partition.operators.add(request):
        raise _later(f"too many wait for the partition of alert {alert_id}: ask again")
    try:
        await asyncio.wait_for(committed.wait(), COMMITTED_WITHIN)
    except TimeoutError:
        raise _later(
            f"it is not known whether alert {alert_id} is acknowledged: its partition is on its "
            "way to another worker, or slow; ask again, it is acknowledged once"
        ) from None
    alert = partition.alerts.get(alert_id)
    if alert is None or alert.acknowledged is None:
        raise ProblemError(HTTPStatus.CONFLICT, f"alert {alert_id} has ended just now")
    return alert


def _later(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})


def _check(alert: Alert) -> None:
    if alert.state == "firing":
        return
    why = "is pending: nobody was notified of it" if alert.state == "pending" else "has ended"
    detail = f"alert {alert.alert_id} {why}, so there is nothing to acknowledge"
    raise ProblemError(HTTPStatus.CONFLICT, detail)


ROUTES = (
    Route(
        "/v1/alerts/{alert_id}/acknowledge",
        acknowledge,
        "Acknowledge a firing alert: there are no more reminders of it",
        answers.OneAlert,
        (ALERT_ID, BY, COMMENT),
        method="POST",
        scope="write",
        problems=(HTTPStatus.CONFLICT,),
        for_some=True,
    ),
)
