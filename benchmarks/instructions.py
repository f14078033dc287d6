"""How many machine instructions an event takes in the domain, here and in other working trees.

    git worktree add --detach ../before REVISION
    python -m benchmarks.instructions ../before --campaigns 200,20000

CPU time differs from one run to the next by more than what a change costs or saves. The number of
instructions hardly does, whatever else the machine does: Valgrind counts them (Debian's package
`valgrind`), while the stages of `benchmarks.stages` run, which is some thirty times slower. Each
tree counts some events, and three times as many over as much more event time: the difference is
what an event costs by itself, without the start and without what happens once to each campaign.
What it takes to make the events is found in the same way, and taken off.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import table
from benchmarks.arguments import numbers
from benchmarks.ending import end_on_sigterm

HERE = Path(__file__).resolve().parents[1]
HEAD = ("tree", "campaigns", "instructions/event", "÷ the first tree's")
MORE = 3
"""How many times as many events the second run has."""

IN_THE_TREE = """
import inspect, sys, time
sys.path.insert(0, "")
time.time = lambda: 1_790_000_010.0
from benchmarks.events import Traffic
from benchmarks.stages import measure
detectors = []
if len(inspect.signature(measure).parameters) > 1:
    from streams.domain.detectors.registry import DETECTORS
    detectors.append(DETECTORS[0]())
traffic = Traffic(*map(int, sys.argv[2:]))
if sys.argv[1] == "count":
    measure(traffic, *detectors)
else:
    values = [event.value for event in traffic]
"""
"""What runs in a tree: the default detector of those that have several; windows begin at the same
events in all. Events are made, and counted or not."""


def main() -> None:
    """Count the instructions of each tree, print a table."""
    end_on_sigterm()
    options = _options()
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks.instructions: valgrind is not installed")
    rows: list[list[str]] = []
    for campaigns in options.campaigns:
        of_trees = {
            tree: _of_an_event(tree, campaigns, options.events, options.span)
            for tree in (*(each.resolve() for each in options.trees), HERE)
        }
        first = next(iter(of_trees.values()))
        rows += [
            [tree.name, f"{campaigns:,}", f"{count:,.0f}", f"{count / first:.3f}"]
            for tree, count in of_trees.items()
        ]
    title = f"{options.events:,} and {MORE * options.events:,} events"
    parameters = {**vars(options), "trees": [tree.name for tree in options.trees]}
    table.publish("instructions", table.Results(title, HEAD, rows), **parameters)


def _of_an_event(tree: Path, campaigns: int, events: int, span: int) -> float:
    counted, made = (
        _of_a_run(tree, what, MORE * events, campaigns, MORE * span)
        - _of_a_run(tree, what, events, campaigns, span)
        for what in ("count", "make")
    )
    return (counted - made) / ((MORE - 1) * events)


def _of_a_run(tree: Path, what: str, *of_traffic: int) -> int:
    """Return the instructions of a run with so many events, campaigns and seconds of event time."""
    counting = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    command = [*counting, sys.executable, "-c", IN_THE_TREE, what, *map(str, of_traffic)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    done = subprocess.run(  # noqa: S603 - the trees are the user's
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    said = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or said is None:
        sys.exit(f"{tree.name}: {done.stderr[-2000:]}")
    return int(said[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description="Instructions of an event."
    )
    parser.add_argument("trees", type=Path, nargs="*", help="directories of other versions")
    parser.add_argument("--events", type=int, default=150_000, help="of the first run")
    parser.add_argument("--span", type=int, default=90, help="seconds of their event time")
    parser.add_argument("--campaigns", type=numbers, default=[200, 20_000], help="200,20000")
    return parser.parse_args()


if __name__ == "__main__":
    main()
