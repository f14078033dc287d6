"""What `spike` costs: CPU time of a look, of a record, of windows that are learned, and bytes kept.

    python -m benchmarks.spike --minutes 10

Campaigns of all volumes and usual rates, some of them with an incident, are counted in records of a
tenth of a second, as an eager flush would make them: the more records, the more looks. Windows are
learned in batches, as many scopes at once as have any attempts in a window.
"""

import argparse
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks import table
from streams.domain.detectors.evidence import AboveLimit
from streams.domain.detectors.excursion_table import ExcursionTable
from streams.domain.detectors.excursions import Judge
from streams.domain.detectors.folding import ClosedWindow, Increment
from streams.domain.detectors.spike_states import SpikeStates
from streams.domain.detectors.spike_table import Settings
from streams.domain.folded_scopes import SCOPES_PER_GROUP, FoldGroup, encode
from streams.domain.pools import Pooled
from streams.domain.scope_sums import ScopeKey

VOLUMES = (5, 20, 60, 300, 1_000, 5_000)
"""Attempts a minute."""
RATES = (0.001, 0.01, 0.03, 0.08, 0.25)
DISPERSION = 0.01
FLUSH = 0.1
"""Seconds."""
SIZE = 60
"""Seconds of a window."""
LEARNED = 200
"""Windows that a baseline has learned before."""
START = 1_790_000_040
ROUNDS = 5
"""The least time of a call in so many rounds counts: the machine does other things too."""
BATCHES = (1, 50, 5_000)
"""Scopes that learn a window at once."""
NOBODY = Pooled((0, 0), (0, 0))
HOLD = 60.0
Look = tuple[AboveLimit, int, int, float]
"""The arguments of a look: attempts, hits and the level in nats."""


class Counts(NamedTuple):
    """A record as a scope sees it, its window so far, and attempts since the last one with hits."""

    attempts: int
    hits: int
    now: int
    so_far: tuple[int, int]
    before: int

    def increment(self) -> Increment:
        """Return it as states are given it."""
        return Increment(self.now, self.attempts, self.hits, self.before, lambda _: self.so_far)


class Campaign(NamedTuple):
    """A scope as it is before, and the records that come, by window."""

    state: bytes
    windows: list[list[Counts]]


def drawn_rates(
    source: np.random.Generator, rate: float, number: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw the rates of some minutes."""
    weight = 1.0 / DISPERSION - 1.0
    return source.beta(rate * weight, (1.0 - rate) * weight, size=number)


def closed(start: int, *of_each: Sequence[int]) -> ClosedWindow:
    """Return a window with attempts, hits and unseen attempts of scopes at the first places."""
    columns = [np.array(column, np.int64) for column in of_each]
    places = np.flatnonzero(columns[0])
    return ClosedWindow(start, places, *(column[places] for column in columns))


def end_of(records: Sequence[Counts]) -> tuple[int, int, int]:
    """Return attempts, hits and unseen attempts at the end of a window."""
    if not records:
        return 0, 0, 0
    last = records[-1]
    return *last.so_far, 0 if last.hits else last.before + last.attempts


def learned(source: np.random.Generator, volume: int, rate: float) -> bytes:
    """Return the state of a scope that has been seen for hours."""
    states = SpikeStates(Settings())
    states.begin(np.array([0]), NOBODY)
    attempts = source.poisson(volume, size=LEARNED)
    hits = source.binomial(attempts, drawn_rates(source, rate, LEARNED))
    for at, (n, k) in enumerate(zip(attempts.tolist(), hits.tolist(), strict=True)):
        if n:
            states.learn(closed(START + (at - LEARNED) * SIZE, [n], [k], [0]))
    return states.write([0])


def windows(
    source: np.random.Generator, volume: int, rate: float, minutes: int, incident: float | None
) -> Iterator[list[Counts]]:
    """Yield the records of each window; from the middle on, an incident has its own rate."""
    flushes = round(SIZE / FLUSH)
    unseen = 0
    for minute, usual in enumerate(drawn_rates(source, rate, minutes).tolist()):
        now_rate = incident if incident is not None and minute >= minutes // 2 else usual
        attempts = source.poisson(volume / flushes, size=flushes)
        hits = source.binomial(attempts, now_rate)
        so_far = zip(attempts.cumsum().tolist(), hits.cumsum().tolist(), strict=True)
        counts = zip(attempts.tolist(), hits.tolist(), so_far, strict=True)
        start = (START + minute * SIZE) * 1_000
        records = []
        for at, (n, k, seen) in enumerate(counts):
            if n:
                records.append(Counts(n, k, start + round(at * FLUSH * 1_000), seen, unseen))
                unseen = 0 if k else unseen + n
        yield records


def campaigns(minutes: int) -> list[Campaign]:
    """Make all volumes with all rates, half of them with an incident."""
    source = np.random.default_rng(13)
    return [
        Campaign(
            learned(source, volume, rate),
            list(windows(source, volume, rate, minutes, incident)),
        )
        for volume in VOLUMES
        for rate in RATES
        for incident in (None, min(0.9, 4 * rate + 0.1))
    ]


def overhead() -> float:
    """Return what it takes to read the clock twice (s)."""
    clock = time.perf_counter
    least = math.inf
    for _ in range(2_000):
        began = clock()
        least = min(least, clock() - began)
    return least


_OVERHEAD = overhead()


def timed(times: list[float], call: Callable[..., Any], *arguments: Any) -> None:
    """Call a function and append its time (s)."""
    clock = time.perf_counter
    began = clock()
    call(*arguments)
    times.append(clock() - began - _OVERHEAD)


def states_of(campaign: Campaign) -> SpikeStates:
    """Return the states of one campaign, at place 0."""
    states = SpikeStates(Settings())
    states.read([0], campaign.state)
    return states


def play(campaign: Campaign, times: dict[str, list[float]]) -> SpikeStates:
    """Add all records of a campaign; note the times (s) of single calls, by what was done."""
    states = states_of(campaign)
    for number, records in enumerate(campaign.windows):
        for counts in records:
            if counts.hits or states.fires(0):
                name = "hits" if counts.hits else "no hits"
                timed(times[name], states.add, 0, counts.increment(), HOLD)
        if records:
            states.learn(closed(START + number * SIZE, *([each] for each in end_of(records))))
    return states


def record_rows(made: list[Campaign]) -> list[list[str]]:
    """Return the costs of a record."""
    rounds = []
    for _ in range(ROUNDS):
        times: dict[str, list[float]] = {"hits": [], "no hits": []}
        for campaign in made:
            play(campaign, times)
        rounds.append(times)
    return [[f"a record: {name}", *least_of([each[name] for each in rounds])] for name in rounds[0]]


def looks(made: list[Campaign]) -> list[Look]:
    """Collect the arguments of all looks."""
    seen: list[Look] = []

    class Noting(AboveLimit):
        __slots__ = ()

        def exceeds(self, attempts: int, hits: int, level: float) -> bool:
            seen.append((AboveLimit(self.a, self.b, self.limit), attempts, hits, level))
            return super().exceeds(attempts, hits, level)

    def noting(table: ExcursionTable, place: int, null: tuple[float, float]) -> Judge:
        judge = new_judge(table, place, null)
        judge.above = Noting(judge.found.a, judge.found.b, judge.found.limit)
        return judge

    new_judge = ExcursionTable.new_judge
    with patch.object(ExcursionTable, "new_judge", noting):
        for campaign in made:
            play(campaign, {"hits": [], "no hits": []})
    return seen


def look_row(made: list[Campaign]) -> list[str]:
    """Return the costs of a look."""
    seen = looks(made)
    rounds: list[list[float]] = []
    for _ in range(ROUNDS):
        times: list[float] = []
        for above, *arguments in seen:
            timed(times, above.exceeds, *arguments)
        rounds.append(times)
    return ["a look", *least_of(rounds)]


def slowest() -> tuple[float, str]:
    """Return the time of the slowest exact evaluation that was found (µs), and of what."""
    worst, what = 0.0, ""
    above = AboveLimit(0.02 * 49, 0.98 * 49, 0.04)
    for attempts in (100, 1_000, 6_000, 6_500, 9_999, 10_000, 10**6, 10**9):
        for away in (-3.0, -1.0, 0.0, 0.1, 1.0, 3.0):
            hits = max(0, round(attempts * 0.04 + away * math.sqrt(attempts * 0.0384)))
            least = math.inf
            for _ in range(20 * ROUNDS):
                began = time.perf_counter()
                above.log_ratio(attempts, hits)
                least = min(least, time.perf_counter() - began - _OVERHEAD)
            if least > worst:
                worst, what = least, f"{hits:,} of {attempts:,}"
    return worst * 1e6, what


def batch_row(made: list[Campaign], number: int) -> list[str]:
    """Return what it costs a scope that so many learn a window; the scopes are of all kinds."""
    states = SpikeStates(Settings())
    kinds = [made[at % len(made)] for at in range(number)]
    for place, campaign in enumerate(kinds):
        states.read([place], campaign.state)
    times: list[float] = []
    for minute in range(len(made[0].windows)):
        # Every second campaign has an incident from the middle on; many have an excursion.
        ends = [each.windows[minute] for each in kinds]
        for place, records in enumerate(ends):
            if records and records[-1].hits:
                states.add(place, records[-1].increment(), HOLD)
        counts = [end_of(records) for records in ends]
        window = closed(START + minute * SIZE, *zip(*counts, strict=True))
        if len(window.places):
            timed(times, states.learn, window)
    each = [seconds / number for seconds in times]
    shown = [*(f"{value * 1e6:.2f}" for value in (sum(each) / len(each), max(each)))]
    name = f"a scope and window learned, of {number:,} at once"
    return [name, shown[0], "", shown[1], f"{len(times):,}"]


def single_batch_row(made: list[Campaign]) -> list[str]:
    """Return what it costs to learn a window of one scope."""
    rounds = []
    for _ in range(ROUNDS):
        times: list[float] = []
        for campaign in made:
            states = states_of(campaign)
            for minute, records in enumerate(campaign.windows):
                if records:
                    of_it = closed(START + minute * SIZE, *([each] for each in end_of(records)))
                    timed(times, states.learn, of_it)
        rounds.append(times)
    return ["a scope and window learned, of 1 at once", *least_of(rounds)]


def bytes_rows(made: list[Campaign]) -> list[list[str]]:
    """Return how many bytes the state of a scope takes, in memory and written down."""
    rows = []
    quiet = [each.state for each in made] * 20
    ends = [play(each, {"hits": [], "no hits": []}).write([0]) for each in made] * 20
    for name, written in (("before", quiet), ("after these records", ends)):
        states = SpikeStates(Settings())
        for place, each in enumerate(written):
            states.read([place], each)
        places = range(len(written))
        kept = states.write(places)
        groups = [
            group_of(states, places[at : at + SCOPES_PER_GROUP])
            for at in range(0, len(places), SCOPES_PER_GROUP)
        ]
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        again = SpikeStates(Settings())
        again.read(places, kept)
        excursions = [again.excursion(place) for place in places]
        for place, excursion in zip(places, excursions, strict=True):
            if excursion is not None:
                again.excursions.judge(place, excursion)
        share = sum(excursion is not None for excursion in excursions) / len(places)
        del excursions
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        what = f"bytes of a scope {name}, {share:.0%} with an excursion"
        rows += [
            [f"{what}: in memory", f"{(after - before) / len(places):.0f}", "", "", ""],
            [f"{what}: in the topic", f"{sum(groups) / len(places):.0f}", "", "", ""],
        ]
    return rows


def group_of(states: SpikeStates, places: Sequence[int]) -> int:
    """Return the bytes of the record of some scopes, with names of 36 characters."""
    keys: list[ScopeKey | None] = [f"00000000-0000-4000-8000-{place:012}" for place in places]
    learned_at, apps, balances = ([each] * len(keys) for each in (START, 1, 1_000))
    group = FoldGroup("spike", "campaign", keys, apps, learned_at, {}, states.write(places))
    group.balances = balances
    return len(encode(group))


def least_of(rounds: list[list[float]]) -> list[str]:
    """Write down the least times (s) of rounds: mean, p99, the largest (µs), and how many."""
    times = [min(each) for each in zip(*rounds, strict=True)]
    shown = sum(times) / len(times), table.percentile(times, 0.99), max(times)
    return [*(f"{each * 1e6:.2f}" for each in shown), f"{len(times):,}"]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spike", description="Looks.")
    parser.add_argument("--minutes", type=int, default=10, help="of each campaign")
    options = parser.parse_args()
    made = campaigns(options.minutes)
    rows = [look_row(made), *record_rows(made)]
    worst, what = slowest()
    rows.append([f"exact evidence, slowest: {what}", f"{worst:.2f}", "", "", ""])
    rows.append(single_batch_row(made))
    rows += [batch_row(made, number) for number in BATCHES if number > 1]
    rows += bytes_rows(made)
    title = f"What spike costs, {len(made)} campaigns of {options.minutes} minutes"
    head = ("what", "mean, µs", "p99", "most", "calls")
    table.publish("spike", table.Results(title, head, rows), **vars(options))


if __name__ == "__main__":
    main()
