"""`slack`: a message of blocks, by one of Slack's incoming webhooks.

Sources: "Sending messages using incoming webhooks" (https://docs.slack.dev/messaging), "Formatting
message text" (…/messaging/formatting-message-text), and the reference of Block Kit
(https://docs.slack.dev/reference/block-kit).

Names come from events, so from anybody. What only Slack may read as a mention, a link or a date
stands between `<` and `>`: these and `&` are escaped in every text, and `verbatim` keeps Slack from
making links and mentions of anything else. Each name and the summary have a text object of their
own, so that what is left of markup in them (`*`, `_`, `~` and backquotes) formats nothing else.
"""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import AfterValidator, SecretStr

from streams.domain import group_transitions, receiver_events, silence_events, transitions
from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import (
    GroupData,
    GroupTransition,
    GroupTransitionType,
)
from streams.domain.receiver_events import ReceiverEvent
from streams.domain.silence_events import SilenceEvent
from streams.domain.transition_causes import Acknowledged
from streams.domain.transitions import AlertData, Explanation, Links, Transition, named
from streams.receivers.grouped import GroupedReceiver, is_about_group
from streams.receivers.outcomes import Answer, Outcome, of_api_answer
from streams.receivers.receiver import Request, digest_of
from streams.receivers.templates import TemplateFailure
from streams.receivers.texts import TITLES, TextReceiver, Texts
from streams.settings import Secret, Url
from streams.terminal import abbreviated, printable

LONGEST_SUMMARY = 400
"""Characters of a summary before they are escaped, which makes five of one at most. So no text is
longer than a section's 3,000 or a field's 2,000 characters, and all blocks together stay below the
13,000 that Slack takes (https://github.com/slackapi/bolt-js/issues/2509)."""
LONGEST_TITLE = 150
"""Characters of a header's text (https://docs.slack.dev/reference/block-kit/blocks/header-block)."""
LONGEST_TEXT = 5 * LONGEST_SUMMARY
"""Characters of a text from a template, escaped: as long as a summary may get."""
LONGEST_COMMENT = 300
"""The same of the comment of whoever acknowledged an alert."""
LONGEST_NAME = 100
"""The same of a name, an id or a status."""
LONGEST_LABEL = 40
"""The same of the name of a label, and of its value."""
LONGEST_URL = 1000
"""Characters of a URL that is linked: it holds the id of a campaign, and that may be long."""
MOST_LABELS = 5
MOST_STATUSES = 3


GROUP_TITLES: Mapping[GroupTransitionType, str] = {
    "campaign.group.firing": "Firing, one cause",
    "campaign.group.updated": "Still firing, one cause",
    "campaign.group.reminder": "Still firing, one cause",
    "campaign.group.resolved": "Resolved, one cause",
}
MOST_ALERTS = 5
"""Campaigns of a group that are named."""

DIMENSIONS = {
    "app_id": "app",
    "channel_type": "channel",
    "treatment_id": "treatment",
    "delivery_type": "delivery type",
}

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)


class Text(msgspec.Struct, tag_field="type", tag="mrkdwn"):
    """A text in Slack's markup, of which Slack makes no links by itself."""

    text: str
    verbatim: bool = True


class PlainText(msgspec.Struct, tag_field="type", tag="plain_text"):
    """A text without markup."""

    text: str
    emoji: bool = False


class Header(msgspec.Struct, tag_field="type", tag="header"):
    """A block with a title."""

    text: PlainText


class Section(msgspec.Struct, tag_field="type", tag="section", omit_defaults=True):
    """A block with a text, or with fields in two columns."""

    text: Text | None = None
    fields: list[Text] = []


class Context(msgspec.Struct, tag_field="type", tag="context"):
    """A block of small texts."""

    elements: list[Text]


class Message(msgspec.Struct):
    """The body of a request. `text` is for notifications, and where blocks cannot be shown."""

    text: str
    blocks: list[Header | Section | Context]
    link_names: bool = False
    unfurl_links: bool = False
    unfurl_media: bool = False


_encode = msgspec.json.Encoder().encode


def _path(path: SecretStr) -> SecretStr:
    if not _PATH.fullmatch(path.get_secret_value()):
        raise ValueError("expected what follows /services/ in the webhook's URL, such as T…/B…/…")
    return path


class SlackReceiver(TextReceiver, GroupedReceiver):
    """Gets a message for each transition of an alert or a group, in the channel of the webhook.

    What a template of a text says itself is Slack's markup, so it can mention somebody; names that
    it shows are text.

    Attributes:
        url: of the webhook, without its last part.
        webhook_path: the last part, `T…/B…/…`: whoever knows it can write to the channel.
    """

    example: ClassVar[str] = """\
- name: channel
  kind: slack                          # an incoming webhook of Slack
  url: https://hooks.slack.com/services/
  webhook_path_file: /run/secrets/chat # or webhook_path: T…/B…/…; the rest of the webhook's URL
  timeout: 10s
  group_by: cause                      # these three as of a webhook
  group_wait: 5s
  group_interval: 1m
  matchers: []                         # [severity="critical"]: only alerts that all of them match
  title: null                          # a template in place of the built-in one: docs/operations.md
  text: null                           # the same for the text
"""

    longest_title: ClassVar[int] = LONGEST_TITLE
    longest_text: ClassVar[int] = LONGEST_TEXT
    told_of_receivers: ClassVar[bool] = True
    told_of_silences: ClassVar[bool] = True
    takes_acknowledgements: ClassVar[bool] = True

    kind: Literal["slack"] = "slack"
    url: Url = "https://hooks.slack.com/services/"
    webhook_path: Annotated[Secret, AfterValidator(_path)]

    def built_in(self, transition: Transition) -> Texts:
        """Return what happened, the rule and the severity; and the summary."""
        data = transition.data
        title = f"{_title(transition)}: {data.rule} ({data.severity})"
        return Texts(title, abbreviated(printable(data.summary), LONGEST_SUMMARY) or title)

    def as_text(self, value: str) -> str:
        """Return a text that is no mention, link or date."""
        return _without_markup(value)

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of the message; it is the same at any time."""
        del now
        if is_about_group(delivery):
            return self._request(_group_message(group_transitions.decode(delivery.transition)))
        event = receiver_events.read(delivery.transition)
        if event is not None:
            return self._request(_about_receiver(event))
        ending = silence_events.read(delivery.transition)
        if ending is not None:
            return self._request(_about_silence(ending))
        transition = transitions.decode(delivery.transition)
        texts = self.texts(transition)
        return self._request(_message(transition, texts), texts.failures)

    def _request(self, message: Message, failures: tuple[TemplateFailure, ...] = ()) -> Request:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return Request("POST", self._whole_url, headers, _encode(message), failures)

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means.

        400 says that the message is wrong. 403 and 404 are about the workspace or the URL, which
        somebody can put right; 410 says that the channel is archived.
        """
        return of_api_answer(answer, now)

    @property
    def target(self) -> str:
        """A digest of the whole URL."""
        return digest_of(self._whole_url)

    @property
    def _whole_url(self) -> str:
        return f"{self.url.rstrip('/')}/{self.webhook_path.get_secret_value()}"


def _about_receiver(event: ReceiverEvent) -> Message:
    """Return the message about another receiver."""
    summary = _escaped(event.data.summary, LONGEST_SUMMARY)
    return Message(summary, [Section(text=Text(summary)), Context([Text(event.timestamp)])])


def _about_silence(event: SilenceEvent) -> Message:
    """Return the message about a silence that ends."""
    data = event.data
    summary = _escaped(data.summary, LONGEST_SUMMARY)
    footer = event.timestamp
    if data.links is not None and len(data.links.silence) <= LONGEST_URL:
        footer += f" · <{_url(data.links.silence)}|silence>"
    fields = [
        _field_of("Alerts", ", ".join(data.matchers)),
        f"*Ends*\n{data.ends_at}",
        f"*Firing*\n{data.alerts:,}",
        _field_of("Made by", data.created_by),
    ]
    return Message(
        summary,
        [
            Header(PlainText("A silence ends soon")),
            Section(text=Text(summary)),
            Section(fields=[Text(field) for field in fields]),
            Context([Text(footer)]),
        ],
    )


def _message(transition: Transition, texts: Texts) -> Message:
    data = transition.data
    blocks: list[Header | Section | Context] = [
        Header(PlainText(texts.title)),
        Section(text=Text(texts.text)),
        Section(fields=_fields(data)),
    ]
    explained = [] if data.explanation is None else _explained(data.explanation)
    if explained:
        blocks.append(Section(fields=explained))
    if data.acknowledged is not None:
        blocks.append(Section(fields=_acknowledged(data.acknowledged)))
    if data.labels:
        blocks.append(Context(_labels(data.labels)))
    blocks.append(Context([Text(_footer(transition))]))
    return Message(f"{_escaped(texts.title, LONGEST_TITLE)}: {texts.text}", blocks)


def _title(transition: Transition) -> str:
    cause = transition.data.cause
    if transition.type == "campaign.alert.expired" and cause and cause.actor == "configuration":
        return "Ended, as its rule has changed"
    if transition.type == "campaign.alert.firing" and transition.data.episode > 1:
        return "Firing again"
    return TITLES[transition.type]


def _group_message(transition: GroupTransition) -> Message:
    data = transition.data
    title = f"{GROUP_TITLES[transition.type]}: {data.rule} ({data.severity})"
    summary = _escaped(data.summary, LONGEST_SUMMARY)
    blocks: list[Header | Section | Context] = [
        Header(PlainText(title)),
        Section(text=Text(summary or title)),
        Section(fields=[Text(field) for field in _cause_fields(data)]),
    ]
    if data.alerts:
        blocks.append(Section(fields=[Text(field) for field in _alert_fields(data)]))
    if data.labels:
        blocks.append(Context(_labels(data.labels)))
    footer = f"{transition.timestamp}, notification {data.sequence} of the group"
    if data.links is not None and len(data.links.alerts) <= LONGEST_URL:
        footer += f" · <{_url(data.links.alerts)}|all alerts>"
    blocks.append(Context([Text(footer)]))
    return Message(f"{title}: {summary}", blocks)


def _cause_fields(data: GroupData) -> list[str]:
    cause, counts = data.cause, data.counts
    fields = [
        _field_of(DIMENSIONS[name].capitalize(), "none" if value is None else value)
        for name, value in cause.dimensions.items()
    ]
    if cause.status is not None:
        fields.append(_field_of("Status", cause.status))
    fields += [
        f"*Alerts*\n{counts.firing:,} firing, {counts.ended:,} ended, {counts.joined:,} in all",
        f"*Share of the excess of all campaigns*\n{cause.share:.0%}",
        f"*Began*\n{data.starts_at}",
    ]
    return fields if data.ends_at is None else [*fields, f"*Ended*\n{data.ends_at}"]


def _alert_fields(data: GroupData) -> list[str]:
    return [
        _field_of("Campaign", alert.campaign_id) + f"\n{alert.hits:,} of {alert.attempts:,}"
        for alert in data.alerts[:MOST_ALERTS]
    ]


def _fields(data: AlertData) -> list[Text]:
    seen, totals, peak = data.evidence, data.totals, data.peak
    about = {
        "Campaign": named(data.campaign_id, data.campaign_name),
        "App": data.app_id and named(data.app_id, data.app_name),
        "Treatment": data.treatment_id,
        "Channel": data.channel_type,
    }
    fields = [_field_of(name, value) for name, value in about.items() if value is not None]
    fields += [
        f"*Window*\n{data.window.start} to {data.window.end}",
        f"*Hits of attempts*\n{_rate(seen.hits, seen.attempts, seen.rate)}",
        f"*Peak*\n{_rate(peak.hits, peak.attempts, peak.rate)}",
        f"*In all, since {totals.since}*\n{_rate(totals.hits, totals.attempts, totals.rate)}",
        f"*Began*\n{data.starts_at}",
    ]
    if data.ends_at is not None:
        fields.append(f"*Ended*\n{data.ends_at}")
    return [Text(field) for field in fields]


def _explained(explanation: Explanation) -> list[Text]:
    """Return the slice of the excess, if there is one, and its largest statuses."""
    fields = []
    if explanation.slice is not None:
        part = explanation.slice
        figures = _rate(part.hits, part.attempts, part.rate)
        fields.append(f"*{part.share:.0%} of the excess*\n{figures}, usual {part.usual_rate:.1%}")
        fields += [
            _field_of(f"Excess by {DIMENSIONS[name]}", "none" if value is None else value)
            for name, value in part.dimensions.items()
        ]
    fields += [
        _field_of(f"{status.share:.0%} by status", status.status)
        for status in explanation.statuses[:MOST_STATUSES]
    ]
    return [Text(field) for field in fields]


def _acknowledged(acknowledged: Acknowledged) -> list[Text]:
    by = _field_of("Acknowledged by", acknowledged.by)
    comment = _escaped(acknowledged.comment, LONGEST_COMMENT)
    return [Text(by), Text(f"*Comment*\n{comment}")] if comment else [Text(by)]


def _labels(labels: Mapping[str, str]) -> list[Text]:
    return [
        Text(f"{_escaped(name, LONGEST_LABEL)}: {_escaped(value, LONGEST_LABEL)}")
        for name, value in list(labels.items())[:MOST_LABELS]
    ]


def _footer(transition: Transition) -> str:
    data = transition.data
    parts = [f"{transition.timestamp}, transition {data.sequence} of the alert"]
    if data.links is not None:
        parts += _links(data.links)
    return " · ".join(parts)


def _links(links: Links) -> list[str]:
    named = {"alert": links.alert, "windows": links.windows}
    return [f"<{_url(url)}|{name}>" for name, url in named.items() if len(url) <= LONGEST_URL]


def _url(url: str) -> str:
    """Return a URL as it may stand in a link: what would end it or its URL is encoded."""
    return url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _field_of(name: str, value: str) -> str:
    return f"*{name}*\n{_escaped(value, LONGEST_NAME)}"


def _rate(hits: int, attempts: int, rate: float) -> str:
    return f"{hits:,} of {attempts:,} ({rate:.1%})"


def _escaped(text: str, most: int) -> str:
    """Return a text on one line, shortened, and without a meaning to Slack's markup of links."""
    return _without_markup(abbreviated(printable(text), most))


def _without_markup(text: str) -> str:
    """Return a text that is no mention, link or date."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
