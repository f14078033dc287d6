"""What the commits of one partition have changed, for those who follow it.

What changed is told as it is now, not as it was after each commit: whoever was away for a while is
told once of each window, alert and delivery that changed meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from streams.domain.changed_cells import ChangedCell
from streams.domain.commits import Commit
from streams.domain.partition import CampaignPartition

MOST_IDS = 5_000
"""Alerts, and deliveries, of which it is known when they changed last."""
OVERLAP = 60.0
"""Seconds before a position from which another owner tells what may have changed since."""
LONGEST_AWAY = 900.0
"""Seconds after which another owner has whoever comes back read everything anew."""


class LogPosition(msgspec.Struct, array_like=True, frozen=True):
    """How far somebody has followed a partition.

    Attributes:
        log: names the change log that gave the position; empty for none.
        number: of the log's newest commit.
        offset: in the repartition topic: of the next partial counts.
        at: wall-clock time (s, UTC).
    """

    log: str
    number: Annotated[int, msgspec.Meta(ge=0)]
    offset: Annotated[int, msgspec.Meta(ge=-1)]
    at: float


Positions: TypeAlias = dict[int, LogPosition]
"""By partition, how far somebody has followed it."""


class Changed(NamedTuple):
    """What has changed in a partition since a position.

    Attributes:
        cells: campaigns in windows, in the order in which they changed last.
        alert_ids: ids of alerts.
        delivery_ids: ids of deliveries; they may be gone by now.
        position: up to which this is.
        has_more: whether more has changed since that position already.
        is_complete: whether nothing else has changed; if not, windows have to be read anew.
    """

    cells: list[ChangedCell]
    alert_ids: list[str]
    delivery_ids: list[str]
    position: LogPosition
    has_more: bool
    is_complete: bool


class _Numbered:
    """Ids with the numbers of the commits that changed them last, oldest first."""

    def __init__(self) -> None:
        self.complete_from = 0
        self._numbers: dict[str, int] = {}

    def change(self, ids: Iterable[str], number: int) -> None:
        for each in ids:
            self._numbers.pop(each, None)
            self._numbers[each] = number
        while len(self._numbers) > MOST_IDS:
            self.complete_from = self._numbers.pop(next(iter(self._numbers))) + 1

    def after(self, number: int) -> list[str]:
        return [each for each, changed in self._numbers.items() if changed > number]


class ChangeLog:
    """Follows the commits of one partition from the moment its task runs here.

    Args:
        name: of the log, unique.
        partition: whose commits are followed.
        now: wall-clock time (s, UTC).
    """

    def __init__(self, name: str, partition: CampaignPartition, now: float) -> None:
        self.partition = partition
        self._position = LogPosition(name, 0, partition.changed.restored_through, now)
        self._alerts = _Numbered()
        self._deliveries = _Numbered()
        self._closed = _Numbered()
        """Windows that have closed, by their starts."""
        self._open = set(partition.table.open_starts())

    def committed(self, commit: Commit, now: float) -> None:
        """Take note of a commit of the partition, at wall-clock time `now` (s, UTC)."""
        number = self._position.number + 1
        self._alerts.change((each.data.alert_id for each in commit.transitions), number)
        self._deliveries.change(commit.delivery_ids, number)
        still_open = set(self.partition.table.open_starts())
        self._closed.change(map(str, self._open - still_open), number)
        self._open = still_open
        offset = max(self._position.offset, commit.next_offset)
        self._position = LogPosition(self._position.log, number, offset, now)

    @property
    def position(self) -> LogPosition:
        """The position behind the newest commit."""
        return self._position

    def since(
        self,
        position: LogPosition | None,
        campaign_ids: Sequence[str] | None = None,
        most: int | None = None,
    ) -> Changed:
        """Return what has changed since a position, that of another owner's log too.

        Args:
            position: null: nothing has.
            campaign_ids: windows of these campaigns alone; null for all.
            most: about so many cells; the others have changed since the position that is returned.
        """
        self.partition.follow_changes()
        here = self._position
        if position is None:
            return Changed([], [], [], here, has_more=False, is_complete=True)
        if position.log != here.log:
            return self._since_another_owner(position, campaign_ids)
        all_cells = self._cells_after(position, campaign_ids)
        cells = self._cut(all_cells, most)
        has_more = len(cells) < len(all_cells)
        through = cells[-1].offset + 1 if has_more else here.offset
        changed = self.partition.changed
        return Changed(
            cells,
            self._alerts.after(position.number),
            self._deliveries.after(position.number),
            LogPosition(here.log, here.number, through, here.at),
            has_more=has_more,
            is_complete=position.offset >= changed.complete_from
            and position.number + 1 >= max(self._alerts.complete_from, self._closed.complete_from),
        )

    def _cells_after(
        self, position: LogPosition, campaign_ids: Sequence[str] | None
    ) -> list[ChangedCell]:
        changed, before = self.partition.changed, self._position.offset
        cells = changed.since(position.offset, before, campaign_ids)
        closed = set(map(int, self._closed.after(position.number)))
        if not closed:
            return cells
        known = {(each.start, each.campaign_id) for each in cells}
        # Those of closed windows come first: they have changed before, but were open.
        return [
            ChangedCell(position.offset, each.start, each.campaign_id)
            for each in changed.since(0, before, campaign_ids)
            if each.start in closed and (each.start, each.campaign_id) not in known
        ] + cells

    @staticmethod
    def _cut(cells: list[ChangedCell], most: int | None) -> list[ChangedCell]:
        """Return the first cells, and those that the same partial counts changed as the last."""
        if most is None or len(cells) <= most:
            return cells
        last = cells[most - 1].offset
        return [each for each in cells if each.offset <= last]

    def _since_another_owner(
        self, position: LogPosition, campaign_ids: Sequence[str] | None
    ) -> Changed:
        """Return all that may have changed: windows as far as is known, the rest by time."""
        partition, since = self.partition, position.at - OVERLAP
        changed = partition.changed
        is_complete = (
            changed.complete_from <= position.offset <= self._position.offset
            and position.at >= self._position.at - LONGEST_AWAY
        )
        cells = changed.since(0, self._position.offset, campaign_ids)
        if is_complete:
            # Otherwise everything has to be read anew.
            cells = [*self._closed_cells(since, campaign_ids, cells), *cells]
        return Changed(
            cells,
            [
                each.alert_id
                for each in partition.alerts.alerts()
                if each.steps and each.steps[-1].at >= since
            ],
            [
                each.delivery_id
                for each in partition.deliveries.deliveries()
                if max(
                    each.created_at,
                    each.history[-1].at if each.history else 0.0,
                    each.next_attempt_at,
                )
                >= since
            ],
            self._position,
            has_more=False,
            is_complete=is_complete,
        )

    def _closed_cells(
        self, since: float, campaign_ids: Sequence[str] | None, known: Iterable[ChangedCell]
    ) -> Iterator[ChangedCell]:
        """Yield cells of closed windows that were open since a time (s, UTC), besides those known.

        Of a window that was written down before its task moved, nothing is replayed.
        """
        table, windows = self.partition.table, self.partition.settings.windows
        cells = {(each.start, each.campaign_id) for each in known}
        for start in table.starts():
            if since * 1000 >= windows.closes_at(start) or table.is_open(start):
                continue
            names = table.campaigns_in(start) if campaign_ids is None else campaign_ids
            yield from (ChangedCell(0, start, name) for name in names if (start, name) not in cells)
