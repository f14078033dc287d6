"""What explains an alert: worked out from the windows of its campaign.

The windows of the episode are compared with those of the hour before. The result depends on these
counts alone, so a restart changes nothing. It is worked out when an alert makes a transition, and
some times in between, never at each evaluation.
"""

from collections import Counter
from collections.abc import Iterable

from streams.domain.alert_records import Alert
from streams.domain.counts import OTHER, Cell, StatusGroups, largest_counts
from streams.domain.partial_counts import Dimensions
from streams.domain.rules import Rule, Scope
from streams.domain.slices import CellKey, Excess, Slice, Tally, excess_by_status, explain
from streams.domain.table import WindowTable
from streams.domain.transitions import (
    Explanation,
    SliceExcess,
    Span,
    StatusExcess,
    UsualCounts,
    rfc3339,
)
from streams.domain.windows import MS, WindowPolicy

USUAL_S = 3600
"""What is usual is read from windows that begin so long (s) before the episode, at the earliest."""
USUAL_ATTEMPTS = 3_000
"""As many attempts say what is usual: no older windows are read."""
MOST_WINDOWS = 60
"""Windows of an episode that are read: the newest."""
READS_AT_ONCE = 2_000
"""Windows of campaigns that are read for the alerts of one evaluation. Other work is counted as the
reads that take as long."""
COUNTS_PER_READ = 50
CELLS_PER_READ = 2
FEW_WINDOWS = 3
"""Windows on each side that are read for an alert past `READS_AT_ONCE`. Past twice as many, alerts
are not explained at once, but when they are explained again."""
STATUSES = 5
STATUS_BYTES = 2_048
"""How many statuses are listed, and how long their names may be together."""


class Explainer:
    """Explains the alerts of one partition.

    Args:
        table: all windows of the partition.
        windows: their size.
        groups: which group each status is in.
    """

    def __init__(self, table: WindowTable, windows: WindowPolicy, groups: StatusGroups) -> None:
        self._table = table
        self._windows = windows
        self._groups = groups
        self._reads_left = READS_AT_ONCE

    def begin(self) -> None:
        """Begin another evaluation."""
        self._reads_left = READS_AT_ONCE

    @property
    def has_time(self) -> bool:
        """Whether there is time left, in this evaluation, for what can wait."""
        return self._reads_left > 0

    def explain(self, rule: Rule, alert: Alert, before: Alert | None) -> Explanation | None:
        """Return what explains an alert.

        Null if its windows are not retained any more, or if too many alerts have to be explained.

        Args:
            rule: its rule.
            alert: the alert.
            before: the alert before it that its rule had in its scope, if any is remembered. What
                was counted then is not usual.
        """
        if self._reads_left <= -READS_AT_ONCE:
            return None
        seen = self._count(rule, alert.scope, self._starts_of(alert), None)
        if seen.first is None or seen.last is None:
            return None
        usual = self._count(rule, alert.scope, self._usual_starts(alert, before), USUAL_ATTEMPTS)
        self._reads_left -= len(seen.cells) // CELLS_PER_READ
        found = explain(seen.cells, usual.cells)
        whole = found.whole
        return Explanation(
            window=self._span(seen.first, seen.last),
            attempts=whole.seen.attempts,
            hits=whole.seen.hits,
            rate=round(whole.seen.rate, 6),
            usual_rate=round(whole.usual_rate, 6),
            expected_hits=round(whole.expected, 3),
            usual=self._usual(usual),
            slice=None if found.slice is None else _shown(found.slice, whole),
            statuses=_statuses(seen, usual),
        )

    def _starts_of(self, alert: Alert) -> list[int]:
        """Return the starts (s) of an alert's windows, newest first."""
        since = self._windows.start_of(alert.since * MS)
        starts = [
            start
            for start in reversed(self._table.starts())
            if since <= start and (alert.is_live or start <= alert.breached)
        ]
        return starts[: self._most]

    def _usual_starts(self, alert: Alert, before: Alert | None) -> list[int]:
        """Return the starts (s) of the windows from which it is known what is usual."""
        since = self._windows.start_of(alert.since * MS)
        first = since - max(USUAL_S, self._windows.size)
        starts = [start for start in reversed(self._table.starts()) if first <= start < since]
        if before is not None:
            starts = [start for start in starts if not before.since <= start <= before.breached]
        return starts[: self._most]

    @property
    def _most(self) -> int:
        return MOST_WINDOWS if self.has_time else FEW_WINDOWS

    def _count(
        self, rule: Rule, scope: Scope, starts: Iterable[int], enough: int | None
    ) -> "_Counted":
        """Count what is in windows (starts, s), until there are `enough` attempts."""
        counted = _Counted(rule, self._groups)
        for start in starts:
            cell = self._table.cell(scope.campaign_id, start)
            self._reads_left -= 1
            if cell is None:
                continue
            self._reads_left -= len(cell.sends) // COUNTS_PER_READ
            counted.add(start, cell, scope)
            if enough is not None and counted.attempts >= enough:
                break
        return counted

    def _usual(self, usual: "_Counted") -> UsualCounts | None:
        if usual.first is None or usual.last is None:
            return None
        span = self._span(usual.first, usual.last)
        return UsualCounts(usual.attempts, usual.hits.total(), span)

    def _span(self, first: int, last: int) -> Span:
        return Span(rfc3339(first), rfc3339(last + self._windows.size))


class _Counted:
    """What windows hold of one scope, as a rule sees it.

    Attributes:
        cells: attempts and hits by cell.
        hits: by status.
        attempts: in all.
        first: start (s) of the oldest window with attempts; null for none.
        last: start (s) of the newest one.
    """

    def __init__(self, rule: Rule, groups: StatusGroups) -> None:
        self._rule = rule
        self._groups = groups
        self.cells: dict[CellKey, Tally] = {}
        self.hits: Counter[str] = Counter()
        self.attempts = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, start: int, cell: Cell, scope: Scope) -> None:
        """Add the counts of a window (start, s); windows come newest first."""
        before = self.attempts
        for dimensions, count in cell.sends.items():
            if self._groups.is_attempt(dimensions.outcome) and self._is_in(scope, dimensions):
                self._add(dimensions, count)
        if self.attempts > before:
            self.first = start
            self.last = start if self.last is None else self.last

    def _is_in(self, scope: Scope, dimensions: Dimensions) -> bool:
        if self._rule.scope == "treatment":
            return dimensions.treatment_id == scope.treatment_id
        if self._rule.scope == "channel":
            return dimensions.channel_type == scope.channel_type
        return True

    def _add(self, dimensions: Dimensions, count: int) -> None:
        key = dimensions.channel_type, dimensions.treatment_id, dimensions.delivery_type
        attempts, hits = self.cells.get(key, (0, 0))
        self.attempts += count
        if self._rule.is_hit(dimensions.outcome, self._groups):
            self.hits[dimensions.outcome] += count
            hits += count
        self.cells[key] = Tally(attempts + count, hits)


def _shown(found: Slice, whole: Excess) -> SliceExcess:
    excess = found.excess
    return SliceExcess(
        dimensions=dict(found.values.items()),
        share=round(min(1.0, excess.hits / whole.hits), 6),
        attempts=excess.seen.attempts,
        hits=excess.seen.hits,
        rate=round(excess.seen.rate, 6),
        usual_rate=round(excess.usual_rate, 6),
        expected_hits=round(excess.expected, 3),
    )


def _statuses(seen: _Counted, usual: _Counted) -> list[StatusExcess]:
    """Return the statuses that grew, the largest excess first; those not listed are `OTHER`."""
    found = excess_by_status(seen.attempts, seen.hits, usual.attempts, usual.hits)
    total = sum(excess.hits for excess in found.values())
    if not total:
        return []
    listed = largest_counts(seen.hits, STATUSES, STATUS_BYTES)
    named = {status: excess for status, excess in found.items() if status in listed}
    if OTHER in listed:
        others = sum(excess.expected for status, excess in found.items() if status not in named)
        others += named[OTHER].expected if OTHER in named else 0.0
        named[OTHER] = Excess(Tally(seen.attempts, listed[OTHER]), others)
    shown = [
        StatusExcess(
            status,
            round(min(1.0, excess.hits / total), 6),
            excess.seen.hits,
            round(excess.expected, 3),
        )
        for status, excess in named.items()
        if excess.hits
    ]
    return sorted(shown, key=lambda each: (-each.share, each.status))
