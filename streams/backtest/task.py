"""One task as a worker has it, but for Kafka, in the time of its arrivals.

A worker's task commits every `flush.interval`: it adds the partial counts that have come, evaluates
the rules, and lets time close windows. Here a commit is at each multiple of that interval, since
the epoch, and has what has arrived since the one before it. Commits that would change nothing are
left out, which `CampaignPartition.unchanged_until` and `streams.domain.deferrable` make sure of.

The task has all campaigns, and as many places for them as all tasks of a worker have together.
Source topics that are not keyed by campaign cost a live event one more interval on its way.
"""

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple

from streams.domain.deferrable import Deferrable
from streams.domain.detectors.folding import Integers
from streams.domain.fold_records import HitSeries
from streams.domain.folds import DeferredHits
from streams.domain.partial_counts import Dimensions, PartialCounts, WindowCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.silences.book import SilenceBook
from streams.domain.transitions import AlertData, Transition

COMPACT_EVERY_MS = 300_000
"""How often closed windows are packed, as writing them to the changelog topic does."""
ROUNDING_S = 0.001
"""Seconds are doubles: a commit that is left out is this much earlier than anything is due."""
_ALERTS = uuid.UUID("5e9d1a0c-7d1c-5b39-9c77-8f8b0b1c6a5e")
"""The namespace of the alerts' ids."""


class Decided(NamedTuple):
    """A transition, and the time (ms, UTC) of the commit that decided it."""

    at: int
    transition: Transition


class BacktestTask:
    """A task that is told the time.

    Args:
        settings: what is counted and which rules are evaluated.
        interval: between two commits (s).
        inputs: the source partitions that counts come from.
        start: the time (ms, UTC) of the first arrival.

    Attributes:
        settings: the same, without what only others are told of.
        next_due: time (ms, UTC) of the next commit that may change anything without new counts;
            infinity for none.
        deferrable: which counts may be added with a later commit.
        committed_at: time (ms, UTC) of the last commit.
        interval_ms: between two commits (ms).
    """

    def __init__(
        self, settings: PartitionSettings, interval: float, inputs: Iterable[int], start: int
    ) -> None:
        ids = itertools.count(1)
        self.settings = replace(
            settings,
            receivers=(),
            base_url=None,
            emits_windows=False,
            silences=SilenceBook(),
            new_id=lambda: str(next(ids)),
        )
        self.interval_ms = max(1, round(interval * 1000))
        self.committed_at = self.commit_of(start) - self.interval_ms
        self._partition = CampaignPartition(0, self.settings, inputs, self.committed_at / 1000)
        self._offset = 0
        self._compacted_at = self.committed_at
        self._generation = -1
        self._open: set[int] = set()
        self._closed_cells = 0
        self.deferrable: Deferrable = self._partition.deferrable
        self.next_due: float = inf
        self._look_ahead()

    def commit_of(self, at: int) -> int:
        """Return the time (ms) of the commit that has what arrives at `at` (ms)."""
        return -(-at // self.interval_ms) * self.interval_ms

    def commits_of(self, times: Integers) -> Integers:
        """Return the same of many times."""
        return -(-times // self.interval_ms) * self.interval_ms

    def pass_time(self, until: int) -> Iterator[Decided]:
        """Let time go on, without arrivals, through all commits before `until` (ms)."""
        while self.next_due < until:
            yield from self.commit(int(self.next_due))

    def add(self, at: int, counts: PartialCounts) -> None:
        """Add partial counts before a commit; time is `at` (ms), no earlier than the last one."""
        self._partition.apply(counts, self._offset, at / 1000)
        self._offset += 1

    def add_kept(self, at: int, counts: Iterable[WindowCounts]) -> None:
        """Add counts that `deferrable` allowed and allows, before a commit at `at` (ms)."""
        self._partition.apply_kept(counts, self._offset, at / 1000)

    def add_hits(self, at: int, hits: DeferredHits) -> bool:
        """Fold hits of deferrable counts of the commit at `at` (ms).

        Returns:
            Whether these have to be committed now.
        """
        return self._partition.add_hits(hits, self._offset, at / 1000)

    def add_series(self, hits: Sequence[HitSeries]) -> bool:
        """Fold hits of deferrable counts of commits in a row.

        Returns:
            Whether that was done: it is not if any of these have to be committed at once.
        """
        return self._partition.add_series(hits)

    def attempts(self, campaign_ids: Sequence[str]) -> list[int]:
        """Return how many attempts campaigns have in open windows."""
        return self._partition.attempts(campaign_ids)

    @property
    def deferrable_hits(self) -> list[Callable[[Dimensions], bool]] | None:
        """What tells, for each rule, whether a count key is one of hits; null: none may be."""
        return self._partition.deferrable_hits

    def commit_few(self, at: int, counts: PartialCounts) -> Iterator[Decided]:
        """Commit counts with which no window opens, closes or expires, and none is late.

        If they do not change what any evaluation says, there is nothing else to do.

        Args:
            at: the time of the commit (ms), later than the last one.
            counts: what has arrived since then; `deferrable` allows their times.
        """
        self.add(at, counts)
        if at < self.next_due and not self._partition.to_evaluate:
            self.committed_at = at
            return iter(())
        return self.commit(at)

    def commit(self, at: int, counts: PartialCounts | None = None) -> Iterator[Decided]:
        """Commit: add partial counts, evaluate the rules, close windows.

        Args:
            at: the time of the commit (ms), later than the last one.
            counts: what has arrived since then.
        """
        partition, now = self._partition, at / 1000
        if counts is not None:
            self.add(at, counts)
        decided = partition.advance(now, self._offset)
        if not partition.is_evaluated:
            decided += partition.evaluate(now)
        for failure in partition.take_failures():
            raise failure.error
        partition.take_suppressed()
        self._follow_windows()
        if at - self._compacted_at >= COMPACT_EVERY_MS:
            self._compacted_at = at
            partition.take_changes(now)
        self.committed_at = at
        self._look_ahead()
        return (Decided(at, each) for each in _in_order(decided))

    def _follow_windows(self) -> None:
        table = self._partition.table
        if table.generation != self._generation:
            self._generation = table.generation
            is_open = set(table.open_starts())
            closed = self._open - is_open
            self._closed_cells += sum(map(table.campaigns_with_counts, closed))
            self._open = is_open

    @property
    def campaign_windows(self) -> int:
        """How many windows of a campaign have counts, but for late ones."""
        return self._closed_cells + sum(
            map(self._partition.table.campaigns_with_counts, self._open)
        )

    def _look_ahead(self) -> None:
        next_one = self.committed_at + self.interval_ms
        due = self._partition.unchanged_until(self.committed_at / 1000) - ROUNDING_S
        self.next_due = inf if due == inf else max(next_one, self.commit_of(int(due * 1000)))
        self.deferrable = self._partition.deferrable


def _in_order(decided: list[Transition]) -> list[Transition]:
    """Return the transitions of one commit in an order, and with ids, that each run repeats.

    A worker evaluates the campaigns of a commit in any order. Those of one alert stay in theirs.
    """
    for transition in decided:
        transition.data.alert_id = _alert_id(transition.data)
    return sorted(decided, key=_place) if len(decided) > 1 else decided


def _place(transition: Transition) -> tuple[str, ...]:
    data = transition.data
    return data.campaign_id, data.rule, data.treatment_id or "", data.channel_type or ""


def _alert_id(data: AlertData) -> str:
    """Return an id that follows from what the alert is about, and since when."""
    since = data.first_starts_at or data.starts_at
    about = (data.rule, data.campaign_id, data.treatment_id, data.channel_type, since)
    return str(uuid.uuid5(_ALERTS, repr(about)))
