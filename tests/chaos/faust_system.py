"""Stock Faust in the place of the workers."""

import json
import sys
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from tests.chaos.faust_program import APP
from tests.chaos.link import Link
from tests.chaos.system import FAUST_RETENTION_S, SESSION_S, WINDOW_S, System
from tests.chaos.traffic import PARTITIONS
from tests.support.processes import ServerProcess


class FaustProcess:
    """One Faust worker; `start` again for another life of it.

    Args:
        given: what `faust_program` is told.
        directory: for its files and log.
        name: of its files.
    """

    def __init__(self, given: dict[str, object], directory: Path, name: str) -> None:
        (directory / name).mkdir()
        self._given = json.dumps({**given, "directory": str(directory / name)})
        self._log_file = directory / f"{name}.log"
        self._process: ServerProcess | None = None

    def start(self) -> None:
        """Start; it is not ready yet."""
        command = [sys.executable, "-m", "tests.chaos.faust_program", self._given]
        self._process = ServerProcess(command, log_file=self._log_file)

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

    async def is_ready(self) -> bool:
        """Whether it runs: it has no way of saying more, so nothing more is asked of it."""
        return self.process.running


class FaustSystem(System):
    """The same brokers, links and faults, with Faust."""

    def make_worker(self, name: str, link: Link) -> FaustProcess:
        """Prepare a worker that reaches the brokers over a link."""
        given: dict[str, object] = {
            "broker": ";kafka://".join(link.addresses),
            "topic": self.topic("source"),
            "partitions": PARTITIONS,
            "session": SESSION_S,
            "window": WINDOW_S,
            "retention": FAUST_RETENTION_S,
        }
        return FaustProcess(given, self.directory, f"faust-{name}")

    @property
    def group(self) -> str:
        """The consumer group."""
        return APP

    async def topics_of(self, ending: str) -> list[str]:
        """Return Faust's own topics that end so."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.address)
        await admin.start()
        try:
            names: list[str] = await admin.list_topics()
        finally:
            await admin.close()
        return [name for name in names if name.startswith(APP) and name.endswith(ending)]
