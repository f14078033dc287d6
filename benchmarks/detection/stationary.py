"""False alarms of the product on stationary overdispersed traffic, in which any alert is false.

    python -m benchmarks.detection.stationary

The usual rate of a campaign does not change. The rate of a minute is drawn from a beta distribution
with the intraclass correlation rho, as in `traffic`; of every second campaign, these minutes are
not those of the clock. The counts of each flush go through the task of a backtest, so what is
decided is decided at the grain of the flushes. Every campaign is new, and is seen for a day.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import table
from benchmarks.detection.product import START
from benchmarks.detection.scoring import poisson_rate
from benchmarks.detection.tables import of_interval
from benchmarks.detection.traffic import BLOCK, DAY, Counts
from streams.backtest.arrivals import BacktestSettings
from streams.backtest.task import BacktestTask, Decided
from streams.configuration.models import Configuration
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Column,
    Dimensions,
    PartialCounts,
    WindowCounts,
)

RATES = (0.01, 0.05, 0.25)
"""Usual failure rates, 0 to 1."""
RHOS = (0.002, 0.01, 0.05)
VOLUMES = (8.0, 60.0, 500.0, 5000.0)
"""Attempts a minute."""
FLUSHES = (5.0, 1.0, 0.1)
"""Seconds between two commits."""
STEADY = 50.0
"""Shape of the gamma distribution of a minute's volume, as in `traffic`."""
SUCCESS = Dimensions("SUCCESS", None, None, None)
FAILURE = Dimensions("FAILURE", None, None, None)
HEAD = ("a minute", "flush, s", "days a cell", *(f"usual {rate:.0%}" for rate in RATES), "all")
RHO_HEAD = ("rho", "days", "false alarms a day")


class Kind(NamedTuple):
    """What a campaign is like: usual rate, rho, attempts a minute, and seconds of a flush."""

    usual: float
    rho: float
    volume: float
    flush: float


class Job(NamedTuple):
    """Days of one volume and flush: as many `campaigns` of each usual rate and rho."""

    volume: float
    flush: float
    campaigns: int

    @property
    def kinds(self) -> list[Kind]:
        """What the campaigns are like, one for each of them."""
        return [
            Kind(usual, rho, self.volume, self.flush)
            for usual in RATES
            for rho in RHOS
            for _ in range(self.campaigns)
        ]


class FalseAlarm(NamedTuple):
    """What the campaign is like, seconds since its first send, and the alert's summary."""

    kind: Kind
    after: float
    summary: str


def main() -> None:
    """Run traffic through the product, print and keep tables."""
    options = _options()
    began = time.monotonic()
    chosen = product(options.volumes, options.flushes)
    planned = list(jobs(options.days, options.records, chosen))
    days: list[Kind] = []
    false: list[FalseAlarm] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for job, found in zip(planned, pool.imap(false_alarms, planned), strict=True):
            days += job.kinds
            false += found
            _say(f"{time.monotonic() - began:.0f} s: {job}, {len(found)} false")
            for each in found:
                _say(f"  {each.after:,.0f} s, {each.kind}: {each.summary}")
    page = ""
    made = list(tables(days, [each.kind for each in false]))
    for title, head, rows in made:
        _say(f"\n{title}\n\n{table.text(head, rows)}")
        page += f"### {title}\n\n{table.markdown(head, rows)}\n"
    figures = {
        "tables": [[title, head, rows] for title, head, rows in made],
        "false": [[*each.kind, each.after, each.summary] for each in false],
    }
    path = table.keep("stationary", vars(options), page, figures)
    _say(f"{path} (and .md), {time.monotonic() - began:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.detection.stationary", description=__doc__
    )
    cell = "of each usual rate, volume and flush"
    parser.add_argument("--days", type=int, default=126, help=f"campaign-days {cell}")
    more = f"fewer days {cell} that has more records in them; a record has the counts of a flush"
    parser.add_argument("--records", type=float, default=20e6, help=more)
    parser.add_argument("--volumes", type=float, nargs="+", default=VOLUMES, help="a minute")
    parser.add_argument("--flushes", type=float, nargs="+", default=FLUSHES, help="seconds")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    return parser.parse_args()


def jobs(days: int, records: float, chosen: Iterable[tuple[float, float]]) -> Iterator[Job]:
    """Yield a job for each volume and flush.

    Args:
        days: of each usual rate,
        records: or fewer, so that they have as many partial counts of a campaign.
        chosen: volumes and flushes.
    """
    for volume, flush in chosen:
        a_day = DAY / flush * (1.0 - exp(-volume * flush / BLOCK))
        campaigns = min(days, records / a_day) / len(RHOS)
        yield Job(volume, flush, max(1, round(campaigns)))


def false_alarms(job: Job) -> list[FalseAlarm]:
    """Run a day of campaigns through a task, with rules as shipped; return all alerts."""
    kinds = job.kinds
    settings = BacktestSettings.of(Configuration())
    task = BacktestTask(settings.partition, job.flush, [0], START)
    found: list[FalseAlarm] = []
    for at, made in Flushes(task, len(kinds)).decided(flushes(job)):
        if made.type == "campaign.alert.firing":
            kind = kinds[int(made.data.campaign_id)]
            found.append(FalseAlarm(kind, (at - START) / 1000, made.data.summary))
    return found


class Flush(NamedTuple):
    """What arrives at one time (ms), by campaign: attempts, and failures among them."""

    at: int
    attempts: Counts
    failures: Counts


class Flushes:
    """Commits the counts of each flush; later, of campaigns to which nothing happens.

    `streams.domain.deferrable` says why that changes no decision.

    Args:
        task: of a backtest; counts of a flush are committed at its end.
        campaigns: how many there are.
    """

    def __init__(self, task: BacktestTask, campaigns: int) -> None:
        self._task = task
        self._names = np.array([str(number) for number in range(campaigns)], dtype=object)
        self._kept = np.zeros(campaigns, np.int64)
        """Attempts, none of them a failure, that were not committed."""
        self._window = START // 1000
        """The window that all of these are in: its start (s)."""

    def decided(self, flushes: Iterable[Flush]) -> Iterator[Decided]:
        """Yield what is decided, flush by flush."""
        task = self._task
        for flush in flushes:
            commit_at = flush.at + task.interval_ms
            if commit_at >= task.next_due:
                self._add_kept(self._kept > 0, commit_at)
            yield from task.pass_time(commit_at)
            deferrable, start = task.deferrable, flush.at // (1000 * BLOCK) * BLOCK
            if start in deferrable.starts and flush.at < deferrable.before:
                yield from self._commit_few(flush, commit_at)
            else:
                self._add_kept(self._kept > 0, commit_at)
                self._window = start
                yield from task.commit(commit_at, counts_of(flush, self._names))

    def _commit_few(self, flush: Flush, commit_at: int) -> Iterator[Decided]:
        deferrable = self._task.deferrable
        watched = [int(name) for name in deferrable.all_watched()]
        is_told = flush.failures > 0
        is_told[watched] = flush.attempts[watched] > 0
        self._kept += np.where(is_told, 0, flush.attempts)
        if is_told.any():
            self._add_kept(is_told & (self._kept > 0), commit_at)
            told = flush._replace(attempts=np.where(is_told, flush.attempts, 0))
            yield from self._task.commit_few(commit_at, counts_of(told, self._names))

    def _add_kept(self, which: NDArray[np.bool_], commit_at: int) -> None:
        """Add what is kept of some campaigns to the windows, before a commit (ms)."""
        (some,) = np.nonzero(which)
        if len(some):
            columns = [_column(SUCCESS, self._kept[some])]
            kept = _window(self._window, self._names[some], columns)
            self._task.add_kept(commit_at, [kept])
            self._kept[some] = 0


def counts_of(flush: Flush, names: NDArray[np.object_]) -> PartialCounts:
    """Return the counts of those of some campaigns that have any."""
    (some,) = np.nonzero(flush.attempts)
    failed = flush.failures[some]
    columns = [_column(SUCCESS, flush.attempts[some] - failed), _column(FAILURE, failed)]
    window = _window(flush.at // (1000 * BLOCK) * BLOCK, names[some], columns)
    return PartialCounts(PARTIAL_COUNTS_VERSION, {0: flush.at}, flush.at, [window])


def _window(start: int, names: NDArray[np.object_], columns: list[Column]) -> WindowCounts:
    return WindowCounts(start, names.tolist(), [None], [0] * len(names), columns)


def flushes(job: Job) -> Iterator[Flush]:
    """Yield what each flush has that has any counts."""
    kinds = job.kinds
    rng = np.random.default_rng((3, round(job.volume), round(1000 * job.flush)))
    usual, rho = (np.array([getattr(kind, name) for kind in kinds]) for name in ("usual", "rho"))
    beta = usual * (1.0 / rho - 1.0), (1.0 - usual) * (1.0 / rho - 1.0)
    a_minute = round(BLOCK / job.flush)
    # So many flushes after the clock's minute a campaign's own begins.
    begins = np.where(np.arange(len(kinds)) % 2, rng.integers(1, a_minute, len(kinds)), 0)
    has_begun = np.arange(a_minute)[:, np.newaxis] >= begins
    before = rng.beta(*beta)
    for start in range(START, START + 1000 * DAY, 1000 * BLOCK):
        now = rng.beta(*beta)
        pace = job.volume / a_minute * rng.gamma(STEADY, 1.0 / STEADY, len(kinds))
        attempts = rng.poisson(pace, has_begun.shape).astype(np.int32)
        failures = rng.binomial(attempts, np.where(has_begun, now, before)).astype(np.int32)
        for flush in np.flatnonzero(attempts.any(axis=1)).tolist():
            at = start + round(1000 * job.flush * flush)
            yield Flush(at, attempts[flush], failures[flush])
        before = now


def _column(what: Dimensions, counts: NDArray[np.int64] | Counts) -> Column:
    (at,) = np.nonzero(counts)
    return Column(what, at.tolist(), counts[at].tolist())


def tables(days: Sequence[Kind], false: Sequence[Kind]) -> Iterator[table.Results]:
    """Yield false alarms a campaign-day with exact intervals: of each cell, and by rho.

    Args:
        days: what each campaign-day was like.
        false: the same, for each false alarm.
    """
    title = f"False alarms a day, stationary traffic: {len(days):,} campaign-days"
    yield table.Results(title, HEAD, list(_cells(days, false)))
    rows = []
    for rho in RHOS:
        mine, found = ([kind for kind in kinds if kind.rho == rho] for kinds in (days, false))
        rows.append([f"{rho:g}", f"{len(mine):,}", _rate(found, mine)])
    yield table.Results("By dispersion", RHO_HEAD, rows)


def _cells(days: Sequence[Kind], false: Sequence[Kind]) -> Iterator[list[str]]:
    for volume, flush in dict.fromkeys(kind[2:] for kind in days):
        mine, found = (
            [kind for kind in kinds if kind[2:] == (volume, flush)] for kinds in (days, false)
        )
        rates = [
            _rate(*([kind for kind in kinds if kind.usual == usual] for kinds in (found, mine)))
            for usual in RATES
        ]
        what = f"{volume:,.0f}", f"{flush:g}", f"{len(mine) // len(RATES)}"
        yield [*what, *rates, _rate(found, mine)]


def _rate(false: Sequence[Kind], days: Sequence[Kind]) -> str:
    return of_interval(poisson_rate(len(false), len(days)))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
