"""Rounds of all contenders on one topic, and the table they make."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import table
from benchmarks.contenders.contender import Contender, ContenderError, Outcome
from benchmarks.feed import Feed

OURS = ("ours", "ours-keyed")
HEAD = (
    *("contender", "guarantee", "events", "events/s", "CPU µs/event", "second half"),
    *("peak MiB", "ours ÷ it", "keyed ÷ it", "counts"),
)


class Run(NamedTuple):
    """One run of one contender."""

    contender: Contender
    campaigns: int
    round: int
    outcome: Outcome

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        outcome = self.outcome
        return {
            "contender": self.contender.name,
            "campaigns": self.campaigns,
            "round": self.round,
            **outcome._asdict(),
            "events_per_second": outcome.rate,
            "cpu_us_per_event": outcome.cpu_us,
        }


def rounds(contenders: Sequence[Contender], feeds: Mapping[str, Feed], count: int) -> Iterator[Run]:
    """Let contenders count, one after the other; each round begins with another one.

    Args:
        contenders: who takes part.
        feeds: what each reads, by name.
        count: of rounds.
    """
    for number in range(count):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            feed = feeds[contender.name]
            group = f"{feed.name}-{contender.name}-{number}"
            with tempfile.TemporaryDirectory(prefix="campaign-streams-bench-") as directory:
                try:
                    outcome = contender.run(feed, Path(directory), group)
                except ContenderError as error:
                    sys.stderr.write(f"{contender.title}: {error}\n")
                    continue
            yield Run(contender, feed.campaigns, number + 1, outcome)


def rows(runs: Sequence[Run], order: Sequence[Contender]) -> list[list[str]]:
    """Make the rows of the table of runs with one number of campaigns."""
    ranked = sorted(runs, key=lambda run: order.index(run.contender))
    by_contender = {
        contender: list(group) for contender, group in groupby(ranked, lambda run: run.contender)
    }
    ours = {name: _cpu_by_round(runs, name) for name in OURS}
    return [_row(contender, of, ours) for contender, of in by_contender.items()]


def _row(
    contender: Contender, runs: list[Run], ours: Mapping[str, Mapping[int, float]]
) -> list[str]:
    outcomes = [run.outcome for run in runs]
    wrong = max(outcome.wrong for outcome in outcomes)
    return [
        contender.title,
        contender.guarantee,
        f"{max(outcome.events for outcome in outcomes):,}",
        table.spread(outcome.rate for outcome in outcomes),
        table.spread((outcome.cpu_us for outcome in outcomes), 2),
        f"{median(outcome.second_half_us for outcome in outcomes):.2f}",
        table.spread(outcome.peak_mib for outcome in outcomes),
        *(_ratio(ours[name], runs) for name in OURS),
        "exact" if not wrong else f"{wrong:,} wrong",
    ]


def _cpu_by_round(runs: Sequence[Run], name: str) -> dict[int, float]:
    return {run.round: run.outcome.cpu_us for run in runs if run.contender.name == name}


def _ratio(ours: Mapping[int, float], runs: Sequence[Run]) -> str:
    """Compare CPU per event within each round: below one, ours needs less."""
    paired = [ours[run.round] / run.outcome.cpu_us for run in runs if run.round in ours]
    return table.spread(paired, 3)
