"""Listening, limits, and mistakes."""

import asyncio
import contextlib
import socket

import pytest

from streams.api import server
from streams.configuration.http import HttpSettings
from streams.errors import UserError
from tests.api.conftest import NOW, StartApi, running
from tests.support.http import HttpAnswer, exchange
from tests.support.partitions import counts, holder
from tests.support.waiting import PATIENCE_S


async def test_a_port_that_is_taken_is_named(start: StartApi) -> None:
    api = await start(holder())
    with pytest.raises(UserError, match=rf"127.0.0.1:{api.port} is taken.*http.port, --port"):
        async with running(holder(), HttpSettings(port=api.port)):
            pass


async def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(UserError, match=r"203\.0\.113\.1:0 cannot be used"):
        async with running(holder(), HttpSettings(host="203.0.113.1", port=0, anonymous="never")):
            pass


async def test_health(start: StartApi) -> None:
    api = await start(holder())
    assert await api.get("/livez") == {"status": "live"}
    assert await api.get("/readyz") == {"status": "ready"}
    api.health.reasons = ("reading back partition 3", "no connection to Kafka")
    api.health.alive = False
    detail = await api.refused("/readyz", 503)
    assert detail == "not ready: reading back partition 3; no connection to Kafka"
    assert "no progress" in await api.refused("/livez", 503)


async def test_metrics(start: StartApi) -> None:
    answer = await (await start(holder())).ask("/metrics", headers={"Accept": "text/*"})
    assert answer.body == b"made_up 1.0\n"
    assert answer.headers["Content-Type"] == "text/plain; asked=text/*"
    assert answer.headers["Vary"] == "Accept"


async def test_what_is_not_there_is_404(start: StartApi) -> None:
    api = await start(holder())
    for target in ("/nothing", "/v1", "/v1/campaigns/", "/v1/campaigns/a/b/c/d", "//"):
        await api.refused(target, 404)
    assert "/openapi.json" in await api.refused("/nothing", 404)


async def test_a_wrong_method_is_405_and_names_the_right_ones(start: StartApi) -> None:
    api = await start(holder())
    answer = await api.ask("/v1/campaigns", method="DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    answer = await api.ask("/v1/deliveries/x/replay")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_head_is_get_without_a_body(start: StartApi) -> None:
    held = holder()
    held.add("c", int(NOW), counts({"SUCCESS": 1}))
    api = await start(held)
    for target in ("/v1/campaigns/c/windows", "/", "/livez", "/v1/campaigns/nobody"):
        got, head = await api.ask(target), await api.ask(target, method="HEAD")
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["Content-Length"] == str(len(got.body))


async def test_a_large_body_is_413(start: StartApi) -> None:
    api = await start(holder())
    detail = await api.refused("/v1/deliveries/x/replay", 413, method="POST", body=b"x" * 100_000)
    assert "65536" in detail


async def test_the_absolute_form_of_a_target_is_understood(start: StartApi) -> None:
    api = await start(holder())
    assert (await api.get(f"http://localhost:{api.port}/livez")) == {"status": "live"}


HEAD = b"Host: localhost\r\nConnection: close\r\n"
REPLAY = b"POST /v1/deliveries/x/replay HTTP/1.1\r\n" + HEAD


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\xc8\x01\r\n\r\n",  # TLS
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/3.0\r\n" + HEAD + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X: a\r\n" * 1000 + b"\r\n",
        b"GET /\xff HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a\x00 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET http://[ HTTP/1.1\r\n" + HEAD + b"\r\n",
        REPLAY + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        REPLAY + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX\r\n",
        REPLAY + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        REPLAY + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem_too(start: StartApi, data: bytes) -> None:
    answer = await exchange((await start(holder())).port, data)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json["status"] == 400
    assert "aaaa" not in answer.json["detail"]
    assert_careful(answer)


async def test_a_body_is_not_unpacked(start: StartApi) -> None:
    data = REPLAY + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde"
    assert (await exchange((await start(holder())).port, data)).status == 404


async def test_a_body_that_is_held_back_is_asked_for(start: StartApi) -> None:
    api = await start(holder())
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(REPLAY + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abcde")
        assert (await reader.readline()) == b"HTTP/1.1 404 Not Found\r\n"
    writer.close()


async def test_a_body_that_does_not_come_is_408(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONGEST_BODY", 0.05)
    api = await start(holder())
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(REPLAY + b"Content-Length: 5\r\n\r\nab")
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()) == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


async def test_who_does_not_read_an_answer_is_left(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 2**26
    monkeypatch.setattr(server, "LONGEST_WRITE", 0.2)
    monkeypatch.setattr(server, "load_assets", lambda: {"dashboard.html": b"x" * size})
    api = await start(holder())
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        await asyncio.sleep(1)
        taken = 0
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while chunk := await loop.sock_recv(client, 2**20):
                    taken += len(chunk)
    assert 0 < taken < size
    assert (await api.ask("/livez")).status == 200


async def test_a_defect_is_500_without_its_details(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await start(holder())
    monkeypatch.setattr(api.health, "live", lambda: 1 / 0)
    detail = await api.refused("/livez", 500)
    assert "defect" in detail
    assert "division" not in detail


async def test_every_answer_tells_browsers_to_be_careful(start: StartApi) -> None:
    api = await start(holder())
    for target in ("/", "/docs", "/v1/campaigns", "/nothing"):
        assert_careful(await api.ask(target))


def assert_careful(answer: HttpAnswer) -> None:
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] == "campaign-streams"
