"""A real Apache Kafka as one process, for tests: started, stopped, killed, paused, restarted."""

import atexit
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.support import kafka_jars
from tests.support.ports import LOOPBACK, answers, free_port, is_free
from tests.support.processes import ServerProcess

START_TIMEOUT_S = 90.0
ATTEMPTS = 5

SERVER_PROPERTIES = Path(__file__).parent / "kafka" / "server.properties"
HEAP = "1g"
JAVA_OPTIONS = (
    *("-Xms256m", "-XX:+UseSerialGC"),
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


@dataclass(frozen=True)
class RunningBroker:
    """A broker that tests can use, and what it can do."""

    kind: Literal["embedded", "kafka"]
    address: str
    """host:port"""

    @property
    def guarantee(self) -> Literal["exactly-once", "at-least-once"]:
        """The strongest `kafka.guarantee` that works there."""
        return "exactly-once" if self.kind == "kafka" else "at-least-once"


class KafkaStartError(Exception):
    """Kafka does not start; the message has the end of its log."""


class KafkaBroker:
    """One Kafka: broker and controller in one process on loopback, data in a directory of its own.

    `port` 0 takes a free one; the port stays the same over restarts. `heap` is Java's -Xmx;
    `properties` are lines that come after those of `server.properties`, and win. All
    methods block (use `asyncio.to_thread` where a test's event loop has to go on). `close` ends the
    process and removes the data; it also happens at the end of the interpreter.

    Raises (from `start`):
        kafka_jars.KafkaUnavailableError: no Java or no Maven.
        KafkaStartError: the given port is taken, or Kafka ended or did not answer.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        version: str | None = None,
        directory: Path | None = None,
        heap: str = HEAP,
        properties: str = "",
    ) -> None:
        self.port = port
        self.properties = properties
        self.heap = heap
        self.version = version or kafka_jars.tested_version()
        self.start_seconds = 0.0
        self.directory = directory or Path(tempfile.mkdtemp(prefix="campaign-streams-kafka-"))
        self._process: ServerProcess | None = None
        atexit.register(self.close)

    @property
    def address(self) -> str:
        """host:port, for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """What Kafka said: warnings and errors."""
        return self.directory / "kafka.log"

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own; 0 when none runs."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process is there (paused counts)."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start on the data there is, or format first; return when clients are answered."""
        if self.running:
            return
        began = time.monotonic()
        jars = kafka_jars.class_path(self.version)
        if (self.directory / "server.properties").exists():
            self._run(jars)
        else:
            self._first_start(jars)
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Shut down in order (SIGTERM); the data stays."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """Kill -9: nothing is flushed or said; the data stays as it is."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop, unless it is down already, and start again: same data, same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and get no answer."""
        assert self._process is not None, "Kafka is not running"
        self._process.pause()

    def resume(self) -> None:
        """Let a paused process go on."""
        assert self._process is not None, "Kafka is not running"
        self._process.resume()

    def close(self) -> None:
        """End the process at once and remove its data."""
        self.kill()
        atexit.unregister(self.close)
        shutil.rmtree(self.directory, ignore_errors=True)

    def detach(self) -> None:
        """Let the process live on after this interpreter."""
        if self._process is not None:
            self._process.detach()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _first_start(self, jars: str) -> None:
        given = self.port
        if given and not is_free(given):
            raise KafkaStartError(f"Port {given} on {LOOPBACK} is in use: choose another one")
        for attempt in range(1, ATTEMPTS + 1):
            self.port = given or free_port()
            self._configure(free_port())
            try:
                self._format(jars)
                self._run(jars)
            except KafkaStartError:
                # Between the choice of a port and its use another program may have taken it.
                taken = "Address already in use" in self.log_file.read_text(errors="replace")
                if attempt == ATTEMPTS or not taken:
                    raise
                shutil.rmtree(self.directory / "data")
            else:
                return

    def _configure(self, controller_port: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        text = SERVER_PROPERTIES.read_text().format(
            host=LOOPBACK,
            port=self.port,
            controller_port=controller_port,
            data=self.directory / "data",
        )
        text += self.properties
        (self.directory / "server.properties").write_text(text)

    def _format(self, jars: str) -> None:
        # Any 16 bytes in URL-safe base64 are a cluster id.
        formatted = subprocess.run(
            [
                *("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", jars),
                *("kafka.tools.StorageTool", "format", "-t", "Y2FtcGFpZ24tc3RyZWFtcw"),
                *("-c", str(self.directory / "server.properties")),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )
        if formatted.returncode != 0:
            raise KafkaStartError(f"Kafka's storage: {formatted.stdout}{formatted.stderr}")

    def _run(self, jars: str) -> None:
        process = ServerProcess(
            [
                *("java", f"-Xmx{self.heap}", *JAVA_OPTIONS, "-cp", jars),
                *("kafka.Kafka", str(self.directory / "server.properties")),
            ],
            log_file=self.log_file,
            cwd=self.directory,
        )
        self._process = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.port):
            if not process.running or time.monotonic() > deadline:
                state = "does not answer" if process.running else "ended while starting"
                self.kill()
                tail = self.log_file.read_text(errors="replace")[-2000:]
                raise KafkaStartError(f"Kafka {self.version} {state}:\n{tail}")
            time.sleep(0.05)
