"""Recorded files in batches, read beside the event loop: a pipe may keep a reader waiting."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple, TypeVar

from streams.traffic.gzipped import Readable
from streams.traffic.recorded import Problem, read_events

Item = TypeVar("Item")
_AHEAD = 4


class Batch(NamedTuple):
    """Events of one file in its order, where the first one is, and the problems between them."""

    place: str
    events: list[bytes]
    problems: list[tuple[str, str]]
    """Reason and place."""


def batches(name: str, stream: Readable, size: int) -> Iterator[Batch]:
    """Yield what is in a file, `size` events or problems at a time."""
    place, events, problems = "", list[bytes](), list[tuple[str, str]]()
    for item in read_events(stream):
        if isinstance(item, Problem):
            where = f"{name}, line {item.line}, byte {item.offset}"
            problems.append((item.reason, where))
        else:
            place = place or f"{name}, byte {item.offset}"
            events.append(item.value)
        if len(events) + len(problems) >= size:
            yield Batch(place, events, problems)
            place, events, problems = "", [], []
    if events or problems:
        yield Batch(place, events, problems)


async def read_ahead(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items, taken in a thread that is a little ahead.

    Whatever taking them raises is raised here. The thread does not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Item | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def put(item: Item | BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants it any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def take() -> None:
        try:
            for item in items:
                room.acquire()
                put(item)
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again on the other side
            put(error)

    threading.Thread(target=take, name="reader", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        room.release()
        yield item
