"""One attempt, against real local servers that behave in every way they can."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TypeAlias

import pytest

from streams.webhooks.client import Receiver, WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.outcomes import (
    MAX_RETRY_AFTER_S,
    Delivered,
    Disable,
    GiveUp,
    Outcome,
    Retry,
    retry_after,
)
from tests.support.ports import free_port
from tests.support.receiver import SECRET, Answer, Collector, endless, hang, reset, status

TLS = Path(__file__).parents[1] / "support" / "tls"
LOOPBACK = Guard(["127.0.0.0/8", "::1/128"])
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


async def attempt(
    url: str,
    guard: Guard = LOOPBACK,
    *,
    allow_http: bool = True,
    patience: float = 10.0,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    receiver = Receiver("ops", url, (NEW_SECRET, SECRET), patience)
    async with WebhookClient(guard, allow_http=allow_http, user_agent="us/1", tls=tls) as client:
        return await client.send(receiver, "a.1", '{"summary":"ü"}', time.time())


async def answered(*answers: Answer, patience: float = 10.0) -> Outcome:
    async with Collector(*answers) as collector:
        outcome = await attempt(collector.url, patience=patience)
        assert len(collector.arrivals) == 1
        return outcome


async def test_what_arrives() -> None:
    async with Collector(status(202)) as collector:
        assert await attempt(collector.url) == Delivered(202)

        (arrival,) = await collector.wait_for(1)
        assert arrival.body == '{"summary":"ü"}'.encode()
        assert arrival.webhook_id == "a.1"
        assert arrival.headers["content-type"] == "application/json"
        assert arrival.headers["user-agent"] == "us/1"
        assert len(arrival.headers["webhook-signature"].split()) == 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 304, 400, 401, 404, 422, 500, 502])
async def test_other_answers_are_failures_that_are_tried_again(code: int) -> None:
    outcome = await answered(status(code))

    assert isinstance(outcome, Retry)
    assert outcome.failure == "status"
    assert str(code) in outcome.reason


async def test_a_redirect_is_not_followed() -> None:
    async with Collector() as secret_place:
        outcome = await answered(status(307, Location=secret_place.url))

        assert isinstance(outcome, Retry)
        assert secret_place.arrivals == []


async def test_a_redirect_to_the_metadata_service_is_not_followed() -> None:
    outcome = await answered(status(302, Location="http://169.254.169.254/latest/meta-data"))

    assert outcome == Retry("status", "HTTP status 302; redirects are not followed")


async def test_gone_disables() -> None:
    assert await answered(status(410, "moved away")) == Disable("HTTP status 410: moved away")


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_handed_on(code: int) -> None:
    outcome = await answered(status(code, Retry_After="120"))

    assert isinstance(outcome, Retry)
    assert outcome.retry_after == 120


async def test_the_reason_holds_a_short_excerpt() -> None:
    outcome = await answered(status(500, "no\n\x1b[31mdisk " + "x" * 10_000))

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("HTTP status 500: no [31mdisk xxx")
    assert len(outcome.reason) < 250


async def test_success_does_not_wait_for_the_body() -> None:
    assert await answered(endless(200, b"x", pause=0.01)) == Delivered(200)


async def test_an_endless_body_is_not_read() -> None:
    outcome = await answered(endless(500))

    assert isinstance(outcome, Retry)
    assert len(outcome.reason) < 250


async def test_no_answer() -> None:
    outcome = await answered(hang, patience=0.3)

    assert outcome == Retry("timeout", "no answer within 0.3 s")


async def test_a_broken_connection() -> None:
    outcome = await answered(reset)

    assert isinstance(outcome, Retry)
    assert outcome.failure == "connection"


async def test_nobody_listens() -> None:
    outcome = await attempt(f"http://127.0.0.1:{free_port()}/hook?token=hidden")

    assert isinstance(outcome, Retry)
    assert outcome.failure == "connection"
    assert "hidden" not in outcome.reason


async def test_a_name_that_does_not_resolve() -> None:
    outcome = await attempt("http://no-such-host.invalid/hook?token=hidden")

    assert isinstance(outcome, Retry)
    assert outcome.failure == "dns"
    assert "no-such-host.invalid" in outcome.reason
    assert "hidden" not in outcome.reason


Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve) -> AsyncIterator[str]:
    """Listen, and leave nothing open at the end."""
    tasks: list[asyncio.Task[None]] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(closing(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=hidden"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"",
    ],
)
async def test_an_answer_that_is_not_http(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(serve) as url:
        outcome = await attempt(url)

    assert isinstance(outcome, Retry)
    assert outcome.failure in {"protocol", "connection"}
    assert "hidden" not in outcome.reason


async def test_headers_that_drip_run_into_the_timeout() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(drip) as url:
        outcome = await attempt(url, patience=0.5)

    assert outcome == Retry("timeout", "no answer within 0.5 s")


# Where a connection may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_by_default(host: str) -> None:
    async with Collector() as collector:
        url = collector.url.replace("127.0.0.1", host)

        outcome = await attempt(url, Guard())

        assert isinstance(outcome, Retry)
        assert outcome.failure == "forbidden"
        assert "delivery.allow_networks" in outcome.reason
        assert collector.arrivals == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0"])
async def test_an_odd_notation_gains_nothing(host: str) -> None:
    async with Collector() as collector:
        url = collector.url.replace("127.0.0.1", host)

        assert not isinstance(await attempt(url, Guard()), Delivered)
        assert collector.arrivals == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Collector() as proxy, Collector() as collector:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")

        assert isinstance(await attempt(collector.url), Delivered)
        assert proxy.arrivals == []


async def test_http_has_to_be_allowed() -> None:
    async with Collector() as collector:
        outcome = await attempt(collector.url, allow_http=False)

        assert isinstance(outcome, GiveUp)
        assert "delivery.allow_http" in outcome.reason
        assert collector.arrivals == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://", "nonsense", "https://[::1"])
async def test_a_url_that_cannot_be_used(url: str) -> None:
    outcome = await attempt(url)

    assert isinstance(outcome, GiveUp)
    assert outcome.failure == "protocol"


# TLS


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    return context


@pytest.fixture
def client_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=TLS / "localhost.pem")


async def test_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with Collector(tls=server_tls) as collector:
        assert isinstance(await attempt(collector.url, tls=client_tls), Delivered)


async def test_a_certificate_of_nobody(server_tls: ssl.SSLContext) -> None:
    async with Collector(tls=server_tls) as collector:
        outcome = await attempt(collector.url)

        assert isinstance(outcome, Retry)
        assert outcome.failure == "tls"
        assert "certificate" in outcome.reason
        assert collector.arrivals == []


async def test_a_certificate_of_another_host(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with Collector(tls=server_tls) as collector:
        url = collector.url.replace("localhost", "127.0.0.1")

        outcome = await attempt(url, tls=client_tls)

        assert isinstance(outcome, Retry)
        assert outcome.failure == "tls"
        assert collector.arrivals == []


async def test_https_to_a_server_without_tls() -> None:
    async with Collector() as collector:
        outcome = await attempt(collector.url.replace("http:", "https:"))

        assert isinstance(outcome, Retry)
        assert outcome.failure == "tls"


# Retry-After

NOW = 1_790_000_000.0


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("0", 0.0),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        (in_seconds(90), 90.0),
        (in_seconds(-90), 0.0),
        (in_seconds(10**6), MAX_RETRY_AFTER_S),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after(value, NOW) == expected


async def test_the_client_has_to_be_open() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await WebhookClient(LOOPBACK).send(Receiver("ops", "https://x", ()), "a.1", "", 0.0)


@pytest.mark.parametrize("show", [repr, str])
def test_a_receiver_does_not_show_its_secrets(show: Callable[[object], str]) -> None:
    text = show(Receiver("ops", "https://example.com/T0/secret", (SECRET,)))

    assert "ops" in text
    assert "secret" not in text.replace("secrets", "")
    assert SECRET not in text
