"""What all contenders have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple

from benchmarks.feed import Feed

MANY = 1_000


class Outcome(NamedTuple):
    """What one run cost.

    Args:
        events: counted between the first sign of counting and the end.
        seconds: that took.
        cpu_seconds: user and system, all threads of all its processes, in that time.
        second_half_us: CPU µs per event over the second half of the events.
        peak_bytes: most memory it ever had.
        wrong: how many cells (campaign, window, status) differ from the truth.
    """

    events: int
    seconds: float
    cpu_seconds: float
    second_half_us: float
    peak_bytes: int
    wrong: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU µs per event."""
        return self.cpu_seconds / self.events * 1e6

    @property
    def peak_mib(self) -> float:
        """Peak memory in MiB."""
        return self.peak_bytes / 2**20


class ContenderError(Exception):
    """A contender cannot run here, or did not finish; the message says why."""


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Args:
        name: for `--only`.
        title: for the table.
        guarantee: what its state and counts are worth after a crash.
        keyed: it reads the topic that is keyed by campaign.
        most_events: how many it reads at most; fewer than all where it is very slow.
        most_of_many: the same for topics with `MANY` campaigns or more.
        run: count a feed, in an empty directory, as a group of the given name.
    """

    name: str
    title: str
    guarantee: str
    keyed: bool
    run: Callable[[Feed, Path, str], Outcome]
    most_events: float = inf
    most_of_many: float = inf

    def reads(self, events: int, campaigns: int) -> int:
        """How many of a topic's events it reads."""
        most = self.most_of_many if campaigns >= MANY else inf
        return int(min(events, self.most_events, most))
