"""Partitions filled with made-up counts, held in memory as a worker holds them."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors.threshold import Threshold
from streams.domain.formats import pinpoint
from streams.domain.limits import Limits
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Counts,
    Dimensions,
    PartialCounts,
    WindowCounts,
    partition_of,
)
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.table import WindowTable
from streams.domain.windows import WindowPolicy

FAILURE_SPIKE = Rule("failure-spike", frozenset({"FAILURE"}), Threshold(0.1))
STATUS_GROUPS = StatusGroups.of(pinpoint.STATUSES._asdict())
_ids = itertools.count(1)
_offsets = itertools.count()

PARTITION_SETTINGS = PartitionSettings(
    windows=WindowPolicy(size=60, grace=30, retention=86_400),
    groups=STATUS_GROUPS,
    rules=(FAILURE_SPIKE,),
    receivers=("ops",),
    idle_timeout=60.0,
    base_url="http://localhost:8080",
    new_id=lambda: f"alert-{next(_ids)}",
    limits=Limits(statuses=pinpoint.FORMAT.known_statuses),
)


class Row(NamedTuple):
    """What one count is a count of."""

    start: int
    campaign_id: str
    app_id: str | None
    dimensions: Dimensions


def partition_settings(
    *, size: int = 60, rules: tuple[Rule, ...] = (FAILURE_SPIKE,)
) -> PartitionSettings:
    """Return the settings of a test partition, with other windows or rules."""
    return replace(PARTITION_SETTINGS, windows=WindowPolicy(size, 30, 86_400), rules=rules)


def counts(
    outcomes: Mapping[str, int],
    treatment_id: str | None = None,
    delivery_type: str | None = "EMAIL",
    channel_type: str | None = "EMAIL",
) -> Counts:
    """Counts by outcome, all of the same treatment and channel."""
    return {
        Dimensions(outcome, treatment_id, delivery_type, channel_type): count
        for outcome, count in outcomes.items()
    }


def window_counts(
    start: int, campaigns: Mapping[str, Counts], app_id: str | None = "app"
) -> WindowCounts:
    """Counts of some campaigns in one window (s), in columns."""
    columns: dict[Dimensions, Column] = {}
    for position, of_it in enumerate(campaigns.values()):
        for dimensions, count in of_it.items():
            column = columns.setdefault(dimensions, Column(dimensions, [], []))
            column.at.append(position)
            column.counts.append(count)
    at_app = [0] * len(campaigns)
    return WindowCounts(start, list(campaigns), [app_id], at_app, list(columns.values()))


def rows_of(parts: Iterable[WindowCounts]) -> Counter[Row]:
    """Take columns apart: how many events there are of each kind, in each window and campaign."""
    rows: Counter[Row] = Counter()
    for part in parts:
        for column in part.columns:
            for at, count in zip(column.at, column.counts, strict=True):
                name, app = part.campaigns[at], part.apps[part.at_app[at]]
                rows[Row(part.start, name, app, column.dimensions)] += count
    return rows


@dataclass
class MemoryHolder:
    """Holds some of the partitions; the others are at its peers."""

    here: dict[int, CampaignPartition]
    count: int
    others: dict[int, str] = field(default_factory=dict)

    def ready(self) -> Mapping[int, CampaignPartition]:
        return self.here

    def partitions(self) -> int:
        return self.count

    def peers(self) -> Mapping[int, str]:
        return self.others

    def add(  # noqa: PLR0913 - what partial counts hold
        self,
        campaign_id: str,
        start: int,
        sends: Counts,
        engagement: Counts | None = None,
        *,
        app_id: str | None = "app",
        partition: int | None = None,
    ) -> None:
        """Count something in one window (s) of a campaign, as of the end of that window."""
        number = partition_of(campaign_id, self.count) if partition is None else partition
        event_time = (start + 59) * 1000
        engaged = {
            each._replace(engagement=True): count for each, count in (engagement or {}).items()
        }
        counted = window_counts(start, {campaign_id: {**sends, **engaged}}, app_id)
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, [counted])
        self.here[number].apply(added, next(_offsets), now=start + 59)

    def advance(self, now: float) -> None:
        """Let event time go on in all partitions."""
        for partition in self.here.values():
            partition.table.advance(now, next(_offsets))


def holder(
    count: int = 4,
    numbers: Iterable[int] | None = None,
    settings: PartitionSettings = PARTITION_SETTINGS,
    now: float = 0,
) -> MemoryHolder:
    """A holder of some of `count` partitions, by default of all of them; nothing is counted yet."""
    here = range(count) if numbers is None else numbers
    return MemoryHolder({n: CampaignPartition(n, settings, [0], now) for n in here}, count)


def next_offset() -> int:
    """Return the offset of the next partial counts, which may leave some out."""
    return next(_offsets)


async def commit_all(held: MemoryHolder, now: float) -> None:
    """Evaluate and commit all partitions at `now` (s), as tasks do, until cancelled."""
    while True:
        for partition in held.here.values():
            partition.evaluate(now)
            partition.take_changes(now)
            partition.mark_committed()
        await asyncio.sleep(0.01)


def all_cells(table: WindowTable, start: int) -> Iterator[tuple[str, Cell]]:
    """The counts of every campaign in one window (s)."""
    snapshot = table.snapshot(start)
    return snapshot.cells(table.campaigns_in(start)) if snapshot is not None else iter(())
