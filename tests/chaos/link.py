"""A link between one worker and the brokers that can be cut, slowed and reset, and that listens.

It is a TCP proxy. While a direction is held, what was sent in it waits, as it does in the buffers
of a network that is cut, and arrives when the network is back. The link knows Kafka's framing well
enough to say when a request of a certain kind passes, so that a fault can be timed to a commit:
https://kafka.apache.org/protocol (each request is preceded by its size, and begins with its key).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, TypeAlias

from tests.support.ports import LOOPBACK, free_port

Direction: TypeAlias = Literal["to the broker", "to the worker"]
DIRECTIONS: tuple[Direction, Direction] = ("to the broker", "to the worker")
CHUNK = 64 * 1024

Watcher: TypeAlias = Callable[[int, bytes], bool]
"""Is given the key of a request, and the piece of data that it begins in; tells whether to break
the connection instead of letting that go on."""

PRODUCE = 0
JOIN_GROUP = 11
INIT_PRODUCER_ID = 22
ADD_PARTITIONS_TO_TXN = 24
END_TXN = 26
TXN_OFFSET_COMMIT = 28


class Requests:
    """Finds the requests in what a client sends over one connection."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0

    def keys(self, data: bytes) -> list[int]:
        """Take the next bytes; return the keys of the requests that begin in them."""
        found = []
        while data:
            if self._skip:
                skipped = min(self._skip, len(data))
                self._skip -= skipped
                data = data[skipped:]
                continue
            missing = 6 - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == 6:
                size, key = struct.unpack(">ih", self._head)
                found.append(key)
                self._head, self._skip = b"", size - 2
        return found


class Link:
    """The ways from one worker to the brokers, and back; started once, for all lives of all."""

    def __init__(self, name: str, brokers: int = 1) -> None:
        self.name = name
        self.ports = [free_port() for _ in range(brokers)]
        self.targets = [0] * brokers
        """The brokers' ports for this link."""
        self.delay = 0.0
        """Seconds that every piece of data takes longer."""
        self.refusing = False
        self.unanswered: set[int] = set()
        """Kinds of requests of which the next one is never answered, nor any after it on the same
        connection."""
        self._flowing = {direction: asyncio.Event() for direction in DIRECTIONS}
        self._writers: set[asyncio.StreamWriter] = set()
        self._watchers: list[Watcher] = []
        self._serving: set[asyncio.Task[None] | None] = set()
        self._servers: list[asyncio.Server] = []

    @property
    def addresses(self) -> list[str]:
        """host:port of each broker, for the worker."""
        return [f"{LOOPBACK}:{port}" for port in self.ports]

    async def start(self) -> None:
        """Listen."""
        self.heal()
        for broker, port in enumerate(self.ports):
            serve = partial(self._serve, broker)
            self._servers.append(await asyncio.start_server(serve, LOOPBACK, port))

    async def close(self) -> None:
        """Break all connections and listen no more."""
        for server in self._servers:
            server.close()
        self.heal()
        while self._serving:
            self.reset()
            await asyncio.sleep(0.01)

    # What can be done to it

    def hold(self, *directions: Direction) -> None:
        """Let nothing through any more."""
        for direction in directions:
            self._flowing[direction].clear()

    def heal(self) -> None:
        """Let everything through."""
        self.delay = 0.0
        self.refusing = False
        for flowing in self._flowing.values():
            flowing.set()

    def reset(self) -> None:
        """Break all connections, as a firewall does that forgot about them."""
        for writer in list(self._writers):
            _reset(writer)

    async def meet(self, key: int, act: Callable[[], None], *, swallow: bool, within: float) -> str:
        """Act in the moment in which a request of a kind arrives from the worker.

        Args:
            key: the request's.
            act: what to do, before the request goes on.
            swallow: break the connection instead of letting the request go on.
            within: seconds; if no such request comes in them, act anyway.

        Returns:
            How that went, in a few words.
        """
        met = asyncio.Event()

        def watch(seen: int, _: bytes) -> bool:
            if seen != key or met.is_set():
                return False
            met.set()
            act()
            return swallow

        with self.watching(watch):
            try:
                await asyncio.wait_for(met.wait(), within)
            except TimeoutError:
                act()
                return f"without having met a request {key}"
        return f"at a request {key}, {'which is swallowed' if swallow else 'which goes on'}"

    @contextlib.contextmanager
    def watching(self, watch: Watcher) -> Iterator[None]:
        """Show something each request from the worker for so long."""
        self._watchers.append(watch)
        try:
            yield
        finally:
            self._watchers.remove(watch)

    # How it works

    async def _serve(
        self, broker: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._connect(self.targets[broker], reader, writer)
        finally:
            self._serving.discard(task)

    async def _connect(
        self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.refusing:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, target)
        except OSError:  # the broker is down
            _reset(writer)
            return
        both = {writer, far_writer}
        self._writers |= both
        silent = asyncio.Event()
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, "to the broker", silent)),
            asyncio.create_task(self._pump(far_reader, writer, "to the worker", silent)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= both
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in both:
                each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        silent: asyncio.Event,
    ) -> None:
        requests = Requests()
        flowing = self._flowing[direction]
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if direction == "to the broker":
                    keys = requests.keys(data)
                    if self._swallows(keys, data):
                        return
                    if not self.unanswered.isdisjoint(keys):
                        self.unanswered.difference_update(keys)
                        silent.set()
                elif silent.is_set():
                    continue
                if self.delay:
                    await asyncio.sleep(self.delay)
                await flowing.wait()
                writer.write(data)
                await writer.drain()
            # What was sent before the end waits as well, and so does the end.
            await flowing.wait()

    def _swallows(self, keys: list[int], data: bytes) -> bool:
        swallowed = [watch(key, data) for key in keys for watch in list(self._watchers)]
        return any(swallowed)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection, unless it is, in a way that the other side notices as an error."""
    if writer.transport.is_closing():
        return
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
