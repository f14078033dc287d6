"""Which alerts a receiver is told again that they fire."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from streams.domain import changelog
from streams.domain.deliveries import Delivery
from streams.domain.detectors.threshold import Threshold
from streams.domain.notification.stage import Suppressed
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.resending import firing_at
from streams.domain.restorer import PartitionRestorer
from streams.domain.rules import Rule
from streams.domain.transition_causes import STILL_FIRING
from tests.support.partitions import MemoryHolder, counts, holder, partition_settings

RULE = Rule("failing", frozenset({"FAILURE"}), Threshold(0.1), keep_firing_for=0.0)
SETTINGS = replace(partition_settings(rules=(RULE,)), receivers=("am", "ops"))
NOW = 59.0


class Alerting:
    """A partition with one campaign, whose deliveries the test attempts."""

    def __init__(self, settings: PartitionSettings = SETTINGS) -> None:
        self.holder: MemoryHolder = holder(1, settings=settings)
        self.records: list[changelog.Record] = []

    @property
    def partition(self) -> CampaignPartition:
        return self.holder.here[0]

    def send(self, now: float = NOW, **outcomes: int) -> None:
        """Count sends in the window that `now` is in, evaluate and commit."""
        self.holder.add("c", int(now) // 60 * 60, counts(outcomes))
        self.partition.evaluate(now)
        self.commit(now)

    def commit(self, now: float = NOW) -> None:
        self.records += self.partition.take_changes(now)
        self.partition.deliveries.mark_committed()

    def due(self, receiver: str = "am", now: float = NOW) -> Delivery:
        due = self.partition.deliveries.due(now)
        for each in due:
            if each.receiver != receiver:
                self.partition.deliveries.release(each)
        (found,) = [each for each in due if each.receiver == receiver]
        return found

    def deliver(self, receiver: str = "am", now: float = NOW) -> None:
        self.partition.deliveries.delivered(self.due(receiver, now))
        self.commit(now)

    def restart(self) -> None:
        """Go on as the next owner of the partition does."""
        self.commit()
        restorer = PartitionRestorer(0, self.partition.settings, [0], NOW)
        for offset, (key, value) in enumerate(self.records):
            restorer.add(key, value, offset)
        self.holder.here[0] = restorer.restore().finish(NOW, 0)

    def told(self, receiver: str = "am", now: float = NOW) -> list[tuple[str, str, int]]:
        found = firing_at(receiver, self.partition.alerts, self.partition.deliveries, now)
        return [(each.type, each.data.campaign_id, each.data.sequence) for each in found]


AGAIN = [("campaign.alert.reminder", "c", 1)]


@pytest.fixture
def alerting() -> Alerting:
    made = Alerting()
    made.send(FAILURE=60)
    return made


def test_not_before_it_was_delivered(alerting: Alerting) -> None:
    assert alerting.told() == []
    delivery = alerting.due()
    assert alerting.told() == []
    alerting.partition.deliveries.delivered(delivery)
    assert alerting.told() == AGAIN
    assert alerting.told("ops") == [], "it has not got it yet"


def test_not_what_was_given_up(alerting: Alerting) -> None:
    alerting.partition.deliveries.failed(alerting.due(), "wrong", None)
    assert alerting.told() == []


def test_not_who_was_not_notified(alerting: Alerting) -> None:
    alerting.deliver()
    assert alerting.told("other") == []


def test_it_is_as_it_is_now_and_no_transition(alerting: Alerting) -> None:
    alerting.deliver()
    alerting.send(FAILURE=40)
    (told,) = firing_at("am", alerting.partition.alerts, alerting.partition.deliveries, NOW)
    assert (told.data.evidence.attempts, told.data.sequence) == (100, 1)
    assert told.timestamp == "1970-01-01T00:00:59Z"
    (alert,) = alerting.partition.alerts.alerts()
    assert len(alert.steps) == 1


def test_reminders_that_wait_do_not_keep_it(alerting: Alerting) -> None:
    """A reminder may wait for a day, if the receiver was away."""
    alerting.deliver()
    later = NOW + RULE.repeat_interval
    alerting.partition.alerts.live()[0].last_evaluated_at = later
    alerting.partition.evaluate(later)
    alerting.commit(later)
    assert [each.sequence for each in alerting.partition.deliveries.waiting(*_key(alerting))] == [2]
    assert alerting.told(now=later) == [("campaign.alert.reminder", "c", 2)]
    alerting.partition.deliveries.failed(alerting.due(now=later), "away", None)
    assert alerting.told(now=later) == [("campaign.alert.reminder", "c", 2)]


def test_not_while_an_end_waits(alerting: Alerting) -> None:
    """An alert that is told to fire again may have an end of before on its way."""
    alerting.deliver()
    (alert,) = alerting.partition.alerts.live()
    alerting.send(120.0, SUCCESS=6000)
    assert alert.state == "resolved"
    alert.state = "firing"
    alerting.partition.alerts._enter(alert)
    assert alerting.told(now=120.0) == []


def test_never_once_it_has_ended(alerting: Alerting) -> None:
    alerting.deliver()
    alerting.holder.add("c", 120, counts({"SUCCESS": 6000}))
    alerting.partition.evaluate(120.0)
    assert alerting.told(now=120.0) == [], "not even before that is committed"
    alerting.commit(120.0)
    alerting.deliver(now=120.0)
    assert alerting.told(now=120.0) == []


def test_an_end_in_the_middle_of_it_is_seen(alerting: Alerting) -> None:
    alerting.deliver()
    found = firing_at("am", alerting.partition.alerts, alerting.partition.deliveries, 120.0)
    alerting.send(120.0, SUCCESS=6000)
    assert list(found) == []


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (lambda alerting: alerting.deliver(), AGAIN),
        (lambda _: None, []),
        (lambda alerting: alerting.partition.deliveries.failed(alerting.due(), "wrong", None), []),
    ],
    ids=["delivered", "pending", "given up"],
)
def test_after_a_restart(
    alerting: Alerting, do: Callable[[Alerting], None], expected: list[object]
) -> None:
    do(alerting)
    alerting.restart()
    assert alerting.told() == expected


def test_silenced_since_it_was_told(alerting: Alerting) -> None:
    """What is left out would be taken for an end, and there is none."""
    alerting.deliver()
    (alert,) = alerting.partition.alerts.live()
    alerting.partition.alerts._notify(alert, "campaign.alert.reminder", NOW, STILL_FIRING)
    alerting.partition.alerts.suppressed(alert.alert_id, Suppressed("silenced", "by silence s"))
    assert alerting.told() == [("campaign.alert.reminder", "c", 2)]


def test_silenced_from_its_beginning() -> None:
    made = Alerting(replace(SETTINGS, receivers=()))
    made.send(FAILURE=60)
    (alert,) = made.partition.alerts.live()
    assert alert.notified == ()
    assert made.told() == []


def test_alerts_of_earlier_versions_are_left_alone(alerting: Alerting) -> None:
    """It is not known who was notified of them."""
    alerting.deliver()
    alerting.partition.alerts.live()[0].notified = None
    assert alerting.told() == []


def _key(alerting: Alerting) -> tuple[str, str]:
    return alerting.partition.alerts.live()[0].alert_id, "am"
