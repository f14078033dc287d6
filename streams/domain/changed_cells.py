"""Which campaigns' counts have changed in which windows, by offset in the repartition topic.

The same partial counts change the same cells in every worker that reads them, so an offset is a
position that a task's next owner understands, as far back as it replays partial counts.

While nobody asks, partial counts are only remembered as they came: cells are worked out of the
newest of them once somebody asks.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from operator import itemgetter
from typing import NamedTuple

MOST_CELLS = 20_000
KEPT_S = 900.0
"""Seconds (wall clock) after somebody asked for which cells are kept apart, once each: so whoever
comes back within that time is told of all that changed meanwhile."""


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


class _Change(NamedTuple):
    """Campaigns of one window that partial counts at an offset change."""

    start: int
    campaign_ids: Sequence[str]
    offset: int


class ChangedCells:
    """The cells of one partition that have changed.

    Args:
        most: cells that are kept. Of more, the windows that have not changed for longest are
            forgotten whole; if nobody has asked for long, the oldest partial counts.

    Attributes:
        complete_from: an offset; changes from there on are all known. `follow` may raise it.
        restored_through: the offset that the first partial counts had which were not replayed.
        is_followed: whether what is kept has the cells of the windows that were open when somebody
            first asked.
    """

    def __init__(self, most: int = MOST_CELLS) -> None:
        self.complete_from = 0
        self.restored_through = 0
        self.is_followed = False
        self._most = most
        self._asked_at = inf
        """Wall-clock time (s) when somebody last asked, as far as changes have come since; infinity
        while partial counts are replayed: there was somebody before."""
        self._was_asked = False
        """Whether somebody has asked since the last change."""
        self._fresh: deque[_Change] = deque()
        """Changes that are in no cell yet, oldest first."""
        self._fresh_size = 0
        """How many campaigns they name."""
        self._cells: dict[int, dict[str, int]] = {}
        """By start of the window and campaign, the offset of the newest change."""
        self._newest: dict[int, int] = {}
        """By start of the window, the offset of its newest change; the newest is last."""
        self._size = 0

    def restored(self, replayed_from: int | None, through: int, now: float) -> None:
        """Take note from where to where partial counts were replayed; null for none.

        Args:
            replayed_from: the first offset.
            through: the offset after the last one.
            now: wall-clock time (s, UTC).
        """
        first = through if replayed_from is None else replayed_from
        self.complete_from = max(self.complete_from, first)
        self.restored_through = through
        # Who followed the partition's last owner comes here now, if there was one.
        self._asked_at = now if through else -inf

    def change(self, start: int, campaign_ids: Sequence[str], offset: int, now: float) -> None:
        """Take note that partial counts change some campaigns in a window.

        Args:
            start: of the window (s).
            campaign_ids: of any number of campaigns; they are not changed later.
            offset: of the partial counts; not before that of the last call.
            now: wall-clock time (s, UTC).
        """
        if self._was_asked:
            self._was_asked = False
            self._asked_at = now
        self._fresh.append(_Change(start, campaign_ids, offset))
        self._fresh_size += len(campaign_ids)
        if self._fresh_size > self._most // 2:
            if now - self._asked_at <= KEPT_S:
                self._put_in()
            else:
                self._forget_oldest()

    def _put_in(self) -> None:
        """Put the fresh changes into the cells."""
        for start, campaign_ids, offset in self._fresh:
            cells = self._cells.setdefault(start, {})
            before = len(cells)
            cells.update(dict.fromkeys(campaign_ids, offset))
            self._size += len(cells) - before
            self._newest.pop(start, None)
            self._newest[start] = offset
            self._bound()
        self._fresh.clear()
        self._fresh_size = 0

    def _bound(self) -> None:
        while self._size > self._most:
            self._forget(next(iter(self._newest)))

    def _forget(self, start: int) -> None:
        self.complete_from = max(self.complete_from, self._newest.pop(start) + 1)
        self._size -= len(self._cells.pop(start))

    def _forget_oldest(self) -> None:
        """Forget all cells, and of the fresh changes the oldest, as nobody follows them."""
        self.is_followed = False
        for start in [*self._newest]:
            self._forget(start)
        while self._fresh_size > self._most // 2:
            oldest = self._fresh.popleft()
            self._fresh_size -= len(oldest.campaign_ids)
            self.complete_from = max(self.complete_from, oldest.offset + 1)

    def follow(self, open_windows: Mapping[int, Iterable[str]]) -> None:
        """Keep the cells from here on: somebody asks for them.

        Args:
            open_windows: by start (s), the campaigns that have counts; it is read when nobody has
                asked for long. When these windows close, that is a change of each of them.
        """
        self._was_asked = True
        self._put_in()
        if self.is_followed:
            return
        self.is_followed = True
        newest = dict.fromkeys(open_windows, 0)
        for start, campaign_ids in open_windows.items():
            known = self._cells.get(start, {})
            cells = self._cells[start] = dict.fromkeys(campaign_ids, 0) | known
            self._size += len(cells) - len(known)
            newest[start] = self._newest.pop(start, 0)
        self._newest = dict(sorted((newest | self._newest).items(), key=itemgetter(1)))
        self._bound()

    def since(
        self, offset: int, before: int, campaign_ids: Sequence[str] | None = None
    ) -> list[ChangedCell]:
        """Return the cells that changed from an offset on, in the order of their newest changes.

        Args:
            offset: of the first change that counts.
            before: changes from this offset on do not count.
            campaign_ids: of these campaigns alone; null for all.
        """
        self._put_in()
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
