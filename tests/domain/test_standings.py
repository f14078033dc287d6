"""How rules stand in a campaign, in one word and in one sentence."""

from dataclasses import replace
from typing import Any

import pytest

from streams.domain.counts import OTHER
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.volume import Volume
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.retelling import Retelling
from streams.domain.rules import Rule
from streams.domain.silences.book import SilenceBook
from streams.domain.standings import ScopeStanding, standings
from streams.domain.transitions import rfc3339
from tests.support.partitions import STATUS_GROUPS, counts, partition_settings, window_counts
from tests.support.silences import silence_of

FAILURE = frozenset({"FAILURE"})
SPIKE = Rule("spike", FAILURE, Spike())
LEVEL = Rule("level", FAILURE, Threshold(0.1))
STALL = Rule("stall", frozenset({"SUCCESS"}), Volume(3, 2))
T0 = 1_790_000_040


class Campaign:
    """One campaign in a partition of its own."""

    def __init__(self, *rules: Rule, **changes: Any) -> None:
        self.settings = replace(partition_settings(rules=rules), **changes)
        self.partition = CampaignPartition(0, self.settings, [0], T0)
        self.now = T0
        self.offset = 0

    def send(self, attempts: int, hits: int, channel: str = "SMS", *, seconds: int = 1) -> None:
        """Count sends after a pause, and evaluate."""
        self.now += seconds
        outcomes = {"SUCCESS": attempts - hits, "FAILURE": hits}
        made = counts({k: v for k, v in outcomes.items() if v}, channel_type=channel)
        windows = [window_counts(self.now - self.now % 60, {"c": made})] if made else []
        at = self.now * 1_000
        self.partition.apply(
            PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, windows), self.offset, self.now
        )
        self.offset += 1
        self.partition.advance(self.now, self.offset)
        self.partition.evaluate(self.now)

    def usual(self, minutes: int = 20) -> None:
        for second in range(0, 60 * minutes, 5):
            self.send(5, second % 100 == 0, seconds=5)

    def all(self, campaign_id: str = "c") -> list[ScopeStanding]:
        return list(standings(self.partition, self.settings.rules, campaign_id, self.now))

    def one(self) -> ScopeStanding:
        (standing,) = self.all()
        return standing

    def told_again(self, rule: Rule, at: int) -> ScopeStanding:
        """Return how a rule stood at a moment (s), worked out from the windows."""
        table = self.partition.table
        cells = [(start, table.cell("c", start)) for start in table.starts() if start <= at]
        retelling = Retelling(
            self.settings, rule, "c", cells, at=at * 1_000, known_until=self.now * 1_000
        )
        assert len(list(retelling.steps())) >= len(cells)
        (standing,) = standings(retelling.partition, (rule,), "c", at)
        return standing


def test_a_rule_that_does_not_fire_says_what_it_lacks() -> None:
    campaign = Campaign(SPIKE)
    campaign.usual()
    quiet = campaign.one()
    assert quiet.standing == "not-breaching"
    assert quiet.why.startswith("no hits that may be more than usual, usually 1.")
    assert "more hits in a row would be a breach" in quiet.why
    for _ in range(2):
        campaign.send(5, 5)
    suspicious = campaign.one()
    assert suspicious.standing == "not-breaching"
    assert suspicious.why.startswith("10 of 10 attempts (100.0%), usually 1.")
    assert "it has lasted 1 of 45 s" in suspicious.why
    assert suspicious.account is not None
    assert suspicious.account.hits_missing is not None


def test_a_rule_that_fires_says_since_when_and_who_is_not_told() -> None:
    silences = SilenceBook()
    campaign = Campaign(SPIKE, silences=silences)
    campaign.usual()
    for _ in range(20):
        campaign.send(5, 5)
    standing = campaign.one()
    (alert,) = campaign.partition.alerts.live()
    assert (standing.standing, standing.alert) == ("firing", alert)
    assert alert.starts_at is not None
    assert standing.why.startswith(f"it has been firing since {rfc3339(alert.starts_at)}: ")
    assert standing.silenced is None
    silences.put(silence_of("one", "rule=spike", now=campaign.now))
    silenced = campaign.one()
    assert silenced.silenced is not None
    assert silenced.why.endswith("; nobody is notified, as it is silenced")


def test_a_rule_that_waits_says_for_how_long() -> None:
    campaign = Campaign(replace(LEVEL, for_=120.0))
    for _ in range(5):
        campaign.send(20, 20)
    standing = campaign.one()
    assert standing.standing == "pending"
    assert standing.why.endswith("and the rule waits until it has lasted for 120 s")


def test_a_rule_says_whom_it_is_not_about() -> None:
    campaign = Campaign(replace(LEVEL, campaigns=("other",)), replace(LEVEL, apps=("shop",)))
    campaign.send(5, 0)
    assert [(each.standing, each.why) for each in campaign.all()] == [
        ("not-about", "the rule's match.campaigns does not have the campaign"),
        ("not-about", "the rule's match.apps does not have the campaign's app"),
    ]
    assert {each.why for each in campaign.all(OTHER)} == {
        "no rule is about campaigns that are counted together"
    }


def test_without_attempts_there_is_nothing_to_judge() -> None:
    campaign = Campaign(SPIKE, LEVEL)
    campaign.send(0, 0)
    assert [each.standing for each in campaign.all()] == ["no-attempts"] * 2
    campaign.send(5, 0)
    campaign.send(0, 0, seconds=3_600)
    assert [each.standing for each in campaign.all()] == ["not-breaching", "no-attempts"]


def test_each_part_has_a_standing_of_its_own() -> None:
    campaign = Campaign(*(replace(each, scope="channel") for each in (SPIKE, LEVEL)))
    for _ in range(30):
        campaign.send(50, 1, "SMS")
        campaign.send(5, 5, "PUSH")
    found = {(each.rule.name, each.scope.channel_type): each.standing for each in campaign.all()}
    assert found == {
        ("spike", "SMS"): "not-breaching",
        ("spike", "PUSH"): "firing",
        ("level", "SMS"): "not-breaching",
        ("level", "PUSH"): "firing",
    }


def test_what_has_ended_is_no_evidence_again() -> None:
    campaign = Campaign(replace(LEVEL, keep_firing_for=0.0))
    campaign.send(100, 30)
    campaign.send(1_000, 0)
    standing = campaign.one()
    assert standing.alert is None
    assert standing.account is not None
    assert standing.account.notes


# The past


@pytest.mark.parametrize("rule", [SPIKE, LEVEL, replace(SPIKE, scope="channel")])
def test_told_again_a_rule_fires_when_it_fired(rule: Rule) -> None:
    campaign = Campaign(rule)
    campaign.usual(30)
    began = campaign.now
    for _ in range(18):
        campaign.send(5, 5, seconds=5)
    (alert,) = campaign.partition.alerts.live()
    assert alert.starts_at is not None
    campaign.usual(5)
    assert campaign.told_again(rule, began - 30).standing == "not-breaching"
    told = campaign.told_again(rule, began + 80)
    assert told.standing == "firing"
    assert told.alert is not None
    assert told.alert.starts_at is not None
    assert abs(told.alert.starts_at - alert.starts_at) <= 20
    now = campaign.one()
    assert campaign.told_again(rule, campaign.now).standing == now.standing == "not-breaching"


def test_told_again_what_was_usual_is_what_it_was() -> None:
    campaign = Campaign(SPIKE)
    campaign.usual(60)
    live = campaign.one().account
    told = campaign.told_again(SPIKE, campaign.now).account
    assert live is not None
    assert told is not None
    assert live.usual_rate is not None
    assert told.usual_rate == pytest.approx(live.usual_rate, rel=0.05)
    assert told.figures["usual_attempts"] == pytest.approx(live.figures["usual_attempts"], rel=0.05)


def test_told_again_a_silent_campaign_has_stalled() -> None:
    campaign = Campaign(STALL)
    for _ in range(6):
        campaign.send(10, 0, seconds=60)
    silent_since = campaign.now
    other = {"other": counts({"SUCCESS": 1})}
    for _ in range(8):
        campaign.now += 60
        at = campaign.now * 1_000
        made = PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: at}, at, [window_counts(campaign.now // 60 * 60, other)]
        )
        campaign.partition.apply(made, campaign.offset, campaign.now)
        campaign.offset += 1
        campaign.partition.advance(campaign.now, campaign.offset)
    assert campaign.told_again(STALL, silent_since + 60).standing != "firing"
    assert campaign.told_again(STALL, campaign.now).standing == "firing"


def test_telling_again_neither_adds_nor_loses_a_send() -> None:
    campaign = Campaign(LEVEL)
    for attempts, hits in ((1, 0), (7, 3), (100, 1), (59, 58), (2, 1)):
        campaign.send(attempts, hits, seconds=60)
    table = campaign.partition.table
    cells = [(start, table.cell("c", start)) for start in table.starts()]
    end = (cells[-1][0] + 60) * 1_000
    retelling = Retelling(campaign.settings, LEVEL, "c", cells, at=end, known_until=end)
    for _ in retelling.steps():
        pass
    for start, cell in cells:
        told = retelling.partition.table.cell("c", start)
        assert cell is not None
        assert told is not None
        assert LEVEL.observe("c", told, STATUS_GROUPS) == LEVEL.observe("c", cell, STATUS_GROUPS)


def test_kinds_of_sends_that_a_rule_does_not_tell_apart_are_told_as_one() -> None:
    campaign = Campaign(replace(LEVEL, statuses=frozenset({"FAILURE", "UNKNOWN"})))
    many = {f"ODD-{n}": 1 for n in range(300)} | {"FAILURE": 4, "UNKNOWN": 6, "DAILY_CAP": 9}
    at = campaign.now * 1_000
    windows = [window_counts(campaign.now, {"c": counts(many)})]
    made = PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, windows)
    campaign.partition.apply(made, 0, campaign.now)
    cell = campaign.partition.table.cell("c", campaign.now)
    (rule,) = campaign.settings.rules
    end = at + 60_000
    cells = [(campaign.now, cell)]
    retelling = Retelling(campaign.settings, rule, "c", cells, at=end, known_until=end)
    for _ in retelling.steps():
        pass
    told = retelling.partition.table.cell("c", campaign.now)
    assert told is not None
    assert sorted(told.sends.values()) == [10, 300]
