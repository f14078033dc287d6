"""What folds are told of records: counts, hits, and the windows that are open with them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.counts import Cell, StatusGroups
from streams.domain.detectors.folding import Integers
from streams.domain.partial_counts import Dimensions
from streams.domain.scope_sums import Added, RecordCounts
from streams.domain.table import WindowTable

_NO_COUNTS = Cell(None, {}, {})


class KeptCount(NamedTuple):
    """How many events of a count key there are in the window that begins at `start` (s)."""

    start: int
    key: Dimensions
    events: int


class OpenWindows:
    """The windows of the table that were not learned yet, as they are with one record.

    Args:
        table: of the windows.
        groups: which group each status is in.
        starts: returns the starts (s) of all windows that may be open.
        closed_until: end (s) of the newest window that was learned.
        kept: returns counts of a campaign that the table does not have yet.
    """

    def __init__(
        self,
        table: WindowTable,
        groups: StatusGroups,
        starts: Callable[[], list[int]],
        closed_until: int,
        kept: Callable[[str], Iterable[KeptCount]] = lambda _: (),
    ) -> None:
        self._table = table
        self._kept = kept
        self._groups = groups
        self._all_starts = starts
        self._closed_until = closed_until
        self._cells: dict[str, dict[int, Cell]] = {}
        self._attempts: dict[str, int] = {}

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start in self._all_starts() if start >= self._closed_until]

    def attempts(self, campaign_ids: Sequence[str]) -> list[int]:
        """Return how many attempts campaigns have."""
        attempts = self._attempts
        new = [name for name in campaign_ids if name not in attempts]
        if new:
            is_attempt = self._groups.counts_attempts
            attempts.update(
                zip(new, self._table.totals(new, self._starts, is_attempt), strict=True)
            )
        return [attempts[name] for name in campaign_ids]

    def cells(self, campaign_id: str) -> Mapping[int, Cell]:
        """Return the counts of a campaign by the start (s) of the window."""
        cells = self._cells.get(campaign_id)
        if cells is None:
            cells = dict(self._table.cells(campaign_id, self._starts))
            for start, key, events in self._kept(campaign_id):
                cell = cells.get(start, _NO_COUNTS)
                sends = {**cell.sends, key: cell.sends.get(key, 0) + events}
                cells[start] = Cell(cell.app_id, sends, cell.engagement)
            self._cells[campaign_id] = cells
        return cells


class CampaignHits(NamedTuple):
    """What a record adds to a campaign with hits, and its attempts in all open windows then."""

    added: Added
    in_open_windows: int


class HitSeries(NamedTuple):
    """Hits that records in a row have of campaigns, and attempts of those with a breach.

    No window opens or closes meanwhile. Rows of one campaign follow one another, in the order of
    records.

    Attributes:
        campaigns: the name of each campaign.
        apps: of each campaign, as its first row names it.
        first_rows: of each campaign.
        lengths: how many rows each campaign has.
        times: event time (ms) of each row: the newest of the log.
        arrivals: wall-clock time (ms, UTC) of each row.
        attempts: of each row.
        hits: of these.
        starts: start (s) of the newest window that they are in.
        in_open_windows: attempts of the campaign in all open windows then.
        kept: returns, for a row, counts of the campaign that the table does not have yet.
    """

    campaigns: list[str]
    apps: list[str | None]
    first_rows: Integers
    lengths: Integers
    times: Integers
    arrivals: Integers
    attempts: Integers
    hits: Integers
    starts: Integers
    in_open_windows: Integers
    kept: Callable[[int], Iterable[KeptCount]]

    def of(self, which: NDArray[np.bool_]) -> "HitSeries":
        """Return the rows of some campaigns."""
        at, rows = which.nonzero()[0], np.flatnonzero(np.repeat(which, self.lengths))
        lengths = self.lengths[at]
        return HitSeries(
            [self.campaigns[number] for number in at.tolist()],
            [self.apps[number] for number in at.tolist()],
            lengths.cumsum() - lengths,
            lengths,
            self.times[rows],
            self.arrivals[rows],
            self.attempts[rows],
            self.hits[rows],
            self.starts[rows],
            self.in_open_windows[rows],
            lambda row: self.kept(rows.item(row)),
        )


SeenWith: TypeAlias = Callable[[Iterable[KeptCount]], OpenWindows]
"""Returns the open windows, which have these counts of a campaign as well."""


class RecordContext(NamedTuple):
    """Counts of one record, and what is to be known of them.

    Attributes:
        offset: of the record.
        at: event time (ms): the newest of the log so far.
        windows: counts of each open window, oldest first, under the campaigns that the window
            table counts them under.
        open_windows: have these counts.
    """

    offset: int
    at: int
    windows: Sequence[RecordCounts]
    open_windows: OpenWindows
