from msgspec.structs import replace

from streams.backtest.episodes import Episode, Episodes
from streams.backtest.task import Decided
from streams.domain.transitions import TransitionType
from tests.support.transitions import firing


def decided(at: int, kind: TransitionType, alert_id: str = "a", campaign_id: str = "c") -> Decided:
    transition = firing(alert_id)
    data = replace(transition.data, campaign_id=campaign_id)
    return Decided(at, replace(transition, type=kind, data=data))


def episode(
    fired_at: int, ended_at: int | None, *, rule: str = "failing", campaign_id: str = "c"
) -> Episode:
    data = replace(firing(rule=rule).data, campaign_id=campaign_id)
    return Episode(data, fired_at, ended_at, None if ended_at is None else "resolved")


def test_an_alert_goes_on_until_it_ends() -> None:
    episodes = Episodes()
    for each in (
        decided(1_000, "campaign.alert.firing"),
        decided(2_000, "campaign.alert.firing", "b", "d"),
        decided(3_000, "campaign.alert.reminder"),
        decided(5_000, "campaign.alert.resolved"),
        decided(7_000, "campaign.alert.firing", "e"),
        decided(9_000, "campaign.alert.expired", "e"),
    ):
        episodes.add(each)
    assert [(e.fired_at, e.ended_at, e.ending, e.reminders) for e in episodes.all] == [
        (1_000, 5_000, "resolved", 1),
        (2_000, None, None, 0),
        (7_000, 9_000, "expired", 0),
    ]
    failing, other = episodes.by_rule(["failing", "other"])
    assert failing == ("failing", 3, 2, 1, 1, 1, 1, 3.0)
    assert other == ("other", 0, 0, 0, 0, 0, 0, None)
