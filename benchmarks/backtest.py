"""How many lines of counts a second `campaign-streams backtest` decides, by what there is in them.

    python -m benchmarks.backtest --lines 1000000 --rounds 3

Files of lines as they might be recorded: campaigns of which each has a line a second, at any
millisecond or all at its beginning; in one file, some have an incident. The command reads them with
rules and flush interval as shipped. What counts is the CPU time of its process, which uses one
core; in one column with the start-up, in the other without.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import table

START = 1_767_225_600_000
INCIDENT_S = 600
"""Seconds in the middle of a file in which some campaigns are broken."""
FAILING = 0.5
"""Their failure rate then."""
BLOCK_S = 60


class Shape(NamedTuple):
    """What a file is like.

    Attributes:
        name: for people.
        campaigns: each has a line a second.
        sends: of a line, on average.
        rate: of failures; a quarter as many sends are throttled.
        at_once: whether all lines of a second come at its beginning.
        broken: campaigns that have an incident.
    """

    name: str
    campaigns: int
    sends: int
    rate: float
    at_once: bool
    broken: int = 0


SHAPES = (
    Shape("3 campaigns, at each full second", 3, 5, 0.01, True),
    Shape("20 campaigns", 20, 5, 0.01, False),
    Shape("20 campaigns, at each full second", 20, 5, 0.01, True),
    Shape("200 campaigns", 200, 5, 0.01, False),
    Shape("200 campaigns, at each full second", 200, 5, 0.01, True),
    Shape("200 campaigns with 20 sends a line, 3 % fail", 200, 20, 0.03, True),
    Shape("200 campaigns with 40 sends a line, 10 % fail", 200, 40, 0.1, True),
    Shape("200 campaigns, four break for ten minutes", 200, 5, 0.01, True, broken=4),
    Shape("1,000 campaigns", 1_000, 5, 0.01, True),
    Shape("20,000 campaigns", 20_000, 5, 0.01, True),
)


def lines(shape: Shape, number: int) -> Iterator[str]:
    """Yield lines of a file, in the order of their arrival."""
    chance = np.random.default_rng(7)
    second, middle = 0, number // shape.campaigns // 2
    while number > 0:
        size = (min(BLOCK_S, -(-number // shape.campaigns)), shape.campaigns)
        sends = chance.poisson(shape.sends, size)
        seconds = second + np.arange(size[0])[:, np.newaxis]
        is_broken = np.arange(shape.campaigns)[np.newaxis, :] < shape.broken
        breaks = is_broken & (abs(seconds - middle) < INCIDENT_S / 2)
        failed = chance.binomial(sends, np.where(breaks, FAILING, shape.rate))
        throttled = chance.binomial(sends - failed, shape.rate / 4)
        within = np.zeros(size) if shape.at_once else np.sort(chance.integers(0, 1_000, size))
        order = np.stack([chance.permutation(shape.campaigns) for _ in range(size[0])])
        for row in range(size[0]):
            at = START + 1_000 * (second + row)
            columns = (
                order[row],
                within[row].astype(int),
                *(
                    each[row][order[row]]
                    for each in (sends - failed - throttled, failed, throttled)
                ),
            )
            for campaign, ms, *counts in zip(*[each.tolist() for each in columns], strict=True):
                if any(counts) and number > 0:
                    number -= 1
                    yield line(at + ms, campaign, counts)
        second += size[0]


def line(at: int, campaign: int, counts: Sequence[int]) -> str:
    """Write one line: how many sends succeeded, failed, and were throttled."""
    named = zip(("SUCCESS", "FAILURE", "THROTTLED"), counts, strict=True)
    written = ",".join(
        f'["{status}","t{campaign % 2}","EMAIL","EMAIL",{count}]'
        for status, count in named
        if count
    )
    return (
        f'{{"at":{at},"event_time":{at - campaign % 700},"campaign_id":"campaign-{campaign}",'
        f'"app_id":"app-{campaign % 3}","counts":[{written}]}}\n'
    )


def seconds_of(file: Path) -> float:
    """Return the CPU time (s) of the command that reads a file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "streams", "backtest", "--counts", str(file)]
    subprocess.run(  # noqa: S603 - our own command
        [*command, "--output", "ndjson"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(shape: Shape, number: int, rounds: int, directory: Path) -> list[str]:
    """Measure files of one shape."""
    file, nothing = directory / "counts.ndjson", directory / "nothing.ndjson"
    with file.open("w") as stream:
        stream.writelines(lines(shape, number))
    nothing.touch()
    with file.open() as stream:
        hits = sum('"FAILURE"' in each or '"THROTTLED"' in each for each in stream)
    start_up = [seconds_of(nothing) for _ in range(rounds)]
    whole = [seconds_of(file) for _ in range(rounds)]
    without = [all_of_it - before for all_of_it, before in zip(whole, start_up, strict=True)]
    return [
        shape.name,
        f"{100 * hits / number:.0f} %",
        table.spread([number / each for each in whole]),
        table.spread([number / each for each in without]),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", type=int, nargs="+", default=range(len(SHAPES)))
    options = parser.parse_args()
    head = ("a line a second of", "lines with hits", "lines/s", "without the start-up")
    with tempfile.TemporaryDirectory() as directory:
        rows = [
            row(SHAPES[at], options.lines, options.rounds, Path(directory)) for at in options.shapes
        ]
    results = table.Results("Lines of counts a second of CPU time, backtest", head, rows)
    table.publish("backtest", results, lines=options.lines, rounds=options.rounds)


if __name__ == "__main__":
    main()
