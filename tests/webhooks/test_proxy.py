"""Webhooks through a real proxy on loopback: what it is asked for, and what it cannot do."""

import socket
import ssl
import time
from base64 import b64encode
from pathlib import Path

import pytest

from streams.receivers.outcomes import Delivered, Outcome, Retry
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import AddressInfo, Guard
from streams.webhooks.proxy import LARGEST_HEAD, MOST_ADDRESSES, Proxy
from streams.webhooks.resolver import Resolver
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.hostile import Serve, raw_server, says, silence
from tests.support.ports import free_port
from tests.support.proxy import connect_proxy
from tests.support.receiver import Collector

TLS = Path(__file__).parents[1] / "support" / "tls"
LOOPBACK = Guard(["127.0.0.0/8"])


def resolver(*addresses: str) -> Resolver:
    """Resolve `localhost` and `ops.example` to these, and addresses to themselves."""

    def look_up(host: str, port: int) -> list[AddressInfo]:
        names = addresses if host in {"localhost", "ops.example"} else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, port)) for name in names]

    return Resolver(look_up)


async def attempt(
    url: str,
    proxy: Proxy,
    *addresses: str,
    guard: Guard = LOOPBACK,
    tls: ssl.SSLContext | None = None,
    direct: tuple[str, ...] = (),
) -> Outcome:
    client = WebhookClient(
        guard,
        allow_http=True,
        tls=tls,
        resolver=resolver(*(addresses or ("127.0.0.1",))),
        proxy=proxy,
        direct=direct,
    )
    return await client.send(webhook_to(url, timeout=10.0), delivery_of(), time.time())


async def test_the_proxy_is_asked_for_the_address_and_tls_is_with_the_name() -> None:
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    names: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: names.append(name)
    client_tls = ssl.create_default_context(cafile=TLS / "localhost.pem")
    async with Collector(tls=server_tls) as collector, connect_proxy() as proxy:
        outcome = await attempt(collector.url, Proxy("127.0.0.1", proxy.port), tls=client_tls)

        assert isinstance(outcome, Delivered)
        assert proxy.asked_for == [f"127.0.0.1:{collector.port}"]
        (arrival,) = await collector.wait_for(1)
        assert arrival.headers["host"] == f"localhost:{collector.port}"
        assert names == ["localhost"]
    assert "localhost" not in proxy.heads[0]
    assert "Authorization" not in proxy.heads[0]


async def test_a_wrong_certificate_is_found_behind_the_proxy_too() -> None:
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    async with Collector(tls=server_tls) as collector, connect_proxy() as proxy:
        outcome = await attempt(collector.url, Proxy("127.0.0.1", proxy.port))
        assert isinstance(outcome, Retry)
        assert outcome.failure == "tls"
        assert collector.arrivals == []


async def test_credentials_go_to_the_proxy_and_not_to_the_receiver() -> None:
    async with Collector() as collector, connect_proxy() as proxy:
        await attempt(collector.url, Proxy("127.0.0.1", proxy.port, "us:p:w"))
        (arrival,) = await collector.wait_for(1)
    assert "proxy-authorization" not in arrival.headers
    encoded = b64encode(b"us:p:w").decode()
    assert f"Proxy-Authorization: Basic {encoded}\r\n" in proxy.heads[0]
    assert "p:w" not in repr(Proxy("127.0.0.1", proxy.port, "us:p:w"))


async def test_an_address_that_is_refused_is_not_asked_for() -> None:
    async with Collector() as collector, connect_proxy() as proxy:
        through = Proxy("127.0.0.1", proxy.port)
        outcome = await attempt(collector.url, through, guard=Guard())
        assert isinstance(outcome, Retry)
        assert outcome.failure == "forbidden"
        # Of a name with both kinds only the public one.
        await attempt(
            "http://ops.example/", through, "169.254.169.254", "203.0.113.9", guard=Guard()
        )
        assert proxy.heads == []
        proxy.status = 502
        await attempt("http://ops.example/", through, "10.0.0.1", "198.41.0.4", guard=Guard())
    assert proxy.asked_for == ["198.41.0.4:80"]


async def test_what_the_proxy_refuses_is_tried_at_the_next_address_and_again_later() -> None:
    addresses = ("198.41.0.4", "199.9.14.201", "192.33.4.12", "199.7.91.13")
    async with connect_proxy(status=403) as proxy:
        through = Proxy("127.0.0.1", proxy.port)
        outcome = await attempt("https://ops.example/", through, *addresses, guard=Guard())
    assert isinstance(outcome, Retry)
    assert outcome.failure == "connection"
    assert "the proxy answers 403 to CONNECT 192.33.4.12:443" in outcome.reason
    assert proxy.asked_for == [f"{each}:443" for each in addresses[:MOST_ADDRESSES]]


async def test_a_receiver_can_be_left_out() -> None:
    async with Collector() as collector, connect_proxy() as proxy:
        outcome = await attempt(collector.url, Proxy("127.0.0.1", proxy.port), direct=("ops",))
        assert isinstance(outcome, Delivered)
        assert proxy.heads == []


async def test_a_proxy_that_is_not_there() -> None:
    outcome = await attempt("http://127.0.0.1:1/", Proxy("127.0.0.1", free_port()))
    assert isinstance(outcome, Retry)
    assert outcome.failure == "connection"
    assert "the proxy cannot be reached" in outcome.reason


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * LARGEST_HEAD), "end of its answer"),
        (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "does not answer as one does"),
        (says(), "does not answer as one does|end of its answer|broke off"),
        (silence, "no connection within"),
    ],
)
async def test_a_proxy_that_is_none(serve: Serve, reason: str) -> None:
    async with raw_server(serve) as url:
        port = int(url.split(":")[2].split("/")[0])
        outcome = await attempt("http://127.0.0.1:1/", Proxy("127.0.0.1", port))
    assert isinstance(outcome, Retry)
    assert any(each in outcome.reason for each in reason.split("|")), outcome.reason


async def test_what_a_proxy_says_after_its_answer_is_the_receivers() -> None:
    """A proxy can say anything in plain HTTP, as anybody on the way can; TLS is against that."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(says(answer)) as url:
        port = int(url.split(":")[2].split("/")[0])
        outcome = await attempt("http://127.0.0.1:1/", Proxy("127.0.0.1", port))
    assert isinstance(outcome, Retry)
    assert outcome.reason == "HTTP status 503"


def test_a_proxy_of_a_url() -> None:
    assert Proxy.of("http://proxy.example", None) == Proxy("proxy.example", 80)
    assert Proxy.of("http://[::1]:3128/", "a:b") == Proxy("::1", 3128, "a:b")
