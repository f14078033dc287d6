"""One attempt, against real local servers that behave in every way they can."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from streams.receivers.outcomes import (
    MAX_RETRY_AFTER_S,
    Delivered,
    Disable,
    GiveUp,
    Outcome,
    Retry,
    retry_after,
)
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import AddressInfo, Guard
from streams.webhooks.resolver import Resolver, system_look_up
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.hostile import (
    BROKEN,
    ENDLESS_BODIES,
    FLOODS,
    Serve,
    raw_server,
    says,
    silence,
)
from tests.support.ports import free_port
from tests.support.receiver import (
    PATIENCE_S,
    SECRET,
    Answer,
    Collector,
    endless,
    hang,
    reset,
    status,
)

TLS = Path(__file__).parents[1] / "support" / "tls"
LOOPBACK = Guard(["127.0.0.0/8", "::1/128"])
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    return context


@pytest.fixture
def client_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=TLS / "localhost.pem")


async def attempt(
    url: str,
    guard: Guard = LOOPBACK,
    *,
    allow_http: bool = True,
    patience: float = 10.0,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    receiver = webhook_to(url, "ops", NEW_SECRET, SECRET, timeout=patience)
    client = WebhookClient(guard, allow_http=allow_http, user_agent="us/1", tls=tls)
    return await client.send(receiver, delivery_of("a.1", '{"summary":"ü"}'), time.time())


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


@pytest.mark.parametrize("code", [301, 404, 413, 429, 500, 502, 503, 504])
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


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_flood_before_an_answer_is_no_answer(
    kind: str, scheme: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with raw_server(FLOODS[kind], server_tls if scheme == "https" else None) as url:
        outcome = await attempt(url, patience=PATIENCE_S, tls=client_tls)

    assert isinstance(outcome, Retry)
    assert outcome.failure == "protocol", outcome
    assert len(outcome.reason) < 250
    assert outcome.reason.isprintable()


@pytest.mark.parametrize("kind", ENDLESS_BODIES)
async def test_of_an_endless_body_only_the_beginning_is_read(kind: str) -> None:
    async with raw_server(ENDLESS_BODIES[kind]) as url:
        outcome = await attempt(url, patience=PATIENCE_S)

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("HTTP status 500")
    assert len(outcome.reason) < 250


@pytest.mark.parametrize("kind", BROKEN)
async def test_half_an_answer_is_none(kind: str) -> None:
    async with raw_server(BROKEN[kind]) as url:
        outcome = await attempt(url, patience=PATIENCE_S)

    assert isinstance(outcome, Retry)
    assert outcome.failure in {"protocol", "connection"}, outcome
    assert "hidden" not in outcome.reason
    assert outcome.reason.isprintable()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n", Delivered(204)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Delivered(200)),
        (b"HTTP/1.0 200 OK\n\n", Delivered(200)),
        (b"HTTP/1.1 299\r\n\r\n", Delivered(299)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx", Delivered(200)),
        (
            b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nwhy",
            Retry("status", "HTTP status 500: why"),
        ),
        (b"HTTP/1.1 999 Oh\r\n\r\n", Retry("status", "HTTP status 999")),
    ],
)
async def test_unusual_answers_that_are_answers(answer: bytes, expected: Outcome) -> None:
    async with raw_server(says(answer)) as url:
        assert await attempt(url, patience=PATIENCE_S) == expected


async def test_an_early_answer_to_what_is_not_read_counts() -> None:
    """More than the system's buffers take: the receiver answers, and hangs up."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_server(refuse) as url:
        client = WebhookClient(LOOPBACK, allow_http=True)
        receiver = webhook_to(url, timeout=PATIENCE_S)
        outcome = await client.send(receiver, delivery_of("a.1", "x" * 1_000_000), time.time())

    assert outcome == Delivered(200)


@pytest.mark.parametrize(
    "serve", [silence, says(b"HTTP/1.1 200 OK\r\n", then=b"X: y\r\n", pause=0.05)]
)
async def test_who_takes_too_long_runs_into_the_timeout(serve: Serve) -> None:
    async with raw_server(serve) as url:
        outcome = await attempt(url, patience=0.3)

    assert outcome == Retry("timeout", "no answer within 0.3 s")


async def test_tls_that_is_never_negotiated() -> None:
    async with raw_server(silence) as url:
        outcome = await attempt(url.replace("http:", "https:"), patience=0.3)

    assert outcome == Retry("timeout", "no answer within 0.3 s")


async def test_garbage_instead_of_tls() -> None:
    async with raw_server(says(then=b"\x16\x03\x03\x40\x00" + bytes(16384), asked=False)) as url:
        outcome = await attempt(url.replace("http:", "https:"), patience=PATIENCE_S)

    assert isinstance(outcome, Retry)
    assert outcome.failure in {"tls", "protocol"}


async def test_a_name_that_is_not_found_in_time_keeps_no_other_waiting() -> None:
    released = threading.Event()

    def look_up(host: str, port: int) -> list[AddressInfo]:
        if host == "silent.example":
            released.wait(PATIENCE_S)
        return system_look_up("127.0.0.1", port)

    async with Collector() as collector:
        client = WebhookClient(LOOPBACK, allow_http=True, resolver=Resolver(look_up))
        silent = webhook_to("http://silent.example/", "silent", timeout=60.0)
        waiting = [
            asyncio.create_task(client.send(silent, delivery_of(f"b.{n}"), 0.0)) for n in range(100)
        ]
        await asyncio.sleep(0.05)
        good = webhook_to(collector.url.replace("127.0.0.1", "good.example"))
        assert await client.send(good, delivery_of(), time.time()) == Delivered(204)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("look-up-silent.example") == 1
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        released.set()


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
        # NOW is Monday, 21 September 2026, 14:13:20.
        ("Monday, 21-Sep-26 14:13:50 GMT", 30.0),
        ("Mon Sep 21 14:13:50 2026", 30.0),
        ("Tue Sep  1 14:13:50 2026", 0.0),
        ("Mon, 21 Sep 2026 14:13:50 UTC", 30.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-76 08:49:37 GMT", MAX_RETRY_AFTER_S),
        ("Sunday, 06-Nov-77 08:49:37 GMT", 0.0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", 0.0),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:60 GMT", MAX_RETRY_AFTER_S),
        ("Mon, 01 Jan 0000 00:00:00 GMT", None),
        ("Mon, 31 Feb 2027 00:00:00 GMT", None),
        ("Mon, 01 Jan 10000 00:00:00 GMT", None),
        ("Mon, 01 Jan 2027 24:00:00 GMT", None),
        ("Mon, 21 Sep 2026 14:13:50 +9999", None),
        ("Mon, 21 Sep 2026 14:13:50 " + "x" * 10_000, None),
        ("1e9999", None),
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


@pytest.mark.parametrize("show", [repr, str])
def test_a_receiver_does_not_show_its_secrets(show: Callable[[object], str]) -> None:
    text = show(webhook_to("https://example.com/T0/secret"))

    assert "ops" in text
    assert "secret" not in text.replace("secrets", "")
    assert SECRET not in text
