"""One partition of campaigns: counts in, transitions and owed deliveries out, through restarts."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.domain import alert_records, transitions
from streams.domain.campaigns import LONGEST_APP
from streams.domain.counts import OTHER
from streams.domain.detectors.burn_rate import BurnRate
from streams.domain.detectors.count import Count
from streams.domain.detectors.history import Observation
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.volume import Volume
from streams.domain.events import LONGEST_NAMES
from streams.domain.limits import Limits
from streams.domain.notification.stage import Suppressed
from streams.domain.operators import Acknowledgement
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    RECORD_BYTES,
    Dimensions,
    PartialCounts,
)
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import key_of
from streams.domain.transitions import AlertData, Links, Span, Transition
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.detectors import Cusum, Doubled
from tests.support.partitions import PARTITION_SETTINGS, all_cells, counts, window_counts

RULES = (
    Rule("failing", frozenset({"FAILURE"}), Threshold(0.2, 0.95, min_attempts=10), for_=0),
    Rule(
        "big", frozenset({"FAILURE"}), Threshold(0.3, 0.95, recovery_level=0.2), keep_firing_for=0
    ),
    Rule("one app", frozenset({"THROTTLED"}), Threshold(0.1, 0.95, min_attempts=5), apps=("app",)),
    Rule(
        "part",
        frozenset({"FAILURE"}),
        Threshold(0.2, 0.95, min_attempts=40, lookback_windows=3),
        scope="treatment",
    ),
)


def with_detector(rule: Rule, **changes: Any) -> Rule:
    """The rule with other settings of its detector."""
    assert isinstance(rule.detector, Threshold)
    return replace(rule, detector=replace(rule.detector, **changes))


def partition_settings(rules: tuple[Rule, ...] = RULES) -> PartitionSettings:
    ids = itertools.count(1)
    windows = WindowPolicy(size=60, grace=30, retention=600)
    return replace(
        PARTITION_SETTINGS, windows=windows, rules=rules, new_id=lambda: f"alert-{next(ids)}"
    )


def partial_counts(
    start: int,
    *parts: tuple[str, dict[str, int]],
    app_id: str | None = "app",
    names: tuple[str | None, str | None] = ("0", "EMAIL"),
) -> PartialCounts:
    """Counts of campaigns in one window, at the moment of its start."""
    campaigns: dict[str, dict[Dimensions, int]] = {}
    for campaign_id, outcomes in parts:
        of_it = campaigns.setdefault(campaign_id, {})
        treatment, channel = names
        for dimensions, count in counts(outcomes, treatment, channel, channel).items():
            of_it[dimensions] = of_it.get(dimensions, 0) + count
    windows = [window_counts(start, campaigns, app_id)]
    return PartialCounts(PARTIAL_COUNTS_VERSION, {0: start * 1000}, start * 1000, windows)


def timeless(added: PartialCounts) -> PartialCounts:
    """Counts that move no event time: of producers whose clocks are ahead, or behind."""
    return msgspec.structs.replace(added, event_times={})


def decisions(partition: CampaignPartition, now: float) -> list[tuple[str, str, str]]:
    return summaries(partition.evaluate(now))


def summaries(decided: Iterable[Transition]) -> list[tuple[str, str, str]]:
    return [(each.data.campaign_id, each.data.rule, each.type.split(".")[-1]) for each in decided]


class PartitionHarness:
    """Adds partial counts to a partition, and keeps them as the repartition topic does."""

    def __init__(self, partition: CampaignPartition, inputs: Iterable[int] = (0,)) -> None:
        self.partition = partition
        self.inputs = tuple(inputs)
        self.repartition: list[PartialCounts] = []
        self.topic: dict[bytes, bytes | None] = {}

    def add(self, added: PartialCounts, now: float) -> None:
        self.partition.apply(added, len(self.repartition), now)
        self.repartition.append(added)

    def restart(
        self, now: float = 0.0, settings: PartitionSettings | None = None
    ) -> CampaignPartition:
        """Write all changes, and restore the partition from them, with other settings if given."""
        self.topic.update(self.partition.take_changes(now))
        settings = settings or self.partition.settings
        self.partition = restored(settings, self.topic, self.repartition, now, self.inputs)
        return self.partition


def test_hits_of_before_count_when_there_are_enough_attempts() -> None:
    """The attempts that make a window say enough need not be hits themselves."""
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 6})), 0, 0.0)
    assert decisions(partition, 0.0) == []
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 4})), 0, 1.0)
    assert decisions(partition, 1.0) == [("c", "failing", "firing")]


def test_an_app_that_becomes_known_counts() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[2:3]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"THROTTLED": 9}), app_id=None), 0, 0.0)
    assert decisions(partition, 0.0) == []
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 1})), 0, 1.0)
    assert decisions(partition, 1.0) == [("c", "one app", "firing")]


def test_hits_of_before_a_restart_count_with_attempts_after_it() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 6})), 0.0)
    assert decisions(harness.partition, 0.0) == []
    harness.restart()
    harness.add(partial_counts(0, ("c", {"SUCCESS": 4})), 1.0)
    assert decisions(harness.partition, 1.0) == [("c", "failing", "firing")]


def test_a_rule_without_a_least_number_of_attempts() -> None:
    rule = with_detector(RULES[2], min_attempts=0)
    harness = PartitionHarness(CampaignPartition(0, partition_settings((rule,)), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"THROTTLED": 9})), 0.0)
    assert decisions(harness.partition, 0.0) == [("c", "one app", "firing")]
    harness.partition.table.observe(0, 90_000, 1.0)
    harness.partition.advance(1.0, 1)
    harness.add(partial_counts(60, ("d", {"THROTTLED": 9}), app_id="other"), 2.0)
    harness.add(partial_counts(0, ("c", {"SUCCESS": 1})), 2.0)
    assert decisions(harness.partition, 2.0) == []


def test_what_an_alert_that_expired_was_about_raises_no_other_one() -> None:
    rule = replace(RULES[0], no_data_after=30.0)
    partition = CampaignPartition(0, partition_settings((rule,)), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 60})), 0, 0.0)
    assert decisions(partition, 0.0) == [("c", "failing", "firing")]
    assert decisions(partition, 30.0) == [("c", "failing", "expired")]
    partition.apply(partial_counts(0, ("c", {"FAILURE": 1, "SUCCESS": 1})), 1, 31.0)
    assert decisions(partition, 31.0) == []
    partition.apply(partial_counts(60, ("c", {"FAILURE": 4})), 2, 32.0)
    assert decisions(partition, 32.0) == []
    partition.apply(partial_counts(0, ("c", {"FAILURE": 7})), 3, 33.0)
    assert decisions(partition, 33.0) == []
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 1})), 4, 34.0)
    assert decisions(partition, 34.0) == [("c", "failing", "firing")]


def test_two_rules_may_be_undecided_about_different_windows() -> None:
    rules = tuple(with_detector(RULES[at], lookback_windows=1) for at in (0, 2))
    partition = CampaignPartition(0, partition_settings(rules), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 1, "SUCCESS": 8, "HOLDOUT": 50})), 0, 0.0)
    partition.apply(partial_counts(60, ("c", {"THROTTLED": 4})), 1, 60.0)
    assert decisions(partition, 60.0) == []
    partition.table.observe(0, 95_000, 61.0)
    partition.advance(61.0, 2)
    assert partition.table.open_starts() == [60]
    assert decisions(partition, 62.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 1})), 2, 63.0)
    assert decisions(partition, 63.0) == [("c", "one app", "firing")]


def test_figures_are_kept_when_the_app_is_forgotten_with_a_window() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[2:3]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"SUCCESS": 1})), 0.0)
    harness.add(partial_counts(60, ("c", {"THROTTLED": 60}), app_id=None), 60.0)
    assert decisions(harness.partition, 60.0) == [("c", "one app", "firing")]
    harness.restart(60.0)
    harness.add(partial_counts(60, ("c", {"THROTTLED": 60}), app_id=None), 61.0)
    harness.partition.table.observe(0, 95_000, 61.0)
    harness.partition.advance(61.0, len(harness.repartition))
    harness.partition.evaluate(61.0)
    (alert,) = harness.restart(62.0).alerts.live()
    assert alert.evidence.attempts == 120


def test_figures_are_kept_when_the_app_becomes_another_one() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[2:3]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"THROTTLED": 60})), 0.0)
    assert decisions(harness.partition, 0.0) == [("c", "one app", "firing")]
    harness.restart(0.0)
    harness.add(partial_counts(0, ("c", {"THROTTLED": 60})), 0.0)
    harness.partition.evaluate(0.0)
    harness.add(partial_counts(0, ("c", {"THROTTLED": 60}), app_id="other"), 0.0)
    harness.partition.evaluate(0.0)
    (alert,) = harness.restart(1.0).alerts.live()
    assert alert.evidence.attempts == 120


def test_a_restart_alone_decides_nothing() -> None:
    waiting = replace(RULES[0], for_=60.0)
    harness = PartitionHarness(CampaignPartition(0, partition_settings((waiting,)), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    assert decisions(harness.partition, 0.0) == []
    assert decisions(harness.restart(), 70.0) == []
    harness.add(partial_counts(0, ("c", {"FAILURE": 1})), 71.0)
    assert decisions(harness.partition, 71.0) == [("c", "failing", "firing")]


def test_counts_of_a_window_that_closes_just_then_are_decided_on() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 60})), 0, 0.0)
    partition.table.observe(0, 90_000, 1.0)
    assert summaries(partition.advance(1.0, 1)) == [("c", "failing", "firing")]
    assert partition.table.open_starts() == []


def test_a_reminder_after_a_restart_has_the_newest_figures() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    harness.partition.evaluate(0.0)
    harness.add(partial_counts(60, ("c", {"FAILURE": 40})), 61.0)
    harness.partition.evaluate(61.0)
    harness.restart(61.0)
    harness.add(partial_counts(60, ("c", {"SUCCESS": 40})), 62.0)
    harness.partition.evaluate(62.0)
    for now in (63.0, 64.0):
        (alert,) = harness.restart(now).alerts.alerts()
        assert (alert.window_start, alert.evidence.attempts) == (60, 80)


def test_what_is_handed_over_has_the_newest_figures_whatever_the_settings_then() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    harness.partition.evaluate(0.0)
    harness.restart(0.0)
    harness.add(partial_counts(0, ("c", {"SUCCESS": 60})), 1.0)
    harness.add(partial_counts(70), 70.0)
    harness.partition.advance(70.0, len(harness.repartition))
    harness.partition.prepare_handover()
    (alert,) = harness.restart(
        70.0, replace(partition_settings(()), windows=WindowPolicy(60, 0, 600))
    ).alerts.live()
    assert alert.evidence.attempts == 120


def test_those_who_heard_of_an_alert_hear_of_its_end_when_its_rule_is_gone() -> None:
    rule = replace(RULES[0], receivers=("ops",))
    settings = replace(partition_settings((rule,)), receivers=("ops", "dev"))
    harness = PartitionHarness(CampaignPartition(0, settings, [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    harness.partition.evaluate(0.0)
    again = harness.restart(1.0, replace(settings, rules=()))
    assert decisions(again, 1.0) == [("c", "failing", "expired")]
    assert [(each.sequence, each.receiver) for each in again.deliveries.deliveries()] == [
        (1, "ops"),
        (2, "ops"),
    ]


def test_an_alert_is_about_a_window_as_long_as_it_was() -> None:
    rules = (replace(RULES[0], keep_firing_for=30.0),)
    harness = PartitionHarness(CampaignPartition(0, partition_settings(rules), [0], 0.0))
    harness.add(partial_counts(60, ("c", {"FAILURE": 60}), ("d", {"FAILURE": 60})), 60.0)
    harness.partition.evaluate(60.0)
    harness.add(partial_counts(60, ("d", {"SUCCESS": 6000})), 61.0)
    harness.partition.evaluate(61.0)
    harness.add(partial_counts(60, ("d", {"SUCCESS": 1})), 95.0)
    assert decisions(harness.partition, 95.0) == [("d", "failing", "resolved")]
    longer = replace(partition_settings(rules), windows=WindowPolicy(300, 30, 600))
    again = harness.restart(96.0, longer)
    shown = {a.scope.campaign_id: again.alerts.describe(a).window for a in again.alerts.alerts()}
    assert shown == {
        "c": Span("1970-01-01T00:00:00Z", "1970-01-01T00:05:00Z"),
        "d": Span("1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z"),
    }


def test_an_alert_fires_once_through_restarts() -> None:
    harness = PartitionHarness(CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    assert decisions(harness.partition, 0.0) == [("c", "failing", "firing")]
    for now in (1.0, 2.0):
        assert decisions(harness.restart(), now) == []
        harness.add(partial_counts(0, ("c", {"FAILURE": 60})), now)
        assert decisions(harness.partition, now) == []


def test_why_nobody_was_notified_is_known_and_survives_restarts() -> None:
    harness = PartitionHarness(
        CampaignPartition(0, replace(partition_settings(RULES[:1]), receivers=()), [0], 0.0)
    )
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    assert decisions(harness.partition, 0.0) == [("c", "failing", "firing")]
    why = Suppressed("no-receiver", "no receiver is configured")
    ((transition, told),) = harness.partition.take_suppressed()
    assert (transition.data.campaign_id, told) == ("c", why)
    assert harness.partition.take_suppressed() == []
    (alert,) = harness.restart().alerts.alerts()
    assert [step.suppressed for step in alert.steps] == [why]


def test_what_is_decided_is_owed_to_the_receivers_of_the_rule() -> None:
    rule = replace(RULES[0], receivers=("ops",))
    partition = CampaignPartition(
        0, replace(partition_settings((rule,)), receivers=("ops", "dev")), [0], 0.0
    )
    partition.apply(partial_counts(0, ("c", {"FAILURE": 60})), 0, 0.0)
    assert len(partition.evaluate(0.0)) == 1
    (owed,) = partition.deliveries.deliveries()
    assert owed.receiver == "ops"
    assert orjson.loads(bytes(owed.transition))["type"] == "campaign.alert.firing"
    assert partition.deliveries.due(10.0) == [], "not before it is written down"
    partition.take_changes(10.0)
    partition.deliveries.mark_committed()
    assert partition.deliveries.due(10.0) == [owed]


@pytest.mark.parametrize("letter", ["a", "\x00", '"', "\N{GRINNING FACE}"])
def test_whatever_is_named_an_alert_fits_into_its_records(letter: str) -> None:
    name = letter * (LONGEST_NAMES // 2)
    outcomes = {f"{number}{name}": 20 for number in range(900)} | {"FAILURE": 20_000}
    rules = (Rule("failing", frozenset({"FAILURE"}), Threshold(0.2, 0.95), scope="treatment"),)
    partition = CampaignPartition(0, partition_settings(rules), [0], 0.0)
    campaigns = {name: counts(outcomes, name, name, None)}
    columns = window_counts(600, campaigns, letter * LONGEST_APP)
    partition.apply(
        PartialCounts(PARTIAL_COUNTS_VERSION, {0: 600_000}, 600_000, [columns]), 0, 600.0
    )
    (transition,) = partition.evaluate(600.0)
    partition.prepare_handover()
    counted = transition.data.evidence.counts
    assert sum(counted.values()) == transition.data.evidence.attempts
    assert counted["FAILURE"] == 20_000
    assert counted[OTHER] > 0
    sizes = [len(transitions.encode(transition)) + len(transition.data.campaign_id.encode())]
    for key, value in partition.take_changes(600.0):
        sizes.append(len(key) + len(value or b""))
    assert len(sizes) == 4  # the alert, its delivery and the clock, too
    assert max(sizes) <= RECORD_BYTES


def pass_time(partition: CampaignPartition, event_time: int) -> None:
    """Let event time go on to `event_time` (s), without counts."""
    partition.table.observe(0, event_time * 1000, event_time)
    partition.advance(event_time, 0)


def test_late_attempts_make_the_next_counts_say_enough() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 1})), 0, 0.0)
    pass_time(partition, 90)
    partition.apply(partial_counts(60, ("c", {"FAILURE": 7})), 1, 91.0)
    assert decisions(partition, 91.0) == []
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 3})), 2, 92.0)
    assert decisions(partition, 92.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 1})), 3, 93.0)
    assert decisions(partition, 93.0) == [("c", "failing", "firing")]


def test_hits_of_before_count_after_no_window_was_open() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 6})), 0, 0.0)
    pass_time(partition, 90)
    assert partition.table.open_starts() == []
    assert decisions(partition, 91.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 4})), 1, 92.0)
    assert decisions(partition, 92.0) == [("c", "failing", "firing")]


def test_hits_count_that_were_evaluated_when_no_window_was_open() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 8})), 0, 0.0)
    partition.table.observe(0, 90_000, 90.0)
    partition.table.advance(90.0, 1)
    assert decisions(partition, 90.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 2})), 1, 91.0)
    assert decisions(partition, 91.0) == [("c", "failing", "firing")]


def test_hits_count_whose_window_closed_while_another_one_is_open() -> None:
    partition = CampaignPartition(0, partition_settings(RULES[:1]), [0], 0.0)
    partition.apply(partial_counts(60, ("d", {"SUCCESS": 1})), 0, 60.0)
    partition.apply(timeless(partial_counts(0, ("c", {"FAILURE": 8}))), 1, 61.0)
    partition.table.observe(0, 90_000, 90.0)
    partition.table.advance(90.0, 2)
    assert partition.table.open_starts() == [60]
    assert decisions(partition, 90.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 2})), 2, 91.0)
    assert decisions(partition, 91.0) == [("c", "failing", "firing")]


def test_a_producer_an_hour_ahead_hides_no_hits_of_now() -> None:
    rule = with_detector(RULES[0], lookback_windows=3)
    partition = CampaignPartition(0, partition_settings((rule,)), [0], 0.0)
    hour_ahead = timeless(partial_counts(3600, ("d", {"SUCCESS": 1})))
    partition.apply(partial_counts(0, ("d", {"SUCCESS": 1})), 0, 0.0)
    partition.apply(partial_counts(60, ("c", {"FAILURE": 6})), 1, 60.0)
    assert decisions(partition, 60.0) == []
    partition.apply(hour_ahead, 2, 60.0)
    pass_time(partition, 90)
    assert decisions(partition, 91.0) == []
    partition.apply(partial_counts(60, ("c", {"SUCCESS": 4})), 3, 92.0)
    assert decisions(partition, 92.0) == [("c", "failing", "firing")]


def test_hits_count_in_a_window_that_opens_after_newer_ones() -> None:
    rule = with_detector(RULES[0], lookback_windows=2, min_attempts=10)
    partition = CampaignPartition(0, partition_settings((rule,)), [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"FAILURE": 3})), 0, 0.0)
    pass_time(partition, 119)
    partition.apply(partial_counts(120, ("d", {"SUCCESS": 1})), 1, 120.0)
    assert partition.table.open_starts() == [120]
    assert decisions(partition, 120.0) == []
    partition.apply(timeless(partial_counts(60, ("c", {"FAILURE": 3}))), 2, 121.0)
    partition.apply(timeless(partial_counts(60, ("c", {"SUCCESS": 4}))), 2, 121.0)
    assert decisions(partition, 121.0) == [("c", "failing", "firing")]


def test_late_hits_of_made_up_campaigns_are_not_kept() -> None:
    few = replace(partition_settings(RULES[:1]), limits=Limits(campaigns=4))
    partition = CampaignPartition(0, few, [0], 0.0)
    partition.apply(partial_counts(0, ("c", {"SUCCESS": 1})), 0, 0.0)
    pass_time(partition, 90)
    for number in range(100):
        partition.apply(partial_counts(0, (f"made-up-{number}", {"FAILURE": 30})), number, 90.0)
    assert [len(same.recent) <= 5 for same in partition._queue._same_hits] == [True]
    assert len(partition._queue._waiting) <= 5


def test_an_alert_over_any_number_of_open_windows_has_a_bounded_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_records, "MOST_COUNTED", 10)
    short = replace(partition_settings(RULES[:1]), windows=WindowPolicy(1, 86_400, 86_400))
    harness = PartitionHarness(CampaignPartition(0, short, [0], 0.0))
    sends = {"c": counts({"FAILURE": 12})}
    harness.add(
        PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: 0}, 0, [window_counts(at, sends) for at in range(30)]
        ),
        0.0,
    )
    (raised,) = harness.partition.evaluate(0.0)
    for _ in range(2):
        again = harness.restart(1.0)
        (alert,) = again.alerts.live()
        assert again.alerts.describe(alert).totals == raised.data.totals
        (written,) = [value for key, value in harness.topic.items() if key.startswith(b'["alert"')]
        assert len(orjson.loads(written or b"")["counted"]) == 10


def test_a_window_that_is_open_again_raises_no_second_alert() -> None:
    rule = replace(RULES[0], keep_firing_for=0.0)
    settings = partition_settings((rule,))
    harness = PartitionHarness(CampaignPartition(0, settings, [0], 0.0))
    harness.add(partial_counts(0, ("c", {"FAILURE": 60})), 0.0)
    assert decisions(harness.partition, 0.0) == [("c", "failing", "firing")]
    pass_time(harness.partition, 100)
    harness.add(partial_counts(60, ("c", {"SUCCESS": 60})), 101.0)
    assert decisions(harness.partition, 101.0) == [("c", "failing", "resolved")]
    longer = replace(settings, windows=WindowPolicy(60, 300, 600))
    again = harness.restart(103.0, longer)
    assert again.table.open_starts() == [0, 60]
    harness.add(partial_counts(0, ("c", {"FAILURE": 1})), 104.0)
    assert decisions(again, 104.0) == []


class Poisoned(Threshold):
    """A detector that one number of hits is too much for."""

    def is_breach(self, seen: Observation) -> bool:
        if seen.hits == 13:
            raise OverflowError("13")
        return super().is_breach(seen)


def test_a_campaign_that_cannot_be_evaluated_stops_no_other_one() -> None:
    rules = (Rule("failing", frozenset({"FAILURE"}), Poisoned(0.2, min_attempts=10)),)
    partition = CampaignPartition(0, partition_settings(rules), [0], 0.0)
    harness = PartitionHarness(partition)
    campaigns = [("a", {"FAILURE": 20}), ("poison", {"FAILURE": 13}), ("z", {"FAILURE": 20})]
    harness.add(partial_counts(600, *campaigns), 600)
    decided = decisions(partition, 600)
    assert sorted(decided) == [("a", "failing", "firing"), ("z", "failing", "firing")]
    (failure,) = partition.take_failures()
    assert (failure.campaign_id, str(failure.error)) == ("poison", "13")
    assert partition.take_failures() == []
    harness.add(partial_counts(600, ("poison", {"FAILURE": 1})), 601)
    assert decisions(partition, 601) == [("poison", "failing", "firing")]


def test_a_channel_that_fails_beside_a_healthy_one() -> None:
    """Real sends of SMS and e-mail name no delivery type."""
    by_channel = replace(RULES[0], scope="channel")
    partition = CampaignPartition(0, partition_settings((by_channel,)), [0], 0.0)
    sends = {
        **counts({"FAILURE": 100}, None, None, "SMS"),
        **counts({"SUCCESS": 2000}, None, None, "EMAIL"),
    }
    partition.apply(
        PartialCounts(PARTIAL_COUNTS_VERSION, {0: 0}, 0, [window_counts(0, {"c": sends})]), 0, 0.0
    )
    (raised,) = partition.evaluate(0.0)
    assert (raised.data.channel_type, raised.data.evidence.hits) == ("SMS", 100)


outcomes = st.one_of(
    st.fixed_dictionaries({"SUCCESS": st.integers(1, 30)}),
    st.dictionaries(
        st.sampled_from(("SUCCESS", "FAILURE", "THROTTLED", "HOLDOUT", "NEW", "NEWER")),
        st.integers(1, 30),
        min_size=1,
        max_size=3,
    ),
)
parts = st.lists(st.tuples(st.sampled_from("abc"), outcomes), min_size=1, max_size=3)
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 40), st.integers(0, 200)),
        st.sampled_from((0, 0, 0, 0, 1, 2, 5, -1, -60)),
        st.sampled_from((None, "app", "other")),
        parts,
    ),
    max_size=12,
)


class Attentive(CampaignPartition):
    """Holds all rules against every campaign of which there is anything new."""

    def apply(self, added: PartialCounts, offset: int, now: float) -> None:
        super().apply(added, offset, now)
        self._touched = _touched(added, self.table.open_starts())

    def evaluate(self, now: float, most: int | None = None) -> list[Transition]:
        self._queue._due |= self._touched
        return super().evaluate(now, most)


def _touched(added: PartialCounts, open_starts: Iterable[int]) -> set[str]:
    starts = set(open_starts)
    return {name for each in added.windows if each.start in starts for name in each.campaigns}


def test_hits_are_forgotten_with_their_windows() -> None:
    partition = CampaignPartition(0, partition_settings(), [0], 0.0)
    for start in range(0, 60_000, 60):
        partition.apply(partial_counts(start, (f"c-{start}", {"FAILURE": 1})), 0, start)
        partition.table.advance(start, 0)
        partition.evaluate(start)
    assert len(partition._queue._waiting) <= 33


def test_an_older_window_that_opens_later_is_judged_with_those_before_it() -> None:
    """A producer whose clock is an hour ahead must not hide the hits of late events."""
    settings = replace(partition_settings(PATIENT[:1]), windows=WindowPolicy(60, 30, 600))
    partition = CampaignPartition(0, settings, [0], 0.0)
    sends: list[tuple[int, str, dict[str, int]]] = [
        (60, "a", {"SUCCESS": 1}),
        (0, "b", {"SUCCESS": 1, "FAILURE": 8}),
        (3660, "b", {"SUCCESS": 1}),
        (60, "b", {"SUCCESS": 1}),
    ]
    decided: list[object] = []
    for start, name, counted in sends:
        partition.apply(timeless(partial_counts(start, (name, counted))), 0, 90.0)
        partition.table.observe(0, 90_000, 90.0)
        decided += summaries(partition.advance(90.0, 0))
    assert decided == [("b", "failing", "firing")]


@settings(max_examples=300)
@given(steps, st.sampled_from((60, 600)), st.sampled_from((1, 4, 7, 8, 9, 10, 11, 12, 13, 17)))
def test_looking_only_where_minds_can_change_misses_nothing(
    steps: list[tuple[int, int, str | None, list[tuple[str, dict[str, int]]]]],
    size: int,
    first: int,
) -> None:
    """Counts may come some windows late; or early, which moves no event time."""
    rules = tuple(replace(each, no_data_after=150.0) for each in PATIENT[:first])
    settings = replace(partition_settings(rules), windows=WindowPolicy(size, size // 2, 10 * size))
    partition = CampaignPartition(0, settings, [0], 0.0)
    attentive = Attentive(0, settings, [0], 0.0)
    now = 0
    for pause, back, app_id, campaigns in steps:
        now += pause
        start = max(0, now - now % size - back * size)
        counted = timeless(partial_counts(start, *campaigns, app_id=app_id))
        for each in (partition, attentive):
            each.apply(counted, 0, now)
            each.table.observe(0, now * 1000 if back >= 0 else 0, now)
        # As a task does: rules are evaluated before event time closes windows.
        found, expected = (summaries(each.advance(now, 0)) for each in (partition, attentive))
        assert sorted(found) == sorted(expected)


class Restless(PartitionHarness):
    """Is written down often, and read back whenever it is told to.

    With `at_once`, rules are evaluated for no more campaigns than that in one step.
    """

    def __init__(self, settings: PartitionSettings, at_once: int | None = None) -> None:
        super().__init__(CampaignPartition(0, settings, FEEDERS, 0.0), FEEDERS)
        self.at_once = at_once

    def tick(self, now: float) -> list[tuple[str, str, str]]:
        decided = self._in_parts(now) + summaries(
            self.partition.advance(now, len(self.repartition))
        )
        return sorted(decided + self._write(now))

    def commit(self, now: float) -> list[tuple[str, str, str]]:
        return sorted(self._in_parts(now) + self._write(now))

    def _in_parts(self, now: float) -> list[tuple[str, str, str]]:
        decided: list[tuple[str, str, str]] = []
        while self.at_once is not None and self.partition.to_evaluate > self.at_once:
            decided += summaries(self.partition.evaluate(now, self.at_once))
        return decided

    def _write(self, now: float) -> list[tuple[str, str, str]]:
        """Write down what was decided on, as a task does: rules are evaluated just before."""
        decided = decisions(self.partition, now)
        self.topic.update(self.partition.take_changes(now))
        return decided


@dataclass(frozen=True)
class Unforgetting(Doubled):
    """Forgets nothing in the life of a twin: by design, a restart makes each state new."""

    state_lifetime: ClassVar[float] = 1e9


BURNING = BurnRate(0.05, long_windows=5, short_windows=2, long_factor=4, min_attempts=10)
VOLUME = Volume(2, 1, min_sends=20, max_sends=90, min_delivery_rate=0.6, lookback_windows=4)
STALLED = Volume(1, 1)

# Rules without those ends that come of silence: a restart cannot know for how long there was any.
PATIENT = tuple(
    replace(
        each,
        no_data_after=1e9,
        keep_firing_for=min(each.keep_firing_for, 20.0),
        repeat_interval=100.0,
        reopen_within=90.0 * (number % 2),
    )
    for number, each in enumerate(
        (
            *RULES,
            replace(with_detector(RULES[0], lookback_windows=5), name="channel", scope="channel"),
            replace(RULES[0], name="strange", unrecognised=True, statuses=frozenset({"HOLDOUT"})),
            replace(RULES[0], name="slow", for_=45.0, campaigns=("a*", "b")),
            replace(
                RULES[0],
                name="any",
                detector=Threshold(0.01, 0.95, recovery_level=0, min_attempts=1),
            ),
            replace(RULES[2], name="many", detector=Count(more_than=25)),
            replace(RULES[0], name="doubled", detector=Unforgetting()),
            replace(RULES[0], name="burning", detector=BURNING),
            Rule("volume", frozenset({"SUCCESS"}), VOLUME),
            Rule(
                "silent", frozenset(), STALLED, scope="treatment", apps=("app",), keep_firing_for=0
            ),
            replace(RULES[0], name="cusum", detector=Cusum()),
            replace(RULES[0], name="parts", detector=Cusum(4.0), scope="treatment", for_=15.0),
            replace(
                RULES[2], name="few", detector=Cusum(2.0), scope="channel", campaigns=("a*", "b")
            ),
            replace(RULES[0], name="spike", detector=Spike(sensitivity=1.0, patience=5.0)),
        )
    )
)
REDEFINED = tuple(
    replace(
        each,
        statuses=each.statuses | ({"DAILY_CAP"} if each.name in {"failing", "cusum"} else set()),
        scope="campaign" if each.name in {"part", "parts"} else each.scope,
    )
    for each in PATIENT
)
FEEDERS = 0, 1
LIMITS = PARTITION_SETTINGS.limits, replace(PARTITION_SETTINGS.limits, names=3, values=2)
POLICIES = st.builds(
    WindowPolicy,
    size=st.just(60),
    grace=st.sampled_from((0, 30, 90)),
    retention=st.sampled_from((1, 120, 600)),
)


class Twins(RuleBasedStateMachine):
    """Two workers are given the same; one lives on, the other one is restarted again and again.

    Settings change for both at once: that takes a restart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.size = 60
        self.settings = replace(partition_settings(PATIENT), idle_timeout=1e9)
        self.twins = [Restless(self.settings, at_once) for at_once in (1, None)]

    @rule(
        pause=st.integers(0, 40),
        back=st.one_of(st.integers(0, 4), st.sampled_from((-5, -1, 0, 9, 40))),
        parts=parts,
        app=st.sampled_from(("app", "other", None)),
        names=st.sampled_from((("0", "EMAIL"), ("1", "EMAIL"), ("0", "SMS"), (None, None))),
        inputs=st.sampled_from((FEEDERS, FEEDERS, (0,), (1,), ())),
    )
    def add(  # noqa: PLR0913, PLR0917 - what partial counts hold
        self,
        pause: int,
        back: int,
        parts: list[tuple[str, dict[str, int]]],
        app: str | None,
        names: tuple[str | None, str | None],
        inputs: tuple[int, ...],
    ) -> None:
        """Blocks may be early, late, and of a worker that has the first, shorter windows."""
        self.now += pause
        start = max(0, int(self.now) - int(self.now) % 60 - back * 60)
        new = partial_counts(start, *parts, app_id=app, names=names)
        new.event_times.clear()
        new.event_times.update(dict.fromkeys(inputs, int(self.now) * 1000))
        new.received_at = int(self.now * 1000)
        for twin in self.twins:
            twin.add(new, self.now)

    @rule(pause=st.integers(0, 400))
    def pass_time(self, pause: int) -> None:
        """Let event time go on, so that often no window is open."""
        self.add(pause, 3, [("z", {"SUCCESS": 1})], None, (None, None), FEEDERS)
        self.tick(0)

    @rule(pause=st.integers(0, 60))
    def tick(self, pause: int) -> None:
        self.now += pause
        lived, restarted = (twin.tick(self.now) for twin in self.twins)
        assert lived == restarted

    @rule(name=st.sampled_from("abcz"))
    def acknowledge(self, name: str) -> None:
        """Somebody acknowledges all alerts of a campaign; the next commit has it."""
        for twin in self.twins:
            for alert in twin.partition.alerts.live_of(name):
                asked = Acknowledgement(alert.alert_id, "ana", "", lambda: None)
                assert twin.partition.operators.add(asked)

    @rule()
    def commit(self) -> None:
        lived, restarted = (twin.commit(self.now) for twin in self.twins)
        assert lived == restarted

    @rule()
    def restart(self) -> None:
        self.commit()
        self.twins[1].restart(self.now)

    @rule(
        policy=POLICIES,
        longer=st.sampled_from((1, 1, 1, 2)),
        rules=st.sampled_from((2, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)),
        limits=st.sampled_from(LIMITS),
        every=st.sampled_from((PATIENT, PATIENT, REDEFINED)),
    )
    def change_settings(
        self,
        policy: WindowPolicy,
        longer: int,
        rules: int,
        limits: Limits,
        every: tuple[Rule, ...] = PATIENT,
    ) -> None:
        self.commit()
        self.size *= longer if self.size < 240 else 1
        windows = replace(policy, size=self.size)
        self.settings = replace(self.settings, windows=windows, rules=every[:rules], limits=limits)
        for twin in self.twins:
            twin.partition.prepare_handover()
            twin.restart(self.now, self.settings)

    @invariant()
    def they_are_alike(self) -> None:
        lived, restarted = (_known(twin.partition) for twin in self.twins)
        assert lived == restarted


def _known(partition: CampaignPartition) -> dict[str, object]:
    table, alerts = partition.table, partition.alerts
    return {
        "event time": (table.event_time, table.input_event_times),
        "open": table.open_starts(),
        "cells": {start: dict(all_cells(table, start)) for start in table.starts()},
        "alerts": sorted(
            (
                repr(a.scope),
                a.rule,
                a.state,
                repr(_apart_from_ids(alerts.describe(a))),
                repr(a.past),
            )
            for a in alerts.alerts()
        ),
        "owed": len(partition.deliveries),
        "folded": [folded(partition, each, name) for each in PATIENT for name in "abcz"],
        "remembered": [alerts.states.get(each, Scope(name)) for each in PATIENT for name in "abcz"],
    }


def folded(partition: CampaignPartition, rule: Rule, name: str) -> list[object]:
    """What the fold of a rule knows of a campaign and its parts."""
    fold = partition.folds.of(rule)
    if fold is None:
        return []
    scopes = [Scope(name, part, part) for part in (None, "0", "1", "EMAIL", "SMS", OTHER)]
    places = [fold.scopes.place_of(key_of(rule, scope)) for scope in scopes]
    write = fold.scopes.states.write
    states = [write([place]) if place is not None else None for place in places]
    return [*map(fold.get, scopes), *states]


def _apart_from_ids(shown: AlertData) -> AlertData:
    return msgspec.structs.replace(shown, alert_id="", links=Links("", ""))


def test_hits_of_an_expired_window_do_not_matter_before_a_restart_either() -> None:
    twins = Twins()
    twins.pass_time(289)
    twins.add(0, 3, [("a", {"FAILURE": 1})], "app", ("0", "EMAIL"), FEEDERS)
    twins.pass_time(61)
    twins.pass_time(400)
    twins.restart()
    twins.add(0, 0, [("a", {"SUCCESS": 1})], "app", ("0", "EMAIL"), FEEDERS)
    twins.add(0, 1, [("a", {"FAILURE": 9})], "app", ("0", "EMAIL"), FEEDERS)
    twins.commit()


def test_an_alert_beside_a_forgotten_one_has_the_figures_that_a_restart_gives_it() -> None:
    twins, short = Twins(), WindowPolicy(60, 0, 1)
    sends: list[tuple[str, dict[str, int]]] = [("b", {"SUCCESS": 1, "FAILURE": 1})]
    twins.add(0, -5, sends, "app", ("0", "EMAIL"), FEEDERS)
    for rules in 2, 8:
        twins.change_settings(short, 1, rules, LIMITS[0])
    twins.add(1, 0, sends, "app", ("0", "EMAIL"), FEEDERS)
    twins.restart()
    twins.they_are_alike()


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=100, stateful_step_count=40)
