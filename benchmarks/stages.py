"""Where an event's cost goes in the domain, without a broker: CPU time of each stage.

    python -m benchmarks.stages --events 400000

The stages are those of tasks with repartitioning: a pre-aggregator counts records, its partial
counts are encoded, decoded and added to windows, and once a second rules are evaluated and windows
closed. The cost of aiokafka, Faust and the requests to the broker comes on top.
"""

import argparse
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks import table
from benchmarks.events import Traffic
from streams.configuration.load import read
from streams.configuration.translation import ingest_settings_of, partition_settings_of
from streams.domain import partial_counts
from streams.domain.campaigns import Campaigns
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.registry import DETECTORS
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition
from streams.engine.consume.transport import RECORDS_AT_ONCE
from streams.engine.tasks.output_buffer import FULL_COUNTS

TASKS = 4
EVENTS_A_SECOND = 100_000
"""How fast the clock of the tasks goes."""
EVENTS_A_COMMIT = 30_000
"""Of one task: a tick comes before it is full, with few campaigns."""
STAGES = (
    "count",
    "partial counts",
    "encode",
    "decode",
    "add to windows",
    "rules",
    "write changes",
)


class Tasks:
    """Source partitions and partitions of campaigns, with nothing between them but calls.

    Args:
        detector: of the default rules.

    Attributes:
        seconds: CPU time by stage.
        rows: the number of partial counts.
    """

    def __init__(self, detector: Detector) -> None:
        configuration = read(None, {}, {}).configuration
        settings, ingest_settings = (
            partition_settings_of(configuration, "http://localhost:8080"),
            ingest_settings_of(configuration),
        )
        rules = tuple(replace(rule, detector=detector) for rule in settings.rules)
        settings = replace(settings, rules=rules)
        campaigns = Campaigns(TASKS)
        self.now = time.time()
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.rows = 0
        self._sources = [SourcePartition(n, ingest_settings, campaigns) for n in range(TASKS)]
        self._partitions = [
            CampaignPartition(n, settings, range(TASKS), self.now) for n in range(TASKS)
        ]
        for partition in self._partitions:
            partition.finish_restore(self.now, 0)
        self._pre_aggregators = [PreAggregator() for _ in range(TASKS)]
        self._log_ends = [0] * TASKS

    @property
    def cells(self) -> int:
        """How many windows of a campaign there are."""
        return sum(len(partition.table) for partition in self._partitions)

    def count(self, number: int, values: list[bytes]) -> None:
        """Count a batch; commit if it is time."""
        pre_aggregator = self._pre_aggregators[number]
        with self._stage("count"):
            self._sources[number].count(values, int(self.now * 1000), pre_aggregator)
        if len(pre_aggregator) > FULL_COUNTS or pre_aggregator.counted >= EVENTS_A_COMMIT:
            self.commit(number)

    def commit(self, number: int) -> None:
        """Hand over what a task has counted."""
        pre_aggregator, self._pre_aggregators[number] = (
            self._pre_aggregators[number],
            PreAggregator(),
        )
        self.rows += len(pre_aggregator)
        with self._stage("partial counts"):
            made = pre_aggregator.partial_counts()
        for to, counts in made.items():
            with self._stage("encode"):
                records = list(partial_counts.encode_records(counts))
            for record in records:
                with self._stage("decode"):
                    read_back = partial_counts.decode(record)
                with self._stage("add to windows"):
                    self._partitions[to].apply(read_back, self._log_ends[to], self.now)
                self._log_ends[to] += 1
        with self._stage("rules"):
            self._partitions[number].evaluate(self.now)

    def tick(self, seconds: float) -> None:
        """Let time go on."""
        self.now += seconds
        for partition, log_end in zip(self._partitions, self._log_ends, strict=True):
            with self._stage("rules"):
                partition.advance(self.now, log_end)
            with self._stage("write changes"):
                partition.take_changes(self.now)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.seconds[name] += time.thread_time() - began


def measure(traffic: Traffic, detector: Detector) -> list[str]:
    """Count events, with a detector for the default rules; return the row of the table."""
    values = [event.value for event in traffic]
    tasks = Tasks(detector)
    gc.collect()
    gc.freeze()
    step = TASKS * RECORDS_AT_ONCE
    for at in range(0, len(values), step):
        for number in range(TASKS):
            tasks.count(number, values[at + number : at + step : TASKS])
        if at % EVENTS_A_SECOND < step:
            tasks.tick(1.0)
    for number in range(TASKS):
        tasks.commit(number)
    tasks.tick(10.0)
    costs = [tasks.seconds[stage] / traffic.count * 1e6 for stage in STAGES]
    return [
        f"{traffic.campaigns:,}",
        *(f"{cost:.2f}" for cost in (*costs, sum(costs))),
        f"{tasks.rows / traffic.count:.2f}",
        f"{tasks.cells:,}",
    ]


def main() -> None:
    """Measure few and many campaigns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description="Stages.")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--span", type=int, default=600, help="seconds of event time")
    kinds = {detector.kind: detector for detector in DETECTORS}
    parser.add_argument("--detector", choices=kinds, default=DETECTORS[0].kind)
    options = parser.parse_args()
    made = [
        measure(Traffic(options.events, campaigns, options.span), kinds[options.detector]())
        for campaigns in (100, 1_000, 20_000, 100_000)
    ]
    title = f"CPU µs per event in the domain, {options.events:,} events, {options.detector}"
    head = ("campaigns", *STAGES, "in all", "counts/event", "cells")
    table.publish("stages", table.Results(title, head, made), **vars(options))


if __name__ == "__main__":
    main()
