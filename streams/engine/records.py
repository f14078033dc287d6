"""The form of what a lane writes beside blocks, state and transitions."""

from typing import Any

import orjson
from aiokafka.structs import ConsumerRecord

from streams.domain.events import Rejected
from streams.engine.writer import Record


def write_metadata(event_time: int) -> str:
    """Write what is committed beside a source offset: the partition's event time (ms)."""
    return orjson.dumps({"event_time": event_time}).decode()


def read_metadata(metadata: str) -> int:
    """Read the event time (ms) beside a committed source offset; 0 if there is none."""
    try:
        data: Any = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        return 0
    event_time = data.get("event_time", 0) if isinstance(data, dict) else 0
    return event_time if isinstance(event_time, int) else 0


def dead_letter(
    record: "ConsumerRecord[bytes | None, bytes | None]", rejected: Rejected, failed_at: bytes
) -> Record:
    """Put a record aside, as it came, with the reason and where it was."""
    headers = (
        *record.headers,
        ("reason", rejected.reason.encode()),
        ("detail", rejected.detail.encode()),
        ("source-topic", record.topic.encode()),
        ("source-partition", str(record.partition).encode()),
        ("source-offset", str(record.offset).encode()),
        ("failed-at", failed_at),
    )
    return Record(record.key, record.value, headers)
