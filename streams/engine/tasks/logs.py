"""Where a partition is read on, given what its log is now.

A topic can be deleted and made anew, its log can be cut off by an unclean leader election, and
records that were not read yet can be deleted by retention. Each of these leaves a position that
is of other records than before, or of none.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    StaleMetadata,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from streams.cancelling import close
from streams.engine.consume.log_requests import NO_EPOCH, NO_ID, DescribeTopics, EpochEnds
from streams.engine.consume.positions import Position, Positions
from streams.engine.tasks.context import Topics
from streams.engine.transactions.admin import UNSUPPORTED

FIND_WITHIN = 10.0
"""Seconds for all requests about the logs of one call."""
LOOKS, LOOK_AGAIN_AFTER = 5, 0.2
"""How often, and how many seconds apart, to look for a topic: what was just made is not known to
every broker at once."""
EARLIEST, LATEST = -2, -1
READ_UNCOMMITTED = 0


class Cause(StrEnum):
    """Why records cannot be read any more."""

    RECREATED = "topic-recreated"
    TRUNCATED = "log-truncated"
    EXPIRED = "expired"


class Found(NamedTuple):
    """A partition's log as it is now.

    Args:
        topic_id: of its topic; None if the broker knows no ids.
        begin: the offset of its first record.
        end: the offset behind its last one.
        diverges: the offset from which it differs from the log that was read, if that is known and
            before the position.
    """

    topic_id: UUID | None
    begin: int
    end: int
    diverges: int | None = None


class LostRecords(NamedTuple):
    """Records that cannot be read any more.

    Args:
        cause: why.
        records: how many offsets are known to be lost without having been read; there may be more.
        counted: how many offsets that were read are not in the log any more.
    """

    cause: Cause
    records: int
    counted: int = 0


def resume(
    position: Position, found: Found, end_seen: int | None = None
) -> tuple[Position, LostRecords | None]:
    """Return where to read on, and which records are lost; null if none are.

    Args:
        position: how far the partition was read.
        found: its log as it is now.
        end_seen: given if a broker refused to read on from the position: the end of the log as it
            was read, -1 if it is not known.
    """
    offset, time, topic_id, epoch = position
    begin = Position(found.begin, time, found.topic_id)
    if position.is_beginning:
        return begin, None
    unread = max(0, (end_seen or 0) - offset)
    if topic_id is not None and found.topic_id is not None and topic_id != found.topic_id:
        return begin, LostRecords(Cause.RECREATED, unread + found.begin, offset)
    end = offset if found.diverges is None else found.diverges
    if end_seen is not None:
        # Unasked, an end is not trusted: the embedded broker's leaves out most of its last batch.
        end = min(end, found.end)
    if end < offset:
        there = max(end, found.begin)
        moved = Position(there, time, found.topic_id)
        return moved, LostRecords(Cause.TRUNCATED, unread + there - end, offset - end)
    if found.begin > offset:
        return begin, LostRecords(Cause.EXPIRED, found.begin - offset)
    return Position(offset, time, found.topic_id or topic_id, epoch), None


class _Topic(NamedTuple):
    """A topic's id, and the leaders of its partitions; -1 for none."""

    topic_id: UUID | None
    leaders: Mapping[int, int]


class LogFinder:
    """Asks the brokers for the present logs of partitions.

    Args:
        connection: keyword arguments for aiokafka clients.
        topics: the topics, and how many partitions they had at the start.
        tasks: how many partitions the source must have; None if any number will do.
    """

    def __init__(
        self, connection: Mapping[str, Any], topics: Topics, tasks: int | None = None
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._tasks = tasks
        self._client: AIOKafkaClient | None = None
        self._connecting = asyncio.Lock()

    async def missing(self) -> str | None:
        """Say which topics that a task needs, apart from the source, are missing or changed.

        Raises:
            KafkaError, OSError: if the brokers do not say.
        """
        for _ in range(LOOKS - 1):
            if await self._missing() is None:
                return None
            await asyncio.sleep(LOOK_AGAIN_AFTER)
        return await self._missing()

    async def _missing(self) -> str | None:
        written = list(self._topics.written())
        async with self._asking() as client:
            there = await _describe(client, {name for _, name, _ in written})
        for setting, name, partitions in written:
            if name not in there:
                return (
                    f"topic {name} ({setting}) does not exist: "
                    "run `campaign-streams topics create`, or restore it"
                )
            if len(there[name].leaders) < partitions:
                return (
                    f"topic {name} ({setting}) has {len(there[name].leaders)} partitions and had "
                    f"{partitions}: restart the workers"
                )
        return None

    async def find(
        self, positions: Positions
    ) -> tuple[dict[TopicPartition, Found], dict[TopicPartition, str]]:
        """Ask about the logs of partitions that were read so far.

        Returns:
            What was found, and for the other partitions why they cannot be read.

        Raises:
            KafkaError, OSError: if the brokers do not say.
        """
        names = {each.topic for each in positions}
        async with self._asking() as client:
            topics = await _describe(client, names)
            why_not = {each: why for each in positions if (why := self._why_not(each, topics))}
            asked = {each: at for each, at in positions.items() if each not in why_not}
            led = _by_leader(asked, topics)
            begins = await _offsets(client, led, EARLIEST)
            ends = await _offsets(client, led, LATEST)
            forks = await _diverging(client, led, asked)
            await _check_ids(client, led, topics)
        found = {
            each: Found(topics[each.topic].topic_id, begins[each], ends[each], forks.get(each))
            for each in asked
        }
        return found, why_not

    def _why_not(self, partition: TopicPartition, topics: Mapping[str, _Topic]) -> str | None:
        name, number = partition
        is_source = name == self._topics.source
        setting = "topics.source" if is_source else "topics.repartition"
        topic = topics.get(name)
        if topic is None:
            return f"topic {name} ({setting}) does not exist: waiting until it is made again"
        if is_source and self._tasks is not None and len(topic.leaders) != self._tasks:
            return (
                f"topic {name} ({setting}) has {len(topic.leaders)} partitions, but with "
                f"source.keyed it must have {self._tasks}, as {self._topics.changelog} has: make "
                "it again with that number, or count anew as docs/operations.md says"
            )
        if number not in topic.leaders:
            return f"topic {name} ({setting}) has no partition {number} any more"
        return None

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[AIOKafkaClient]:
        """Lend a client that is connected; after an error the next one is another."""
        async with self._connecting:
            if self._client is None:
                client = AIOKafkaClient(**self._connection)
                try:
                    async with asyncio.timeout(FIND_WITHIN):
                        await client.bootstrap()
                except BaseException:
                    await close(client.close())
                    raise
                self._client = client
            client = self._client
        try:
            async with asyncio.timeout(FIND_WITHIN):
                yield client
        except (KafkaError, OSError):
            if self._client is client:
                self._client = None
                await close(client.close())
            raise

    async def close(self) -> None:
        """Let go of the brokers."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def _describe(
    client: AIOKafkaClient, names: Iterable[str], node: int | None = None
) -> dict[str, _Topic]:
    """Return those of the topics that exist, as one broker, or any one, describes them."""
    node = client.get_random_node() if node is None else node
    if node is None:
        raise LeaderNotAvailableError("no broker is known")
    try:
        answer = await client.send(node, DescribeTopics(sorted(names)))
        rows = [
            (code, name, topic_id, [(p, leader) for _, p, leader, *_ in partitions])
            for code, name, topic_id, _, partitions, *_ in answer.topics
        ]
    except UNSUPPORTED:
        answer = await client.send(node, MetadataRequest(sorted(names), False))
        rows = [
            (code, name, NO_ID, [(p, leader) for _, p, leader, *_ in partitions])
            for code, name, _, partitions in answer.topics
        ]
    topics = {}
    for code, name, topic_id, partitions in rows:
        error = for_code(code)
        if error is UnknownTopicOrPartitionError:
            continue
        if error is not NoError:
            raise error(name)
        known = None if topic_id == NO_ID else topic_id
        topics[name] = _Topic(known, dict(partitions))
    return topics


async def _check_ids(
    client: AIOKafkaClient,
    led: Mapping[int, list[TopicPartition]],
    topics: Mapping[str, _Topic],
) -> None:
    """Check that leaders answered about the topics with these ids.

    The leaders were asked by name; and the broker that described the topics may have learned
    earlier or later than they that one was recreated.

    Raises:
        StaleMetadata: if a leader has another topic of that name.
    """
    for leader, partitions in led.items():
        names = {each.topic for each in partitions}
        there = await _describe(client, names, leader)
        for name in names:
            if name not in there or there[name].topic_id != topics[name].topic_id:
                raise StaleMetadata(f"topic {name} was made anew while its log was looked at")


def _by_leader(
    partitions: Iterable[TopicPartition], topics: Mapping[str, _Topic]
) -> dict[int, list[TopicPartition]]:
    led = defaultdict(list)
    for each in partitions:
        leader = topics[each.topic].leaders[each.partition]
        if leader < 0:
            raise LeaderNotAvailableError(f"{each} has no leader")
        led[leader].append(each)
    return led


async def _offsets(
    client: AIOKafkaClient, led: Mapping[int, list[TopicPartition]], time: int
) -> dict[TopicPartition, int]:
    """Ask leaders for an end of their partitions' logs."""
    found = {}
    for leader, partitions in led.items():
        asked: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for topic, number in partitions:
            asked[topic].append((number, time))
        request = OffsetRequest(-1, READ_UNCOMMITTED, list(asked.items()))
        answer = await client.send(leader, request)
        for topic, answered in answer.topics:
            for number, code, _, offset, *_ in answered:
                _check(code, topic, number)
                found[TopicPartition(topic, number)] = offset
    return found


async def _diverging(
    client: AIOKafkaClient, led: Mapping[int, list[TopicPartition]], positions: Positions
) -> dict[TopicPartition, int]:
    """Ask leaders whether their logs go up to positions in the epochs in which these were read.

    Returns:
        For each partition whose log does not, the offset from which it differs.
    """
    found = {}
    for leader, partitions in led.items():
        asked: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for each in partitions:
            if positions[each].epoch != NO_EPOCH:
                asked[each.topic].append((each.partition, positions[each].epoch))
        if not asked:
            continue
        try:
            answer = await client.send(leader, EpochEnds(asked.items()))
        except UNSUPPORTED:
            continue
        for topic, answered in answer.topics:
            for code, number, epoch, end in answered:
                _check(code, topic, number)
                partition = TopicPartition(topic, number)
                if epoch != NO_EPOCH and end < positions[partition].offset:
                    found[partition] = end
    return found


def _check(code: int, topic: str, number: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error(f"{topic}-{number}")
