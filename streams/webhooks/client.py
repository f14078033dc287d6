"""The way out to receivers: one attempt, over a connection that is guarded."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

import aiohappyeyeballs
from yarl import URL

from streams.domain.deliveries import Delivery
from streams.domain.transitions import Transition
from streams.receivers.masking import without_secrets
from streams.receivers.outcomes import Answer, Answered, GiveUp, Outcome, Retry, excerpt_of, shown
from streams.receivers.receiver import HttpReceiver, Line, Receiver, Request, ResentReceiver
from streams.receivers.templates import TemplateFailure
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
        hooks: are told of what attempts are made of.
        proxy: the way out of HTTP requests; null for none.
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
        self.allow_http = allow_http
        self.user_agent = user_agent
        self.tls = tls or ssl.create_default_context()
        self._resolver = resolver or Resolver()
        self.hooks = hooks
        self._proxy = proxy
        self._direct = frozenset(direct)

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        """Make one attempt, at `now` (s, UTC)."""
        way = _Way(self, receiver, delivery)
        outcome = await _within(receiver.timeout, receiver.send(delivery, now, way))
        warnings = (*way.warnings, *outcome.warnings)
        return replace(outcome, answered=way.answered, warnings=warnings)

    async def resend(
        self, receiver: ResentReceiver, firing: Sequence[Transition], now: float
    ) -> Outcome:
        """Tell a receiver at `now` (s, UTC) that some alerts go on firing."""
        request, way = receiver.render_firing(firing, now), _Way(self, receiver)
        return await _within(receiver.timeout, receiver.post(request, now, way))

    def proxy_for(self, receiver: Receiver) -> Proxy | None:
        """Return the way out of a receiver's requests; null for none but the network."""
        return None if receiver.name in self._direct else self._proxy

    async def connect(self, host: str, port: int, proxy: Proxy | None) -> socket.socket | Retry:
        """Return a connected, non-blocking socket, or say why there is none."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._connect(host, port, proxy)
        except TimeoutError:
            return Retry("timeout", f"no connection within {CONNECT_TIMEOUT_S:g} s")
        except OSError as error:
            return failures.not_connected(error, host)

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


class _Way:
    """The way out of one attempt: a `streams.receivers.receiver.Network`.

    Attributes:
        answered: what the receiver answered, without its secrets; null if it did not, by HTTP.
        warnings: what went wrong and could be made up for.
    """

    def __init__(
        self, client: WebhookClient, receiver: Receiver, delivery: Delivery | None = None
    ) -> None:
        self.answered: Answered | None = None
        self.warnings: list[str] = []
        self._client = client
        self._receiver = receiver
        self._delivery = delivery

    @property
    def tls(self) -> ssl.SSLContext:
        """How certificates are checked."""
        return self._client.tls

    async def connect(self, host: str, port: int) -> socket.socket | Retry:
        """Return a connected, non-blocking socket, or say why there is none."""
        return await self._client.connect(host, port, None)

    def template_failed(self, failure: TemplateFailure) -> None:
        """A template could not be rendered; of what is told again that was said before."""
        if self._delivery is not None:
            reason = shown(failure.reason)
            self.warnings.append(f"the template of {failure.part} cannot be rendered: {reason}")
            self._client.hooks.template_failed(self._receiver, self._delivery, failure)

    def conversed(self, line: Line) -> None:
        """Something was said over a connection that is not HTTP; without secrets."""
        self._client.hooks.conversed(line)

    async def exchange(self, request: Request) -> Answer | Outcome:
        """Send an HTTP request; return its answer, or say why there is none."""
        url, client = _parsed(request.url), self._client
        if url is None:
            return GiveUp("protocol", "the URL of the receiver cannot be read")
        if url.scheme != "https" and not client.allow_http:
            return GiveUp("forbidden", "the URL is not https; delivery.allow_http can allow it")
        named = replace(request, headers={"User-Agent": client.user_agent, **request.headers})
        proxy = client.proxy_for(self._receiver)
        connected = await client.connect(url.raw_host or "", url.port or 0, proxy)
        if isinstance(connected, Retry):
            return connected
        wire = Wire(connected, request.answer_bytes)
        try:
            if url.scheme == "https":
                await wire.start_tls(client.tls, url.raw_host or "")
            answer = await exchange.send(wire, url, named, client.hooks)
        except failures.EXPECTED as error:
            return failures.of_error(error)
        finally:
            wire.close()
        if isinstance(self._receiver, HttpReceiver):
            answer = without_secrets(answer, self._receiver)
        self.answered = Answered(answer.status, excerpt_of(answer))
        return answer


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
