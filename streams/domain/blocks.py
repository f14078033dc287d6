"""Counts on their way: from the keying agent to the counting agent, and to the state topic.

The keying agent does not forward events. What it counted between two flushes goes to each partition
of the keyed topic as one block: the counts per window and campaign, and how far event time has come
in the source partitions they are from. A block is a fraction of the events' size, and costs the
counting agent next to nothing per event. A window's counts on the state topic have the same form.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from streams.errors import FormatError


class Dimensions(NamedTuple):
    """What one count is a count of, within a campaign and window.

    `outcome` is the send status, or for engagement the event type without its `_campaign.` prefix.
    The next three are null where the event has none.
    """

    outcome: str
    treatment_id: str | None
    delivery_type: str | None
    channel_type: str | None
    engagement: bool = False


Counts: TypeAlias = dict[Dimensions, int]


class WindowCounts(msgspec.Struct, array_like=True, gc=False):
    """Counts of campaigns in one window, in columns; `start` in seconds since the epoch.

    Count `n` is `counts[n]`, of the campaign at position `at_campaign[n]` of `campaigns` and the
    dimensions at position `at_dimension[n]` of `dimensions`. `late` has, by the campaign's
    position, how many of its events came after the window was closed.
    """

    start: int
    campaigns: list[str]
    apps: list[str | None]
    dimensions: list[Dimensions]
    at_campaign: list[int]
    at_dimension: list[int]
    counts: list[int]
    late: dict[int, int] = {}


class Gathering:
    """Counts of one window that are being put into columns."""

    __slots__ = (
        "at_campaign",
        "at_dimension",
        "counts",
        "dimensions",
        "late",
        "positions",
        "start",
    )

    def __init__(self, start: int) -> None:
        self.start = start
        self.positions: dict[str, int] = {}
        self.dimensions: dict[Dimensions, int] = {}
        self.at_campaign: list[int] = []
        self.at_dimension: list[int] = []
        self.counts: list[int] = []
        self.late: dict[int, int] = {}

    def columns(self, apps: Iterable[str | None]) -> WindowCounts:
        """Return all of it; `apps` in the order in which the campaigns came."""
        return WindowCounts(
            self.start,
            list(self.positions),
            list(apps),
            list(self.dimensions),
            self.at_campaign,
            self.at_dimension,
            self.counts,
            self.late,
        )


def split(counts: WindowCounts, pages: int) -> list[WindowCounts]:
    """Part counts by campaign: each campaign has its page, the same one whatever else is there."""
    if pages == 1:
        return [counts]
    parts = [Gathering(counts.start) for _ in range(pages)]
    apps: list[list[str | None]] = [[] for _ in range(pages)]
    homes: list[tuple[Gathering, int]] = []
    for name, app in zip(counts.campaigns, counts.apps, strict=True):
        page = page_of(name, pages)
        part = parts[page]
        at = part.positions[name] = len(part.positions)
        apps[page].append(app)
        homes.append((part, at))
    for position, late in counts.late.items():
        part, at = homes[position]
        part.late[at] = late
    dimensions = counts.dimensions
    for campaign, dimension, count in zip(
        counts.at_campaign, counts.at_dimension, counts.counts, strict=True
    ):
        part, at = homes[campaign]
        known = part.dimensions
        part.at_campaign.append(at)
        part.at_dimension.append(known.setdefault(dimensions[dimension], len(known)))
        part.counts.append(count)
    return [part.columns(of_page) for part, of_page in zip(parts, apps, strict=True)]


class Block(msgspec.Struct, array_like=True, gc=False):
    """One record of the keyed topic.

    `event_times` maps each source partition that the counts are from to the largest event time
    (ms) it has reached; `received_at` is the wall-clock time (ms) of the oldest of its events.
    """

    version: int
    event_times: dict[int, int]
    received_at: int
    windows: list[WindowCounts]


BLOCK_VERSION = 2
RECORD_BYTES = 512 * 1024
"""Upper size of a record, unless one campaign alone is larger: brokers take 1 MB by default."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode
decode_counts = msgspec.msgpack.Decoder(WindowCounts).decode


class _Head(msgspec.Struct, array_like=True, gc=False):
    start: int
    campaigns: list[str]


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def decode_campaigns(value: bytes) -> list[str]:
    """Read only which campaigns there are counts of."""
    return _decode_head(value).campaigns


class _Version(msgspec.Struct, array_like=True, gc=False):
    version: int


_decode_version = msgspec.msgpack.Decoder(_Version).decode


def decode(value: bytes) -> Block:
    """Read a block.

    Raises:
        ValueError: if the bytes are no block.
        FormatError: if the block is of another version than this program writes.
    """
    try:
        version = _decode_version(value).version
        if version != BLOCK_VERSION:
            raise FormatError(
                f"a block of counts of format {version}, and this version of the program reads "
                f"{BLOCK_VERSION}: start the version that wrote it, or read docs/operations.md"
            )
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a block of counts: {error}") from error


def encode_records(block: Block, limit: int = RECORD_BYTES) -> Iterator[bytes]:
    """Write a block as records of at most `limit` bytes, as far as it has campaigns to part.

    The event times are in the last record: whoever knows them has all the counts.
    """
    value = encode(block)
    if len(value) <= limit or sum(len(each.campaigns) for each in block.windows) <= 1:
        yield value
        return
    first, second = _halves(block.windows)
    yield from encode_records(Block(block.version, {}, block.received_at, first), limit)
    yield from encode_records(
        Block(block.version, block.event_times, block.received_at, second), limit
    )


def _halves(windows: list[WindowCounts]) -> tuple[list[WindowCounts], list[WindowCounts]]:
    if len(windows) > 1:
        half = len(windows) // 2
        return windows[:half], windows[half:]
    half = len(windows[0].campaigns) // 2
    return [_only(windows[0], 0, half)], [_only(windows[0], half, len(windows[0].campaigns))]


def _only(counts: WindowCounts, first: int, end: int) -> WindowCounts:
    """Return the counts of the campaigns at some positions."""
    rows = [n for n, at in enumerate(counts.at_campaign) if first <= at < end]
    return WindowCounts(
        counts.start,
        counts.campaigns[first:end],
        counts.apps[first:end],
        counts.dimensions,
        [counts.at_campaign[n] - first for n in rows],
        [counts.at_dimension[n] for n in rows],
        [counts.counts[n] for n in rows],
    )


def partition_of(campaign_id: str, partitions: int) -> int:
    """Return the partition of the keyed topic that a campaign lives in."""
    return crc32(campaign_id.encode()) % partitions


def page_of(campaign_id: str, pages: int) -> int:
    """Return which of the pages of a window has a campaign."""
    # The low bits say which partition it lives in: all campaigns of one have them in common.
    return (crc32(campaign_id.encode()) >> 16) % pages
