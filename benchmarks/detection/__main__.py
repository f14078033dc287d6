"""How well the product spots incidents, compared with the usual detectors, on labelled traffic.

python -m benchmarks.detection
python -m benchmarks.detection --split train --first 0 --campaigns 40 --processes 1
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import table
from benchmarks.detection import cases, tables
from benchmarks.detection.cases import BROKEN, HANDFULS, Broken, Handful
from benchmarks.detection.evaluation import CaseJob, Found, Job, Setting, done
from benchmarks.detection.scoring import Scores
from benchmarks.detection.traffic import Split
from benchmarks.detection.usual import USUAL

OURS = "campaign-streams"
BATCH = 180
"""Numbers in a row whose campaigns share a task, and so what a commit costs by itself."""


def main() -> None:
    """Make traffic, run it through the product and the usual detectors, print and keep tables."""
    options = _options()
    began = time.monotonic()
    found = Found()
    for number, more in enumerate(done(list(_jobs(options)), options.processes), 1):
        found.extend(more)
        days = sum(each[1] for each in found.ours.days)
        _say(f"{time.monotonic() - began:.0f} s: {number} jobs, {days:,.0f} campaign-days")
    made = list(_tables(found))
    page = ""
    for title, head, rows in made:
        _say(f"\n{title}\n\n{table.text(head, rows)}")
        page += f"### {title}\n\n{table.markdown(head, rows)}\n"
    parameters = {name: str(value) for name, value in vars(options).items()}
    figures = [[title, head, rows] for title, head, rows in made]
    path = table.keep("detection", parameters, page, figures)
    _say(f"{path} (and .md), {time.monotonic() - began:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--split", type=Split, default=Split.TEST, help="train or test")
    parser.add_argument("--first", type=int, default=240, help="number of the first campaign")
    parser.add_argument("--campaigns", type=int, default=1_080, help="how many campaigns")
    parser.add_argument("--config", type=Path, help="rules; the default is as shipped")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only-ours", action="store_true", help="without the usual detectors")
    parser.add_argument("--cases", type=int, default=100, help="campaigns of each single case")
    return parser.parse_args()


def _jobs(options: argparse.Namespace) -> Iterator[Job | CaseJob]:
    end = options.first + options.campaigns
    for start in range(options.first, end, BATCH):
        numbers = range(start, min(start + BATCH, end))
        yield Job(options.split, numbers, options.config, not options.only_ours)
    single: tuple[Broken | Handful, ...] = (*BROKEN, *HANDFULS)
    for case in single if options.cases else ():
        yield CaseJob(case, options.cases, options.config)


# Tables


def _tables(found: Found) -> Iterator[table.Results]:
    ours = found.ours
    days = sum(each[1] for each in ours.days)
    title = f"{days:,.0f} campaign-days, {len(ours.outcomes):,} incidents, both rules"
    yield table.Results(title, tables.HEAD, list(_detectors(ours, found.usual)))
    head = tables.GROUP_HEAD
    yield table.Results(
        "By dispersion", head, tables.by_band(ours, tables.RHOS, lambda each: each.rho)
    )
    yield table.Results(
        "By usual failure rate", head, tables.by_band(ours, tables.USUAL, lambda each: each.usual)
    )
    yield table.Results(
        "By volume", head, tables.by_band(ours, tables.VOLUMES, lambda each: each.volume)
    )
    yield table.Results("By kind of incident", head, tables.by_kind(ours))
    if found.broken:
        title = (
            "Everything fails after an hour as usual: seconds from the first failure to the alert"
        )
        yield table.Results(title, cases.BROKEN_HEAD, found.broken)
        title = f"A handful within {cases.WITHIN} s: share of campaigns with an alert"
        yield table.Results(title, cases.HANDFUL_HEAD, found.handfuls)


def _detectors(ours: Scores, usual: dict[Setting, Scores]) -> Iterator[Sequence[str]]:
    """Yield a row for ours, and two for each usual one: as is common, and with few false alarms.

    Which setting that is, is looked up in the very figures shown: in favour of the usual ones.
    """
    yield tables.row(OURS, ours)
    for each in USUAL if usual else ():
        yield tables.row(f"{each.name} {each.shown:g}", usual[each.name, each.shown])
        yield tables.row(*_equal(each.name, ours, usual))


def _equal(name: str, ours: Scores, usual: dict[Setting, Scores]) -> tuple[str, Scores]:
    """Return the setting with most recall among those with no more false alarms than ours.

    Without any, it is the one with fewest.
    """
    mine = {setting: scores for (other, setting), scores in usual.items() if other == name}
    false = {setting: len(scores.false) for setting, scores in mine.items()}
    few = [setting for setting in mine if false[setting] <= len(ours.false)]
    chosen = (
        max(few, key=lambda setting: mine[setting].recall.value)
        if few
        else min(mine, key=lambda setting: false[setting])
    )
    return f"{name} {chosen:g}, {'tuned' if few else 'fewest false'}", mine[chosen]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
