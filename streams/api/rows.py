"""The rows of the campaign list: each campaign's totals over its newest windows."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

import msgspec

from streams.api.answers import CampaignRow, LiveAlert, RecentWindow
from streams.api.reading import Breath, add_totals, empty, figures, include
from streams.domain.alerts import Alert
from streams.domain.counts import Cell, StatusGroups, summarise
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339

# Rows that took this long (s of CPU) to read are used again for a few times as long, so that any
# number of onlookers costs a worker with thousands of campaigns a fifth of its time at most.
_CHEAP = 0.02
_REST = 4.0

_Key: TypeAlias = tuple[int, tuple[int, ...]]


class Found(NamedTuple):
    """A campaign's row, and where it is from."""

    row: CampaignRow
    partitions: list[CampaignPartition]


class RowReader:
    """Reads rows, one reading at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._kept: dict[_Key, tuple[float, list[Found]]] = {}

    async def read(self, partitions: Sequence[CampaignPartition], first: int) -> list[Found]:
        """Add up each campaign's windows that start at `first` (s) or later."""
        key = (first, tuple(id(partition) for partition in partitions))
        async with self._lock:
            now = time.monotonic()
            self._kept = {k: kept for k, kept in self._kept.items() if kept[0] > now}
            if key in self._kept:
                return self._kept[key][1]
            begun = time.thread_time()
            found = [each async for each in _rows(partitions, first)]
            cost = time.thread_time() - begun
            if cost > _CHEAP:
                self._kept[key] = (time.monotonic() + _REST * cost, found)
            return found


class _Sum(msgspec.Struct):
    """A campaign's counts in the windows read so far, the start (s) of the last, and its homes."""

    total: Cell
    last: int
    homes: list[CampaignPartition]

    def add(self, cell: Cell, start: int, home: CampaignPartition) -> None:
        """Add what one window of one partition has."""
        include(self.total, cell)
        self.last = max(start, self.last)
        if home not in self.homes:
            self.homes.append(home)


async def _rows(partitions: Sequence[CampaignPartition], first: int) -> AsyncIterator[Found]:
    sums: dict[str, _Sum] = {}
    breath = Breath()
    for partition in partitions:
        for start in partition.table.starts():
            if start < first:
                continue
            for campaign_id, cell in partition.table.all_cells(start):
                before = sums.get(campaign_id)
                if before is None:
                    sums[campaign_id] = _Sum(cell, start, [partition])
                else:
                    before.add(cell, start, partition)
                await breath(len(cell.sends))
    live = await _live_alerts(partitions, breath)
    for campaign_id, found in sums.items():
        total, homes = found.total, found.homes
        row = CampaignRow(
            campaign_id=campaign_id,
            app_id=total.app_id,
            last_window=rfc3339(found.last),
            **figures(summarise([total], homes[0].watch.groups)),
            late_events=total.late_events,
            alerts=live.get(campaign_id, []),
        )
        yield Found(row, homes)
        await breath(len(total.sends))


async def _live_alerts(
    partitions: Iterable[CampaignPartition], breath: Breath
) -> dict[str, list[LiveAlert]]:
    live: dict[str, list[LiveAlert]] = {}
    for partition in partitions:
        for alert in partition.alerts.alerts():
            if alert.is_live:
                live.setdefault(alert.scope.campaign_id, []).append(_show_live(alert))
            await breath()
    return live


def _show_live(alert: Alert) -> LiveAlert:
    scope = alert.scope
    return LiveAlert(
        alert.alert_id,
        alert.rule,
        alert.severity,
        alert.state,
        scope.treatment_id,
        scope.channel_type,
    )


async def with_recent(found: Iterable[Found], limit: int) -> list[CampaignRow]:
    """Return rows with their `limit` newest windows, oldest first."""
    breath = Breath()
    return [
        msgspec.structs.replace(row, recent=await _recent(homes, row.campaign_id, limit, breath))
        for row, homes in found
    ]


async def _recent(
    partitions: Sequence[CampaignPartition], campaign_id: str, limit: int, breath: Breath
) -> list[RecentWindow]:
    cells: dict[int, Cell] = {}
    for partition in partitions:
        newest = reversed(partition.table.starts())
        for start, cell in islice(partition.table.cells(campaign_id, newest), limit):
            include(cells.setdefault(start, empty()), cell)
            await breath()
    groups = partitions[0].watch.groups
    shown = []
    for start in sorted(cells)[-limit:]:
        of_it = figures(summarise([cells[start]], groups))
        shown.append(RecentWindow(rfc3339(start), of_it["attempts"], of_it["rates"]))
    return shown


def add_rows(parts: Iterable[list[CampaignRow]], groups: StatusGroups) -> list[CampaignRow]:
    """Merge the rows of several workers; a campaign may be at more than one of them."""
    same: dict[str, list[CampaignRow]] = {}
    for rows in parts:
        for row in rows:
            same.setdefault(row.campaign_id, []).append(row)
    return [rows[0] if len(rows) == 1 else _add_same(rows, groups) for rows in same.values()]


def _add_same(rows: list[CampaignRow], groups: StatusGroups) -> CampaignRow:
    rows.sort(key=lambda row: row.last_window, reverse=True)
    # What was read here is used again, so it stays as it is.
    newest = msgspec.structs.replace(rows[0])
    newest.alerts = [alert for row in rows for alert in row.alerts]
    return add_totals([newest, *rows[1:]], groups)
