"""Which campaigns the rules are evaluated for."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from streams.domain.detectors.count import Count
from streams.domain.detectors.threshold import Threshold
from streams.domain.evaluation_queue import EvaluationQueue
from streams.domain.hits import NewCounts
from streams.domain.rules import Rule
from streams.domain.table import WindowTable
from streams.domain.watermark import Watermark
from streams.domain.windows import WindowPolicy
from tests.support.partitions import STATUS_GROUPS, counts, window_counts

FAILED = frozenset({"FAILURE"})


@dataclass(frozen=True)
class Curious(Count):
    """Looks at whatever is new, as one does for which attempts without a hit count too."""

    kind: ClassVar[str] = "curious"

    def triggers(self, counts: NewCounts) -> Collection[str]:
        return counts.campaigns


class Harness:
    """A queue with its table; counts go to both."""

    def __init__(self, *rules: Rule, with_alerts: Collection[str] = ()) -> None:
        table = WindowTable(WindowPolicy(60, 30, 600), Watermark([0], 60.0, 0.0))
        alerts = dict.fromkeys(with_alerts).keys()
        self.queue = EvaluationQueue(rules, STATUS_GROUPS, table, alerts, alerts)
        self.table = table

    def add(self, start: int, **sends: dict[str, int]) -> set[str]:
        campaigns = {name: counts(of_it) for name, of_it in sends.items()}
        added = self.table.add(window_counts(start, campaigns), 0, 0.0)
        assert added is not None
        self.queue.follow(self.table.open_starts()[::-1])
        self.queue.add(start, added)
        return self.queue.take(None)


def test_each_detector_says_whose_counts_matter_to_it() -> None:
    sends = {"a": {"FAILURE": 3}, "b": {"FAILURE": 8}, "c": {"SUCCESS": 9}}
    few, many = Rule("few", FAILED, Count(more_than=2)), Rule("many", FAILED, Count(more_than=7))
    assert Harness(many).add(0, **sends) == {"b"}
    assert Harness(few, many).add(0, **sends) == {"a", "b"}
    assert Harness(many, Rule("all", FAILED, Curious())).add(0, **sends) == {"a", "b", "c"}
    assert Harness().add(0, **sends) == set()


def test_hits_of_one_rule_are_none_of_another_rule() -> None:
    rules = (
        Rule("failed", FAILED, Count(more_than=4)),
        Rule("throttled", frozenset({"THROTTLED"}), Count(more_than=4)),
    )
    assert Harness(*rules).add(0, a={"FAILURE": 3, "THROTTLED": 3}, b={"THROTTLED": 5}) == {"b"}


def test_hits_of_all_recent_windows_count_together() -> None:
    harness = Harness(Rule("rate", FAILED, Threshold(0.1, min_attempts=20)))
    least = Threshold(0.1, min_attempts=20).least_hits
    assert least > 1
    assert harness.add(0, a={"FAILURE": least - 1}) == set()
    assert harness.add(60, a={"FAILURE": 1}) == {"a"}
    harness.queue.follow([60])
    harness.queue.forget_before(60)
    assert harness.add(60, a={"FAILURE": 1}) == set()


def test_all_counts_of_a_campaign_with_an_alert_matter() -> None:
    harness = Harness(Rule("many", FAILED, Count(more_than=7)), with_alerts=["c"])
    assert harness.add(0, a={"SUCCESS": 1}, c={"SUCCESS": 1}) == {"c"}


def test_a_campaign_is_evaluated_again_after_as_many_attempts() -> None:
    harness = Harness(Rule("many", FAILED, Count(more_than=7)))
    harness.add(0, a={"SUCCESS": 1})
    harness.queue.again_after("a", 3)
    assert harness.add(0, a={"SUCCESS": 2}) == set()
    assert harness.add(0, a={"SUCCESS": 1}) == {"a"}
    assert harness.add(0, a={"SUCCESS": 1}) == set()


def test_no_more_at_once_than_asked_for_and_none_is_forgotten() -> None:
    harness = Harness(Rule("few", FAILED, Count(more_than=0)))
    added = harness.table.add(
        window_counts(0, {name: counts({"FAILURE": 1}) for name in "abcde"}), 0, 0.0
    )
    assert added is not None
    harness.queue.add(0, added)
    taken = [harness.queue.take(2), harness.queue.take(2)]
    assert len(harness.queue) > 0
    taken.append(harness.queue.take(2))
    assert list(map(len, taken)) == [2, 2, 1]
    assert set().union(*taken) == set("abcde")
    assert len(harness.queue) == 0
