"""What is made of a campaign's windows, stretch by stretch, and kept while these do not change.

A day of minutes takes some ten milliseconds to read, and nearly all of it is as it was when it was
read last. So what was made of each stretch of windows is kept for the campaigns that were asked for
last, together with what tells whether it is still right.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from weakref import ref

from streams.api.time_slices import TimeSlices
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition
from streams.domain.rollups import Rollups, Span
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
        table, size = partition.table, partition.settings.windows.size
        campaign_id = wanted.campaign_id
        left = table.windows_with(campaign_id)
        for starts in _stretches(table, size, wanted):
            if left is not None and left <= 0:
                break  # there are no others
            number = starts[0] // (size * STRETCH)
            key = _Key(ref(table), campaign_id, None, number, about)
            state = _State(starts[0], starts[-1], len(starts), *table.state_of(starts))
            made = self._find(key, state)
            if made is None:
                parts = _read(table, campaign_id, starts, size)
                made = self._keep(key, state, parts, make)
            await slices()
            if left is not None:
                left -= made.windows
            if made.of_it is not None:
                yield made.of_it
        if not table.rollups.knows(campaign_id):
            return
        for step, number, spans in _rolled_up(table.rollups, wanted):
            key = _Key(ref(table), campaign_id, step, number, about)
            changes = table.rollups.changes_of(spans)
            state = _State(spans[0].start, spans[-1].start, len(spans), 0, changes)
            made = self._find(key, state)
            if made is None:
                parts = _read_rolled_up(table.rollups, campaign_id, spans)
                made = self._keep(key, state, parts, make)
            await slices()
            if made.of_it is not None:
                yield made.of_it

    def _find(self, key: _Key, state: _State) -> _Made[T] | None:
        """Return what was made of a stretch in this state, if it is kept."""
        kept = self._kept.get(key)
        if kept is None or kept.state != state:
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: _Key, state: _State, parts: Parts, make: Callable[[Parts], T]) -> _Made[T]:
        """Make something of a stretch, and keep it instead of what is least asked for."""
        of_it = make(parts) if parts else None
        weight = 1 if of_it is None else 1 + self._weigh(of_it)
        made = _Made(state, of_it, len(parts), weight)
        before = self._kept.pop(key, None)
        self._kept[key] = made
        self._weight += weight - (before.weight if before is not None else 0)
        while self._weight > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._weight -= oldest.weight
        return made


def _stretches(table: WindowTable, size: int, wanted: WindowRange) -> Iterator[Sequence[int]]:
    """Yield the starts of a table's windows in a range by stretch, the newest stretch first."""
    starts = table.starts_between(wanted.first // 1 - size + 1, wanted.last)
    length, end = size * STRETCH, len(starts)
    while end:
        oldest = starts[end - 1] // length * length
        begin = end - 1
        while begin and starts[begin - 1] >= oldest:
            begin -= 1
        yield starts[begin:end]
        end = begin


def _rolled_up(
    rollups: Rollups, wanted: WindowRange
) -> Iterator[tuple[RollupStep, int, Sequence[Span]]]:
    """Yield windows of roll-ups in a range by stretch, the newest first: step, number, windows.

    Within a stretch the oldest window comes first.
    """

    def stretch_of(span: Span) -> tuple[RollupStep, int]:
        return span.step, span.start // (span.step.seconds * STRETCH)

    spans = [s for s in rollups.spans() if s.end > wanted.first and s.start < wanted.last]
    for (step, number), of_stretch in groupby(reversed(spans), stretch_of):
        yield step, number, list(of_stretch)[::-1]


def _read(table: WindowTable, campaign_id: str, starts: Sequence[int], size: int) -> Parts:
    return [
        Part(start, start + size, cell, table.is_open(start))
        for start, cell in table.cells(campaign_id, starts)
    ]


def _read_rolled_up(rollups: Rollups, campaign_id: str, spans: Sequence[Span]) -> Parts:
    cells = ((span, rollups.cell(campaign_id, span)) for span in spans)
    return [Part(s.start, s.end, cell, is_open=False) for s, cell in cells if cell is not None]
