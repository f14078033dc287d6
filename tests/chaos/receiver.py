"""A receiver of webhooks that fails now and then, and that faults can be timed to."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from tests.support.receiver import Collector

WORKER = "worker"
"""The parameter of the URL that says which worker sends."""

Watcher: TypeAlias = Callable[[str, bool], None]
"""Is given the name of a worker whose webhook has arrived, and whether it has been answered."""


class Receiver:
    """A receiver that fails now and then: it refuses, breaks off, or answers late or never.

    Args:
        seed: of what it does.
    """

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._collector = Collector()
        self._collector.always = self._answer
        self._watchers: list[Watcher] = []
        self.accepted: list[Any] = []
        """What it took, in the order in which it took it."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        """Listen on a free port of loopback."""
        async with self._collector:
            yield self

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._collector.url

    @property
    def sent(self) -> list[Any]:
        """All that was sent to it, refused or not."""
        return [arrival.value for arrival in self._collector.arrivals]

    @property
    def bodies(self) -> dict[str, set[bytes]]:
        """The bodies that were sent under each id."""
        found: dict[str, set[bytes]] = {}
        for arrival in self._collector.arrivals:
            found.setdefault(arrival.webhook_id, set()).add(arrival.body)
        return found

    @contextlib.contextmanager
    def watching(self, watch: Watcher) -> Iterator[None]:
        """Show something each webhook for so long: when it has arrived, and when it is answered."""
        self._watchers.append(watch)
        try:
            yield
        finally:
            self._watchers.remove(watch)

    def _show(self, request: web.Request, *, answered: bool) -> None:
        for watch in list(self._watchers):
            watch(request.query.get(WORKER, ""), answered)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._show(request, answered=False)
        outcome = self._chance.random()
        if outcome < 0.15:
            return web.Response(status=500)
        if outcome < 0.25:
            return self._broken_off(request)
        if outcome < 0.35:
            await asyncio.sleep(self._chance.uniform(0.2, 3.0))
        self.accepted.append(orjson.loads(await request.read()))
        self._show(request, answered=True)
        # It has it, but whoever sent it does not learn of that.
        return self._broken_off(request) if outcome > 0.9 else web.Response(status=204)

    @staticmethod
    def _broken_off(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
