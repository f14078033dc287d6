"""A real Alertmanager for tests: Debian's package `prometheus-alertmanager`, or any other."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.support.http import request
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess
from tests.support.waiting import until

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

CONFIGURATION = {
    "route": {
        "receiver": "there",
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
}
"""Tells each alert by itself, and once."""


class RealAlertmanager:
    """Runs inside `async with`; `stop` and `start` again keep what it writes to its disk.

    Args:
        directory: for its configuration, storage and log.
        notified: a URL that it sends its own notifications to.
    """

    def __init__(self, directory: Path, notified: str) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/api/v2/alerts"
        self._directory = directory
        self._process: ServerProcess | None = None
        receiver = {"name": "there", "webhook_configs": [{"url": notified, "send_resolved": True}]}
        # JSON is YAML.
        self._file = directory / "alertmanager.yaml"
        self._file.write_bytes(orjson.dumps({**CONFIGURATION, "receivers": [receiver]}))

    async def start(self) -> None:
        """Start, and return once it answers."""
        assert PROGRAM is not None
        command = [
            PROGRAM,
            f"--config.file={self._file}",
            f"--storage.path={self._directory / 'alertmanager'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--cluster.listen-address=",
        ]
        self._process = ServerProcess(command, log_file=self._directory / "alertmanager.log")
        await until(self._is_ready)

    async def stop(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)

    async def alerts(self) -> list[Mapping[str, Any]]:
        """Return the alerts that have not ended."""
        answer = await request(self.port, "/api/v2/alerts")
        assert answer.status == 200
        found: list[Mapping[str, Any]] = answer.json
        return found

    async def _is_ready(self) -> bool:
        try:
            return (await request(self.port, "/-/ready")).status == 200
        except (OSError, IndexError):
            return False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
