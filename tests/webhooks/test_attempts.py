"""What is kept of attempts: real servers that answer, echo, hang or are not there."""

import time

import pytest
from aiohttp import web
from pydantic import SecretStr

from streams.domain.delivery_attempts import AttemptRecord
from streams.receivers.masking import without_secrets
from streams.receivers.outcomes import Answer, Delivered, Retry
from streams.receivers.receiver import Receiver
from streams.receivers.slack import SlackReceiver
from streams.settings import HIDDEN
from streams.webhooks.client import WebhookClient
from streams.webhooks.dispatcher import Timing
from streams.webhooks.guard import Guard
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.hostile import raw_server, says
from tests.support.ports import free_port
from tests.support.receiver import PATIENCE_S, Collector, hang, status
from tests.webhooks.test_dispatcher import (
    FakeHolder,
    enqueue,
    read_back,
    running,
    until,
)

ONCE_AGAIN = Timing((0.01,), poll_interval=0.05)


async def history(receiver: Receiver, attempts: int = 2) -> tuple[AttemptRecord, ...]:
    """Return what is kept once the delivery was given up, as the next owner reads it."""
    holder = FakeHolder()
    delivery = enqueue(holder.queue(), "a")
    async with running(holder, receiver, timing=ONCE_AGAIN):
        await until(lambda: delivery.state == "given-up")
    (kept,) = read_back(holder.held[0]).deliveries.deliveries()
    assert kept.attempted == attempts
    return kept.history


async def test_attempts_are_kept_with_time_status_duration_and_answer() -> None:
    began = time.time()
    answers = (status(500, "disk  full\n\x1b[31m"), status(502, "ü" * 1000))
    async with Collector(*answers) as collector:
        first, second = await history(webhook_to(collector.url))

    assert (first.number, first.result, first.status) == (1, "status", 500)
    assert first.answer == "disk full [31m"
    assert first.error is None
    assert began <= first.at <= second.at <= time.time()
    assert 0 <= first.duration_ms < 10_000
    assert (second.number, second.status, second.answer) == (2, 502, "ü" * 200 + "…")


async def test_an_attempt_without_an_answer_says_why_and_how_long() -> None:
    refused, _ = await history(webhook_to(f"http://127.0.0.1:{free_port()}/"))
    assert (refused.status, refused.result, refused.answer) == (None, "connection", "")
    assert refused.error is not None
    assert refused.error.startswith("cannot connect")

    async with Collector(hang, hang) as collector:
        hung, _ = await history(webhook_to(collector.url, timeout=0.2))
    assert (hung.status, hung.result, hung.error) == (None, "timeout", "no answer within 0.2 s")
    assert 200 <= hung.duration_ms < 5_000


async def test_410_is_kept_as_the_attempt_that_disabled() -> None:
    async with Collector(status(410, "moved away")) as collector:
        (only,) = await history(webhook_to(collector.url), 1)
    assert (only.result, only.status, only.answer) == ("disabled", 410, "moved away")


async def attempt_at(receiver: Receiver, allow: str = "127.0.0.0/8") -> object:
    client = WebhookClient(Guard([allow]), allow_http=True)
    return await client.send(receiver, delivery_of(), time.time())


async def test_of_a_success_the_part_that_came_with_its_headers_is_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\naccepted"
    # The rest of the body never comes.
    async with raw_server(says(answer, pause=PATIENCE_S)) as url:
        outcome = await attempt_at(webhook_to(url))
    assert isinstance(outcome, Delivered)
    assert outcome.answered is not None
    assert (outcome.answered.status, outcome.answered.text) == (200, "accepted")


async def test_secrets_that_a_receiver_repeats_are_not_kept_anywhere() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text=f"cannot POST {request.url} ({request.path_qs})")

    async with Collector(echo) as collector:
        outcome = await attempt_at(webhook_to(collector.url))

    assert isinstance(outcome, Retry)
    assert outcome.answered is not None
    assert outcome.answered.text == f"cannot POST {HIDDEN} ({HIDDEN})"
    assert "token=hidden" not in outcome.reason


def slack(path: str = "T000/B000/XXXXXXXXXXXX") -> SlackReceiver:
    return SlackReceiver(name="channel", webhook_path=SecretStr(path))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no service T000/B000/XXXXXXXXXXXX here", f"no service {HIDDEN} here"),
        (r'{"path": "T000\/B000\/XXXXXXXXXXXX"}', f'{{"path": "{HIDDEN}"}}'),
        ("path=T000%2FB000%2FXXXXXXXXXXXX", f"path={HIDDEN}"),
        ("cut off: T000/B000/XXX", f"cut off: {HIDDEN}"),
        ("https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXX", f"{HIDDEN}{HIDDEN}"),
        ("nothing of it, T000 is short", "nothing of it, T000 is short"),
    ],
)
def test_secrets_are_hidden_however_they_are_written(text: str, shown: str) -> None:
    answer = without_secrets(Answer(500, {}, text.encode()), slack())
    assert answer.excerpt.decode() == shown
