"""HTTP as it goes over the wire: nothing is normalised, so the server sees what the test wrote."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST_ANSWER = 30.0


@dataclass(frozen=True)
class HttpAnswer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def request(  # noqa: PLR0913 - what a request is made of
    port: int,
    target: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """Send one request over a connection of its own."""
    lines = {"Host": f"localhost:{port}", "Connection": "close", **(headers or {})}
    if body:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    first = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode(errors="surrogateescape")
    return await exchange(port, first + body, host, tls)


async def exchange(
    port: int, data: bytes, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> HttpAnswer:
    """Send bytes, read until the server closes."""
    async with asyncio.timeout(LONGEST_ANSWER):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        writer.write(data)
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    named = (line.partition(": ") for line in lines)
    return HttpAnswer(int(first.split()[1]), {n.title(): v for n, _, v in named}, body)
