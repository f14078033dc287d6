"""`pagerduty`: events of PagerDuty's Events API v2.

Sources: "Events API v2 Overview" and "Send an Alert Event"
(https://developer.pagerduty.com/docs/events-api-v2-overview, …/docs/send-alert-event) and the
OpenAPI description `reference/events-v2/openapiv3.json` in
https://github.com/PagerDuty/api-schema.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from streams.domain import group_transitions, transitions
from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import GroupTransition, named, title_of
from streams.domain.transitions import (
    AlertData,
    EpisodeTotals,
    Evidence,
    Explanation,
    Links,
    Peak,
    Span,
    Transition,
    TransitionType,
)
from streams.receivers.grouped import GroupedReceiver, is_about_group
from streams.receivers.outcomes import Answer, Outcome, Retry, of_api_answer
from streams.receivers.pagerduty_webhooks import Signatures
from streams.receivers.receiver import Request
from streams.receivers.templates import TemplateFailure
from streams.receivers.texts import TextReceiver, Texts
from streams.settings import Token, Url
from streams.terminal import abbreviated, printable

LONGEST_SUMMARY = 1024
"""Characters of `payload.summary`, by the API's documentation, which does not say what one is. A
character beyond the Basic Multilingual Plane is taken for two, as in UTF-16: what is too long would
be refused, and nobody paged."""
LONGEST_TEXT = 10_000
"""Characters of a text from a template: far from what makes an event too large."""
LONGEST_FIELD = 255
"""Characters of a name that comes from an event, in a field that PagerDuty lists events by."""
LARGEST_EVENT = 512_000
"""Bytes of an event: the documentation says 512 KB, and not whether a KB has 24 more."""
PAUSE_S = 120.0
"""How long (s) nothing is sent after 429: the API asks for "a few minutes", in no header."""

Action: TypeAlias = Literal["trigger", "acknowledge", "resolve"]

ACTIONS: Mapping[TransitionType, Action] = {
    "campaign.alert.firing": "trigger",
    "campaign.alert.reminder": "trigger",
    "campaign.alert.acknowledged": "acknowledge",
    "campaign.alert.resolved": "resolve",
    "campaign.alert.expired": "resolve",
}


class CustomDetails(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What an alert was decided on, as the transition has it."""

    campaign_id: str
    treatment_id: str | None
    channel_type: str | None
    app_id: str | None
    starts_at: str
    ends_at: str | None
    window: Span
    evidence: Evidence
    peak: Peak
    totals: EpisodeTotals
    labels: dict[str, str]
    explanation: Explanation | None = None
    campaign_name: str | UnsetType = UNSET
    app_name: str | UnsetType = UNSET


class Payload(msgspec.Struct, rename={"class_": "class"}, omit_defaults=True):
    """What the event is about, in the PagerDuty Common Event Format."""

    summary: str
    source: str
    severity: str
    timestamp: str
    class_: str
    component: str | None = None
    group: str | None = None
    custom_details: object = None


class Link(msgspec.Struct):
    """A link on the incident."""

    href: str
    text: str


class Event(msgspec.Struct, omit_defaults=True):
    """The body of a request."""

    routing_key: str
    event_action: Action
    dedup_key: str
    payload: Payload
    client: str
    client_url: str | None = None
    links: list[Link] = []


_encode = msgspec.json.Encoder().encode


class PagerDutyReceiver(TextReceiver, GroupedReceiver):
    """Opens an alert in PagerDuty when one fires, adds its reminders to it, and resolves it.

    An alert has one `dedup_key`, its id, from its first event to its last one. An acknowledgement
    acknowledges the incident there. An alert that comes back has the same key: PagerDuty opens a
    new incident for it, as the one before is resolved. A severity is the same in PagerDuty as in a
    rule. The title is the event's summary, the text is in its details. A group of alerts with a
    common cause has one key, too.

    Attributes:
        routing_key: the Integration Key of a service or of an orchestration, 32 characters.
        webhook_secrets: of the subscriptions of webhooks with which PagerDuty tells that somebody
            has acknowledged an incident; several while one is rotated.
    """

    example: ClassVar[str] = """\
- name: pager
  kind: pagerduty                      # Events API v2
  url: https://events.pagerduty.com/v2/enqueue
  routing_key_file: /run/secrets/pager # or routing_key: …; the Integration Key of a service
  webhook_secrets: []                  # or webhook_secrets_file: …; of PagerDuty's own webhooks, one a line: docs/lifecycle.md
  timeout: 10s
  group_by: cause                      # these four as of a webhook
  group_wait: 5s
  group_interval: 1m
  rate_limit: null
  matchers: []                         # [severity="critical"]: only alerts that all of them match
  title: null                          # a template in place of the built-in one: docs/operations.md
  text: null                           # the same for the text
"""  # noqa: E501 - lines of the example file

    longest_title: ClassVar[int] = LONGEST_SUMMARY
    longest_text: ClassVar[int] = LONGEST_TEXT
    takes_acknowledgements: ClassVar[bool] = True

    kind: Literal["pagerduty"] = "pagerduty"
    url: Url = "https://events.pagerduty.com/v2/enqueue"
    routing_key: Token
    webhook_secrets: tuple[Token, ...] = ()

    @property
    def signatures(self) -> Signatures | None:
        """What checks webhooks of PagerDuty; null if there are none."""
        if not self.webhook_secrets:
            return None
        return Signatures(secret.get_secret_value() for secret in self.webhook_secrets)

    def built_in(self, transition: Transition) -> Texts:
        """Return the summary, which is all that there is."""
        return Texts(transition.data.summary, transition.data.summary)

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of the event; it is the same at any time."""
        del now
        if is_about_group(delivery):
            return self._post(self._group_event(group_transitions.decode(delivery.transition)))
        transition = transitions.decode(delivery.transition)
        texts = self.texts(transition)
        return self._post(self._event(transition, texts), texts.failures)

    def _post(self, event: Event, failures: tuple[TemplateFailure, ...] = ()) -> Request:
        body = _encode(event)
        if len(body) > LARGEST_EVENT:
            event.payload.custom_details = None
            body = _encode(event)
        headers = {"Content-Type": "application/json"}
        return Request("POST", self.url, headers, body, failures)

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means.

        400 says that the event is wrong, or the routing key; the API asks not to send it again.
        """
        outcome = of_api_answer(answer, now)
        match outcome:
            case Retry(retry_after=None) if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                return Retry(outcome.failure, outcome.reason, PAUSE_S)
        return outcome

    def _event(self, transition: Transition, texts: Texts) -> Event:
        data = transition.data
        links = data.links
        return Event(
            routing_key=self.routing_key.get_secret_value(),
            event_action=ACTIONS[transition.type],
            dedup_key=data.alert_id,
            payload=_payload(transition, texts.title, texts.text if self.text else None),
            client="campaign-streams",
            client_url=(links.alert_page or links.alert) if links else None,
            links=_links(links) if links else [],
        )

    def _group_event(self, transition: GroupTransition) -> Event:
        data = transition.data
        links = data.links
        ended = transition.type == "campaign.group.resolved"
        return Event(
            routing_key=self.routing_key.get_secret_value(),
            event_action="resolve" if ended else "trigger",
            dedup_key=data.group_id,
            payload=_group_payload(transition),
            client="campaign-streams",
            client_url=(links.page or links.alerts) if links else None,
            links=_named({"Alerts": links.page, "JSON": links.alerts}) if links else [],
        )


def _links(links: Links) -> list[Link]:
    return _named({"Alert": links.alert_page, "Campaign": links.campaign_page, "JSON": links.alert})


def _named(urls: Mapping[str, str | UnsetType]) -> list[Link]:
    return [Link(url, name) for name, url in urls.items() if url]


def _group_payload(transition: GroupTransition) -> Payload:
    data = transition.data
    common: dict[str, str | None] = dict(data.group_labels)
    if data.cause is not None:
        common.update(data.cause.dimensions.items())
    source = named(data.cause.dimensions) if data.cause is not None else title_of(data)
    channel, app = common.get("channel_type"), common.get("app_id")
    # Neither may be empty.
    rule = data.rule or "several rules"
    details = {
        name: value
        for name, value in msgspec.to_builtins(data).items()
        if name not in {"summary", "links", "sequence"}
    }
    return Payload(
        summary=_summary(data.summary) or rule,
        source=_shown(source) or rule,
        severity=data.severity,
        timestamp=transition.timestamp,
        class_=rule,
        component=_shown(channel) if channel else None,
        group=_shown(app) if app else None,
        custom_details=_printable(details),
    )


def _payload(transition: Transition, title: str, text: str | None) -> Payload:
    data = transition.data
    return Payload(
        # Neither may be empty.
        summary=_summary(title) or data.rule,
        source=_shown(data.campaign_id) or data.rule,
        severity=data.severity,
        timestamp=transition.timestamp,
        class_=data.rule,
        component=_shown(data.channel_type) if data.channel_type is not None else None,
        group=_shown(data.app_id) if data.app_id is not None else None,
        custom_details=_details_of(data, text),
    )


def _details_of(data: AlertData, text: str | None) -> dict[str, object]:
    """Return the details; with a text if there is a template, in which line feeds are meant."""
    details = msgspec.to_builtins(_details(data))
    shown = {name: _printable(value) for name, value in details.items()}
    return shown if text is None else {**shown, "text": text}


def _details(data: AlertData) -> CustomDetails:
    return CustomDetails(
        campaign_id=data.campaign_id,
        campaign_name=data.campaign_name,
        treatment_id=data.treatment_id,
        channel_type=data.channel_type,
        app_id=data.app_id,
        app_name=data.app_name,
        starts_at=data.starts_at,
        ends_at=data.ends_at,
        window=data.window,
        evidence=data.evidence,
        peak=data.peak,
        totals=data.totals,
        labels=data.labels,
        explanation=data.explanation,
    )


def _printable(value: object) -> object:
    """Return the same with every text printable: no control character may stop a page."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(key): _printable(each) for key, each in value.items()}
        case list():
            return [_printable(each) for each in value]
    return value


def _summary(text: str) -> str:
    text = printable(text)
    wide = any(character > "\uffff" for character in text)
    return abbreviated(text, LONGEST_SUMMARY // 2 if wide else LONGEST_SUMMARY)


def _shown(name: str) -> str:
    return abbreviated(printable(name), LONGEST_FIELD)
