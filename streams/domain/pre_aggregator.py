"""The first of two phases of counting: the counts of one commit, by count key and campaign.

The partition of a campaign gets partial counts, not events; the second phase adds
them up in `streams.domain.table`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from streams.domain.campaigns import Campaign
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    Sample,
    WindowCounts,
)

CountKey: TypeAlias = tuple[str, str | None, str | None] | Dimensions
"""What an event is counted by, apart from campaign and window. For a send whose delivery type names
the channel, the short form is enough: status, treatment and delivery type."""

MOST_SAMPLES = 12
"""Samples for one partition in one commit."""

ARRANGE_AT = 4_000
"""Counts that are put into columns at once: it takes a few ms, in which nothing else is done."""


class PreAggregator:
    """Counts of any number of batches, until they are handed out as partial counts.

    Attributes:
        event_times: by source partition, the largest event time (ms).
        skipped: by family, events of types that are not counted.
        unknown_versions: by version, counted events of versions that are not known.
        counted: the number of events counted.
        engagement: the number of these that were engagement; the others are sends.
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
        """By start of the window (s) and count key: what is not in columns yet."""
        self._fresh_rows = 0
        self._arranged: dict[tuple[int, int], _Columns] = {}
        """By partition and start of the window (s)."""
        self._arranged_rows = 0
        self._samples: dict[int, dict[tuple[str, str], Sample]] = {}
        """By partition, and by campaign and status."""

    def __len__(self) -> int:
        """Return the number of counts; the same may be there once more after each `ARRANGE_AT`."""
        return self._fresh_rows + self._arranged_rows

    def add(self, start: int, key: CountKey, campaigns: Sequence[Campaign]) -> None:
        """Count events of one count key in the window that begins at `start` (s).

        Args:
            start: of the window (s).
            key: the count key.
            campaigns: the campaign of each event.
        """
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

    def add_sample(self, campaign: Campaign, sample: Sample) -> None:
        """Keep a sample event of a campaign, up to `MOST_SAMPLES`, and one of each status."""
        samples = self._samples.setdefault(campaign.partition, {})
        if len(samples) < MOST_SAMPLES:
            samples[campaign.name, sample.dimensions.outcome] = sample

    def partial_counts(self) -> dict[int, PartialCounts]:
        """Return the counts by partition of the repartition topic; none for one without counts."""
        self._arrange()
        by_partition: dict[int, PartialCounts] = {}
        for (partition, start), columns in self._arranged.items():
            partial = by_partition.get(partition)
            if partial is None:
                partial = by_partition[partition] = PartialCounts(
                    PARTIAL_COUNTS_VERSION,
                    self.event_times,
                    self.received_at,
                    [],
                    list(self._samples.get(partition, {}).values()),
                )
            partial.windows.append(columns.counts(start))
        return by_partition

    def _arrange(self) -> None:
        """Put the fresh counts into columns."""
        fresh, self._fresh = self._fresh, {}
        for (start, key), counter in fresh.items():
            growing: dict[int, _Growing] = {}
            for campaign, count in counter.items():
                column = growing.get(campaign.partition)
                if column is None:
                    columns = self._columns(campaign.partition, start)
                    column = growing[campaign.partition] = columns.growing(key)
                positions, add_position, add_count = column
                add_position(positions.setdefault(campaign, len(positions)))
                add_count(count)
        self._arranged_rows += self._fresh_rows
        self._fresh_rows = 0

    def _columns(self, partition: int, start: int) -> "_Columns":
        columns = self._arranged.get((partition, start))
        if columns is None:
            columns = self._arranged[partition, start] = _Columns()
        return columns


_Growing: TypeAlias = tuple[dict[Campaign, int], Callable[[int], None], Callable[[int], None]]
"""A column that grows: the positions of campaigns, and how to add a position and a count to it."""


class _Columns:
    """Counts of one window for one partition, in columns that grow."""

    __slots__ = ("_columns", "_positions")

    def __init__(self) -> None:
        self._positions: dict[Campaign, int] = {}
        self._columns: dict[CountKey, Column] = {}

    def growing(self, key: CountKey) -> _Growing:
        """Return the column of a count key; a new one is added."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column(dimensions_by(key), [], [])
        return self._positions, column.at.append, column.counts.append

    def counts(self, start: int) -> WindowCounts:
        """Return all columns, as counts of the window that begins at `start` (s)."""
        campaigns = self._positions
        apps: dict[str | None, int] = {}
        at_app = [apps.setdefault(campaign.app_id, len(apps)) for campaign in campaigns]
        names = [campaign.name for campaign in campaigns]
        return WindowCounts(start, names, list(apps), at_app, list(self._columns.values()))


def dimensions_by(key: CountKey) -> Dimensions:
    """Return a count key in full."""
    if isinstance(key, Dimensions):
        return key
    outcome, treatment_id, delivery_type = key
    return Dimensions(outcome, treatment_id, delivery_type, delivery_type)
