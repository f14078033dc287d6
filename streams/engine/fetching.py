"""A consumer that hands out the broker's batches, of records as they were parsed.

aiokafka takes each record out of its batch by itself: it compares its offset, copies it into a
`ConsumerRecord`, and keeps the position. Together that takes longer than parsing it did. Here all
records of a batch are taken out at once, and are those that the parser made: they have the same
fields, except topic and partition, which whoever fetches knows.
"""

import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.engine.header_names import keep_bytes, parse_leniently


class SourceRecord(Protocol):
    """What is used of a record."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """When it was made, or taken in by the broker (ms)."""
        ...

    @property
    def timestamp_type(self) -> int:
        """Which of the two, by the topic's settings."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""
        ...


class Records(list[SourceRecord]):
    """The records of one batch; in the eyes of aiokafka, the last one of them."""

    @property
    def offset(self) -> int:
        """Where the batch ends: aiokafka goes on behind it."""
        return self[-1].offset


class _WholeBatch:
    """A batch that iterates as if it had one record.

    Whatever else aiokafka asks of a batch (checksum, transaction, markers) it is told by the batch.
    """

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Records]:
        try:
            records = Records(self._batch)
        except UnicodeDecodeError:
            records = Records(parse_leniently(self._data))
        if records:
            yield records


class _WholeBatches:
    """The batches of a fetch."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def has_next(self) -> bool:
        """Tell whether there is one more."""
        return bool(self._batches.has_next())

    def next_batch(self) -> _WholeBatch:
        """Return it."""
        batch = self._batches.next_batch()
        return _WholeBatch(batch, self._batches.last)


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What was fetched and not handed out yet, by partition."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        # A failed fetch has no records.
        fetched = getattr(result, "_partition_records", None)
        if fetched is not None:
            fetched._records = _WholeBatches(fetched._records)  # noqa: SLF001 - no other seam
            fetched._consumer_record = _as_it_is  # noqa: SLF001
            # Its iterator holds on to it, and it to its iterator, until both are read to the end;
            # what is thrown away unread would wait for the collector.
            unpack = type(fetched)._unpack_records  # noqa: SLF001
            fetched._records_iterator = unpack(weakref.proxy(fetched))  # noqa: SLF001
        super().__setitem__(partition, result)


def _as_it_is(_: TopicPartition, records: Records) -> Records:
    return records


class WholeBatchConsumer(AIOKafkaConsumer):  # type: ignore[misc] # it has no types
    """An aiokafka consumer whose fetches bring `Records`.

    The first of them may be from before the offset that was asked for: the broker sends whole
    batches, even to whoever reads from the middle of one on.
    """

    async def start(self) -> None:
        """Connect, and join the group."""
        keep_bytes()
        await super().start()
        # Nothing was fetched yet: partitions are assigned later.
        fetcher: Any = self._fetcher
        fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001
