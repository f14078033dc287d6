"""One attempt to deliver: a request is rendered and sent, its answer interpreted."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from dataclasses import replace

import aiohappyeyeballs
from yarl import URL

from streams.domain.deliveries import Delivery
from streams.receivers.masking import without_secrets
from streams.receivers.outcomes import Answer, Answered, GiveUp, Outcome, Retry, excerpt_of
from streams.receivers.receiver import Receiver, Request
from streams.webhooks import exchange, failures
from streams.webhooks.guard import AddressRefusedError, Guard
from streams.webhooks.hooks import NO_HOOKS, Hooks
from streams.webhooks.proxy import Proxy
from streams.webhooks.resolver import Resolver
from streams.webhooks.wire import Wire

CONNECT_TIMEOUT_S = 5.0
MOST_ADDRESSES = 16
"""How many of a name's addresses are tried."""
NEXT_ADDRESS_AFTER_S = 0.25
"""RFC 8305: how long to wait for one address before the next one is tried beside it."""


class WebhookClient:
    """Sends webhooks.

    Each attempt has a connection of its own: alerts are rare, and a kept connection that the other
    side has closed meanwhile would cost a POST its first attempt. Proxies and credentials of the
    environment are not used, redirects not followed, cookies not kept.

    Args:
        guard: lets connections out.
        allow_http: whether a URL without TLS may be used.
        user_agent: what the requests say that they are from.
        tls: for certificates other than the system's authorities know.
        resolver: finds addresses.
        hooks: are told of what attempts are made of.
        proxy: the way out; null for none.
        direct: the names of receivers that are sent to without the proxy.
    """

    def __init__(  # noqa: PLR0913 - all that one attempt depends on
        self,
        guard: Guard,
        *,
        allow_http: bool = False,
        user_agent: str = "campaign-streams",
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        hooks: Hooks = NO_HOOKS,
        proxy: Proxy | None = None,
        direct: Iterable[str] = (),
    ) -> None:
        self._guard = guard
        self._allow_http = allow_http
        self._user_agent = user_agent
        self._tls = tls or ssl.create_default_context()
        self._resolver = resolver or Resolver()
        self._hooks = hooks
        self._proxy = proxy
        self._direct = frozenset(direct)

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        """Make one attempt, at `now` (s, UTC)."""
        request = receiver.render(delivery, now)
        for failure in request.template_failures:
            self._hooks.template_failed(receiver, delivery, failure)
        url = _parsed(request.url)
        if url is None:
            return GiveUp("protocol", "the URL of the receiver cannot be read")
        if url.scheme != "https" and not self._allow_http:
            return GiveUp("forbidden", "the URL is not https; delivery.allow_http can allow it")
        named = replace(request, headers={"User-Agent": self._user_agent, **request.headers})
        try:
            async with asyncio.timeout(receiver.timeout):
                proxy = None if receiver.name in self._direct else self._proxy
                answer = await self._exchange(url, named, proxy)
        except TimeoutError:
            return Retry("timeout", f"no answer within {receiver.timeout:g} s")
        if not isinstance(answer, Answer):
            return answer
        answer = without_secrets(answer, receiver)
        answered = Answered(answer.status, excerpt_of(answer))
        return replace(receiver.outcome_of(answer, now), answered=answered)

    async def _exchange(self, url: URL, request: Request, proxy: Proxy | None) -> Answer | Outcome:
        host = url.raw_host or ""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                wire = Wire(await self._connect(host, url.port or 0, proxy))
        except TimeoutError:
            return Retry("timeout", f"no connection within {CONNECT_TIMEOUT_S:g} s")
        except OSError as error:
            return failures.not_connected(error, host)
        try:
            if url.scheme == "https":
                await wire.start_tls(self._tls, host)
            return await exchange.send(wire, url, request, self._hooks)
        except failures.EXPECTED as error:
            return failures.of_error(error)
        finally:
            wire.close()

    async def _connect(self, host: str, port: int, proxy: Proxy | None) -> socket.socket:
        """Connect to one of the host's addresses that the guard permits, by the proxy if any.

        Raises:
            OSError: if that is not possible; `AddressRefusedError` if the guard permits none.
        """
        found = (await self._resolver.addresses(host, port))[:MOST_ADDRESSES]
        permitted = [info for info in found if self._guard.permits(info[4][0])]
        if not permitted:
            raise AddressRefusedError(found[0][4][0])
        if proxy is not None:
            return await proxy.connect(self._resolver, permitted)
        return await aiohappyeyeballs.start_connection(
            permitted,
            happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S,
            socket_factory=self._guard.open_socket,
        )


def _parsed(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.scheme in {"http", "https"} and url.host else None
