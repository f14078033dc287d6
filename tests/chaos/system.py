"""The system under test: brokers, workers in one group, links from each of them to the brokers."""

import asyncio
import contextlib
import logging
import random
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import orjson

from tests.chaos.kafka import Cluster
from tests.chaos.link import Link
from tests.chaos.receiver import WORKER, Receiver
from tests.chaos.traffic import PARTITIONS
from tests.support import poison
from tests.support.brokers import RunningBroker
from tests.support.processes import ServerProcess
from tests.support.receiver import SECRET
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

NAMES = ("a", "b", "c", "d")
MOST_USUAL = len(NAMES) - 1
"""One more than run while nothing happens can join."""
SESSION_S = 4.0
WINDOW_S, GRACE_S, RETENTION_S = 5, 5, 240
"""At first; `System.change_windows` changes size and grace. Alerts that have ended are kept as long
as windows: until all is compared."""
ROLLUPS_S = {20: 420, 60: 86_400}
"""By the step of each roll-up, its retention: so short that counts go on to both."""
FAUST_RETENTION_S = 86_400
"""Of the plain program: it rolls nothing up."""
TASKS = 4
READY_WITHIN_S = 90.0
SMALL = {"retention.ms": "600000", "segment.bytes": f"{64 * 1024 * 1024}"}
"""Settings of the source topic."""
STARTS_AGAIN_AFTER_S = 0.5

RETRIES_S = [*[1] * 30, *[5] * 30]
"""So often that nothing is given up while a receiver fails by chance."""
PLAIN, GROUPING = "ops", "team"
"""The names of the receivers."""
GROUPED = {"group_by": "cause", "group_wait": "3s", "group_interval": "2s"}
"""How the second one is told."""
LIMITS = {"names": 200, "values": 40, "campaigns": 80}
"""Far above what the campaigns that are watched have, so that a flood soon meets them."""

RULES = [
    {
        "name": "threshold",
        "group": "failure",
        "detector": {
            "kind": "threshold",
            "level": 0.25,
            "recovery_level": 0.2,
            "min_attempts": 30,
        },
        "keep_firing_for": "1s",
        # Not so often that something is always on its way while a channel is down.
        "repeat_interval": "10s",
    },
    {
        "name": "spike",
        "group": "failure",
        "detector": {"kind": "spike", "patience": "2s"},
        "keep_firing_for": "1s",
    },
]


class Worker(Protocol):
    """A process that counts; `start` again for another life of it."""

    @property
    def process(self) -> ServerProcess:
        """The process that runs, or ran last."""
        ...

    def start(self) -> None:
        """Start; it is not ready yet."""
        ...

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        ...

    def kill(self) -> int:
        """SIGKILL; return the exit status."""
        ...

    async def is_ready(self) -> bool:
        """Whether it has all that it should have."""
        ...


class OurWorker(WorkerProcess):
    """`campaign-streams worker`, with the defect that poisoned records need."""

    async def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            answer = await self.ask("/readyz")
        except (OSError, TimeoutError, IndexError):
            return False
        return answer.status == 200


class System:
    """Runs inside `async with running(...)`.

    Workers that end are started again, as a supervisor does, unless they are held down.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        directory: Path,
        notes: logging.Logger,
        brokers: int,
        *,
        workers: int = 2,
        keyed: bool = False,
        seed: int = 0,
    ) -> None:
        self.directory = directory
        self.notes = notes
        self.names = NAMES[: workers + 1]
        """All workers that there may be; one less runs while nothing happens."""
        self.links = {name: Link(name, brokers) for name in self.names}
        self.kafka = Cluster(list(self.links.values()), brokers)
        self.keyed = keyed
        """Whether the source topic is keyed by campaign, so that nothing is repartitioned."""
        self.receiver = Receiver(f"{seed}")
        self.grouping_receiver = Receiver(f"{seed}/grouping")
        """Is told of alerts with a common cause in groups."""
        self.workers: dict[str, Worker] = {}
        self.wanted: set[str] = set()
        self.held: Counter[str] = Counter()
        self.settings: Settings = {}
        self.repairing = asyncio.Lock()
        """Held while brokers are started."""
        self.repairs = 0
        """How often the brokers were restarted because a group coordinator was broken."""
        self.kills = 0
        """How often a worker that ran was killed (-9)."""
        self.own_ends = 0
        """How often a worker ended that nobody had ended."""
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    # The parts

    async def start(self) -> None:
        """Start the brokers, make the source topic, prepare workers."""
        for link in self.links.values():
            await link.start()
        await asyncio.to_thread(self.kafka.start)
        direct = RunningBroker("kafka", self.kafka.address)
        self.settings = settings_for(
            direct,
            "chaos",
            source={"keyed": self.keyed},
            topics={
                "windows": "chaos-windows",
                "partitions": self.tasks,
                "replication_factor": len(self.kafka.brokers),
            },
            limits=LIMITS,
            windows={
                "size": WINDOW_S,
                "grace": GRACE_S,
                "retention": RETENTION_S,
                "rollups": [{"step": s, "retention": r} for s, r in ROLLUPS_S.items()],
                "late_into_rollups": True,
            },
            rules=RULES,
            receivers=[
                {
                    "name": PLAIN,
                    "url": self.receiver.url,
                    "secrets": [SECRET],
                    "group_by": "none",
                },
                {
                    "name": GROUPING,
                    "url": self.grouping_receiver.url,
                    "secrets": [SECRET],
                    **GROUPED,
                },
            ],
            delivery={
                "allow_http": True,
                "allow_networks": ["127.0.0.0/8"],
                "retry_schedule": RETRIES_S,
            },
        )
        self.settings["kafka"]["session_timeout"] = SESSION_S
        await self.kafka.create_topic(self.topic("source"), PARTITIONS, SMALL)
        await self._make_topics()
        for name, link in self.links.items():
            self.workers[name] = self.make_worker(name, link)

    async def _make_topics(self) -> None:
        """Make the workers' topics: a worker that starts while one is away must not make that."""
        file = self.directory / "topics.yaml"
        kafka = {**self.settings["kafka"], "bootstrap_servers": self.kafka.address.split(",")}
        settings = orjson.dumps({**self.settings, "kafka": kafka})  # JSON is YAML
        await asyncio.to_thread(file.write_bytes, settings)
        command = (sys.executable, "-m", "streams", "topics", "create", "--config", str(file))
        making = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await making.wait() == 0
        self.settings["topics"]["create"] = False

    def make_worker(self, name: str, link: Link) -> Worker:
        """Prepare a worker that reaches the brokers over a link."""
        settings = self._settings_over(link)
        return OurWorker(settings, self.directory, f"worker-{name}", poison.MODULE)

    def _settings_over(self, link: Link) -> Settings:
        over_link = {**self.settings["kafka"], "bootstrap_servers": link.addresses}
        # So that it can be told whose webhook it is.
        receivers = [
            {**each, "url": f"{each['url']}&{WORKER}={link.name}"}
            for each in self.settings["receivers"]
        ]
        return {**self.settings, "kafka": over_link, "receivers": receivers}

    @property
    def tasks(self) -> int:
        """How many tasks the work is parted into."""
        return PARTITIONS if self.keyed else TASKS

    @property
    def window_s(self) -> int:
        """How long windows are (s)."""
        size: int = self.settings["windows"]["size"]
        return size

    def topic(self, role: str) -> str:
        """The name of a topic."""
        name: str = self.settings["topics"][role]
        return name

    def close(self) -> None:
        """End all processes."""
        self.wanted.clear()
        for name in self.running():
            self.workers[name].kill()
        self.kafka.close(self.directory)

    # Workers

    def running(self) -> list[str]:
        """The workers that run; paused ones count."""
        return [n for n, w in self.workers.items() if n in self._begun and w.process.running]

    async def some(self, chance: random.Random) -> str:
        """Choose a worker that runs, as soon as there is one."""

        async def any_runs() -> bool:
            return any(not self.held[name] for name in self.running())

        await until(any_runs)
        return chance.choice([name for name in self.running() if not self.held[name]])

    @contextlib.contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Start a worker that ends no more for so long."""
        self.held[name] += 1
        try:
            yield
        finally:
            self.held[name] -= 1

    def kill(self, name: str) -> None:
        """Kill -9 a worker."""
        self.kills += name in self.running()
        self._ended.add(name)
        self.workers[name].kill()

    async def stop(self, name: str) -> None:
        """SIGTERM a worker and wait for its end."""
        self._ended.add(name)
        status = await asyncio.to_thread(self.workers[name].stop)
        self.notes.info("%s stopped with status %d", name, status)

    def pause(self, name: str) -> None:
        """SIGSTOP a worker."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            self.workers[name].process.pause()

    def resume(self, name: str) -> None:
        """SIGCONT a worker."""
        with contextlib.suppress(ProcessLookupError):
            self.workers[name].process.resume()

    def take_disk(self, name: str) -> None:
        """Let every write of a worker to any file fail, its log included."""
        self._limit_files(name, 0)

    def give_disk(self, name: str) -> None:
        """Let a worker write to files again."""
        self._limit_files(name, resource.RLIM_INFINITY)

    def _limit_files(self, name: str, size: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            pid = self.workers[name].process.pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def supervise(self) -> None:
        """Start workers that should run and do not. Never returns."""
        while True:
            for name in sorted(self.wanted):
                if name not in self.running() and not self.held[name]:
                    self._start(name)
            await asyncio.sleep(STARTS_AGAIN_AFTER_S)

    def _start(self, name: str) -> None:
        worker = self.workers[name]
        if name in self._begun and name not in self._ended:
            self.own_ends += 1
            self.notes.warning("%s ended by itself with status %d", name, worker.process.kill())
        self._ended.discard(name)
        self._begun.add(name)
        self.notes.info("%s started", name)
        worker.start()

    async def change_windows(self, size: int, grace: int, *, gently: bool) -> None:
        """End all workers, `gently` or with kill -9, and let them go on with other windows (s)."""
        with contextlib.ExitStack() as held:
            for name in self.names:
                held.enter_context(self.down(name))
            for name in self.running():
                if gently:
                    await self.stop(name)
                else:
                    self.kill(name)
            self.settings["windows"] |= {"size": size, "grace": grace}
            for name, worker in self.workers.items():
                if isinstance(worker, OurWorker):
                    worker.configure(self._settings_over(self.links[name]))

    # Between the rounds

    async def usual(self) -> None:
        """Let the usual number of workers run, and be ready."""
        *usual, joining = self.names
        self.wanted |= set(usual)
        self.wanted.discard(joining)
        if joining in self.running():
            await self.stop(joining)
        await self.ready()

    async def restart_all(self) -> None:
        """Kill -9 all workers; return when all are ready again."""
        for name in self.running():
            self.kill(name)
        await self.ready()

    async def heal(self) -> None:
        """Undo what a fault may have left behind; return when enough workers are ready."""
        for link in self.links.values():
            link.heal()
        for name in self.running():
            self.resume(name)
            self.give_disk(name)
        async with self.repairing:
            await asyncio.to_thread(self.kafka.start)
        for name in self.names:
            if len(self.wanted) < len(self.names) - 1:
                self.wanted.add(name)
        await self.ready()

    async def repair(self) -> None:
        """Do what an operator does about a group coordinator that is broken: restart Kafka."""
        self.repairs += 1
        self.notes.warning("restart Kafka: its group coordinator is broken")
        async with self.repairing:
            await asyncio.to_thread(self.kafka.stop)
            await asyncio.to_thread(self.kafka.start)

    async def ready(self) -> None:
        """Return as soon as all workers that should run are ready."""
        await until(self._all_ready, READY_WITHIN_S)

    async def _all_ready(self) -> bool:
        if set(self.running()) != self.wanted:
            return False
        return all([await self.workers[name].is_ready() for name in sorted(self.wanted)])


Running = TypeVar("Running", bound=System)


@contextlib.asynccontextmanager
async def running(system: Running) -> AsyncIterator[Running]:
    """Run a system; nothing of it is left at the end."""
    try:
        async with system.receiver.listening(), system.grouping_receiver.listening():
            await system.start()
            supervising = asyncio.create_task(system.supervise())
            try:
                yield system
            finally:
                supervising.cancel()
                await asyncio.gather(supervising, return_exceptions=True)
                for link in system.links.values():
                    await link.close()
    finally:
        system.close()
