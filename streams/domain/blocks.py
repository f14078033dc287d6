"""Counts on their way from the keying agent to the counting agent.

The keying agent does not forward events. What it counted between two flushes goes to each partition
of the keyed topic as one block: the counts per campaign and window, and how far event time has come
in the source partitions they are from. A block is a fraction of the events' size, and costs the
counting agent next to nothing per event.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

import msgspec


class Dimensions(NamedTuple):
    """What one count is a count of, within a campaign and window.

    `outcome` is the send status, or for engagement the event type without its `_campaign.` prefix.
    The others are null where the event has none.
    """

    outcome: str
    treatment_id: str | None
    delivery_type: str | None
    channel_type: str | None


Counts: TypeAlias = dict[Dimensions, int]


class WindowCounts(msgspec.Struct, array_like=True, gc=False):
    """Counts to add to one window of a campaign; `start` in seconds since the epoch."""

    start: int
    sends: Counts
    engagement: Counts


class CampaignCounts(msgspec.Struct, array_like=True, gc=False):
    """Counts to add to one campaign."""

    campaign_id: str
    app_id: str | None
    windows: list[WindowCounts]


class Block(msgspec.Struct, array_like=True, gc=False):
    """One record of the keyed topic.

    `event_times` maps each source partition that the counts are from to the largest event time
    (ms) it has reached; `received_at` is the wall-clock time (ms) of the oldest of its events.
    """

    version: int
    event_times: dict[int, int]
    received_at: int
    campaigns: list[CampaignCounts]


BLOCK_VERSION = 1
RECORD_BYTES = 512 * 1024
"""Upper size of a record, unless one campaign alone is larger: brokers take 1 MB by default."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode


def decode(value: bytes) -> Block:
    """Read a block.

    Raises:
        ValueError: if the bytes are no block, or one of another version.
    """
    try:
        block = _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a block of counts: {error}") from error
    if block.version != BLOCK_VERSION:
        raise ValueError(f"a block of version {block.version}; this worker reads {BLOCK_VERSION}")
    return block


def encode_records(block: Block, limit: int = RECORD_BYTES) -> Iterator[bytes]:
    """Write a block as records of at most `limit` bytes, as far as it has campaigns to part.

    The event times are in the last record: whoever knows them has all the counts.
    """
    value = encode(block)
    if len(value) <= limit or len(block.campaigns) <= 1:
        yield value
        return
    half = len(block.campaigns) // 2
    first, second = block.campaigns[:half], block.campaigns[half:]
    yield from encode_records(Block(block.version, {}, block.received_at, first), limit)
    yield from encode_records(
        Block(block.version, block.event_times, block.received_at, second), limit
    )


def partition_of(campaign_id: str, partitions: int) -> int:
    """Return the partition of the keyed topic that a campaign lives in."""
    return crc32(campaign_id.encode()) % partitions
