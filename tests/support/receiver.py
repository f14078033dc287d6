"""A receiver of webhooks for tests: remembers what came and when, and answers as it is told."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import orjson
from aiohttp import web
from standardwebhooks import Webhook

from tests.support.schemas import check_body

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE_S = 20.0
"""How long a test waits for what has to come: generous, as machines are slow at times."""

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check: TypeAlias = Callable[[dict[str, str], bytes], object]
"""Raises if headers (names in lower case) and body are not as they have to be."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `at` is seconds of the monotonic clock."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def value(self) -> Any:
        return orjson.loads(self.body)


def status(code: int, text: str = "", **headers: str) -> Answer:
    """Answer with a status; header names with underscores for hyphens."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=text, headers=named)

    return answer


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def reset(request: web.Request) -> web.StreamResponse:
    """Break the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def endless(code: int, chunk: bytes = b"x" * 65536, pause: float = 0.0) -> Answer:
    """Answer with a status, and a body that does not end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        await response.prepare(request)
        while True:
            await response.write(chunk)
            await asyncio.sleep(pause)

    return answer


def is_signed(headers: dict[str, str], body: bytes) -> None:
    """Check a signature with the independent `standardwebhooks` package, and the body's schema."""
    Webhook(SECRET).verify(body, headers)
    check_body(body)


class Collector:
    """Listens on a free port of loopback inside `async with`.

    It takes its answers from `answers`, the first to the first request, and then accepts
    everything; one in `always` goes before both. Each request is checked; one that is wrong fails
    `wait_for`.
    """

    def __init__(
        self, *answers: Answer, tls: ssl.SSLContext | None = None, check: Check = is_signed
    ) -> None:
        self.answers = deque(answers)
        self.always: Answer | None = None
        self.arrivals: list[Arrival] = []
        self.under_way = 0
        self.most_under_way = 0
        self._tls = tls
        self._check = check
        self._errors: list[Exception] = []
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        # Attempts that hang are broken off with the connection, and at once when the test ends.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}/hook?token=hidden"

    def accept_after(self, seconds: float) -> None:
        """Answer 503 for so long, and accept from then on."""
        opens = time.monotonic() + seconds

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=204 if time.monotonic() >= opens else 503)

        self.always = answer

    def ids(self) -> list[str]:
        return [arrival.webhook_id for arrival in self.arrivals]

    async def wait_for(self, count: int, within: float = PATIENCE_S) -> list[Arrival]:
        """Return what came, as soon as so many requests did.

        Raises:
            TimeoutError: they did not come within so many seconds.
        """
        await self.wait_until(lambda: len(self.arrivals) >= count, within)
        return self.arrivals

    async def wait_until(self, condition: Callable[[], bool], within: float = PATIENCE_S) -> None:
        """Return as soon as a condition on what came is true."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: condition() or bool(self._errors))
        if self._errors:
            raise self._errors[0]

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            self._check(headers, body)
        except Exception as error:  # noqa: BLE001 - given to the test that waits
            self._errors.append(error)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        async with self._changed:
            self.arrivals.append(Arrival(time.monotonic(), headers, body))
            self._changed.notify_all()
        try:
            if self.always is not None:
                return await self.always(request)
            answer = self.answers.popleft() if self.answers else status(204)
            return await answer(request)
        finally:
            self.under_way -= 1
