"""One HTTP/1.1 request and its answer (RFC 9112), as far as it is of any interest.

That is the status, the headers and the beginning of the body. Interim answers (1xx) are read over.
"""

import asyncio
from contextlib import suppress

import h11
from yarl import URL

from streams.receivers.outcomes import Answer
from streams.receivers.receiver import Request
from streams.webhooks.hooks import NO_HOOKS, Hooks
from streams.webhooks.wire import TooMuchError, Wire

MOST_LINES = 256
"""Lines up to the end of the headers, those of interim answers included."""
EXCERPT_BYTES = 4096
"""How much is read of a body at most, in whatever it is wrapped."""
EXCERPT_PARTS = 32
"""Parts of the body that are put together: a part may be a single byte."""
EXCERPT_TIMEOUT_S = 1.0
ANSWER_PARTS = 1024
"""The same as `EXCERPT_PARTS` of a body that is needed."""


class BrokenError(Exception):
    """The connection ended before there was an answer."""


async def send(wire: Wire, url: URL, request: Request, hooks: Hooks = NO_HOOKS) -> Answer:
    """Send a request, of which `url` is the URL, and read its answer.

    Raises:
        h11.LocalProtocolError: if URL or headers cannot be sent.
        h11.RemoteProtocolError: if what comes back is not HTTP.
        BrokenError: if the connection ended first.
        TooMuchError: if the receiver sends more than there is to say.
        OSError: if the connection breaks.
    """
    exchange = _Exchange(wire, hooks)
    await exchange.send(url, request)
    return await exchange.answer(request.answer_bytes)


class _Exchange:
    def __init__(self, wire: Wire, hooks: Hooks) -> None:
        self._wire = wire
        self._hooks = hooks
        self._http = h11.Connection(h11.CLIENT)
        self._unread = bytearray()

    async def send(self, url: URL, request: Request) -> None:
        named = {
            "Host": _host(url),
            **request.headers,
            "Content-Length": str(len(request.body)),
            "Connection": "close",
        }
        line = h11.Request(
            method=request.method, target=url.raw_path_qs or "/", headers=list(named.items())
        )
        head = self._http.send(line) or b""
        data = self._http.send(h11.Data(data=request.body)) or b""
        self._http.send(h11.EndOfMessage())
        self._hooks.sent(head.removesuffix(b"\r\n"), request.body)
        with suppress(ConnectionError):  # who hangs up early may have said why
            await self._wire.send(head + data)

    async def answer(self, needed: int) -> Answer:
        """Read the answer; of a success `needed` bytes of its body, if there are as many."""
        head = await self._head()
        headers: dict[str, str] = {}
        for name, value in head.headers:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        told = self._hooks.answered
        success = head.status_code // 100 == 2  # noqa: PLR2004 - the class of the status
        if success and needed:
            excerpt = bytearray()
            await self._read_body(excerpt, needed, ANSWER_PARTS)
        # Who has said yes is not waited for, unless somebody wants to see the answer.
        elif success and told is None:
            excerpt = self._arrived()
        else:
            excerpt = await self._excerpt()
        answer = Answer(head.status_code, headers, bytes(excerpt))
        if told is not None:
            told(answer)
        return answer

    async def _head(self) -> h11.Response:
        """Read up to the end of the headers, line by line: so there is a limit to the lines."""
        for _ in range(MOST_LINES):
            self._http.receive_data(await self._line())
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise BrokenError
        raise TooMuchError(f"more than {MOST_LINES} lines before the end of its headers")

    async def _line(self) -> bytes:
        """Return the next line with its end; what is left if the connection ends."""
        begin = 0
        while (end := self._unread.find(b"\n", begin)) < 0:
            begin = len(self._unread)
            data = await self._wire.receive()
            if not data:
                if not self._unread:
                    raise BrokenError
                break
            self._unread += data
        end = len(self._unread) if end < 0 else end + 1
        line = bytes(self._unread[:end])
        del self._unread[:end]
        return line

    def _arrived(self) -> bytearray:
        """Return the part of the body's beginning that came with the headers."""
        excerpt = bytearray()
        with suppress(h11.RemoteProtocolError):
            self._http.receive_data(bytes(self._unread[:EXCERPT_BYTES]))
            for _ in range(EXCERPT_PARTS):
                event = self._http.next_event()
                if not isinstance(event, h11.Data):
                    break
                excerpt += event.data
        return excerpt

    async def _excerpt(self) -> bytearray:
        """Return the beginning of the body; what has come of it, if it goes wrong or is slow."""
        excerpt = bytearray()
        with suppress(h11.RemoteProtocolError, TooMuchError, OSError):
            async with asyncio.timeout(EXCERPT_TIMEOUT_S):
                await self._read_body(excerpt, EXCERPT_BYTES, EXCERPT_PARTS)
        return excerpt

    async def _read_body(self, excerpt: bytearray, most: int, parts: int) -> None:
        """Read the body's beginning: `most` bytes, in whatever it is wrapped, and `parts` parts."""
        data, left = bytes(self._unread[:most]), most
        if data:
            left -= len(data)
            self._http.receive_data(data)
        for _ in range(parts):
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                excerpt += event.data
            elif event is h11.NEED_DATA and left > 0:
                data = (await self._wire.receive())[:left]
                left -= len(data)
                self._http.receive_data(data)
            else:
                break


def _host(url: URL) -> str:
    """Return what a Host header says: the port only if it is not the scheme's own."""
    host = url.host_subcomponent or ""
    return host if url.is_default_port() or url.port is None else f"{host}:{url.port}"
