"""The HTTP server: listens, limits, and answers every mistake with a problem."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TypeAlias, TypeVar

import structlog
from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from streams.api.access import Gate
from streams.api.asking import Ask, Asker
from streams.api.audit import audit
from streams.api.callers import Caller
from streams.api.change_logs import ChangeLogs
from streams.api.cluster import Cluster
from streams.api.context import Context, DeadLetterTail, Health, KnownNames, Silences
from streams.api.costs import COST_HEADER, Budget
from streams.api.listening import Listener
from streams.api.openapi import document
from streams.api.pages import load_assets
from streams.api.peers import ASKER_HEADER, SIGNATURE_HEADER, Peers
from streams.api.problem_pages import response_to
from streams.api.problems import ProblemError
from streams.api.readers import Readers
from streams.api.representations import JSON, Sender, choose, represent, says
from streams.api.routes import ROUTES
from streams.api.routing import EventStream, Route, Target, find, split_target
from streams.api.rows import RowReader
from streams.api.stream import Hub
from streams.api.stream_outlets import ClientOutlet, Subscription
from streams.api.tls import ServerCertificate, client_context
from streams.api.visibility import VISIBLE_HEADER, read_header
from streams.configuration.http import HttpSettings
from streams.domain.commits import Commit
from streams.domain.partition_host import PartitionHost
from streams.domain.partition_settings import PartitionSettings
from streams.receivers.pagerduty_webhooks import Signatures

LONGEST_REQUEST = 30.0  # s
LONGEST_BODY = 10.0  # s
LONGEST_WRITE = 30.0  # s
LARGEST_BODY = 64 * 1024
_LONGEST_LINE = 64 * 1024  # a campaign id can be long, and threefold when percent-encoded
_LONGEST_HEADER = 8190
_KEEP_ALIVE = 75.0  # s
_SHUTDOWN = 3.0  # s
_HEADERS = {
    "Server": "campaign-streams",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

R = TypeVar("R", bound=web.StreamResponse)
log = structlog.get_logger(__name__)


UNKNOWN = "unknown"
"""Stands for the template of a path that has no route, and of what is no HTTP."""

Answered: TypeAlias = Callable[[str, str, int, float], None]
"""Is notified of an answer: method, template of the route, status, and seconds it took."""


def _nobody(_method: str, _route: str, _status: int, _seconds: float) -> None:
    """Leave answers uncounted."""


@dataclass(slots=True)
class _Exchange:
    """What is found out of a request on its way to the answer.

    Attributes:
        nonce: of a request that another worker signed; null for one of a client.
        route: null for a path that has none.
        caller: who asks; null if they are not let in.
        budget: what it may cost, and has cost.
        objects: what it is about, by name.
    """

    nonce: str | None = None
    route: Route | None = None
    caller: Caller | None = None
    budget: Budget = field(default_factory=Budget)
    objects: dict[str, object] = field(default_factory=dict)


class ApiServer:
    """Answers over HTTP what this worker and the others hold.

    Args:
        http: who may ask.
        listener: where it listens; closed when the server stops.
        holder: holds partitions, and knows who holds the others.
        settings: what is counted, which rules are evaluated and who is notified.
        health: of this worker.
        silences: which alerts nobody is notified of.
        names: of campaigns and apps.
        groups_are_read: tells whether the settings' view has all groups that there are.
        metrics: writes the metrics in the format that `Accept` asks for, and says its content type.
        located: whether a campaign is in the partition that its id tells; with
            `source.keyed` the producers decide, and it may be in any.
        now: the wall clock (s, UTC).
        pagerduty: checks webhooks of PagerDuty, by the name of the receiver that they are about.
        certificate: of the API; null for one without TLS.
        answered: is notified of each answer.
        cost: is told of requests that cost something: the template of the route, and how much.

    Raises:
        ConfigurationError: `http.tls` names no authorities to check other workers by.
    """

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        http: HttpSettings,
        listener: Listener,
        holder: PartitionHost,
        settings: PartitionSettings,
        health: Health,
        *,
        silences: Silences,
        names: KnownNames,
        dead_letters: DeadLetterTail,
        metrics: Callable[[str], tuple[bytes, str]],
        located: bool,
        now: Callable[[], float],
        groups_are_read: Callable[[], bool] = lambda: True,
        pagerduty: Mapping[str, Signatures] | None = None,
        certificate: ServerCertificate | None = None,
        answered: Answered = _nobody,
        cost: Callable[[str, int], None] = lambda _route, _cost: None,
    ) -> None:
        self._listener = listener
        self._certificate = certificate
        self._answered = answered
        self._cost = cost
        self._peers = Peers(http, listener.url, now)
        self._cluster = Cluster(holder, self._peers, located=located, tls=client_context(http.tls))
        self._holder = holder
        self._hub = Hub()
        self._context = Context(
            settings,
            self._cluster,
            RowReader(settings.groups, settings.windows, now),
            Readers(),
            ChangeLogs(),
            self._hub,
            silences,
            names,
            groups_are_read,
            dead_letters,
            health,
            metrics,
            now,
            document(ROUTES),
            load_assets(),
            pagerduty or {},
        )
        self._gate = Gate(http, loopback_only=listener.loopback_only, now=now)
        self._sender = Sender()
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Answer what comes in."""
        server = _Server(
            self._answer,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_HEADER,
            keepalive_timeout=_KEEP_ALIVE,
            auto_decompress=False,  # a small body must not become a large one
        )
        server.refused = lambda status: self._answered("", UNKNOWN, status, 0.0)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        self._runner = runner
        tls = None if self._certificate is None else self._certificate.context
        for each in self._listener.sockets:
            await web.SockSite(runner, each, ssl_context=tls).start()

    async def stop(self) -> None:
        """Take no new requests, finish those under way for a few seconds, and close."""
        await self._hub.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._listener.close()
        await self._cluster.stop()

    def on_commit(self, commit: Commit) -> None:
        """Take note of what a committed transaction has changed, for those who follow it."""
        context = self._context
        context.change_logs.committed(commit, self._holder.ready(), context.now())

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def url(self) -> str | None:
        """Where others reach it; null if nobody can follow it."""
        return self._listener.url

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        began, exchange = time.perf_counter(), _Exchange()
        response = await self._respond(request, exchange)
        route = exchange.route
        status = HTTPStatus.OK if isinstance(response, EventStream) else response.status
        if route is not None and route.scope == "write" and exchange.nonce is None:
            address = self._gate.address_of(request)
            audit(route, exchange.caller, address, exchange.objects, status)
        template = UNKNOWN if route is None else route.path
        self._answered(request.method, template, status, time.perf_counter() - began)
        if exchange.budget.spent and not isinstance(response, EventStream):
            if _may_know_costs(exchange.caller):
                response.headers[COST_HEADER] = str(exchange.budget.spent)
            self._cost(template, exchange.budget.spent)
        if isinstance(response, EventStream):
            return await _stream(request, response)
        return _with_headers(response)

    async def _respond(
        self, request: web.BaseRequest, exchange: "_Exchange"
    ) -> web.Response | EventStream:
        """Answer a request, whatever is wrong with it."""
        response: web.Response | EventStream
        try:
            target = split_target(request.raw_path)
            exchange.nonce = self._peers.asked_by(request.method, str(target), request.headers)
            async with asyncio.timeout(LONGEST_REQUEST):
                response = await self._route(request, target, exchange)
        except ProblemError as problem:
            accept = ",".join(request.headers.getall("Accept", ()))
            response = response_to(problem, exchange.route, accept)
        except TimeoutError:
            response = _too_slow().response()
        except Exception:
            log.exception("request failed", method=request.method, target=request.raw_path)
            response = _defect().response()
        if exchange.nonce is not None and isinstance(response, web.Response):
            # Those that another worker asks for are answered in one piece.
            body = response.body if isinstance(response.body, bytes) else b""
            signature = self._peers.answer(exchange.nonce, response.status, body)
            response.headers[SIGNATURE_HEADER] = signature
        return response

    async def _route(
        self, request: web.BaseRequest, target: Target, exchange: "_Exchange"
    ) -> web.Response | EventStream:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            route, values = find(ROUTES, method, target.path)
        except ProblemError:
            self._let_in(request, exchange)
            raise
        exchange.route = route
        exchange.objects.update(values)
        caller = self._let_in(request, exchange)
        of_worker = exchange.nonce is not None
        if of_worker:
            asker = Asker.of_header(request.headers.get(ASKER_HEADER, ""))
        else:
            asker = Asker(caller.name)
        form = JSON
        if not of_worker and not isinstance(route.answer, tuple):
            form = choose(",".join(request.headers.getall("Accept", ())), route.forms)
        body = await _read_body(request)
        query = route.read_query(target.query)
        exchange.objects.update(query)
        exchange.budget = self._gate.budget(caller)
        ask = Ask(
            method,
            str(target),
            values,
            query,
            request.headers,
            body,
            asker,
            caller,
            exchange.budget,
            exchange.objects,
        )
        reply = await route.handle(self._context, ask)
        if isinstance(reply, EventStream):
            return reply
        if isinstance(reply, web.Response):
            response, meant = reply, b""
        else:
            response = await represent(reply, form, route.rows, route.status, str(target))
            is_read = route.method == "GET" and not of_worker
            meant = says(reply, form, response) if is_read else b""
        if of_worker or route.method != "GET":
            return response
        if not route.is_tagged:
            return await self._sender.compressed(response, request.headers)
        return await self._sender.ready(response, request.headers, meant or None)

    def _let_in(self, request: web.BaseRequest, exchange: "_Exchange") -> Caller:
        """Return who asks, if they may.

        Raises:
            ProblemError: they may not, or not now.
        """
        header = request.headers.get(VISIBLE_HEADER, "")
        if exchange.nonce is not None:
            return Caller("worker", visible=read_header(header))
        caller = self._gate.identify(request, exchange.route)
        exchange.caller = caller
        self._gate.check(request, exchange.route, caller)
        if caller.visible.is_whole and not self._peers.sign:
            # Of a worker, as a rule; whoever else writes it sees less than they might.
            caller = replace(caller, visible=read_header(header))
        return caller


async def _stream(request: web.BaseRequest, stream: EventStream) -> web.StreamResponse:
    """Send a stream until the client has gone, or has not read for long."""
    response = _with_headers(web.StreamResponse())
    response.headers["Content-Type"] = stream.content_type
    response.headers["X-Accel-Buffering"] = "no"  # or nginx keeps it until there is a lot
    subscription, handler = stream.subscription, request.protocol
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await response.write(subscription.greeting)
        transport = request.transport
        if transport is None or not isinstance(handler, _Handler):
            return response
        is_chunked = response.headers.get("Transfer-Encoding") == "chunked"
        outlet = ClientOutlet(transport, chunked=is_chunked)
        handler.follow(outlet, subscription)
        subscription.begin(outlet)
        await outlet.wait_ended()
    except ConnectionError:
        log.debug("stream is left", remote=request.remote)
    finally:
        subscription.close()
        if isinstance(handler, _Handler):
            handler.unfollow()
    return response


async def _read_body(request: web.BaseRequest) -> bytes:
    """Read a body to its end; few routes need one, but a client may send one anywhere.

    Raises:
        ProblemError: 413 if it is too large, 408 if it is too slow, 400 if it is broken.
    """
    if not request.can_read_body:
        return b""
    body = bytearray()
    try:
        async with asyncio.timeout(LONGEST_BODY):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await _write_continue(request)
            async for chunk in request.content.iter_chunked(LARGEST_BODY):
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise _closing(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"the body is larger than {LARGEST_BODY} bytes",
                    )
    except TimeoutError:
        detail = f"the body took more than {LONGEST_BODY:.0f} s"
        raise _closing(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except (web.RequestPayloadError, ClientError, HttpProcessingError, ConnectionError):
        detail = "the body is broken off, or not in the form that its headers say"
        raise _closing(HTTPStatus.BAD_REQUEST, detail) from None
    return bytes(body)


async def _write_continue(request: web.BaseRequest) -> None:
    """Let a client send the body that it holds back (RFC 9110, 10.1.1)."""
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # of the answer, which begins after it


def _closing(status: HTTPStatus, detail: str) -> ProblemError:
    return ProblemError(status, detail, {"Connection": "close"})


def _may_know_costs(caller: Caller | None) -> bool:
    """Tell whether a caller may know what others' campaigns have to do with the cost."""
    return caller is None or caller.kind == "worker" or caller.visible.is_whole


def _with_headers(response: R) -> R:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class _Handler(RequestHandler):
    """One connection: what is no HTTP is answered too; a client that does not read is left."""

    _followed: tuple[ClientOutlet, Subscription] | None = None
    """The stream that it sends."""

    def follow(self, outlet: ClientOutlet, subscription: Subscription) -> None:
        """Tell a stream when the client has taken something, and when it has gone."""
        self._followed = outlet, subscription

    def unfollow(self) -> None:
        """Send no stream."""
        self._followed = None

    def resume_writing(self) -> None:
        """Go on with the stream, as the client has taken what there was."""
        super().resume_writing()
        if self._followed is not None:
            self._followed[1].resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the stream, as the client has gone."""
        super().connection_lost(exc)
        if self._followed is not None:
            self._followed[0].end()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            async with asyncio.timeout(LONGEST_WRITE):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            log.debug("answer is not read", remote=request.remote, target=request.raw_path)
            if self.transport is not None:
                self.transport.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        log.debug("bad request", remote=request.remote, status=status, error=repr(exc))
        response = ProblemError(HTTPStatus(status), _what_is_wrong(exc, message)).response()
        response.force_close()
        if isinstance(self._manager, _Server):
            self._manager.refused(status)
        return _with_headers(response)


def _what_is_wrong(error: BaseException | None, message: str | None) -> str:
    """Say what is wrong with something that is no HTTP, without quoting it."""
    if isinstance(error, LineTooLong):
        return (
            f"the first line is longer than {_LONGEST_LINE} bytes, or a header than "
            f"{_LONGEST_HEADER}"
        )
    if isinstance(error, InvalidURLError):
        return "the request's target is no URL: percent-encode it"
    # What follows the first line quotes the request.
    return (message or "this is no HTTP request").partition("\n")[0].rstrip(":")


class _Server(web.Server):
    refused: Callable[[int], None]
    """Is notified of the status of an answer to what is no HTTP."""

    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


def _too_slow() -> ProblemError:
    detail = f"the answer took more than {LONGEST_REQUEST:.0f} s: ask for less at a time"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)


def _defect() -> ProblemError:
    detail = "a defect of the worker, not of the request: its log says more"
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail)
