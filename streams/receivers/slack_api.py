"""Slack's Web API, as far as it is needed to show an alert in one message.

Sources: `chat.postMessage` and `chat.update` (https://docs.slack.dev/reference/methods), "Using the
Slack Web API" (https://docs.slack.dev/apis/web-api) for answers, and "Rate limits"
(https://docs.slack.dev/apis/web-api/rate-limits).

An answer with status 200 may be a refusal: its body says whether it is `ok`, otherwise the `error`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, TypeAlias

import msgspec

from streams.receivers.outcomes import (
    Answer,
    Delivered,
    Disable,
    GiveUp,
    Outcome,
    Retry,
    excerpt_of,
    of_answer,
    retry_after,
    shown,
)
from streams.receivers.receiver import Request

API = "https://slack.com/api/"
ANSWER_BYTES = 256 * 1024
"""Bytes of an answer's body: it repeats the message, and may write a character in twelve."""
PAUSE_S = 30.0
"""How long (s) nothing is sent after `ratelimited`, if no header says it."""

Method: TypeAlias = Literal["chat.postMessage", "chat.update"]

ONLY_POSTED = frozenset({"unfurl_links", "unfurl_media"})
"""Arguments that `chat.update` does not have."""
RATE_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
GONE = frozenset(
    {
        *("message_not_found", "cant_update_message", "edit_window_closed"),
        *("channel_not_found", "not_in_channel", "is_archived", "is_inactive"),
    }
)
"""Errors of `chat.update` after which a new message is made: only that shows whether the channel
that is configured takes any."""
REFUSED = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"),
        *("no_text", "invalid_arguments", "invalid_arg_name", "invalid_array_arg"),
        *("invalid_charset", "invalid_json", "json_not_object", "invalid_post_type"),
        *("markdown_text_conflict", "invalid_metadata_format", "slack_connect_blocked_file_type"),
    }
)
"""Errors that are about one message: it would be refused again."""
ARCHIVED = "is_archived"
"""An incoming webhook of such a channel answers 410."""


class Posted(msgspec.Struct):
    """The body of an answer.

    Attributes:
        ok: whether the call succeeded.
        error: why not, in a word.
        channel: the id of the channel that the message is in.
        ts: what the message is known by there.
    """

    ok: bool
    error: str = ""
    channel: str = ""
    ts: str = ""


class MessageName(msgspec.Struct, frozen=True):
    """What a message is known by.

    Attributes:
        to: the channel that was configured when it was sent.
        channel: the id of the channel.
        ts: of the message.
    """

    to: str
    channel: str
    ts: str


_decode_posted = msgspec.json.Decoder(Posted).decode
_decode_name = msgspec.json.Decoder(MessageName).decode
_encode = msgspec.json.Encoder().encode


def name_of(posted: Posted, channel: str) -> str | None:
    """Return what a message is known by from now on; null if the answer does not say it."""
    if not posted.channel or not posted.ts:
        return None
    return name_as(MessageName(channel, posted.channel, posted.ts))


def name_as(message: MessageName) -> str:
    """Return what a message is known by, as it is kept."""
    return _encode(message).decode()


def message_named(name: str | None, channel: str) -> MessageName | None:
    """Return the message that goes by a name; null for none in the channel that is configured."""
    if name is None:
        return None
    try:
        found = _decode_name(name)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return found if found.to == channel else None


def call(
    url: str, token: str, method: Method, message: msgspec.Struct, arguments: Mapping[str, object]
) -> Request:
    """Return the request of a call.

    Args:
        url: of the API.
        token: of a bot.
        method: which is called.
        message: the arguments that are the message itself.
        arguments: the others.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json; charset=utf-8",
    }
    said = msgspec.to_builtins(message)
    if method == "chat.update":
        said = {name: value for name, value in said.items() if name not in ONLY_POSTED}
    body = _encode({**said, **arguments})
    return Request("POST", f"{url.rstrip('/')}/{method}", headers, body, answer_bytes=ANSWER_BYTES)


def read(answer: Answer) -> Posted | None:
    """Return what an answer says; null if it is not one of the Web API."""
    try:
        return _decode_posted(answer.excerpt)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def outcome_of(answer: Answer, now: float) -> Outcome:
    """Say what an answer at `now` (s, UTC) means.

    What is wrong with the token, the channel or the app can be put right by somebody, and nothing
    is lost meanwhile: it is tried again, and the receiver's circuit opens.
    """
    posted = read(answer)
    asked = retry_after(answer.headers.get("retry-after"), now)
    if posted is None or posted.ok:
        outcome = of_answer(answer, now)
        if posted is None and isinstance(outcome, Delivered):
            text = excerpt_of(answer)
            return Retry("protocol", f"not an answer of Slack's Web API: {text or 'no body'}")
        return _paused(answer, outcome)
    error = shown(posted.error) or "no error is named"
    reason = f"Slack refused it: {error}"
    if error in RATE_LIMITED:
        return Retry("status", reason, PAUSE_S if asked is None else asked)
    if error in REFUSED:
        return GiveUp("status", reason)
    if error == ARCHIVED:
        return Disable(reason)
    return _paused(answer, Retry("status", reason, asked))


def _paused(answer: Answer, outcome: Outcome) -> Outcome:
    match outcome:
        case Retry(retry_after=None) if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Retry(outcome.failure, outcome.reason, PAUSE_S)
    return outcome


def refusal_of(answer: Answer) -> str | None:
    """Return why a call was refused, if that has nothing to do with how many there were."""
    posted = read(answer)
    if posted is None or posted.ok or posted.error in RATE_LIMITED:
        return None
    return shown(posted.error) or "no error is named"


def is_gone(answer: Answer) -> bool:
    """Tell whether the message that was to be updated cannot be."""
    posted = read(answer)
    return posted is not None and not posted.ok and posted.error in GONE
