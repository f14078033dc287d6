"""Dead letters fit into their topic, whatever came."""

import gzip
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.events import Reason, Rejected
from streams.engine.cluster.message_limits import DEFAULT_BYTES, LEAST_BYTES, MessageLimits
from streams.engine.dead_letters.letter import dead_letter, size_of
from streams.engine.dead_letters.listing import DeadLetter, parse
from streams.engine.produce.writer import BATCH_BYTES, Record

SOURCE = TopicPartition("events", 3)
REJECTED = Rejected(0, Reason.TOO_LARGE, "17000000 bytes, more than 262144")
FAILED_AT = b"2026-11-23T10:00:42Z"
LIMIT = 4000

sizes = st.integers(0, 3 * LIMIT)
contents = st.none() | sizes.map(lambda size: b"x" * size)
headers = st.lists(st.tuples(st.text(max_size=30), st.none() | st.binary(max_size=99)), max_size=60)


def record(key: bytes | None, value: bytes | None, headers: Any = ()) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord("events", 3, 77, 0, 0, key, value, None, 0, 0, tuple(headers))


def read_back(letter: Record) -> DeadLetter:
    kept = ConsumerRecord("dead", 0, 5, 0, 0, letter.key, letter.value, None, 0, 0, letter.headers)
    found = parse(kept)
    assert isinstance(found, DeadLetter)
    return found


def stored_size(letter: Record) -> int:
    """What the topic's limit is held against: the batch, with nothing else in it."""
    batch = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, 0, 1)
    batch.append(0, None, letter.key, letter.value, list(letter.headers))
    return len(batch.build())


@given(contents, contents, headers)
def test_a_dead_letter_fits_and_says_what_was_cut_off(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    came = record(key, value, headers)
    letter = dead_letter(SOURCE, came, REJECTED, FAILED_AT, LIMIT)
    assert size_of(letter) <= LIMIT
    assert stored_size(letter) <= LIMIT
    read = read_back(letter)
    assert (read.reason, read.detail) == ("too-large", REJECTED.detail)
    where = (read.source_topic, read.source_partition, read.source_offset)
    assert where == ("events", 3, 77)
    whole = {"key": read.key == key, "value": read.value == value}
    whole["headers"] = list(read.headers) == headers
    assert set(read.truncated) == {name for name, is_whole in whole.items() if not is_whole}
    assert (key or b"").startswith(read.key or b"")
    assert (value or b"").startswith(read.value or b"")
    assert headers[: len(read.headers)] == list(read.headers)
    assert (read.key is None, read.value is None) == (key is None, value is None)
    if read.truncated:
        assert read.original_size == len(key or b"") + len(value or b"")
        assert size_of(letter) > LIMIT // 4, "there was room for more"


def test_a_large_value_is_kept_as_far_as_it_fits() -> None:
    value = gzip.decompress(gzip.compress(b"ab" * 8_500_000))
    letter = dead_letter(SOURCE, record(b"key", value), REJECTED, FAILED_AT, 1_000_000)
    read = read_back(letter)
    assert (read.truncated, read.original_size) == (("value",), 17_000_003)
    assert 990_000 < read.size < 1_000_000


def test_headers_that_a_record_brought_say_nothing_of_the_dead_letter() -> None:
    brought = [("original-size", b"1"), ("truncated", b"value"), ("reason", b"none")]
    read = read_back(dead_letter(SOURCE, record(b"k", b"v", brought), REJECTED, FAILED_AT, LIMIT))
    assert (read.truncated, read.original_size) == ((), None)
    assert list(read.headers) == brought


@pytest.mark.parametrize("settings", [{}, {"max.message.bytes": str(LEAST_BYTES)}])
def test_the_least_that_a_topic_takes_has_room_for_a_batch(settings: dict[str, str]) -> None:
    limits = MessageLimits({}, ["dead"])
    limits.learn({"dead": settings})
    assert limits.record_bytes("dead") > BATCH_BYTES + 10_000


def test_the_smaller_of_two_settings_is_the_limit() -> None:
    limits = MessageLimits({}, ["dead"])
    assert limits.of("dead") == DEFAULT_BYTES
    limits.outdated = True
    limits.learn({"dead": {"max.message.bytes": "16777216", "segment.bytes": "1048576"}})
    assert limits.of("dead") == 1_048_576
    assert not limits.outdated
