"""Which counts may be applied later, together with others, and nothing is decided otherwise.

A worker applies counts and then evaluates, many times a second. Whoever replays a day of them may
leave out an evaluation that would change nothing, and keep counts of campaigns to which nothing
happens until later. Counts can be kept if, when they arrive,

- they are in windows that are open already: no window opens, and none of the counts is late;
- they are in no window that is older than those of an earlier evaluation: it would look back
  further;
- they leave event time before the next time at which a window closes, expires or is newer than all
  others: what is open stays so, and what detectors look back on;
- none of the campaign's counts of that commit is a hit, and all detectors go by hits alone: the
  campaign is not triggered, and those that later counts trigger are the same;
- the campaign has no breach, and no live alert of which they may change more than the figures, and
  does not wait for further attempts.

They are applied, as a record of their own, before others of the same campaign are, and before a
window opens, closes or expires. So no evaluation and no fold is shown anything else. Counts of a
window that is not open, but older than the newest open one, may be late because of what was kept:
so that is committed first, at its own time. What the clock alone does is not concerned
(`CampaignPartition.unchanged_until`), as long as inputs are observed at the time of the counts.

If all rules fold counts of whole campaigns, counts with hits can be kept as well
(`CampaignPartition.deferrable_hits`), where no name is counted under another one for want of a
place. The hits are folded at once, each commit with what the fold would find in the windows:
how many attempts the campaign has in them, kept ones included, and its counts of one window. While
a breach goes on, all attempts are folded. Where one begins or ends, the counts are applied and the
rules are evaluated.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Deferrable(NamedTuple):
    """Counts that are no hits are deferrable if all of these hold, until others are applied.

    Attributes:
        starts: starts (s) of the windows that they may be in.
        before: their event times (ms) are less than this.
        watched: they are of none of these campaigns,
        breaching: nor, for each rule, of those with a breach, unless all their attempts are folded
            at once.
    """

    starts: Collection[int]
    before: int
    watched: tuple[Collection[str], ...]
    breaching: Sequence[set[str]] = ()

    def all_watched(self, *, folds_hits: bool = False) -> set[str]:
        """Return the campaigns that they must not be of, as they are now.

        Args:
            folds_hits: whether attempts of campaigns with a breach are folded at once.
        """
        return set[str]().union(*self.watched, *(() if folds_hits else self.breaching))

    def is_like(self, other: "Deferrable") -> bool:
        """Tell whether the same counts are deferrable, but for the watched campaigns."""
        return self._replace(watched=()) == other._replace(watched=())


NOTHING = Deferrable((), 0, ())
"""No counts are."""
