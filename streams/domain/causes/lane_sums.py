"""The sums of one lane's campaigns, worked out from its windows.

The formulas are those of `evidence`, for all campaigns and places at once. Nothing is worked out
while nobody asks; a closed window is read once, so late events that correct it later are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.domain.causes.evidence import (
    BANDS,
    MILLI,
    MOST_ATTEMPTS,
    OWN_FAULT,
    SHARES_LOST,
    CampaignSends,
    Place,
    Sends,
)
from streams.domain.causes.membership import SOONER
from streams.domain.causes.summary import (
    FRAMES,
    CellKey,
    Cells,
    CellSum,
    Frame,
    bounded_frame,
    short,
)
from streams.domain.counts import OTHER, StatusGroups
from streams.domain.partial_counts import Dimensions, WindowCounts
from streams.domain.rules import Rule
from streams.domain.slices import PRIOR_ATTEMPTS
from streams.domain.table import WindowTable

USUAL_WINDOWS = 15
"""Windows before a frame from which it is known what is usual."""

COUNTS_AT_ONCE = 100_000
"""Counts of closed windows that one `refresh` reads, in some 200 ms; older ones are read later."""

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


class _Window(NamedTuple):
    """What a window has, by row."""

    attempts: Ints
    hits: Mapping[str, Ints]


class _Sum(NamedTuple):
    """The same of several windows, for all rows."""

    attempts: Ints
    hits: dict[str, Ints]

    @property
    def all_hits(self) -> Ints:
        return sum(self.hits.values(), np.zeros_like(self.attempts))


class LaneSums:
    """The sums of one lane for one rule.

    Args:
        table: has the windows.
        groups: which group each status is in.
        rule: says what is a hit, and which campaigns it is about.
    """

    def __init__(self, table: WindowTable, groups: StatusGroups, rule: Rule) -> None:
        self._table = table
        self._groups = groups
        self._rule = rule
        self._rows: dict[tuple[str, Place], int] = {}
        """A row for each campaign and place."""
        self._campaigns: dict[str, int] = {}
        self._apps: list[str | None] = []
        self._rows_of: dict[str, list[int]] = {}
        self._places: list[Place] = []
        self._campaign_of: list[int] = []
        self._windows: dict[int, _Window] = {}
        self._closed: set[int] = set()
        self._matches: dict[tuple[str, str | None], bool] = {}

    def refresh(self) -> None:
        """Read the windows that have changed; of many closed ones, the newest first.

        So what is usual is known from fewer windows at first.
        """
        starts = self._table.starts()[-(FRAMES + USUAL_WINDOWS) :]
        self._windows = {at: seen for at, seen in self._windows.items() if at in starts}
        self._closed &= self._windows.keys()
        left = COUNTS_AT_ONCE
        for start in reversed(starts):
            if start in self._closed:
                continue
            if self._table.is_open(start):
                self._windows[start], _ = self._read(start)
            elif left > 0:
                self._windows[start], counts = self._read(start)
                self._closed.add(start)
                left -= counts

    @property
    def rows(self) -> int:
        """How many combinations of campaign, channel and delivery type there are."""
        return len(self._rows)

    def frames(
        self, broken: Mapping[str, int], recovered: Mapping[str, float]
    ) -> tuple[Frame, ...]:
        """Return the sums as a summary has them, as of the last `refresh`.

        Args:
            broken: by campaign, the start (s) of the first window of its alert, if it has one.
                Campaigns that were broken long before a frame are left out of it.
            recovered: by campaign without one, when (s) its newest alert ended. It is left out of
                frames with anything before that, as what it says is over.
        """
        starts = sorted(self._windows)[-FRAMES:]
        return tuple(
            bounded_frame(
                since,
                self._cells(
                    since,
                    [
                        *(name for name, first in broken.items() if first < since - SOONER),
                        *(name for name, ended_at in recovered.items() if ended_at > since),
                    ],
                ),
            )
            for since in starts
        )

    def sends_of(self, campaign_id: str, since: int) -> CampaignSends:
        """Return what a campaign has sent since the start (s) of a window, and before."""
        rows = self._rows_of.get(campaign_id, [])
        at = self._campaigns.get(campaign_id)
        app_id = self._apps[at] if at is not None else None
        seen, usual = self._seen_since(since), self._usual_before(since)
        return CampaignSends(campaign_id, app_id, self._sends(rows, seen), self._sends(rows, usual))

    def _sends(self, rows: Sequence[int], windows: Sequence[_Window]) -> dict[Place, Sends]:
        sends: dict[Place, Sends] = {}
        for row in rows:
            having = [each for each in windows if row < len(each.attempts)]
            attempts = sum(int(each.attempts[row]) for each in having)
            hits: dict[str, int] = {}
            for each in having:
                for status, counts in each.hits.items():
                    if counts[row]:
                        hits[status] = hits.get(status, 0) + int(counts[row])
            if attempts:
                sends[self._places[row]] = Sends(attempts, hits)
        return sends

    # Windows

    def _seen_since(self, since: int) -> list[_Window]:
        return [window for at, window in self._windows.items() if at >= since]

    def _usual_before(self, since: int) -> list[_Window]:
        starts = sorted(at for at in self._windows if at < since)[-USUAL_WINDOWS:]
        return [self._windows[at] for at in starts]

    def _read(self, start: int) -> tuple[_Window, int]:
        """Return a window (start, s), and how many counts it has."""
        read = 0
        attempts: dict[int, int] = {}
        hits: dict[str, dict[int, int]] = {}
        for counts in self._table.counts(start):
            for dimensions, row, count in self._counted(counts):
                read += 1
                attempts[row] = attempts.get(row, 0) + count
                if self._rule.is_hit(dimensions.outcome, self._groups):
                    of_status = hits.setdefault(dimensions.outcome, {})
                    of_status[row] = of_status.get(row, 0) + count
        size = len(self._rows)
        by_status = {name: _column(each, size) for name, each in hits.items()}
        return _Window(_column(attempts, size), by_status), read

    def _counted(self, counts: WindowCounts) -> Iterator[tuple[Dimensions, int, int]]:
        """Yield the attempts of a window: what they are counts of, their row, and how many."""
        apps = [counts.apps[at] for at in counts.at_app]
        wanted = [self._is_wanted(*each) for each in zip(counts.campaigns, apps, strict=True)]
        for column in counts.columns:
            dimensions = column.dimensions
            if dimensions.engagement or not self._groups.is_attempt(dimensions.outcome):
                continue
            place = dimensions.channel_type, dimensions.delivery_type
            for at, count in zip(column.at, column.counts, strict=True):
                if wanted[at]:
                    yield dimensions, self._row(counts.campaigns[at], apps[at], place), count

    def _is_wanted(self, campaign_id: str, app_id: str | None) -> bool:
        key = campaign_id, app_id
        known = self._matches.get(key)
        if known is None:
            known = campaign_id != OTHER and self._rule.matches(campaign_id, app_id)
            self._matches[key] = known
        return known

    def _row(self, campaign_id: str, app_id: str | None, place: Place) -> int:
        row = self._rows.get((campaign_id, place))
        if row is None:
            campaign = self._campaigns.setdefault(campaign_id, len(self._campaigns))
            if campaign == len(self._apps):
                self._apps.append(app_id)
            row = self._rows[campaign_id, place] = len(self._rows)
            self._places.append(place)
            self._campaign_of.append(campaign)
            self._rows_of.setdefault(campaign_id, []).append(row)
        return row

    # Sums

    def _sum(self, windows: Sequence[_Window]) -> _Sum:
        size = len(self._rows)
        total = _Sum(np.zeros(size, np.int64), {})
        for window in windows:
            total.attempts[: len(window.attempts)] += window.attempts
            for status, counts in window.hits.items():
                of_status = total.hits.setdefault(status, np.zeros(size, np.int64))
                of_status[: len(counts)] += counts
        return total

    def _cells(self, since: int, left_out: Sequence[str]) -> Cells:
        seen, usual = self._sum(self._seen_since(since)), self._sum(self._usual_before(since))
        for name in left_out:
            seen.attempts[self._rows_of.get(name, [])] = 0
        campaign = np.array(self._campaign_of, np.int64)
        rates = _rates(usual, campaign, len(self._campaigns))
        rows = np.flatnonzero(seen.attempts)
        if not len(rows):
            return {}
        n, k, rate = seen.attempts[rows], seen.all_hits[rows], rates[rows]
        bands = _bands(n, k, rate, campaign[rows])
        expected = n * rate
        keys, at = self._keys(rows)
        sums = {
            "campaigns": np.bincount(at, minlength=len(keys)),
            "attempts": _added(at, n, len(keys)),
            "hits": _added(at, k, len(keys)),
            "expected": _added(at, np.rint(MILLI * expected), len(keys)),
        }
        evidence = [_added(at, band, len(keys)) for band in bands]
        statuses = _statuses(seen, usual, rows, expected, at, len(keys))
        return {
            key: CellSum(
                int(sums["campaigns"][number]),
                int(sums["attempts"][number]),
                int(sums["hits"][number]),
                int(sums["expected"][number]),
                (
                    int(evidence[0][number]),
                    int(evidence[1][number]),
                    int(evidence[2][number]),
                    int(evidence[3][number]),
                ),
                statuses[number],
            )
            for number, key in enumerate(keys)
        }

    def _keys(self, rows: Ints) -> tuple[list[CellKey], Ints]:
        """Return the cells of some rows, and which of them each row is in."""
        numbers: dict[CellKey, int] = {}
        at = [
            numbers.setdefault(
                (
                    short(self._apps[self._campaign_of[row]]),
                    short(self._places[row][0]),
                    short(self._places[row][1]),
                ),
                len(numbers),
            )
            for row in rows.tolist()
        ]
        return list(numbers), np.array(at, np.int64)


def _column(counts: Mapping[int, int], size: int) -> Ints:
    column = np.zeros(size, np.int64)
    column[list(counts)] = list(counts.values())
    return column


def _added(at: Ints, values: Ints | Floats, size: int) -> Ints:
    return np.rint(np.bincount(at, values, minlength=size)).astype(np.int64)


def _rates(usual: _Sum, campaign: Ints, campaigns: int) -> Floats:
    """Return the usual rate by row, as `evidence` has it."""
    hits = usual.all_hits
    of_campaign = (1.0 + np.bincount(campaign, hits, minlength=campaigns)) / (
        PRIOR_ATTEMPTS + np.bincount(campaign, usual.attempts, minlength=campaigns)
    )
    known = PRIOR_ATTEMPTS + usual.attempts
    rates: Floats = (hits + PRIOR_ATTEMPTS * of_campaign[campaign]) / known
    return rates


def _bands(n: Ints, k: Ints, rate: Floats, campaign: Ints) -> list[Floats]:
    """Return the evidence for a common cause by band and row, in thousandths of a nat."""
    weight = np.minimum(1.0, MOST_ATTEMPTS / n)
    gain = np.log1p(np.outer((1.0 - rate) / rate, SHARES_LOST))
    loss = np.log1p(-np.array(SHARES_LOST))
    gains = (weight * k)[:, None] * gain + np.outer(weight * (n - k), loss)
    own = np.maximum(gains.max(1), 0.0)
    taken_off = np.logaddexp(0.0, own - OWN_FAULT)
    broken = np.minimum(OWN_FAULT, own)
    of_campaign = np.bincount(campaign, broken)[campaign]
    most = broken * np.minimum(1.0, OWN_FAULT / np.where(of_campaign > 0, of_campaign, OWN_FAULT))
    return [
        np.rint(MILLI * np.maximum(-OWN_FAULT, np.minimum(most, gains[:, a:b].max(1) - taken_off)))
        for a, b in BANDS
    ]


def _statuses(  # noqa: PLR0913, PLR0917 - the columns of the same rows
    seen: _Sum, usual: _Sum, rows: Ints, expected: Floats, at: Ints, cells: int
) -> list[dict[str, tuple[int, int]]]:
    """Return hits, and those expected in thousandths, by cell and status."""
    none = np.zeros(len(rows), np.int64)
    columns = {
        name: (
            seen.hits[name][rows] if name in seen.hits else none,
            usual.hits[name][rows] if name in usual.hits else none,
        )
        for name in sorted(seen.hits.keys() | usual.hits.keys())
    }
    present = {name: (now > 0) | (before > 0) for name, (now, before) in columns.items()}
    of_all = np.maximum(1, usual.all_hits[rows] + sum(present.values(), none))
    found: list[dict[str, tuple[int, int]]] = [{} for _ in range(cells)]
    for name, (now, before) in columns.items():
        shown = short(name) or OTHER
        hits = _added(at, now, cells)
        parts = np.where(present[name], np.rint(MILLI * expected * (before + 1) / of_all), 0)
        usually, cells_with = _added(at, parts, cells), np.unique(at[present[name]])
        for cell in cells_with.tolist():
            known = found[cell].get(shown, (0, 0))
            found[cell][shown] = known[0] + int(hits[cell]), known[1] + int(usually[cell])
    return found
