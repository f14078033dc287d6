"""One connection to a receiver, from which only so much is read.

A receiver decides what it sends, how much of it and in which pieces. A client that reads whatever
has arrived, as often as something has, lets it decide how long the event loop is busy as well. Here
one read is at most `READ_BYTES`, others get their turn after each, and there is an end to it: bytes
(as they are on the network, TLS included) and reads of one connection are limited.
"""

import asyncio
import socket
import ssl

READ_BYTES = 4096
LARGEST_ANSWER = 64 * 1024
"""Bytes of one connection, those of the TLS handshake included."""
MOST_READS = 256
"""An answer comes in a handful of pieces; many are made on purpose."""
SHORTEST_READ = 512
"""Bytes of a piece, on average, of a body that is needed."""


class TooMuchError(Exception):
    """The receiver sends more than there is to say."""


class Wire:
    """Sends to and receives from a connected, non-blocking socket.

    Args:
        connected: the socket.
        needed: bytes of a body that is needed: so many more may be received.
    """

    def __init__(self, connected: socket.socket, needed: int = 0) -> None:
        self._socket = connected
        self._most_bytes = self._bytes_left = LARGEST_ANSWER + needed
        self._most_reads = self._reads_left = MOST_READS + needed // SHORTEST_READ
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Negotiate TLS with a host that has to prove its name.

        Raises:
            ssl.SSLError: if that fails; `SSLCertVerificationError` if the certificate is no proof.
            OSError: if the connection breaks.
            TooMuchError: if the other side does not come to an end.
        """
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                break
        await self._flush()
        self._tls = tls

    async def send(self, data: bytes) -> None:
        """Send all of the data.

        Raises:
            OSError: if the connection breaks.
        """
        if self._tls is None:
            await self._send_raw(data)
            return
        view = memoryview(data)
        while view:
            try:
                view = view[self._tls.write(view) :]
            except ssl.SSLWantReadError:
                await self._fill()
            await self._flush()

    async def receive(self) -> bytes:
        """Return what has arrived next, at most `READ_BYTES`; nothing at the end.

        Raises:
            OSError: if the connection breaks.
            TooMuchError: if more arrived than one connection may bring.
        """
        if self._tls is None:
            return await self._receive_raw()
        while True:
            try:
                return self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def close(self) -> None:
        """Let go of the connection, whatever is still on the way."""
        self._socket.close()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._send_raw(self._outgoing.read())

    async def _fill(self) -> None:
        data = await self._receive_raw()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _send_raw(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _receive_raw(self) -> bytes:
        if not self._reads_left or not self._bytes_left:
            raise TooMuchError(
                f"more than {self._most_bytes} bytes"
                if self._reads_left
                else f"an answer in more than {self._most_reads} pieces"
            )
        # It returns without waiting if something is there already.
        await asyncio.sleep(0)
        limit = min(READ_BYTES, self._bytes_left)
        data = await asyncio.get_running_loop().sock_recv(self._socket, limit)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        return data
