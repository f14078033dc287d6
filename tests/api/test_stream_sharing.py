"""Readers of the live stream share questions and bytes, and none of them costs the others much."""

import asyncio
import socket
from collections import Counter
from contextlib import AsyncExitStack
from http import HTTPStatus

import pytest

from streams.api import changes, stream
from streams.api.listening import listen
from streams.api.stream_outlets import SEND_BUFFER, WRITE_BUFFER, ClientOutlet
from streams.configuration.http import HttpSettings
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.event_stream import EventStream, reading
from tests.support.partitions import MemoryHolder, counts, holder
from tests.support.waiting import until

T0 = int(NOW) - 60
MANY = 40
PIECE = b"x" * 16 * 1024
RECEIVE_BUFFER = 4096


async def connected(
    stack: AsyncExitStack, url: str, count: int, last_event_id: str | None = None
) -> list[EventStream]:
    """Connect many at once; return once each of them is answered."""
    enter = stack.enter_async_context
    return await asyncio.gather(
        *(enter(reading(url, last_event_id=last_event_id)) for _ in range(count))
    )


def questions(api: RunningApi) -> int:
    """How often another worker has asked this one for changes."""
    return Counter(path for _, path, _ in api.answered)["/v1/changes"]


async def two_workers(start: StartApi) -> tuple[MemoryHolder, RunningApi, RunningApi]:
    """Start one worker that holds everything, and one that asks it."""
    held = holder()
    away = await start(held)
    none = holder(numbers=())
    none.others = dict.fromkeys(range(4), away.url)
    return held, away, await start(none)


async def test_who_connects_at_once_is_asked_for_together(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "INTERVAL", 0.5)
    held, away, api = await two_workers(start)
    async with AsyncExitStack() as stack:
        readers = await connected(stack, api.url, MANY)
        assert questions(away) < MANY / 2
        held.add("c", T0, counts({"SUCCESS": 1}))
        away.commit()
        for each in readers:
            await each.until("window", campaign_id="c")


async def test_who_comes_back_at_once_is_told_from_one_answer(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "INTERVAL", 0.5)
    held, away, api = await two_workers(start)
    async with reading(api.url) as events:
        held.add("before", T0, counts({"SUCCESS": 1}))
        away.commit()
        await events.until("window", campaign_id="before")
        last = events.last_event_id
    held.add("meanwhile", T0, counts({"SUCCESS": 1}))
    away.commit()
    asked = questions(away)
    async with AsyncExitStack() as stack:
        for each in await connected(stack, api.url, MANY, last):
            window = await each.until("window")
            assert window["campaign_id"] == "meanwhile"
        assert questions(away) - asked < MANY / 2


async def test_only_who_was_away_for_too_long_is_told_so(start: StartApi) -> None:
    held = holder(count=1)
    api = await start(held)
    ids = []
    async with reading(api.url) as events:
        for name in ("first", "second"):
            held.add(name, T0, counts({"SUCCESS": 1}))
            api.commit()
            await events.until("window", campaign_id=name)
            ids.append(events.last_event_id)
        held.add("third", T0, counts({"SUCCESS": 1}))
        api.commit()
        await events.until("window", campaign_id="third")
    changed = held.here[0].changed
    changed.complete_from = changed.since(0, 10**9)[-2].offset + 1
    async with (
        reading(api.url, last_event_id=ids[0]) as old,
        reading(api.url, last_event_id=ids[1]) as recent,
    ):
        assert await old.until("missed") == {"partitions": [0]}
        assert (await recent.until("window"))["campaign_id"] == "third"
        assert await recent.nothing() == []


async def test_who_only_asks_for_the_head_reads_nothing(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_READERS", 1)
    api = await start(holder())
    assert (await api.ask("/v1/stream", method="HEAD")).status == 200
    async with reading(api.url) as events:
        await events.until("health")


async def test_who_reads_nothing_is_let_go_and_keeps_nobody_waiting(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST_WRITE", 0.5)
    held = holder()
    api = await start(held)
    names = [f"{n}-{'x' * 8_000}" for n in range(100)]
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        stuck.connect(("127.0.0.1", api.port))
        stuck.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        async with reading(api.url) as quick:
            await quick.until("health")
            for _ in range(3):
                for name in names:
                    held.add(name, T0, counts({"SUCCESS": 1}))
                api.commit()
                told = {(await quick.until("window"))["campaign_id"] for _ in names}
                assert told == set(names)
            monkeypatch.setattr(stream, "MOST_READERS", 2)

            async def is_room() -> bool:
                return (await api.ask("/v1/stream", method="HEAD")).status == HTTPStatus.OK

            await until(is_room)


async def test_a_client_of_http_1_0_gets_no_chunks(start: StartApi) -> None:
    held = holder()
    api = await start(held, HttpSettings(port=0, anonymous="always"))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /v1/stream?type=window HTTP/1.0\r\n\r\n")
    try:
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200")
            assert b"chunked" not in head
            assert await reader.readuntil(b"\n\n") == b"retry: 1000\n\n"
            held.add("c", T0, counts({"SUCCESS": 1}))
            api.commit()
            assert (await reader.readuntil(b"\n\n")).startswith(b"id: ")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_what_nobody_takes_is_bounded() -> None:
    """Both what the process has and what the kernel has for one connection."""
    listener = await listen(HttpSettings(port=0))
    server_side: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            server_side.set_result(transport)

    server = await asyncio.get_running_loop().create_server(Server, sock=listener.sockets[0])
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        client.connect(("127.0.0.1", listener.port))
        outlet = ClientOutlet(await server_side, chunked=True)
        written = 0
        while not outlet.is_full:
            outlet.write(PIECE)
            written += len(PIECE)
            await asyncio.sleep(0)
        assert written <= 2 * SEND_BUFFER + WRITE_BUFFER + 4 * RECEIVE_BUFFER + len(PIECE)
        outlet.abort()
        await outlet.wait_ended()
        assert outlet.is_full
    server.close()


async def test_who_was_told_a_part_misses_nothing_beside_others(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was told a part is ahead by its commit, and behind by its offset."""
    held = holder(count=1)
    api = await start(held)
    begin = (await api.get("/v1/changes"))["next"]
    ids = {}
    for name in "abc":
        for n in range(5):
            held.add(f"{name}{n}", T0, counts({"SUCCESS": 1}))
        api.commit()
        ids[name] = (await api.get("/v1/changes"))["next"]
    monkeypatch.setattr(changes, "MOST_WINDOWS", 5)
    part = await api.get(f"/v1/changes?since={begin}")
    assert part["more"]
    monkeypatch.setattr(changes, "MOST_WINDOWS", 2_000)
    monkeypatch.setattr(stream, "INTERVAL", 0.5)
    wanted = {f"{name}{n}" for name in "abc" for n in range(5)}
    wanted -= {each["campaign_id"] for each in part["windows"]}
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(reading(api.url))
        await running.until("health")
        behind, _ = await asyncio.gather(
            *(
                stack.enter_async_context(reading(api.url, last_event_id=last))
                for last in (part["next"], ids["b"])
            )
        )
        while wanted:
            wanted.discard((await behind.until("window"))["campaign_id"])
