"""A stand-in for an incoming webhook of Slack, by its published documents and no library.

Sources: https://docs.slack.dev/reference/block-kit (blocks, the text object),
https://docs.slack.dev/messaging/formatting-message-text (what is escaped, what stands between `<`
and `>`), https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (answers),
`IncomingWebhookSendArguments` in https://github.com/slackapi/node-slack-sdk (keys of a message),
for the sum of all texts https://github.com/slackapi/bolt-js/issues/2509.

The documents count characters and do not say which. Here a character beyond the Basic Multilingual
Plane counts twice, as in UTF-16: that is the stricter reading.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web

MOST_BLOCKS, MOST_FIELDS, MOST_ELEMENTS = 50, 10, 10
LONGEST_IN_ALL = 13_000
MESSAGE = {"text", "blocks", "link_names", "unfurl_links", "unfurl_media"}

_ENTITY = re.compile(r"&(?!(amp|lt|gt);)")
_CONTROL = re.compile(r"<([^<>]*)>")


def message_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the message of a request.

    Raises:
        AssertionError: the documents do not allow it, or it mentions somebody.
    """
    named = {name.lower(): value for name, value in headers.items()}
    assert named["content-type"].partition(";")[0] == "application/json"
    message: dict[str, Any] = orjson.loads(body)
    check_message(message)
    return message


def check_message(message: dict[str, Any]) -> None:
    """Check a message, without what else a call has.

    Raises:
        AssertionError: the documents do not allow it, or it mentions somebody.
    """
    assert message.keys() <= MESSAGE
    assert message["text"], "no_text"
    assert message["link_names"] is False
    assert 1 <= len(message["blocks"]) <= MOST_BLOCKS
    for block in message["blocks"]:
        _check_block(block)
    for text in _marked_up(message):
        assert not _ENTITY.search(text), f"a bare ampersand: {text!r}"
        assert not set(_CONTROL.sub("", text)) & set("<>"), f"half a link: {text!r}"
        assert not any(link[:1] in {"", "@", "#", "!"} for link in _CONTROL.findall(text))
    assert sum(map(_length, texts_of(message))) <= LONGEST_IN_ALL, "msg_blocks_too_long"


def links_of(message: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the URL and the text of each link, as Slack would make them."""
    found = [link for text in _marked_up(message) for link in _CONTROL.findall(text)]
    return [(url.replace("&amp;", "&"), label) for url, _, label in map(_split, found)]


def shown(text: str) -> str:
    """Return a text as it is shown, where it has no links."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def texts_of(message: dict[str, Any]) -> Iterator[str]:
    """Return all texts of the blocks."""
    for block in message["blocks"]:
        for text in _objects(block):
            yield text["text"]


def _split(link: str) -> tuple[str, str, str]:
    return link.partition("|")


def _marked_up(message: dict[str, Any]) -> Iterator[str]:
    yield message["text"]
    for block in message["blocks"]:
        yield from (text["text"] for text in _objects(block) if text["type"] == "mrkdwn")


def _objects(block: dict[str, Any]) -> list[dict[str, Any]]:
    alone = [block["text"]] if "text" in block else []
    return [*alone, *block.get("fields", []), *block.get("elements", [])]


def _check_block(block: dict[str, Any]) -> None:
    kind = block["type"]
    if kind == "header":
        assert block.keys() == {"type", "text"}
        assert block["text"]["type"] == "plain_text"
        _check_text(block["text"], 150)
    elif kind == "section":
        assert block.keys() <= {"type", "text", "fields"}
        assert "text" in block or "fields" in block
        if "text" in block:
            _check_text(block["text"], 3000)
        if "fields" in block:
            assert 1 <= len(block["fields"]) <= MOST_FIELDS
        for field in block.get("fields", []):
            _check_text(field, 2000)
    else:
        assert kind == "context"
        assert block.keys() == {"type", "elements"}
        assert 1 <= len(block["elements"]) <= MOST_ELEMENTS
        for element in block["elements"]:
            _check_text(element, 3000)


def _check_text(text: dict[str, Any], longest: int) -> None:
    assert 1 <= _length(text["text"]) <= longest, f"{_length(text['text'])} of {longest}"
    if text["type"] == "plain_text":
        assert text.keys() <= {"type", "text", "emoji"}
    else:
        assert text["type"] == "mrkdwn"
        assert text.keys() <= {"type", "text", "verbatim"}
        assert text["verbatim"] is True, "Slack would make links of its own"


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class Channel:
    """Takes messages; `refusals` has why some were refused."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.refusals: list[str] = []

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as Slack does."""
        try:
            message = message_of(request.headers, await request.read())
        except (AssertionError, KeyError, ValueError) as error:
            self.refusals.append(f"{type(error).__name__}: {error}")
            return web.Response(status=400, text="invalid_blocks")
        self.messages.append(message)
        return web.Response(text="ok")
