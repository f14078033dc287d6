"""One window's counts: in buckets of some dozen campaigns, clean or dirty.

A clean bucket is the bytes that the changelog topic has for it: a fraction of what the counts take
while they change. A dirty one has counts that were not written there. Which bucket a campaign is in
follows from its name and the number of buckets.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec

from streams.domain.cells import Cells, Found, cell_of, cells_of
from streams.domain.counts import OTHER, Cell
from streams.domain.emission import Emission
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import (
    RECORD_BYTES,
    Dimensions,
    WindowCounts,
    bucket_of,
    check_counts,
    decode_apps,
    decode_campaigns,
    decode_counts,
    encode,
    encode_window,
    split,
    spread,
)
from streams.domain.transitions import rfc3339
from streams.errors import FormatError

CAMPAIGNS_PER_BUCKET = 32
BUCKET_RECORD_BYTES = RECORD_BYTES
"""Upper size of a record; what is larger, as campaigns have many or long names, is several."""
NAMES_PER_BUCKET = 1024
"""Where campaigns have more names than usual, there are fewer of them in a bucket."""


class Bucket(NamedTuple):
    """Counts as written; of how many campaigns, and of how many that are to be emitted."""

    value: bytes
    campaigns: int
    to_emit: int = 0


class Wanted(NamedTuple):
    """A campaign, and what finds it in a bucket: MessagePack has texts as they are, in UTF-8."""

    campaign_id: str
    encoded: bytes
    spread: int

    @classmethod
    def of(cls, campaign_id: str) -> "Wanted":
        """Return what finds a campaign."""
        encoded = campaign_id.encode()
        return cls(campaign_id, encoded, spread(encoded))


class BucketKey(msgspec.Struct, frozen=True, order=True, array_like=True, tag="bucket", gc=False):
    """Key, on the changelog topic, of a bucket of the window that begins at `start` (s).

    A bucket that one record cannot hold is several, numbered by `part`: their counts are added up.
    The value is `WindowCounts` in MessagePack, as in a record of the repartition topic.
    """

    start: int
    bucket: int
    part: int = 0


def read_bucket(value: bytes) -> Bucket:
    """Read a bucket back.

    Raises:
        ValueError: if the bytes are no bucket.
    """
    try:
        counts = decode_counts(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a bucket of counts: {error}") from error
    check_counts(counts)
    return Bucket(value, len(counts.campaigns), len(counts.to_emit))


class Added(NamedTuple):
    """What became of counts: campaigns that had none before, and events that lost a name."""

    campaigns: Sequence[str]
    folded: int


class Snapshot(NamedTuple):
    """One window's counts at one moment: the clean buckets, and copies of the dirty ones.

    Clean buckets are shared with the window, so a snapshot weighs what is copied.
    """

    buckets: list[Bucket | WindowCounts]

    def counts(self) -> Iterator[WindowCounts]:
        """Yield the counts, bucket by bucket."""
        return map(_read, self.buckets)

    def cells(self, campaigns: Iterable[str]) -> Iterator[tuple[str, Cell]]:
        """Yield the counts of those of the campaigns that have any; each bucket is read once."""
        wanted: dict[int, set[str]] = {}
        for name in campaigns:
            wanted.setdefault(bucket_of(name, len(self.buckets)), set()).add(name)
        for number, names in wanted.items():
            yield from cells_of(_read(self.buckets[number]), names)


def _read(bucket: Bucket | WindowCounts) -> WindowCounts:
    return decode_counts(bucket.value) if isinstance(bucket, Bucket) else bucket


class Window:
    """The counts of one window, and how much of them was written down.

    Args:
        start: of the window (s).
        restored: the records of each of its buckets, in the order of their keys.
        limits: how many names each campaign can have.
        emits: whether results of the window are to be emitted.

    Attributes:
        replay_from_offset: offset in the repartition topic from which counts are in no bucket that
            was written; null if the window is clean: everything was written.
        closed_at_offset: offset in the repartition topic from which counts came late; null while
            the window is open.
        changed_at: wall-clock time (s) of the last change.
        changes: how often counts were added.
        rows_before: how many counts the table had been given before `replay_from_offset`.
        written: the keys of its records that the changelog topic has.
    """

    __slots__ = (
        *("_emits", "_limits", "buckets", "changed_at", "changes", "closed_at_offset"),
        *("replay_from_offset", "rows_before", "start", "written"),
    )

    def __init__(
        self,
        start: int,
        restored: Iterable[Sequence[Bucket]] = (),
        limits: Limits = DEFAULT_LIMITS,
        *,
        emits: bool = False,
    ) -> None:
        self.start = start
        self._emits = emits
        self._limits = limits
        self.buckets: list[Cells | Bucket] = []
        self.written: set[BucketKey] = set()
        for number, parts in enumerate(restored):
            self.written.update(BucketKey(start, number, part) for part in range(len(parts)))
            self.buckets.append(parts[0] if len(parts) == 1 else _added_up(start, parts))
        self.buckets = self.buckets or [Cells(limits=limits)]
        self.replay_from_offset: int | None = None
        self.closed_at_offset: int | None = None
        self.changed_at = 0.0
        self.changes = 0
        self.rows_before = 0

    # Changing

    def add(self, counts: WindowCounts, *, late: bool, found: Found | None = None) -> Added:
        """Add counts.

        Args:
            counts: of the window.
            late: whether their events came after the window was closed.
            found: what `find` returned for them, if it did.
        """
        self.changes += 1
        campaigns: list[str] = []
        folded = 0
        for number, part in enumerate(split(counts, len(self.buckets))):
            if part.campaigns:
                bucket = self.buckets[number] = self._cells_of(self.buckets[number])
                before = len(bucket)
                folded += bucket.add(part, late=late, found=found)
                campaigns += bucket.newest(len(bucket) - before)
        return Added(campaigns, folded)

    def find(self, counts: WindowCounts) -> Found | None:
        """Look up the campaigns of counts, to be added next.

        Null if that would take reading buckets, or if the window has counts of `OTHER`.
        """
        only = self.buckets[0]
        if len(self.buckets) > 1 or not isinstance(only, Cells) or OTHER in only.campaigns():
            return None
        return only.find(counts.campaigns)

    def write_dirty(
        self, emission: Emission | None = None
    ) -> Iterator[tuple[BucketKey, bytes | None]]:
        """Turn dirty buckets into clean ones; yield their records.

        With an emission, results of campaigns that changed are emitted, as far as it takes them.

        Yields null for a record that must not be there any more.
        """
        self.replay_from_offset = None
        dirty = {n: bucket for n, bucket in enumerate(self.buckets) if isinstance(bucket, Cells)}
        if any(self._is_large(bucket) for bucket in dirty.values()):
            parts = dict(enumerate(self._shared_out()))
            self.buckets = [Cells()] * len(parts)
        else:
            parts = {number: self._to_write(bucket) for number, bucket in dirty.items()}
        buckets = len(self.buckets)
        gone = {key for key in self.written if key.bucket in parts or key.bucket >= buckets}
        for number, part in parts.items():
            if emission is not None:
                emission.take(part)
            for key, value in self._write(number, part):
                gone.discard(key)
                yield key, value
        self.written -= gone
        for key in gone:
            yield key, None

    def _to_write(self, bucket: Cells) -> WindowCounts:
        return bucket.counts_to_write(self.start) if self._emits else bucket.counts(self.start)

    def _write(self, number: int, counts: WindowCounts) -> Iterator[tuple[BucketKey, bytes]]:
        """Make a clean bucket of counts; yield its records."""
        values = list(encode_window(counts, BUCKET_RECORD_BYTES))
        value = values[0] if len(values) == 1 else encode(counts)
        self.buckets[number] = Bucket(value, len(counts.campaigns), len(counts.to_emit))
        for at, value in enumerate(values):
            key = BucketKey(self.start, number, at)
            self.written.add(key)
            yield key, value

    # Emitting

    @property
    def is_emitted(self) -> bool:
        """Tell whether every campaign was emitted with the counts that it has now."""
        return self.replay_from_offset is None and not any(
            bucket.to_emit if isinstance(bucket, Bucket) else len(bucket) for bucket in self.buckets
        )

    def emit(self, emission: Emission) -> Iterator[tuple[BucketKey, bytes | None]]:
        """Emit what clean buckets have to be emitted, as far as it is taken; yield their records.

        Yields null for a record that must not be there any more.
        """
        for number, bucket in enumerate(self.buckets):
            if emission.is_full:
                break
            if isinstance(bucket, Bucket) and bucket.to_emit:
                counts = decode_counts(bucket.value)
                emission.take(counts)
                gone = {BucketKey(self.start, number, n) for n in range(self._parts(number))}
                for key, value in self._write(number, counts):
                    gone.discard(key)
                    yield key, value
                self.written -= gone
                for key in sorted(gone):
                    yield key, None

    def _parts(self, number: int) -> int:
        """Return how many records a bucket has."""
        return next(n for n in count() if BucketKey(self.start, number, n) not in self.written)

    def emit_again(self) -> bool:
        """Have every campaign emitted again; return whether anything has to be written for that."""
        again = False
        for number, bucket in enumerate(self.buckets):
            if isinstance(bucket, Bucket) and bucket.to_emit < bucket.campaigns:
                cells = self.buckets[number] = self._cells_of(bucket)
                cells.emit_all()
                again = True
        return again

    @property
    def dirty_campaigns(self) -> int:
        """How many campaigns are in dirty buckets."""
        return sum(len(bucket) for bucket in self.buckets if isinstance(bucket, Cells))

    def _is_large(self, bucket: Cells) -> bool:
        """Tell whether the campaigns have to be shared out anew, as a bucket is so large."""
        only = len(self.buckets) == 1
        return len(bucket) > 2 * CAMPAIGNS_PER_BUCKET or (
            only and bucket.names > 2 * NAMES_PER_BUCKET
        )

    def _shared_out(self) -> list[WindowCounts]:
        """Share the campaigns out over as many buckets as they need."""
        whole = self._cells_of(self.buckets[0])
        for bucket in self.buckets[1:]:
            whole.put(self._to_write(bucket) if isinstance(bucket, Cells) else _read(bucket))
        needed = max(-(-len(whole) // CAMPAIGNS_PER_BUCKET), -(-whole.names // NAMES_PER_BUCKET))
        return split(self._to_write(whole), min(needed, len(whole)))

    # Asked

    def snapshot(self) -> Snapshot:
        """Return the counts as they are now."""
        return Snapshot(
            [
                bucket if isinstance(bucket, Bucket) else bucket.counts(self.start)
                for bucket in self.buckets
            ]
        )

    def as_kept(self) -> list[Cells | WindowCounts]:
        """Return the counts, bucket by bucket, without copies: they are right until they change."""
        return [
            bucket if isinstance(bucket, Cells) else decode_counts(bucket.value)
            for bucket in self.buckets
        ]

    def has(self, campaign_id: str) -> bool:
        """Tell whether a campaign has any."""
        bucket = self._bucket_of(campaign_id)
        if isinstance(bucket, Cells):
            return campaign_id in bucket.campaigns()
        may_have = campaign_id.encode() in bucket.value
        return may_have and campaign_id in decode_campaigns(bucket.value)

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of one campaign, as they are now."""
        return self.cell_of(Wanted.of(campaign_id))

    def cell_of(self, wanted: "Wanted") -> Cell | None:
        """Return the same; for a campaign that is looked up in many windows."""
        bucket = self.buckets[wanted.spread % len(self.buckets)]
        if isinstance(bucket, Cells):
            return bucket.cell(wanted.campaign_id)
        if wanted.encoded not in bucket.value:
            return None
        counts = decode_counts(bucket.value)
        try:
            position = counts.campaigns.index(wanted.campaign_id)
        except ValueError:
            return None  # it is part of another one's id, or the name of something else
        return cell_of(counts, position)

    def totals(
        self, campaign_ids: Sequence[str], is_counted: Callable[[Dimensions], bool]
    ) -> list[int]:
        """Return how many events each campaign has of those count keys that are counted."""
        only = self.buckets[0]
        if len(self.buckets) == 1 and isinstance(only, Cells):
            return only.totals(campaign_ids, is_counted)
        cells = map(self.cell, campaign_ids)
        return [cell.total(is_counted) if cell is not None else 0 for cell in cells]

    def events(self, campaign_id: str) -> int:
        """Return how many events a campaign has, of all kinds."""
        return self._cells_of(self._bucket_of(campaign_id)).events(campaign_id)

    def campaigns(self) -> Iterator[tuple[str, str | None]]:
        """Yield the campaigns and their apps."""
        for bucket in self.buckets:
            if isinstance(bucket, Bucket):
                yield from decode_apps(bucket.value)
            else:
                yield from bucket.apps()

    def _cells_of(self, bucket: Cells | Bucket) -> Cells:
        if isinstance(bucket, Cells):
            return bucket
        return Cells(decode_counts(bucket.value), self._limits)

    def _bucket_of(self, campaign_id: str) -> Cells | Bucket:
        buckets = self.buckets
        return buckets[bucket_of(campaign_id, len(buckets))] if len(buckets) > 1 else buckets[0]

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return sum(
            bucket.campaigns if isinstance(bucket, Bucket) else len(bucket)
            for bucket in self.buckets
        )

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(
            len(bucket.value) if isinstance(bucket, Bucket) else bucket.size
            for bucket in self.buckets
        )


def _added_up(start: int, parts: Iterable[Bucket]) -> Bucket:
    first, *rest = parts
    cells = Cells(decode_counts(first.value))
    for part in rest:
        cells.put(decode_counts(part.value))
    counts = cells.counts_to_write(start)
    return Bucket(encode(counts), len(cells), len(counts.to_emit))


def in_order(records: Mapping[BucketKey, Bucket]) -> list[list[Bucket]]:
    """Return the parts of each bucket of one window, in order.

    Raises:
        FormatError: if one is missing: a campaign's bucket is found by how many there are.
    """
    parts = [
        [records[key] for key in keys]
        for _, keys in groupby(sorted(records), key=attrgetter("bucket"))
    ]
    last = max(records)
    expected = {
        BucketKey(last.start, bucket, part)
        for bucket, of_it in enumerate(parts)
        for part in range(len(of_it))
    }
    missing = expected - records.keys()
    if missing:
        raise FormatError(
            f"the changelog topic has bucket {last.bucket} of the window that begins at "
            f"{rfc3339(last.start)}, but not bucket {min(missing).bucket}: count anew, as "
            "docs/operations.md says"
        )
    return parts
