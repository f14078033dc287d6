"""One object for each campaign, for as long as it is remembered."""

import pytest

from streams.domain import campaigns as module
from streams.domain.campaigns import LONGEST_APP, Campaigns
from streams.domain.partial_counts import partition_of


def test_a_campaign_is_registered_once_and_known_from_then_on() -> None:
    campaigns = Campaigns(5)
    registered = campaigns.register("c", "app")
    assert (registered.name, registered.app_id) == ("c", "app")
    assert registered.partition == partition_of("c", 5)
    assert campaigns.known == {"c": registered}


def test_an_app_with_an_impossibly_long_name_is_none() -> None:
    for length, known in ((LONGEST_APP, True), (LONGEST_APP + 1, False)):
        campaign = Campaigns(5).register("c", "x" * length)
        assert (campaign.app_id is not None) == known


def test_a_campaign_stays_the_same_while_its_app_is_looked_for() -> None:
    campaigns = Campaigns(1)
    registered = campaigns.register("c", None)
    assert campaigns.known == {}, "the next event may name the app"
    assert campaigns.register("c", None) is registered
    assert campaigns.register("c", "app") is registered
    assert registered.app_id == "app"
    assert campaigns.known == {"c": registered}


@pytest.mark.parametrize("app_id", ["app", None])
def test_campaigns_are_forgotten_when_there_is_no_more_room(
    monkeypatch: pytest.MonkeyPatch, app_id: str | None
) -> None:
    monkeypatch.setattr(module, "MOST_CAMPAIGNS", 3)
    campaigns = Campaigns(1)
    known = campaigns.known
    registered = [campaigns.register(f"c{n}", app_id) for n in range(4)]
    assert campaigns.known is known, "who counts holds on to it"
    assert list(known) == (["c3"] if app_id else [])
    assert campaigns.register("c0", app_id) is not registered[0]
