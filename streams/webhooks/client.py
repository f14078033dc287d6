"""The way out to receivers: one attempt, over a connection that is guarded."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import aiohappyeyeballs
from yarl import URL

from streams.domain.deliveries import Delivery
from streams.domain.transitions import Transition
from streams.receivers.outcomes import Answer, GiveUp, Outcome, Retry
from streams.receivers.receiver import Receiver, Request, ResentReceiver
from streams.webhooks import exchange, failures
from streams.webhooks.guard import AddressRefusedError, Guard
from streams.webhooks.resolver import Resolver
from streams.webhooks.wire import Wire

CONNECT_TIMEOUT_S = 5.0
MOST_ADDRESSES = 16
"""How many of a name's addresses are tried."""
NEXT_ADDRESS_AFTER_S = 0.25
"""RFC 8305: how long to wait for one address before the next one is tried beside it."""


class WebhookClient:
    """Sends what receivers are told, as their kinds say.

    Each attempt has a connection of its own: alerts are rare, and a kept connection that the other
    side has closed meanwhile would cost a POST its first attempt. Proxies and credentials of the
    environment are not used, redirects not followed, cookies not kept.

    Args:
        guard: lets connections out.
        allow_http: whether a URL without TLS may be used.
        user_agent: what the requests say that they are from.
        tls: for certificates other than the system's authorities know.
        resolver: finds addresses.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        allow_http: bool = False,
        user_agent: str = "campaign-streams",
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._guard = guard
        self._allow_http = allow_http
        self._user_agent = user_agent
        self._tls = tls or ssl.create_default_context()
        self._resolver = resolver or Resolver()

    @property
    def tls(self) -> ssl.SSLContext:
        """How certificates are checked."""
        return self._tls

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        """Make one attempt, at `now` (s, UTC)."""
        return await _within(receiver.timeout, receiver.send(delivery, now, self))

    async def resend(
        self, receiver: ResentReceiver, firing: Sequence[Transition], now: float
    ) -> Outcome:
        """Tell a receiver at `now` (s, UTC) that some alerts go on firing."""
        request = receiver.render_firing(firing, now)
        return await _within(receiver.timeout, receiver.post(request, now, self))

    async def exchange(self, request: Request) -> Answer | Outcome:
        """Send an HTTP request; return its answer, or say why there is none."""
        url = _parsed(request.url)
        if url is None:
            return GiveUp("protocol", "the URL of the receiver cannot be read")
        if url.scheme != "https" and not self._allow_http:
            return GiveUp("forbidden", "the URL is not https; delivery.allow_http can allow it")
        named = replace(request, headers={"User-Agent": self._user_agent, **request.headers})
        host = url.raw_host or ""
        connected = await self.connect(host, url.port or 0)
        if isinstance(connected, Retry):
            return connected
        wire = Wire(connected)
        try:
            if url.scheme == "https":
                await wire.start_tls(self._tls, host)
            return await exchange.send(wire, url, named)
        except failures.EXPECTED as error:
            return failures.of_error(error)
        finally:
            wire.close()

    async def connect(self, host: str, port: int) -> socket.socket | Retry:
        """Return a connected, non-blocking socket, or say why there is none."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._connect(host, port)
        except TimeoutError:
            return Retry("timeout", f"no connection within {CONNECT_TIMEOUT_S:g} s")
        except OSError as error:
            return failures.not_connected(error, host)

    async def _connect(self, host: str, port: int) -> socket.socket:
        """Connect to one of the host's addresses that the guard permits.

        Raises:
            OSError: if that is not possible; `AddressRefusedError` if the guard permits none.
        """
        found = (await self._resolver.addresses(host, port))[:MOST_ADDRESSES]
        permitted = [info for info in found if self._guard.permits(info[4][0])]
        if not permitted:
            raise AddressRefusedError(found[0][4][0])
        return await aiohappyeyeballs.start_connection(
            permitted,
            happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S,
            socket_factory=self._guard.open_socket,
        )


async def _within(seconds: float, attempt: Coroutine[Any, Any, Outcome]) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await attempt
    except TimeoutError:
        return Retry("timeout", f"no answer within {seconds:g} s")


def _parsed(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.scheme in {"http", "https"} and url.host else None
