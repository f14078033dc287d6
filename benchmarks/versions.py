"""What an event costs here and in other working trees of this repository, in turns on one topic.

    git worktree add --detach ../before REVISION
    python -m benchmarks.versions ../before --campaigns 200,20000 --rounds 3

The trees have to have this interpreter's packages in common. Each runs its own worker with its own
benchmark of it, and every count is compared.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import table
from benchmarks.arguments import numbers
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Traffic
from benchmarks.feed import Feed, fill
from tests.support.brokers import KafkaBroker

HERE = Path(__file__).resolve().parents[1]
CONTENDERS = ("ours", "ours-keyed")
HEAD = ("tree", "campaigns", "contender", "CPU µs/event", "÷ the first tree's", "peak MiB", "wrong")

IN_THE_TREE = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, "")
from benchmarks.contenders.ours import CONTENDERS
from benchmarks.events import Truth
from benchmarks.feed import Feed
address, name, partitions, events, file, contender, group = sys.argv[1:]
cells = json.loads(Path(file).read_bytes())
truth = Truth({(campaign, start, status): count for campaign, start, status, count in cells})
feed = Feed(address, name, int(partitions), int(events), truth)
run = next(each.run for each in CONTENDERS if each.name == contender)
with tempfile.TemporaryDirectory() as directory:
    outcome = run(feed, Path(directory), group)
print(json.dumps([outcome.cpu_us, outcome.peak_mib, outcome.wrong]))
"""
"""What runs in a tree: it needs nothing of that tree but what every version has."""


class Turn(NamedTuple):
    """One run of the worker of one tree; `wrong` is the number of cells with another count."""

    tree: Path
    contender: str
    cpu_us: float
    peak_mib: float
    wrong: int


class Turns:
    """Runs the workers of some trees on a feed, in turns.

    Args:
        trees: their directories.
        feed: what they read.
        directory: for files.
    """

    def __init__(self, trees: list[Path], feed: Feed, directory: Path) -> None:
        self._trees = trees
        self._feed = feed
        self._truth = directory / f"{feed.name}.json"
        cells = [(*cell, count) for cell, count in feed.truth.items()]
        self._truth.write_text(json.dumps(cells))

    def round(self, number: int, contenders: list[str]) -> list[Turn]:
        """Let each tree have its turn; every other round the last one begins."""
        order = self._trees[:: -1 if number % 2 else 1]
        return [
            self._run(tree, contender, f"{self._feed.name}-{contender}-{number}-{at}")
            for contender in contenders
            for at, tree in enumerate(order)
        ]

    def _run(self, tree: Path, contender: str, group: str) -> Turn:
        feed = self._feed
        about = [feed.address, feed.name, str(feed.partitions), str(feed.events)]
        command = [sys.executable, "-c", IN_THE_TREE, *about, str(self._truth), contender, group]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        done = subprocess.run(  # noqa: S603 - the trees are the user's
            command, cwd=tree, env=environment, stdout=subprocess.PIPE, check=True
        )
        turn = Turn(tree, contender, *json.loads(done.stdout.splitlines()[-1]))
        sys.stdout.write(f"{tree.name:20} {contender:12} {turn.cpu_us:8.2f} µs\n")
        sys.stdout.flush()
        return turn


def main() -> None:
    """Fill a topic for each number of campaigns, let the trees count it in turns, print a table."""
    end_on_sigterm()
    options = _options()
    trees = [*(each.resolve() for each in options.trees), HERE]
    rows: list[list[str]] = []
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        for campaigns in options.campaigns:
            traffic = Traffic(options.events, campaigns, options.span)
            feed = asyncio.run(fill(broker.address, f"versions-{campaigns}", traffic))
            turns = Turns(trees, feed, Path(directory))
            done = [
                turn
                for number in range(options.rounds)
                for turn in turns.round(number, options.only)
            ]
            for contender in options.only:
                rows += _rows([turn for turn in done if turn.contender == contender], campaigns)
    title = f"{options.events:,} events, {options.rounds} rounds"
    parameters = {**vars(options), "trees": [tree.name for tree in trees]}
    table.publish("versions", table.Results(title, HEAD, rows), **parameters)


def _rows(turns: list[Turn], campaigns: int) -> list[list[str]]:
    by_tree: dict[Path, list[Turn]] = {}
    for turn in turns:
        by_tree.setdefault(turn.tree, []).append(turn)
    first = next(iter(by_tree.values()))
    return [
        [
            tree.name,
            f"{campaigns:,}",
            first[0].contender,
            table.spread((turn.cpu_us for turn in of_it), 2),
            # Those of one round, which ran one after the other.
            table.spread((a.cpu_us / b.cpu_us for a, b in zip(of_it, first, strict=True)), 3),
            table.spread(turn.peak_mib for turn in of_it),
            f"{max(turn.wrong for turn in of_it):,}",
        ]
        for tree, of_it in by_tree.items()
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.versions", description="Versions of the worker, in turns."
    )
    parser.add_argument("trees", type=Path, nargs="+", help="directories of other versions")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--campaigns", type=numbers, default=[200, 20_000], help="200,20000")
    parser.add_argument("--span", type=int, default=600, help="seconds of event time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=_names, default=["ours"], help=",".join(CONTENDERS))
    return parser.parse_args()


def _names(written: str) -> list[str]:
    names = written.split(",")
    unknown = set(names).difference(CONTENDERS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no contender {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()
