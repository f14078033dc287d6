"""Runs a contender's process and measures it from its first counted event to its last."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.contenders.contender import ContenderError, Outcome
from benchmarks.contenders.progress import Task
from benchmarks.events import Truth
from benchmarks.feed import Feed
from benchmarks.measuring import Usage, usage

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900.0
Command = Callable[[Task], list[str]]
ReadBack = Callable[[Task], Truth]


class _Sign(NamedTuple):
    """A line of progress, and what was used by then."""

    what: str
    counted: int
    at: float
    usage: Usage


def read_counts(task: Task) -> Truth:
    """Read the counts that a process left."""
    cells = json.loads(task.counts.read_bytes())
    return Truth({(campaign, start, status): n for campaign, start, status, n in cells})


def runner(
    command: Command, *, keyed: bool, read_back: ReadBack = read_counts
) -> Callable[[Feed, Path, str], Outcome]:
    """Make a contender's `run` of the command line of its process.

    `read_back` finds out what it counted.
    """

    def run(feed: Feed, directory: Path, group: str) -> Outcome:
        task = Task(
            brokers=feed.address,
            topic=feed.topic(keyed=keyed),
            partitions=feed.partitions,
            group=group,
            events=feed.events,
            keyed=keyed,
            directory=directory,
            counts=directory / "counts.json",
        )
        signs = _run(command(task), directory)
        found = read_back(task)
        differing = {cell for cell in feed.truth | found if feed.truth[cell] != found[cell]}
        return _outcome(signs, feed.events, len(differing))

    return run


def _run(command: list[str], directory: Path) -> list[_Sign]:
    log = directory / "log"
    with log.open("wb") as errors, _process(command, directory, errors) as process:
        signs = []
        for what, counted in _signs(process.stdout or ()):
            signs.append(_Sign(what, int(counted), time.perf_counter(), usage(process.pid)))
            if what == "done" and process.stdin is not None:
                process.stdin.close()
        status = process.wait()
    if status != 0 or not signs or signs[-1].what != "done":
        tail = log.read_text(errors="replace")[-3000:]
        raise ContenderError(f"{' '.join(command[:4])} … ended with status {status}:\n{tail}")
    return signs


def _signs(output: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Read lines of progress; others may print as well."""
    for line in output:
        words = line.split()
        if len(words) == 2 and words[0] in {"counted", "done"} and words[1].isdigit():  # noqa: PLR2004
            yield words[0], words[1]


@contextmanager
def _process(
    command: list[str], directory: Path, errors: IO[bytes]
) -> Iterator["subprocess.Popen[str]"]:
    """Run a process in a group of its own, which is gone afterwards."""
    process = subprocess.Popen(  # noqa: S603 - our own programs
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _outcome(signs: list[_Sign], events: int, wrong: int) -> Outcome:
    first, last = signs[0], signs[-1]
    half = next(sign for sign in signs if sign.counted >= events // 2)
    counted_since = max(1, last.counted - half.counted)
    return Outcome(
        events=last.counted - first.counted,
        seconds=last.at - first.at,
        cpu_seconds=last.usage.cpu_seconds - first.usage.cpu_seconds,
        second_half_us=(last.usage.cpu_seconds - half.usage.cpu_seconds) / counted_since * 1e6,
        peak_bytes=last.usage.peak_bytes,
        wrong=wrong,
    )
