"""Events become partial counts, and these become transitions, as in a worker."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from streams.backtest.arrivals import Arrivals, BacktestSettings
from streams.backtest.task import Decided
from streams.domain.campaigns import Campaigns
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition


class EventArrival(NamedTuple):
    """One event.

    Attributes:
        at: when it arrived (ms, UTC); never less than that of the event ahead of it.
        value: its bytes.
        source: the number of the source partition that it came from.
        place: where it was recorded, for people.
    """

    at: int
    value: bytes | None
    source: int
    place: str


Events: TypeAlias = Sequence[EventArrival]


class EventArrivals(Arrivals[Events]):
    """Events, on their way through a task.

    Args:
        settings: of the backtest.
        sources: how many source partitions they come from.
    """

    def __init__(self, settings: BacktestSettings, sources: int = 1) -> None:
        super().__init__(settings, range(sources))
        campaigns = Campaigns(1)
        self._sources = [
            SourcePartition(number, settings.ingest, campaigns) for number in range(sources)
        ]
        self._arrived: dict[int, list[EventArrival]] = {}
        """By source partition, what the next commit has."""

    def add(self, block: Events) -> Iterator[Decided]:
        """Let events arrive; yield what is decided before the last of them is committed."""
        seen, arrived = self.seen, self._arrived
        for event in block:
            at = event.at
            if at > self._until:
                task = self._begin(at)
                yield from self._commit()
                self._until = task.commit_of(at)
                yield from task.pass_time(self._until)
            seen.last_at = at
            of_source = arrived.get(event.source)
            if of_source is None:
                arrived[event.source] = [event]
            else:
                of_source.append(event)
        seen.arrivals += len(block)

    def _commit(self) -> Iterator[Decided]:
        pre_aggregator = PreAggregator()
        for number, events in self._arrived.items():
            values = [event.value for event in events]
            source = self._sources[number]
            for each in source.count(values, self._until, pre_aggregator):
                self.seen.reject(each.reason, 1, events[each.position].place)
        self._arrived.clear()
        counts = pre_aggregator.partial_counts().get(0)
        if counts is not None:
            self._note_unrecognised(counts.windows)
            yield from self._begin(self._until).commit(self._until, counts)
