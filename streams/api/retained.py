"""What is retained of campaigns, in windows and in the longer windows of roll-ups."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from msgspec import UNSET, UnsetType

from streams.api.reading import CooperativeYield
from streams.domain.counts import Cell
from streams.domain.partition import CampaignPartition
from streams.domain.rollups import Span
from streams.domain.transitions import rfc3339

T = TypeVar("T")
_TRIES = 3


class Part(NamedTuple):
    """A retained window of a partition: from `start` to before `end` (s).

    Attributes:
        partition: that has it.
        start: its first second.
        end: the one after its last.
        span: of a window of a roll-up; null for a window that events are counted in.
    """

    partition: CampaignPartition
    start: int
    end: int
    span: Span | None

    def has(self, campaign_id: str) -> bool:
        """Tell whether a campaign has counts in it."""
        table = self.partition.table
        if self.span is None:
            return table.has(campaign_id, self.start)
        return table.rollups.has(campaign_id, self.span)

    def cell(self, campaign_id: str) -> Cell | None:
        """Return the counts of a campaign; null if it has none, or if they have expired since."""
        table = self.partition.table
        if self.span is None:
            return table.cell(campaign_id, self.start)
        return table.rollups.cell(campaign_id, self.span)

    @property
    def is_open(self) -> bool:
        """Whether the window is still open."""
        return self.span is None and self.partition.table.is_open(self.start)


def parts_of(partition: CampaignPartition, campaign_id: str) -> Iterator[Part]:
    """Yield the retained windows that may have counts of a campaign, oldest first.

    Those of roll-ups begin before all others, but for counts that are being rolled up.
    """
    table, size = partition.table, partition.settings.windows.size
    if table.rollups.knows(campaign_id):
        for span in table.rollups.spans():
            yield Part(partition, span.start, span.end, span)
    for start in table.starts():
        yield Part(partition, start, start + size, None)


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
    return rfc3339(time) if time else UNSET


def latest(times: Iterable[str | UnsetType]) -> str | UnsetType:
    """Return the latest of several times, as they are shown."""
    return max((each for each in times if each is not UNSET), default=UNSET)


async def read_as_one(
    partitions: Sequence[CampaignPartition], read: Callable[[CooperativeYield], Awaitable[T]]
) -> T:
    """Read windows and roll-ups as they are at one moment: no count is missed or read twice.

    Counts may be rolled up while others work; then all is read again, at last without a pause.
    """
    for _ in range(_TRIES):
        before = _moves(partitions)
        found = await read(CooperativeYield())
        if _moves(partitions) == before:
            return found
    return await read(CooperativeYield(pauses=False))


def _moves(partitions: Iterable[CampaignPartition]) -> list[int]:
    return [partition.table.rollups.moves for partition in partitions]
