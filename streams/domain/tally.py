"""What was counted since the last flush, on its way to the campaigns' partitions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.domain.blocks import (
    BLOCK_VERSION,
    Block,
    Dimensions,
    Gathering,
    WindowCounts,
    partition_of,
)
from streams.domain.events import Attributes, FullAttributes


@dataclass(slots=True)
class Tally:
    """Counts of any number of batches.

    Args:
        windows: by the start (s) of the window, how many events had which attributes.
        event_times: the largest event time (ms) of each source partition.
        skipped: events of other kinds, by family.
        unknown_versions: events of versions that are not known.
        counted: how many events the counts stand for.
        received_at: wall-clock time (ms) of the oldest batch.
    """

    windows: dict[int, Counter[Attributes]] = field(default_factory=dict)
    event_times: dict[int, int] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown_versions: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    received_at: int = 0

    def __len__(self) -> int:
        """Return the number of counts."""
        return sum(map(len, self.windows.values()))

    @property
    def engagement(self) -> int:
        """How many of the events were engagement; the others are sends."""
        return sum(
            count
            for counter in self.windows.values()
            for attributes, count in counter.items()
            if isinstance(attributes, FullAttributes) and attributes.engagement
        )

    def blocks(self, partitions: int, apps: Mapping[str, str]) -> dict[int, Block]:
        """Arrange the counts as one block for each partition that has any.

        Args:
            partitions: how many there are.
            apps: the apps of campaigns.
        """
        blocks: dict[int, Block] = {}
        for start, counter in self.windows.items():
            for number, counts in _columns(start, counter, partitions, apps).items():
                block = blocks.get(number)
                if block is None:
                    block = Block(BLOCK_VERSION, self.event_times, self.received_at, [])
                    blocks[number] = block
                block.windows.append(counts)
        return blocks


def _columns(
    start: int, counter: Counter[Attributes], partitions: int, apps: Mapping[str, str]
) -> dict[int, WindowCounts]:
    gatherings: dict[int, Gathering] = {}
    for attributes, count in counter.items():
        campaign_id = attributes.campaign_id
        number = partition_of(campaign_id, partitions)
        gathering = gatherings.get(number)
        if gathering is None:
            gathering = gatherings[number] = Gathering(start)
        delivery = attributes.delivery_type
        channel, engagement = delivery, False
        if isinstance(attributes, FullAttributes):
            channel, engagement = attributes.channel_type, attributes.engagement
        # A plain tuple equals the named one, and is made in a fraction of the time.
        names = (attributes.outcome, attributes.treatment_id, delivery, channel, engagement)
        known = gathering.dimensions
        at = known.get(names)  # type: ignore[call-overload]
        if at is None:
            at = known[Dimensions(*names)] = len(known)
        positions = gathering.positions
        gathering.at_campaign.append(positions.setdefault(campaign_id, len(positions)))
        gathering.at_dimension.append(at)
        gathering.counts.append(count)
    return {
        number: gathering.columns(apps.get(name) for name in gathering.positions)
        for number, gathering in gatherings.items()
    }
