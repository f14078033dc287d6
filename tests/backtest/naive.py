"""A partition driven as a worker drives it: every line by itself, and every single commit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted_lines import CountedLine
from streams.backtest.task import Decided
from streams.domain.events import EARLIEST_MS
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import Transition
from tests.support.partitions import PARTITION_SETTINGS


class Told(NamedTuple):
    """A transition without its id, which is made up, and when it was decided (ms)."""

    at: int
    about: tuple[str, str, str, str, str]
    sequence: int
    told: str


def told(decided: Sequence[Decided]) -> list[Told]:
    """Transitions in an order that does not depend on ids or on the order of evaluation."""
    return sorted(_told(each.at, each.transition) for each in decided)


def _told(at: int, transition: Transition) -> Told:
    data = transition.data
    about = (
        data.campaign_id,
        data.rule,
        str(data.treatment_id),
        str(data.channel_type),
        data.starts_at,
    )
    anonymous = msgspec.structs.replace(data, alert_id="")
    value = msgspec.structs.replace(transition, data=anonymous)
    return Told(at, about, data.sequence, msgspec.json.encode(value).decode())


@dataclass
class Naive:
    """Commits at every multiple of the interval, whether there is anything or not."""

    settings: BacktestSettings
    rejected: int = 0
    event_time: int = 0

    def run(self, lines: Sequence[CountedLine], until: int = 0) -> list[Decided]:
        """Let lines arrive, and time go on up to `until` (ms)."""
        if not lines:
            return []
        step = round(self.settings.interval * 1000)
        at = -(-lines[0].at // step) * step
        ids = PARTITION_SETTINGS.new_id
        settings = replace(self.settings.partition, receivers=(), base_url=None, new_id=ids)
        partition = CampaignPartition(0, settings, [0], (at - step) / 1000)
        left = list(reversed(lines))
        decided: list[Decided] = []
        offset = 0
        while left or at <= until:
            now = at / 1000
            arrived: dict[int, WindowCounts] = {}
            while left and left[-1].at <= at:
                self._count(left.pop(), at, arrived)
            if arrived:
                counts = PartialCounts(
                    PARTIAL_COUNTS_VERSION, {0: self.event_time}, at, list(arrived.values())
                )
                partition.apply(counts, offset, now)
                offset += 1
            transitions = partition.advance(now, offset)
            if not partition.is_evaluated:
                transitions += partition.evaluate(now)
            partition.take_changes(now)
            assert partition.take_failures() == []
            decided += [Decided(at, each) for each in transitions]
            at += step
        return decided

    def _count(self, line: CountedLine, commit_at: int, arrived: dict[int, WindowCounts]) -> None:
        """Add a line to what has arrived, by window. The newest app of a campaign counts."""
        time = line.at if line.event_time is None else line.event_time
        ingest = self.settings.ingest
        if not any(counted[4] for counted in line.counts):
            return
        expired = time < max(EARLIEST_MS, ingest.windows.oldest_countable(self.event_time))
        if expired or time > commit_at + ingest.max_future_skew_ms:
            self.rejected += sum(counted[4] for counted in line.counts)
            return
        self.event_time = max(self.event_time, min(time, commit_at))
        start = ingest.windows.start_of(time)
        window = arrived.setdefault(start, WindowCounts(start, [], [], [], []))
        if line.campaign_id not in window.campaigns:
            window.campaigns.append(line.campaign_id)
            window.at_app.append(len(window.apps))
            window.apps.append(None)
        position = window.campaigns.index(line.campaign_id)
        if line.app_id is not None:
            window.apps[window.at_app[position]] = line.app_id
        window.columns += [
            Column(
                Dimensions(status, treatment or None, delivery or None, channel or None),
                [position],
                [n],
            )
            for status, treatment, delivery, channel, n in line.counts
            if n
        ]
