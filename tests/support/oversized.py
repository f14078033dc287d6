"""Records that no topic takes whole once they are unpacked, or that clients stumble over."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from tests.support.mixture import SourceRecord

LARGEST = 64 * 1024 * 1024


def unpacked(event: dict[str, Any], size: int = 17_000_000) -> bytes:
    """An event that is small only when it is packed."""
    return orjson.dumps({**event, "padding": "x" * size})


def oversized(partition: int, value: bytes) -> list[SourceRecord]:
    """Records with a large value, a large key and large headers; none of them can be counted."""
    large_headers = (("h" * 700_000, b"1"), ("i", b"2" * 700_000))
    return [
        SourceRecord(partition, b"k", value),
        SourceRecord(partition, None, b"y" * 1_200_000),
        SourceRecord(partition, b"k" * 2_000_000, b"no JSON"),
        SourceRecord(partition, b"k", b"no JSON", large_headers),
    ]


class NoText(str):
    """A header's name that is no UTF-8."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


class HostileSender:
    """Sends such records, packed, inside `async with`."""

    def __init__(self, address: str, topic: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=address, compression_type="gzip", max_request_size=LARGEST
        )
        self._topic = topic

    async def send(self, records: Iterable[SourceRecord]) -> None:
        """Send records, one after the other."""
        for each in records:
            await self._producer.send_and_wait(
                self._topic,
                each.value,
                key=each.key,
                partition=each.partition,
                headers=list(each.headers),
            )

    async def send_with_odd_header(self, record: SourceRecord) -> None:
        """Send a record with a header whose name is no UTF-8."""
        batch = self._producer.create_batch()
        # aiokafka's other builder takes only names that are text.
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, LARGEST)
        batch.append(
            timestamp=None, key=record.key, value=record.value, headers=[(NoText("xx"), b"1")]
        )
        await (await self._producer.send_batch(batch, self._topic, partition=record.partition))

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._producer.stop()
