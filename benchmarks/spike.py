"""What `spike` costs: CPU time of a look, of a record, of a window that closes, and bytes kept.

    python -m benchmarks.spike --minutes 10

Campaigns of all volumes and usual rates, some of them with an incident, are counted in records of a
tenth of a second, as an eager flush would make them: the more records, the more looks.
"""

import argparse
import math
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks import table
from streams.domain.detectors.baseline import Baseline
from streams.domain.detectors.evidence import AboveLimit
from streams.domain.detectors.spike_state import (
    Fold,
    Model,
    Settings,
    SpikeState,
    WindowCounts,
    pack,
    unpack,
)

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
START = 1_790_000_040.0
ROUNDS = 5
"""The least time of a call in so many rounds counts: the machine does other things too."""


class Counts(NamedTuple):
    """A record as a scope sees it."""

    attempts: int
    hits: int
    now: int
    window: WindowCounts


def drawn_rate(source: random.Random, rate: float) -> float:
    """Draw the rate of one minute."""
    weight = 1.0 / DISPERSION - 1.0
    return source.betavariate(rate * weight, (1.0 - rate) * weight)


def binomial(source: random.Random, attempts: int, rate: float) -> int:
    """Draw a number of hits."""
    return sum(source.random() < rate for _ in range(attempts))


def poisson(source: random.Random, mean: float) -> int:
    """Draw a number of attempts (D. Knuth's method, for small means)."""
    number, product, least = 0, source.random(), math.exp(-mean)
    while product > least:
        number, product = number + 1, product * source.random()
    return number


def learned(source: random.Random, volume: int, rate: float) -> SpikeState:
    """Return the state of a scope that has been seen for hours."""
    state = SpikeState(Baseline())
    for _ in range(LEARNED):
        hits = binomial(source, volume, drawn_rate(source, rate))
        state.baseline.learn(volume, hits)
    return state


def records(
    source: random.Random, volume: int, rate: float, minutes: int, incident: float | None
) -> Iterator[Counts]:
    """Yield the records of a scope; from the middle on, an incident has its own rate."""
    for minute in range(minutes):
        start = START + minute * SIZE
        now_rate = drawn_rate(source, rate)
        if incident is not None and minute >= minutes // 2:
            now_rate = incident
        attempts = hits = 0
        for flush in range(round(SIZE / FLUSH)):
            more = poisson(source, volume * FLUSH / 60)
            if more:
                failed = binomial(source, more, now_rate)
                attempts, hits = attempts + more, hits + failed
                window = WindowCounts(start, attempts, hits)
                yield Counts(more, failed, round((start + flush * FLUSH) * 1_000), window)


class Scope(NamedTuple):
    """A scope as it is before, and the records that come."""

    state: bytes
    records: list[Counts]


def scopes(minutes: int) -> list[Scope]:
    """Make all volumes with all rates, half of them with an incident."""
    source = random.Random(13)  # noqa: S311 - repeatable
    made = []
    for volume in VOLUMES:
        for rate in RATES:
            for incident in (None, min(0.9, 4 * rate + 0.1)):
                state = learned(source, volume, rate)
                counts = list(records(source, volume, rate, minutes, incident))
                made.append(Scope(pack(state), counts))
    return made


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


def play(made: list[Scope]) -> dict[str, list[float]]:
    """Add all records once; return the times (s) of single calls, by what was done."""
    times: dict[str, list[float]] = {
        name: [] for name in ("hits", "no hits", "close", "pack and unpack")
    }
    fold = Fold(Settings())
    for scope in made:
        state, before = unpack(scope.state), scope.records[0].window
        for counts in scope.records:
            if counts.window.start != before.start:
                timed(times["close"], fold.close, state, before)
            before = counts.window
            if counts.hits:
                timed(times["hits"], fold.add, state, *counts)
                timed(times["pack and unpack"], again, state)
            elif state.excursion is not None:
                timed(times["no hits"], fold.add, state, *counts)
    return times


def again(state: SpikeState) -> SpikeState:
    """Write a state and read it."""
    return unpack(pack(state))


def looks(made: list[Scope]) -> list[tuple[AboveLimit, int, int, float]]:
    """Collect the arguments of all looks."""
    seen: list[tuple[AboveLimit, int, int, float]] = []

    class Noting(AboveLimit):
        __slots__ = ()

        def exceeds(self, attempts: int, hits: int, level: float) -> bool:
            seen.append((AboveLimit(self.a, self.b, self.limit), attempts, hits, level))
            return super().exceeds(attempts, hits, level)

    class NotingFold(Fold):
        def _make_model(self, rate: float, weight: float) -> Model:
            found = super()._make_model(rate, weight).found
            return Model(found, Noting(found.a, found.b, found.limit))

    fold = NotingFold(Settings())
    for scope in made:
        state, before = unpack(scope.state), scope.records[0].window
        for counts in scope.records:
            if counts.window.start != before.start:
                fold.close(state, before)
            before = counts.window
            if counts.hits or state.excursion is not None or state.live is not None:
                fold.add(state, *counts)
    return seen


def of_looks(seen: list[tuple[AboveLimit, int, int, float]]) -> list[float]:
    """Return the times of looks (s)."""
    rounds: list[list[float]] = []
    for _ in range(ROUNDS):
        times: list[float] = []
        for above, *arguments in seen:
            timed(times, above.exceeds, *arguments)
        rounds.append(times)
    return [min(each) for each in zip(*rounds, strict=True)]


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


def memory(made: list[Scope]) -> float:
    """Return the bytes that a scope's state takes in memory after its records."""
    fold = Fold(Settings())
    states = []
    for scope in made:
        state = unpack(scope.state)
        for counts in scope.records[: len(scope.records) // 3]:
            fold.add(state, *counts)
        states.append(state)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [pack(state) for _ in range(100) for state in states]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(kept)


def figures(times: list[float]) -> list[str]:
    """Write down times (s): mean, 99th percentile, the largest (µs), and how many."""
    shown = sum(times) / len(times), table.percentile(times, 0.99), max(times)
    return [*(f"{each * 1e6:.2f}" for each in shown), f"{len(times):,}"]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spike", description="Looks.")
    parser.add_argument("--minutes", type=int, default=10, help="of each campaign")
    options = parser.parse_args()
    made = scopes(options.minutes)
    rounds = [play(made) for _ in range(ROUNDS)]
    rows = []
    for name in rounds[0]:
        times = [min(each) for each in zip(*(each[name] for each in rounds), strict=True)]
        rows.append([f"a record: {name}", *figures(times)])
    rows.append(["a look", *figures(of_looks(looks(made)))])
    worst, what = slowest()
    rows.append([f"exact evidence, slowest: {what}", f"{worst:.2f}", "", "", ""])
    title = (
        f"What spike costs, {len(made)} campaigns of {options.minutes} minutes; "
        f"the state of one is {memory(made):.0f} bytes in memory"
    )
    head = ("what", "mean, µs", "p99", "most", "calls")
    table.publish("spike", table.Results(title, head, rows), **vars(options))


if __name__ == "__main__":
    main()
