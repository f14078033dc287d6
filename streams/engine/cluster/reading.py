"""Reads a task's state: partitions, and committed offsets, outside any group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.cancelling import close

FETCH_BYTES = 4 * 1024 * 1024


@contextlib.asynccontextmanager
async def reading(
    connection: Mapping[str, Any], *, committed: bool, fetch_bytes: int = FETCH_BYTES
) -> AsyncIterator["AIOKafkaConsumer[bytes, bytes | None]"]:
    """Lend a consumer outside any group.

    Args:
        connection: keyword arguments for aiokafka clients.
        committed: see only what committed transactions wrote.
        fetch_bytes: of a partition, in one answer of a broker.
    """
    consumer: AIOKafkaConsumer[bytes, bytes | None] = AIOKafkaConsumer(
        **connection,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
        max_partition_fetch_bytes=fetch_bytes,
        # Questions about offsets wait for a fetch that is under way on the same connection.
        fetch_max_wait_ms=20,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        # aiokafka cannot stop a consumer whose tasks have not begun yet.
        await asyncio.sleep(0)
        await close(consumer.stop())


async def partition_counts(consumer: "AIOKafkaConsumer[bytes, bytes | None]") -> dict[str, int]:
    """Return how many partitions each topic has."""
    # All topics: to ask for one by its name would make it, on many clusters.
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - has no public way
    return {name: len(cluster.partitions_for_topic(name)) for name in cluster.topics()}


async def read_state(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]",
    partition: TopicPartition,
    apply: Callable[[int, bytes, bytes | None], None],
    progress: Callable[[int, int], None],
) -> tuple[int, int]:
    """Read a partition of the changelog topic from its beginning to its present end.

    The task's writer has to be open: then nobody else can add to the partition.

    Args:
        consumer: lent by `reading`.
        partition: what to read.
        apply: is called with each record's offset, key and value.
        progress: is called with the offset reached and the end.

    Returns:
        The number of records, and the offset at which the next one will be.
    """
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    end = (await consumer.end_offsets([partition]))[partition]
    count = 0
    position = await consumer.position(partition)
    while position < end:
        fetched = await consumer.getmany(timeout_ms=500)
        for record in fetched.get(partition, ()):
            apply(record.offset, record.key or b"", record.value)
            count += 1
        # The embedded broker's end offset leaves out most of its last batch; its fetches know.
        end = max(end, consumer.last_stable_offset(partition) or 0)
        # Markers at the end of a transaction have offsets but are no records.
        position = await consumer.position(partition)
        progress(position, end)
        await asyncio.sleep(0)
    return count, position


async def end_of(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]", partition: TopicPartition, *, committed: bool
) -> int:
    """Return the offset behind the last record that may be read.

    The embedded broker, which knows no transactions, leaves out most of the last batch when it is
    asked for the end; its fetches know.
    """
    end: int = (await consumer.end_offsets([partition]))[partition]
    if end and not committed:
        consumer.assign([partition])
        consumer.seek(partition, end - 1)
        await consumer.getmany(timeout_ms=500)
        end = max(end, consumer.last_stable_offset(partition) or 0)
    return end


async def read_log(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]",
    partition: TopicPartition,
    begin: int,
    end: int,
    apply: Callable[[int, bytes], None],
) -> int:
    """Read a partition of the repartition topic from one offset up to another one.

    Args:
        consumer: lent by `reading`.
        partition: what to read.
        begin: the first offset.
        end: the offset after the last one.
        apply: is called with each record's offset and value.

    Returns:
        The number of records.
    """
    consumer.assign([partition])
    consumer.seek(partition, begin)
    count = 0
    position = begin
    while position < end:
        fetched = await consumer.getmany(timeout_ms=500)
        for record in fetched.get(partition, ()):
            if record.offset < end:
                apply(record.offset, record.value or b"")
                count += 1
                await asyncio.sleep(0)
        position = await consumer.position(partition)
    return count


async def committed_offsets(
    connection: Mapping[str, Any], group_id: str, partitions: Iterable[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Ask the group's coordinator for committed offsets and their metadata.

    Returns:
        Those of the partitions for which any was committed.

    Raises:
        KafkaError: if the coordinator does not answer.
    """
    asked = list(partitions)
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        offsets: Mapping[
            TopicPartition, OffsetAndMetadata
        ] = await admin.list_consumer_group_offsets(group_id, partitions=asked)
    finally:
        await close(admin.close())
    # aiokafka does not look at the error of the whole answer, such as that the coordinator is
    # still loading: then the answer names no partition, which is not to say that none was read.
    if offsets.keys() != set(asked):
        raise GroupLoadInProgressError(f"no committed offsets of group {group_id} are known yet")
    return {partition: at for partition, at in offsets.items() if at.offset >= 0}
