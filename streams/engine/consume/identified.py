"""Fetches that cannot read from another log than the one that was meant.

aiokafka asks for records by the topic's name and an offset. If the topic was deleted and made anew,
or its log cut off by an unclean leader election, there may be other records at that offset, or none
yet: then it waits for the log to grow past it, or begins anew at any end. Here the broker is given
the topic's id (KIP-516) and the leader epoch of the last record that was read (KIP-320), and
refuses if its log is another one. A partition whose fetch was refused is not fetched again before
`read` is called with a new position.
"""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from aiokafka.errors import (
    NodeNotReadyError,
    NoError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from streams.engine.consume.log_requests import NO_EPOCH, FetchById, Wanted
from streams.engine.consume.pacing import Pacing

UNKNOWN_TOPIC_ID = 100
INCONSISTENT_TOPIC_ID = 103
_REFUSED = {
    OffsetOutOfRangeError.errno,
    UnknownTopicOrPartitionError.errno,
    UNKNOWN_TOPIC_ID,
    INCONSISTENT_TOPIC_ID,
}
_DIVERGING_EPOCH = 0
"""Tag of a partition in the answer."""
_NOTHING_TO_FETCH = 0.1
"""Seconds to wait when no partition may be fetched."""
REPORT_EVERY = 1.0
"""Seconds between two reports of a refusal, until the partition is read on. A report on its way to
the task can be lost in a rebalance."""
_BATCH_HEAD = struct.Struct(">qiib")
"""Base offset, length of what comes after the length, leader epoch, and format, of a batch."""
_BEFORE_LENGTH_COUNTS = 12
_OLDEST_WITH_EPOCH = 2
"""The format; in older ones a checksum is where the epoch would be."""


@dataclass(slots=True)
class Log:
    """One partition's log, as it is read.

    Args:
        topic_id: of its topic; None if the broker knows no ids.
        epoch: the leader epoch of the last record that was fetched; -1 if it is not known.
        end: its last known high watermark; -1 if there was no answer yet.
        refused: whether a broker has refused to read on.
        reported_at: when that was reported last (s, monotonic).
    """

    topic_id: UUID | None
    epoch: int = NO_EPOCH
    end: int = -1
    refused: bool = False
    reported_at: float = float("-inf")


Fetched: TypeAlias = Callable[[str, Mapping[str, int]], None]
"""Is notified of a request for records: `answered` or `failed`, and the bytes of records in the
answer, by topic."""


def nobody(_outcome: str, _sizes: Mapping[str, int]) -> None:
    """Leave requests uncounted."""


class _Answer(NamedTuple):
    """An answer in the form of aiokafka's newest version."""

    topics: list[tuple[str, list[tuple[Any, ...]]]]
    API_VERSION: int = 11


class _Cluster:
    """A fetcher's view of the cluster, in which partitions that are not read are no reason to ask.

    Otherwise aiokafka asks for metadata, again and again, as long as one has no leader.

    Args:
        cluster: aiokafka's.
        logs: the partitions that are read.
    """

    def __init__(self, cluster: Any, logs: Mapping[TopicPartition, Log]) -> None:
        self._cluster = cluster
        self._logs = logs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def leader_for_partition(self, partition: TopicPartition) -> int | None:
        """Return the leader's node; for a partition that is not read some node will do."""
        leader: int | None = self._cluster.leader_for_partition(partition)
        log = self._logs.get(partition)
        if leader in {None, -1} and (log is None or log.refused):
            return min((each.nodeId for each in self._cluster.brokers()), default=leader)
        return leader


class IdentifiedFetches:
    """The client of an aiokafka fetcher, with other fetches.

    Args:
        client: the client.
        fetched: is called at the end of each request for records, in the consumer's thread.
    """

    def __init__(self, client: Any, fetched: Fetched = nobody) -> None:
        self._client = client
        self._fetched = fetched
        self._logs: dict[TopicPartition, Log] = {}
        self._pacing = Pacing()
        self.cluster = _Cluster(client.cluster, self._logs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def read(self, partition: TopicPartition, topic_id: UUID | None, epoch: int) -> None:
        """Read a partition's log from now on, whose record before the next has that epoch."""
        self._logs[partition] = Log(topic_id, epoch)

    def leave(self, partition: TopicPartition) -> None:
        """Do not read a partition."""
        self._logs.pop(partition, None)

    def log(self, partition: TopicPartition) -> Log | None:
        """Return how a partition is read; None if it is not."""
        return self._logs.get(partition)

    def take_refused(self) -> list[tuple[TopicPartition, Log]]:
        """Return the logs that a broker refused to read on, each once in `REPORT_EVERY`."""
        now = time.monotonic()
        refused = [(partition, log) for partition, log in self._logs.items() if log.refused]
        taken = [each for each in refused if now - each[1].reported_at >= REPORT_EVERY]
        for _, log in taken:
            log.reported_at = now
        return taken

    async def send(self, node: Any, request: Any, **options: Any) -> Any:
        """Send a request; one for records as described above."""
        if not isinstance(request, FetchRequest):
            return await self._client.send(node, request, **options)
        logs: dict[TopicPartition, Log] = {}
        for topic, partitions in request.topics:
            for number, *_ in partitions:
                log = self._logs.get(TopicPartition(topic, number))
                if log is not None and not log.refused:
                    logs[TopicPartition(topic, number)] = log
        if not logs:
            await asyncio.sleep(_NOTHING_TO_FETCH)
            return _Answer([])
        await self._pacing.wait(node)
        found = await self._fetch(node, request, logs)
        self._pacing.answered(node, sum(len(answered[-1]) for _, answered in found))
        topics: dict[str, list[tuple[Any, ...]]] = {}
        for partition, answered in found:
            # aiokafka fetches no more after an answer about what was not asked for.
            log = logs.get(partition)
            # Another log may be read since.
            if log is not None and self._logs.get(partition) is log and self._note(log, answered):
                topics.setdefault(partition.topic, []).append(answered)
        return _Answer(list(topics.items()))

    async def _fetch(
        self, node: Any, request: Any, logs: Mapping[TopicPartition, Log]
    ) -> list[tuple[TopicPartition, tuple[Any, ...]]]:
        """Fetch by id where that is possible, and notify of how it ended."""
        try:
            if all(log.topic_id for log in logs.values()) and await self._takes_ids(node):
                found = await self._fetch_by_id(node, request, logs)
            else:
                found = await self._fetch_by_name(node, request, logs)
        except Exception:
            self._fetched("failed", {})
            raise
        sizes: Counter[str] = Counter()
        for partition, answered in found:
            sizes[partition.topic] += len(answered[-1])
        self._fetched("answered", sizes)
        return found

    async def _takes_ids(self, node: Any) -> bool:
        connection = await self._client._get_conn(node)  # noqa: SLF001 - no other way to see it
        if connection is None:
            # Asked by name after all, it could answer with the records of another log.
            raise NodeNotReadyError(f"node {node} cannot be reached")
        versions = connection._versions  # noqa: SLF001
        least, most = versions.get(FetchById.API_KEY, (0, 0))
        return bool(least <= FetchById.API_VERSION <= most)

    async def _fetch_by_id(
        self, node: Any, request: Any, logs: Mapping[TopicPartition, Log]
    ) -> list[tuple[TopicPartition, tuple[Any, ...]]]:
        names: dict[UUID, str] = {}
        topics: dict[UUID, list[Wanted]] = {}
        for topic, partitions in request.topics:
            for number, offset, max_bytes in partitions:
                log = logs.get(TopicPartition(topic, number))
                if log is not None and log.topic_id is not None:
                    names[log.topic_id] = topic
                    wanted = Wanted(number, offset, log.epoch, max_bytes)
                    topics.setdefault(log.topic_id, []).append(wanted)
        answer = await self._client.send(node, _same(FetchById, request, list(topics.items())))
        error = for_code(answer.error_code)
        if error is not NoError:
            raise error
        found = [
            (TopicPartition(names[topic_id], answered[0]), _as_by_name(answered))
            for topic_id, partitions, _ in answer.topics
            if topic_id in names
            for answered in partitions
        ]
        # The embedded broker answers of an id that it does not know without that id.
        missing = names.keys() - {topic_id for topic_id, *_ in answer.topics}
        return found + [
            (partition, (partition.partition, UNKNOWN_TOPIC_ID, -1, -1, -1, (), -1, b""))
            for partition, log in logs.items()
            if log.topic_id in missing
        ]

    async def _fetch_by_name(
        self, node: Any, request: Any, logs: Mapping[TopicPartition, Log]
    ) -> list[tuple[TopicPartition, tuple[Any, ...]]]:
        topics = [
            (topic, [each for each in partitions if TopicPartition(topic, each[0]) in logs])
            for topic, partitions in request.topics
        ]
        answer = await self._client.send(node, _same(FetchRequest, request, topics))
        version = answer.API_VERSION
        return [
            (TopicPartition(topic, answered[0]), _as_newest(answered, version))
            for topic, partitions in answer.topics
            for answered in partitions
        ]

    def _note(self, log: Log, answered: tuple[Any, ...]) -> bool:
        """Take note of an answer about a log; tell whether aiokafka has to know of it."""
        _, code, end, *_, records = answered
        if code in _REFUSED:
            log.refused = True
            self._client.force_metadata_update()
            return False
        if not code:
            log.end = max(log.end, end)
            if len(records) >= _BATCH_HEAD.size:
                log.epoch = _epoch_at(records, 0)[0]
        return True


def _same(kind: Callable[..., Any], request: Any, topics: list[Any]) -> Any:
    """Make a fetch of a kind, with the wait (ms), sizes and isolation of `request`, for topics."""
    return kind(
        request._max_wait_ms,  # noqa: SLF001 - it has no other names
        request._min_bytes,  # noqa: SLF001
        request._max_bytes,  # noqa: SLF001
        request._isolation_level,  # noqa: SLF001
        topics,
        request._rack_id,  # noqa: SLF001
    )


def _as_by_name(answered: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a partition of an answer by id the form of one by name."""
    number, code, high, stable, begin, aborted, replica, records, tags = answered
    if not code and _DIVERGING_EPOCH in tags:
        # As if the offset were too large: so it would be, had the log not grown again.
        code = OffsetOutOfRangeError.errno
    transactions = [(producer_id, first) for producer_id, first, _ in aborted or ()]
    return number, code, high, stable, begin, transactions, replica, _of_one_epoch(records or b"")


def _as_newest(answered: tuple[Any, ...], version: int) -> tuple[Any, ...]:
    """Give a partition of an older answer the form of the newest version by name."""
    number, code, high, *more, records = answered
    stable, aborted = (more[0], more[-2 if version >= 11 else -1]) if more else (None, None)  # noqa: PLR2004
    return number, code, high, stable, -1, aborted, -1, _of_one_epoch(records or b"")


def _of_one_epoch(records: bytes) -> bytes:
    """Leave out batches of another leader epoch than the first: they are fetched next."""
    epoch: int | None = None
    at = 0
    while at + _BATCH_HEAD.size <= len(records):
        of_batch, length = _epoch_at(records, at)
        if epoch is None:
            epoch = of_batch
        elif of_batch != epoch:
            return records[:at]
        if length <= 0:
            break  # broken, as the parser will say
        at += length
    return records


def _epoch_at(records: bytes, at: int) -> tuple[int, int]:
    """Return the leader epoch and the length (bytes) of the batch that begins there."""
    _, length, epoch, version = _BATCH_HEAD.unpack_from(records, at)
    known = epoch if version >= _OLDEST_WITH_EPOCH else NO_EPOCH
    return known, _BEFORE_LENGTH_COUNTS + length
