"""Dead letters: a rejected record as a record of the dead-letter topic."""

from aiokafka.structs import TopicPartition

from streams.domain.events import Rejected
from streams.engine.consume.fetching import SourceRecord
from streams.engine.produce.writer import Record

ORIGINAL_SIZE = "original-size"
TRUNCATED = "truncated"
LONGEST_DETAIL = 500
"""Characters."""
_RECORD_OVERHEAD, _HEADER_OVERHEAD = 64, 10
"""Bytes that Kafka's format adds to a record and to each of its headers, at most."""


def size_of(record: Record) -> int:
    """Return how many bytes a record takes in a batch, at most."""
    headers = sum(map(_header_size, record.headers))
    return _RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"") + headers


def _header_size(header: tuple[str, bytes | None]) -> int:
    name, value = header
    return _HEADER_OVERHEAD + len(name.encode()) + len(value or b"")


def dead_letter(
    partition: TopicPartition,
    record: SourceRecord,
    rejected: Rejected,
    failed_at: bytes,
    limit: int,
) -> Record:
    """Make a dead letter: the record as it came, with the reason and where it was.

    Args:
        partition: where the record is from.
        record: what came.
        rejected: why it was not counted.
        failed_at: when, in RFC 3339.
        limit: bytes that the dead letter may take (`size_of`), but for the headers that are added.
            What is larger is cut off, and two more headers say so: `original-size`, the bytes of
            key and value as they came, and `truncated`, which of headers, key and value are not
            whole.
    """
    added = (
        ("reason", rejected.reason.encode()),
        ("detail", rejected.detail[:LONGEST_DETAIL].encode(errors="replace")),
        ("source-topic", partition.topic.encode()),
        ("source-partition", str(partition.partition).encode()),
        ("source-offset", str(record.offset).encode()),
        ("failed-at", failed_at),
    )
    whole = Record(record.key, record.value, (*record.headers, *added))
    return whole if size_of(whole) <= limit else _cut_off(record, added, limit)


def _cut_off(record: SourceRecord, added: tuple[tuple[str, bytes], ...], limit: int) -> Record:
    """Make a dead letter of what there is room for: a quarter for headers and for the key each."""
    size = len(record.key or b"") + len(record.value or b"")
    added = (*added, (ORIGINAL_SIZE, str(size).encode()), (TRUNCATED, b"headers,key,value"))
    room = max(0, limit - size_of(Record(None, None, added)))
    quarter = room // 4
    headers: list[tuple[str, bytes]] = []
    left = quarter
    for header in record.headers:
        left -= _header_size(header)
        if left < 0:
            break
        headers.append(header)
    key = record.key and record.key[:quarter]
    room -= sum(map(_header_size, headers)) + len(key or b"")
    value = record.value and record.value[:room]
    parts = {
        "headers": len(headers) < len(record.headers),
        "key": key != record.key,
        "value": value != record.value,
    }
    cut = ",".join(name for name, is_cut in parts.items() if is_cut).encode()
    return Record(key, value, (*headers, *added[:-1], (TRUNCATED, cut)))
