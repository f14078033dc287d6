"""Stationary traffic: its counts are as they should be, and alerts are those of its campaigns."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from benchmarks.detection import stationary
from benchmarks.detection.product import START
from benchmarks.detection.stationary import (
    FLUSHES,
    RATES,
    RHOS,
    VOLUMES,
    Flush,
    Flushes,
    Job,
    Kind,
)
from streams.backtest.arrivals import BacktestSettings
from streams.backtest.task import BacktestTask, Decided
from streams.configuration.models import Configuration


@pytest.mark.parametrize("flush", [5.0, 1.0])
def test_counts_have_volume_rate_and_dispersion(
    flush: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = 200
    monkeypatch.setattr(stationary, "DAY", minutes * 60)
    job = Job(500.0, flush, 6)
    sent = np.zeros((minutes, len(job.kinds)))
    failed = np.zeros_like(sent)
    step, last = round(1000 * flush), START
    for flush_ in stationary.flushes(job):
        assert flush_.at > last or flush_.at == START
        last = flush_.at
        assert (last - START) % step == 0
        assert (flush_.failures <= flush_.attempts).all()
        sent[(last - START) // 60_000] += flush_.attempts
        failed[(last - START) // 60_000] += flush_.failures
    assert sent.mean() == pytest.approx(500.0, rel=0.02)
    for usual in RATES:
        for rho in RHOS:
            # Every second campaign's minutes are those of the clock.
            mine = [n for n, each in enumerate(job.kinds) if each[:2] == (usual, rho)]
            mine = [n for n in mine if n % 2 == 0]
            rates = failed[:, mine] / sent[:, mine]
            assert rates.mean() == pytest.approx(usual, rel=0.2)
            seen = (rates.var() / (usual * (1.0 - usual)) - 1.0 / 490.0) / (1.0 - 1.0 / 490.0)
            assert seen == pytest.approx(rho, rel=0.6)


def breaking(job: Job, broken: Sequence[int], until: float = math.inf) -> Iterator[Flush]:
    """Yield flushes; after half an hour, up to so many seconds, there are failures on top."""
    for flush in stationary.flushes(job):
        if 1_800_000 < flush.at - START < 1_000 * until:
            flush.attempts[[*broken]] += 5
            flush.failures[[*broken]] += 5
        yield flush


def test_what_fires_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two campaigns of 60 a minute have as many failures on top after half an hour."""
    monkeypatch.setattr(stationary, "DAY", 45 * 60)
    job = Job(60.0, 5.0, 1)
    broken = (2, 7)
    made = list(breaking(job, broken))
    monkeypatch.setattr(stationary, "flushes", lambda _: made)
    found = stationary.false_alarms(job)
    assert {each.kind for each in found} == {job.kinds[number] for number in broken}
    assert len(found) == len(broken)
    assert all(1_800 < each.after < 1_920 for each in found)


@pytest.mark.parametrize(("volume", "flush"), [(8.0, 0.1), (60.0, 1.0), (500.0, 5.0)])
def test_what_is_kept_changes_no_decision(
    volume: float, flush: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stationary, "DAY", 45 * 60)
    made = list(breaking(Job(volume, flush, 1), (2, 7), until=2_400))
    partition = BacktestSettings.of(Configuration()).partition
    names = np.array([str(number) for number in range(9)], dtype=object)
    task, other = (BacktestTask(partition, flush, [0], START) for _ in range(2))
    expected: list[Decided] = []
    for each in made:
        at = each.at + task.interval_ms
        expected += [*task.pass_time(at), *task.commit(at, stationary.counts_of(each, names))]
    assert {each.transition.type for each in expected} == {
        "campaign.alert.firing",
        "campaign.alert.resolved",
    }
    assert list(Flushes(other, 9).decided(made)) == expected


def test_tables_have_each_cell_and_its_exact_interval() -> None:
    jobs = [Job(volume, flush, 40) for volume in VOLUMES for flush in FLUSHES]
    days = [kind for job in jobs for kind in job.kinds]
    false = [Kind(RATES[1], rho, VOLUMES[2], FLUSHES[1]) for rho in (RHOS[0], RHOS[2], RHOS[2])]
    cells, by_rho = stationary.tables(days, false)
    assert [row[:3] for row in cells.rows] == [
        [f"{volume:,.0f}", f"{flush:g}", "120"] for volume in VOLUMES for flush in FLUSHES
    ]
    found = Counter(cell for row in cells.rows for cell in row[3:6])
    # Garwood: 0 of 120 days and 3 of 120 days.
    assert found == {"0.000 [0.000, 0.031]": 35, "0.025 [0.005, 0.073]": 1}
    at = VOLUMES.index(VOLUMES[2]) * len(FLUSHES) + 1
    assert cells.rows[at][4:] == ["0.025 [0.005, 0.073]", "0.000 [0.000, 0.031]", cells.rows[at][6]]
    assert cells.rows[at][6].startswith("0.008 [")
    assert [row[:2] for row in by_rho.rows] == [[f"{rho:g}", "1,440"] for rho in RHOS]
    assert [row[2].split()[0] for row in by_rho.rows] == ["0.001", "0.000", "0.001"]


ALL = list(itertools.product(VOLUMES, FLUSHES))


def test_dear_cells_have_fewer_days() -> None:
    by_cell = {(job.volume, job.flush): job.campaigns for job in stationary.jobs(90, 2e6, ALL)}
    assert len(by_cell) == len(VOLUMES) * len(FLUSHES)
    assert by_cell[8.0, 5.0] == by_cell[8.0, 0.1] == 30
    assert by_cell[5000.0, 0.1] == 1
