"""What a rule made of a campaign up to a moment of the past: told again from retained windows.

The rule is evaluated anew, by the code that a live partition has, on a partition of its own that
holds this campaign alone. Windows keep no order of what was in them: their counts are spread evenly
over the window, in short steps shortly before the moment and in long ones before that.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from streams.domain.causes.exchange import GroupView
from streams.domain.counts import Cell
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Counts,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.silences.book import SilenceBook
from streams.domain.transitions import Transition
from streams.domain.windows import MS

MOST_WINDOWS = 300
"""Windows up to the moment that are told again: what was learned before weighs little."""
FINE_WINDOWS = 10
"""The newest of them have short steps,"""
FINE_STEPS, COARSE_STEPS = 30, 1
"""so many in each; the others have these."""
_INPUT = 0


class _Step(NamedTuple):
    """What comes at a time (ms): counts of a window, or none, as other campaigns go on."""

    at: int
    counts: list[WindowCounts]


class Retelling:
    """A campaign told again.

    Args:
        settings: of the partition that has it.
        rule: the one to evaluate.
        campaign_id: the campaign.
        cells: its counts in each retained window, with the window's start (s), oldest first, up to
            the moment's window; null where it has none, as event time was there all the same.
        at: the moment (ms).
        known_until: the newest event time (ms): no counts come later.

    Attributes:
        partition: as it was at the moment, once all steps are taken.
        transitions: that the rule's alerts made until then.
        windows: how many windows are told again.
        grain: between two steps (ms) in the newest windows.
    """

    def __init__(  # noqa: PLR0913 - what is told again
        self,
        settings: PartitionSettings,
        rule: Rule,
        campaign_id: str,
        cells: Sequence[tuple[int, Cell | None]],
        *,
        at: int,
        known_until: int,
    ) -> None:
        ids = itertools.count(1)
        self._campaign_id = campaign_id
        self._rule = rule
        self._groups = settings.groups
        self._cells = cells[-MOST_WINDOWS:]
        self._at = at
        self._known_until = known_until
        self._size = settings.windows.size
        self.windows = len(self._cells)
        self.grain = MS * self._size // FINE_STEPS
        begin = self._cells[0][0] if self._cells else at // MS
        self.partition = CampaignPartition(
            0,
            replace(
                settings,
                rules=(rule,),
                receivers=(),
                base_url=None,
                emits_windows=False,
                silences=SilenceBook(),
                new_id=lambda: str(next(ids)),
                grouping={},
                group_labels={},
                group_view=GroupView(),
                rate_limits={},
                lanes=1,
                notice_before=0.0,
                tell=None,
            ),
            [_INPUT],
            float(begin),
        )
        self.transitions: list[Transition] = []

    def steps(self) -> Iterator[None]:
        """Take one step after another; whoever iterates may do something else in between."""
        for offset, step in enumerate(self._all_steps()):
            partial = PartialCounts(PARTIAL_COUNTS_VERSION, {_INPUT: step.at}, step.at, step.counts)
            self.partition.apply(partial, offset, step.at / MS)
            self._advance(step.at, offset + 1)
            yield
        self._advance(self._at, self.windows * FINE_STEPS)
        for failure in self.partition.take_failures():
            raise failure.error

    def _advance(self, at: int, offset: int) -> None:
        partition, now = self.partition, at / MS
        self.transitions += partition.advance(now, offset)
        if not partition.is_evaluated:
            self.transitions += partition.evaluate(now)

    def _all_steps(self) -> Iterator[_Step]:
        fine_from = self.windows - FINE_WINDOWS
        for number, (start, cell) in enumerate(self._cells):
            steps = FINE_STEPS if number >= fine_from else COARSE_STEPS
            sends = self._sends(cell) if cell is not None else {}
            app_id = cell.app_id if cell is not None else None
            lasts = max(steps, min(MS * self._size, self._known_until - MS * start))
            for step in range(steps):
                at = MS * start + (2 * step + 1) * lasts // (2 * steps)
                if at > self._at:
                    return
                columns = [
                    Column(dimensions, [0], [count])
                    for dimensions, whole in sends.items()
                    if (count := _share(whole, step + 1, steps) - _share(whole, step, steps))
                ]
                if columns:
                    counts = WindowCounts(start, [self._campaign_id], [app_id], [0], columns)
                    yield _Step(at, [counts])
                elif step == steps - 1:
                    yield _Step(at, [])

    def _sends(self, cell: Cell) -> Counts:
        """Return a window's sends as the rule sees them: hits and others, of each scope.

        A campaign may have a thousand kinds of sends, and no rule tells more of them apart.
        """
        sends: Counts = {}
        for scope, seen in self._rule.observe(self._campaign_id, cell, self._groups).items():
            for status, count in seen.counts.items():
                is_hit = self._rule.is_hit(status, self._groups)
                name = next(s for s in seen.counts if self._rule.is_hit(s, self._groups) == is_hit)
                key = Dimensions(name, scope.treatment_id, None, scope.channel_type)
                sends[key] = sends.get(key, 0) + count
        return sends


def _share(count: int, step: int, steps: int) -> int:
    """Return how many of a count have come before a step; a single one comes in the middle."""
    return (2 * step * count + steps) // (2 * steps)
