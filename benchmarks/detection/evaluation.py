"""Campaigns that are made and scored apart from each other, in any number of processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.detection import cases, traffic
from benchmarks.detection.cases import Broken, Handful
from benchmarks.detection.product import Product
from benchmarks.detection.scoring import Scores
from benchmarks.detection.traffic import Hit, Run, Split
from benchmarks.detection.usual import USUAL, Seconds
from streams.configuration.load import load

SEED = 1
"""Of single cases."""
Setting: TypeAlias = tuple[str, float]
"""A usual detector by its name, with its setting."""


class Job(NamedTuple):
    """Campaigns whose traffic one process makes and scores.

    Attributes:
        split: of the traffic.
        numbers: of the campaigns.
        configuration: the file; null for rules as shipped.
        usual: whether the usual detectors are scored too.
    """

    split: Split
    numbers: range
    configuration: Path | None
    usual: bool


class CaseJob(NamedTuple):
    """Campaigns of one single case.

    Attributes:
        case: what happens to them.
        campaigns: how many.
        configuration: as in `Job`.
    """

    case: Broken | Handful
    campaigns: int
    configuration: Path | None


@dataclass
class Found:
    """What came of jobs.

    Attributes:
        ours: scores of the product.
        usual: those of the usual detectors.
        broken: rows of campaigns that break.
        handfuls: rows of handfuls.
    """

    ours: Scores = field(default_factory=Scores)
    usual: dict[Setting, Scores] = field(default_factory=dict)
    broken: list[Sequence[str]] = field(default_factory=list)
    handfuls: list[Sequence[str]] = field(default_factory=list)

    def extend(self, more: "Found") -> None:
        """Add what came of another job."""
        self.ours.extend(more.ours)
        for setting, scores in more.usual.items():
            self.usual.setdefault(setting, Scores()).extend(scores)
        self.broken += more.broken
        self.handfuls += more.handfuls


def done(jobs: Sequence[Job | CaseJob], processes: int) -> Iterator[Found]:
    """Yield what came of jobs, in their order."""
    if processes == 1:
        yield from map(_do, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_do, jobs)


def _do(job: Job | CaseJob) -> Found:
    product = Product(load(job.configuration, {}, {}) if job.configuration else None)
    if isinstance(job, Job):
        runs = [_counts(traffic.run(job.split, number)) for number in job.numbers]
        ours = Scores()
        for run, alerts in zip(runs, product.alerts(runs), strict=True):
            ours.add(run, alerts)
        return Found(ours, _usual(runs) if job.usual else {})
    case = job.case
    if isinstance(case, Broken):
        return Found(broken=[cases.broken_row(cases.times(product, case, job.campaigns, SEED))])
    alarmed = cases.alarms(product, case, job.campaigns, SEED)
    return Found(handfuls=[cases.handful_row(case, alarmed)])


def _counts(run: Run) -> Run:
    """Return a run without its rates, which take four times the room of its counts."""
    return replace(run, rates={}, excess={})


def _usual(runs: Sequence[Run]) -> dict[Setting, Scores]:
    """Return the scores of the usual detectors, for each of their settings."""
    scores = {(each.name, setting): Scores() for each in USUAL for setting in each.settings}
    for run in runs:
        seconds = {hit: Seconds(run.attempts, run.hits(hit)) for hit in Hit}
        for each in USUAL:
            for setting in each.settings:
                alerts = {hit: each.alerts(counts, setting) for hit, counts in seconds.items()}
                scores[each.name, setting].add(run, alerts)
    return scores
