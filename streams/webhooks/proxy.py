"""A way out through an HTTP proxy: CONNECT (RFC 9110, 9.3.6) to an address that was checked here.

The proxy is asked for an address, never for a name: it would resolve the name itself, and nobody
here could judge the address. What is sent through the tunnel names the host as always, in TLS (SNI
and certificate) and in HTTP (Host). The proxy's own address is not judged, as the configuration
names it.
"""

import asyncio
import errno
import socket
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

import aiohappyeyeballs
import h11

from streams.webhooks.guard import AddressInfo
from streams.webhooks.resolver import Resolver

DEFAULT_PORT = 80
"""Of the scheme `http`."""
MOST_ADDRESSES = 3
"""How many of a name's addresses the proxy is asked for, one after the other."""
LARGEST_HEAD = 8 * 1024
"""Bytes of the proxy's answer; it has no body that is of interest."""


class ProxyError(OSError):
    """The proxy did not connect."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ECONNREFUSED, reason)


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """An HTTP proxy.

    Args:
        host: its name or address.
        port: its port.
        credentials: `user:password`; null for none.
    """

    host: str
    port: int
    credentials: str | None = None

    @classmethod
    def of(cls, url: str, credentials: str | None) -> Self:
        """Return the proxy with an `http` URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or DEFAULT_PORT, credentials)

    async def connect(self, resolver: Resolver, targets: Sequence[AddressInfo]) -> socket.socket:
        """Return a socket whose other end is one of these addresses, which were checked.

        Raises:
            OSError: if the proxy cannot be reached; `ProxyError` if it does not connect.
        """
        error: OSError | None = None
        for target in targets[:MOST_ADDRESSES]:
            try:
                return await self._tunnel(resolver, target[4][0], target[4][1])
            except ProxyError as refused:
                error = refused
        raise error or ProxyError("there is no address to ask the proxy for")

    async def _tunnel(self, resolver: Resolver, address: str, port: int) -> socket.socket:
        try:
            found = await resolver.addresses(self.host, self.port)
            connected = await aiohappyeyeballs.start_connection(found)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProxyError(f"the proxy cannot be reached: {reason}") from error
        try:
            await self._ask(connected, address, port)
        except BaseException:
            connected.close()
            raise
        return connected

    async def _ask(self, connected: socket.socket, address: str, port: int) -> None:
        loop, http = asyncio.get_running_loop(), h11.Connection(h11.CLIENT)
        authority = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        headers = [("Host", authority)]
        if self.credentials is not None:
            encoded = b64encode(self.credentials.encode()).decode()
            headers.append(("Proxy-Authorization", f"Basic {encoded}"))
        request = h11.Request(method="CONNECT", target=authority, headers=headers)
        with suppress(ConnectionError):  # who hangs up early may have said why
            await loop.sock_sendall(connected, http.send(request) or b"")
        status = await _status(connected, http, loop)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise ProxyError(f"the proxy answers {status} to CONNECT {authority}")


async def _status(
    connected: socket.socket, http: h11.Connection, loop: asyncio.AbstractEventLoop
) -> int:
    """Read the head of the answer to CONNECT, and not a byte of what follows it."""
    try:
        for _ in range(LARGEST_HEAD):
            # Byte by byte: what comes after is of the one that was asked for.
            http.receive_data(await loop.sock_recv(connected, 1))
            event = http.next_event()
            if isinstance(event, h11.Response):
                return int(event.status_code)
            if isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        raise ProxyError("the proxy does not answer as one does") from None
    except ConnectionError as error:
        raise ProxyError(f"the proxy broke off: {error.strerror}") from None
    raise ProxyError("the proxy did not come to the end of its answer")
