"""Routing through a partition's life: what is told to whom, after restarts and other settings."""

from dataclasses import replace

import msgspec

from streams.domain import alert_records, transitions
from streams.domain.alert_records import Alert
from streams.domain.detectors.threshold import Threshold
from streams.domain.notification.stage import Withheld
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.silences.matchers import parse
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

T0 = 1_795_428_000.0
FAILING = Rule(
    "failing",
    frozenset({"FAILURE"}),
    Threshold(0.2, 0.95, min_attempts=10, lookback_windows=1),
    keep_firing_for=0.0,
    repeat_interval=100.0,
    severity="warning",
    labels={"team": "crm"},
)


def settings(*receivers: str, rule: Rule = FAILING, **matchers: str) -> PartitionSettings:
    return replace(
        PARTITION_SETTINGS,
        rules=(rule,),
        receivers=receivers,
        matchers={name: (parse(text),) for name, text in matchers.items()},
    )


class Worker:
    """A partition that may be restarted with other settings."""

    def __init__(self, first: PartitionSettings) -> None:
        self.now = T0
        self._changelog: dict[bytes, bytes | None] = {}
        self._log: list[PartialCounts] = []
        self.partition = CampaignPartition(0, first, [0], T0)

    def restart(self, changed: PartitionSettings) -> None:
        self.partition = restored(changed, self._changelog, self._log, self.now)

    def step(self, status: str | None = None, seconds: float = 1.0) -> list[tuple[str, str]]:
        """Let time pass, count 60 of a status; return what is newly in the outbox, for whom."""
        before = {each.delivery_id for each in self.partition.deliveries.deliveries()}
        self.now += seconds
        at = int(self.now * 1000)
        start = int(self.now) // 60 * 60
        sends = [window_counts(start, {"c": counts({status: 60})})] if status else []
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, sends)
        self.partition.apply(added, len(self._log), self.now)
        self._log.append(added)
        self.partition.advance(self.now, len(self._log))
        self.partition.evaluate(self.now)
        self._changelog.update(self.partition.take_changes(self.now))
        self.partition.deliveries.mark_committed()
        return [
            (transitions.decode(each.transition).type.split(".")[-1], each.receiver)
            for each in self.partition.deliveries.deliveries()
            if each.delivery_id not in before
        ]

    @property
    def alert(self) -> Alert:
        (alert,) = self.partition.alerts.alerts()
        return alert


def test_who_is_withheld_is_in_the_history_also_after_a_restart() -> None:
    made = settings("ops", "pager", pager="severity=critical")
    worker = Worker(made)
    assert worker.step("FAILURE") == [("firing", "ops")]
    why = 'severity="critical" does not match: severity is "warning"'
    assert worker.alert.steps[0].withheld == (Withheld("pager", "not-matched", why),)
    worker.restart(made)
    assert worker.alert.steps[0].withheld == (Withheld("pager", "not-matched", why),)
    assert worker.alert.notified == ("ops",)


def test_an_end_goes_to_those_who_know_when_rule_labels_and_matchers_have_changed() -> None:
    worker = Worker(settings("ops", "pager", pager="team=crm"))
    assert worker.step("FAILURE") == [("firing", "ops"), ("firing", "pager")]
    changed = replace(FAILING, receivers=("dev",), labels={"team": "shop"})
    worker.restart(settings("pager", "dev", "ops", rule=changed, pager="team=shop"))
    assert worker.step("SUCCESS", 60.0) == [("resolved", "pager"), ("resolved", "ops")]
    withheld = worker.alert.steps[-1].withheld
    assert [(each.receiver, each.reason) for each in withheld] == [("dev", "not-notified")]


def test_a_receiver_that_begins_to_match_gets_the_next_reminder_and_the_end() -> None:
    worker = Worker(settings("ops", "pager", pager="severity=critical"))
    assert worker.step("FAILURE") == [("firing", "ops")]
    worker.restart(settings("ops", "pager", pager="severity=warning"))
    assert worker.step("FAILURE", 101.0) == [("reminder", "ops"), ("reminder", "pager")]
    worker.restart(settings("ops", "pager", pager="severity=critical"))
    assert worker.step("SUCCESS", 60.0) == [("resolved", "ops"), ("resolved", "pager")]


def test_nobody_is_told_of_an_alert_that_all_matchers_exclude_nor_of_its_end() -> None:
    worker = Worker(settings("pager", pager="severity=critical"))
    assert worker.step("FAILURE") == []
    assert worker.step("SUCCESS", 60.0) == []
    reasons = [each.suppressed and each.suppressed.reason for each in worker.alert.steps]
    assert reasons == ["not-matched", "not-matched"]
    assert worker.alert.state == "resolved"


def test_of_many_that_are_withheld_the_history_has_the_first_five() -> None:
    matchers = {f"r{number}": "severity=critical" for number in range(8)}
    worker = Worker(settings("ops", *matchers, rule=FAILING, **matchers))
    assert worker.step("FAILURE") == [("firing", "ops")]
    assert [each.receiver for each in worker.alert.steps[0].withheld] == [
        "r0",
        "r1",
        "r2",
        "r3",
        "r4",
    ]


def test_a_record_without_what_was_withheld_is_read() -> None:
    worker = Worker(settings("ops"))
    worker.step("FAILURE")
    written = msgspec.json.decode(alert_records.encode(worker.alert))
    for step in written["steps"]:
        del step["withheld"]
    assert alert_records.decode(msgspec.json.encode(written)) == worker.alert
