"""The newest dead letters, read from the end of their topic while somebody asks for them.

What is read has bounds in records, bytes and time, and is kept for some seconds: it costs the same
however many ask.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.domain.dead_letters import (
    DeadLetterSample,
    NewestDeadLetters,
    known_reason,
    masked,
    shown_detail,
)
from streams.engine.cluster.reading import partition_counts, reading
from streams.engine.cluster.rights import REFUSALS, Right, describe_missing
from streams.engine.dead_letters.listing import DeadLetter, Marker, Place, parse
from streams.errors import UnavailableError

MOST = 50
"""Dead letters that are found at most."""
TAIL = 200
"""Offsets at the end of each partition that are read."""
FETCH_BYTES = 1024 * 1024
"""Of a partition at once; a larger record comes alone."""
WITHIN = 4.0
"""Seconds for all of it."""
KEPT = 5.0
"""Seconds that what was found is answered with."""


class DeadLetterTopicEnd:
    """Reads the end of a dead-letter topic.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: its name.
        user: who reads, for what is said of missing rights; null for nobody in particular.
        committed: see only what committed transactions wrote.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        user: str | None = None,
        *,
        committed: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._user = user
        self._committed = committed
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found = NewestDeadLetters()
        self._found_until = float("-inf")

    async def newest(self) -> NewestDeadLetters:
        """Return the newest dead letters.

        Raises:
            UnavailableError: if they cannot be read; says why.
        """
        async with self._lock:
            if self._clock() >= self._found_until:
                self._found = await self._within_time()
                self._found_until = self._clock() + KEPT
            return self._found

    async def _within_time(self) -> NewestDeadLetters:
        letters: list[DeadLetterSample] = []
        replayed: set[Place] = set()
        complete = True
        try:
            async with asyncio.timeout(WITHIN):
                await self._read(letters, replayed)
        except REFUSALS as error:
            right = Right("READ", "topic", self._topic)
            raise UnavailableError(describe_missing([right], self._user)) from error
        except TimeoutError:
            if not letters:
                raise UnavailableError(
                    f"topic {self._topic} (topics.dead_letter) was not read within {WITHIN:g} s: "
                    "the brokers are slow, or a transaction there is open"
                ) from None
            complete = False
        except KafkaError as error:
            raise UnavailableError(f"topic {self._topic} cannot be read now ({error!r})") from error
        letters.sort(key=lambda each: (-each.failed_at, each.partition, -each.offset))
        shown = tuple(_marked(each, replayed) for each in letters[:MOST])
        return NewestDeadLetters(shown, complete)

    async def _read(self, letters: list[DeadLetterSample], replayed: set[Place]) -> None:
        """Read the end of the topic; what is found is added as it comes."""
        async with reading(
            self._connection, committed=self._committed, fetch_bytes=FETCH_BYTES
        ) as consumer:
            count = (await partition_counts(consumer)).get(self._topic, 0)
            if not count:
                raise UnavailableError(
                    f"there is no topic {self._topic} (topics.dead_letter): make it with "
                    "`campaign-streams topics create`"
                )
            partitions = [TopicPartition(self._topic, number) for number in range(count)]
            begin = await consumer.beginning_offsets(partitions)
            end = await consumer.end_offsets(partitions)
            ranges = {each: range(max(begin[each], end[each] - TAIL), end[each]) for each in end}
            todo = {each: kept for each, kept in ranges.items() if kept}
            async for entry in _entries(consumer, todo):
                if isinstance(entry, DeadLetter):
                    letters.append(_sample(entry))
                else:
                    replayed.add(entry.of)


async def _entries(
    consumer: "AIOKafkaConsumer[bytes, bytes | None]", todo: dict[TopicPartition, range]
) -> AsyncIterator[DeadLetter | Marker]:
    consumer.assign(list(todo))
    for partition, offsets in todo.items():
        consumer.seek(partition, offsets.start)
    while todo:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                yield parse(record)
        for partition in list(todo):
            # Transaction markers have offsets too, but are no records.
            if await consumer.position(partition) >= todo[partition].stop:
                del todo[partition]
                consumer.pause(partition)


def _marked(sample: DeadLetterSample, replayed: set[Place]) -> DeadLetterSample:
    was = Place(sample.partition, sample.offset) in replayed
    return replace(sample, replayed=True) if was else sample


def _sample(letter: DeadLetter) -> DeadLetterSample:
    return DeadLetterSample(
        partition=letter.place.partition,
        offset=letter.place.offset,
        failed_at=letter.failed_at,
        reason=known_reason(letter.reason),
        detail=shown_detail(letter.detail),
        source_topic=letter.source_topic,
        source_partition=letter.source_partition,
        source_offset=letter.source_offset,
        size=letter.size if letter.original_size is None else letter.original_size,
        truncated=bool(letter.truncated),
        replayed=False,
        beginning=None if letter.value is None else masked(letter.value),
    )
