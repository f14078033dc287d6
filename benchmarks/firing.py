"""What a commit costs while many campaigns fire, compared with one while all are as usual.

    python -m benchmarks.firing --campaigns 1000

One task has campaigns of which each has a few sends a commit, ten commits a second, with the rules
as shipped. For some minutes all is as usual; then five of six sends fail in every campaign. What
counts is the CPU time of adding the counts, evaluating the rules and closing windows.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import table
from streams.backtest.arrivals import BacktestSettings
from streams.configuration.models import Configuration
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.partition import CampaignPartition

HEAD = ("campaigns", "of them fire", "ms of CPU a commit", "µs a campaign and commit")
HISTORY_S = 600
EVERY_S = 5
"""Seconds between two commits of the history."""
FLUSH_S = 0.1
COMMITS = 400
BREAKING_S = 20
USUAL, FAILING = (5, 0), (1, 5)
"""Sends of a campaign in a commit that succeed, and that fail."""
STATUSES = ("SUCCESS", "FAILURE")


class Task:
    """A partition of campaigns that commits when it is told to.

    Args:
        campaigns: how many.
    """

    def __init__(self, campaigns: int) -> None:
        ids = itertools.count(1)
        settings = BacktestSettings.of(Configuration()).partition
        settings = replace(settings, new_id=lambda: str(next(ids)))
        self.partition = CampaignPartition(0, settings, (0,), 0.0)
        self._names = [f"campaign-{number}" for number in range(campaigns)]
        self._offset = 0

    def commit(self, now: float, sends: tuple[int, int]) -> float:
        """Commit sends of each campaign at a time (s); return the CPU time that it took (s)."""
        counts = self._counts(now, sends)
        began = time.process_time()
        self.partition.apply(counts, self._offset, now)
        self._offset += 1
        self.partition.advance(now, self._offset)
        took = time.process_time() - began
        for failure in self.partition.take_failures():
            raise failure.error
        self.partition.take_suppressed()
        return took

    def _counts(self, now: float, sends: tuple[int, int]) -> PartialCounts:
        everyone = list(range(len(self._names)))
        columns = [
            Column(Dimensions(status, None, None, None), everyone, [number] * len(everyone))
            for status, number in zip(STATUSES, sends, strict=True)
            if number
        ]
        start = int(now) - int(now) % 60
        windows = [WindowCounts(start, self._names, ["app"], [0] * len(everyone), columns)]
        at = round(1_000 * now)
        return PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, windows)


def times(first: float, seconds: float, every: float) -> Iterator[float]:
    """Yield times (s) at equal distances."""
    for number in range(round(seconds / every)):
        yield first + number * every


def rows(campaigns: int) -> Iterator[list[str]]:
    """Yield the cost of commits as usual, and while all campaigns fire."""
    task, now = Task(campaigns), 60.0
    for at in times(now, HISTORY_S, EVERY_S):
        task.commit(at, USUAL)
    now += HISTORY_S
    for sends in USUAL, FAILING:
        if sends is FAILING:
            for at in times(now, BREAKING_S, FLUSH_S):
                task.commit(at, sends)
            now += BREAKING_S
        took = [task.commit(at, sends) for at in times(now, COMMITS * FLUSH_S, FLUSH_S)]
        now += COMMITS * FLUSH_S
        cost = statistics.mean(took)
        firing = len(task.partition.alerts.live())
        a_campaign = 1e6 * cost / campaigns
        yield [f"{campaigns:,}", f"{firing:,}", f"{1e3 * cost:.2f}", f"{a_campaign:.1f}"]


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.firing", description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1_000)
    options = parser.parse_args()
    found = list(rows(options.campaigns))
    sys.stdout.write(table.text(HEAD, found) + "\n")
    parameters = {name: str(value) for name, value in vars(options).items()}
    table.keep("firing", parameters, table.markdown(HEAD, found), found)


if __name__ == "__main__":
    main()
