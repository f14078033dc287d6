"""How a contender's process tells how far it is. Standard library only: it runs anywhere.

One line each on standard output: `counted N` after the first event, `counted N` when half are
counted, `done N` when all are counted and the state is as durable as the contender makes it. The
process then lives on until its standard input is closed, as its memory is looked at. The counts go
to a file, to be compared.
"""

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """What a contender's process is told.

    Args:
        brokers: host:port.
        topic: to read from its beginning.
        partitions: of the topic.
        group: names the consumer group, or the application.
        events: how many there are.
        keyed: the topic's key is the campaign.
        directory: for local state; empty.
        counts: where the counts go.
    """

    brokers: str
    topic: str
    partitions: int
    group: str
    events: int
    keyed: bool
    directory: Path
    counts: Path

    def arguments(self) -> list[str]:
        """Write it as a command line."""
        given = vars(self).items()
        return [f"--{name}={int(v) if isinstance(v, bool) else v}" for name, v in given]


def task(*flags: str) -> tuple[Task, argparse.Namespace]:
    """Read the command line: a task, and the contender's own flags."""
    parser = argparse.ArgumentParser()
    for name in ("brokers", "topic", "group"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("partitions", "events", "keyed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("directory", "counts"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    names = {field.name for field in fields(Task)}
    told = {name: value for name, value in vars(given).items() if name in names}
    return Task(**{**told, "keyed": bool(told["keyed"])}), given


class Progress:
    """Counts events, and says when the first, half and all are counted."""

    def __init__(self, events: int) -> None:
        self.counted = 0
        self.events = events
        self._next = 1

    def add(self, events: int = 1) -> bool:
        """Count; tell whether all are counted."""
        self.counted += events
        if self.counted >= self._next:
            self._say("counted")
            half = self.events // 2
            self._next = half if self.counted < half else self.events + 1
        return self.counted >= self.events

    def done(self) -> None:
        """Say that all are counted and the state is durable; return when that was taken note of."""
        self._say("done")
        os.read(0, 1)

    def _say(self, what: str) -> None:
        # Not by sys.stdout: Faust makes log lines of what is written there.
        os.write(1, f"{what} {self.counted}\n".encode())


def write_counts(path: Path, cells: Iterable[tuple[str, int, str, int]]) -> None:
    """Leave the counts: campaign, start of the window (s), status, count."""
    path.write_text(json.dumps(list(cells)))
