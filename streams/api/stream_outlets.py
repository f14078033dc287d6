"""The way from the hub to one client of the live stream: written to without waiting.

What a client does not take is bounded here and in the kernel, which would let a buffer grow to
some megabytes otherwise.
"""

import asyncio
import socket
from typing import Protocol

SEND_BUFFER = 64 * 1024
"""Bytes that the kernel is to hold for a client; it takes twice as many, with what it needs."""
WRITE_BUFFER = 32 * 1024
"""Bytes in this process beyond which a client has much to take yet."""


class Outlet(Protocol):
    """The way to one client; nothing here waits."""

    @property
    def is_full(self) -> bool:
        """Whether the client has much to take yet, or is gone."""
        ...

    def write(self, piece: bytes) -> None:
        """Send a piece, whatever is to be sent before."""
        ...

    def end(self) -> None:
        """End the answer; may be called twice."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


class Subscription(Protocol):
    """What one client is told."""

    @property
    def greeting(self) -> bytes:
        """What the answer begins with."""
        ...

    def begin(self, outlet: Outlet) -> None:
        """Write to a client from now on."""
        ...

    def resume(self) -> None:
        """Write more, as the client has taken what was written."""
        ...

    def close(self) -> None:
        """Tell nothing more; may be called twice."""
        ...


class ClientOutlet:
    """Writes the pieces of an answer to a connection.

    Args:
        transport: of the connection; its head is written.
        chunked: whether pieces are sent as chunks (RFC 9112, 7.1).
    """

    def __init__(self, transport: asyncio.Transport, *, chunked: bool) -> None:
        self._transport = transport
        self._chunked = chunked
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        made = transport.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    @property
    def is_full(self) -> bool:
        """Whether the client has much to take yet, or is gone."""
        transport = self._transport
        return transport.is_closing() or transport.get_write_buffer_size() > WRITE_BUFFER

    def write(self, piece: bytes) -> None:
        """Send a piece, whatever is to be sent before."""
        if self._transport.is_closing():
            return
        if self._chunked:
            self._transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        else:
            self._transport.write(piece)

    def end(self) -> None:
        """End the answer; may be called twice."""
        if not self._done.done():
            self._done.set_result(None)

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()
        self.end()

    async def wait_ended(self) -> None:
        """Return once the answer has ended, or the client is gone."""
        await self._done
