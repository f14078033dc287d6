"""What a lane's report of its campaigns costs, while lanes look for a common cause.

    python -m benchmarks.reports --campaigns 1700 20000

A lane has campaigns with two channels and 20 windows of counts, of which the last two are open.
CPU time of the first report, which reads the closed windows, and of those after it. In between,
nothing is worked out.
"""

import argparse
import time
from dataclasses import replace
from random import Random
from statistics import median

from benchmarks import table
from streams.domain.causes import summary
from streams.domain.causes.lane_sums import LaneSums
from streams.domain.causes.summary import LaneSummary
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, Dimensions, PartialCounts
from streams.domain.partition import CampaignPartition
from tests.support.partitions import FAILURE_SPIKE, PARTITION_SETTINGS, window_counts

WINDOWS, SIZE, REPORTS = 20, 60, 12


def filled(campaigns: int) -> CampaignPartition:
    """Return a partition with counts of so many campaigns in each window."""
    chance = Random(1)  # noqa: S311 - repeatable
    limits = replace(PARTITION_SETTINGS.limits, campaigns=4 * campaigns)
    partition = CampaignPartition(0, replace(PARTITION_SETTINGS, limits=limits), [0], 0)
    for number in range(WINDOWS):
        sends = {
            f"campaign-{campaign}": {
                Dimensions(status, None, channel, channel): chance.randint(least, most)
                for channel in ("GCM", "EMAIL")
                for status, least, most in (("SUCCESS", 5, 50), ("FAILURE", 1, 3))
            }
            for campaign in range(campaigns)
        }
        now = number * SIZE + SIZE / 2
        counts = [window_counts(number * SIZE, sends)]
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: int(now * 1000)}, 0, counts)
        partition.apply(added, number, now)
        partition.table.advance(now, number + 1)
        partition.take_changes(now)
    return partition


def row(campaigns: int) -> list[str]:
    """Measure a lane of so many campaigns."""
    sums = LaneSums(filled(campaigns).table, PARTITION_SETTINGS.groups, FAILURE_SPIKE)
    times, size = [], 0
    for _ in range(REPORTS):
        began = time.process_time()
        sums.refresh()
        frames = sums.frames({}, {})
        times.append(1000 * (time.process_time() - began))
        size = len(summary.encode(LaneSummary(0, FAILURE_SPIKE.name, 1, frames)))
    return [
        f"{campaigns:,}",
        f"{times[0]:,.0f}",
        f"{max(times[1:]):,.0f}",
        f"{median(times[-3:]):,.0f}",
        f"{size:,}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--campaigns", type=int, nargs="+", default=[1_700, 20_000])
    campaigns = parser.parse_args().campaigns
    head = ("campaigns of the lane", "first, ms", "most then", "in the end", "bytes")
    results = table.Results("CPU time of a report", head, [row(each) for each in campaigns])
    table.publish("reports", results, campaigns=campaigns)


if __name__ == "__main__":
    main()
