"""An alert in one message of Slack: made, updated, and what Slack may have to say against it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import ValidationError

from streams.domain import group_transitions, receiver_events, transitions
from streams.domain.deliveries import Delivery
from streams.domain.transitions import Transition
from streams.receivers import slack_api
from streams.receivers.outcomes import Answer, Delivered, Disable, GiveUp, Outcome, Retry
from streams.receivers.slack import SlackReceiver
from streams.settings import HIDDEN
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from tests.receivers.test_payloads import GROUP_NAMES, GROUPS, NAMES, group_delivery, transition
from tests.support.deliveries import delivery_of
from tests.support.kinds import HOSTILE, bot, channel
from tests.support.receiver import Answer as Answering
from tests.support.receiver import Collector, endless, status
from tests.support.slack_api import CHANNEL, NAME, TOKEN, Shown, Workspace
from tests.support.transitions import explained

OK = Answer(200, {}, b'{"ok": true, "channel": "C1", "ts": "1.2"}')
NOW = 1_795_428_000.0


class Chat:
    """A receiver and who answers it; what is kept of a delivery is handed to the next one."""

    def __init__(self, port: int, **changes: Any) -> None:
        self.to = bot(url=f"http://127.0.0.1:{port}/api/", **changes)
        self.client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
        self.message: str | None = None

    async def deliver(self, delivery: Delivery) -> Outcome:
        delivery.message = self.message
        outcome = await self.client.send(self.to, delivery, NOW)
        if isinstance(outcome, Delivered):
            self.message = outcome.message
        return outcome

    async def tell(self, told: Transition | str) -> Outcome:
        made = transition(told) if isinstance(told, str) else told
        return await self.deliver(delivery_of("a.1", transitions.encode(made).decode(), "chat"))


@asynccontextmanager
async def chatting(
    workspace: Workspace | None = None, answer: Answering | None = None, **changes: Any
) -> AsyncIterator[tuple[Chat, Workspace]]:
    there = workspace or Workspace()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = answer or there.call
        yield Chat(collector.port, **changes), there


def only(workspace: Workspace) -> Shown:
    (shown,) = workspace.messages.values()
    return shown


async def test_an_alert_is_one_message_from_its_beginning_to_its_end() -> None:
    async with chatting() as (chat, slack):
        for name in ("firing", "reminder", "acknowledged", "resolved"):
            assert await chat.tell(name) == Delivered(200, chat.message)
            assert (chat.message is None) == (name == "resolved")
    shown = only(slack)
    assert shown.titles == ["Firing", "Still firing", "Acknowledged", "Resolved"]
    assert [(text.partition(":")[0], seen) for text, seen in shown.replies] == [
        ("Still firing", True),
        ("Acknowledged", False),
        ("Resolved", False),
    ]
    assert slack.refusals == []
    assert [name for name, _ in slack.calls] == ["chat.postMessage"] + [
        "chat.update",
        "chat.postMessage",
    ] * 3
    assert slack.calls[1][1]["channel"] == CHANNEL, "a name is no place of an update"


@pytest.mark.parametrize("name", NAMES)
async def test_slack_takes_every_kind_of_transition(name: str) -> None:
    async with chatting() as (chat, slack):
        assert isinstance(await chat.tell("firing"), Delivered)
        assert isinstance(await chat.tell(name), Delivered)
    assert (slack.refusals, len(only(slack).versions)) == ([], 2)


async def test_a_group_is_one_message_and_updates_make_no_noise() -> None:
    async with chatting() as (chat, slack):
        for name in GROUP_NAMES:
            assert isinstance(await chat.deliver(group_delivery(name)), Delivered)
    shown = only(slack)
    assert [title.split(",")[0] for title in shown.titles] == ["Firing", "Still firing", "Resolved"]
    assert [(text.partition(",")[0], seen) for text, seen in shown.replies] == [("Resolved", False)]
    assert chat.message is None
    assert len(slack.calls) == 4


async def test_a_reminder_of_a_group_is_heard() -> None:
    made = group_transitions.decode((GROUPS / "updated.json").read_bytes())
    made.type = "campaign.group.reminder"
    async with chatting() as (chat, slack):
        await chat.deliver(group_delivery("firing"))
        await chat.deliver(delivery_of("g.2", group_transitions.encode(made).decode()))
    assert [seen for _, seen in only(slack).replies] == [True]


async def test_what_is_about_another_receiver_is_a_message_of_its_own() -> None:
    async with chatting() as (chat, slack):
        for now in (2.0, 3.0):
            event = receiver_events.delivery_of("chat", "failing", "ops", 1.0, "503", now)
            assert await chat.deliver(event) == Delivered(200)
    assert (len(slack.messages), chat.message) == (2, None)


@pytest.mark.parametrize(
    "error",
    ["message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"],
)
async def test_a_message_that_cannot_be_updated_is_made_anew(error: str) -> None:
    async with chatting() as (chat, slack):
        await chat.tell("firing")
        before = chat.message
        slack.errors["chat.update"] = [error]
        assert isinstance(await chat.tell("reminder"), Delivered)
        assert chat.message not in {before, None}
        await chat.tell("resolved")
    first, second = slack.messages.values()
    assert (first.titles, second.titles) == (["Firing"], ["Still firing", "Resolved"])


async def test_a_bot_cannot_update_what_another_one_made() -> None:
    async with chatting(Workspace("xoxb-1", "xoxb-2")) as (chat, slack):
        for token in ("xoxb-1", "xoxb-2"):
            chat.to = bot(url=chat.to.url, token=token)
            await chat.tell("firing")
    assert slack.refusals == ["cant_update_message"]
    assert len(slack.messages) == 2


async def test_in_another_channel_the_alert_is_a_message_of_its_own() -> None:
    slack = Workspace()
    slack.channels["C9"] = "#other"
    slack.members.add("C9")
    async with chatting(slack) as (chat, _):
        await chat.tell("firing")
        chat.to = bot(url=chat.to.url, channel="#other")
        await chat.tell("reminder")
        await chat.tell("resolved")
    assert [each.titles for each in slack.messages.values()] == [
        ["Firing"],
        ["Still firing", "Resolved"],
    ]


@pytest.mark.parametrize("message", ["", "{}", "[]", "x", '{"to":"#alerts","channel":1,"ts":""}'])
async def test_a_message_that_cannot_be_read_is_made_anew(message: str) -> None:
    async with chatting() as (chat, slack):
        chat.message = message
        assert isinstance(await chat.tell("reminder"), Delivered)
    assert only(slack).titles == ["Still firing"]


async def test_a_reply_that_is_refused_does_not_keep_the_update_from_counting() -> None:
    async with chatting() as (chat, slack):
        await chat.tell("firing")
        slack.errors["chat.postMessage"] = ["restricted_action_thread_locked"]
        outcome = await chat.tell("reminder")
    assert outcome == Delivered(200, chat.message)
    assert outcome.warnings == (
        "the reply in the thread was refused: restricted_action_thread_locked",
    )
    assert only(slack).titles == ["Firing", "Still firing"]


async def test_a_reply_that_has_to_wait_is_made_with_the_next_attempt() -> None:
    async with chatting() as (chat, slack):
        await chat.tell("firing")
        slack.errors["chat.postMessage"] = ["ratelimited"]
        assert await chat.tell("resolved") == Retry("status", "Slack refused it: ratelimited", 30.0)
        assert await chat.tell("resolved") == Delivered(200)
    assert only(slack).titles == ["Firing", "Resolved", "Resolved"]
    assert len(only(slack).replies) == 1


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_and_large_answers(name: str) -> None:
    """Slack repeats the message, each character of it in up to twelve."""
    made = explained(name=name)
    made.data.labels = {f"{at}{name}": name for at in range(60)}
    async with chatting() as (chat, slack):
        assert isinstance(await chat.tell(made), Delivered)
        assert chat.message is not None
        assert isinstance(await chat.tell(made), Delivered)
    assert (slack.refusals, len(slack.messages)) == ([], 1)


def refused(error: str, **others: Any) -> Answer:
    return Answer(200, {}, json.dumps({**others, "ok": False, "error": error}).encode())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, Delivered(200)),
        *(
            (refused(error), Retry("status", f"Slack refused it: {error}"))
            for error in (
                *("channel_not_found", "not_in_channel", "invalid_auth", "not_authed"),
                *("token_revoked", "token_expired", "account_inactive", "missing_scope"),
                *("restricted_action", "internal_error", "fatal_error", "something_new"),
            )
        ),
        *(
            (refused(error), GiveUp("status", f"Slack refused it: {error}"))
            for error in ("invalid_blocks", "msg_too_long", "no_text", "invalid_arguments")
        ),
        (refused("is_archived"), Disable("Slack refused it: is_archived")),
        (refused("ratelimited"), Retry("status", "Slack refused it: ratelimited", 30.0)),
        (
            Answer(429, {"retry-after": "7"}, b'{"ok":false,"error":"ratelimited"}'),
            Retry("status", "Slack refused it: ratelimited", 7.0),
        ),
        (Answer(429, {}, b"slow down"), Retry("status", "HTTP status 429: slow down", 30.0)),
        (Answer(503, {"retry-after": "5"}), Retry("status", "HTTP status 503", 5.0)),
        (refused(""), Retry("status", "Slack refused it: no error is named")),
        (
            Answer(200, {}, b"<html>proxy</html>"),
            Retry("protocol", "not an answer of Slack's Web API: <html>proxy</html>"),
        ),
        (Answer(200, {}), Retry("protocol", "not an answer of Slack's Web API: no body")),
        (Answer(204, {}), Retry("protocol", "not an answer of Slack's Web API: no body")),
        (
            Answer(200, {}, b'{"ok": "yes"}'),
            Retry("protocol", 'not an answer of Slack\'s Web API: {"ok": "yes"}'),
        ),
        (Answer(404, {}, b"no_such"), Retry("status", "HTTP status 404: no_such")),
        (Answer(302, {}), Retry("status", "HTTP status 302; redirects are not followed")),
        (Answer(410, {}), Disable("HTTP status 410")),
    ],
)
def test_answers(answer: Answer, outcome: object) -> None:
    assert bot().outcome_of(answer, 0.0) == outcome


async def test_errors_of_slack_over_the_network() -> None:
    async with chatting(Workspace("another")) as (chat, slack):
        assert await chat.tell("firing") == Retry("status", "Slack refused it: invalid_auth")
        slack.tokens.add(TOKEN)
        slack.members.clear()
        assert await chat.tell("firing") == Retry("status", "Slack refused it: not_in_channel")
        slack.members.add(CHANNEL)
        slack.archived.add(CHANNEL)
        assert await chat.tell("firing") == Disable("Slack refused it: is_archived")
        slack.archived.clear()
        slack.errors["chat.postMessage"] = ["ratelimited"]
        assert await chat.tell("firing") == Retry("status", "Slack refused it: ratelimited", 30.0)
        assert isinstance(await chat.tell("firing"), Delivered)
    assert len(slack.messages) == 1


async def cut(request: web.Request) -> web.StreamResponse:
    """Answer with half a body, then break the connection."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(OK.excerpt[:-10])
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (status(200, "<html>"), "protocol"),
        (status(200, ""), "protocol"),
        (cut, "protocol"),
        (endless(200), "protocol"),
        (endless(200, b" "), "protocol"),
        (endless(200, b" ", 60.0), "timeout"),
        (status(200, "[" * 100_000), "protocol"),
    ],
    ids=["HTML", "nothing", "cut off", "endless", "in bytes", "hanging", "nested"],
)
async def test_hostile_answers(answer: Answering, failure: str) -> None:
    async with chatting(answer=answer, timeout=60.0 if failure != "timeout" else 0.3) as (chat, _):
        outcome = await chat.tell("firing")
    assert isinstance(outcome, Retry), outcome
    assert outcome.failure == failure, outcome
    assert len(outcome.reason) < 300


async def test_the_token_shows_nowhere_even_if_the_answer_repeats_it() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        said = request.headers["Authorization"]
        return web.json_response({"ok": False, "error": said, "url": str(request.url)})

    async with chatting(answer=echo) as (chat, _):
        outcome = await chat.tell("firing")
        assert TOKEN not in f"{outcome} {outcome.answered} {chat.to!r} {chat.to.model_dump_json()}"
    assert outcome == Retry("status", f"Slack refused it: Bearer {HIDDEN}")


def test_an_attempt_is_the_same_at_any_time() -> None:
    delivery = group_delivery("firing")
    first, second = (bot().render(delivery, now) for now in (0.0, 1e9))
    assert first == second
    assert first.url == "https://slack.com/api/chat.postMessage"
    assert first.headers["Authorization"] == f"Bearer {TOKEN}"
    delivery.message = slack_api.name_as(slack_api.MessageName(NAME, CHANNEL, "1.2"))
    assert bot().render(delivery, 0.0).url == "https://slack.com/api/chat.update"
    body = orjson.loads(bot().render(delivery, 0.0).body)
    assert (body["channel"], body["ts"]) == (CHANNEL, "1.2")


def test_another_channel_token_or_url_is_another_target() -> None:
    changes: tuple[dict[str, str], ...] = (
        {},
        {"channel": "C1"},
        {"token": "xoxb-2"},
        {"url": "https://slack.example/api/"},
    )
    assert len({bot(**each).target for each in changes}) == len(changes)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "expected webhook_path, or token and channel"),
        ({"token": "xoxb-1"}, "expected the channel"),
        ({"token": "xoxb-1", "channel": "#a b"}, "the id or the name of a channel"),
        ({"token": "xoxb-1", "channel": "<!here>"}, "the id or the name of a channel"),
        ({"token": "xo xb", "channel": "#a"}, "printable ASCII without spaces"),
        ({"token": "x", "channel": "#a", "webhook_path": "T/B/x"}, "either a token or webhook"),
        ({"webhook_path": "T/B/x", "channel": "#a"}, "expected a token beside it"),
        (
            {"token": "x", "channel": "#a", "url": "https://hooks.slack.com/services"},
            "expected the URL of the Web API",
        ),
    ],
)
def test_refused(keys: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        SlackReceiver.model_validate({"name": "chat", **keys})


def test_the_url_is_that_of_the_way_unless_another_is_named() -> None:
    assert bot().url == "https://slack.com/api/"
    assert channel().url == "https://hooks.slack.com/services/"
    assert bot(url="https://proxy.example/api").url == "https://proxy.example/api"
