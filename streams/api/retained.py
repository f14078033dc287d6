"""What is retained of campaigns, in windows and in the longer windows of roll-ups."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from msgspec import UNSET, UnsetType

from streams.api.reading import newest_cells, written
from streams.api.time_slices import TimeSlices
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition

T = TypeVar("T")
_TRIES = 3


class Part(NamedTuple):
    """Counts of a campaign in a retained window: from `start` to before `end` (s).

    Attributes:
        start: the window's first second.
        end: the one after its last.
        cell: the counts.
        is_open: whether the window is still open; those of roll-ups never are.
    """

    start: int
    end: int
    cell: Cell
    is_open: bool


async def parts_of(
    partition: CampaignPartition, campaign_id: str, first: float, last: float, slices: TimeSlices
) -> AsyncIterator[Part]:
    """Yield a campaign's counts in windows from `first` to before `last` (s), newest first.

    Windows that are partly in this range are among them. Those of roll-ups come last: they begin
    before all others, but for counts that are being rolled up.
    """
    table, size = partition.table, partition.settings.windows.size
    starts = table.starts_between(first // 1 - size + 1, last)
    async for start, cell in newest_cells(table, campaign_id, starts, slices):
        yield Part(start, start + size, cell, table.is_open(start))
    if not table.rollups.knows(campaign_id):
        return
    for span in reversed(table.rollups.spans()):
        if span.end > first and span.start < last:
            rolled_up = table.rollups.cell(campaign_id, span)
            await slices()
            if rolled_up is not None:
                yield Part(span.start, span.end, rolled_up, is_open=False)


def misfits_until(partitions: Iterable[CampaignPartition], fits: Callable[[int, int], bool]) -> int:
    """Return until when (s) windows of roll-ups cannot be merged to what is asked for; 0 for never.

    Args:
        partitions: whose windows.
        fits: tells of a window, by its start and end (s), whether it is whole there.
    """
    spans = (span for partition in partitions for span in partition.table.rollups.spans())
    return max((span.end for span in spans if not fits(span.start, span.end)), default=0)


def complete_from(partitions: Iterable[CampaignPartition]) -> int:
    """Return since when (s) all counts are retained; 0 if none have expired."""
    return max((each.table.rollups.complete_from for each in partitions), default=0)


def shown_complete_from(time: int) -> str | UnsetType:
    """Return since when (s) an answer is complete, as it is shown: left out if it is, for ever."""
    return written(time) if time else UNSET


def latest(times: Iterable[str | UnsetType]) -> str | UnsetType:
    """Return the latest of several times, as they are shown."""
    return max((each for each in times if each is not UNSET), default=UNSET)


async def read_as_one(
    partitions: Sequence[CampaignPartition], read: Callable[[TimeSlices], Awaitable[T]]
) -> T:
    """Read windows and roll-ups as they are at one moment: no count is missed or read twice.

    Counts may be rolled up while others work; then all is read again, at last without a pause.
    """
    for _ in range(_TRIES):
        before = _moves(partitions)
        found = await read(TimeSlices())
        if _moves(partitions) == before:
            return found
    return await read(TimeSlices(pauses=False))


def _moves(partitions: Iterable[CampaignPartition]) -> list[int]:
    return [partition.table.rollups.moves for partition in partitions]
