"""The programs of `examples/receivers`: each takes a request for genuine, or does not."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.support.http import request
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess

EXAMPLES = Path(__file__).parents[2] / "examples" / "receivers"
NEEDS = {"python": "python3", "javascript": "node", "go": "go", "shell": "openssl"}
"""The program that each language needs."""
STARTS_WITHIN_S = 60.0
OFFLINE = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GO111MODULE": "off"}
"""What keeps Go from asking anybody for anything."""


class Example(Protocol):
    """An example program; `close` ends what it has started."""

    async def takes(self, keys: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether it takes a request for genuine, if it has these keys."""
        ...

    def close(self) -> None: ...


def why_missing(language: str) -> str | None:
    """Say what keeps the program in a language from running here; null if nothing does."""
    program = NEEDS[language]
    return None if language == "python" or shutil.which(program) else f"{program} is not installed"


def example_in(language: str, directory: Path) -> Example:
    """Return the program in a language; it may put files into a directory."""
    match language:
        case "python":
            return HttpExample([sys.executable, str(EXAMPLES / "receiver.py")], directory)
        case "javascript":
            return HttpExample(["node", str(EXAMPLES / "receiver.mjs")], directory)
        case "go":
            return CommandExample([str(_built(directory))])
        case _:
            return CommandExample(["bash", str(EXAMPLES / "verify.sh")])


def _built(directory: Path) -> Path:
    made = directory / "verify"
    command = ["go", "build", "-o", str(made), str(EXAMPLES / "verify.go")]
    subprocess.run(command, check=True, cwd=directory, env={**os.environ, **OFFLINE})
    return made


class CommandExample:
    """A program that takes one request, as CGI has it, and exits with 0 if it is genuine."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def takes(self, keys: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
        named = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()}
        environment = {**os.environ, "WEBHOOK_KEYS": " ".join(keys), **named}
        done = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
            self._command, input=body, env=environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def close(self) -> None:
        """Nothing is left of it."""


class HttpExample:
    """A receiver that answers 204 to what is genuine; one process for each choice of keys."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._command = command
        self._directory = directory
        self._running: dict[tuple[str, ...], RunningReceiver] = {}

    def with_keys(self, *keys: str) -> "RunningReceiver":
        """Return the receiver that has these keys, started."""
        if keys not in self._running:
            log_file = self._directory / f"receiver-{len(self._running)}.log"
            self._running[keys] = RunningReceiver(self._command, keys, log_file)
        return self._running[keys]

    async def takes(self, keys: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
        status = await self.with_keys(*keys).status_of(headers, body)
        assert status in {204, 401, 413}
        return status == 204

    def close(self) -> None:
        for each in self._running.values():
            each.process.kill()


class RunningReceiver:
    """One process of a receiver.

    Raises:
        AssertionError: it ended before it listened.
    """

    def __init__(self, command: Sequence[str], keys: Sequence[str], log_file: Path) -> None:
        self.port = free_port()
        self._log = log_file
        environment = {
            **os.environ,
            "WEBHOOK_KEYS": " ".join(keys),
            "PYTHONIOENCODING": "utf-8",
        }
        self.process = ServerProcess(
            [*command, str(self.port)],
            log_file=log_file,
            cwd=log_file.parent,
            environment=environment,
        )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._listens():
            assert self.process.running, self._log.read_text("utf-8")
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/"

    @property
    def alerts(self) -> list[str]:
        """The lines that it printed, without those of its requests."""
        lines = self._log.read_text("utf-8").splitlines()
        return [line for line in lines if line.startswith("campaign.")]

    async def status_of(self, headers: Mapping[str, str], body: bytes, method: str = "POST") -> int:
        """Send a request; return the status that it is answered with."""
        answer = await request(self.port, "/", method=method, headers=dict(headers), body=body)
        return answer.status

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0
