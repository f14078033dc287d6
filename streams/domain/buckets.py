"""One window's counts: in pages that are settled, or changing.

A settled page is the bytes that the changelog topic has for some dozen campaigns: that is a
fraction of what the counts take while they change. Each campaign has its page, by its name.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import msgspec

from streams.domain.cells import Cells, cell_of, cells_of
from streams.domain.counts import Cell
from streams.domain.emission import Emission
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import (
    RECORD_BYTES,
    WindowCounts,
    bucket_of,
    check_counts,
    decode_apps,
    decode_campaigns,
    decode_counts,
    encode,
    encode_window,
    split,
)

CAMPAIGNS_PER_BUCKET = 32
BUCKET_RECORD_BYTES = RECORD_BYTES
"""Upper size of a record; what is larger, as campaigns have many or long names, is several."""
NAMES_A_PAGE = 1024
"""Where campaigns have more names than usual, there are fewer of them in a page."""


class Bucket(NamedTuple):
    """Counts as written; of how many campaigns, and of how many that are to be emitted."""

    value: bytes
    campaigns: int
    to_emit: int = 0


class BucketRecord(NamedTuple):
    """Which record of the changelog topic: a page, or the next part of one that one cannot hold."""

    page: int
    part: int = 0


def read_bucket(value: bytes) -> Bucket:
    """Read a page back.

    Raises:
        ValueError: if the bytes are no page.
    """
    try:
        counts = decode_counts(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a page of counts: {error}") from error
    check_counts(counts)
    return Bucket(value, len(counts.campaigns), len(counts.to_emit))


class Added(NamedTuple):
    """What became of counts: campaigns that had none before, and events that lost a name."""

    campaigns: Sequence[str]
    folded: int


class Snapshot(NamedTuple):
    """One window's counts at one moment: the settled pages, and copies of those that change.

    Settled pages are shared with the window, so it weighs what is copied.
    """

    pages: list[Bucket | WindowCounts]

    def counts(self) -> Iterator[WindowCounts]:
        """Yield the counts, page by page."""
        return map(_read, self.pages)

    def cells(self, campaigns: Iterable[str]) -> Iterator[tuple[str, Cell]]:
        """Yield the counts of those of the campaigns that have any; each page is read once."""
        wanted: dict[int, set[str]] = {}
        for name in campaigns:
            wanted.setdefault(bucket_of(name, len(self.pages)), set()).add(name)
        for number, names in wanted.items():
            yield from cells_of(_read(self.pages[number]), names)


def _read(page: Bucket | WindowCounts) -> WindowCounts:
    return decode_counts(page.value) if isinstance(page, Bucket) else page


class Window:
    """The counts of one window, and how much of them was written down.

    Args:
        start: of the window (s).
        settled: its pages, as they were written down: the records of each, to be added up.
        limits: how many names each campaign can have.
        emits: whether results of the window are to be emitted.

    Attributes:
        since: offset in the log from which counts are in no page that was written; null if
            everything was written.
        late_from: offset in the log from which counts came late; null while it is open.
        changed_at: wall-clock time (s) of the last change.
        rows_before: how many counts the table had been given before `since`.
        written: which records the changelog topic has.
    """

    __slots__ = (
        *("_emits", "_limits", "changed_at", "late_from", "pages", "rows_before", "since"),
        *("start", "written"),
    )

    def __init__(
        self,
        start: int,
        settled: Iterable[Sequence[Bucket]] = (),
        limits: Limits = DEFAULT_LIMITS,
        *,
        emits: bool = False,
    ) -> None:
        self.start = start
        self._emits = emits
        self._limits = limits
        self.pages: list[Cells | Bucket] = []
        self.written: set[BucketRecord] = set()
        for number, parts in enumerate(settled):
            self.written.update(BucketRecord(number, part) for part in range(len(parts)))
            self.pages.append(parts[0] if len(parts) == 1 else _added_up(start, parts))
        self.pages = self.pages or [Cells(limits=limits)]
        self.since: int | None = None
        self.late_from: int | None = None
        self.changed_at = 0.0
        self.rows_before = 0

    # Changing

    def add(self, counts: WindowCounts, *, late: bool) -> Added:
        """Add counts; `late` says that their events came after the window was closed."""
        campaigns: list[str] = []
        folded = 0
        for number, part in enumerate(split(counts, len(self.pages))):
            if part.campaigns:
                page = self.pages[number] = self._changing(self.pages[number])
                before = len(page)
                folded += page.add(part, late=late)
                campaigns += page.newest(len(page) - before)
        return Added(campaigns, folded)

    def settle(
        self, emission: Emission | None = None
    ) -> Iterator[tuple[BucketRecord, bytes | None]]:
        """Turn what changed into settled pages; yield their records.

        With an emission, results of campaigns that changed are emitted, as far as it takes them.

        Yields null for a record that must not be there any more.
        """
        self.since = None
        changed = {n: page for n, page in enumerate(self.pages) if isinstance(page, Cells)}
        if any(self._is_large(page) for page in changed.values()):
            parts = dict(enumerate(self._shared_out()))
            self.pages = [Cells()] * len(parts)
        else:
            parts = {number: self._to_write(page) for number, page in changed.items()}
        gone = {each for each in self.written if each.page in parts or each.page >= len(self.pages)}
        for number, part in parts.items():
            if emission is not None:
                emission.take(part)
            for record, value in self._write(number, part):
                gone.discard(record)
                yield record, value
        self.written -= gone
        for record in gone:
            yield record, None

    def _to_write(self, page: Cells) -> WindowCounts:
        return page.counts_to_write(self.start) if self._emits else page.counts(self.start)

    def _write(self, number: int, counts: WindowCounts) -> Iterator[tuple[BucketRecord, bytes]]:
        """Make a settled page of counts; yield its records."""
        values = list(encode_window(counts, BUCKET_RECORD_BYTES))
        value = values[0] if len(values) == 1 else encode(counts)
        self.pages[number] = Bucket(value, len(counts.campaigns), len(counts.to_emit))
        for at, value in enumerate(values):
            record = BucketRecord(number, at)
            self.written.add(record)
            yield record, value

    # Emitting

    @property
    def is_emitted(self) -> bool:
        """Tell whether every campaign was emitted with the counts that it has now."""
        return self.since is None and not any(
            page.to_emit if isinstance(page, Bucket) else len(page) for page in self.pages
        )

    def emit(self, emission: Emission) -> Iterator[tuple[BucketRecord, bytes | None]]:
        """Emit what settled pages have to be emitted, as far as it is taken; yield their records.

        Yields null for a record that must not be there any more.
        """
        for number, page in enumerate(self.pages):
            if emission.is_full:
                break
            if isinstance(page, Bucket) and page.to_emit:
                counts = decode_counts(page.value)
                emission.take(counts)
                gone = {BucketRecord(number, part) for part in range(self._parts(number))}
                for record, value in self._write(number, counts):
                    gone.discard(record)
                    yield record, value
                self.written -= gone
                for record in sorted(gone):
                    yield record, None

    def _parts(self, number: int) -> int:
        """Return how many records a page has."""
        return next(n for n in count() if BucketRecord(number, n) not in self.written)

    def emit_again(self) -> bool:
        """Have every campaign emitted again; return whether anything has to be written for that."""
        again = False
        for number, page in enumerate(self.pages):
            if isinstance(page, Bucket) and page.to_emit < page.campaigns:
                cells = self.pages[number] = self._changing(page)
                cells.emit_all()
                again = True
        return again

    @property
    def changing(self) -> int:
        """How many campaigns are in pages that are not settled."""
        return sum(len(page) for page in self.pages if isinstance(page, Cells))

    def _is_large(self, page: Cells) -> bool:
        """Tell whether the campaigns have to be shared out anew for a page that has so many."""
        whole = len(self.pages) == 1
        return len(page) > 2 * CAMPAIGNS_PER_BUCKET or (whole and page.names > 2 * NAMES_A_PAGE)

    def _shared_out(self) -> list[WindowCounts]:
        """Share the campaigns out over as many pages as they need."""
        whole = self._changing(self.pages[0])
        for page in self.pages[1:]:
            whole.put(self._to_write(page) if isinstance(page, Cells) else _read(page))
        needed = max(-(-len(whole) // CAMPAIGNS_PER_BUCKET), -(-whole.names // NAMES_A_PAGE))
        return split(self._to_write(whole), min(needed, len(whole)))

    # Asked

    def snapshot(self) -> "Snapshot":
        """Return the counts as they are now."""
        return Snapshot(
            [page if isinstance(page, Bucket) else page.counts(self.start) for page in self.pages]
        )

    def has(self, campaign_id: str) -> bool:
        """Tell whether a campaign has any."""
        page = self._bucket_of(campaign_id)
        if isinstance(page, Cells):
            return campaign_id in page.campaigns()
        return campaign_id in decode_campaigns(page.value)

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of one campaign, as they are now."""
        page = self._bucket_of(campaign_id)
        if isinstance(page, Cells):
            return page.cell(campaign_id)
        counts = decode_counts(page.value)
        if campaign_id not in counts.campaigns:
            return None
        return cell_of(counts, counts.campaigns.index(campaign_id))

    def events(self, campaign_id: str) -> int:
        """Return how many events a campaign has, of all kinds."""
        return self._changing(self._bucket_of(campaign_id)).events(campaign_id)

    def campaigns(self) -> Iterator[tuple[str, str | None]]:
        """Yield the campaigns and their apps."""
        for page in self.pages:
            if isinstance(page, Bucket):
                yield from decode_apps(page.value)
            else:
                yield from page.apps()

    def _changing(self, page: Cells | Bucket) -> Cells:
        if isinstance(page, Cells):
            return page
        return Cells(decode_counts(page.value), self._limits)

    def _bucket_of(self, campaign_id: str) -> Cells | Bucket:
        pages = self.pages
        return pages[bucket_of(campaign_id, len(pages))] if len(pages) > 1 else pages[0]

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return sum(page.campaigns if isinstance(page, Bucket) else len(page) for page in self.pages)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(
            len(page.value) if isinstance(page, Bucket) else page.size for page in self.pages
        )


def _added_up(start: int, parts: Iterable[Bucket]) -> Bucket:
    first, *rest = parts
    cells = Cells(decode_counts(first.value))
    for part in rest:
        cells.put(decode_counts(part.value))
    counts = cells.counts_to_write(start)
    return Bucket(encode(counts), len(cells), len(counts.to_emit))
