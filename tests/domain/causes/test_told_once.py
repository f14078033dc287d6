"""Each alert is told once to each receiver, by itself or in a group, whatever crashes and moves."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import orjson
import pytest

from streams.domain.causes.lane_sums import LaneSums
from streams.domain.notification.rate_limit import Rate
from streams.domain.transitions import ENDS, encode
from tests.support.fleet import Fleet, Received

FIRING, RESOLVED = "campaign.alert.firing", "campaign.alert.resolved"
GROUP_FIRING, GROUP_RESOLVED = "campaign.group.firing", "campaign.group.resolved"
QUIET = 500.0
"""Seconds after which all that has recovered is over, and told."""


def data_of(received: Received) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(received.body)["data"]
    return data


def types(received: Iterable[Received]) -> list[str]:
    return [each.type for each in received]


def firsts(received: Iterable[Received]) -> list[Received]:
    """What was received, each id once: the same id has to have the same body."""
    first: dict[str, Received] = {}
    for each in received:
        known = first.setdefault(each.delivery.webhook_id, each)
        assert known.body == each.body, "one id, two notifications"
    return list(first.values())


def test_campaigns_that_break_by_one_channel_are_one_notification_and_their_end_another() -> None:
    fleet = Fleet(1)
    fleet.run(180)
    began = fleet.now
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.run(40)
    fleet.broken.clear()
    fleet.run(QUIET)
    firing, resolved = fleet.received["ops"]
    assert (firing.type, resolved.type) == (GROUP_FIRING, GROUP_RESOLVED)
    assert firing.at - began < 12
    told = data_of(firing)
    assert told["cause"]["dimensions"] == {"channel_type": "GCM"}
    assert told["counts"] == {"firing": 15, "joined": 15, "ended": 0, "new": 15}
    assert {each["campaign_id"] for each in told["alerts"]} == {
        name for names in fleet.campaigns for name in names
    }
    assert told["links"]["alerts"].endswith(f"/v1/alerts?group_id={told['group_id']}")
    assert data_of(resolved)["counts"] == {"firing": 0, "joined": 15, "ended": 15, "new": 0}
    assert data_of(resolved)["group_id"] == told["group_id"]
    # Who does not group gets each alert.
    assert Counter(types(fleet.received["plain"])) == {FIRING: 15, RESOLVED: 15}


def test_a_campaign_by_itself_is_told_within_a_second_as_if_nothing_were_grouped() -> None:
    fleet = Fleet(2)
    fleet.run(180)
    fleet.broken.add((fleet.campaigns[1][0], "GCM"))
    fleet.run(40)
    fleet.broken.clear()
    fleet.run(QUIET)
    assert types(fleet.received["ops"]) == types(fleet.received["plain"]) == [FIRING, RESOLVED]
    for one, other in zip(fleet.received["ops"], fleet.received["plain"], strict=True):
        assert one.body == other.body
        assert one.delivery.webhook_id == other.delivery.webhook_id
        assert one.at - other.at <= 1.5


def test_one_of_its_own_is_told_beside_the_group() -> None:
    fleet = Fleet(3)
    fleet.run(180)
    own = fleet.campaigns[0][0]
    # All of it, beside a cause that is in one channel.
    fleet.broken |= {*fleet.everywhere("GCM"), (own, "EMAIL")}
    fleet.run(40)
    fleet.broken.clear()
    fleet.run(QUIET)
    received = fleet.received["ops"]
    assert Counter(types(received)) == {GROUP_FIRING: 1, GROUP_RESOLVED: 1, FIRING: 1, RESOLVED: 1}
    (alone,) = (each for each in received if each.type == FIRING)
    assert data_of(alone)["campaign_id"] == own


def test_alerts_are_told_by_themselves_while_the_topic_cannot_be_read() -> None:
    fleet = Fleet(4)
    fleet.run(180)
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.stop_reading()
    fleet.run(60)
    assert types(fleet.received["ops"]) == [FIRING] * 15
    delays = [
        a.at - b.at for a, b in zip(fleet.received["ops"], fleet.received["plain"], strict=True)
    ]
    assert max(delays) < 17


def test_alerts_are_told_by_themselves_if_nothing_can_be_worked_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = Fleet(5)
    fleet.run(180)
    monkeypatch.setattr(LaneSums, "refresh", _raise)
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.tolerant = True
    fleet.run(40)
    assert types(fleet.received["ops"]) == [FIRING] * 15
    assert Counter(fleet.failures) == {"broken": len(fleet.failures)}
    assert fleet.failures


def _raise(_: LaneSums) -> None:
    raise RuntimeError("broken")


def test_a_receiver_that_does_not_group_any_more_is_told_of_the_end_of_a_group() -> None:
    fleet = Fleet(6)
    fleet.run(180)
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.run(40)
    fleet.configure({})
    fleet.broken.clear()
    fleet.run(QUIET)
    assert types(fleet.received["ops"]) == [GROUP_FIRING, GROUP_RESOLVED]
    fleet.broken |= set(fleet.everywhere("GCM"))
    fleet.run(40)
    assert types(fleet.received["ops"])[2:] == [FIRING] * 15


WAYS: dict[str, dict[str, Any]] = {
    "cause": {},
    "labels": {"labels": ("rule", "app_id")},
    "limit": {"groups": False, "limit": Rate(1, 20.0)},
    "cause and limit": {"limit": Rate(1, 20.0)},
    "labels and limit": {"labels": ("rule", "app_id"), "limit": Rate(1, 20.0)},
}
"""How `ops` may be told."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2))
def test_every_alert_is_told_and_nothing_twice(
    seed: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.domain.causes.notices.MOST_CAMPAIGNS", 1_000)
    # In every other fleet most alerts come back.
    fleet = Fleet(seed, campaigns=3, step=1.0, reopen_within=600.0 * (seed % 2), **WAYS[way])
    random = fleet.random
    fleet.run(60, chaos=0.1)
    for _ in range(3):
        kind = random.choice(("channel", "some", "one"))
        everywhere = list(fleet.everywhere("GCM"))
        count = {"channel": len(everywhere), "some": random.randint(2, 8), "one": 1}[kind]
        fleet.broken |= set(random.sample(everywhere, count))
        fleet.run(random.choice((8, 20, 70)), chaos=0.3)
        if random.random() < 0.5:
            fleet.read_anew(random.randrange(2))
        while fleet.broken:
            for each in random.sample(sorted(fleet.broken), random.randint(1, len(fleet.broken))):
                fleet.broken.discard(each)
            fleet.run(random.choice((2, 30)), chaos=0.3)
        fleet.run(random.choice((10, 100)), chaos=0.3)
    fleet.run(QUIET)
    assert fleet.crashes > 10
    check(fleet)


Episode: TypeAlias = tuple[str, str]
"""An alert, and when it began to fire: it may come back."""


def episode_of(described: Mapping[str, Any]) -> Episode:
    return described["alert_id"], described["starts_at"]


def check(fleet: Fleet) -> None:
    """Compare what was received with what was decided."""
    transitions = [(orjson.loads(encode(each))["data"], each.type) for each in fleet.decided]
    decided = Counter((episode_of(data), kind) for data, kind in transitions)
    assert set(decided.values()) <= {1}
    began = {episode for episode, kind in decided if kind == FIRING}
    assert began == {episode for episode, kind in decided if kind in ENDS}, "all is over"
    plain = firsts(fleet.received["plain"])
    assert Counter((episode_of(data_of(each)), each.type) for each in plain) == decided, (
        "who does not group gets each transition"
    )

    received = firsts(fleet.received["ops"])
    alone: dict[Episode, list[str]] = defaultdict(list)
    groups: dict[str, list[Received]] = defaultdict(list)
    for each in received:
        if each.type.startswith("campaign.alert."):
            alone[episode_of(data_of(each))].append(each.type)
        else:
            groups[each.delivery.alert_id].append(each)
    assert all(told == [FIRING, RESOLVED] for told in alone.values()), alone
    members: Counter[Episode] = Counter()
    for group_id, told in groups.items():
        assert [each.delivery.sequence for each in told] == list(range(1, len(told) + 1))
        assert types(told)[0] == GROUP_FIRING
        assert types(told)[-1] == GROUP_RESOLVED
        assert types(told).count(GROUP_RESOLVED) == 1
        listed = {episode_of(alert) for each in told for alert in data_of(each)["alerts"]}
        assert len(listed) == data_of(told[-1])["counts"]["joined"], group_id
        members.update(listed)
    assert set(members.values()) <= {1}, "an alert is in one group"
    assert not members.keys() & alone.keys(), "by itself or in a group"
    assert members.keys() | alone.keys() == began, "every alert is told"
