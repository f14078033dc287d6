"""Names of receivers, looked up without keeping anybody else waiting.

The system's resolver blocks a thread for as long as a name server is silent, half a minute or more.
The event loop shares a handful of threads among all who look names up, the Kafka client included:
a few receivers with such a name server would keep everybody from connecting anywhere.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TypeAlias

from streams.webhooks.guard import AddressInfo

LookUp: TypeAlias = Callable[[str, int], list[AddressInfo]]
_Result: TypeAlias = "asyncio.Future[list[AddressInfo]]"


def system_look_up(host: str, port: int) -> list[AddressInfo]:
    """Ask the system's resolver for the addresses of a TCP service; blocks."""
    found: list[AddressInfo] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[assignment]  # addresses without IPv6 support are not met
    return found


class Resolver:
    """Looks names up: one lookup a name at a time, each in a thread of its own.

    Args:
        look_up: finds the addresses of a host and port; may block.
    """

    def __init__(self, look_up: LookUp = system_look_up) -> None:
        self._look_up = look_up
        self._running: dict[tuple[str, int], _Result] = {}

    async def addresses(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses of a host.

        Raises:
            OSError: if there are none, or nobody says.
        """
        result = self._running.get((host, port)) or self._start(host, port)
        # One of several who wait may be cancelled.
        return await asyncio.shield(result)

    def _start(self, host: str, port: int) -> _Result:
        loop = asyncio.get_running_loop()
        result: _Result = loop.create_future()
        self._running[host, port] = result
        result.add_done_callback(lambda done: self._ended(host, port, done))

        def run() -> None:
            found: list[AddressInfo] = []
            error: Exception | None = None
            try:
                found = self._look_up(host, port)
            except Exception as raised:  # noqa: BLE001 - handed to those who wait
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_set, result, found, error)

        # A daemon: the process may end before the system's resolver gives up.
        threading.Thread(target=run, name=f"look-up-{host}", daemon=True).start()
        return result

    def _ended(self, host: str, port: int, result: _Result) -> None:
        del self._running[host, port]
        if not result.cancelled():
            result.exception()  # there may be nobody left who waits for it


def _set(result: _Result, found: list[AddressInfo], error: Exception | None) -> None:
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(found)
