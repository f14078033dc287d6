"""What is made of a campaign's windows, stretch by stretch, and kept while these do not change.

A day of minutes takes some ten milliseconds to read, and nearly all of it is as it was when it was
read last. So what was made of each stretch of windows is kept for the campaigns that were asked for
last, together with what tells whether it is still right.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from weakref import ref

from streams.api.time_slices import TimeSlices
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition
from streams.domain.rollups import Span
from streams.domain.table import WindowTable
from streams.domain.windows import RollupStep

T = TypeVar("T")

STRETCH = 60
"""Windows that are read at once, in some tenths of a millisecond."""


class Part(NamedTuple):
    """Counts of a campaign in a retained window: from `start` to before `end` (s).

    Attributes:
        start: the window's first second.
        end: the one after its last.
        cell: the counts; not to be changed.
        is_open: whether the window is still open; those of roll-ups never are.
    """

    start: int
    end: int
    cell: Cell
    is_open: bool


Parts: TypeAlias = list[Part]
"""Of the windows of a stretch in which a campaign has counts, oldest first; at least one."""


class WindowRange(NamedTuple):
    """Windows of a campaign from `first` to before `last` (s); those partly in it are in it."""

    campaign_id: str
    first: float
    last: float


class _State(NamedTuple):
    """What tells whether the windows of a stretch are the same, with the same counts.

    Windows expire from the oldest on, and change ever more often: so nothing goes unnoticed here.

    Attributes:
        first: start (s) of the first one.
        last: of the last one.
        windows: how many there are.
        open: how many of these are open.
        changes: how often they have changed, in all.
    """

    first: int
    last: int
    windows: int
    open: int
    changes: int


class _Key(NamedTuple):
    """A stretch of windows, by its number, and what decides what is made of it.

    Attributes:
        table: whose windows.
        campaign_id: of the campaign.
        step: of the roll-up; null for windows that are in none.
        number: of the stretch.
        about: as `StretchReader.newest` takes it.
    """

    table: "ref[WindowTable]"
    campaign_id: str
    step: RollupStep | None
    number: int
    about: Hashable


class _Made(NamedTuple, Generic[T]):
    """What was made of a stretch, null if there were no counts; in how many windows there were."""

    state: _State
    of_it: T | None
    windows: int
    weight: int


class StretchReader(Generic[T]):
    """Reads the windows of campaigns in stretches, and keeps what is made of them.

    Args:
        most: how much is kept.
        weigh: tells how much of that something takes, besides 1 that everything takes.
    """

    def __init__(self, most: int, weigh: Callable[[T], int]) -> None:
        self._most = most
        self._weigh = weigh
        self._kept: OrderedDict[_Key, _Made[T]] = OrderedDict()
        self._weight = 0

    async def newest(
        self,
        partition: CampaignPartition,
        wanted: WindowRange,
        make: Callable[[Parts], T],
        slices: TimeSlices,
        about: Hashable = None,
    ) -> AsyncIterator[T]:
        """Yield what is made of each stretch of a campaign's windows.

        The newest stretch comes first, and those of roll-ups last: they begin before all others,
        but for counts that are being rolled up.

        Args:
            partition: whose windows.
            wanted: which of them.
            make: makes it of the parts of one stretch; it is kept, and not to be changed.
            slices: lets others work.
            about: what decides, besides the parts, what is made.
        """
        table = partition.table
        left = table.windows_with(wanted.campaign_id)
        for stretch in _stretches(partition, wanted):
            if left is not None and left <= 0 and isinstance(stretch, _OfTable):
                continue  # there are no others
            made = self._read(stretch, wanted, make, about)
            await slices()
            if left is not None and isinstance(stretch, _OfTable):
                left -= made.windows
            if made.of_it is not None:
                yield made.of_it

    def _read(
        self, stretch: "_Stretch", wanted: WindowRange, make: Callable[[Parts], T], about: Hashable
    ) -> _Made[T]:
        """Return what is made of a stretch: that which is kept, if it is as it was."""
        campaign_id, state = wanted.campaign_id, stretch.state()
        key = _Key(ref(stretch.table), campaign_id, stretch.step, stretch.number, about)
        made = self._find(key, state)
        if made is None:
            parts = stretch.read(campaign_id)
            of_it = make(parts) if parts else None
            weight = 1 if of_it is None else 1 + self._weigh(of_it)
            made = _Made(state, of_it, len(parts), weight)
            if wanted.first <= stretch.begin and stretch.end <= wanted.last:
                self._keep(key, made)
        return made

    def _find(self, key: _Key, state: _State) -> _Made[T] | None:
        """Return what was made of a stretch in this state, if it is kept."""
        kept = self._kept.get(key)
        if kept is None or kept.state != state:
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: _Key, made: _Made[T]) -> None:
        """Keep what was made of a stretch, instead of what was not asked for for longest."""
        before = self._kept.pop(key, None)
        self._kept[key] = made
        self._weight += made.weight - (before.weight if before is not None else 0)
        while self._weight > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._weight -= oldest.weight


class _OfTable(NamedTuple):
    """Windows of a table, by their starts (s), oldest first; `length` is a stretch's (s)."""

    table: WindowTable
    starts: Sequence[int]
    length: int

    @property
    def step(self) -> None:
        return None

    @property
    def number(self) -> int:
        return self.starts[0] // self.length

    @property
    def begin(self) -> int:
        return self.number * self.length

    @property
    def end(self) -> int:
        return self.begin + self.length

    def state(self) -> _State:
        is_open, changes = self.table.state_of(self.starts)
        return _State(self.starts[0], self.starts[-1], len(self.starts), is_open, changes)

    def read(self, campaign_id: str) -> Parts:
        size, open_from = self.length // STRETCH, self.table.open_from
        return [
            Part(start, start + size, cell, start >= open_from)
            for start, cell in self.table.cells(campaign_id, self.starts)
        ]


class _OfRollups(NamedTuple):
    """Windows of one roll-up, oldest first."""

    table: WindowTable
    spans: Sequence[Span]

    @property
    def step(self) -> RollupStep:
        return self.spans[0].step

    @property
    def number(self) -> int:
        return _number_of(self.spans[0])

    @property
    def begin(self) -> int:
        return self.number * self.step.seconds * STRETCH

    @property
    def end(self) -> int:
        # The last one may go on for some hours: days of a time zone begin when they do there.
        return max(self.begin + self.step.seconds * STRETCH, self.spans[-1].end)

    def state(self) -> _State:
        changes = self.table.rollups.changes_of(self.spans)
        return _State(self.spans[0].start, self.spans[-1].start, len(self.spans), 0, changes)

    def read(self, campaign_id: str) -> Parts:
        rollups = self.table.rollups
        cells = ((span, rollups.cell(campaign_id, span)) for span in self.spans)
        return [Part(s.start, s.end, cell, is_open=False) for s, cell in cells if cell is not None]


_Stretch: TypeAlias = _OfTable | _OfRollups


def _number_of(span: Span) -> int:
    return span.start // (span.step.seconds * STRETCH)


def _stretches(partition: CampaignPartition, wanted: WindowRange) -> Iterator[_Stretch]:
    """Yield the windows in a range by stretch: the newest first, those of roll-ups last."""
    table, size = partition.table, partition.settings.windows.size
    starts = table.starts_between(wanted.first // 1 - size + 1, wanted.last)
    length, end = size * STRETCH, len(starts)
    while end:
        begin = bisect_left(starts, starts[end - 1] // length * length)
        yield _OfTable(table, starts[begin:end], length)
        end = begin
    if table.rollups.knows(wanted.campaign_id):
        spans = table.rollups.spans()
        in_range = [s for s in spans if s.end > wanted.first and s.start < wanted.last]
        for _, of_stretch in groupby(reversed(in_range), lambda s: (s.step, _number_of(s))):
            yield _OfRollups(table, list(of_stretch)[::-1])
