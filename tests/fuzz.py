"""Fuzzed records through the counting, without a broker: what became of each of them.

    python -m tests.fuzz --records 1000000 --seed 1

Records are counted by pre-aggregators, these go through the repartition topic as partial counts,
and are added to windows, against which the rules are evaluated. Every record has to be counted,
skipped or rejected with a reason, just as the independent reading of `tests.support.oracle` says,
and every count has to arrive, also where partitions go from owner to owner.
"""

import argparse
import random
import sys
import time
from collections import Counter
from itertools import islice

from streams.configuration.load import read
from streams.configuration.translation import ingest_settings_of, partition_settings_of
from streams.domain import partial_counts
from streams.domain.campaigns import Campaigns
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.restorer import PartitionRestorer
from streams.domain.sources import SourcePartition
from tests.support.fuzzing import UNTIL, records
from tests.support.oracle import Oracle
from tests.support.partitions import all_cells

TASKS = 3
COMMIT_AT = 10_000
"""Records that a pre-aggregator counts between two commits."""


class Pipeline:
    """Source partitions and partitions of campaigns, joined by partial counts; nothing else."""

    def __init__(self) -> None:
        # What comes late is counted in windows, or expired: the oracle knows no longer ones.
        configuration = read(None, {}, {"windows.rollups": []}).configuration
        ingest_settings, campaigns = ingest_settings_of(configuration), Campaigns(TASKS)
        settings = partition_settings_of(configuration, None)
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.counted = self.transitions = 0
        self._sources = [SourcePartition(n, ingest_settings, campaigns) for n in range(TASKS)]
        now = UNTIL / 1000
        self.partitions = [CampaignPartition(n, settings, range(TASKS), now) for n in range(TASKS)]
        self._changelogs: list[dict[bytes, bytes | None]] = [{} for _ in range(TASKS)]
        self._repartition: list[tuple[int, bytes]] = []
        """The partition and the value of each record, by offset."""
        self._commits = 0
        self._pre_aggregator = PreAggregator()
        self._taken = 0

    def take(self, source: int, values: list[bytes | None]) -> dict[int, str]:
        """Count a batch; return the reason of each record that was rejected, by position."""
        rejected = self._sources[source].count(values, UNTIL, self._pre_aggregator)
        assert all(each.detail for each in rejected)
        self.rejected.update(each.reason.value for each in rejected)
        self._taken += len(values)
        if self._taken >= COMMIT_AT:
            self.commit()
        return {each.position: each.reason.value for each in rejected}

    def commit(self) -> None:
        """Send what was counted to its partitions, and evaluate the rules."""
        pre_aggregator, self._pre_aggregator, self._taken = self._pre_aggregator, PreAggregator(), 0
        self.counted += pre_aggregator.counted
        self.skipped += pre_aggregator.skipped
        for number, counts in pre_aggregator.partial_counts().items():
            for record in partial_counts.encode_records(counts):
                self.partitions[number].apply(
                    partial_counts.decode(record), len(self._repartition), UNTIL / 1000
                )
                self._repartition.append((number, record))
        for number, partition in enumerate(self.partitions):
            self.transitions += len(partition.advance(UNTIL / 1000, len(self._repartition)))
            self._changelogs[number].update(partition.take_changes(UNTIL / 1000))
        self._hand_over(self._commits % TASKS)
        self._commits += 1

    def _hand_over(self, number: int) -> None:
        """Let the next owner of a partition restore it."""
        now = UNTIL / 1000
        restorer = PartitionRestorer(number, self.partitions[number].settings, range(TASKS), now)
        for offset, (key, value) in enumerate(self._changelogs[number].items()):
            restorer.add(key, value, offset)
        replay = restorer.restore()
        end = len(self._repartition)
        begin = end if replay.replay_from_offset is None else replay.replay_from_offset
        for offset, (of, record) in enumerate(self._repartition[begin:], begin):
            if of == number:
                replay.add(partial_counts.decode(record), offset, now)
        self.partitions[number] = replay.finish(now, end)

    @property
    def in_windows(self) -> int:
        """How many events the windows hold."""
        return sum(
            sum(cell.sends.values()) + sum(cell.engagement.values())
            for partition in self.partitions
            for start in partition.table.starts()
            for _, cell in all_cells(partition.table, start)
        )


def run(count: int, seed: int) -> tuple[Pipeline, list[str]]:
    """Take records through the counting; return where they are, and what went wrong."""
    pipeline, oracle = Pipeline(), Oracle()
    chance = random.Random(seed)  # noqa: S311 - repeatable
    given, wrong, offsets = 0, [], [0] * TASKS
    stream = records(seed)
    while batch := list(islice(stream, min(chance.randrange(1, 501), count - given))):
        source = chance.randrange(TASKS)
        reasons = pipeline.take(source, batch)
        for position, value in enumerate(batch):
            at = source, offsets[source] + position
            oracle.take(*at, value, UNTIL)
            if reasons.get(position) != oracle.refused.get(at):
                wrong.append(f"{reasons.get(position)}, not {oracle.refused.get(at)}: {value!r}")
        offsets[source] += len(batch)
        given += len(batch)
    pipeline.commit()
    rejected, skipped = pipeline.rejected.total(), pipeline.skipped.total()
    if pipeline.counted + skipped + rejected != given:
        wrong.append(f"{pipeline.counted} + {skipped} + {rejected} is not {given}")
    if not pipeline.counted == pipeline.in_windows == oracle.total:
        wrong.append(f"{pipeline.counted} counted, {pipeline.in_windows} in windows")
    if pipeline.skipped != oracle.skipped:
        wrong.append(f"skipped {pipeline.skipped}, not {oracle.skipped}")
    return pipeline, wrong


def main() -> int:
    """Take records through the counting, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    pipeline, wrong = run(options.records, options.seed)
    lines = [
        f"{options.records:,} records, seed {options.seed}, {time.monotonic() - began:.0f} s",
        f"counted   {pipeline.counted:>10,}",
        *(f"skipped   {n:>10,}  {kind}" for kind, n in pipeline.skipped.most_common()),
        *(f"rejected  {n:>10,}  {reason}" for reason, n in pipeline.rejected.most_common()),
        f"wrong     {len(wrong):>10,}",
        *wrong[:20],
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
