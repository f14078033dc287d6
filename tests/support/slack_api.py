"""A stand-in for Slack's Web API, by its published documents and no library: one workspace.

Sources: https://docs.slack.dev/reference/methods/chat.postMessage and …/chat.update (arguments,
answers, errors), https://docs.slack.dev/apis/web-api (the token in a header, JSON bodies, `ok` and
`error` in an answer with status 200), https://docs.slack.dev/apis/web-api/rate-limits (429 with
`Retry-After`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.slack import check_message

TOKEN = "xoxb-000000000000-0000000000000-abcdefghijklmnop"
CHANNEL, NAME = "C0123456789", "#alerts"
POSTED = {"channel", "thread_ts", "reply_broadcast"}
UPDATED = {"channel", "ts", "parse"}


@dataclass
class Shown:
    """A message in a channel.

    `versions` has its texts, the newest last; `replies` the texts in its thread, and whether each
    is shown in the channel too.
    """

    channel: str
    ts: str
    versions: list[dict[str, Any]]
    replies: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        """What the header of each version says has happened."""
        return [each["blocks"][0]["text"]["text"].partition(":")[0] for each in self.versions]


def message_of(body: bytes) -> dict[str, Any]:
    """Return the message of a call.

    Raises:
        AssertionError: the documents do not allow it, or it mentions somebody.
    """
    arguments: dict[str, Any] = orjson.loads(body)
    message = {name: arguments[name] for name in arguments.keys() - POSTED - UPDATED}
    check_message(message)
    return message


class RefusedError(Exception):
    """A call that is answered with an error."""


class Workspace:
    """Answers calls; `refusals` has the errors, and what was wrong with a message.

    Args:
        tokens: of bots; a bot can update its own messages alone.
    """

    def __init__(self, *tokens: str) -> None:
        self.tokens = set(tokens or (TOKEN,))
        self.channels: dict[str, str] = {CHANNEL: NAME}
        self.members = {CHANNEL}
        self.archived: set[str] = set()
        self.messages: dict[tuple[str, str], Shown] = {}
        self.owners: dict[tuple[str, str], str] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[str] = []
        self.errors: dict[str, list[str]] = {}
        """Errors that the next calls of a method are answered with."""

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as the API does."""
        body = await request.read()
        method = request.path.rpartition("/")[2]
        try:
            found = self._call(method, request.headers, body)
        except RefusedError as error:
            self.refusals.append(str(error))
            name = str(error).partition(":")[0]
            if name == "ratelimited":
                value = {"ok": False, "error": name}
                return web.json_response(value, status=429, headers={"Retry-After": "30"})
            return web.json_response({"ok": False, "error": name})
        # Keys have no order, and nothing but ASCII is written as it is.
        echo = {"message": found.versions[-1], "ok": True}
        return web.json_response({**echo, "channel": found.channel, "ts": found.ts})

    def _call(self, method: str, headers: Mapping[str, str], body: bytes) -> Shown:
        assert headers["Content-Type"].partition(";")[0] == "application/json"
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        arguments: dict[str, Any] = orjson.loads(body)
        self.calls.append((method, arguments))
        if not token:
            raise RefusedError("not_authed")
        if token not in self.tokens:
            raise RefusedError("invalid_auth")
        if self.errors.get(method):
            raise RefusedError(self.errors[method].pop(0))
        match method:
            case "chat.postMessage":
                return self._post(token, arguments)
            case "chat.update":
                return self._update(token, arguments)
        raise RefusedError("unknown_method")

    def _post(self, token: str, arguments: dict[str, Any]) -> Shown:
        message = _message(arguments, POSTED)
        channel = self._channel(arguments["channel"], {*self.channels, *self.channels.values()})
        posted = Shown(channel, f"1503435956.{len(self.owners):06}", [message])
        self.owners[channel, posted.ts] = token
        thread = arguments.get("thread_ts")
        if thread is None:
            self.messages[channel, posted.ts] = posted
        else:
            if (channel, thread) not in self.messages:
                raise RefusedError("thread_not_found")
            reply = message["text"], arguments.get("reply_broadcast", False)
            self.messages[channel, thread].replies.append(reply)
        return posted

    def _update(self, token: str, arguments: dict[str, Any]) -> Shown:
        message = _message(arguments, UPDATED)
        assert "unfurl_links" not in message
        assert arguments["parse"] == "none", "names and links would be looked for"
        key = self._channel(arguments["channel"], self.channels), arguments["ts"]
        if key not in self.messages:
            raise RefusedError("message_not_found")
        if self.owners[key] != token:
            raise RefusedError("cant_update_message")
        self.messages[key].versions.append(message)
        return self.messages[key]

    def _channel(self, name: str, known: object) -> str:
        ids = {name: name for name in self.channels} | {v: k for k, v in self.channels.items()}
        if name not in ids or name not in known:  # type: ignore[operator]
            raise RefusedError("channel_not_found")
        channel = ids[name]
        if channel in self.archived:
            raise RefusedError("is_archived")
        if channel not in self.members:
            raise RefusedError("not_in_channel")
        return channel


def _message(arguments: dict[str, Any], others: set[str]) -> dict[str, Any]:
    message = {name: value for name, value in arguments.items() if name not in others}
    try:
        check_message(message)
    except (AssertionError, KeyError) as error:
        raise RefusedError(f"invalid_blocks: {error!r}") from error
    return message
