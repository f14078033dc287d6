"""The local receiver, sent to by the product's own client."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streams.demo.receiver import LocalReceiver, ReceiverPortTakenError
from streams.domain import transitions
from streams.domain.transitions import (
    AlertData,
    EpisodeTotals,
    Evidence,
    Links,
    Peak,
    Span,
    Transition,
)
from streams.receivers.outcomes import Delivered, Outcome, Retry
from streams.receivers.signing import signed_headers
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from tests.support.deliveries import delivery_of, webhook_to

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
TRANSITION = Transition(
    "campaign.alert.firing",
    "2026-11-23T10:00:42Z",
    AlertData(
        alert_id="a",
        sequence=1,
        rule="failure-spike",
        severity="critical",
        campaign_id="c",
        treatment_id=None,
        delivery_type=None,
        channel_type=None,
        app_id=None,
        starts_at="2026-11-23T10:00:42Z",
        ends_at=None,
        window=Span("2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z"),
        evidence=Evidence(812, 164, 0.202, 0.176, None, {"FAILURE": 164, "SUCCESS": 648}),
        peak=Peak(100, 30, 0.3, Span("2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z")),
        totals=EpisodeTotals(100, 30, 0.3, "2026-11-23T10:00:00Z"),
        summary="failure-spike firing in campaign c: 164 of 812 attempts (20.2%)",
        labels={},
        links=Links("/w", "/a"),
    ),
)
GROUP = Path(__file__).parents[1] / "domain" / "causes" / "golden" / "firing.json"
BODY = transitions.encode(TRANSITION).decode()
LINE = (
    "10:00:42  FIRING    critical  failure-spike firing in campaign c: 164 of 812 attempts (20.2%)"
)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def receiver(said: list[str]) -> AsyncIterator[LocalReceiver]:
    receiver = LocalReceiver(SECRET, said.append)
    await receiver.start()
    yield receiver
    await receiver.stop()


async def send(
    receiver: LocalReceiver, *secrets: str, body: str = BODY, now: float | None = None
) -> Outcome:
    client = WebhookClient(Guard(["127.0.0.1"]), allow_http=True)
    to = webhook_to(receiver.url, "local", *(secrets or (SECRET,)))
    return await client.send(to, delivery_of("a.1", body), time.time() if now is None else now)


async def test_an_alert_is_one_line(receiver: LocalReceiver, said: list[str]) -> None:
    assert await send(receiver) == Delivered(204)

    assert said == [LINE]
    assert list(receiver.received) == [TRANSITION]


async def test_a_group_is_one_line(receiver: LocalReceiver, said: list[str]) -> None:
    body = GROUP.read_text()
    assert await send(receiver, body=body) == Delivered(204)

    summary = json.loads(body)["data"]["summary"]
    assert said == [f"10:00:48  FIRING    critical  {summary}"]


async def test_the_same_alert_again_is_accepted_and_not_news(
    receiver: LocalReceiver, said: list[str]
) -> None:
    await send(receiver)

    assert await send(receiver) == Delivered(204)
    assert said == [LINE]
    assert len(receiver.received) == 1


async def test_one_of_two_secrets_is_enough(receiver: LocalReceiver) -> None:
    assert await send(receiver, OTHER, SECRET) == Delivered(204)


@pytest.mark.parametrize("age", [301.0, -390.0])
async def test_an_old_or_new_one_is_refused(
    age: float, receiver: LocalReceiver, said: list[str]
) -> None:
    outcome = await send(receiver, now=time.time() - age)

    assert isinstance(outcome, Retry)
    assert said == ["webhook refused: the webhook-timestamp is not of now"]
    assert not receiver.received


async def test_another_secret_is_refused(receiver: LocalReceiver, said: list[str]) -> None:
    outcome = await send(receiver, OTHER)

    assert isinstance(outcome, Retry)
    assert said == ["webhook refused: no webhook-signature fits the secret"]
    assert not receiver.received


async def test_another_body_is_refused(receiver: LocalReceiver, said: list[str]) -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [SECRET])
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver.url, data=BODY + " ", headers=headers) as response,
    ):
        assert response.status == 401
    assert said == ["webhook refused: no webhook-signature fits the secret"]


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_a_missing_header_is_refused(missing: str, receiver: LocalReceiver) -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [SECRET])
    del headers[missing]
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver.url, data=BODY, headers=headers) as response,
    ):
        assert response.status == 401
        assert missing in await response.text()


async def test_a_signed_body_that_is_no_transition(
    receiver: LocalReceiver, said: list[str]
) -> None:
    outcome = await send(receiver, body='{"type": "hello"}')

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("HTTP status 400")
    assert len(said) == 1


async def test_a_taken_port_is_named(receiver: LocalReceiver, said: list[str]) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])

    with pytest.raises(ReceiverPortTakenError, match=f"port {port} .* is taken"):
        await LocalReceiver(SECRET, said.append, port).start()


async def test_stopping_twice_is_harmless(receiver: LocalReceiver) -> None:
    await receiver.stop()
    await receiver.stop()
