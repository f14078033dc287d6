"""Readings of the campaign list that onlookers share, and rows of several workers as one."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from streams.api.answers import CampaignRow
from streams.api.listing import Listing, Question, lower_bounds, rises
from streams.api.reading import add_totals
from streams.api.time_slices import TimeSlices
from streams.api.window_sums import SumStore
from streams.domain.counts import StatusGroups
from streams.domain.partition import CampaignPartition
from streams.domain.windows import WindowPolicy

# A reading that took this long (s of CPU) is used again for many times as long, so that any number
# of onlookers costs a worker with thousands of campaigns some hundredths of its time at most. For
# some seconds after that it is used while the next reading is under way, so that nobody waits.
_CHEAP = 0.005
_REST = 49.0
_LONGEST_REST = 5.0
_WHILE_RENEWED = 5.0
_MOST_KEPT = 16
"""Readings: each has some tens of bytes of each campaign."""


class Span(NamedTuple):
    """Which windows are read: those that end within some time before now, or since some moment.

    Args:
        within: seconds.
        since: wall-clock time (s, UTC); null for `within` before now.
    """

    within: float
    since: float | None = None


_Key: TypeAlias = tuple[Span, tuple[int, ...]]


class _Kept(NamedTuple):
    """A reading that is used again, and until when (s, loop time) without reading anew."""

    listing: Listing
    new_until: float


class RowReader:
    """Reads campaign lists, one at a time.

    Args:
        groups: which group each status is in.
        windows: the windows that are counted in.
        now: the wall clock (s, UTC).
    """

    def __init__(
        self, groups: StatusGroups, windows: WindowPolicy, now: Callable[[], float]
    ) -> None:
        self._groups = groups
        self._windows = windows
        self._now = now
        self._store = SumStore(groups)
        self._age = 0.0
        """How old (s) the figures of a reading may be, as the last one was dear."""
        self._lock = asyncio.Lock()
        self._kept: dict[_Key, _Kept] = {}
        self._renewing: dict[_Key, asyncio.Task[Listing]] = {}

    async def read(self, partitions: Sequence[CampaignPartition], span: Span) -> Listing:
        """Return the campaigns with counts in the windows of a span.

        They may have been read some seconds ago, if reading them takes long.
        """
        ids = tuple(id(partition) for partition in partitions)
        kept = self._find(span, ids)
        if kept is None:
            async with self._lock:
                kept = self._find(span, ids)
                return kept.listing if kept else await self._read((span, ids), partitions, ())
        key = (span, ids)
        is_due = asyncio.get_running_loop().time() > kept.new_until and key in self._kept
        if is_due and key not in self._renewing:
            task = asyncio.create_task(self._renew(key, partitions, kept.listing.questions))
            self._renewing[key] = task
            task.add_done_callback(lambda _: self._renewing.pop(key))
        return kept.listing

    def cost(self, partitions: Sequence[CampaignPartition], span: Span) -> int:
        """Return what it costs to read: campaigns to put in order, and windows of them to read."""
        cost = sum(partition.table.campaigns for partition in partitions)
        if self._find(span, tuple(id(partition) for partition in partitions)) is None:
            first = self._first(self._since(span))
            cost += sum(self._costs(partitions, first).values())
        return cost

    def _costs(self, partitions: Sequence[CampaignPartition], first: int) -> Counter[int]:
        """Return what reading windows costs, by their start (s), from `first` on."""
        costs: Counter[int] = Counter()
        for partition in partitions:
            for start in partition.table.starts():
                if start >= first and self._store.kept(partition, start) is None:
                    costs[start] += partition.table.campaigns_with_counts(start)
        return costs

    def narrow(self, partitions: Sequence[CampaignPartition], span: Span, maximum: int) -> str:
        """Say how a list is asked for that costs less than a maximum."""
        left = maximum - sum(partition.table.campaigns for partition in partitions)
        costs = self._costs(partitions, self._first(self._since(span)))
        fits: int | None = None
        for start in sorted(costs, reverse=True):
            left -= costs[start]
            if left < 0:
                break
            fits = start
        if fits is None:
            return "there are too many campaigns, ask for single ones"
        return f"shorten active_within, to {max(1, int(self._now()) - fits)}s or less"

    def _since(self, span: Span) -> float:
        """Return since when (s, UTC) windows ended that are in a span."""
        return self._now() - span.within if span.since is None else span.since

    def _find(self, span: Span, ids: tuple[int, ...]) -> _Kept | None:
        """Return a reading of a span; of one since some moment, any reading of the same windows."""
        found = self._kept.get((span, ids))
        if found is not None or span.since is None:
            return found
        first = self._first(span.since)
        return next(
            (
                kept
                for (_, of), kept in self._kept.items()
                if of == ids and kept.listing.first == first
            ),
            None,
        )

    def _first(self, since: float) -> int:
        """Return the start (s) of the first window that ends after a moment (s, UTC)."""
        return self._windows.start_of(int(since * 1000))

    async def _renew(
        self, key: _Key, partitions: Sequence[CampaignPartition], questions: Sequence[Question]
    ) -> Listing:
        async with self._lock:
            return await self._read(key, partitions, questions)

    async def _read(
        self, key: _Key, partitions: Sequence[CampaignPartition], questions: Iterable[Question]
    ) -> Listing:
        now, since = self._now(), self._since(key[0])
        listing = Listing(self._groups, now, since, self._first(since))
        await listing.read(self._store, partitions, TimeSlices(is_measured=True), self._age)
        for question in questions:
            await listing.answer(question)
        self._kept.pop(key, None)
        self._age = 0.0
        if listing.cost > _CHEAP:
            self._age = min(_REST * listing.cost, _LONGEST_REST)
            self._keep(key, listing, self._age)
        return listing

    def _keep(self, key: _Key, listing: Listing, rest: float) -> None:
        """Keep a reading: for `rest` (s) as a new one, then until the next one is there."""
        loop = asyncio.get_running_loop()
        self._kept[key] = _Kept(listing, loop.time() + rest)
        loop.call_later(rest + _WHILE_RENEWED, self._forget, key, listing)
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def _forget(self, key: _Key, listing: Listing) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept.listing is listing:
            del self._kept[key]


def add_rows(parts: Iterable[list[CampaignRow]], groups: StatusGroups) -> list[CampaignRow]:
    """Merge the rows of several workers; a campaign may be at more than one of them."""
    same: dict[str, list[CampaignRow]] = {}
    for rows in parts:
        for row in rows:
            same.setdefault(row.campaign_id, []).append(row)
    return [rows[0] if len(rows) == 1 else _add_same(rows, groups) for rows in same.values()]


def _add_same(rows: list[CampaignRow], groups: StatusGroups) -> CampaignRow:
    rows.sort(key=lambda row: row.last_window, reverse=True)
    added = add_totals(rows, groups)
    added.alerts = [alert for row in rows for alert in row.alerts]
    added.lower_bounds = lower_bounds(added)
    added.changes = rises(added.lower_bounds, added.usual_rates)
    return added
