"""A small HTTP proxy on loopback that knows CONNECT alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.support.hostile import raw_server


@dataclass
class ConnectProxy:
    """What it was asked for, and how it answers.

    Attributes:
        port: where it listens.
        status: its answer; only 200 makes a tunnel.
        heads: the requests, to the empty line.
    """

    port: int = 0
    status: int = 200
    heads: list[str] = field(default_factory=list)

    @property
    def asked_for(self) -> list[str]:
        return [head.split()[1] for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        host, _, port = head.split()[1].rpartition(":")
        writer.write(f"HTTP/1.1 {self.status} Said so\r\nVia: 1.1 test\r\n\r\n".encode())
        if self.status != 200:
            return
        upstream = await asyncio.open_connection(host.strip("[]"), int(port))
        with contextlib.closing(upstream[1]):
            back = asyncio.create_task(_copy(upstream[0], writer))
            try:
                await _copy(reader, upstream[1])
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def connect_proxy(status: int = 200) -> AsyncIterator[ConnectProxy]:
    """Lend a proxy that listens on loopback."""
    proxy = ConnectProxy(status=status)

    async with raw_server(proxy.serve) as url:
        proxy.port = int(url.split(":")[2].split("/")[0])
        yield proxy
