"""What is retained of campaigns, in windows and in the longer windows of roll-ups."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from msgspec import UNSET, UnsetType

from streams.api.reading import written
from streams.api.time_slices import TimeSlices
from streams.domain.partition import CampaignPartition

T = TypeVar("T")
_TRIES = 3


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
