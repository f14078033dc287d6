"""What the folding detectors of one partition know, as a function of the log.

Each record of the repartition topic is folded once, in the order of offsets, into the states of
the scopes that it says anything about. A window is learned at the record with which event time
passes its end and grace, which may be before the next flush closes it in the window table; at the
latest it is learned when the table closes it. Counts that come after that are late: they are
neither added nor learned. Event time is that of the log: by the event times and the times of
arrival in its records, not by the present. So rules may be evaluated whenever there is time for
it, and what they are shown is the same.

The states are written down when the table writes windows that the written ones have not learned:
what these windows got need not be replayed from then on, and nothing else could say what they were
when records came. Counts of windows that were learned before matter to no record. Restoring takes
the states, and folds again the records from `through` on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from streams.domain.buckets import Window
from streams.domain.detectors.accounts import Account
from streams.domain.detectors.folding import FoldingDetector
from streams.domain.fold_records import (
    CampaignHits,
    HitSeries,
    KeptCount,
    OpenWindows,
    RecordContext,
)
from streams.domain.folded_scopes import FoldGroupKey
from streams.domain.partial_counts import Dimensions, PartialCounts, WindowCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.pools import PoolsKey
from streams.domain.rule_folds import PreparedHits, RuleFold
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import ClosingCounts, RecordCounts, scope_of
from streams.domain.table import WindowTable
from streams.domain.watermark import Watermark

WRITTEN_AFTER_S = 60.0
"""Seconds of arrival after which states are written with any windows, or late events alone could
let records be replayed from ever longer ago."""
FORGET_EVERY = 21_600
"""Seconds of event time between two searches for states that are too old."""


class FoldsKey(msgspec.Struct, frozen=True, array_like=True, tag="folds"):
    """Key of how far the folds of a partition are: there is one."""


class FoldsRecord(msgspec.Struct):
    """How far the folds are.

    Attributes:
        through: offset in the repartition topic of the first record that the written states have
            not seen.
        is_ahead: whether records from there on were folded: then they have to be replayed.
        closed_until: end (s) of the newest window that was closed; counts before it are late.
        event_time: the watermark of the log (ms).
        newest: the newest event time (ms) of each input.
        heard_at: time of arrival (s) of the newest record of each input.
        arrived: newest time of arrival in the log (s).
    """

    through: int
    is_ahead: bool
    closed_until: int
    event_time: int
    newest: dict[int, int]
    heard_at: dict[int, float]
    arrived: float


class AddedRecord(NamedTuple):
    """A record of the repartition topic, and what the window table made of it.

    Attributes:
        offset: where it is.
        partial_counts: the record.
        on_time: windows by their start (s), with counts as the table has added them.
        late: starts (s) of windows that were closed when counts for them came.
    """

    offset: int
    partial_counts: PartialCounts
    on_time: list[tuple[int, WindowCounts]]
    late: list[int]


class DeferredHits(NamedTuple):
    """Hits of one record, and all attempts of campaigns with a breach.

    Attributes:
        at: event time (ms): the newest of the log with this record.
        of_rules: for each rule, the campaigns with hits, or with attempts and a breach.
        kept: returns counts of a campaign that the table does not have yet, up to this record.
    """

    at: int
    of_rules: Sequence[Sequence[CampaignHits]]
    kept: Callable[[str], Iterable[KeptCount]]


class GoneOn(NamedTuple):
    """A breach that goes on.

    Attributes:
        rule: whose it is.
        scope: of the rule.
        at: event time (ms) of its newest attempts.
        arrived_at: wall-clock time (ms, UTC) of these.
    """

    rule: Rule
    scope: Scope
    at: int
    arrived_at: int


class Folds:
    """The folding detectors of one partition.

    Args:
        settings: the settings of the partition.
        inputs: the source partitions that feed it.
    """

    def __init__(self, settings: PartitionSettings, inputs: Iterable[int]) -> None:
        limits = settings.limits
        self._rules = {
            rule.name: RuleFold(rule, settings.groups, limits.values)
            for rule in settings.rules
            if isinstance(rule.detector, FoldingDetector)
        }
        self._groups = settings.groups
        self._policy = settings.windows
        self._most_scopes = 2 * limits.campaigns
        self._inputs = tuple(inputs)
        self._idle_timeout = settings.idle_timeout
        self._clock: Watermark | None = None
        self._arrived = 0.0
        self._closed_until = 0
        self._written: FoldsRecord | None = None
        """As written, or to be written with the next changes; null before the first record."""
        self._next = 0
        """Offset after the newest record that was folded."""
        self._has_flipped = False
        """Whether it has to be written, as the first record after it was folded."""
        self._is_due = False
        """Whether the states have to be written."""
        self._gone: list[FoldsKey | PoolsKey | FoldGroupKey] = []
        """Keys of records that say nothing any more, as a rule is gone."""

    def __bool__(self) -> bool:
        """Tell whether any detector folds."""
        return bool(self._rules)

    @property
    def closed_until(self) -> int:
        """End (s) of the newest window that was learned."""
        return self._closed_until

    def of(self, rule: Rule) -> RuleFold | None:
        """Return the fold of a rule; null if its detector does not fold."""
        return self._rules.get(rule.name)

    # Folding

    def fold(self, record: AddedRecord, table: WindowTable) -> None:
        """Fold a record, which the window table has already."""
        self._fold(record, table, table.open_starts)

    def _fold(
        self, record: AddedRecord, table: WindowTable, starts: Callable[[], list[int]]
    ) -> None:
        """Fold a record; `starts` returns those (s) of all windows that may be open, in order."""
        self._take_note(record.offset, table)
        for start in record.late:
            self._move_to(start + self._policy.size)
        clock = self._observe(record.partial_counts)
        windows = [
            RecordCounts(start, counts, self._groups)
            # A task writes the windows of a commit in any order.
            for start, counts in sorted(record.on_time, key=itemgetter(0))
            if start >= self._closed_until
        ]
        if windows:
            open_windows = OpenWindows(table, self._groups, starts, self._closed_until)
            context = RecordContext(record.offset, clock.newest, windows, open_windows)
            for rule in self._rules.values():
                rule.add(context)
        if clock.advance(self._arrived, 0):
            self._close_before(self._policy.oldest_open(clock.event_time), table, starts)

    def add_hits(self, hits: DeferredHits, offset: int, table: WindowTable) -> bool:
        """Fold hits of a record before the table has its counts, as `deferrable` allows.

        Args:
            hits: of all rules; each of these is about campaigns as a whole.
            offset: of the record that comes next.
            table: of the windows.

        Returns:
            Whether any evaluation has another result now.
        """
        seen = self._open_windows(table, hits.kept)
        context = RecordContext(offset, hits.at, (), seen)
        for rule, of_rule in zip(self._rules.values(), hits.of_rules, strict=True):
            if of_rule:
                rule.add_hits(of_rule, context)
        return any(rule.stirred or rule.failures for rule in self._rules.values())

    def add_series(self, hits: Sequence[HitSeries], table: WindowTable) -> list[GoneOn] | None:
        """Fold hits of records in a row before the table has their counts, as `deferrable` allows.

        Args:
            hits: of each rule; each of these is about campaigns as a whole.
            table: of the windows.

        Returns:
            The breaches that have gone on; null if more is needed than adding counts, as where a
            breach begins or ends. Then only places were given, and `add_hits` is called for each
            record.
        """
        found: list[PreparedHits] = []
        for rule, of_rule in zip(self._rules.values(), hits, strict=True):
            prepared = rule.prepare(of_rule, partial(self._with_kept, table))
            if prepared is None:
                return None
            found.append(prepared)
        gone_on: list[GoneOn] = []
        for fold, prepared in zip(self._rules.values(), found, strict=True):
            prepared.apply()
            for key, *times in prepared.gone_on:
                gone_on.append(GoneOn(fold.rule, scope_of(fold.rule, key), *times))
        return gone_on

    def _with_kept(self, table: WindowTable, kept: Iterable[KeptCount]) -> OpenWindows:
        """Return the open windows; all counts that the table does not have are of one campaign."""
        return self._open_windows(table, lambda _: kept)

    def _open_windows(
        self, table: WindowTable, kept: Callable[[str], Iterable[KeptCount]] = lambda _: ()
    ) -> OpenWindows:
        return OpenWindows(table, self._groups, table.open_starts, self._closed_until, kept)

    def attempts(self, campaign_ids: Sequence[str], table: WindowTable) -> list[int]:
        """Return how many attempts campaigns have in windows that were not learned yet."""
        return self._open_windows(table).attempts(campaign_ids)

    @property
    def hits_of_campaigns(self) -> list[Callable[[Dimensions], bool]] | None:
        """What tells, for each rule, whether a count key is one of hits.

        Null if any rule is about parts of campaigns.
        """
        rules = self._rules.values()
        if any(fold.rule.scope != "campaign" for fold in rules):
            return None
        return [fold.is_hit for fold in rules]

    def _take_note(self, offset: int, table: WindowTable) -> None:
        """Remember that the record at an offset was folded."""
        if self._written is None:
            # Windows that closed before anything was folded are not learned.
            self._closed_until = table.open_from
            self._written = FoldsRecord(offset, False, self._closed_until, 0, {}, {}, 0.0)
        if not self._is_ahead:
            self._written = msgspec.structs.replace(self._written, is_ahead=True)
            self._has_flipped = True
        self._next = offset + 1

    @property
    def _is_ahead(self) -> bool:
        """Whether records were folded that the written states have not seen."""
        return self._written is not None and self._next > self._written.through

    def _observe(self, partial_counts: PartialCounts) -> Watermark:
        self._arrived = max(self._arrived, partial_counts.received_at / 1000)
        if self._clock is None:
            self._clock = self._new_clock()
        for source, event_time in partial_counts.event_times.items():
            self._clock.observe(source, event_time, self._arrived)
        return self._clock

    def _new_clock(self) -> Watermark:
        return Watermark(self._inputs, self._idle_timeout, self._arrived)

    def add_inputs(self, sources: Iterable[int]) -> None:
        """Wait for the event time of these source partitions too."""
        self._inputs = tuple({*self._inputs, *sources})
        if self._clock is not None:
            self._clock.add_inputs(self._inputs, self._arrived)

    # Learning

    def window_closes(self, window: Window) -> None:
        """Learn a window that the table closes, unless it is learned already."""
        if self._written is not None and window.start >= self._closed_until:
            self._learn(window)
            self._move_to(window.start + self._policy.size)

    def _close_before(self, end: int, table: WindowTable, starts: Callable[[], list[int]]) -> None:
        """Learn the windows that begin before `end` (s), as event time has passed them."""
        if end > self._closed_until:
            for start in starts():
                if start < end:
                    self._close(start, table)
            self._move_to(end)

    def _close(self, start: int, table: WindowTable) -> None:
        if start >= self._closed_until:
            window = table.window(start)
            # A replay knows a window before its first counts.
            if window is not None and len(window):
                self._learn(window)
            self._move_to(start + self._policy.size)

    def _learn(self, window: Window) -> None:
        counts = ClosingCounts(window.start, window.as_kept(), self._groups)
        for rule in self._rules.values():
            if len(rule.scopes) > self._most_scopes:
                rule.forget(self._closed_until, self._most_scopes)
            rule.close(counts)

    def _move_to(self, end: int) -> None:
        """Count windows that begin before `end` (s) as closed; now and then, forget old states."""
        before = self._closed_until
        self._closed_until = max(before, end)
        if self._closed_until // FORGET_EVERY != before // FORGET_EVERY:
            for rule in self._rules.values():
                rule.forget(before, self._most_scopes)

    # Asked

    def accounts(
        self, rule: Rule, campaign_id: str, table: WindowTable
    ) -> Iterator[tuple[Scope, Account]]:
        """Say in figures why a campaign's scopes breach, or why not, as far as they are known.

        What closed windows have said of them is as of the newest that was learned.
        """
        fold, clock = self.of(rule), self._clock
        for scope in fold.scopes_of(campaign_id) if fold is not None else ():
            seen = self._open_windows(table)
            if fold is None or clock is None:
                return
            account = fold.account(scope, seen, clock.newest, self._policy.size)
            if account is not None:
                yield scope, account

    def usual_rate(self, campaign_id: str, statuses: frozenset[str]) -> float | None:
        """Return the usual rate of statuses in a campaign, of the first rule that has learned it.

        Null if none has: rules about parts of campaigns, or other statuses, say nothing of it.
        """
        rates = (
            fold.usual_rate(campaign_id)
            for fold in self._rules.values()
            if fold.rule.statuses == statuses
        )
        return next((rate for rate in rates if rate is not None), None)

    # Evaluations

    def take_stirred(self) -> set[str]:
        """Return the campaigns whose evaluation has another result than at the last call."""
        stirred: set[str] = set()
        for rule in self._rules.values():
            if rule.stirred:
                stirred |= rule.stirred
                rule.stirred = set()
        return stirred

    def take_gone_on(self) -> Iterator[tuple[Rule, Scope, int]]:
        """Yield the breaches that have gone on since the last call.

        Of each, there is its rule, its scope, and the event time (ms) of its newest attempts.
        """
        for fold in self._rules.values():
            if fold.gone_on:
                gone_on, fold.gone_on = fold.gone_on, {}
                for key, at in gone_on.items():
                    yield fold.rule, scope_of(fold.rule, key), at

    def take_failures(self) -> list[tuple[str, Exception]]:
        """Return the campaigns that could not be folded since the last call, and what was raised.

        Their scopes have begun anew.
        """
        failures: list[tuple[str, Exception]] = []
        for rule in self._rules.values():
            failures += rule.failures
            rule.failures = []
        return failures

    @property
    def stirred(self) -> int:
        """How many there are of them at most."""
        return sum(len(rule.stirred) for rule in self._rules.values())

    def breaching(self) -> set[str]:
        """Return the campaigns with a breach that goes on."""
        return set[str]().union(*self.breaching_by_rule())

    def breaching_by_rule(self) -> list[set[str]]:
        """Return them for each rule."""
        return [rule.breaching() for rule in self._rules.values()]

    # Written down and read back

    def write(self) -> None:
        """Let the next `take_changes` hand out all states: records will not be replayed."""
        self._is_due = True

    def not_replayed(self, until: int) -> None:
        """Let states be written if they are needed, as counts will not be replayed.

        Args:
            until: end (s) of the newest window of which that is so.
        """
        written = self._written
        if until and written is not None:
            has_learned = until <= written.closed_until
            is_old = self._arrived - written.arrived >= WRITTEN_AFTER_S
            self._is_due |= is_old or not has_learned

    def take_changes(self) -> Iterator[tuple[FoldsKey | PoolsKey | FoldGroupKey, Any]]:
        """Hand out what has to be written with the offset of the last record; null for no more."""
        gone, self._gone = self._gone, []
        yield from ((key, None) for key in gone)
        if self._is_due:
            self._is_due = False
            for rule in self._rules.values():
                yield from rule.scopes.take_changes()
            if self._written is not None:
                # Also if no record came: windows that closed meanwhile are learned.
                self._written = self._record()
                self._has_flipped = True
        if self._has_flipped:
            self._has_flipped = False
            yield FoldsKey(), self._written

    def _record(self) -> FoldsRecord:
        clock = self._clock or self._new_clock()
        return FoldsRecord(
            self._next,
            False,
            self._closed_until,
            clock.event_time,
            dict(clock.times),
            dict(clock.observed_at),
            self._arrived,
        )

    def restore(self, key: FoldsKey | PoolsKey | FoldGroupKey, value: Any) -> None:
        """Take a record as it was written down.

        Raises:
            FormatError: if a detector cannot read its states.
        """
        if isinstance(key, FoldsKey) and self._rules:
            self._restore(value)
        elif isinstance(key, FoldsKey) or key.rule not in self._rules:
            self._gone.append(key)
        elif isinstance(key, PoolsKey):
            self._rules[key.rule].scopes.restore_pools(value)
        else:
            self._rules[key.rule].restore(key, value)

    def _restore(self, written: FoldsRecord) -> None:
        self._written = written
        self._next = written.through
        self._closed_until = written.closed_until
        self._arrived = written.arrived
        if written.heard_at:
            self._clock = self._new_clock()
            self._clock.restore(written.newest, written.event_time)
            self._clock.observed_at.update(written.heard_at)

    # Replayed: `streams.domain.restorer` calls these, in this order

    @property
    def replay_from_offset(self) -> int | None:
        """Offset from which records have to be folded again; null if none have."""
        written = self._written
        return written.through if written is not None and written.is_ahead else None

    def table_closed(self, start: int, table: WindowTable) -> None:
        """Learn a window that the table had closed before the record that comes next."""
        if self._written is not None:
            self._close(start, table)

    def replay(self, record: AddedRecord, table: WindowTable) -> None:
        """Fold a record again, unless it is in the states that were written."""
        if self._written is not None and record.offset >= self._written.through:
            self._fold(record, table, table.starts)

    def restored(self) -> None:
        """Go on after all records of the changelog topic were restored."""
        for rule in self._rules.values():
            rule.restored()

    def finish_replay(self) -> None:
        """Go on after everything was replayed: what was found meanwhile was decided before."""
        self._has_flipped = False
        for rule in self._rules.values():
            rule.finish_replay()
