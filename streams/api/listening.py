"""The sockets of the HTTP API, open before anything is told where they are."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import TypeAlias

from streams.configuration.addresses import is_loopback, url_of
from streams.configuration.http import HttpSettings
from streams.errors import UserError

_BACKLOG = 1024
"""Connections that wait to be accepted: after a worker has gone, its readers come all at once."""
_NOT_ON_THIS_MACHINE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class Listener:
    """Sockets that listen: one for each address of `http.host`, all with the same port.

    Args:
        settings: the host, the port, and the URL to advertise.
        sockets: at least one.
    """

    def __init__(self, settings: HttpSettings, sockets: Iterable[socket.socket]) -> None:
        self.sockets = list(sockets)
        addresses = [each.getsockname() for each in self.sockets]
        self.host = settings.host
        self.port: int = addresses[0][1]
        self.loopback_only = all(is_loopback(address[0]) for address in addresses)
        self.url = settings.advertised_url or url_of(
            settings.host, self.port, tls=settings.tls.certificate_file is not None
        )
        """Where others reach the API, without a slash at its end; null if nobody can follow it."""

    def close(self) -> None:
        """Close the sockets."""
        for each in self.sockets:
            each.close()


async def listen(settings: HttpSettings) -> Listener:
    """Open the sockets.

    Raises:
        UserError: if that is not possible at this host and port.
    """
    try:
        addresses = await _addresses(settings)
        sockets = _bound(addresses, settings.port)
    except OSError as error:
        raise UserError(_why(settings.host, settings.port, error)) from None
    return Listener(settings, sockets)


async def _addresses(settings: HttpSettings) -> list[_Address]:
    found = await asyncio.get_running_loop().getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def _bound(addresses: list[_Address], port: int) -> list[socket.socket]:
    """Bind each address; those that this machine has not are left out if it has another."""
    bound = []
    missing: OSError | None = None
    try:
        for family, address in addresses:
            try:
                made = socket.create_server(
                    (address[0], port, *address[2:]), family=family, backlog=_BACKLOG
                )
            except OSError as error:
                if error.errno not in _NOT_ON_THIS_MACHINE:
                    raise
                missing = error
                continue
            bound.append(made)
            # Of port 0 the system chooses one, which then is that of all addresses.
            port = made.getsockname()[1]
        if missing is not None and not bound:
            raise missing
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _why(host: str, port: int, error: OSError) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        reason = "is taken: choose another port, or 0 for any free one"
    elif error.errno == errno.EACCES:
        reason = "is not allowed for this user: choose a port from 1024 on"
    else:
        named = error.strerror if isinstance(error, socket.gaierror) else None
        what = named or os.strerror(error.errno or 0)
        reason = f"cannot be used ({what}): choose another http.host"
    return f"cannot listen: {where} {reason} (http.port, --port)"
