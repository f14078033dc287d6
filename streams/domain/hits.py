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


class Countdown:
    """How many hits campaigns lack until an evaluation can find a breach.

    Hits are news from the one on that may make a breach.
    """

    def __init__(self) -> None:
        self._left: dict[str, tuple[int, int]] = {}

    def begin(self, campaign_id: str, left: int, oldest: int) -> None:
        """Begin to count, in windows that begin at `oldest` (s) or later.

        With `left` up to 1, or in an older window, any hit is news.
        """
        if left > 1:
            self._left[campaign_id] = left, oldest
        else:
            self._left.pop(campaign_id, None)

    def news(self, start: int, hits: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        """Return those of new hits in a window (start, s) that are news."""
        return [each for each in hits if self._is_news(start, *each)] if self._left else hits

    def _is_news(self, start: int, campaign_id: str, count: int) -> bool:
        known = self._left.get(campaign_id)
        if known is None:
            return True
        left, oldest = known[0] - count, known[1]
        if left > 0 and start >= oldest:
            self._left[campaign_id] = left, oldest
            return False
        del self._left[campaign_id]
        return True

    def drop_all_but(self, campaigns: RecentHits) -> None:
        """Forget the campaigns without recent hits."""
        of = campaigns.of
        self._left = {name: known for name, known in self._left.items() if of(name)}

    def __len__(self) -> int:
        """Return the number of campaigns that lack hits."""
        return len(self._left)


class NewCounts(NamedTuple):
    """What was added to one window, as rules with the same hits see it.

    Attributes:
        campaigns: all that have new counts, of any kind.
        hits: the new hits by campaign, but for those that are too few to lead to a breach, as an
            evaluation said; a campaign may be there several times.
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
