"""Single cases: a campaign that breaks at once, and a handful of failures that are no incident."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.detection.product import Product
from benchmarks.detection.scoring import Interval, quantile, share
from benchmarks.detection.traffic import Campaign, Counts, Hit, Run, Volume

WARM = 3_600
"""Seconds of usual traffic before."""
AFTER = 300
"""Seconds after a campaign breaks in which it has to be found."""
WITHIN = 5
"""Seconds in which all of a handful come."""
ALONE = 600
"""Seconds after a handful."""


class Broken(NamedTuple):
    """A campaign of which everything fails from a moment on.

    Attributes:
        volume: attempts a minute.
        usual: failure rate before, 0 to 1.
        is_even: whether attempts come at equal distances, or at random times.
    """

    volume: float
    usual: float
    is_even: bool = False


class Handful(NamedTuple):
    """A few sends, of which some fail, within five seconds.

    Attributes:
        failures: of these.
        attempts: all of them.
        volume: attempts a minute of the campaign before and after; 0 for a new one.
        goes_on: whether it sends as before afterwards, or nothing.
    """

    failures: int
    attempts: int
    volume: float
    goes_on: bool


class Times(NamedTuple):
    """Seconds from the first failure to the alert.

    Attributes:
        case: which campaign.
        median: with an interval.
        most: quantile .9, with an interval.
        longest: the maximum.
        missed: campaigns without an alert.
        campaigns: how many there were.
    """

    case: Broken
    median: Interval
    most: Interval
    longest: int
    missed: int
    campaigns: int


BROKEN = tuple(
    Broken(volume, usual, is_even)
    for volume, is_even in ((50.0, True), (50.0, False), (8.0, True), (8.0, False))
    for usual in (0.001, 0.01, 0.03)
)
HANDFULS = tuple(
    Handful(failures, attempts, volume, goes_on)
    for failures, attempts in ((1, 2), (3, 10), (3, 3), (5, 5))
    for volume, goes_on in ((0.0, False), (8.0, False), (8.0, True), (50.0, True))
)


def times(product: Product, case: Broken, campaigns: int, seed: int) -> Times:
    """Return how soon campaigns that break are found."""
    rng = np.random.default_rng((3, seed))
    runs = []
    for number in range(campaigns):
        attempts = _attempts(case, rng)
        rates = np.full(len(attempts), case.usual)
        rates[WARM:] = 1.0
        failures = rng.binomial(attempts, rates).astype(np.int32)
        runs.append(_run(number, case.volume, case.usual, attempts, failures))
    found, longest = [], 0
    for run, alerts in zip(runs, product.alerts(runs), strict=True):
        first = WARM + int(np.flatnonzero(run.failures[WARM:])[0])
        fired = [alert.fired - first for alert in alerts[Hit.FAILURE] if alert.fired >= first]
        if fired:
            found.append(fired[0])
            longest = max(longest, fired[0])
    return Times(
        case,
        quantile(found, 0.5),
        quantile(found, 0.9),
        longest,
        campaigns - len(found),
        campaigns,
    )


def _attempts(case: Broken, rng: np.random.Generator) -> Counts:
    if case.is_even:
        return _even(case.volume, WARM + AFTER, rng.random())
    return _random(case.volume, WARM + AFTER, rng)


def _even(volume: float, seconds: int, phase: float) -> Counts:
    """Return attempts a second at equal distances; the first is `phase` of one after the start."""
    times = (np.arange(volume * seconds / 60.0 - 1.0) + phase) * 60.0 / volume
    return np.bincount(times.astype(np.int64), minlength=seconds).astype(np.int32)


def _random(volume: float, seconds: int, rng: np.random.Generator) -> Counts:
    return rng.poisson(volume / 60.0, seconds).astype(np.int32)


def alarms(product: Product, case: Handful, campaigns: int, seed: int) -> Interval:
    """Return the share of handfuls, at a usual rate of 1 %, that an alert follows."""
    rng = np.random.default_rng((4, seed))
    runs, starts = [], []
    for number in range(campaigns):
        start = WARM + int(rng.integers(0, 60)) if case.volume else 0
        attempts = _random(case.volume, start + ALONE, rng)
        failures = rng.binomial(attempts, 0.01).astype(np.int32)
        _silence(attempts, failures, start, None if not case.goes_on else start + WITHIN + 1)
        at = start + np.arange(case.attempts) * WITHIN // max(1, case.attempts - 1)
        np.add.at(attempts, at, 1)
        np.add.at(failures, rng.permutation(at)[: case.failures], 1)
        runs.append(_run(number, case.volume, 0.01, attempts, failures))
        starts.append(start)
    alarmed = sum(
        any(alert.fired >= start for alert in alerts[Hit.FAILURE])
        for start, alerts in zip(starts, product.alerts(runs), strict=True)
    )
    return share(alarmed, campaigns)


def _silence(attempts: Counts, failures: Counts, start: int, end: int | None) -> None:
    attempts[start:end] = 0
    failures[start:end] = 0


def _run(number: int, volume: float, usual: float, attempts: Counts, failures: Counts) -> Run:
    what = Campaign(
        number=number,
        app=number,
        volume=volume,
        shape=Volume.STEADY,
        usual=usual,
        rho=0.0,
        offset=0,
        drift=0.0,
        throttled=0.0,
        days=0,
    )
    return Run(
        campaign=what,
        attempts=attempts,
        failures=failures,
        throttled=np.zeros_like(attempts),
        incidents=(),
        decoys=(),
        cells=(),
        rates={},
        excess={},
        seed=(),
    )


BROKEN_HEAD = ("everything fails", "usual", "median", "90 %", "longest", "missed", "campaigns")
HANDFUL_HEAD = ("failures", "before", "after", "with an alert")


def broken_row(found: Times) -> Sequence[str]:
    """Return what came of campaigns that break, in seconds, under `BROKEN_HEAD`."""
    case = found.case
    return (
        f"{case.volume:g} a minute, {'evenly' if case.is_even else 'at random'}",
        f"{100 * case.usual:g} %",
        f"{found.median.value:.0f}",
        f"{found.most.value:.0f} [{found.most.low:.0f}, {found.most.high:.0f}]",
        f"{found.longest}",
        f"{found.missed}",
        f"{found.campaigns}",
    )


def handful_row(case: Handful, alarmed: Interval) -> Sequence[str]:
    """Return what came of handfuls, under `HANDFUL_HEAD`."""
    return (
        f"{case.failures} of {case.attempts}",
        f"{case.volume:g} a minute" if case.volume else "a new campaign",
        "goes on" if case.goes_on else "nothing",
        f"{alarmed.value:.3f} [{alarmed.low:.3f}, {alarmed.high:.3f}]",
    )
