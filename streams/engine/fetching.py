"""A consumer that hands out records as they were parsed.

aiokafka copies each record into a `ConsumerRecord`, which takes longer than parsing it did. What is
handed out instead has the same fields, except topic and partition, which the batch knows.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition


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


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What was fetched and not handed out yet, by partition."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        # A failed fetch has no records.
        records = getattr(result, "_partition_records", None)
        if records is not None:
            records._consumer_record = _as_it_is  # noqa: SLF001 - there is no other seam
        super().__setitem__(partition, result)


def _as_it_is(_: TopicPartition, record: Any) -> Any:
    return record


class ParsedConsumer(AIOKafkaConsumer):  # type: ignore[misc] # it has no types
    """An aiokafka consumer whose `getmany` returns `SourceRecord`s."""

    async def start(self) -> None:
        """Connect, and join the group."""
        await super().start()
        # Nothing was fetched yet: partitions are assigned later.
        fetcher: Any = self._fetcher
        fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001
