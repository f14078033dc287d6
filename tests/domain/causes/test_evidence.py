"""What one campaign says of a common cause."""

from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.causes.evidence import (
    BANDS,
    MILLI,
    OWN_FAULT,
    CampaignSends,
    Place,
    Sends,
    evidence_of,
)

GCM: Place = ("GCM", "GCM")
EMAIL: Place = ("EMAIL", "EMAIL")


def sends(attempts: int, hits: int) -> Sends:
    return Sends(attempts, {"FAILURE": hits} if hits else {})


def campaign(seen: dict[Place, Sends], usual: dict[Place, Sends] | None = None) -> CampaignSends:
    usual = {place: sends(1_000, 10) for place in seen} if usual is None else usual
    return CampaignSends("c", "a", seen, usual)


def test_a_broken_campaign_speaks_for_a_cause_as_far_as_one_campaign_may() -> None:
    found = evidence_of(campaign({GCM: sends(10_000, 9_900)}))[GCM]
    assert found.evidence[-1] == pytest.approx(MILLI * OWN_FAULT, abs=MILLI * 0.2)
    assert found.own > 100


def test_a_campaign_that_loses_almost_all_speaks_against_a_cause_that_loses_few() -> None:
    found = evidence_of(campaign({GCM: sends(50, 48)}))[GCM]
    assert found.evidence[0] == -MILLI * OWN_FAULT
    assert found.evidence[-1] > 0


def test_a_healthy_campaign_speaks_against_it_as_far_as_it_may() -> None:
    found = evidence_of(campaign({GCM: sends(50_000, 500)}))[GCM]
    assert found.evidence[-1] == -MILLI * OWN_FAULT
    assert max(found.evidence) < 0
    assert found.own == 0.0


def test_few_sends_say_little() -> None:
    found = evidence_of(campaign({GCM: sends(1, 0)}))[GCM]
    expected = [log1p(-share) for share in (0.05, 0.1, 0.2, 0.4)]
    assert found.evidence == pytest.approx([MILLI * each for each in expected], abs=4)


def test_places_that_are_broken_share_the_gain_of_a_campaign_the_others_have_none() -> None:
    found = evidence_of(campaign({GCM: sends(5_000, 4_500), EMAIL: sends(50, 0)}))
    assert found[GCM].evidence[-1] == pytest.approx(MILLI * OWN_FAULT, abs=MILLI * 0.2)
    assert found[EMAIL].evidence[-1] == -MILLI * OWN_FAULT
    found = evidence_of(campaign({GCM: sends(5_000, 4_500), EMAIL: sends(50, 45)}))
    assert [found[place].evidence[-1] for place in (GCM, EMAIL)] == [3 * MILLI, 3 * MILLI]


def test_hits_are_split_by_status_as_usual() -> None:
    seen = {GCM: Sends(100, {"NEW": 50})}
    usual = {GCM: Sends(1_000, {"OLD": 98})}
    found = evidence_of(campaign(seen, usual))[GCM]
    assert found.expected == pytest.approx(9.8, abs=0.1)
    assert found.expected_by_status == pytest.approx(
        {"NEW": found.expected / 100, "OLD": found.expected * 0.99}
    )


def test_a_place_without_attempts_is_not_there() -> None:
    assert evidence_of(campaign({GCM: sends(0, 0)})) == {}


COUNTS = st.integers(0, 10**9).flatmap(
    lambda attempts: st.tuples(st.just(attempts), st.integers(0, attempts))
)


@given(st.dictionaries(st.sampled_from([GCM, EMAIL]), COUNTS), COUNTS)
def test_evidence_is_bounded_whatever_the_counts(
    seen: dict[Place, tuple[int, int]], usual: tuple[int, int]
) -> None:
    found = evidence_of(
        campaign({place: sends(*counts) for place, counts in seen.items()}, {GCM: sends(*usual)})
    )
    assert found.keys() == {place for place, counts in seen.items() if counts[0]}
    for band in range(len(BANDS)):
        gains = [max(0, each.evidence[band]) for each in found.values()]
        assert sum(gains) <= MILLI * OWN_FAULT + len(gains)
        assert min([0, *(each.evidence[band] for each in found.values())]) >= -MILLI * OWN_FAULT
