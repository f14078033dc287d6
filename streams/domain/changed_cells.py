"""Which campaigns' counts have changed in which windows, by offset in the repartition topic.

The same partial counts change the same cells in every worker that reads them, so an offset is a
position that a task's next owner understands, as far back as it replays partial counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MOST_CELLS = 20_000


class ChangedCell(NamedTuple):
    """A campaign in one window, and the offset of the newest partial counts that changed it.

    Attributes:
        offset: in the repartition topic.
        start: of the window (s).
        campaign_id: the campaign.
    """

    offset: int
    start: int
    campaign_id: str


class ChangedCells:
    """The cells of one partition that have changed.

    Args:
        most: cells that are kept. Of more, the windows that have not changed for longest are
            forgotten whole.

    Attributes:
        complete_from: an offset; changes from there on are all known.
        restored_through: the offset that the first partial counts had which were not replayed.
    """

    def __init__(self, most: int = MOST_CELLS) -> None:
        self.complete_from = 0
        self.restored_through = 0
        self._most = most
        self._cells: dict[int, dict[str, int]] = {}
        """By start of the window and campaign, the offset of the newest change."""
        self._newest: dict[int, int] = {}
        """By start of the window, the offset of its newest change; the newest is last."""
        self._size = 0

    def restored(self, replayed_from: int | None, through: int) -> None:
        """Take note from where to where partial counts were replayed; null for none."""
        self.complete_from = through if replayed_from is None else replayed_from
        self.restored_through = through

    def change(self, start: int, campaign_ids: Iterable[str], offset: int) -> None:
        """Take note that partial counts change some campaigns in a window.

        Args:
            start: of the window (s).
            campaign_ids: of any number of campaigns.
            offset: of the partial counts; not before that of the last call.
        """
        cells = self._cells.setdefault(start, {})
        before = len(cells)
        cells.update(dict.fromkeys(campaign_ids, offset))
        self._size += len(cells) - before
        self._newest.pop(start, None)
        self._newest[start] = offset
        while self._size > self._most:
            self._forget(next(iter(self._newest)))

    def _forget(self, start: int) -> None:
        self.complete_from = max(self.complete_from, self._newest.pop(start) + 1)
        self._size -= len(self._cells.pop(start))

    def since(
        self, offset: int, before: int, campaign_ids: Sequence[str] | None = None
    ) -> list[ChangedCell]:
        """Return the cells that changed from an offset on, in the order of their newest changes.

        Args:
            offset: of the first change that counts.
            before: changes from this offset on do not count.
            campaign_ids: of these campaigns alone; null for all.
        """
        starts = [start for start, newest in self._newest.items() if newest >= offset]
        return sorted(
            ChangedCell(changed, start, campaign_id)
            for start in starts
            for campaign_id, changed in self._of(start, campaign_ids)
            if offset <= changed < before
        )

    def _of(self, start: int, campaign_ids: Sequence[str] | None) -> Iterator[tuple[str, int]]:
        cells = self._cells[start]
        if campaign_ids is None:
            yield from cells.items()
            return
        yield from ((name, cells[name]) for name in campaign_ids if name in cells)
