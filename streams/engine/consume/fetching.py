"""A consumer that hands out the broker's batches, of records as they were parsed.

aiokafka takes each record out of its batch by itself: it compares its offset, copies it into a
`ConsumerRecord`, and keeps the position. Together that takes longer than parsing it did. Here all
records of a batch are taken out at once, and are those that the parser made: they have the same
fields, except topic and partition, which whoever fetches knows.

A batch that cannot be read must not end the worker, again after each start: in its place there is
one record, with the bytes of the batch as its value, which says why.
"""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.domain.events import Unreadable
from streams.engine.consume.codecs import bound_unpacking
from streams.engine.consume.header_names import keep_bytes, parse_leniently
from streams.engine.consume.identified import Fetched, IdentifiedFetches, nobody
from streams.engine.consume.membership import Membership

FETCHES = 3
"""How often a batch is fetched whose checksum is wrong, in case that it was damaged on its way."""
MOST_RECORDS = 500_000
"""Of one batch: so many are parsed within some 1 s, in which the group gets no heartbeat. There is
room for millions of empty ones in a megabyte."""


class SourceRecord(Protocol):
    """The fields of a record that are used."""

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
    """The records of one batch, which aiokafka takes for one record: the last of them."""

    @property
    def offset(self) -> int:
        """Where the batch ends: aiokafka goes on behind it."""
        return self[-1].offset


@dataclass(frozen=True, slots=True)
class UnreadableRecords:
    """Stands for the records of a batch that cannot be read."""

    offset: int
    timestamp: int
    timestamp_type: int
    value: Unreadable
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class _WholeBatch:
    """A batch that iterates as if it had one record.

    All other attributes (transaction, markers) are those of aiokafka's batch.
    """

    def __init__(self, batch: Any, data: memoryview, *, intact: bool, again: bool) -> None:
        self._batch = batch
        self._data = data
        self._intact = intact
        self._again = again

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    @property
    def next_offset(self) -> int:
        """Where to go on: behind it, or where it begins if it is to be fetched again."""
        offset: int = self._batch.base_offset if self._again else self._batch.next_offset
        return offset

    def validate_crc(self) -> bool:
        """Keep aiokafka from raising: a damaged batch becomes an `UnreadableRecords`."""
        return True

    def __iter__(self) -> Iterator[Records]:
        if self._again:
            return
        records = Records()
        try:
            if not self._intact:
                raise ValueError("its checksum is wrong")  # noqa: TRY301 - as any other damage
            try:
                _extend(records, self._batch)
            except UnicodeDecodeError:
                records.clear()
                _extend(records, parse_leniently(self._data))
        except Exception as error:  # noqa: BLE001 - each codec has its own, and so has the parser
            # Those before the damage were read.
            records.append(self._unreadable(records, error))
        if records:
            yield records

    def _unreadable(self, read: Records, error: Exception) -> UnreadableRecords:
        batch = self._batch
        first = read.offset + 1 if read else batch.base_offset
        last = max(first, batch.next_offset - 1)
        why = f"a batch of {len(self._data)} bytes: offsets {first} to {last}: {error!r}"
        value = Unreadable(bytes(self._data), why)
        return UnreadableRecords(last, batch.max_timestamp or 0, batch.timestamp_type or 0, value)


def _extend(records: Records, batch: Iterable[SourceRecord]) -> None:
    """Add the records of a batch, up to a bound; what was read to its end begins anew."""
    rest = iter(batch)
    records.extend(islice(rest, MOST_RECORDS))
    if len(records) == MOST_RECORDS and next(rest, None) is not None:
        raise ValueError(f"more than {MOST_RECORDS} records")


class _WholeBatches:
    """The batches of a fetch.

    Args:
        batches: as aiokafka has them.
        damaged: how often in a row batches were damaged, by offset; shared by all fetches of a
            partition.
        checked: whether checksums are looked at.
    """

    def __init__(self, batches: Any, damaged: dict[int, int], *, checked: bool) -> None:
        self._batches = batches
        self._damaged = damaged
        self._checked = checked
        self._ends = False

    def has_next(self) -> bool:
        """Tell whether there is one more."""
        return not self._ends and bool(self._batches.has_next())

    def next_batch(self) -> _WholeBatch:
        """Return it."""
        batch = self._batches.next_batch()
        intact = not self._checked or bool(batch.validate_crc())
        if not intact:
            times = self._damaged.get(batch.base_offset, 0) + 1
            self._damaged.clear()
            if times < FETCHES:
                self._damaged[batch.base_offset] = times
                self._ends = True
        return _WholeBatch(batch, self._batches.last, intact=intact, again=self._ends)


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What was fetched and not handed out yet, by partition."""

    def __init__(self, fetched: Any = ()) -> None:
        self._damaged: dict[TopicPartition, dict[int, int]] = {}
        super().__init__(fetched)

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        # A failed fetch has no records.
        fetched = getattr(result, "_partition_records", None)
        if fetched is not None:
            damaged = self._damaged.setdefault(partition, {})
            checked = fetched._check_crcs  # noqa: SLF001
            fetched._records = _WholeBatches(fetched._records, damaged, checked=checked)  # noqa: SLF001 - no other seam
            fetched._consumer_record = _as_it_is  # noqa: SLF001
            # Its iterator holds on to it, and it to its iterator, until both are read to the end;
            # what is thrown away unread would wait for the collector.
            unpack = type(fetched)._unpack_records  # noqa: SLF001
            fetched._records_iterator = unpack(weakref.proxy(fetched))  # noqa: SLF001
        super().__setitem__(partition, result)


def _as_it_is(_: TopicPartition, records: Records) -> Records:
    return records


def ended_quietly(fetch: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    """Let a fetch that is cancelled return, always.

    aiokafka waits at its end for the fetches that it has cancelled. One that is pausing after a
    failure raises there, and breaks off the end of the consumer with its thread's traceback.
    """

    async def ended(*arguments: Any) -> bool:
        try:
            return await fetch(*arguments)
        except asyncio.CancelledError:
            return False

    return ended


class WholeBatchConsumer(AIOKafkaConsumer):  # type: ignore[misc] # it has no types
    """An aiokafka consumer whose fetches bring `Records`.

    The first of them may be from before the offset that was asked for: the broker sends whole
    batches, even to whoever reads from the middle of one on. Nothing is fetched of a partition
    before `logs` knows which log is meant. `membership` follows its heartbeats, and `fetched` is
    notified of its requests for records.
    """

    fetched: Fetched = staticmethod(nobody)
    logs: IdentifiedFetches
    membership: Membership

    async def start(self) -> None:
        """Connect, and join the group."""
        keep_bytes()
        bound_unpacking()
        await super().start()
        self.membership.follow(self._coordinator)
        # Nothing was fetched yet: partitions are assigned later.
        fetcher: Any = self._fetcher
        fetcher._client = self.logs = IdentifiedFetches(fetcher._client, self.fetched)  # noqa: SLF001 - no other seam
        fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001
        fetcher._proc_fetch_request = ended_quietly(fetcher._proc_fetch_request)  # noqa: SLF001
