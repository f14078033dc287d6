"""One object for each campaign, for as long as it is remembered."""

import orjson
import pytest

from streams.domain import campaigns as module
from streams.domain.campaigns import Campaigns
from streams.domain.events import LONGEST_APP
from streams.domain.partial_counts import partition_of

OF_APP = orjson.dumps({"application": {"app_id": "app"}})
OF_NONE = orjson.dumps({})


def test_a_campaign_is_met_once_and_known_from_then_on() -> None:
    campaigns = Campaigns(5)
    met = campaigns.meet("c", OF_APP)
    assert (met.name, met.app_id, met.partition) == ("c", "app", partition_of("c", 5))
    assert campaigns.known == {"c": met}


def test_an_app_with_an_impossibly_long_name_is_none() -> None:
    for length, known in ((LONGEST_APP, True), (LONGEST_APP + 1, False)):
        value = orjson.dumps({"application": {"app_id": "x" * length}})
        assert (Campaigns(5).meet("c", value).app_id is not None) == known


def test_a_campaign_stays_the_same_while_its_app_is_looked_for() -> None:
    campaigns = Campaigns(1)
    met = campaigns.meet("c", OF_NONE)
    assert campaigns.known == {}, "the next event may name the app"
    assert campaigns.meet("c", OF_NONE) is met
    assert campaigns.meet("c", OF_APP) is met
    assert met.app_id == "app"
    assert campaigns.known == {"c": met}


@pytest.mark.parametrize("value", [OF_APP, OF_NONE])
def test_campaigns_are_forgotten_when_there_is_no_more_room(
    monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    monkeypatch.setattr(module, "MOST_CAMPAIGNS", 3)
    campaigns = Campaigns(1)
    known = campaigns.known
    met = [campaigns.meet(f"c{n}", value) for n in range(4)]
    assert campaigns.known is known, "who counts holds on to it"
    assert list(known) == (["c3"] if value is OF_APP else [])
    assert campaigns.meet("c0", value) is not met[0]
