"""Topics filled with events, each in two arrangements: by nothing, and by campaign."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from benchmarks.events import Event, Truth, partition_of
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender, create_topic

CHUNK = 50_000
"""Events sent to one topic before the next one gets the same."""


@dataclass(frozen=True)
class Feed:
    """Two topics with the same events in the same order, and how these must be counted.

    In `plain` the events go round the partitions and have no keys; in `keyed` the key is the
    campaign, and it decides the partition.
    """

    address: str
    name: str
    partitions: int
    events: int = 0
    truth: Truth = field(default_factory=Truth)

    @property
    def plain(self) -> str:
        """Name of the topic without keys."""
        return f"{self.name}-plain"

    @property
    def keyed(self) -> str:
        """Name of the topic keyed by campaign."""
        return f"{self.name}-keyed"

    @property
    def campaigns(self) -> int:
        """How many campaigns have events."""
        return len({campaign_id for campaign_id, _, _ in self.truth})

    def topic(self, *, keyed: bool) -> str:
        """Name of one of them."""
        return self.keyed if keyed else self.plain


async def fill(
    address: str,
    name: str,
    events: Iterable[Event],
    *,
    partitions: int = 4,
    keyed: bool = True,
) -> Feed:
    """Make and fill the topics; without `keyed` only the plain one."""
    feed = Feed(address, name, partitions)
    for topic in [feed.plain, feed.keyed] if keyed else [feed.plain]:
        await create_topic(address, topic, partitions)
    return await append(feed, events, keyed=keyed)


async def append(feed: Feed, events: Iterable[Event], *, keyed: bool = True) -> Feed:
    """Send more events; return the feed with all of them."""
    truth, count = Truth(feed.truth), feed.events
    source = iter(events)
    async with (
        Sender(feed.address, feed.plain) as plain,
        Sender(feed.address, feed.keyed) as by_campaign,
    ):
        while chunk := list(islice(source, CHUNK)):
            await plain.send(_without_keys(chunk, count, feed.partitions))
            if keyed:
                await by_campaign.send(_with_keys(chunk, feed.partitions))
            truth.update(event.cell for event in chunk)
            count += len(chunk)
    return replace(feed, events=count, truth=truth)


def _without_keys(events: list[Event], first: int, partitions: int) -> Iterator[SourceRecord]:
    for n, event in enumerate(events, first):
        yield SourceRecord(n % partitions, None, event.value)


def _with_keys(events: list[Event], partitions: int) -> Iterator[SourceRecord]:
    for event in events:
        partition = partition_of(event.campaign_id, partitions)
        yield SourceRecord(partition, event.campaign_id.encode(), event.value)
