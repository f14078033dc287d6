"""The simulation of causes adds up what the product does, and is the same for the same seed."""

import numpy as np
import pytest

from benchmarks.causes import (
    BEGINS,
    SCENARIOS,
    Round,
    Scenario,
    Score,
    Sums,
    Traffic,
    faults,
    fleet,
    measure,
)
from streams.domain.causes.evidence import BANDS, CampaignSends
from streams.domain.causes.summary import frame_of

SMALL = Scenario("small", 12, 2, ("app",), own=2)


def test_the_sums_of_all_campaigns_are_those_of_the_product() -> None:
    random = np.random.default_rng(7)
    of = fleet(random, SMALL)
    broken = faults(random, of, SMALL)
    assert broken is not None
    traffic = Traffic(random, of, broken)
    since, now = 180, BEGINS + 120
    campaigns = [
        CampaignSends(
            str(campaign),
            of.apps[campaign],
            {of.keys[at][1:]: traffic.sends(at, since, now, status=False) for at in cells},
            {of.keys[at][1:]: traffic.usual(at) for at in cells},
        )
        for campaign in range(len(of.apps))
        for cells in [[int(at) for at in np.flatnonzero(of.campaign == campaign)]]
    ]
    product = dict(frame_of(since, campaigns).cells)
    ours = Sums(traffic).frame(since, now)

    assert ours.keys() == product.keys()
    for key, cell in product.items():
        assert (ours[key].campaigns, ours[key].attempts) == (cell.campaigns, cell.attempts)
        assert ours[key].hits == cell.hits
        assert ours[key].expected == pytest.approx(cell.expected, abs=cell.campaigns)
        for band in range(len(BANDS)):
            assert ours[key].evidence[band] == pytest.approx(
                cell.evidence[band], abs=cell.campaigns
            )


def test_a_round_is_the_same_for_the_same_seed_and_workers_agree() -> None:
    one, two = (Round(SMALL, (1, 0, 0)).run() for _ in range(2))
    assert one == two
    assert one.agreed
    assert one.largest > 0
    assert (one.causes, one.named_last) == (1, 1)
    assert Round(SMALL, (2, 0, 0)).run() != one


def test_a_fleet_in_which_nothing_breaks_is_told_nothing_of() -> None:
    score = Round(Scenario("healthy", 12, 2), (1, 0, 0)).run()
    assert score == Score(rounds=1)


def test_the_smallest_fleets_have_a_slice_that_breaks() -> None:
    (scenario,) = [each for each in SCENARIOS if each.name == "2 campaigns, one channel"]
    assert measure(scenario, 3, 1).rounds == 3
