"""What was counted since the last flush, on its way to the campaigns' partitions."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from streams.domain.campaigns import Campaign
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
)

CountKey: TypeAlias = tuple[str, str | None, str | None] | Dimensions
"""What an event is counted by, apart from campaign and time. For a send whose delivery type names
the channel, the short form is enough: status, treatment and delivery type."""

ARRANGE_AT = 4_000
"""So many counts are put into columns within a few ms; nothing else is done meanwhile."""


class PreAggregator:
    """Counts of any number of batches.

    Attributes:
        event_times: the largest event time (ms) of each source partition.
        skipped: events of other kinds, by family.
        unknown_versions: events of versions that are not known.
        counted: how many events the counts stand for.
        engagement: how many of these were engagement; the others are sends.
        received_at: wall-clock time (ms) of the oldest batch; 0 before the first.
    """

    def __init__(self) -> None:
        self.event_times: dict[int, int] = {}
        self.skipped: Counter[str] = Counter()
        self.unknown_versions: Counter[str] = Counter()
        self.counted = 0
        self.engagement = 0
        self.received_at = 0
        self._fresh: dict[tuple[int, CountKey], Counter[Campaign]] = {}
        self._fresh_rows = 0
        self._arranged: dict[tuple[int, int], _Gathering] = {}
        self._arranged_rows = 0

    def __len__(self) -> int:
        """Return the number of counts; the same may be there once more after each `ARRANGE_AT`."""
        return self._fresh_rows + self._arranged_rows

    def add(self, start: int, key: CountKey, campaigns: Sequence[Campaign]) -> None:
        """Count events in the window that begins at `start` (s): the campaign of each of them."""
        counter = self._fresh.get((start, key))
        if counter is None:
            counter = self._fresh[start, key] = Counter()
        rows = len(counter)
        counter.update(campaigns)
        self._fresh_rows += len(counter) - rows
        self.counted += len(campaigns)
        if isinstance(key, Dimensions) and key.engagement:
            self.engagement += len(campaigns)
        if self._fresh_rows > ARRANGE_AT:
            self._arrange()

    def blocks(self) -> dict[int, PartialCounts]:
        """Return the counts as one block for each partition that has any."""
        self._arrange()
        blocks: dict[int, PartialCounts] = {}
        for (partition, start), gathering in self._arranged.items():
            block = blocks.get(partition)
            if block is None:
                block = PartialCounts(
                    PARTIAL_COUNTS_VERSION, self.event_times, self.received_at, []
                )
                blocks[partition] = block
            block.windows.append(gathering.counts(start))
        return blocks

    def _arrange(self) -> None:
        """Put into columns what is not yet."""
        fresh, self._fresh = self._fresh, {}
        for (start, key), counter in fresh.items():
            places: dict[int, _Place] = {}
            for campaign, count in counter.items():
                place = places.get(campaign.partition)
                if place is None:
                    gathering = self._gathering(campaign.partition, start)
                    place = places[campaign.partition] = gathering.place(key)
                positions, add_position, add_count = place
                add_position(positions.setdefault(campaign, len(positions)))
                add_count(count)
        self._arranged_rows += self._fresh_rows
        self._fresh_rows = 0

    def _gathering(self, partition: int, start: int) -> "_Gathering":
        gathering = self._arranged.get((partition, start))
        if gathering is None:
            gathering = self._arranged[partition, start] = _Gathering()
        return gathering


_Place: TypeAlias = tuple[dict[Campaign, int], Callable[[int], None], Callable[[int], None]]


class _Gathering:
    """Counts of one window for one partition, in columns that grow."""

    __slots__ = ("_columns", "_positions")

    def __init__(self) -> None:
        self._positions: dict[Campaign, int] = {}
        self._columns: dict[CountKey, Column] = {}

    def place(self, key: CountKey) -> _Place:
        """Return the campaigns' positions, and how to add to the column of a count key."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column(_dimensions(key), [], [])
        return self._positions, column.at.append, column.counts.append

    def counts(self, start: int) -> WindowCounts:
        """Return all of it, as counts of the window that begins at `start` (s)."""
        campaigns = self._positions
        apps: dict[str | None, int] = {}
        at_app = [apps.setdefault(campaign.app_id, len(apps)) for campaign in campaigns]
        names = [campaign.name for campaign in campaigns]
        return WindowCounts(start, names, list(apps), at_app, list(self._columns.values()))


def _dimensions(key: CountKey) -> Dimensions:
    if isinstance(key, Dimensions):
        return key
    outcome, treatment_id, delivery_type = key
    return Dimensions(outcome, treatment_id, delivery_type, delivery_type)
