"""Kafka, one broker or several, with a listener for each link: the workers' networks are apart."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.structs import TopicPartition

from tests.chaos.link import Link
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK, free_port
from tests.support.topics import delete_topic
from tests.support.waiting import PATIENCE_S

NO_BROKER_TO_REPLICATE = 38
"""Kafka's code of an error (INVALID_REPLICATION_FACTOR)."""
OUT_OF_SYNC = "is out of sync with the underlying log"
"""Kafka's words when the coordinator has read only a part of `__consumer_offsets` after a kill -9.
Groups cannot commit or rebalance from then on, until the broker is restarted."""
Coordinated: TypeAlias = Literal["group", "transaction"]


class Place(NamedTuple):
    """Of a broker in its cluster: its number from 1 on, and the controllers' ports."""

    number: int
    controllers: tuple[int, ...]

    @property
    def settings(self) -> str:
        """What is different from a broker that is alone: every record is on at least two."""
        numbered = enumerate(self.controllers, start=1)
        voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in numbered)
        replicas = len(self.controllers)
        return (
            f"node.id={self.number}\n"
            f"controller.quorum.voters={voters}\n"
            f"default.replication.factor={replicas}\n"
            f"min.insync.replicas={replicas - 1}\n"
            f"offsets.topic.replication.factor={replicas}\n"
            f"transaction.state.log.replication.factor={replicas}\n"
            f"transaction.state.log.min.isr={replicas - 1}\n"
        )


class LinkedKafka(KafkaBroker):
    """A `KafkaBroker` that tells who comes over a link to come back over that link.

    Its own address stays a direct one.
    """

    def __init__(self, links: Sequence[Link], place: Place | None = None) -> None:
        super().__init__(free_port() if place else 0, heap="512m" if place else "1g")
        self._links = links
        self._place = place

    @property
    def number(self) -> int:
        """Its node id."""
        return self._place.number if self._place else 1

    def strike(self) -> None:
        """Kill -9, without waiting for the end: `kill` does that."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)

    def coordinator_errors(self) -> int:
        """How often the broker said that its group coordinator does not fit its own log."""
        return self.log_file.read_text(errors="replace").count(OUT_OF_SYNC)

    def _configure(self, controller_port: int) -> None:
        if self._place is not None:
            controller_port = self._place.controllers[self.number - 1]
        super()._configure(controller_port)
        names = [f"LINK{n}" for n in range(len(self._links))]
        listeners = [f"PLAINTEXT://{LOOPBACK}:{self.port}"]
        advertised = list(listeners)
        for name, link in zip(names, self._links, strict=True):
            target = link.targets[self.number - 1] = free_port()
            listeners.append(f"{name}://{LOOPBACK}:{target}")
            advertised.append(f"{name}://{link.addresses[self.number - 1]}")
        listeners.append(f"CONTROLLER://{LOOPBACK}:{controller_port}")
        protocols = [f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)]
        with (self.directory / "server.properties").open("a") as file:
            file.write(
                f"\n# Of two lines with the same name, the later one counts.\n"
                f"listeners={','.join(listeners)}\n"
                f"advertised.listeners={','.join(advertised)}\n"
                f"listener.security.protocol.map={','.join(protocols)}\n"
                # Events that were counted long ago make room.
                f"log.retention.check.interval.ms=20000\n"
                f"{self._place.settings if self._place else ''}"
            )


class Cluster:
    """One broker, or several with all topics on all of them. All but the coroutines block."""

    def __init__(self, links: Sequence[Link], size: int) -> None:
        ports = tuple(free_port() for _ in range(size))
        places = [Place(number, ports) if size > 1 else None for number in range(1, size + 1)]
        self.brokers = [LinkedKafka(links, place) for place in places]

    @property
    def address(self) -> str:
        """host:port of each, with commas, for clients that go over no link."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def version(self) -> str:
        """The release of Kafka."""
        return self.brokers[0].version

    def start(self) -> None:
        """Start those that do not run: all at once, as the first cannot answer alone."""
        self._each(LinkedKafka.start)

    def stop(self) -> None:
        """SIGTERM all."""
        self._each(LinkedKafka.stop)

    def strike(self) -> None:
        """Kill -9 all, without waiting for the end."""
        for broker in self.brokers:
            broker.strike()

    def kill(self) -> None:
        """Kill -9 all."""
        self._each(LinkedKafka.kill)

    def _each(self, act: Callable[[LinkedKafka], None]) -> None:
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(act, self.brokers))

    def coordinator_errors(self) -> int:
        """How often a broker said that its group coordinator does not fit its own log."""
        return sum(broker.coordinator_errors() for broker in self.brokers)

    def close(self, directory: Path) -> None:
        """End all, and keep their logs and Kafka's own topics in a directory."""
        self.kill()
        for broker in self.brokers:
            kept = directory / f"kafka-{broker.number}"
            kept.mkdir(exist_ok=True)
            with contextlib.suppress(OSError):
                shutil.copy(broker.log_file, kept)
                for internal in (broker.directory / "data").glob("__*"):
                    shutil.copytree(internal, kept / internal.name)
            broker.close()

    async def create_topic(self, name: str, partitions: int, settings: dict[str, str]) -> None:
        """Make a topic, on all brokers."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            topic = NewTopic(name, partitions, len(self.brokers), topic_configs=settings)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                response = await admin.create_topics([topic])
                ((_, code, *_),) = response.topic_errors
                if code != NO_BROKER_TO_REPLICATE or time.monotonic() > deadline:
                    break
                # A broker that has just started is not yet taken for one.
                await asyncio.sleep(0.2)
            assert code == 0, response
        finally:
            await admin.close()

    async def recreate_topic(
        self, name: str, partitions: int, settings: dict[str, str], away: float
    ) -> None:
        """Delete a topic, and make it anew when it was away for so many seconds."""
        await delete_topic(self.address, name)
        await asyncio.sleep(away)
        await self.create_topic(name, partitions, settings)

    async def delete_records(self, before: dict[TopicPartition, int]) -> None:
        """Delete the records of partitions up to offsets."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.delete_records({p: RecordsToDelete(at) for p, at in before.items()})
        finally:
            await admin.close()

    async def leader(self, topic: str, partition: int) -> LinkedKafka:
        """Return the broker that leads a partition."""
        client = AIOKafkaClient(bootstrap_servers=self.address)
        await client.bootstrap()
        try:
            await client.set_topics([topic])
            leader: int = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        finally:
            await client.close()
        return self.brokers[max(leader, 1) - 1]

    async def coordinator(self, of: Coordinated, name: str) -> LinkedKafka:
        """Return the broker that coordinates a group, or the transactions of an id."""
        client = AIOKafkaClient(bootstrap_servers=self.address)
        await client.bootstrap()
        kind = CoordinationType.GROUP if of == "group" else CoordinationType.TRANSACTION
        try:
            number: int = await client.coordinator_lookup(kind, name)
        finally:
            await client.close()
        return self.brokers[number - 1]


@contextlib.asynccontextmanager
async def linked_kafka() -> AsyncIterator[tuple[LinkedKafka, Link]]:
    """Run a Kafka and one link to it."""
    link = Link("worker")
    kafka = LinkedKafka([link])
    try:
        await link.start()
        await asyncio.to_thread(kafka.start)
        yield kafka, link
        await link.close()
    finally:
        kafka.close()
