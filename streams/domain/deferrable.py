"""Which counts may be applied later, together with others, and nothing is decided otherwise.

A worker applies counts and then evaluates, many times a second. Whoever replays a day of them may
leave out an evaluation that would change nothing. That is so, at one commit, if all of its counts

- are in windows that are open already: no window opens, and none of the counts is late;
- are in no window that is older than those of an earlier evaluation: it would look back further;
- leave event time before the next time at which a window closes, expires or is newer than all
  others: what is open stays so, and what detectors look back on;
- are no hits, and all detectors go by hits alone: no campaign is triggered, and those that later
  counts trigger are the same;
- are of campaigns without a live alert that do not wait for further attempts.

So no campaign is evaluated. What the clock alone does is not concerned
(`CampaignPartition.unchanged_until`), as long as inputs are observed at the time of the counts.
"""

from collections.abc import Collection, Container
from typing import NamedTuple


class Deferrable(NamedTuple):
    """Counts are deferrable if all of these hold, until the next time that any are applied.

    Attributes:
        starts: starts (s) of the windows that they may be in.
        before: their event times (ms) are less than this.
        watched: they are of none of these campaigns: those with a live alert, and those that wait.
        hits: their statuses are in none of these.
    """

    starts: Collection[int]
    before: int
    watched: tuple[Collection[str], Collection[str]]
    hits: tuple[Container[str], ...]


NOTHING = Deferrable((), 0, ((), ()), ())
"""No counts are."""
