"""A Kafka with a listener of its own for each link, so that the workers' networks are apart."""

import os
import signal
from collections.abc import Sequence

from tests.chaos.link import Link
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK, free_port

OUT_OF_SYNC = "is out of sync with the underlying log"
"""Kafka's words when the coordinator has read only a part of `__consumer_offsets` after a kill -9.
Groups cannot commit or rebalance from then on, until the broker is restarted."""


class LinkedKafka(KafkaBroker):
    """A `KafkaBroker` that tells who comes over a link to come back over that link.

    Its own address stays a direct one.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        super().__init__()
        self._links = links

    def strike(self) -> None:
        """Kill -9, without waiting for the end: `kill` does that."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)

    def coordinator_errors(self) -> int:
        """How often the broker said that its group coordinator does not fit its own log."""
        return self.log_file.read_text(errors="replace").count(OUT_OF_SYNC)

    def _configure(self, controller_port: int) -> None:
        super()._configure(controller_port)
        for link in self._links:
            link.target = free_port()
        names = [f"LINK{n}" for n in range(len(self._links))]
        listeners = [f"PLAINTEXT://{LOOPBACK}:{self.port}"]
        advertised = list(listeners)
        for name, link in zip(names, self._links, strict=True):
            listeners.append(f"{name}://{LOOPBACK}:{link.target}")
            advertised.append(f"{name}://{link.address}")
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
            )
