"""Fetches that are taken apart batch by batch bring what aiokafka would have brought."""

import asyncio
import gc
import struct
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, Fetcher, FetchResult
from aiokafka.consumer.fetcher import PartitionRecords as Fetch
from aiokafka.errors import NodeNotReadyError
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.events import Unreadable
from streams.engine.consume import fetching
from streams.engine.consume.codecs import bound_unpacking
from streams.engine.consume.fetching import Records, _Fetched, ended_quietly
from streams.engine.consume.header_names import KeptRecords

PARTITION = TopicPartition("events", 0)
ATTRIBUTES_AT = 21
CONTROL = 0b100000
ABORT, COMMIT = 0, 1
GZIP = 1
CODECS = (1, 2, 3, 4)
"""gzip, snappy, lz4, zstd."""
CHECKSUM_AT, LAST_DELTA_AT, RECORDS_AT = 17, 23, 61
bound_unpacking()

sizes = st.lists(st.integers(0, 4), max_size=4)
producers = st.sampled_from([7, 8])
steps = st.lists(
    st.tuples(st.just("plain"), st.just(-1), sizes, st.integers(0, 2))
    | st.tuples(st.just("transaction"), producers, sizes, st.integers(0, 2))
    | st.tuples(st.sampled_from(["abort", "commit"]), producers, st.just([]), st.just(0)),
    max_size=12,
)


def batch(offset: int, count: int, producer: int = -1, compression: int = 0) -> bytes:
    """A batch of records, the first of which has this offset."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=int(producer >= 0),
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    for n in range(count):
        builder.append(n, offset + n, b"k", b"%d" % (offset + n), [("h", b"1")])
    return struct.pack(">q", offset) + bytes(builder.build())[8:]


def marker(offset: int, producer: int, kind: int) -> bytes:
    """The end of a transaction."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, 0, struct.pack(">hh", 0, kind), struct.pack(">hi", 0, 0), [])
    made = bytearray(builder.build())
    made[:8] = struct.pack(">q", offset)
    (attributes,) = struct.unpack_from(">h", made, ATTRIBUTES_AT)
    struct.pack_into(">h", made, ATTRIBUTES_AT, attributes | CONTROL)
    return bytes(made)


def fetch_of(data: bytes, aborted: list[tuple[int, int]], begin: int, level: int) -> Fetch:
    return Fetch(PARTITION, KeptRecords(data), aborted, begin, None, None, False, level)


class Assignment:
    """Takes note of how far was consumed."""

    active = True

    def __init__(self, position: int) -> None:
        self.position = position
        self.has_valid_position = True
        self.paused = False

    def state_value(self, _: TopicPartition) -> "Assignment":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def fetched_of(fetch: Fetch, assignment: Assignment) -> _Fetched:
    """A fetch as it waits to be handed out."""
    fetched = _Fetched()
    fetched[PARTITION] = FetchResult(
        PARTITION, assignment=assignment, partition_records=fetch, backoff=0
    )
    return fetched


def whole(fetch: Fetch, begin: int) -> tuple[list[Records], int]:
    """What is handed out, and the position after it."""
    assignment = Assignment(begin)
    return fetched_of(fetch, assignment)[PARTITION].getall(), assignment.position


def log_of(made: list[tuple[str, int, list[int], int]]) -> tuple[bytes, list[tuple[int, int]]]:
    """A partition's bytes, and its aborted transactions (producer, first offset)."""
    parts: list[bytes] = []
    aborted: list[tuple[int, int]] = []
    began: dict[int, int] = {}
    offset = 0
    for kind, producer, counts, compression in made:
        for count in counts:
            parts.append(batch(offset, count, producer, GZIP if compression == 1 else 0))
            if kind == "transaction":
                began.setdefault(producer, offset)
            # Compaction leaves holes, and batches of which nothing is left.
            offset += max(count, 1) + (compression == 2)
        if kind in {"abort", "commit"}:
            parts.append(marker(offset, producer, ABORT if kind == "abort" else COMMIT))
            offset += 1
            first = began.pop(producer, None)
            if kind == "abort" and first is not None:
                aborted.append((producer, first))
    return b"".join(parts), aborted


@given(steps, st.integers(0, 3), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_whole_batches_bring_the_same_as_single_records(
    made: list[tuple[str, int, list[int], int]], begin: int, level: int
) -> None:
    data, aborted = log_of(made)
    # The broker begins with the batch that has the offset.
    first_batch = next((max(counts[0], 1) for *_, counts, _ in made if counts), 1)
    begin %= first_batch if made and made[0][2] else 1
    one_by_one = fetch_of(data, list(aborted), begin, level)
    expected = [(each.offset, each.value, each.timestamp) for each in one_by_one]
    batches, position = whole(fetch_of(data, list(aborted), begin, level), begin)
    found = [(each.offset, each.value, each.timestamp) for part in batches for each in part]
    assert [each for each in found if each[0] >= begin] == expected
    assert position == one_by_one.next_fetch_offset


# Batches that cannot be read


def checked(data: bytes, begin: int = 0) -> Fetch:
    return Fetch(PARTITION, KeptRecords(data), [], begin, None, None, True, READ_COMMITTED)


def with_checksum(data: bytearray) -> bytes:
    """A batch whose checksum is that of its bytes."""
    struct.pack_into(">I", data, CHECKSUM_AT, calc_crc32c(bytes(data[ATTRIBUTES_AT:])))
    return bytes(data)


def damaged(offset: int, count: int, compression: int) -> bytes:
    made = bytearray(batch(offset, count, compression=compression))
    made[RECORDS_AT + 16 : RECORDS_AT + 20] = b"\xff\x00\xff\x00"
    return with_checksum(made)


def in_codec(offset: int, number: int) -> bytes:
    made = bytearray(batch(offset, 3))
    struct.pack_into(">h", made, ATTRIBUTES_AT, number)
    return with_checksum(made)


def flat(batches: list[Records]) -> list[tuple[int, bytes | None]]:
    return [(each.offset, each.value) for part in batches for each in part]


@pytest.mark.parametrize("compression", [0, *CODECS])
def test_batches_of_every_codec(compression: int) -> None:
    batches, position = whole(checked(batch(0, 400, compression=compression)), 0)
    assert flat(batches) == [(n, b"%d" % n) for n in range(400)]
    assert position == 400


@pytest.mark.parametrize(
    "broken",
    [
        *(pytest.param(damaged(3, 5, codec), id=f"damaged {codec}") for codec in CODECS),
        *(pytest.param(in_codec(3, number), id=f"codec {number}") for number in (5, 6, 7)),
    ],
)
def test_a_batch_that_cannot_be_unpacked_is_one_record_that_says_why(broken: bytes) -> None:
    last = struct.unpack_from(">i", broken, LAST_DELTA_AT)[0] + 3
    batches, position = whole(checked(batch(0, 3) + broken + batch(last + 1, 2)), 0)
    good = [(0, b"0"), (1, b"1"), (2, b"2")]
    behind = [(last + n, b"%d" % (last + n)) for n in (1, 2)]
    found = flat(batches)
    assert found[:3] + found[4:] == good + behind
    assert position == last + 3
    offset, value = found[3]
    assert offset == last
    assert isinstance(value, Unreadable)
    assert f"offsets 3 to {last}" in value.why


def test_what_was_read_before_the_damage_is_kept() -> None:
    made = bytearray(batch(0, 5))
    # The fourth record says that its key is as long as nothing is.
    at = [n for n in range(len(made)) if made[n : n + 2] == b"\x02k"][3]
    made[at] = 0x7F
    whole_batch = with_checksum(made)
    batches, _ = whole(checked(whole_batch + batch(5, 1)), 0)
    found = flat(batches)
    assert [offset for offset, _ in found] == [0, 1, 2, 4, 5]
    value = found[3][1]
    assert isinstance(value, Unreadable)
    assert value == whole_batch
    assert "offsets 3 to 4" in value.why


@pytest.mark.parametrize("compression", [0, *CODECS])
def test_records_beyond_a_bound_are_not_parsed(
    monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    monkeypatch.setattr(fetching, "MOST_RECORDS", 5)
    data = batch(0, 5, compression=compression) + batch(5, 400, compression=compression)
    found = flat(whole(checked(data + batch(405, 1)), 0)[0])
    assert [offset for offset, _ in found] == [*range(10), 404, 405]
    value = found[10][1]
    assert isinstance(value, Unreadable)
    assert "offsets 10 to 404: ValueError('more than 5 records')" in value.why


def test_a_batch_with_a_wrong_checksum_is_fetched_again_before_it_is_given_up() -> None:
    data = bytearray(batch(0, 3) + batch(3, 2) + batch(5, 1))
    data[len(batch(0, 3)) + RECORDS_AT] ^= 1
    fetched, assignment = _Fetched(), Assignment(0)
    found: list[list[int]] = []
    for _ in range(3):
        fetch = checked(bytes(data), assignment.position)
        fetched[PARTITION] = FetchResult(
            PARTITION, assignment=assignment, partition_records=fetch, backoff=0
        )
        found.append([offset for offset, _ in flat(fetched[PARTITION].getall())])
    assert found == [[0, 1, 2], [], [4, 5]]
    assert assignment.position == 6


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("compression", [0, GZIP])
def test_batches_of_old_kafka(magic: int, compression: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, compression, 1 << 20)
    for n in range(3):
        builder.append(n, 5 + n, b"k", b"%d" % n)
    batches, _ = whole(checked(bytes(builder.build())), 0)
    assert [value for _, value in flat(batches)] == [b"0", b"1", b"2"]


def test_a_failed_fetch_is_handed_out_as_it_is() -> None:
    fetched = _Fetched()
    failed: Any = object()
    fetched[PARTITION] = failed
    assert fetched[PARTITION] is failed


@pytest.mark.parametrize("read", [True, False])
def test_a_fetch_is_let_go_without_the_collector(read: bool) -> None:
    """Which runs seldom, and a fetch is megabytes."""
    fetch = fetch_of(batch(0, 3), [], 0, READ_COMMITTED)
    gone = weakref.ref(fetch)
    gc.disable()
    try:
        fetched = fetched_of(fetch, Assignment(0))
        if read:
            assert len(fetched[PARTITION].getall()) == 1
        del fetch, fetched
        assert gone() is None
    finally:
        gc.enable()


class Bytes(str):
    """A header's name that is no UTF-8."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


@pytest.mark.parametrize("compression", [0, GZIP])
def test_a_headers_name_may_be_any_bytes(compression: int) -> None:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 5, b"k", b"a", [("h", b"1")])
    builder.append(1, 6, None, b"b", [(Bytes("xx"), b"2"), ("h", None)])
    builder.append(2, 7, b"k", None, [])
    data = batch(0, 2) + struct.pack(">q", 2) + bytes(builder.build())[8:] + batch(5, 1)
    (before, read, after), position = whole(fetch_of(data, [], 0, READ_COMMITTED), 0)
    assert [each.offset for each in (*before, *after)] == [0, 1, 5]
    assert [(each.offset, each.timestamp, each.key, each.value) for each in read] == [
        (2, 5, b"k", b"a"),
        (3, 6, None, b"b"),
        (4, 7, b"k", None),
    ]
    assert [list(each.headers) for each in read] == [
        [("h", b"1")],
        [("\ufffd\ufffd", b"2"), ("h", None)],
        [],
    ]
    assert {type(each.value) for each in read} <= {bytes, type(None)}
    assert position == 6


async def test_a_fetch_that_pauses_after_a_failure_can_be_ended() -> None:
    async def send(*_: object) -> None:
        raise NodeNotReadyError

    fetcher = SimpleNamespace(
        _client=SimpleNamespace(send=send),
        _invalidate_preferred_read_replica_for_node=lambda *_: None,
        _retry_backoff=60.0,
    )
    fetch = ended_quietly(Fetcher._proc_fetch_request)
    fetching = asyncio.ensure_future(fetch(fetcher, None, 1, None))
    await asyncio.sleep(0.01)
    fetching.cancel()
    assert await fetching is False
