"""Readers of the live stream, as a process of its own; the stream's benchmark starts it.

Raw sockets in one event loop, and what many readers are told is taken apart once: so hundreds of
readers cost little beside what they measure. Kinds of readers, as pages and programs are:

- `page`: of one campaign;
- `overview`: the windows of a page of the list of campaigns, and all alerts;
- `all`: everything, as a program has it that copies the tables.

Every tenth stops reading when told to (SIGUSR1) and, told again, goes on with another worker. A
reader whose connection is lost goes on with the next worker a second later, as browsers do.

Each id says how far each partition is followed, and when its newest commit was (s, by the clock of
the worker that has it). So an answer's age is known: from the first commit that it tells of to its
arrival. Of commits that nobody was told of on their own the time is taken to be evenly spread.

On SIGTERM what every reader has been told is compared with the tables until it is the same; then
the result goes to a file as JSON, and the samples beside it: arrival (s, UTC), age (ms), the kind's
number, and 1 for readers that have lost their connection, or 0.
"""

import argparse
import asyncio
import signal
import socket
import sys
import time
from array import array
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import urlencode

import aiohttp
import orjson
import uvloop

from streams.domain.partial_counts import partition_of
from tests.support.ports import LOOPBACK
from tests.support.waiting import until

KINDS = ("page", "overview", "all")
SHARES = (0.80, 0.15, 0.05)
"""Of the readers, by kind."""
STICKS = 10
"""Every so many-th stops reading."""
ROWS = 100
"""Campaigns on a page of the overview."""
RETRY_S = 1.0
RECEIVE_BUFFER = 64 * 1024
MOST_BLOCKS = 50_000
BEGUN_WITHIN_S = 60.0
COMPARE_WITHIN_S = 30.0

Key: TypeAlias = tuple[str, str]
"""A campaign and the start of one of its windows."""
Positions: TypeAlias = Mapping[int, tuple[str, int, float]]
"""By partition: log, number of the newest commit, and when that was (s, UTC)."""


class Block(NamedTuple):
    """One event, taken apart."""

    kind: bytes
    key: Key | None
    data: bytes
    last_id: bytes | None


@dataclass
class Shared:
    """What all readers have together.

    Attributes:
        ports: of the workers.
        tasks: how many partitions there are.
        samples: arrival, age, kind and whether a connection was lost, one after the other.
        away: seconds from the loss of a connection to the first event with an id.
        commits: when (s, UTC) commits were, by log and number.
        seen: by worker and log, the newest two numbers of commits that anybody there was told of.
        counters: bytes, events, connections, `missed`.
    """

    ports: list[int]
    tasks: int
    samples: "array[float]" = field(default_factory=lambda: array("d"))
    away: list[float] = field(default_factory=list)
    commits: dict[tuple[str, int], float] = field(default_factory=dict)
    seen: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    blocks: dict[bytes, Block] = field(default_factory=dict)

    def block(self, raw: bytes) -> Block:
        """Take an event apart, once for all readers."""
        known = self.blocks.get(raw)
        if known is None:
            if len(self.blocks) > MOST_BLOCKS:
                self.blocks.clear()
            known = self.blocks[raw] = _parsed(raw)
        return known

    def positions(self, worker: int, last_id: bytes) -> Positions:
        """Read an id that a worker gave, and keep what it says of commits."""
        positions = _positions(last_id)
        for log, number, at in positions.values():
            self.commits[log, number] = at
            newest = self.seen.get((worker, log), (0, 0))[1]
            if number > newest:
                self.seen[worker, log] = newest, number
        return positions

    def told_before(self, worker: int, log: str, number: int) -> int:
        """Return the newest commit that a worker had told of before this one; 0 if unknown.

        What is told with it has changed after that one.
        """
        before, newest = self.seen.get((worker, log), (0, 0))
        return before if number == newest else 0


def _parsed(raw: bytes) -> Block:
    kind, data, last_id = b"", b"", None
    for line in raw.split(b"\n"):
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value
        elif name == b"data":
            data = value
        elif name == b"id":
            last_id = value
    key = None
    if kind == b"window":
        window = orjson.loads(data)
        key = window["campaign_id"], window["start"]
    return Block(kind, key, data, last_id)


@lru_cache(maxsize=512)
def _positions(last_id: bytes) -> Positions:
    decoded = orjson.loads(urlsafe_b64decode(last_id + b"=" * (-len(last_id) % 4)))
    return {int(n): (log, number, at) for n, (log, number, _, at) in decoded.items()}


class Reader(asyncio.Protocol):
    """One reader, over all its connections.

    Args:
        shared: what it shares with the others.
        number: of the reader.
        kind: its place in `KINDS`.
        campaigns: whose windows it is told of.
    """

    def __init__(self, shared: Shared, number: int, kind: int, campaigns: list[str]) -> None:
        self.windows: dict[Key, bytes] = {}
        self.kind = kind
        self.campaigns = frozenset(campaigns)
        self.sticks = number % STICKS == 0
        self.is_stuck = False
        self.was_told_to_read_anew = False
        """Whether more has changed than it was told: then nothing was missed in silence."""
        self._shared = shared
        self._where = number % len(shared.ports)
        self._query = _query(kind, campaigns)
        tasks = shared.tasks
        self._partitions = (
            {partition_of(campaigns[0], tasks)} if KINDS[kind] == "page" else set(range(tasks))
        )
        self._buffer = b""
        self._has_head = False
        self._last_id: bytes | None = None
        self._positions: Positions = {}
        self._lost_at: float | None = None
        self._was_lost = False
        self._transport: asyncio.Transport | None = None

    # Connections

    @property
    def has_begun(self) -> bool:
        """Whether it was told an id, from which it can go on."""
        return self._last_id is not None

    async def connect(self) -> None:
        """Connect to a worker; to the next one, if this one is not there."""
        loop = asyncio.get_running_loop()
        while True:
            port = self._shared.ports[self._where]
            try:
                await loop.create_connection(lambda: self, LOOPBACK, port)
            except OSError:
                self._where = (self._where + 1) % len(self._shared.ports)
                await asyncio.sleep(RETRY_S / 10)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._transport = cast("asyncio.Transport", transport)
        self._buffer, self._has_head = b"", False
        made = transport.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        head = f"GET /v1/stream?{self._query} HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
        if self._last_id is not None:
            head += f"Last-Event-ID: {self._last_id.decode()}\r\n"
        self._transport.write(head.encode() + b"\r\n")
        self._shared.counters["connections"] += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        """Go on with another worker."""
        self._transport = None
        self._shared.counters["lost"] += 1
        if self.is_stuck:
            return
        self._was_lost = True
        self._lost_at = self._lost_at or time.time()
        self._where = (self._where + 1) % len(self._shared.ports)
        asyncio.get_running_loop().call_later(RETRY_S, self.reconnect)

    def reconnect(self) -> None:
        """Connect in a task of its own."""
        task = asyncio.get_running_loop().create_task(self.connect())
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)

    def stick(self) -> None:
        """Stop reading."""
        self.is_stuck = True
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on, at another worker, from the last event."""
        self.is_stuck, self._was_lost = False, True
        self._where = (self._where + 1) % len(self._shared.ports)
        if self._transport is not None:
            self._transport.abort()
        else:
            self.reconnect()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Take the chunks out of what comes."""
        self._shared.counters["bytes"] += len(data)
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if not self._has_head:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            status = buffer[:12]
            if status != b"HTTP/1.1 200":
                self._shared.counters[f"refused: {status.decode()}"] += 1
                if self._transport is not None:
                    self._transport.abort()
                return
            self._has_head, at = True, end + 4
        while True:
            line = buffer.find(b"\r\n", at)
            if line < 0:
                break
            end = line + 2 + int(buffer[at:line], 16)
            if len(buffer) < end + 2:
                break
            self._take(buffer[line + 2 : end])
            at = end + 2
        self._buffer = buffer[at:]

    def _take(self, piece: bytes) -> None:
        events = 0
        for raw in piece.split(b"\n\n"):
            if not raw:
                continue
            block = self._shared.block(raw)
            if block.kind:
                events += 1
            if block.key is not None:
                self.windows[block.key] = block.data
            elif block.kind == b"missed":
                self._shared.counters["missed"] += 1
                self.was_told_to_read_anew = True
            if block.last_id is not None:
                self._told(block.last_id)
        self._shared.counters["events"] += events

    def _told(self, last_id: bytes) -> None:
        now = time.time()
        positions = self._shared.positions(self._where, last_id)
        if self._lost_at is not None:
            self._shared.away.append(now - self._lost_at)
            self._lost_at = None
        elif self._last_id is not None and last_id != self._last_id:
            began = [self._begin(n, positions[n]) for n in self._partitions & positions.keys()]
            known = [at for at in began if at is not None]
            if known:
                ages = self._shared.samples
                ages.extend((now, (now - min(known)) * 1000, self.kind, float(self._was_lost)))
        self._last_id, self._positions = last_id, positions

    def _begin(self, partition: int, new: tuple[str, int, float]) -> float | None:
        """Return when the first commit was that is told of only now; null if there is none."""
        log, number, at = new
        old = self._positions.get(partition)
        if old is None or old[0] != log:
            return self._shared.commits.get((log, 1), at) if old is not None else None
        before = max(old[1], self._shared.told_before(self._where, log, number))
        if number <= before:
            return None
        then = self._shared.commits.get((log, before), old[2])
        return self._shared.commits.get((log, before + 1), then + (at - then) / (number - before))


_TASKS: set["asyncio.Task[None]"] = set()


def _query(kind: int, campaigns: list[str]) -> str:
    match KINDS[kind]:
        case "page":
            query = {"campaign_id": campaigns[0], "type": "window,alert,delivery,health"}
        case "overview":
            names = orjson.dumps(sorted(campaigns)).decode()
            query = {"campaign_ids": names, "type": "window,alert,health"}
        case _:
            query = {}
    return urlencode(query)


def _readers(shared: Shared, count: int, campaigns: list[str]) -> list[Reader]:
    """Make readers of all kinds, those that stick among each of them."""
    bounds = [round(count * sum(SHARES[: n + 1])) for n in range(len(SHARES))]
    made = []
    for number in range(count):
        kind = next(n for n, bound in enumerate(bounds) if number < bound)
        match KINDS[kind]:
            case "page":
                told_of = [campaigns[number % len(campaigns)]]
            case "overview":
                told_of = campaigns[:ROWS]
            case _:
                told_of = campaigns
        made.append(Reader(shared, number, kind, told_of))
    return made


async def _tables(port: int, campaigns: Iterable[str]) -> dict[Key, Any]:
    """Ask for all windows of all campaigns."""
    found: dict[Key, Any] = {}
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as session:
        for campaign in campaigns:
            async with session.get(f"/v1/campaigns/{campaign}/windows") as response:
                answer = await response.json()
            for window in answer.get("windows", ()):
                found[campaign, window["start"]] = window
    return found


def _differences(readers: Iterable[Reader], tables: Mapping[Key, Any]) -> Counter[str]:
    """Count what readers were never told of, or not to the end, nor told to read anew."""
    parsed: dict[bytes, Any] = {}
    found: Counter[str] = Counter()
    for reader in readers:
        if reader.was_told_to_read_anew:
            found["readers told to read anew"] += 1
            continue
        for key, window in tables.items():
            if key[0] not in reader.campaigns:
                continue
            found["compared"] += 1
            data = reader.windows.get(key)
            if data is None:
                found["never told"] += 1
                continue
            told = parsed.get(data)
            if told is None:
                told = parsed[data] = orjson.loads(data)
            if any(told.get(name) != value for name, value in window.items() if name != "groups"):
                found["not the last state"] += 1
    return found


async def _compare(shared: Shared, readers: list[Reader], campaigns: list[str]) -> Counter[str]:
    """Compare until nothing differs, for some time."""
    deadline = time.monotonic() + COMPARE_WITHIN_S
    while True:
        tables = await _tables(shared.ports[0], campaigns)
        found = _differences(readers, tables)
        wrong = found["never told"] + found["not the last state"]
        if not wrong or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


async def run(options: argparse.Namespace) -> None:
    """Read until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop, turn = asyncio.Event(), asyncio.Queue[None]()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, turn.put_nowait, None)
    campaigns: list[str] = orjson.loads(options.campaigns.read_bytes())
    shared = Shared(list(map(int, options.ports.split(","))), options.tasks)
    readers = _readers(shared, options.readers, campaigns)
    began = time.perf_counter()
    await asyncio.gather(*(reader.connect() for reader in readers))
    await until(lambda: _all_have_begun(readers), BEGUN_WITHIN_S)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{seconds:.3f}\n")
    sys.stdout.flush()
    following = loop.create_task(_turns(turn, [each for each in readers if each.sticks]))
    await stop.wait()
    following.cancel()
    found = await _compare(shared, readers, campaigns)
    result = {
        "differences": found,
        "counters": shared.counters,
        "away": shared.away,
        "readers": len(readers),
        "stuck": sum(each.sticks for each in readers),
    }
    options.result.write_bytes(orjson.dumps(result))
    options.result.with_suffix(".samples").write_bytes(shared.samples.tobytes())


async def _all_have_begun(readers: Iterable[Reader]) -> bool:
    return all(reader.has_begun for reader in readers)


async def _turns(turn: "asyncio.Queue[None]", sticky: list[Reader]) -> None:
    await turn.get()
    for reader in sticky:
        reader.stick()
    await turn.get()
    for reader in sticky:
        reader.go_on()


def main() -> None:
    """Read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", required=True, help="with commas")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--readers", type=int, required=True)
    parser.add_argument("--campaigns", type=Path, required=True, help="a JSON list of ids")
    parser.add_argument("--result", type=Path, required=True)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
