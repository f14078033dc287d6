"""One attempt to send one webhook."""

import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from streams.webhooks import outcomes
from streams.webhooks.guard import Guard
from streams.webhooks.outcomes import GiveUp, Outcome
from streams.webhooks.signing import signed_headers

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told. Neither the URL nor the secrets show when it is printed.

    Args:
        name: unique among the receivers.
        url: where to; http only where the client allows it.
        secrets: Standard Webhooks secrets, `whsec_…`.
        timeout: for one attempt, in seconds.
        max_concurrency: how many attempts are under way at once.
        kind: of the configuration; what metrics are split by.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    timeout: float = 10.0
    max_concurrency: int = 8
    kind: str = "webhook"


class WebhookClient:
    """Sends webhooks; an asynchronous context manager.

    Each attempt has a connection of its own: alerts are rare, and a kept connection that the other
    side has closed meanwhile would cost a POST its first attempt. Proxies and credentials of the
    environment are not used, redirects not followed, cookies not kept.

    Args:
        guard: lets connections out.
        allow_http: whether a URL without TLS may be used.
        user_agent: what the requests say that they are from.
        tls: for certificates other than the system's authorities know.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        allow_http: bool = False,
        user_agent: str = "campaign-streams",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._allow_http = allow_http
        self._user_agent = user_agent
        self._tls = tls or ssl.create_default_context()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                force_close=True,
                limit=0,  # each receiver has its own limit: one must not wait for another
                socket_factory=self._guard.open_socket,
                ssl=self._tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Content-Type": "application/json"},
            auto_decompress=False,
            read_bufsize=outcomes.READ_BYTES,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, receiver: Receiver, webhook_id: str, body: str, now: float) -> Outcome:
        """Make one attempt, at `now` (s).

        Raises:
            RuntimeError: if the client is not open.
        """
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with`")
        url = _parsed(receiver.url)
        if url is None:
            return GiveUp("protocol", "the URL of the receiver cannot be read")
        if url.scheme != "https" and not self._allow_http:
            return GiveUp("forbidden", "the URL is not https; delivery.allow_http can allow it")
        data = body.encode()
        try:
            async with self._session.post(
                url,
                data=data,
                headers=signed_headers(webhook_id, int(now), data, receiver.secrets),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=receiver.timeout,
                    sock_connect=min(receiver.timeout, CONNECT_TIMEOUT_S),
                ),
            ) as response:
                return await outcomes.of_answer(response, now)
        except (aiohttp.ClientError, TimeoutError) as error:
            return outcomes.of_error(error, receiver.timeout)


def _parsed(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.scheme in {"http", "https"} and url.host else None
