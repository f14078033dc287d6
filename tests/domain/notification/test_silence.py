"""Silenced alerts: examples, and a state machine through restarts against a plain model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streams.domain import transitions
from streams.domain.detectors.threshold import Threshold
from streams.domain.notification.notified import NOT_NOTIFIED, notified
from streams.domain.notification.silence import SILENCED, silence
from streams.domain.notification.stage import Notification, Suppressed, Withheld
from streams.domain.operators import Acknowledgement
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.silences import matchers
from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts
from tests.support.transitions import firing

T0 = 1_795_428_000.0
REPEAT = 100.0
FAILING = Rule(
    "failing",
    frozenset({"FAILURE"}),
    Threshold(0.2, 0.95, min_attempts=10, lookback_windows=1),
    keep_firing_for=0.0,
    no_data_after=500.0,
    repeat_interval=REPEAT,
    reopen_within=150.0,
    labels={"team": "crm"},
)
SETTINGS = replace(
    PARTITION_SETTINGS,
    rules=(FAILING,),
    receivers=("ops", "dev"),
    windows=WindowPolicy(size=60, grace=30, retention=3_600),
)
CAMPAIGNS = ("a", "b", "c")


def silence_of(
    number: int, matcher: str, starts_at: float = T0, ends_at: float = T0 + 1_000
) -> Silence:
    return Silence(f"s{number}", (matchers.parse(matcher),), starts_at, ends_at, "ana", "why", T0)


class Worker:
    """A partition that is restarted from its changelog topic and the silences topic."""

    def __init__(self) -> None:
        self.now = T0
        self.silences: dict[bytes, bytes] = {}
        self._changelog: dict[bytes, bytes | None] = {}
        self._log: list[PartialCounts] = []
        self._sent: set[str] = set()
        self.book = SilenceBook()
        self.partition = CampaignPartition(0, self._settings(), [0], T0)

    def _settings(self) -> PartitionSettings:
        return replace(SETTINGS, silences=self.book)

    def write(self, made: Silence) -> None:
        """Write a silence, or its end, and read it back."""
        key, value = records.encode(made)
        self.silences[key] = value
        self.book.restore(key, value)

    def restart(self) -> None:
        """Go on from what the last step committed, as after a crash."""
        self.book = SilenceBook()
        for record in self.silences.items():
            self.book.restore(*record)
        self.partition = restored(self._settings(), self._changelog, self._log, self.now)

    def step(self, sends: Mapping[str, str] | None = None, seconds: float = 1.0) -> set[str]:
        """Let time pass, count sends of campaigns by their status; return what is newly sent."""
        self.now += seconds
        start = int(self.now) // 60 * 60
        found = {name: counts({status: 60}) for name, status in (sends or {}).items()}
        at = int(self.now * 1000)
        added = PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: at}, at, [window_counts(start, found)] if found else []
        )
        self.partition.apply(added, len(self._log), self.now)
        self._log.append(added)
        self.partition.advance(self.now, len(self._log))
        self.partition.evaluate(self.now)
        self._changelog.update(self.partition.take_changes(self.now))
        self.partition.deliveries.mark_committed()
        return self._new()

    def _new(self) -> set[str]:
        new = [
            each
            for each in self.partition.deliveries.deliveries()
            if each.delivery_id not in self._sent
        ]
        self._sent |= {each.delivery_id for each in new}
        return {
            f"{transition.data.campaign_id} {transition.type.split('.')[-1]} {each.receiver}"
            for each in new
            for transition in [transitions.decode(each.transition)]
        }

    def suppressed(self, campaign_id: str) -> list[tuple[str, str | None]]:
        """What became of each transition of a campaign's alerts."""
        return [
            (step.type.split(".")[-1], step.suppressed.reason if step.suppressed else None)
            for alert in self.partition.alerts.alerts()
            if alert.scope.campaign_id == campaign_id
            for step in alert.steps
        ]


def to_both(*told: str) -> set[str]:
    return {f"{each} {receiver}" for each in told for receiver in ("ops", "dev")}


# The stages alone


def test_a_silenced_alert_is_suppressed_with_the_silences_named() -> None:
    book = SilenceBook()
    stage = silence(book)
    notification = Notification(firing(rule="failing"), ("ops",))
    assert stage(notification, T0) == notification
    for number in range(7):
        book.put(silence_of(number, "rule=failing"))
    assert stage(notification, T0) == Suppressed(
        SILENCED, "by silence s0, s1, s2, s3, s4 and 2 more"
    )
    assert stage(notification, T0 + 1_000) == notification, "the end is exclusive"
    assert stage(notification, T0 - 1) == notification


@pytest.mark.parametrize(
    "matcher", ["severity=critical", "campaign_id=~[a-d]", 'app_id!=""', "treatment_id=", "x!~y"]
)
def test_every_label_can_be_asked_for(matcher: str) -> None:
    book = SilenceBook()
    book.put(silence_of(1, matcher))
    assert isinstance(silence(book)(Notification(firing(), ("ops",)), T0), Suppressed)


@pytest.mark.parametrize(
    ("known", "routed"), [(None, ("ops", "dev")), (("dev", "old"), ("dev",)), ((), None)]
)
def test_an_end_goes_to_those_who_know_of_the_alert(
    known: tuple[str, ...] | None, routed: tuple[str, ...] | None
) -> None:
    end = firing()
    end.type = "campaign.alert.expired"
    decision = notified()(Notification(end, ("ops", "dev"), known), T0)
    if routed is None:
        assert isinstance(decision, Suppressed)
        assert decision.reason == NOT_NOTIFIED
    else:
        assert isinstance(decision, Notification)
        assert decision.receivers == routed
        left_out = {"ops", "dev"} - set(routed)
        why = "it was not notified that it fires"
        assert decision.withheld == tuple(Withheld(n, NOT_NOTIFIED, why) for n in left_out)
    begin = Notification(firing(), ("ops", "dev"), known)
    assert notified()(begin, T0) == begin


# A partition


def test_it_is_told_when_the_silence_ends_with_its_firing_and_once() -> None:
    worker = Worker()
    worker.write(silence_of(1, "campaign_id=a", ends_at=T0 + 20))
    assert worker.step({"a": "FAILURE", "b": "FAILURE"}) == to_both("b firing")
    assert worker.step({"a": "FAILURE"}, 18) == set()
    assert worker.step(seconds=1) == to_both("a firing")
    assert worker.step() == set()
    assert worker.suppressed("a") == [("firing", "silenced"), ("firing", None)]
    assert worker.step({"a": "SUCCESS"}, 60) == to_both("a resolved")


def test_it_is_told_when_the_silence_is_ended() -> None:
    worker = Worker()
    made = silence_of(1, "team=crm")
    worker.write(made)
    assert worker.step({"a": "FAILURE"}) == set()
    assert worker.partition.unchanged_until(worker.now) > worker.now
    worker.write(made.ended("ben", worker.now))
    assert worker.partition.unchanged_until(worker.now) <= worker.now
    assert worker.step() == to_both("a firing")


def test_another_silence_goes_on() -> None:
    worker = Worker()
    worker.write(silence_of(1, "campaign_id=a", ends_at=T0 + 20))
    worker.write(silence_of(2, "campaign_id=~a|z", starts_at=T0 + 10, ends_at=T0 + 30))
    assert worker.step({"a": "FAILURE"}) == set()
    assert worker.step(seconds=24) == set()
    assert worker.step(seconds=5) == to_both("a firing")


def test_what_resolved_while_it_was_silenced_is_not_told() -> None:
    worker = Worker()
    worker.write(silence_of(1, "campaign_id=a", ends_at=T0 + 100))
    worker.step({"a": "FAILURE"})
    assert worker.step({"a": "SUCCESS"}, 70) == set()
    assert worker.step(seconds=100) == set()
    worker.write(silence_of(2, "campaign_id=b"))
    assert worker.step() == set()
    assert not worker.partition.alerts._held
    assert worker.suppressed("a") == [("firing", "silenced"), ("resolved", "silenced")]


def test_what_resolves_in_the_step_that_ends_the_silence_is_not_told() -> None:
    worker = Worker()
    worker.write(silence_of(1, "campaign_id=a", ends_at=T0 + 50))
    worker.step({"a": "FAILURE"})
    assert worker.step({"a": "SUCCESS"}, 70) == set()
    assert worker.suppressed("a") == [("firing", "silenced"), ("resolved", NOT_NOTIFIED)]


def test_reminders_stop_and_one_that_is_overdue_comes_at_the_end() -> None:
    worker = Worker()
    assert worker.step({"a": "FAILURE"}) == to_both("a firing")
    worker.write(silence_of(1, "rule=failing", ends_at=worker.now + 250))
    assert worker.step(seconds=110) == set()
    assert worker.step(seconds=110) == set()
    assert worker.step(seconds=30) == to_both("a reminder")
    assert worker.suppressed("a") == [
        ("firing", None),
        ("reminder", "silenced"),
        ("reminder", None),
    ]
    assert worker.step(seconds=90) == set()
    assert worker.step(seconds=10) == to_both("a reminder")


def test_a_short_silence_of_what_was_told_leaves_no_trace() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.write(silence_of(1, "rule=failing", ends_at=worker.now + 20))
    assert worker.step(seconds=30) == set()
    assert worker.suppressed("a") == [("firing", None)]


def test_the_end_of_what_was_told_is_not_told_while_it_is_silenced() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.write(silence_of(1, "rule=failing", ends_at=T0 + 100))
    assert worker.step({"a": "SUCCESS"}, 60) == set()
    assert worker.step(seconds=100) == set()
    assert worker.suppressed("a") == [("firing", None), ("resolved", "silenced")]


def test_a_receiver_that_comes_later_is_not_told_the_end_alone() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    alert = worker.partition.alerts.live()[0]
    assert alert.notified == ("ops", "dev")
    alert.notified = ("ops",)
    assert worker.step({"a": "SUCCESS"}, 60) == {"a resolved ops"}


def test_an_alert_of_an_earlier_version_is_known_to_all() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.partition.alerts.live()[0].notified = None
    worker.write(silence_of(1, "rule=failing", ends_at=worker.now + 150))
    worker.step(seconds=110)
    worker.restart()
    assert worker.step(seconds=50) == to_both("a reminder")
    assert worker.step({"a": "SUCCESS"}, 60) == to_both("a resolved")


# Against a model


@dataclass
class Told:
    """What a model knows of one episode of an alert.

    When (s) it was last told, and whether it goes on and is acknowledged.
    """

    at: float = -inf
    live: bool = True
    acknowledged: bool = False


@dataclass
class Span:
    """A silence of the model: of which campaigns, and when."""

    campaigns: frozenset[str]
    starts_at: float
    ends_at: float


class SilencedLife(RuleBasedStateMachine):
    """Alerts begin, end, come back, are acknowledged; silences are made and end; restarts.

    Whether an alert fires is taken from the worker, as other tests are about that. The model is
    about what is sent of it.
    """

    @initialize()
    def begin(self) -> None:
        self.worker = Worker()
        self.spans: list[Span] = []
        self.made: list[Silence] = []
        self.told: dict[str, Told] = {}
        self.asked: set[str] = set()

    def _is_silenced(self, campaign_id: str) -> bool:
        now = self.worker.now
        return any(
            campaign_id in span.campaigns and span.starts_at <= now < span.ends_at
            for span in self.spans
        )

    def _expected(self) -> Iterable[str]:
        now = self.worker.now
        for alert in self.worker.partition.alerts.alerts():
            name = alert.scope.campaign_id
            told = self.told.setdefault(alert.record_id, Told())
            told.acknowledged |= alert.alert_id in self.asked and alert.is_live
            if not told.live or alert.state == "pending":
                continue
            is_silenced = self._is_silenced(name)
            if not alert.is_live:
                told.live = False
                if told.at > -inf and not is_silenced:
                    yield f"{name} {alert.state}"
            elif not is_silenced and now >= told.at + REPEAT and not self._is_known(told):
                yield f"{name} {'reminder' if told.at > -inf else 'firing'}"
                told.at = now

    @staticmethod
    def _is_known(told: Told) -> bool:
        """Tell whether whoever has to know does: those who were told, of what is acknowledged."""
        return told.acknowledged and told.at > -inf

    def _step(self, sends: Mapping[str, str], seconds: float) -> None:
        sent = self.worker.step(sends, seconds)
        assert sent == to_both(*self._expected())
        self.asked.clear()

    @rule(name=st.sampled_from(CAMPAIGNS))
    def acknowledge(self, name: str) -> None:
        for alert in self.worker.partition.alerts.live_of(name):
            asked = Acknowledgement(alert.alert_id, "ana", "", lambda: None)
            assert self.worker.partition.operators.add(asked)
            self.asked.add(alert.alert_id)

    @rule(
        sends=st.dictionaries(
            st.sampled_from(CAMPAIGNS), st.sampled_from(["FAILURE", "SUCCESS"]), min_size=1
        ),
        seconds=st.sampled_from([1.0, 7.0, 40.0, 65.0]),
    )
    def count(self, sends: dict[str, str], seconds: float) -> None:
        self._step(sends, seconds)

    @rule(seconds=st.sampled_from([0.5, 30.0, 99.0, 101.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self._step({}, seconds)

    @rule(
        campaigns=st.frozensets(st.sampled_from(CAMPAIGNS), min_size=1),
        wait=st.sampled_from([0.0, 0.0, 10.0, 100.0]),
        lasts=st.sampled_from([5.0, 60.0, 250.0, 1_000.0]),
    )
    def make(self, campaigns: frozenset[str], wait: float, lasts: float) -> None:
        starts_at = self.worker.now + wait
        matcher = f"campaign_id=~{'|'.join(campaigns)}"
        made = silence_of(len(self.made), matcher, starts_at, starts_at + lasts)
        self.worker.write(made)
        self.made.append(made)
        self.spans.append(Span(campaigns, starts_at, starts_at + lasts))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.made:
            at = data.draw(st.integers(0, len(self.made) - 1))
            self.worker.write(self.made[at].ended("ben", self.worker.now))
            self.spans[at].ends_at = min(self.spans[at].ends_at, self.worker.now)

    @rule(seconds=st.sampled_from([0.0, 20.0, 200.0]))
    def restart(self, seconds: float) -> None:
        self.worker.now += seconds
        self.worker.restart()
        self.asked.clear()

    @invariant()
    def only_what_is_silenced_is_held(self) -> None:
        if hasattr(self, "worker"):
            for alert in self.worker.partition.alerts.live():
                held = alert.record_id in self.worker.partition.alerts._held
                told = self.told.get(alert.record_id, Told())
                assert held or alert.state == "pending" or told.at > -inf


TestSilencedLife = SilencedLife.TestCase
TestSilencedLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
