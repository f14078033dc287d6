"""Bounds on the number of count keys and campaigns that are kept apart.

Campaign ids, statuses, treatments, delivery types and channels come from outside, so anybody can
make up any number of them. Honest traffic has few. Past a bound, values are folded into the value
`OTHER`: every sum stays exact, and a further value costs no more than a look-up. An event that has
this very value is counted there too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from streams.domain.counts import OTHER
from streams.domain.partial_counts import Dimensions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many count keys and campaigns are kept apart.

    Args:
        campaigns: distinct campaigns in all retained windows of one partition.
        names: count keys (combinations of status, treatment, delivery type and channel) of one
            campaign in one window.
        values: distinct values of one of these dimensions, of one campaign in one window.
        statuses: the statuses that are never folded: those that the event format, a group or a rule
            names.
    """

    campaigns: int = 100_000
    names: int = 1_000
    values: int = 100
    statuses: frozenset[str] = frozenset()

    def keeps(self, dimensions: Dimensions) -> bool:
        """Tell whether the outcome is never folded, so that the sum of its group stays exact.

        Engagement is not folded, as event formats have few kinds of it.
        """
        return dimensions.engagement or dimensions.outcome in self.statuses

    def folded(self, dimensions: Dimensions) -> Dimensions:
        """Return the key that counts go into when a campaign has no room for another key."""
        outcome = dimensions.outcome if self.keeps(dimensions) else OTHER
        return Dimensions(outcome, OTHER, OTHER, OTHER, dimensions.engagement)


DEFAULT_LIMITS = Limits()


class Values:
    """The distinct values that count keys have in each dimension whose values are bounded.

    Args:
        limits: the bounds.
        keys: their values are there from the beginning.
    """

    __slots__ = ("_channels", "_deliveries", "_limits", "_statuses", "_treatments")

    def __init__(self, limits: Limits, keys: Iterable[Dimensions] = ()) -> None:
        self._limits = limits
        self._statuses: set[str] = set()
        self._treatments: set[str] = set()
        self._deliveries: set[str] = set()
        self._channels: set[str] = set()
        for key in keys:
            self.add(key)

    def add(self, dimensions: Dimensions) -> None:
        """Add the values of a count key."""
        outcome, treatment, delivery, channel, _ = dimensions
        if outcome != OTHER and not self._limits.keeps(dimensions):
            self._statuses.add(outcome)
        if treatment is not None and treatment != OTHER:
            self._treatments.add(treatment)
        if delivery is not None and delivery != OTHER:
            self._deliveries.add(delivery)
        if channel is not None and channel != OTHER:
            self._channels.add(channel)

    def folded(self, dimensions: Dimensions) -> Dimensions:
        """Return a count key with `OTHER` for each value that is one too many."""
        outcome, treatment, delivery, channel, engagement = dimensions
        if not self._limits.keeps(dimensions):
            outcome = self._fold(outcome, self._statuses)
        return Dimensions(
            outcome,
            self._fold(treatment, self._treatments),
            self._fold(delivery, self._deliveries),
            self._fold(channel, self._channels),
            engagement,
        )

    def _fold(self, value: T, seen: set[str]) -> T | str:
        if value is None or value in seen or len(seen) < self._limits.values:
            return value
        return OTHER


class BoundedCounts:
    """The counts of one campaign in one window, within bounds.

    Args:
        limits: the bounds.

    Attributes:
        counts: by count key.
    """

    __slots__ = ("_limits", "_values", "counts")

    def __init__(self, limits: Limits) -> None:
        self.counts: dict[Dimensions, int] = {}
        self._limits = limits
        self._values: Values | None = None

    def put(self, dimensions: Dimensions, count: int) -> None:
        """Add to a count key as it is: it was within the bounds when it was counted."""
        self.counts[dimensions] = self.counts.get(dimensions, 0) + count
        if self._values is not None:
            self._values.add(dimensions)

    def add(self, dimensions: Dimensions, count: int, most: int) -> bool:
        """Add to a count key, or to the one that it is folded into.

        Args:
            dimensions: the count key.
            count: the number of events.
            most: the number of count keys that are kept apart. Past it, there is one further key
                for each status that is never folded.

        Returns:
            Whether the key was folded.
        """
        counts = self.counts
        if dimensions in counts:
            counts[dimensions] += count
            return False
        kept = dimensions
        # There are never more values than keys.
        if len(counts) >= self._limits.values:
            if self._values is None:
                self._values = Values(self._limits, counts)
            kept = self._values.folded(dimensions)
        if kept not in counts and len(counts) >= most:
            kept = self._limits.folded(dimensions)
        self.put(kept, count)
        return kept != dimensions
