"""Partial counts: what one commit of the first phase of counting hands to the second.

Events are not forwarded to the partition of their campaign. The counts of one commit go to each
partition of the repartition topic as one record: the counts by window, campaign and dimensions, and
the event times of the source partitions that they are from. The record is a fraction of the events'
size, and the second phase costs next to nothing per event. On the changelog topic a window's counts
have the same form.
"""

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from typing import Annotated, NamedTuple, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from streams.domain.arrays import sums_at
from streams.errors import FormatError


class Dimensions(NamedTuple):
    """What one count is a count of, within a campaign and window: its count key there.

    `outcome` is the send status or, for engagement, its kind, such as `opened_notification`. The
    next three are null where the event names none. `channel_type` is the endpoint's own channel.
    """

    outcome: str
    treatment_id: str | None
    delivery_type: str | None
    channel_type: str | None
    engagement: bool = False

    def is_send_with(self, outcomes: Container[str]) -> bool:
        """Tell whether a count is of sends with one of the statuses `outcomes`."""
        return self.outcome in outcomes and not self.engagement


Counts: TypeAlias = dict[Dimensions, int]
"""By count key, the number of events."""


Start: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=32_503_680_000)]
"""In seconds since the epoch; up to the year 3000, so that it can be written as a date."""
EventTime: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=32_503_680_000_000)]
"""In milliseconds since the epoch; up to the year 3000 as well."""


class Column(msgspec.Struct, array_like=True, gc=False):
    """Counts of one count key: `counts[n]` is of the campaign at position `at[n]`.

    `check_counts` sees to it that neither is negative: what was checked once is decoded often.
    """

    dimensions: Dimensions
    at: list[int]
    counts: list[int]


class WindowCounts(msgspec.Struct, array_like=True, gc=False):
    """Counts of campaigns in one window, in columns; `start` in seconds since the epoch.

    The app of the campaign at position `n` of `campaigns` is at position `at_app[n]` of `apps`.
    `late` has, by the campaign's position, how many of its events came after the window was closed.
    Campaigns may be named more than once, and counted more than once for the same kind: that is to
    be added up.

    In buckets, `to_emit` has the positions of campaigns whose counts were changed since they were
    last emitted as a result of the window; `revisions` has, by the campaign's position, how often
    that was, if not once.
    """

    start: Start
    campaigns: list[str]
    apps: list[str | None]
    at_app: list[int]
    columns: list[Column]
    late: dict[int, int] = {}
    to_emit: list[int] = []
    revisions: dict[int, int] = {}

    @property
    def rows(self) -> int:
        """The number of counts."""
        return sum(len(column.counts) for column in self.columns)

    def all_totals(self, is_counted: Callable[[Dimensions], bool]) -> NDArray[np.int64]:
        """Return how many events of counted count keys there are, by position of the campaign."""
        at: list[int] = []
        counts: list[int] = []
        for column in self.columns:
            if is_counted(column.dimensions):
                at += column.at
                counts += column.counts
        return sums_at(len(self.campaigns), at, counts)

    def sends_with(self, outcomes: Container[str]) -> Iterator[tuple[str, int]]:
        """Yield a campaign and the number of its sends with one of the statuses `outcomes`.

        A campaign may come several times.
        """
        campaigns = self.campaigns
        for column in self.columns:
            if column.dimensions.is_send_with(outcomes):
                for at, count in zip(column.at, column.counts, strict=True):
                    yield campaigns[at], count

    @property
    def events(self) -> int:
        """The number of events counted."""
        return sum(sum(column.counts) for column in self.columns)


class _Part:
    """Counts of some campaigns of a window, while they are sorted out."""

    __slots__ = ("apps", "at_app", "campaigns", "columns", "late", "revisions", "to_emit")

    def __init__(self) -> None:
        self.campaigns: list[str] = []
        self.apps: dict[int, int] = {}
        """By the app's position in the whole, that in the part."""
        self.at_app: list[int] = []
        self.columns: list[Column] = []
        self.late: dict[int, int] = {}
        self.to_emit: list[int] = []
        self.revisions: dict[int, int] = {}

    def of(self, whole: WindowCounts) -> WindowCounts:
        """Return the counts."""
        apps = [whole.apps[at] for at in self.apps]
        names = self.campaigns, apps, self.at_app
        emission = self.to_emit, self.revisions
        return WindowCounts(whole.start, *names, self.columns, self.late, *emission)


def sort_out(counts: WindowCounts, parts: int, part_of: Sequence[int]) -> list[WindowCounts]:
    """Part counts by campaign; `part_of` says for each campaign's position where it belongs."""
    made = [_Part() for _ in range(parts)]
    places: list[int] = []
    for campaign, app, number in zip(counts.campaigns, counts.at_app, part_of, strict=True):
        part = made[number]
        places.append(len(part.campaigns))
        part.campaigns.append(campaign)
        part.at_app.append(part.apps.setdefault(app, len(part.apps)))
    for column in counts.columns:
        shares: dict[int, Column] = {}
        for at, count in zip(column.at, column.counts, strict=True):
            number = part_of[at]
            share = shares.get(number)
            if share is None:
                share = shares[number] = Column(column.dimensions, [], [])
            share.at.append(places[at])
            share.counts.append(count)
        for number, share in shares.items():
            made[number].columns.append(share)
    for at, late in counts.late.items():
        made[part_of[at]].late[places[at]] = late
    for at in counts.to_emit:
        made[part_of[at]].to_emit.append(places[at])
    for at, revision in counts.revisions.items():
        made[part_of[at]].revisions[places[at]] = revision
    return [part.of(counts) for part in made]


def split(counts: WindowCounts, buckets: int) -> list[WindowCounts]:
    """Part counts by the bucket of their campaign."""
    if buckets == 1:
        return [counts]
    names = counts.campaigns
    # As `bucket_of` says, without a call for each.
    return sort_out(counts, buckets, [(crc32(name.encode()) >> 16) % buckets for name in names])


SampleFields: TypeAlias = dict[str, str | int]
"""The fields of an event that may be shown, by their paths."""


class Sample(msgspec.Struct, array_like=True, gc=False):
    """One of the events that were counted: in the window that begins at `start` (s)."""

    campaign_id: str
    start: Start
    dimensions: Dimensions
    fields: SampleFields


class PartialCounts(msgspec.Struct, array_like=True, gc=False):
    """One record of the repartition topic: counts of one commit for one partition.

    `event_times` has, by source partition that the counts are from, the largest event time (ms).
    `received_at` is the wall-clock time (ms) at which the oldest of the events was taken in.
    `samples` are a few of the events, for people: whoever does not know the field counts the same,
    so it did not raise the version.
    """

    version: int
    event_times: dict[int, EventTime]
    received_at: EventTime
    windows: list[WindowCounts]
    samples: list[Sample] = []


PARTIAL_COUNTS_VERSION = 3
RECORD_BYTES = 480 * 1024
"""Upper size of a record on the repartition and the changelog topic: brokers take 1 MB by default,
and with its key and what Kafka adds it fits into a batch of 512 KiB."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PartialCounts).decode
decode_counts = msgspec.msgpack.Decoder(WindowCounts).decode


class _Head(msgspec.Struct, array_like=True, gc=False):
    start: int
    campaigns: list[str]


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def decode_campaigns(value: bytes) -> list[str]:
    """Read only the campaigns of encoded `WindowCounts`."""
    return _decode_head(value).campaigns


class _HeadWithApps(msgspec.Struct, array_like=True, gc=False):
    start: int
    campaigns: list[str]
    apps: list[str | None]
    at_app: list[int]


_decode_head_with_apps = msgspec.msgpack.Decoder(_HeadWithApps).decode


def decode_apps(value: bytes) -> list[tuple[str, str | None]]:
    """Read only the campaigns of encoded `WindowCounts`, with their apps."""
    head = _decode_head_with_apps(value)
    return [(name, head.apps[at]) for name, at in zip(head.campaigns, head.at_app, strict=True)]


class _Version(msgspec.Struct, array_like=True, gc=False):
    version: int


_decode_version = msgspec.msgpack.Decoder(_Version).decode


def decode(value: bytes) -> PartialCounts:
    """Read a record of the repartition topic.

    Raises:
        ValueError: if the bytes are no partial counts.
        FormatError: if they are of another version than this program writes.
    """
    try:
        version = _decode_version(value).version
        if version != PARTIAL_COUNTS_VERSION:
            raise FormatError(
                f"partial counts of format {version}, and this version of the program reads format "
                f"{PARTIAL_COUNTS_VERSION}: start the version that wrote them, or read "
                "docs/operations.md"
            )
        partial = _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not partial counts: {error}") from error
    for counts in partial.windows:
        check_counts(counts)
    return partial


def check_counts(counts: WindowCounts) -> None:
    """See that every column points to campaigns that are there, and that no count is negative.

    Raises:
        ValueError: if one does not, or is.
    """
    campaigns = len(counts.campaigns)
    fits = (
        len(counts.at_app) == campaigns
        and _are_below(len(counts.apps), counts.at_app)
        and _are_below(campaigns, counts.late)
        and _are_below(campaigns, counts.to_emit)
        and _are_below(campaigns, counts.revisions)
        and all(
            len(column.at) == len(column.counts)
            and _are_below(campaigns, column.at)
            and min(column.counts, default=0) >= 0
            for column in counts.columns
        )
    )
    if not fits:
        raise ValueError("not counts of a window: the columns do not fit together")


def _are_below(end: int, positions: Collection[int]) -> bool:
    """Tell whether all positions are from 0 to before an end."""
    return not positions or (min(positions) >= 0 and max(positions) < end)


def encode_records(partial: PartialCounts, limit: int = RECORD_BYTES) -> Iterator[bytes]:
    """Write partial counts as records of at most `limit` bytes; a single count is not split.

    The event times are in the last record, so that no one knows them without all the counts; the
    samples are there too.
    """
    value = encode(partial)
    halves = halves_of(partial.windows) if len(value) > limit else None
    if halves is None:
        yield value
        return
    first, second = halves
    version, received_at = partial.version, partial.received_at
    yield from encode_records(PartialCounts(version, {}, received_at, first), limit)
    yield from encode_records(
        PartialCounts(version, partial.event_times, received_at, second, partial.samples), limit
    )


def encode_window(counts: WindowCounts, limit: int = RECORD_BYTES) -> Iterator[bytes]:
    """Write a window's counts as records of at most `limit` bytes, to be added up by the reader.

    A single count is not split.
    """
    value = encode(counts)
    halves = _halves_of_window(counts) if len(value) > limit else None
    if halves is None:
        yield value
        return
    for half in halves:
        yield from encode_window(half, limit)


def halves_of(windows: list[WindowCounts]) -> tuple[list[WindowCounts], list[WindowCounts]] | None:
    """Split windows into two parts; null if there is only one count, or none."""
    if len(windows) != 1:
        half = len(windows) // 2
        return (windows[:half], windows[half:]) if windows else None
    halves = _halves_of_window(windows[0])
    return ([halves[0]], [halves[1]]) if halves is not None else None


def _halves_of_window(whole: WindowCounts) -> tuple[WindowCounts, WindowCounts] | None:
    """Split by campaign or, if there is only one, by count key; null if there is only one count."""
    if len(whole.campaigns) > 1:
        half = len(whole.campaigns) // 2
        parts = [0] * half + [1] * (len(whole.campaigns) - half)
        first, second = sort_out(whole, 2, parts)
        return first, second
    if len(whole.columns) > 1:
        half = len(whole.columns) // 2
        names = whole.campaigns, whole.apps, whole.at_app
        return (
            replace(whole, columns=whole.columns[:half]),
            WindowCounts(whole.start, *names, whole.columns[half:]),
        )
    return None


def partition_of(campaign_id: str, partitions: int) -> int:
    """Return the partition of the repartition topic that a campaign lives in."""
    return crc32(campaign_id.encode()) % partitions


def spread(campaign_id: bytes) -> int:
    """Return the number by which campaigns are spread over the buckets of a window."""
    # The low bits say which partition it lives in: all campaigns of one have them in common.
    return crc32(campaign_id) >> 16


def bucket_of(campaign_id: str, buckets: int) -> int:
    """Return which of the buckets of a window has a campaign."""
    return spread(campaign_id.encode()) % buckets
