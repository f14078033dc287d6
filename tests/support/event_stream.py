"""A reader of server-sent events (HTML Living Standard, 9.2), as browsers are."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

PATIENCE = 20.0


@dataclass
class Event:
    kind: str
    data: Any


class EventStream:
    """What is read of a stream, one event after the other."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self.last_event_id = ""
        self._content = content

    async def next(self) -> Event:
        """Return the next event."""
        kind = "message"
        data: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self._content.readline()).decode()
                if not line:
                    raise EOFError("the stream has ended")
                field, _, value = line.rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                if line == "\n":
                    if data:
                        return Event(kind, json.loads("\n".join(data)))
                    kind = "message"
                elif field == "event":
                    kind = value
                elif field == "data":
                    data.append(value)
                elif field == "id":
                    self.last_event_id = value

    async def until(self, kind: str, **fields: Any) -> Any:
        """Return the data of the next event of a type whose data has these fields."""
        while True:
            event = await self.next()
            if event.kind == kind and fields.items() <= event.data.items():
                return event.data

    async def nothing(self, seconds: float = 0.5) -> list[Event]:
        """Return what comes within some time, which is meant to be nothing."""
        came = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    came.append(await self.next())
        except TimeoutError:
            return came


@asynccontextmanager
async def reading(
    url: str,
    query: Mapping[str, str] | None = None,
    last_event_id: str | None = None,
    token: str | None = None,
) -> AsyncIterator[EventStream]:
    """Read the stream of the worker at a URL."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=2**20) as session,
        session.get(f"{url}/v1/stream", params=query or {}, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield EventStream(response.content)
