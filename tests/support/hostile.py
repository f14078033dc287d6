"""Receivers that answer as nobody should, each a function that serves one connection."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHUNKED = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(64 * 1024 * 1024))


def says(*parts: bytes, then: bytes = b"", pause: float = 0.0, asked: bool = True) -> Serve:
    """Serve: read the request, say some parts, and `then` the same for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked:
            await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while then:
            writer.write(then)
            await writer.drain()
            await asyncio.sleep(pause)

    return serve


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a header byte by byte, as fast as it goes, each in a packet of its own."""
    await reader.readuntil(b"\r\n\r\n")
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.001)


async def silence(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Accept the connection, and neither read nor say anything."""
    await asyncio.Event().wait()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of the headers."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


FLOODS: dict[str, Serve] = {
    "100 Continue": says(then=b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
    "103 with headers": says(then=b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 4000),
    "header lines": says(b"HTTP/1.1 200 OK\r\n", then=b"X: y\r\n" * 10_000),
    "empty header lines": says(b"HTTP/1.1 200 OK\r\n", then=b"a:\n" * 10_000),
    "one header": says(b"HTTP/1.1 200 OK\r\nX: ", then=b"y" * 65536),
    "status line": says(b"HTTP/1.1 200 ", then=b"y" * 65536),
    "line ends": says(then=b"\r\n" * 10_000),
    "no line end": says(then=b"x" * 65536),
    "garbage": says(then=bytes(range(256)) * 256),
    "HTTP/0.9": says(then=b"<html><body>" * 5000),
    "dripping": drip,
    "unasked": says(then=b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, asked=False),
}
"""They do not come to an end before there is an answer."""

ENDLESS_BODIES: dict[str, Serve] = {
    "body": says(b"HTTP/1.1 500 Oh\r\n\r\n", then=b"no\n" * 20_000),
    "chunk extension": says(CHUNKED + b"1;", then=b"x" * 65536),
    "chunk size": says(CHUNKED, then=b"0" * 65536),
    "small chunks": says(CHUNKED, then=b"1\r\nx\r\n" * 10_000),
    "trailers": says(CHUNKED + b"0\r\n", then=b"X: y\r\n" * 10_000),
    "slow body": says(b"HTTP/1.1 500 Oh\r\n\r\n", then=b"x", pause=0.01),
    "compressed": says(
        b"HTTP/1.1 500 Oh\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB
    ),
}
"""They say that they failed, and do not stop to explain."""

BROKEN: dict[str, Serve] = {
    "nothing": says(),
    "reset": reset,
    "half a status line": says(b"HTTP/1.1 20"),
    "half the headers": says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"),
    "only interim answers": says(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "no status": says(b"HTTP/1.1 \r\n\r\n"),
    "status of two digits": says(b"HTTP/1.1 20 OK\r\n\r\n"),
    "status of four digits": says(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "status 000": says(b"HTTP/1.1 000 OK\r\n\r\n"),
    "switching protocols": says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "HTTP/2": says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "SSH": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
    "length that is none": says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    "null byte in a header": says(b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n"),
}
"""What they say is no answer, or not all of it."""


@asynccontextmanager
async def raw_server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Listen on loopback, lend the URL, and leave nothing open at the end."""
    tasks: list[asyncio.Task[None]] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(closing(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        yield f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}/hook?token=hidden"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def twenty() -> dict[str, Serve]:
    """Twenty kinds of them, by name."""
    kinds = {**FLOODS, **ENDLESS_BODIES, "silence": silence}
    assert len(kinds) == 20
    return kinds


async def serve_all() -> None:
    """Be all twenty of them, until cancelled; say on a line of its own where each is."""
    async with AsyncExitStack() as stack:
        for name, serve in twenty().items():
            url = await stack.enter_async_context(raw_server(serve))
            sys.stdout.write(f"{name}\t{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_all())
