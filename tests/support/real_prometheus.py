"""A real Prometheus for tests: Debian's package `prometheus`, or any other."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess

PROGRAM = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
RULES = Path(__file__).parents[2] / "config" / "prometheus-rules.yaml"


class RealPrometheus:
    """Scrapes one worker every two seconds, with the project's rules; runs in `async with`.

    Args:
        directory: for its configuration, storage and log.
        port: of the worker on this machine.
        scrape: more settings of the scraping.
    """

    def __init__(self, directory: Path, port: int, scrape: Mapping[str, Any]) -> None:
        self._port = free_port()
        self._directory = directory
        self._process: ServerProcess | None = None
        job = {
            "job_name": "campaign-streams",
            "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}],
            **scrape,
        }
        times = {"scrape_interval": "2s", "evaluation_interval": "1s"}
        # JSON is YAML.
        self._file = directory / "prometheus.yaml"
        self._file.write_bytes(
            orjson.dumps({"global": times, "rule_files": [str(RULES)], "scrape_configs": [job]})
        )

    @property
    def log(self) -> str:
        """What it said."""
        return (self._directory / "prometheus.log").read_text("utf-8")

    async def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the labels and values of an instant query; nothing before it is ready."""
        try:
            found = (await self._ask("query", query=expression))["result"]
        except aiohttp.ClientError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in found]

    async def rules(self) -> Sequence[Mapping[str, Any]]:
        """Return the alerting rules, as it has evaluated them."""
        groups = (await self._ask("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def targets(self) -> Sequence[Mapping[str, Any]]:
        """Return what it scrapes, with errors."""
        found: Sequence[Mapping[str, Any]] = (await self._ask("targets"))["activeTargets"]
        return found

    async def _ask(self, path: str, **parameters: str) -> Mapping[str, Any]:
        """Return the data of an answer of its API.

        Raises:
            aiohttp.ClientError: it does not answer, or not with that.
        """
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{path}"
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.get(url, params=parameters) as answer,
        ):
            data: Mapping[str, Any] = orjson.loads(await answer.read())["data"]
            return data

    async def __aenter__(self) -> Self:
        assert PROGRAM is not None
        command = [
            PROGRAM,
            f"--config.file={self._file}",
            f"--storage.tsdb.path={self._directory / 'prometheus'}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        ]
        self._process = ServerProcess(command, log_file=self._directory / "prometheus.log")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)
