"""`slack`: a message of blocks, by one of Slack's incoming webhooks or by a bot.

A webhook can only send messages: each transition is one. A bot shows an alert, or a group, in one
message, which it updates; as an update makes no noise, what people have to hear of is a reply in
the message's thread too.

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
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import msgspec
from msgspec import UnsetType
from pydantic import AfterValidator, SecretStr, model_validator

from streams.domain import group_transitions, receiver_events, silence_events, transitions
from streams.domain.causes.exchange import GroupReason
from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import (
    GroupData,
    GroupTransition,
    GroupTransitionType,
    title_of,
)
from streams.domain.receiver_events import ReceiverEvent
from streams.domain.silence_events import SilenceEvent
from streams.domain.transition_causes import Acknowledged
from streams.domain.transitions import (
    AlertData,
    Explanation,
    Transition,
    TransitionType,
    named,
)
from streams.receivers import slack_api
from streams.receivers.grouped import GroupedReceiver, is_about_group
from streams.receivers.outcomes import Answer, Delivered, Outcome, of_api_answer
from streams.receivers.receiver import Network, Request, digest_of
from streams.receivers.slack_api import MessageName, Method
from streams.receivers.templates import TemplateFailure
from streams.receivers.texts import TextReceiver, Texts, happened
from streams.settings import Problem, ProblemsError, Secret, Token, Url
from streams.settings import Text as SettingText
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
LONGEST_URL, LONGEST_URLS = 1_000, 2_000
"""Characters of a URL that is linked, as it holds the id of a campaign, and of all of a message."""
MOST_LABELS = 5
MOST_STATUSES = 3


GROUP_TITLES: Mapping[GroupTransitionType, str] = {
    "campaign.group.firing": "Firing",
    "campaign.group.updated": "Still firing",
    "campaign.group.reminder": "Still firing",
    "campaign.group.resolved": "Resolved",
}
GROUP_REASONS: Mapping[GroupReason, str] = {
    "cause": "one cause",
    "labels": "one group",
    "rate-limit": "beyond the rate limit",
}
MOST_ALERTS = 5
"""Campaigns of a group that are named."""

DIMENSIONS = {
    "app_id": "app",
    "channel_type": "channel",
    "treatment_id": "treatment",
    "delivery_type": "delivery type",
}

Reply: TypeAlias = Literal["none", "thread", "channel"]
"""Whether an update is a reply in the thread of the message too, and shown in the channel."""

REPLIES: Mapping[TransitionType | GroupTransitionType, Reply] = {
    "campaign.alert.firing": "channel",
    "campaign.alert.reminder": "channel",
    "campaign.alert.acknowledged": "thread",
    "campaign.alert.resolved": "thread",
    "campaign.alert.expired": "thread",
    "campaign.group.firing": "channel",
    "campaign.group.updated": "none",
    "campaign.group.reminder": "channel",
    "campaign.group.resolved": "thread",
}

WEBHOOKS = "https://hooks.slack.com/services/"

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)
_CHANNEL = re.compile(r"#?[^\s#<>@&]{1,80}")


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


class Notification(NamedTuple):
    """What a delivery says.

    Attributes:
        message: as it is shown.
        failures: the templates that could not be rendered.
        reply: what an update is beside that.
        is_updated: whether the next delivery updates the message.
    """

    message: Message
    failures: tuple[TemplateFailure, ...] = ()
    reply: Reply = "none"
    is_updated: bool = False


_encode = msgspec.json.Encoder().encode


def _channel(channel: str) -> str:
    if not _CHANNEL.fullmatch(channel):
        raise ValueError("expected the id or the name of a channel, such as C0123456789 or #alerts")
    return channel


def _path(path: SecretStr) -> SecretStr:
    if not _PATH.fullmatch(path.get_secret_value()):
        raise ValueError("expected what follows /services/ in the webhook's URL, such as T…/B…/…")
    return path


class SlackReceiver(TextReceiver, GroupedReceiver):
    """Gets a message for each transition of an alert or a group, in the channel of the webhook.

    With a token it gets one message for an alert or a group, which is updated.

    What a template of a text says itself is Slack's markup, so it can mention somebody; names that
    it shows are text.

    Attributes:
        url: of the webhook, without its last part; of the Web API, if there is a token.
        webhook_path: the last part, `T…/B…/…`: whoever knows it can write to the channel.
        token: of a bot with the scope `chat:write`, in place of the webhook.
        channel: the id or the name of the channel that the bot writes to, and is a member of.
    """

    example: ClassVar[str] = """\
- name: channel
  kind: slack                          # an incoming webhook of Slack, or a bot
  url: https://hooks.slack.com/services/
  webhook_path_file: /run/secrets/chat # or webhook_path: T…/B…/…; the rest of the webhook's URL
  token: null                          # or token_file: of a bot, which updates its own messages,
  channel: null                        # in this channel; in place of url and webhook_path
  timeout: 10s
  group_by: cause                      # these four as of a webhook
  group_wait: 5s
  group_interval: 1m
  rate_limit: null
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
    url: Url = WEBHOOKS
    webhook_path: Annotated[Secret, AfterValidator(_path)] | None = None
    token: Token | None = None
    channel: Annotated[SettingText, AfterValidator(_channel)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _url_of_the_api(cls, values: Any) -> Any:
        """Take the URL of the Web API for that of a receiver with a token that says none."""
        if isinstance(values, Mapping) and values.get("token") is not None:
            return {"url": slack_api.API, **values}
        return values

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        problems: list[Problem] = []
        if self.token is None and self.webhook_path is None:
            problems.append((("webhook_path",), "expected webhook_path, or token and channel"))
        if self.token is not None and self.webhook_path is not None:
            problems.append((("token",), "expected either a token or webhook_path"))
        if self.token is not None and self.channel is None:
            problems.append((("channel",), "expected the channel that the token's bot writes to"))
        if self.token is not None and self.url.startswith(WEBHOOKS.rstrip("/")):
            expected = f"expected the URL of the Web API beside a token, or none: {slack_api.API}"
            problems.append((("url",), expected))
        if self.token is None and self.channel is not None:
            expected = "expected a token beside it: a webhook has its own channel"
            problems.append((("channel",), expected))
        if problems:
            raise ProblemsError(problems)
        return self

    def built_in(self, transition: Transition) -> Texts:
        """Return what happened, the rule and the severity; and the summary."""
        data = transition.data
        title = f"{happened(transition)}: {data.rule} ({data.severity})"
        return Texts(title, abbreviated(printable(data.summary), LONGEST_SUMMARY) or title)

    def as_text(self, value: str) -> str:
        """Return a text that is no mention, link or date."""
        return _without_markup(value)

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of the message; it is the same at any time.

        With a token: of the message that is new, or of its update.
        """
        del now
        found = self._notification(delivery)
        shown = slack_api.message_named(delivery.message, self.channel or "")
        if self.token is not None:
            return self._posted(found) if shown is None else self._updated(found, shown)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        body = _encode(found.message)
        return Request("POST", self._whole_url, headers, body, found.failures)

    async def send(self, delivery: Delivery, now: float, network: Network) -> Outcome:
        """Make a message; or, with a token, update the one there is."""
        if self.token is None:
            return await super().send(delivery, now, network)
        found = self._notification(delivery)
        for failure in found.failures:
            network.template_failed(failure)
        shown = slack_api.message_named(delivery.message, self.channel or "")
        if shown is not None:
            updated = await network.exchange(self._updated(found, shown))
            if not isinstance(updated, Answer) or not slack_api.is_gone(updated):
                return await self._update_told(found, shown, updated, now, network)
        answer = await network.exchange(self._posted(found))
        return self._told(found, answer, now)

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means.

        Of a webhook 400 says that the message is wrong. 403 and 404 are about the workspace or the
        URL, which somebody can put right; 410 says that the channel is archived.
        """
        if self.token is not None:
            return slack_api.outcome_of(answer, now)
        return of_api_answer(answer, now)

    def _notification(self, delivery: Delivery) -> Notification:
        if is_about_group(delivery):
            group = group_transitions.decode(delivery.transition)
            ended = group.data.ends_at is not None
            return Notification(_group_message(group), (), REPLIES[group.type], not ended)
        event = receiver_events.read(delivery.transition)
        if event is not None:
            return Notification(_about_receiver(event))
        ending = silence_events.read(delivery.transition)
        if ending is not None:
            return Notification(_about_silence(ending))
        transition = transitions.decode(delivery.transition)
        texts = self.texts(transition)
        message, reply = _message(transition, texts), REPLIES[transition.type]
        return Notification(message, texts.failures, reply, transition.data.ends_at is None)

    def _posted(self, found: Notification) -> Request:
        return self._call("chat.postMessage", found, found.message, {"channel": self.channel})

    def _updated(self, found: Notification, shown: MessageName) -> Request:
        # Otherwise Slack would look for links and mentions in the text.
        arguments = {"channel": shown.channel, "ts": shown.ts, "parse": "none"}
        return self._call("chat.update", found, found.message, arguments)

    def _replied(self, found: Notification, shown: MessageName) -> Request:
        text = found.message.text
        arguments = {
            "channel": shown.channel,
            "thread_ts": shown.ts,
            "reply_broadcast": found.reply == "channel",
        }
        reply = Message(text, [Section(text=Text(text))])
        return self._call("chat.postMessage", found, reply, arguments)

    def _call(
        self,
        method: Method,
        found: Notification,
        message: Message,
        arguments: Mapping[str, object],
    ) -> Request:
        token = self.token.get_secret_value() if self.token is not None else ""
        request = slack_api.call(self.url, token, method, message, arguments)
        return replace(request, template_failures=found.failures)

    def _told(self, found: Notification, answer: Answer | Outcome, now: float) -> Outcome:
        """Say what came of a message."""
        if not isinstance(answer, Answer):
            return answer
        outcome, posted = self.outcome_of(answer, now), slack_api.read(answer)
        if isinstance(outcome, Delivered) and posted is not None and found.is_updated:
            return replace(outcome, message=slack_api.name_of(posted, self.channel or ""))
        return outcome

    async def _update_told(
        self,
        found: Notification,
        shown: MessageName,
        answer: Answer | Outcome,
        now: float,
        network: Network,
    ) -> Outcome:
        """Say what came of an update, after the reply that goes with it.

        An attempt that is repeated updates again, which changes nothing, and replies again. So the
        reply comes last, and one that Slack refuses does not make the update fail.
        """
        outcome = self.outcome_of(answer, now) if isinstance(answer, Answer) else answer
        if not isinstance(outcome, Delivered):
            return outcome
        if found.is_updated:
            outcome = replace(outcome, message=slack_api.name_as(shown))
        if found.reply == "none":
            return outcome
        replied = await network.exchange(self._replied(found, shown))
        refusal = slack_api.refusal_of(replied) if isinstance(replied, Answer) else None
        if refusal is not None:
            return replace(outcome, warnings=(f"the reply in the thread was refused: {refusal}",))
        said = self.outcome_of(replied, now) if isinstance(replied, Answer) else replied
        return outcome if isinstance(said, Delivered) else said

    @property
    def target(self) -> str:
        """A digest of the whole URL; or of the API's, the channel and the token."""
        if self.token is not None:
            return digest_of(f"{self.url} {self.channel} {self.token.get_secret_value()}")
        return digest_of(self._whole_url)

    @property
    def _whole_url(self) -> str:
        path = self.webhook_path.get_secret_value() if self.webhook_path is not None else ""
        return f"{self.url.rstrip('/')}/{path}"


def _about_receiver(event: ReceiverEvent) -> Message:
    """Return the message about another receiver."""
    summary = _escaped(event.data.summary, LONGEST_SUMMARY)
    return Message(summary, [Section(text=Text(summary)), Context([Text(event.timestamp)])])


def _about_silence(event: SilenceEvent) -> Message:
    """Return the message about a silence that ends."""
    data = event.data
    summary = _escaped(data.summary, LONGEST_SUMMARY)
    footer = event.timestamp
    if data.links is not None:
        footer += _footer_links({"silences": data.links.page, "JSON": data.links.silence})
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


def _group_message(transition: GroupTransition) -> Message:
    data = transition.data
    head = f"{GROUP_TITLES[transition.type]}, {GROUP_REASONS[data.reason]}"
    about = data.rule or printable(title_of(data))
    title = _header(f"{head}: {about} ({data.severity})")
    summary = _escaped(data.summary, LONGEST_SUMMARY)
    blocks: list[Header | Section | Context] = [
        Header(PlainText(title)),
        Section(text=Text(summary or title)),
        Section(fields=[Text(field) for field in _common_fields(data)]),
    ]
    if data.alerts:
        blocks.append(Section(fields=[Text(field) for field in _alert_fields(data)]))
    if data.labels:
        blocks.append(Context(_labels(data.labels)))
    footer = f"{transition.timestamp}, notification {data.sequence} of the group"
    if data.links is not None:
        footer += _footer_links({"all alerts": data.links.page, "JSON": data.links.alerts})
    blocks.append(Context([Text(footer)]))
    return Message(f"{_escaped(title, LONGEST_TITLE)}: {summary}", blocks)


def _header(title: str) -> str:
    """Return a title that fits: a character beyond the Basic Multilingual Plane counts twice."""
    is_wide = any(character > "\uffff" for character in title)
    return abbreviated(title, LONGEST_TITLE // 2 if is_wide else LONGEST_TITLE)


def _common_fields(data: GroupData) -> list[str]:
    """Return what the alerts of a group have in common, how many there are, and since when."""
    cause, counts = data.cause, data.counts
    fields = [
        _field_of(_escaped(name, LONGEST_LABEL), value or "none")
        for name, value in list(data.group_labels.items())[:MOST_LABELS]
    ]
    if cause is not None:
        fields += [
            _field_of(DIMENSIONS[name].capitalize(), "none" if value is None else value)
            for name, value in cause.dimensions.items()
        ]
        fields += [_field_of("Status", cause.status)] if cause.status is not None else []
    more = f" and {counts.more:,} more" if counts.more else ""
    fields.append(
        f"*Alerts*\n{counts.firing:,} firing{more}, {counts.ended:,} ended, "
        f"{counts.joined:,} in all"
    )
    if cause is not None:
        fields.append(f"*Share of the excess of all campaigns*\n{cause.share:.0%}")
    fields.append(f"*Began*\n{data.starts_at}")
    return fields if data.ends_at is None else [*fields, f"*Ended*\n{data.ends_at}"]


def _alert_fields(data: GroupData) -> list[str]:
    return [
        _field_of("Campaign", named(alert.campaign_id, alert.campaign_name))
        + f"\n{alert.hits:,} of {alert.attempts:,}"
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
    footer = f"{transition.timestamp}, transition {data.sequence} of the alert"
    if data.links is None:
        return footer
    links = data.links
    return footer + _footer_links(
        {"alert": links.alert_page, "campaign": links.campaign_page, "JSON": links.alert}
    )


def _footer_links(named_ones: Mapping[str, str | UnsetType]) -> str:
    """Return links by their names, as the end of a footer; without those that are too long."""
    room, shown = LONGEST_URLS, ""
    for name, url in named_ones.items():
        if url and len(url) <= min(room, LONGEST_URL):
            room -= len(url)
            shown += f" · <{_url(url)}|{name}>"
    return shown


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
