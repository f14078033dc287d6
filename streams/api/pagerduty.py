"""What PagerDuty tells: somebody has acknowledged an incident there, so its alert is acknowledged.

Its webhooks have no token, and are signed instead. PagerDuty makes a webhook again that is answered
with 5xx or late, drops one that is answered with 4xx, and disables a subscription of which three in
a row were dropped. So whatever is signed and needs nothing to be done is answered with 202, and
says why; what cannot be done now with 503.

A signature has no time. So whoever has seen a webhook could send it again later; an event that is
older than the newest firing of its alert therefore does nothing, and any other one, nothing twice.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog

from streams.api import answers
from streams.api.acknowledging import BY, COMMENT, acknowledge
from streams.api.alerts import ALERT_ID, one_alert
from streams.api.asking import Ask, Asker
from streams.api.context import Context
from streams.api.parameters import read_moment
from streams.api.problems import ProblemError, not_found, refuse
from streams.api.receivers import NAME
from streams.api.routing import Route
from streams.domain.operators import LONGEST_COMMENT, LONGEST_NAME
from streams.receivers.pagerduty_webhooks import (
    ACKNOWLEDGED,
    SIGNATURE_HEADER,
    Webhook,
    WebhookEvent,
    read,
)
from streams.terminal import abbreviated, printable

CLOCKS_DIFFER_MS = 60_000
"""How far PagerDuty's clock may be behind the brokers'."""
FIRING = "campaign.alert.firing"
_UNSEEN = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
"""Answers that say that there is nothing to acknowledge (any more)."""

log = structlog.get_logger(__name__)


async def take(context: Context, ask: Ask) -> answers.PagerDutyTaken:
    """Take a webhook of PagerDuty."""
    name = ask.path["name"]
    _check_signature(context, name, ask)
    try:
        event = read(ask.body).event
    except ValueError as error:
        refuse(f"the body: {error}")
    try:
        taken = await _taken(context, event)
    except ProblemError as problem:
        if problem.status not in _UNSEEN:
            raise
        taken = _ignored(problem.detail)
    log.info(
        "webhook of PagerDuty taken",
        receiver=name,
        event_type=event.event_type[:200],
        result=taken.result,
        detail=taken.detail,
        alert_id=taken.alert_id,
    )
    return taken


def _check_signature(context: Context, name: str, ask: Ask) -> None:
    """Refuse what PagerDuty has not signed.

    Raises:
        ProblemError: 404 without such a receiver, 401 for a wrong signature.
    """
    signatures = context.pagerduty.get(name)
    if signatures is None:
        raise not_found(
            f"there is no receiver {name} of the kind pagerduty with webhook_secrets in the "
            "configuration"
        )
    if not signatures.are_right(ask.headers.get(SIGNATURE_HEADER, ""), ask.body):
        log.warning("webhook of PagerDuty refused: its signature is wrong", receiver=name)
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            f"{SIGNATURE_HEADER} has no signature of this body with any of the receiver's "
            "webhook_secrets",
            {"WWW-Authenticate": "PagerDuty-Signature"},
        )


async def _taken(context: Context, event: WebhookEvent) -> answers.PagerDutyTaken:
    """Do what an event asks for.

    Raises:
        ProblemError: 404 or 409 if there is nothing to acknowledge, 503 if it cannot be done now.
    """
    if event.event_type != ACKNOWLEDGED:
        return _ignored(f"nothing follows from {event.event_type[:200]}")
    if event.data is None or not event.data.incident_key:
        return _ignored("the incident has no incident_key, so it is of no alert")
    alert_id = event.data.incident_key
    alert = (await one_alert(context, _ask(alert_id))).alert
    if _is_older(event, alert):
        return _ignored(f"alert {alert_id} has begun to fire again since")
    values = {BY.name: _name(event), COMMENT.name: _comment(event)}
    answer = await acknowledge(context, _ask(alert_id, "/acknowledge", values))
    by = answer.alert.acknowledged.by if answer.alert.acknowledged is not None else None
    return answers.PagerDutyTaken("acknowledged", "", alert_id, by)


def _ignored(detail: str) -> answers.PagerDutyTaken:
    return answers.PagerDutyTaken("ignored", detail)


def _ask(alert_id: str, more: str = "", values: Mapping[str, str] | None = None) -> Ask:
    """Return a request of this API; nothing of what came is in its headers."""
    ask = Ask(
        "POST" if more else "GET",
        f"/v1/alerts/{quote(alert_id, safe='')}{more}",
        {ALERT_ID.name: alert_id},
        {},
        _NO_HEADERS,
        asker=Asker(via="pagerduty"),
    )
    for name, value in (values or {}).items():
        ask = ask.with_query(name, value)
    return ask


_NO_HEADERS: Mapping[str, Any] = {}


def _is_older(event: WebhookEvent, alert: answers.Alert) -> bool:
    """Tell whether an event is older than the newest firing of its alert."""
    fired = [each.timestamp for each in alert.transitions if each.type == FIRING]
    if event.occurred_at is None or not fired:
        return False
    try:
        occurred_at = read_moment(event.occurred_at)
    except ValueError:
        return True
    return occurred_at + CLOCKS_DIFFER_MS < read_moment(fired[-1])


def _name(event: WebhookEvent) -> str:
    name = "" if event.agent is None else printable(event.agent.summary or "").strip()
    return abbreviated(name, LONGEST_NAME) or "PagerDuty"


def _comment(event: WebhookEvent) -> str:
    incident = event.data
    if incident is None:
        return ""
    number = "" if incident.number is None else f" {incident.number}"
    url = f": {printable(incident.html_url)}" if incident.html_url else ""
    return abbreviated(f"incident{number} of PagerDuty{url}", LONGEST_COMMENT)


ROUTES = (
    Route(
        "/v1/receivers/{name}/pagerduty",
        take,
        "For webhooks of PagerDuty (V3): an incident that is acknowledged there is here",
        answers.PagerDutyTaken,
        (NAME,),
        method="POST",
        body=Webhook,
        status=HTTPStatus.ACCEPTED,
        scope=None,
        problems=(HTTPStatus.UNAUTHORIZED,),
    ),
)
