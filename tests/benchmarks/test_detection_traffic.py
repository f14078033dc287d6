import numpy as np
import pytest

from benchmarks.detection import traffic
from benchmarks.detection.traffic import BLOCK, DAY, Hit, Kind, Split, Volume


def _first(split: Split, chosen: object) -> traffic.Run:
    runs = (traffic.run(split, number) for number in range(1, 400))
    return next(each for each in runs if any(one.kind == chosen for one in each.incidents))


def test_same_number_same_traffic() -> None:
    once, again = traffic.run(Split.TRAIN, 7), traffic.run(Split.TRAIN, 7)
    assert np.array_equal(once.attempts, again.attempts)
    assert np.array_equal(once.failures, again.failures)
    assert np.array_equal(once.throttled, again.throttled)
    assert once.incidents == again.incidents


def test_splits_share_nothing() -> None:
    train, test = traffic.run(Split.TRAIN, 7), traffic.run(Split.TEST, 7)
    assert train.campaign.volume != test.campaign.volume
    assert train.campaign.usual != test.campaign.usual


def test_hits_are_among_the_attempts() -> None:
    for number in range(20):
        run = traffic.run(Split.TEST, number)
        assert len(run.attempts) == run.campaign.days * DAY
        assert (run.failures + run.throttled <= run.attempts).all()
        assert min(run.failures.min(), run.throttled.min()) >= 0


@pytest.mark.parametrize("kind", list(Kind))
def test_incident_raises_the_rate_to_what_it_says(kind: Kind) -> None:
    run = _first(Split.TRAIN, kind)
    incident = next(each for each in run.incidents if each.kind == kind)
    inside = slice(incident.start, incident.end)
    attempts, hits = run.attempts[inside].sum(), run.hits(incident.hit)[inside].sum()
    expected = attempts * incident.usual + incident.hits
    assert hits == pytest.approx(expected, abs=6.0 * expected**0.5 + 0.3 * expected)
    assert incident.peak > incident.usual


def test_cells_add_up_to_the_campaign() -> None:
    run = _first(Split.TRAIN, Kind.CHANNEL)
    incident = next(each for each in run.incidents if each.kind == Kind.CHANNEL)
    span = incident.start, min(incident.end, incident.start + 600)
    attempts, hits = run.by_cell(incident, *span)
    assert np.array_equal(attempts.sum(axis=0), run.attempts[slice(*span)])
    assert np.array_equal(hits.sum(axis=0), run.hits(incident.hit)[slice(*span)])
    assert (hits <= attempts).all()
    assert sum(cell.share for cell in run.cells) == pytest.approx(1.0)


def test_excess_is_in_the_cells_of_the_incident() -> None:
    run = _first(Split.TRAIN, Kind.CHANNEL)
    incident = next(each for each in run.incidents if each.kind == Kind.CHANNEL)
    attempts, hits = (each.sum(axis=1) for each in run.by_cell(incident, 0, len(run.attempts)))
    attempts, hits = (
        each.sum(axis=1) for each in run.by_cell(incident, incident.start, incident.end)
    )
    inside = np.zeros(len(run.cells), dtype=np.bool_)
    inside[list(incident.cells)] = True
    assert hits[inside].sum() / attempts[inside].sum() > 0.3
    assert hits[~inside].sum() / max(1, attempts[~inside].sum()) < 0.3


@pytest.mark.parametrize(("seed", "share"), [(2, 1.0), (3, 0.0)])
def test_stationary_counts_spread_as_rho_says(seed: int, share: float) -> None:
    run = traffic.stationary(3000.0, 0.1, 0.02, days=7, seed=seed)
    blocks = run.failures.reshape(-1, BLOCK).sum(axis=1)
    sent = run.attempts.reshape(-1, BLOCK).sum(axis=1)
    rates = blocks / sent
    mean = run.failures.sum() / run.attempts.sum()
    rho = (rates.var() / (mean * (1.0 - mean)) - (1.0 / sent).mean()) / (1.0 - 1.0 / 3000.0)
    offset = run.campaign.offset / BLOCK
    # A window that begins within a block has parts of two.
    expected = 0.02 * (1.0 if share else offset**2 + (1.0 - offset) ** 2)
    assert rho == pytest.approx(expected, rel=0.15)
    assert not run.incidents
    assert not run.decoys


def test_all_shapes_and_kinds_are_there() -> None:
    runs = [traffic.run(Split.TEST, number) for number in range(300)]
    assert {each.campaign.shape for each in runs} == set(Volume)
    assert {one.kind for each in runs for one in each.incidents} == set(Kind)
    assert {one.hit for each in runs for one in each.incidents} == set(Hit)
    assert {one.decoy for each in runs for one in each.decoys} == set(traffic.Decoy)
    assert any(not one.wanted for each in runs for one in each.incidents)
