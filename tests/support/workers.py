"""`campaign-streams worker` as a process of its own, and questions to its API."""

import asyncio
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.support.brokers import RunningBroker
from tests.support.http import HttpAnswer, request
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess
from tests.support.waiting import PATIENCE_S

Settings = dict[str, Any]


THRESHOLD = {"kind": "threshold"}
RULES = [
    {"name": f"{group}-spike", "group": group, "severity": severity, "detector": THRESHOLD}
    for group, severity in (("failure", "critical"), ("throttled", "warning"))
]
"""The default rules, but with a detector that a handful of events is enough for, at once."""


def settings_for(broker: RunningBroker, prefix: str, **sections: Settings | list[Any]) -> Settings:
    """A configuration for one test: topics and group of its own, a short session.

    Args:
        broker: where.
        prefix: begins all names.
        sections: more settings, by section; they win.
    """
    roles = {
        "source": "events",
        "repartition": "repartition",
        "changelog": "changelog",
        "silences": "silences",
        "groups": "groups",
        "campaign_names": "campaign-names",
        "app_names": "app-names",
        "alerts": "alerts",
    }
    roles["dead_letter"] = "dead"
    settings: Settings = {
        "kafka": {
            "bootstrap_servers": [broker.address],
            "group_id": prefix,
            "session_timeout": 4,
            "guarantee": broker.guarantee,
        },
        "topics": {role: f"{prefix}-{name}" for role, name in roles.items()},
        # A test of roll-ups names its own.
        "windows": {"rollups": []},
        "http": {"host": LOOPBACK},
        "rules": RULES,
    }
    for name, section in sections.items():
        if isinstance(section, dict):
            settings[name] = {**settings.get(name, {}), **section}
        else:
            settings[name] = section
    return settings


class WorkerProcess:
    """One worker; `start` again after `stop` or `kill` for another life of it.

    Args:
        settings: its configuration; the port is chosen here if it names none.
        directory: for its configuration and log.
        name: of its files.
        module: the program; one that is not the product's has a defect on purpose.
    """

    def __init__(
        self, settings: Settings, directory: Path, name: str = "worker", module: str = "streams"
    ) -> None:
        self.port = free_port()
        self._file = directory / f"{name}.yaml"
        self.log_file = directory / f"{name}.log"
        self._module = module
        self.tls: ssl.SSLContext | None = None
        """How its API is asked, where that is over TLS."""
        self._process: ServerProcess | None = None
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Give its next life another configuration."""
        http = {"port": self.port, **settings.get("http", {})}
        # JSON is YAML.
        self._file.write_bytes(orjson.dumps({**settings, "http": http}))

    def start(self) -> None:
        """Start; it is not ready yet."""
        command = [sys.executable, "-m", self._module, "worker", "--config", str(self._file)]
        self._process = ServerProcess(command, log_file=self.log_file)

    @property
    def process(self) -> ServerProcess:
        """The process that runs, or ran last."""
        assert self._process is not None, "the worker was not started"
        return self._process

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        return self.process.stop()

    def kill(self) -> int:
        """SIGKILL; return the exit status."""
        return self.process.kill()

    @property
    def log(self) -> str:
        """What it said, in all its lives."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    async def ask(self, target: str, headers: dict[str, str] | None = None) -> HttpAnswer:
        """Ask its API."""
        return await request(self.port, target, headers=headers, tls=self.tls)

    async def post(self, target: str, body: object) -> HttpAnswer:
        """Send its API a JSON body."""
        return await request(
            self.port,
            target,
            method="POST",
            headers={"Content-Type": "application/json"},
            body=orjson.dumps(body),
            tls=self.tls,
        )

    async def delete(self, target: str) -> HttpAnswer:
        """Have its API delete something."""
        return await request(self.port, target, method="DELETE", tls=self.tls)

    async def json(self, target: str) -> Any:
        """Ask its API for something that has to be there."""
        answer = await self.ask(target)
        assert answer.status == 200, f"{target}: {answer.status} {answer.body[:500]!r}"
        return answer.json

    async def metrics(self) -> Mapping[str, float]:
        """Return all samples, by name and labels as Prometheus writes them."""
        page = (await self.ask("/metrics")).body.decode()
        lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def ready(self, within: float = PATIENCE_S) -> Self:
        """Return as soon as it is ready."""
        return await self._answering("/readyz", within)

    async def listening(self, within: float = PATIENCE_S) -> Self:
        """Return as soon as its API answers; it need not be ready."""
        return await self._answering("/livez", within)

    async def _answering(self, target: str, within: float) -> Self:
        deadline = time.monotonic() + within
        while True:
            if not self.process.running:
                raise AssertionError(f"the worker ended while starting:\n{self.log[-3000:]}")
            try:
                if (await self.ask(target)).status == 200:
                    return self
            except (OSError, TimeoutError, IndexError):
                pass  # it does not listen yet
            if time.monotonic() > deadline:
                raise AssertionError(f"the worker says no 200 to {target}:\n{self.log[-3000:]}")
            await asyncio.sleep(0.1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
