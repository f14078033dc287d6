"""The live stream: what has changed, as server-sent events (HTML Living Standard, 9.2).

One hub a worker asks all partitions for what has changed, here and at other workers, several times
a second while anybody reads, and keeps the newest changes as events; each reader goes through these
at its own pace. The id of an event says how far each partition has been followed. It is a position
in the partitions' own logs, so any worker goes on from there.

A reader that comes back with an id, or is slower than what the hub keeps, is told once of all that
has changed meanwhile, as it is now.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from http import HTTPStatus

import structlog

from streams.api import answers
from streams.api.campaign_ids import MOST_NAMED
from streams.api.changes import decode_positions, encode_positions, read_changes
from streams.api.context import Context
from streams.api.problems import ProblemError
from streams.api.stream_events import Event, Wanted, events_of, health, missed
from streams.cancelling import cancel
from streams.domain.change_log import LogPosition, Positions

INTERVAL = 0.1
"""Seconds between two looks for changes, at least."""
INTERVAL_AN_EVENT = 0.000_1
"""Seconds more for each event of the last look, so that looking takes a bounded share of a core."""
KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent, so that nobody takes it for dead."""
MOST_READERS = 1_000
MOST_BATCHES = 5_000
MOST_BYTES = 16 * 1024 * 1024
"""How many changes the hub keeps for slow readers."""
CHUNK_BYTES = 128 * 1024
"""About so many bytes are written at once; the next ones when the reader has taken them."""
RETRY_MS = 1_000
MOST_NAMES_BYTES = 16 * 1024
"""Bytes of campaign ids that workers are asked about by name, in one line of a request."""

_log = structlog.get_logger(__name__)


class Batch:
    """What changed in some partitions.

    Args:
        events: that tell of it.
        positions: up to which it is.
    """

    def __init__(self, events: list[Event], positions: Positions) -> None:
        self.events = events
        self.positions = positions
        self.size = sum(len(each.encoded) for each in events)
        self._by_campaign: dict[str | None, list[Event]] = {}
        for each in events:
            self._by_campaign.setdefault(each.campaign_id, []).append(each)

    def wanted(self, wanted: Wanted) -> list[Event]:
        """Return the events that a reader wants."""
        events = self.events
        if wanted.campaign_id is not None:
            by = self._by_campaign
            events = by.get(None, []) + by.get(wanted.campaign_id, [])
        return [each for each in events if wanted.has(each)]


class Reader:
    """Goes through the hub's changes at its own pace.

    Args:
        wanted: what it is told.
        positions: how far it has followed each partition.
        behind: partitions of which it has yet to be told what has changed since its position.
        next_batch: the number of the hub's next batch.
        under_way: questions of the hub that do not ask for what this reader wants.
    """

    def __init__(
        self,
        wanted: Wanted,
        positions: Positions,
        behind: Iterable[int],
        next_batch: int,
        under_way: Iterable["asyncio.Task[None]"],
    ) -> None:
        self.wanted = wanted
        self.positions = positions
        self.behind = set(behind)
        self.next_batch = next_batch
        self.under_way = set(under_way)
        self.health: Event | None = None

    def write(self, events: Sequence[Event]) -> Iterator[bytes]:
        """Yield events in pieces; the last one has the id of the reader's positions."""
        piece: list[bytes] = []
        size = 0
        for each in events:
            if size > CHUNK_BYTES:
                yield b"".join(piece)
                piece, size = [], 0
            piece.append(each.encoded)
            size += len(each.encoded)
        if piece:
            piece.insert(-1, self._id())
            yield b"".join(piece)

    def keep_alive(self) -> bytes:
        """Return what tells of nothing but how far it is."""
        return b": nothing new\n%b\n" % self._id()

    def _id(self) -> bytes:
        return b"id: %b\n" % encode_positions(self.positions).encode()


class Hub:
    """Follows all partitions while anybody reads."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._batches: deque[Batch] = deque()
        self._first = 0
        """The number of the oldest batch that is kept."""
        self._size = 0
        self._positions: Positions = {}
        self._asking: dict[int, asyncio.Task[None]] = {}
        """By partition, the question that waits for an answer."""
        self._events = 0
        """How many the last look has brought."""
        self._health: Event | None = None
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._is_stopped = False

    # Readers

    async def open(
        self, context: Context, wanted: Wanted, since: Positions | None
    ) -> AsyncGenerator[bytes, None]:
        """Return what is sent to a reader that begins at some positions; null for now.

        Raises:
            ProblemError: 503, if there are too many.
        """
        if len(self._readers) >= MOST_READERS:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MOST_READERS} readers of the stream are connected: ask another worker",
                {"Retry-After": "5"},
            )
        everywhere = context.cluster.everywhere()
        answer = await read_changes(context, {}, everywhere, ())
        # Of a partition that is away, whatever changes from now on is told once it is back.
        away = LogPosition("", 0, -1, context.now())
        here = decode_positions(answer.next)
        now = dict.fromkeys(everywhere, away) | here
        if self._running is None:
            self._positions = here
            self._running = asyncio.create_task(self._run(context))
        if since is not None:
            now |= {n: at for n, at in since.items() if n in now}
        end = self._first + len(self._batches)
        reader = Reader(wanted, now, everywhere, end, self._asking.values())
        self._readers.add(reader)
        return self._read(context, reader)

    async def _read(self, context: Context, reader: Reader) -> AsyncGenerator[bytes, None]:
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            async for chunk in self._follow(context, reader):
                yield chunk
        finally:
            self._readers.discard(reader)

    async def _follow(self, context: Context, reader: Reader) -> AsyncIterator[bytes]:
        """Yield what to send to a reader, until the hub stops."""
        while not self._is_stopped:
            changed = self._changed
            async for chunk in self._news(context, reader):
                yield chunk
            try:
                async with asyncio.timeout(INTERVAL if reader.behind else KEEP_ALIVE):
                    await changed.wait()
            except TimeoutError:
                if not reader.behind:
                    yield reader.keep_alive()

    async def _news(self, context: Context, reader: Reader) -> AsyncIterator[bytes]:
        """Yield what has come up for a reader since it was last asked, in pieces."""
        if self._health is not None and reader.health != self._health:
            reader.health = self._health
            if reader.wanted.has(self._health):
                yield self._health.encoded
        if reader.behind:
            async for chunk in self._catch_up(context, reader):
                yield chunk
        while self._first <= reader.next_batch < self._first + len(self._batches):
            batch = self._batches[reader.next_batch - self._first]
            reader.next_batch += 1
            reader.positions |= {
                n: at for n, at in batch.positions.items() if n not in reader.behind
            }
            for chunk in reader.write(batch.wanted(reader.wanted)):
                yield chunk
        if reader.next_batch < self._first:
            # It was too slow.
            reader.behind = set(reader.positions)
            reader.next_batch = self._first + len(self._batches)

    async def _catch_up(self, context: Context, reader: Reader) -> AsyncIterator[bytes]:
        """Tell a reader once of all that has changed where it is behind, as it is now."""
        if reader.under_way:
            await asyncio.wait(reader.under_way)
            reader.under_way.clear()
        # From there on the hub has what changes.
        followed = set(self._positions)
        since = {n: reader.positions[n] for n in reader.behind}
        windows_of = reader.wanted.windows_of
        answer = await read_changes(context, since, sorted(since), windows_of)
        reader.positions |= decode_positions(answer.next)
        if not answer.more:
            reader.behind -= followed.difference(answer.missing_partitions)
        events = [each for each in events_of(answer) if reader.wanted.has(each)]
        if answer.incomplete_partitions:
            events.append(missed(answer.incomplete_partitions))
        for chunk in reader.write(events):
            yield chunk

    # Changes

    async def _run(self, context: Context) -> None:
        while self._readers:
            self._look(context)
            await asyncio.sleep(INTERVAL + INTERVAL_AN_EVENT * self._events)
        for each in {*self._asking.values()}:
            await cancel(each)
        self._first += len(self._batches)
        self._batches.clear()
        self._size = 0
        self._running = None

    def _look(self, context: Context) -> None:
        """Ask for changes, but where an answer is still awaited."""
        self._events = 0
        holders = context.cluster.holders()
        for held in holders:
            numbers = [n for n in held if n not in self._asking]
            if numbers:
                asking = asyncio.create_task(self._ask(context, numbers))
                self._asking |= dict.fromkeys(numbers, asking)
        held_by_any = {n for held in holders for n in held}
        self._tell_health(context, set(context.cluster.everywhere()) - held_by_any)

    async def _ask(self, context: Context, numbers: list[int]) -> None:
        """Ask for what has changed in some partitions, and keep it for the readers."""
        try:
            since = {n: self._positions[n] for n in numbers if n in self._positions}
            answer = await read_changes(context, since, numbers, self._windows_of())
        except ProblemError as problem:
            _log.warning("changes cannot be read", partitions=numbers, error=problem.detail)
        except Exception:  # noqa: BLE001 - it is tried again
            _log.exception("changes cannot be read", partitions=numbers)
        else:
            self._keep(answer)
        finally:
            for n in numbers:
                self._asking.pop(n, None)

    def _windows_of(self) -> tuple[str, ...] | None:
        """Return the campaigns whose windows anybody wants; null for all."""
        names: set[str] = set()
        for reader in self._readers:
            windows_of = reader.wanted.windows_of
            if windows_of is None:
                return None
            names.update(windows_of)
        size = sum(len(name.encode(errors="replace")) for name in names)
        is_short = len(names) <= MOST_NAMED and size <= MOST_NAMES_BYTES
        return tuple(sorted(names)) if is_short else None

    def _keep(self, answer: answers.Changes) -> None:
        events = events_of(answer)
        if answer.incomplete_partitions:
            events.append(missed(answer.incomplete_partitions))
        positions = decode_positions(answer.next)
        batch = Batch(events, positions)
        self._positions |= positions
        self._events += len(events)
        self._batches.append(batch)
        self._size += batch.size
        while len(self._batches) > MOST_BATCHES or self._size > MOST_BYTES:
            self._size -= self._batches.popleft().size
            self._first += 1
        if events:
            self._wake()

    def _tell_health(self, context: Context, missing: Iterable[int]) -> None:
        ready, reasons = context.health.ready()
        partitions = len(context.cluster.everywhere())
        told = health(answers.StreamHealth(ready, reasons, partitions, sorted(missing)))
        if told != self._health:
            self._health = told
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def stop(self) -> None:
        """Let all readers go."""
        self._is_stopped = True
        self._readers.clear()
        self._wake()
        if self._running is not None:
            await cancel(self._running)
            self._running = None
