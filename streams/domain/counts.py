"""The counts of one campaign and window, their groups and rates."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

import msgspec

from streams.domain.partial_counts import Counts, Dimensions

Group: TypeAlias = Literal["success", "failure", "throttled", "suppressed", "unrecognised"]
Dimension: TypeAlias = Literal["treatment_id", "delivery_type", "channel_type"]

LONGEST_STATUS = 64
"""Characters of a status that are compared with known statuses."""

OTHER = "__other__"
"""The value of a dimension, or the campaign, that stands for all that are not kept apart."""


def largest_counts(counts: Mapping[str, int], names: int, size: int) -> dict[str, int]:
    """Return the largest counts, in the order of their names, and the sum of the others as `OTHER`.

    Args:
        counts: by name.
        names: the most names to list, besides `OTHER`.
        size: the most bytes of UTF-8 that the listed names may have together.
    """
    listed: dict[str, int] = {}
    for name in sorted(counts, key=lambda each: (-counts[each], each)):
        length = len(name.encode())
        if name != OTHER and len(listed) < names and length <= size:
            listed[name] = counts[name]
            size -= length
    rest = sum(counts.values()) - sum(listed.values())
    if len(listed) < len(counts):
        listed[OTHER] = rest
    return dict(sorted(listed.items()))


@dataclass(frozen=True, slots=True)
class StatusGroups:
    """The group of each status; a status that is in none is `unrecognised`."""

    group_of: Mapping[str, str]

    @classmethod
    def of(cls, groups: Mapping[str, Iterable[str]]) -> "StatusGroups":
        """Build from a mapping of group to statuses."""
        return cls({status: group for group, statuses in groups.items() for status in statuses})

    def statuses_of(self, group: str) -> frozenset[str]:
        """Return the statuses of a group."""
        return frozenset(status for status, of in self.group_of.items() if of == group)

    def totals(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Add up counts by status to counts by group; groups without any are left out."""
        totals: dict[str, int] = {}
        group_of = self.group_of
        for status, count in counts.items():
            group = group_of.get(status, "unrecognised")
            totals[group] = totals.get(group, 0) + count
        return totals

    def nearest(self, status: str) -> str | None:
        """Return the known status that is nearest in spelling; null if none is near."""
        spelled = re.sub(r"[\s.-]+", "_", status[:LONGEST_STATUS].strip()).upper()
        near = get_close_matches(spelled, sorted(self.group_of), n=1)
        return next(iter(near), None)

    def counts_attempts(self, key: Dimensions) -> bool:
        """Tell whether a count key is one of attempts to send."""
        return not key.engagement and self.is_attempt(key.outcome)

    def is_attempt(self, status: str) -> bool:
        """Tell whether a status stands for an attempt to send: it is not suppressed."""
        return self.group_of.get(status) != "suppressed"


class Cell(msgspec.Struct, array_like=True, gc=False):
    """All counts of one campaign in one window."""

    app_id: str | None
    sends: Counts
    engagement: Counts
    late_events: int = 0

    def add(self, app_id: str | None, sends: Counts, engagement: Counts) -> int:
        """Add counts; return the number of events counted."""
        if app_id is not None:
            self.app_id = app_id
        return _add(self.sends, sends) + _add(self.engagement, engagement)

    def outcomes(self) -> dict[str, int]:
        """Return its sends by status."""
        sends: dict[str, int] = {}
        _add_outcomes(sends, self.sends)
        return sends

    @property
    def keys(self) -> int:
        """How many count keys there are."""
        return len(self.sends) + len(self.engagement)

    def total(self, is_counted: Callable[[Dimensions], bool]) -> int:
        """Return the number of events of those count keys that are counted."""
        counts = (*self.sends.items(), *self.engagement.items())
        return sum([count for key, count in counts if is_counted(key)])


def _add(target: Counts, counts: Counts) -> int:
    total = 0
    for dimensions, count in counts.items():
        target[dimensions] = target.get(dimensions, 0) + count
        total += count
    return total


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Sums over any number of cells.

    Attributes:
        counts: sends by status.
        attempts: sends that are not suppressed.
        totals: sends by group; groups without any are left out.
        engagement: events by kind.
    """

    counts: dict[str, int]
    attempts: int
    totals: dict[str, int]
    engagement: dict[str, int]

    def rate(self, group: Group) -> float | None:
        """Return the share of attempts that are in a group; null where there are none."""
        return self.totals.get(group, 0) / self.attempts if self.attempts else None

    @property
    def unrecognised(self) -> int:
        """Attempts whose status is in no group."""
        return self.totals.get("unrecognised", 0)


def summarise(cells: Iterable[Cell], groups: StatusGroups) -> Summary:
    """Add up cells."""
    sends: dict[str, int] = {}
    engagement: dict[str, int] = {}
    for cell in cells:
        _add_outcomes(sends, cell.sends)
        if cell.engagement:
            _add_outcomes(engagement, cell.engagement)
    return summary_of(sends, engagement, groups)


def _add_outcomes(target: dict[str, int], counts: Counts) -> None:
    for dimensions, count in counts.items():
        outcome = dimensions.outcome
        target[outcome] = target.get(outcome, 0) + count


def summarise_by(
    cells: Iterable[Cell], by: tuple[Dimension, ...], groups: StatusGroups
) -> dict[tuple[str | None, ...], Summary]:
    """Add up cells, separately for each combination of values of the dimensions `by`."""
    sends: dict[tuple[str | None, ...], Counter[str]] = {}
    engagement: dict[tuple[str | None, ...], Counter[str]] = {}
    for cell in cells:
        for target, counts in ((sends, cell.sends), (engagement, cell.engagement)):
            for dimensions, count in counts.items():
                value = tuple(getattr(dimensions, name) for name in by)
                target.setdefault(value, Counter())[dimensions.outcome] += count
    values = sorted(sends.keys() | engagement.keys(), key=nulls_first)
    return {
        value: summary_of(sends.get(value, Counter()), engagement.get(value, Counter()), groups)
        for value in values
    }


def nulls_first(values: Iterable[str | None]) -> list[tuple[bool, str]]:
    """Return the key by which groups are put in order: by their values of some dimensions."""
    return [(value is not None, value or "") for value in values]


def summary_of(
    sends: Mapping[str, int], engagement: Mapping[str, int], groups: StatusGroups
) -> Summary:
    """Work out attempts and rates from counts by status; `engagement` by event type."""
    totals = groups.totals(sends)
    attempts = sum(sends.values()) - totals.get("suppressed", 0)
    return Summary(_in_order(sends), attempts, totals, _in_order(engagement))


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items())) if len(counts) > 1 else dict(counts)
