"""How much is read of a connection, and in how many turns of the event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streams.webhooks.wire import LARGEST_ANSWER, MOST_READS, READ_BYTES, TooMuchError, Wire


@asynccontextmanager
async def wire() -> AsyncIterator[tuple[Wire, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    with there:
        made = Wire(here)
        try:
            yield made, there
        finally:
            made.close()


async def flood(there: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(there, b"x" * 65536)


async def test_no_more_bytes_are_read_than_an_answer_may_have() -> None:
    async with wire() as (made, there):
        flooding = asyncio.create_task(flood(there))
        received = 0
        while received < LARGEST_ANSWER:
            data = await made.receive()
            assert 0 < len(data) <= READ_BYTES
            received += len(data)
        with pytest.raises(TooMuchError, match=f"more than {LARGEST_ANSWER} bytes"):
            await made.receive()
        flooding.cancel()

    assert received == LARGEST_ANSWER


async def test_no_more_pieces_are_read_than_an_answer_may_have() -> None:
    async with wire() as (made, there):
        for _ in range(MOST_READS):
            there.send(b"x")
            assert await made.receive() == b"x"
        there.send(b"x")
        with pytest.raises(TooMuchError, match=f"more than {MOST_READS} pieces"):
            await made.receive()


async def test_others_have_their_turn_between_two_reads() -> None:
    """Whatever has arrived already: each read is a turn of the loop."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with wire() as (made, there):
        there.send(b"x" * (8 * READ_BYTES))
        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        for read in range(8):
            before = turns
            assert len(await made.receive()) == READ_BYTES
            assert turns > before, read
        counting.cancel()


async def test_the_end_is_nothing() -> None:
    async with wire() as (made, there):
        there.send(b"x")
        there.shutdown(socket.SHUT_WR)
        assert await made.receive() == b"x"
        assert await made.receive() == b""
        assert await made.receive() == b""
