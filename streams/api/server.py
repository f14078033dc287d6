"""The HTTP server: listens, limits, and answers every mistake with a problem."""

import asyncio
import errno
from collections.abc import Callable
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams.api.access import Gate, is_loopback
from streams.api.asking import Ask
from streams.api.cluster import Cluster
from streams.api.context import Context, Health
from streams.api.openapi import document
from streams.api.pages import load_assets
from streams.api.problems import ProblemError
from streams.api.routes import ROUTES
from streams.api.routing import Route, find, split_target
from streams.api.rows import RowReader
from streams.configuration.http import HttpSettings
from streams.domain.partition import Holder, Watch
from streams.errors import UserError

LONGEST_REQUEST = 30.0  # s
LARGEST_BODY = 64 * 1024
_LONGEST_LINE = 64 * 1024  # a campaign id can be long, and threefold when percent-encoded
_KEEP_ALIVE = 75.0  # s
_SHUTDOWN = 3.0  # s
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_encode = msgspec.json.Encoder().encode
log = structlog.get_logger(__name__)


class ApiServer:
    """Answers over HTTP what this worker and the others hold.

    Args:
        settings: where to listen, and who may ask.
        holder: holds partitions, and knows who holds the others.
        watch: what is counted and watched for.
        health: of this worker.
        metrics: writes the metrics in Prometheus' text format.
        located: whether a campaign is in the partition that its id tells; with
            `source.keyed` the producers decide, and it may be in any.
        now: the wall clock (s, UTC).
    """

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        settings: HttpSettings,
        holder: Holder,
        watch: Watch,
        health: Health,
        metrics: Callable[[], bytes],
        *,
        located: bool,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._cluster = Cluster(holder, located=located)
        self._context = Context(
            watch,
            self._cluster,
            RowReader(),
            health,
            metrics,
            now,
            document(ROUTES),
            load_assets(),
        )
        self._gate = Gate(settings, loopback_only=False)
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            UserError: if that is not possible at this host and port.
        """
        server = _Server(self._answer, max_line_size=_LONGEST_LINE, keepalive_timeout=_KEEP_ALIVE)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise UserError(_why(host, port, error)) from None
        self._runner = runner
        addresses = [address[0] for address in runner.addresses]
        self._gate = Gate(self._settings, loopback_only=all(map(is_loopback, addresses)))

    async def stop(self) -> None:
        """Take no new requests, finish those under way for a few seconds, and close."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._cluster.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._runner is None:
            return self._settings.port
        port: int = self._runner.addresses[0][1]
        return port

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            async with asyncio.timeout(LONGEST_REQUEST):
                response = await self._route(request)
        except ProblemError as problem:
            response = problem.response()
        except TimeoutError:
            response = _too_slow().response()
        except Exception:
            log.exception("request failed", method=request.method, target=request.raw_path)
            response = _defect().response()
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _route(self, request: web.BaseRequest) -> web.Response:
        path, query = split_target(request.raw_path)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            route, values = find(ROUTES, method, path)
        except ProblemError:
            self._check(request, None)
            raise
        self._check(request, route)
        await _refuse_large_body(request)
        target = f"{path}?{query}" if query else path
        ask = Ask(method, target, values, route.read_query(query), request.headers)
        reply = await route.handle(self._context, ask)
        if isinstance(reply, web.Response):
            return reply
        return web.Response(body=_encode(reply), content_type="application/json", charset="utf-8")

    def _check(self, request: web.BaseRequest, route: Route | None) -> None:
        self._gate.check(request.headers, request.remote, route)


async def _refuse_large_body(request: web.BaseRequest) -> None:
    """Read a body to its end; nothing here needs one, but a client may send one."""
    size = 0
    async for chunk in request.content.iter_chunked(LARGEST_BODY):
        size += len(chunk)
        if size > LARGEST_BODY:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {LARGEST_BODY} bytes: leave it out",
                {"Connection": "close"},
            )


class _Handler(RequestHandler):
    """One connection: what is no HTTP is answered with a problem too."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        log.debug("bad request", remote=request.remote, status=status, error=repr(exc))
        # What follows the first line quotes the request.
        detail = (message or HTTPStatus(status).phrase).partition("\n")[0].rstrip(":")
        response = ProblemError(HTTPStatus(status), detail).response()
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


def _too_slow() -> ProblemError:
    detail = f"the answer took more than {LONGEST_REQUEST:.0f} s: ask for less at a time"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)


def _defect() -> ProblemError:
    detail = "a defect of the worker, not of the request: its log says more"
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        reason = "is taken: choose another port, or 0 for any free one"
    elif error.errno == errno.EACCES:
        reason = "is not allowed for this user: choose a port from 1024 on"
    else:
        reason = f"cannot be used ({error.strerror or error}): choose another http.host"
    return f"cannot listen: {host}:{port} {reason} (http.port, --port)"
