"""Results of closed windows: a campaign's counts at the close, and after each correction.

A campaign's first result has revision 1; each correction has the next one. What has been emitted,
and what is still to be emitted, is derived from the changelog, which needs no record of its own for
it:

- A bucket of a window says which of its campaigns are to be emitted (`WindowCounts.to_emit`), and
  how often each was (`revisions`). Counts that are in no bucket yet are not emitted yet. So what is
  to be emitted is what the buckets say, and every campaign with counts behind the window's
  `replay_from` offset: reading both back gives the same set.
- A bucket is written when its window is closed and quiet, in the transaction that also holds the
  results of its campaigns; it then says that they are emitted. A crash loses both or neither.
- With more campaigns than one commit should hold (`EMITTED_AT_ONCE`), buckets are written that say
  what is to be emitted, and each later commit emits some of them and writes these buckets again.
  The next owner of the partition goes on at the first bucket that is left.
- A bucket that is written while its window is open has all of its campaigns to be emitted.
- A window does not expire before all of it is emitted, however far event time jumps.

Campaigns that are counted together, `__other__`, have a result in each partition.
"""

from typing import NamedTuple

from streams.domain.cells import cells_of
from streams.domain.counts import Cell
from streams.domain.partial_counts import WindowCounts

EMITTED_AT_ONCE = 6_000
"""Campaigns, and their counts, of which the results are made within some 100 ms: one commit's."""


class WindowResult(NamedTuple):
    """A campaign's counts in one closed window.

    Attributes:
        start: of the window (s).
        campaign_id: the campaign, or `__other__`.
        cell: all counts of that campaign and window.
        revision: 1 for its first result, the next number for each correction.
    """

    start: int
    campaign_id: str
    cell: Cell
    revision: int


class Emission:
    """The results that one commit emits.

    Args:
        most: how many counts of campaigns may be read for them; the bucket that passes this number
            is the last one.
    """

    def __init__(self, most: int = EMITTED_AT_ONCE) -> None:
        self.results: list[WindowResult] = []
        self._left = most

    @property
    def is_full(self) -> bool:
        """Tell whether the rest is for the next commit."""
        return self._left <= 0

    def take(self, counts: WindowCounts) -> None:
        """Emit the campaigns of a closed window that are to be emitted, and say so in `counts`."""
        if not counts.to_emit or self.is_full:
            return
        self._left -= len(counts.to_emit) + counts.rows
        cells = dict(cells_of(counts, {counts.campaigns[at] for at in counts.to_emit}))
        for at in counts.to_emit:
            name = counts.campaigns[at]
            revision = counts.revisions.pop(at, 1) + 1
            if revision > 1:
                counts.revisions[at] = revision
            self.results.append(WindowResult(counts.start, name, cells[name], revision))
        counts.to_emit = []
