"""Records whose headers have names that are no UTF-8.

Brokers take them, as no broker looks at headers; aiokafka raises for the whole batch, and so would
its every reader, for good. Such a batch is parsed again by aiokafka's parser that is written in
Python, over bytes that decode leniently. For that the batch's bytes have to be at hand.
"""

import struct
from collections.abc import Iterator
from typing import Any, SupportsIndex, overload

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT = 8
_BEFORE_LENGTH_ENDS = 12
"""Bytes of a batch that its length does not count: its first offset, and the length itself."""


class _LenientBytes(bytes):
    def decode(self, encoding: str = "utf-8", _: str = "strict") -> str:
        return super().decode(encoding, "replace")


class _LenientBuffer(bytearray):
    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> bytearray: ...
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found


class KeptRecords:
    """The batches of a fetch, as aiokafka's `MemoryRecords`.

    Attributes:
        last: the bytes of the batch that was returned last.
    """

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._rest = memoryview(data)
        self.last = self._rest[:0]

    def size_in_bytes(self) -> int:
        """Return how many bytes were fetched."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Tell whether there is one more batch, whole."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return it."""
        batch = self._records.next_batch()
        if batch is not None:
            (length,) = struct.unpack_from(">i", self._rest, _LENGTH_AT)
            end = _BEFORE_LENGTH_ENDS + length
            self.last, self._rest = self._rest[:end], self._rest[end:]
        return batch


def keep_bytes() -> None:
    """Let fetches keep the bytes of their batches."""
    fetcher.MemoryRecords = KeptRecords


def parse_leniently(data: memoryview) -> Iterator[Any]:
    """Parse a batch of Kafka's present format (magic 2); headers' names may be no UTF-8.

    Raises:
        CorruptRecordException: if it is broken otherwise.
    """
    batch: Any = _DefaultRecordBatchPy(bytearray(data))
    batch._maybe_uncompress()  # noqa: SLF001 - there is no other way to its records' bytes
    batch._buffer = _LenientBuffer(batch._buffer)  # noqa: SLF001
    yield from batch
