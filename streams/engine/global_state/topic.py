"""A compacted topic that every worker reads whole, and may write to: a global table.

There is no group and no committed offset: a worker reads the topic from its beginning whenever it
starts, then follows it. What it writes it reads back like what others write, so all workers go by
the order of the topic.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.cancelling import close, raise_if_cancelled
from streams.engine.cluster.rights import REFUSALS, Right, describe_missing
from streams.errors import RightsError, UnavailableError

_log = structlog.get_logger(__name__)

READ_AGAIN_AFTER = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to read; the last one repeats."""
LOOK_EVERY = 5.0
"""Seconds between two questions where the topic ends: a fetch does not tell whether it failed."""
OUT_OF_DATE_AFTER = 30.0
"""Seconds without an answer after which what is known may be out of date."""
WRITE_WITHIN = 8.0
"""Seconds that a write may take until it was read back."""
ANSWER_WITHIN = 5.0
"""Seconds that the brokers have for one answer."""
FETCH_WITHIN = 10.0
"""Seconds that a fetch has: it is answered after a second also if there is nothing new. aiokafka
may wait for good after a broker was killed, and says nothing."""
START_WITHIN = 15.0
CLOSE_WITHIN = 5.0
"""Seconds that a client has to close; one that hangs must not keep the next one waiting."""

_Consumer: TypeAlias = "AIOKafkaConsumer[bytes, bytes | None]"


class Table(Protocol):
    """What the records of the topic make up."""

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic, the last of each key, in place of what is there."""
        ...

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take the next record; null removes what is there under the key."""
        ...


class GlobalTopic:
    """A compacted topic, read whole.

    Args:
        connection: keyword arguments for aiokafka clients.
        name: of the topic.
        partitions: how many it has.
        table: takes what is read.
        read_committed: whether it is written in transactions: of one that was aborted, or is under
            way, nothing is read.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        name: str,
        partitions: int,
        table: Table,
        *,
        read_committed: bool = False,
    ) -> None:
        self.name = name
        self._partitions = [TopicPartition(name, number) for number in range(partitions)]
        self._connection = connection
        self._table = table
        self._isolation = "read_committed" if read_committed else "read_uncommitted"
        self._positions: Mapping[TopicPartition, int] = {}
        self._answered_at = time.monotonic()
        self._is_read = asyncio.Event()
        self._moved = asyncio.Condition()

    async def read(self) -> None:
        """Wait until it was read up to where it ended when reading began."""
        await self._is_read.wait()

    @property
    def is_read(self) -> bool:
        """Whether it was read up to where it ended when reading began."""
        return self._is_read.is_set()

    @property
    def out_of_date(self) -> str | None:
        """Why what is known of it may be out of date; null if it is not."""
        silent = time.monotonic() - self._answered_at
        if silent < OUT_OF_DATE_AFTER:
            return None
        return f"topic {self.name} could not be read for {silent:.0f} s"

    async def follow(self) -> None:
        """Read it from its beginning, and whatever is written then. Never returns."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - aiokafka asserts some; reading has to go on
                if time.monotonic() - began > LOOK_EVERY:
                    failures = 0
                wait = READ_AGAIN_AFTER[min(failures, len(READ_AGAIN_AFTER) - 1)]
                failures += 1
                _log.warning(
                    "topic cannot be read: reading it anew", topic=self.name, error=repr(error)
                )
                raise_if_cancelled()
                await asyncio.sleep(wait)

    async def _follow(self) -> None:
        consumer: _Consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=None,
            enable_auto_commit=False,
            isolation_level=self._isolation,
            # A topic that was deleted and made anew ends before what was read: it is read anew.
            auto_offset_reset="none",
        )
        try:
            async with asyncio.timeout(START_WITHIN):
                await consumer.start()
            consumer.assign(self._partitions)
            await self._read_whole(consumer)
            looked_at = time.monotonic()
            while True:
                await self._take(consumer)
                if time.monotonic() - looked_at > LOOK_EVERY:
                    self._check_fetched(consumer)
                    await self._ends(consumer)
                    self._answered_at = looked_at = time.monotonic()
        finally:
            # aiokafka cannot stop a consumer whose tasks have not begun yet.
            await asyncio.sleep(0)
            await self._close(consumer)

    async def _close(self, consumer: _Consumer) -> None:
        closing = asyncio.ensure_future(consumer.stop())
        await asyncio.wait({closing}, timeout=CLOSE_WITHIN)
        if not closing.done():
            _log.warning("client does not close: going on without it", topic=self.name)
            closing.cancel()
        raise_if_cancelled()

    def _check_fetched(self, consumer: _Consumer) -> None:
        """Look whether fetches are answered.

        Raises:
            TimeoutError: one was not for long; the client may wait for good.
        """
        fetched = [consumer.last_poll_timestamp(each) for each in self._partitions]
        oldest = min([each for each in fetched if each is not None], default=None)
        if oldest is not None and time.time() - oldest / 1000 > FETCH_WITHIN + LOOK_EVERY:
            raise TimeoutError("fetches are not answered")

    async def _ends(self, consumer: _Consumer) -> dict[TopicPartition, int]:
        # Without a limit: aiokafka waits for a topic that is gone.
        async with asyncio.timeout(ANSWER_WITHIN):
            return dict(await consumer.end_offsets(self._partitions))

    async def _read_whole(self, consumer: _Consumer) -> None:
        """Read it from its beginning up to its end, and take that in one step."""
        ends = await self._ends(consumer)
        async with asyncio.timeout(ANSWER_WITHIN):
            begins = await consumer.beginning_offsets(self._partitions)
        for partition, begin in begins.items():
            consumer.seek(partition, begin)
        positions: Mapping[TopicPartition, int] = begins
        records: dict[bytes, bytes | None] = {}
        while any(
            positions[each] < self._committed_end(consumer, each, ends[each])
            for each in self._partitions
        ):
            async with asyncio.timeout(FETCH_WITHIN):
                for fetched in (await consumer.getmany(timeout_ms=500)).values():
                    records.update((record.key or b"", record.value) for record in fetched)
                positions = await self._positions_of(consumer)
        self._table.replace(records)
        self._answered_at = time.monotonic()
        self._is_read.set()
        await self._moved_to(positions)

    def _committed_end(self, consumer: _Consumer, partition: TopicPartition, end: int) -> int:
        """Return up to where a partition can be read, of which `end` is the end.

        What lies behind the beginning of a transaction that is under way has to wait for its end,
        which may be the business of a worker that was killed.
        """
        if self._isolation == "read_uncommitted":
            return end
        stable = consumer.last_stable_offset(partition)
        return end if stable is None or stable < 0 else min(end, stable)

    async def _take(self, consumer: _Consumer) -> None:
        """Wait for records, and take them."""
        async with asyncio.timeout(FETCH_WITHIN):
            fetched = await consumer.getmany(timeout_ms=1_000)
        for records in fetched.values():
            for record in records:
                self._table.apply(record.key or b"", record.value)
        if fetched:
            self._answered_at = time.monotonic()
            async with asyncio.timeout(FETCH_WITHIN):
                positions = await self._positions_of(consumer)
            await self._moved_to(positions)

    async def _positions_of(self, consumer: _Consumer) -> dict[TopicPartition, int]:
        return {each: await consumer.position(each) for each in self._partitions}

    async def _moved_to(self, positions: Mapping[TopicPartition, int]) -> None:
        """Note how far was read."""
        self._positions = positions
        async with self._moved:
            self._moved.notify_all()

    async def write(self, key: bytes, value: bytes | None) -> None:
        """Write a record, and wait until it was read back.

        Raises:
            UnavailableError: if the brokers do not take it in time; it may be written all the same.
            RightsError: if the brokers do not allow it.
        """
        try:
            async with asyncio.timeout(WRITE_WITHIN):
                partition, offset = await self._send(key, value)
                async with self._moved:
                    await self._moved.wait_for(lambda: self._positions.get(partition, 0) > offset)
        except REFUSALS as error:
            user = self._connection.get("sasl_plain_username")
            missing = [Right("WRITE", "topic", self.name)]
            raise RightsError(describe_missing(missing, user)) from error
        except (KafkaError, OSError) as error:
            raise UnavailableError(
                f"topic {self.name} could not be written to within {WRITE_WITHIN:g} s "
                f"({type(error).__name__}): it may be written all the same"
            ) from error

    async def _send(self, key: bytes, value: bytes | None) -> tuple[TopicPartition, int]:
        producer = AIOKafkaProducer(
            **self._connection, acks="all", request_timeout_ms=int(ANSWER_WITHIN * 1000)
        )
        try:
            await producer.start()
            written = await producer.send_and_wait(self.name, value, key=key)
        finally:
            await close(producer.stop())
        return TopicPartition(written.topic, written.partition), written.offset
