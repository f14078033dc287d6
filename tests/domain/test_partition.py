"""One partition of campaigns: counts in, transitions and owed deliveries out, through restarts."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.blocks import BLOCK_VERSION, Block, Dimensions
from streams.domain.detectors import Threshold
from streams.domain.partition import CampaignPartition, Watch
from streams.domain.rules import Rule
from streams.domain.windows import WindowPolicy
from tests.support.partitions import WATCH, counts, window_counts

RULES = (
    Rule("failing", frozenset({"FAILURE"}), Threshold(0.2), 0.1, min_attempts=10, for_=0),
    Rule("big", frozenset({"FAILURE"}), Threshold(0.3), 0.2, min_attempts=50, keep_firing_for=0),
    Rule("one app", frozenset({"THROTTLED"}), Threshold(0.1), 0.05, apps=("app",), min_attempts=5),
    Rule("part", frozenset({"FAILURE"}), Threshold(0.2), 0.1, scope="treatment", min_attempts=5),
)


def watch(rules: tuple[Rule, ...] = RULES) -> Watch:
    ids = itertools.count(1)
    windows = WindowPolicy(size=60, grace=30, retention=600)
    return replace(WATCH, windows=windows, rules=rules, new_id=lambda: f"alert-{next(ids)}")


def block(start: int, *parts: tuple[str, dict[str, int]], app_id: str | None = "app") -> Block:
    """Counts of campaigns in one window, at the moment of its start."""
    campaigns: dict[str, dict[Dimensions, int]] = {}
    for campaign_id, outcomes in parts:
        of_it = campaigns.setdefault(campaign_id, {})
        for dimensions, count in counts(outcomes, "0").items():
            of_it[dimensions] = of_it.get(dimensions, 0) + count
    windows = [window_counts(start, campaigns, app_id)]
    return Block(BLOCK_VERSION, {0: start * 1000}, start * 1000, windows)


def said(partition: CampaignPartition, now: float) -> list[tuple[str, str, str]]:
    decided = partition.evaluate(now)
    return [(each.data.campaign_id, each.data.rule, each.type.split(".")[-1]) for each in decided]


class Log:
    """Gives blocks to a partition, and keeps them as the keyed topic does."""

    def __init__(self, partition: CampaignPartition) -> None:
        self.partition = partition
        self.blocks: list[Block] = []
        self.topic: dict[bytes, bytes | None] = {}

    def add(self, block: Block, now: float) -> None:
        self.partition.apply(block, len(self.blocks), now)
        self.blocks.append(block)

    def begin_anew(self, now: float = 0.0) -> CampaignPartition:
        """Write everything down, and read it back in another life."""
        self.topic.update(self.partition.take_changes(now))
        again = CampaignPartition(self.partition.number, self.partition.watch, [0], now)
        for key, value in self.topic.items():
            again.restore(key, value)
        for offset in range(again.table.restored() or 0, len(self.blocks)):
            again.table.replay(self.blocks[offset], offset, now)
        again.resume(now, len(self.blocks))
        self.partition = again
        return again


def test_hits_of_before_count_when_there_are_enough_attempts() -> None:
    """The attempts that make a window say enough need not be hits themselves."""
    partition = CampaignPartition(0, watch(RULES[:1]), [0], 0.0)
    partition.apply(block(0, ("c", {"FAILURE": 6})), 0, 0.0)
    assert said(partition, 0.0) == []
    partition.apply(block(0, ("c", {"SUCCESS": 4})), 0, 1.0)
    assert said(partition, 1.0) == [("c", "failing", "firing")]


def test_an_app_that_becomes_known_counts() -> None:
    partition = CampaignPartition(0, watch(RULES[2:3]), [0], 0.0)
    partition.apply(block(0, ("c", {"THROTTLED": 9}), app_id=None), 0, 0.0)
    assert said(partition, 0.0) == []
    partition.apply(block(0, ("c", {"SUCCESS": 1})), 0, 1.0)
    assert said(partition, 1.0) == [("c", "one app", "firing")]


def test_hits_of_before_a_restart_count_with_attempts_after_it() -> None:
    log = Log(CampaignPartition(0, watch(RULES[:1]), [0], 0.0))
    log.add(block(0, ("c", {"FAILURE": 6})), 0.0)
    assert said(log.partition, 0.0) == []
    log.begin_anew()
    log.add(block(0, ("c", {"SUCCESS": 4})), 1.0)
    assert said(log.partition, 1.0) == [("c", "failing", "firing")]


def test_what_was_written_down_before_anybody_looked_is_looked_at_after_a_restart() -> None:
    log = Log(CampaignPartition(0, watch(RULES[:1]), [0], 0.0))
    log.add(block(0, ("c", {"FAILURE": 60})), 0.0)
    assert said(log.begin_anew(), 0.0) == [("c", "failing", "firing")]


def test_an_alert_fires_once_through_restarts() -> None:
    log = Log(CampaignPartition(0, watch(RULES[:1]), [0], 0.0))
    log.add(block(0, ("c", {"FAILURE": 60})), 0.0)
    assert said(log.partition, 0.0) == [("c", "failing", "firing")]
    for now in (1.0, 2.0):
        assert said(log.begin_anew(), now) == []
        log.add(block(0, ("c", {"FAILURE": 60})), now)
        assert said(log.partition, now) == []


def test_what_is_decided_is_owed_to_the_receivers_of_the_rule() -> None:
    rule = replace(RULES[0], receivers=("ops",))
    partition = CampaignPartition(0, replace(watch((rule,)), receivers=("ops", "dev")), [0], 0.0)
    partition.apply(block(0, ("c", {"FAILURE": 60})), 0, 0.0)
    assert len(partition.evaluate(0.0)) == 1
    (owed,) = partition.deliveries.deliveries()
    assert owed.receiver == "ops"
    assert orjson.loads(owed.body)["type"] == "campaign.alert.firing"
    assert partition.deliveries.due(10.0) == [], "not before it is written down"
    partition.take_changes(10.0)
    partition.deliveries.flush_committed()
    assert partition.deliveries.due(10.0) == [owed]


def test_a_key_of_nobody_is_named() -> None:
    partition = CampaignPartition(0, watch(), [0], 0.0)
    with pytest.raises(ValueError, match="stranger"):
        partition.restore(b'["stranger"]', b"")


outcomes = st.dictionaries(
    st.sampled_from(("SUCCESS", "FAILURE", "THROTTLED", "HOLDOUT", "NEW")),
    st.integers(1, 30),
    min_size=1,
    max_size=3,
)
parts = st.lists(st.tuples(st.sampled_from("abc"), outcomes), min_size=1, max_size=3)
steps = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from((None, "app", "other")), parts),
    max_size=12,
)


class Attentive(CampaignPartition):
    """Holds all rules against every campaign of which there is anything new."""

    def apply(self, block: Block, offset: int, now: float) -> None:
        super().apply(block, offset, now)
        self._suspects.update(_touched(block, self.table.open_starts()))


def _touched(block: Block, open_starts: Iterable[int]) -> set[str]:
    starts = set(open_starts)
    return {name for each in block.windows if each.start in starts for name in each.campaigns}


def test_hits_are_forgotten_with_their_windows() -> None:
    partition = CampaignPartition(0, watch(), [0], 0.0)
    for start in range(0, 60_000, 60):
        partition.apply(block(start, (f"c-{start}", {"FAILURE": 1})), 0, start)
        partition.table.advance(start, 0)
        partition.evaluate(start)
    assert len(partition._last_hits) <= 3


@settings(max_examples=300, deadline=None)
@given(steps)
def test_looking_only_where_minds_can_change_misses_nothing(
    steps: list[tuple[int, str | None, list[tuple[str, dict[str, int]]]]],
) -> None:
    partition = CampaignPartition(0, watch(), [0], 0.0)
    attentive = Attentive(0, watch(), [0], 0.0)
    now = 0
    for pause, app_id, campaigns in steps:
        now += pause
        start = now - now % 60
        for each in (partition, attentive):
            each.apply(block(start, *campaigns, app_id=app_id), 0, now)
            each.table.advance(now, 0)
        assert sorted(said(partition, now)) == sorted(said(attentive, now))
