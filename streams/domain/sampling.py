"""Takes sample events at a source partition: a few of those that a rule may call hits.

Counting costs the same with it. Only the list in which the campaigns of such events are gathered is
another one, and only until a batch has brought a few; and there is an allowance, which grows slowly
with the events that are counted and with time. So a flood of failing sends costs no more.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from operator import length_hint
from typing import NamedTuple, TypeAlias

from streams.domain.campaigns import Campaign
from streams.domain.partial_counts import Dimensions, Sample, SampleFields

SampleOf: TypeAlias = Callable[[bytes], SampleFields]
"""Reads the fields of an event that may be shown, from its bytes."""

MOST_AT_ONCE = 16
"""Samples that the allowance can grow to."""
EVENTS_PER_SAMPLE = 10_000
SECONDS_PER_SAMPLE = 1.0
"""The allowance is one more sample after so many events, and after so many seconds; time gives no
more than one a batch, as it passes quickly while a task is catching up."""
PAUSE_S = 2.0
"""No other sample of the same campaign and status is taken for so long (s)."""
OFFERED_AT_ONCE = 16
"""Events of a batch that are looked at."""
MOST_REMEMBERED = 4_096
"""Campaigns and statuses of which it is known when the last sample was taken."""
LONGEST_NAMES = 512
"""Characters of the names of a campaign, and of what its event is counted by, together: events with
longer ones are no samples."""


class Sampler:
    """Samples of one source partition.

    Args:
        statuses: what may be a hit of a rule.
        sample_of: reads an event.
    """

    def __init__(self, statuses: Container[str], sample_of: SampleOf) -> None:
        self._statuses = statuses
        self._sample_of = sample_of
        self._allowance = float(MOST_AT_ONCE)
        self._now = 0.0
        self._taken: dict[tuple[str, str], float] = {}
        """By campaign and status, when (s) the last sample was taken."""
        self._offers = 0
        self._offered: dict[tuple[Campaign, str], tuple[int, CountedAs]] = {}
        """By campaign and status, the position in the batch of an event to take."""

    def begin(self, events: int, now: float) -> None:
        """Begin a batch of so many events, at the broker's time (s, UTC)."""
        passed = min(1.0, max(0.0, now - self._now) / SECONDS_PER_SAMPLE)
        self._now = now
        grown = self._allowance + events / EVENTS_PER_SAMPLE + passed
        self._allowance = min(MOST_AT_ONCE, grown)
        self._offers = OFFERED_AT_ONCE if self._allowance >= 1 else 0
        self._offered.clear()

    def wants(self, status: str) -> bool:
        """Tell whether an event with this status may be taken."""
        return self._offers > 0 and status in self._statuses

    def offer(self, campaign: Campaign, counted_as: "CountedAs", position: int) -> bool:
        """Offer the event at a position in the batch; return whether any others are wanted."""
        self._offers -= 1
        key = campaign, counted_as.dimensions.outcome
        if key not in self._offered:
            taken = self._taken.get((campaign.name, key[1]))
            if taken is None or not 0 <= self._now - taken < PAUSE_S:
                self._offered[key] = position, counted_as
        return self._offers > 0

    def take(self, values: Sequence[bytes | None]) -> Iterator[tuple[Campaign, Sample]]:
        """Read what was offered of a batch, as far as the allowance goes.

        Campaigns that have had no sample for the longest time come first, so those that always have
        a few hits leave room for one that begins to have any.
        """
        order = sorted(self._offered.items(), key=self._taken_at)
        for (campaign, status), (position, counted_as) in order:
            if self._allowance < 1:
                break
            self._allowance -= 1
            if len(self._taken) >= MOST_REMEMBERED:
                self._taken.clear()
            self._taken[campaign.name, status] = self._now
            sample = self._sample(campaign, values[position] or b"", counted_as)
            if sample is not None:
                yield campaign, sample

    def _taken_at(self, offered: tuple[tuple[Campaign, str], object]) -> float:
        campaign, status = offered[0]
        return self._taken.get((campaign.name, status), 0.0)

    def _sample(self, campaign: Campaign, value: bytes, counted_as: "CountedAs") -> Sample | None:
        start, dimensions = counted_as
        names = campaign.name, *dimensions[:4]
        if sum(len(name) for name in names if name is not None) > LONGEST_NAMES:
            return None
        try:
            fields = self._sample_of(value)
        except Exception:  # noqa: BLE001 - it is counted, whatever it looks like to a reader
            return None
        return Sample(campaign.name, start, dimensions, fields) if fields else None


class CountedAs(NamedTuple):
    """Start of the window (s), and count key, that an event is counted by."""

    start: int
    dimensions: Dimensions


class Offering(list[Campaign]):
    """Campaigns of events that are counted alike, each of which is offered to a sampler.

    Args:
        sampler: is offered the events.
        counted_as: the same of all.
        position: returns the position in the batch of the event that is being added.
        plain: is called with the campaigns when no other events are wanted.
    """

    __slots__ = ("_counted_as", "_plain", "_position", "_sampler")

    def __init__(
        self,
        sampler: Sampler,
        counted_as: CountedAs,
        position: Callable[[], int],
        plain: Callable[[list[Campaign]], None],
    ) -> None:
        super().__init__()
        self._sampler = sampler
        self._counted_as = counted_as
        self._position = position
        self._plain = plain

    def append(self, campaign: Campaign) -> None:
        """Add the campaign of the event that is being counted."""
        super().append(campaign)
        if not self._sampler.offer(campaign, self._counted_as, self._position()):
            self._plain(list(self))


class Batch:
    """The records of a batch, in order, and how many of them have been taken from `records`."""

    def __init__(self, values: Sequence[bytes | None]) -> None:
        self._count = len(values)
        self.records = iter(values if isinstance(values, list) else list(values))

    def position(self) -> int:
        """Return the position of the record that was taken last."""
        return self._count - length_hint(self.records) - 1
