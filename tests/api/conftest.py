"""A real server on a free port, over partitions in memory."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from streams.api import rows
from streams.api.context import KnownNames
from streams.api.listening import listen
from streams.api.server import ApiServer
from streams.api.tls import ServerCertificate
from streams.configuration.http import HttpSettings
from streams.domain.commits import Commit, Decision
from streams.domain.partition_settings import PartitionSettings
from streams.receivers.pagerduty_webhooks import Signatures
from tests.support.dead_letters import MemoryDeadLetters
from tests.support.http import HttpAnswer, request
from tests.support.names import MemoryNames
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, next_offset
from tests.support.silences import MemorySilences

NOW = 1_795_428_000.0  # 2026-11-23T10:00:00Z


@dataclass
class SettableHealth:
    reasons: tuple[str, ...] = ()
    alive: bool = True
    groups_are_read: bool = True

    def ready(self) -> tuple[bool, list[str]]:
        return not self.reasons, list(self.reasons)

    def live(self) -> bool:
        return self.alive


@dataclass
class RunningApi:
    """A server and what it answers from."""

    port: int
    holder: MemoryHolder
    health: SettableHealth
    silences: MemorySilences
    names: KnownNames
    url: str
    """Where other workers ask it."""
    host: str = "127.0.0.1"
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, template and status of each answer."""
    certificate: ServerCertificate | None = None
    on_commit: Callable[[Commit], None] = lambda _: None
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)

    def commit(self, now: float = NOW) -> None:
        """Evaluate and commit all partitions that are here at `now` (s), as their tasks do."""
        for partition in self.holder.here.values():
            decided = partition.evaluate(now)
            delivery_ids = partition.deliveries.changed_ids
            list(partition.take_changes(now))
            partition.mark_committed()
            decisions = [Decision(each, 0.0) for each in decided]
            commit = Commit(partition.number, decisions=decisions, delivery_ids=delivery_ids)
            commit.next_offset = next_offset()
            self.on_commit(commit)

    async def ask(self, target: str, **options: Any) -> HttpAnswer:
        return await request(self.port, target, host=self.host, **options)

    async def get(self, target: str) -> Any:
        """Return the JSON of an answer that has to be a success."""
        answer = await self.ask(target)
        assert answer.status == 200, answer.body
        return answer.json

    async def refused(self, target: str, status: int, **options: Any) -> str:
        """Return the detail of an answer that has to be a problem with this status."""
        answer = await self.ask(target, **options)
        assert answer.status == status, answer.body
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert answer.json["title"]
        detail: str = answer.json["detail"]
        return detail


class StartApi(Protocol):
    async def __call__(  # noqa: PLR0913 - as `running` has
        self,
        holder: MemoryHolder,
        http: HttpSettings | None = None,
        *,
        settings: PartitionSettings = PARTITION_SETTINGS,
        located: bool = True,
        now: Callable[[], float] = lambda: NOW,
        pagerduty: Mapping[str, Signatures] | None = None,
    ) -> RunningApi: ...


@asynccontextmanager
async def running(  # noqa: PLR0913 - what a server joins
    holder: MemoryHolder,
    http: HttpSettings | None = None,
    *,
    settings: PartitionSettings = PARTITION_SETTINGS,
    located: bool = True,
    now: Callable[[], float] = lambda: NOW,
    pagerduty: Mapping[str, Signatures] | None = None,
) -> AsyncIterator[RunningApi]:
    health = SettableHealth()
    silences = MemorySilences(now)
    names = MemoryNames.of(settings.names)
    dead_letters = MemoryDeadLetters()
    http = http or HttpSettings(port=0)
    listener = await listen(http)
    certificate = ServerCertificate.of(http.tls)
    answered: list[tuple[str, str, int]] = []
    server = ApiServer(
        http,
        listener,
        holder,
        settings,
        health,
        silences=silences,
        names=names,
        dead_letters=dead_letters,
        metrics=lambda accept: (b"made_up 1.0\n", f"text/plain; asked={accept}"),
        located=located,
        now=now,
        groups_are_read=lambda: health.groups_are_read,
        pagerduty=pagerduty,
        certificate=certificate,
        answered=lambda method, route, status, _: answered.append((method, route, status)),
    )
    await server.start()
    try:
        url = server.url or f"http://127.0.0.1:{server.port}"
        host = "::1" if ":" in http.host else "127.0.0.1"
        yield RunningApi(
            server.port,
            holder,
            health,
            silences,
            names,
            url,
            host,
            answered,
            certificate,
            server.on_commit,
            dead_letters,
        )
    finally:
        await server.stop()


@pytest.fixture(autouse=True)
def lists_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading a list is dear it is read again later, which a busy machine would bring about.

    Tests of that say themselves what is dear.
    """
    monkeypatch.setattr(rows, "_CHEAP", 1e9)


@pytest.fixture
async def start() -> AsyncIterator[StartApi]:
    """Starts servers that stop with the test."""
    async with AsyncExitStack() as stack:

        async def enter(holder: MemoryHolder, *args: Any, **options: Any) -> RunningApi:
            return await stack.enter_async_context(running(holder, *args, **options))

        yield enter
