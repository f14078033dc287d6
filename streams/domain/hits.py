"""How many hits campaigns have in recent windows: whether evaluating them can lead to anything.

A breach of most detectors needs a number of hits. Most campaigns have fewer, and to know that costs
an addition for each count of hits, while an evaluation reads windows.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class RecentHits:
    """Hits by campaign, in all windows from some start on.

    What is counted here is never less than what the windows say.
    """

    def __init__(self) -> None:
        self._by_window: dict[int, dict[str, int]] = {}
        self._totals: dict[str, int] = {}

    def add(self, start: int, hits: Iterable[tuple[str, int]]) -> None:
        """Add hits by campaign to the window that begins at `start` (s)."""
        window = self._by_window.setdefault(start, {})
        totals = self._totals
        for name, count in hits:
            window[name] = window.get(name, 0) + count
            totals[name] = totals.get(name, 0) + count

    def drop_before(self, first: int) -> None:
        """Forget the windows that begin before `first` (s)."""
        for start in [start for start in self._by_window if start < first]:
            for name, count in self._by_window.pop(start).items():
                left = self._totals[name] - count
                if left:
                    self._totals[name] = left
                else:
                    del self._totals[name]

    def of(self, campaign_id: str) -> int:
        """Return the number of hits of a campaign in all windows."""
        return self._totals.get(campaign_id, 0)

    def __len__(self) -> int:
        """Return the number of campaigns with hits."""
        return len(self._totals)


class NewCounts(NamedTuple):
    """What was added to one window, as rules with the same hits see it.

    Attributes:
        campaigns: all that have new counts, of any kind.
        hits: the new hits by campaign; a campaign may be there several times.
        recent: hits in all windows that an evaluation may look at, with those that are new.
        events: returns how many events of all kinds a campaign has in the window, with the new
            ones; 0 if the window is closed.
    """

    campaigns: Sequence[str]
    hits: Sequence[tuple[str, int]]
    recent: RecentHits
    events: Callable[[str], int]

    def with_hits(self, at_least: int) -> set[str]:
        """Return the campaigns with new hits and `at_least` hits or more in recent windows."""
        of = self.recent.of
        return {name for name, _ in self.hits if of(name) >= at_least}

    def with_recent_hits(self, at_least: int) -> set[str]:
        """Return the campaigns with new counts and `at_least` hits or more in recent windows."""
        of = self.recent.of
        return {name for name in self.campaigns if of(name) >= at_least}

    def with_events(self, at_least: int) -> set[str]:
        """Return the campaigns with any new counts and `at_least` events or more in the window."""
        return {name for name in self.campaigns if self.events(name) >= at_least}
