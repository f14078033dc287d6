import asyncio
import io
import threading
from collections.abc import Iterator

import pytest

from streams.traffic.files import Batch, batches, read_ahead


def test_batches_say_where_they_start_and_what_was_wrong() -> None:
    content = b'{"n":1}\n{"n":2}\nwords\n{"n":3}\n'
    assert list(batches("f.ndjson", io.BytesIO(content), 2)) == [
        Batch("f.ndjson, byte 0", [b'{"n":1}', b'{"n":2}'], []),
        Batch(
            "f.ndjson, byte 22",
            [b'{"n":3}'],
            [("not a JSON object", "f.ndjson, line 3, byte 16")],
        ),
    ]
    assert list(batches("empty", io.BytesIO(b"\n"), 2)) == []


async def test_reads_ahead_in_order() -> None:
    assert [n async for n in read_ahead(range(100))] == list(range(100))


async def test_reads_only_a_little_ahead() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    async for n in read_ahead(endless()):
        assert len(taken) <= n + 10
        if n == 50:
            break


async def test_what_reading_raises_arrives() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    items = read_ahead(failing())
    assert await anext(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(items)


async def test_the_event_loop_goes_on_while_a_pipe_keeps_the_reader_waiting() -> None:
    gate = threading.Event()

    def slow() -> Iterator[int]:
        gate.wait()
        yield 1

    items = read_ahead(slow())
    first = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0)
    assert not first.done()
    gate.set()
    assert await first == 1
    await items.aclose()  # type: ignore[attr-defined] # an async generator
