"""The live stream: what has changed, as server-sent events (HTML Living Standard, 9.2).

One hub a worker asks all partitions for what has changed, here and at other workers, several times
a second while anybody reads. What it learns is a batch, which is encoded once for all readers.
Those that want something of it are found by an index and written to without waiting; one that does
not take it goes through the batches at its own pace. The id of an event says how far each partition
has been followed. It is a position in the partitions' own logs, so any worker goes on from there.

Readers share questions, too. Who connects joins the next look, with all who do so meanwhile. Who
comes back with an id, or is slower than what the hub keeps, is told once of all that has changed
meanwhile, as it is now: in one answer for all that come back from about the same moment.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus

import structlog

from streams.api import answers
from streams.api.campaign_ids import MOST_NAMED
from streams.api.changes import decode_positions, read_changes
from streams.api.context import Context
from streams.api.problems import ProblemError
from streams.api.stream_batches import Batch, Batches
from streams.api.stream_events import Event, Wanted, events_of, health, missed
from streams.api.stream_outlets import Outlet
from streams.api.stream_readers import Reader, Readers, id_line
from streams.cancelling import cancel
from streams.domain.change_log import LogPosition, Positions

INTERVAL = 0.05
"""Seconds between two looks for changes, at least."""
INTERVAL_AN_EVENT = 0.000_02
"""Seconds more for each event of the last look, so that looking takes a bounded share of a core."""
JOIN_WITHIN = 3.0
"""Seconds that a reader waits for workers to say where they are; they have 2 s to answer."""
KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent, so that nobody takes it for dead."""
AFTER_AN_ERROR = 1.0
"""Seconds after a defect until changes are looked for again."""
LONGEST_WRITE = 30.0
"""Seconds in which a reader has to take something."""
MOST_READERS = 1_000
AT_A_TIME = 32
"""Readers that are written to before others have their turn, counting above all."""
MOST_GROUPS = 4
"""Of readers that are behind, between two looks: those in time are not to wait for long."""
RETRY_MS = 1_000
MOST_NAMES_BYTES = 16 * 1024
"""Bytes of campaign ids that workers are asked about by name, in one line of a request."""

_log = structlog.get_logger(__name__)


class HubSubscription:
    """What one client is told.

    Args:
        hub: tells it.
        reader: stands for the client there.
    """

    def __init__(self, hub: "Hub", reader: Reader) -> None:
        self._hub = hub
        self._reader = reader

    @property
    def greeting(self) -> bytes:
        """What the answer begins with."""
        return b"retry: %d\n\n" % RETRY_MS

    def begin(self, outlet: Outlet) -> None:
        """Write to a client from now on."""
        self._reader.wrote_at = _now()
        self._reader.outlet = outlet
        self._hub.resume(self._reader)

    def resume(self) -> None:
        """Write more, as the client has taken what was written."""
        self._hub.resume(self._reader)

    def close(self) -> None:
        """Tell nothing more; may be called twice."""
        self._hub.leave(self._reader)


class Hub:
    """Follows all partitions while anybody reads."""

    def __init__(self) -> None:
        self._readers = Readers()
        self._batches = Batches()
        self._slow: set[Reader] = set()
        """Those that have not been told of all batches yet."""
        self._numbered = 0
        self._positions: Positions = {}
        self._last_id = id_line({})
        self._asking: dict[int, asyncio.Task[None]] = {}
        """By partition, the question that waits for an answer."""
        self._events = 0
        """How many the last look has brought."""
        self._health: Event | None = None
        self._joined = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._is_stopped = False

    # Readers

    async def open(
        self, context: Context, wanted: Wanted, since: Positions | None
    ) -> HubSubscription:
        """Return what is told to a reader that begins at some positions; null for now.

        Raises:
            ProblemError: 503, if there are too many, or the worker stops.
        """
        if self._is_stopped:
            raise _unavailable("the worker stops: ask another one")
        if len(self._readers) >= MOST_READERS:
            raise _unavailable(
                f"{MOST_READERS} readers of the stream are connected: ask another worker"
            )
        everywhere = context.cluster.everywhere()
        known = {n: at for n, at in (since or {}).items() if n in everywhere}
        away = LogPosition("", 0, -1, context.now())
        self._numbered += 1
        joining = [n for n in everywhere if n not in known]
        reader = Reader(self._numbered, wanted, known, joining, away)
        self._readers.add(reader)
        if self._running is None:
            self._positions, self._last_id = {}, id_line({})
            self._running = asyncio.create_task(self._run(context))
        try:
            await self._wait_joined(context, reader)
        except BaseException:
            self.leave(reader)
            raise
        return HubSubscription(self, reader)

    async def _wait_joined(self, context: Context, reader: Reader) -> None:
        """Wait until the hub has what changes where the reader joins, as far as anybody has it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_WITHIN):
                while reader.joining & _held(context.cluster.holders()):
                    await self._joined.wait()
        # Of a partition that is away, whatever changes from now on is told once it is back.
        reader.give_up_joining(list(reader.joining))

    def leave(self, reader: Reader) -> None:
        """Tell a reader nothing more; it may be gone already."""
        self._readers.remove(reader)
        self._slow.discard(reader)

    def resume(self, reader: Reader) -> None:
        """Write what a reader is to be told, as far as it takes it."""
        outlet = reader.outlet
        if outlet is None:
            return
        while not outlet.is_full:
            if reader.health is not self._health and self._health is not None:
                reader.health = self._health
                if reader.wanted.has(self._health):
                    self._write(reader, outlet, self._health.encoded)
            piece = self._next_piece(reader)
            if piece is None:
                break
            self._write(reader, outlet, piece)
        if outlet.is_full:
            reader.full_since = reader.full_since or _now()
        else:
            reader.full_since = None

    def _write(self, reader: Reader, outlet: Outlet, piece: bytes) -> None:
        reader.wrote_at = _now()
        reader.full_since = None
        outlet.write(piece)

    def _next_piece(self, reader: Reader) -> bytes | None:
        """Return what a reader is written next; null if it has been told of everything."""
        while reader.cursor is not None:
            if reader.pieces is None:
                if reader.cursor >= self._batches.end:
                    reader.cursor = None
                    break
                reader.begin(self._batches[reader.cursor])
            piece = next(reader.pieces or iter(()), None)
            if piece is not None:
                return piece
            reader.cursor, reader.pieces = reader.cursor + 1, None
        self._slow.discard(reader)
        return None

    # Batches

    async def _keep(self, batch: Batch) -> None:
        """Keep a batch for all that want it, and write it to those that can take it now."""
        number = self._batches.end
        self._batches.append(batch)
        while (evicted := self._batches.evict()) is not None:
            for reader in [each for each in self._slow if each.cursor == self._batches.first - 1]:
                reader.fall_behind(evicted)
                self._slow.discard(reader)
        wanting = [each for each in self._readers.of(batch) if each.cursor is None]
        # All of them are in it before anything else can happen: a batch that comes meanwhile is
        # for later.
        for reader in wanting:
            reader.cursor = number
        self._slow.update(wanting)
        for written, reader in enumerate(wanting, 1):
            self.resume(reader)
            if written % AT_A_TIME == 0:
                await asyncio.sleep(0)
        batch.forget_shared()

    async def _run(self, context: Context) -> None:
        while len(self._readers):
            try:
                self._sweep()
                self._look(context)
            except Exception:  # noqa: BLE001 - it is tried again, as readers know of no error
                _log.exception("live stream cannot look for changes")
                await asyncio.sleep(AFTER_AN_ERROR)
            await asyncio.sleep(INTERVAL + INTERVAL_AN_EVENT * self._events)
        # Whoever comes from now on begins anew.
        asking, self._asking, self._running = {*self._asking.values()}, {}, None
        self._batches.clear()
        for each in asking:
            await cancel(each)

    def _sweep(self) -> None:
        """Keep silent connections alive, and end those that nobody reads."""
        now = _now()
        for reader in self._readers:
            outlet = reader.outlet
            if outlet is None:
                continue
            if reader.full_since is not None and now - reader.full_since > LONGEST_WRITE:
                _log.debug("stream is not read")
                self.leave(reader)
                outlet.abort()
            elif reader.cursor is not None:
                self.resume(reader)
            elif now - reader.wrote_at > KEEP_ALIVE and not outlet.is_full:
                last_id = reader.last_id(self._positions)
                self._write(reader, outlet, b": nothing new\n%b\n" % last_id)

    # Changes

    def _look(self, context: Context) -> None:
        """Ask for changes, but where an answer is still awaited."""
        self._events = 0
        holders = context.cluster.holders()
        for held in holders:
            numbers = [n for n in held if n not in self._asking]
            if numbers:
                asking = asyncio.create_task(self._ask(context, numbers))
                self._asking |= dict.fromkeys(numbers, asking)
        self._tell_health(context, set(context.cluster.everywhere()) - _held(holders))

    async def _ask(self, context: Context, numbers: list[int]) -> None:
        """Ask for what has changed in some partitions: for all readers, then for those behind.

        In this order, and one question of a partition at a time: so nobody is told of a state after
        a newer one.
        """
        try:
            answered = await self._follow(context, numbers)
            for group in self._groups(answered)[:MOST_GROUPS]:
                await self._catch_up(context, group, answered)
        except ProblemError as problem:
            _log.warning("changes cannot be read", partitions=numbers, error=problem.detail)
        except Exception:  # noqa: BLE001 - it is tried again
            _log.exception("changes cannot be read", partitions=numbers)
        finally:
            for n in numbers:
                if self._asking.get(n) is asyncio.current_task():
                    del self._asking[n]

    async def _follow(self, context: Context, numbers: list[int]) -> set[int]:
        """Ask for what all readers are told; return the partitions that somebody answered for."""
        joining = [each for each in self._readers if not each.joining.isdisjoint(numbers)]
        since = {n: self._positions[n] for n in numbers if n in self._positions}
        answer = await read_changes(context, since, numbers, _windows_of(self._readers))
        events, positions = _events(answer), decode_positions(answer.next)
        answered = set(numbers).difference(answer.missing_partitions)
        before = self._positions
        self._positions = before | positions
        self._last_id = id_line(self._positions)
        self._events += len(events)
        for reader in joining:
            reader.joined(answered)
            reader.give_up_joining(answer.missing_partitions)
        if events:
            await self._keep(Batch(events, before, self._positions, self._last_id))
        if joining:
            joined, self._joined = self._joined, asyncio.Event()
            joined.set()
        return answered

    def _groups(self, numbers: set[int]) -> list[list[Reader]]:
        """Return the readers that are behind in partitions, by what they can be told together."""
        groups: dict[tuple[object, ...], list[Reader]] = {}
        for reader in self._readers:
            if reader.can_catch_up and not reader.behind.isdisjoint(numbers):
                groups.setdefault(reader.group(numbers), []).append(reader)
        return list(groups.values())

    async def _catch_up(self, context: Context, group: Sequence[Reader], numbers: set[int]) -> None:
        """Tell readers once of all that has changed since their own positions, as it is now."""
        behind = sorted(group[0].behind & numbers)
        since = {n: _oldest([each.position(n) for each in group]) for n in behind}
        answer = await read_changes(context, since, behind, _windows_of(group))
        if answer.incomplete_partitions and len(group) > 1:
            # It may be one of them alone that has been away for too long.
            for reader in group:
                reader.is_alone = True
            return
        caught_up = decode_positions(answer.next)
        for n in answer.missing_partitions:
            caught_up.pop(n, None)
        audience = frozenset(each.number for each in group if each.can_catch_up)
        batch = Batch(
            _events(answer),
            self._positions,
            self._positions,
            self._last_id,
            audience,
            caught_up,
            more=answer.more,
        )
        await self._keep(batch)

    def _tell_health(self, context: Context, missing: Iterable[int]) -> None:
        ready, reasons = context.health.ready()
        partitions = len(context.cluster.everywhere())
        told = health(answers.StreamHealth(ready, reasons, partitions, sorted(missing)))
        if told != self._health:
            self._health = told
            for reader in self._readers:
                self.resume(reader)

    async def stop(self) -> None:
        """Let all readers go."""
        self._is_stopped = True
        for reader in self._readers:
            if reader.outlet is not None:
                reader.outlet.end()
            self.leave(reader)
        if self._running is not None:
            await cancel(self._running)
            self._running = None


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})


def _now() -> float:
    """Return the time of the event loop (s)."""
    return asyncio.get_running_loop().time()


def _held(holders: Iterable[Iterable[int]]) -> set[int]:
    return {n for held in holders for n in held}


def _oldest(positions: Sequence[LogPosition]) -> LogPosition:
    """Return a position that is not behind any of several in one log, in nothing.

    One that was told a part is ahead of others by its commit, and behind them by its offset.
    """
    return LogPosition(
        positions[0].log,
        min(each.number for each in positions),
        min(each.offset for each in positions),
        min(each.at for each in positions),
    )


def _events(answer: answers.Changes) -> list[Event]:
    events = events_of(answer)
    if answer.incomplete_partitions:
        events.append(missed(answer.incomplete_partitions))
    return events


def _windows_of(readers: Iterable[Reader]) -> tuple[str, ...] | None:
    """Return the campaigns whose windows any of some readers wants; null for all."""
    names: set[str] = set()
    for reader in readers:
        windows_of = reader.wanted.windows_of
        if windows_of is None:
            return None
        names.update(windows_of)
    size = sum(len(name.encode(errors="replace")) for name in names)
    is_short = len(names) <= MOST_NAMED and size <= MOST_NAMES_BYTES
    return tuple(sorted(names)) if is_short else None
