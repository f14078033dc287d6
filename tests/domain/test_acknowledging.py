"""Alerts that are acknowledged and come back: examples, and a life with crashes against a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streams.domain import transitions
from streams.domain.alert_records import Alert
from streams.domain.detectors.threshold import Threshold
from streams.domain.notification.acknowledgement import NOT_SUPPORTED, acknowledgement
from streams.domain.notification.notified import NOT_NOTIFIED
from streams.domain.notification.route import NO_RECEIVER
from streams.domain.notification.silence import SILENCED
from streams.domain.notification.stage import Notification, Suppressed, Withheld
from streams.domain.operators import MOST_WAITING, Acknowledgement, OperatorRequests
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rules import Rule
from streams.domain.silences import matchers
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from streams.domain.transition_causes import Acknowledged, CauseReason
from streams.domain.transitions import Transition, rfc3339
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.detectors import Cusum
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts
from tests.support.transitions import firing

T0 = 1_795_428_000.0
REPEAT, WITHIN = 100.0, 300.0
FAILING = Rule(
    "failing",
    frozenset({"FAILURE"}),
    Threshold(0.2, 0.95, min_attempts=10, lookback_windows=1),
    keep_firing_for=0.0,
    no_data_after=500.0,
    repeat_interval=REPEAT,
    reopen_within=WITHIN,
)
SETTINGS = replace(
    PARTITION_SETTINGS,
    rules=(FAILING,),
    receivers=("ops", "pager"),
    take_acknowledgements=frozenset({"pager"}),
    windows=WindowPolicy(size=60, grace=30, retention=3_600),
)
CAMPAIGNS = ("a", "b")


class Worker:
    """A partition whose last step is committed, or lost in a crash.

    Attributes:
        told: the transitions that were committed, in order.
        committed: the requests of operators that were answered.
    """

    def __init__(self, partition_settings: PartitionSettings = SETTINGS) -> None:
        self.now = T0
        self.settings = replace(partition_settings, silences=SilenceBook())
        self.told: list[Transition] = []
        self.committed: list[str] = []
        self.sent: list[str] = []
        self._changelog: dict[bytes, bytes | None] = {}
        self._log: list[PartialCounts] = []
        self._known: set[str] = set()
        self.partition = CampaignPartition(0, self.settings, [0], T0)

    def restart(self) -> None:
        """Go on from what was committed, as after a crash, or with other settings."""
        self.partition = restored(self.settings, self._changelog, self._log, self.now)

    def acknowledge(self, alert_id: str, by: str = "ana", comment: str = "") -> None:
        def committed() -> None:
            self.committed.append(alert_id)

        assert self.partition.operators.add(Acknowledgement(alert_id, by, comment, committed))

    def step(
        self, sends: Mapping[str, str] | None = None, seconds: float = 1.0, *, crash: bool = False
    ) -> list[str]:
        """Let time pass, count sends of campaigns by their status; return what is newly sent.

        With `crash` all of that is decided and lost; the counts come again then.
        """
        self.now += seconds
        start = int(self.now) // 60 * 60
        found = {name: counts({status: 60}) for name, status in (sends or {}).items()}
        at = int(self.now * 1000)
        added = PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: at}, at, [window_counts(start, found)] if found else []
        )
        told = self._count(added)
        if crash:
            self.restart()
            told = self._count(added)
        self.told += told
        self._log.append(added)
        self._changelog.update(self.partition.take_changes(self.now))
        self.partition.mark_committed()
        return self._new()

    def _count(self, added: PartialCounts) -> list[Transition]:
        offset = len(self._log)
        self.partition.apply(added, offset, self.now)
        told = self.partition.advance(self.now, offset + 1)
        return told + self.partition.evaluate(self.now)

    def _new(self) -> list[str]:
        every = self.partition.deliveries.deliveries()
        new = [each for each in every if each.delivery_id not in self._known]
        self._known |= {each.delivery_id for each in new}
        made = [transitions.decode(each.transition) for each in new]
        return sorted(
            f"{transition.data.campaign_id} {kind(transition)} {each.receiver}"
            for each, transition in zip(new, made, strict=True)
        )

    def alert(self, campaign_id: str = "a") -> Alert:
        """Return the only alert of a campaign."""
        every = self.partition.alerts.alerts()
        (alert,) = [each for each in every if each.scope.campaign_id == campaign_id]
        return alert


def kind(transition: Transition) -> str:
    return transition.type.removeprefix("campaign.alert.")


def causes(alert: Alert) -> list[tuple[str, str, str, str | None]]:
    return [
        (step.type.split(".")[-1], step.cause.actor, step.cause.reason, step.cause.name)
        for step in alert.steps
        if step.cause is not None
    ]


# Acknowledged


def test_an_acknowledged_alert_gets_no_reminders_and_ends_as_ever() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.acknowledge("alert-none")
    worker.acknowledge(worker.alert().alert_id, "ana", "on it")
    assert worker.step() == ["a acknowledged pager"]
    assert worker.alert().acknowledged == Acknowledged("ana", "on it", rfc3339(worker.now))
    assert worker.committed == ["alert-none", worker.alert().alert_id]
    for _ in range(4):
        assert worker.step({"a": "FAILURE"}, REPEAT) == []
    worker.restart()
    assert worker.step({"a": "FAILURE"}, REPEAT) == []
    assert worker.step({"a": "SUCCESS"}, 60) == ["a resolved ops", "a resolved pager"]
    assert worker.alert().acknowledged is None
    assert causes(worker.alert()) == [
        ("firing", "rule", "breach", None),
        ("acknowledged", "operator", "acknowledged", "ana"),
        ("resolved", "rule", "recovered", None),
    ]
    why = Withheld("ops", NOT_SUPPORTED, "it has no notion of acknowledgements")
    assert [step.withheld for step in worker.alert().steps] == [(), (why,), ()]


def test_it_is_acknowledged_once_by_whoever_came_first() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    alert_id = worker.alert().alert_id
    worker.acknowledge(alert_id, "ana")
    worker.acknowledge(alert_id, "ben")
    assert worker.step() == ["a acknowledged pager"]
    worker.acknowledge(alert_id, "ben")
    worker.restart()
    worker.acknowledge(alert_id, "ben")
    assert worker.step() == []
    acknowledged = worker.alert().acknowledged
    assert acknowledged is not None
    assert acknowledged.by == "ana"
    assert len(worker.committed) == 3, "the one before the restart is lost, and not answered"


def test_what_was_decided_and_not_committed_is_not_answered_and_can_be_asked_again() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    alert_id = worker.alert().alert_id
    worker.acknowledge(alert_id)
    assert worker.step(crash=True) == []
    assert (worker.alert().acknowledged, worker.committed) == (None, [])
    worker.acknowledge(alert_id)
    assert worker.step() == ["a acknowledged pager"]
    assert [each.data.sequence for each in worker.told] == [1, 2]


def test_a_request_is_decided_before_the_next_commit() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    assert worker.partition.unchanged_until(worker.now) > worker.now
    worker.acknowledge(worker.alert().alert_id)
    assert not worker.partition.is_evaluated
    assert worker.partition.unchanged_until(worker.now) <= worker.now


def test_what_does_not_fire_is_not_acknowledged() -> None:
    worker = Worker(replace(SETTINGS, rules=(replace(FAILING, for_=100.0),)))
    worker.step({"a": "FAILURE"})
    worker.acknowledge(worker.alert().alert_id)
    worker.step({"a": "FAILURE"})
    assert (worker.alert().state, worker.alert().acknowledged) == ("pending", None)
    worker.step({"a": "FAILURE"}, 100)
    worker.step({"a": "SUCCESS"}, 60)
    worker.acknowledge(worker.alert().alert_id)
    worker.step()
    assert [kind(each) for each in worker.told] == ["firing", "resolved"]


def test_requests_are_bounded() -> None:
    requests = OperatorRequests()
    asked = Acknowledgement("a", "ana", "", lambda: None)
    assert all(requests.add(asked) for _ in range(MOST_WAITING))
    assert not requests.add(asked)
    requests.take()
    assert requests.add(asked)


def test_what_is_done_during_a_commit_belongs_to_the_next_one() -> None:
    answered: list[str] = []
    requests = OperatorRequests()
    for name in ("first", "second"):
        requests.add(Acknowledgement("a", name, "", partial(answered.append, name)))
        requests.take()
        if name == "first":
            requests.begin_commit()
    requests.add(Acknowledgement("a", "third", "", partial(answered.append, "third")))
    requests.mark_committed()
    assert answered == ["first"]
    requests.begin_commit()
    requests.mark_committed()
    assert answered == ["first", "second"], "the third is waiting"


@pytest.mark.parametrize(
    ("told", "take", "left"),
    [
        (("ops", "pager"), {"pager"}, ("pager",)),
        (("ops",), {"pager"}, None),
        (("ops",), {"ops"}, ("ops",)),
    ],
)
def test_only_receivers_that_know_what_that_is_are_notified(
    told: tuple[str, ...], take: set[str], left: tuple[str, ...] | None
) -> None:
    made = firing()
    stage = acknowledgement(take)
    assert stage(Notification(made, told), T0) == Notification(made, told)
    made.type = "campaign.alert.acknowledged"
    decision = stage(Notification(made, told), T0)
    if left is None:
        assert isinstance(decision, Suppressed)
        assert decision.reason == NOT_SUPPORTED
    else:
        assert isinstance(decision, Notification)
        assert decision.receivers == left
        assert {each.receiver for each in decision.withheld} == set(told) - set(left)


def silenced_until(ends_at: float) -> Silence:
    return Silence("s", (matchers.parse("rule=failing"),), T0, ends_at, "ben", "why", T0)


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_silenced_and_acknowledged_is_told_once_the_silence_ends(restarts: bool) -> None:
    """Nobody was notified that it fires, so that is no reminder."""
    worker = Worker()
    worker.settings.silences.put(silenced_until(T0 + 50))
    assert worker.step({"a": "FAILURE"}) == []
    worker.acknowledge(worker.alert().alert_id)
    assert worker.step(seconds=48.5) == [], "silenced too"
    if restarts:
        worker.restart()
    assert worker.step() == ["a firing ops", "a firing pager"]
    assert causes(worker.alert())[-1] == ("firing", "silence", "silence-ended", None)
    for _ in range(3):
        assert worker.step({"a": "FAILURE"}, REPEAT) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_acknowledged_in_the_step_that_ends_the_silence_it_is_told(restarts: bool) -> None:
    worker = Worker()
    worker.settings.silences.put(silenced_until(T0 + 50))
    worker.step({"a": "FAILURE"})
    worker.now = T0 + 51
    asked = Acknowledgement(worker.alert().alert_id, "ana", "", lambda: None)
    (transition,) = worker.partition.alerts.acknowledge(asked, T0 + 51)
    assert list(worker.partition._notify([transition], T0 + 51)) == [transition]
    assert worker.alert().steps[-1].suppressed == Suppressed(
        "not-notified", "no receiver was notified that it fires"
    )
    if restarts:
        worker._changelog.update(worker.partition.take_changes(worker.now))
        worker.restart()
    assert worker.step() == ["a firing ops", "a firing pager"]


def test_no_reminder_of_what_was_acknowledged_comes_when_a_silence_ends() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.settings.silences.put(silenced_until(T0 + 250))
    assert worker.step({"a": "FAILURE"}, 110) == []
    worker.acknowledge(worker.alert().alert_id)
    assert worker.step() == [], "silenced too"
    assert worker.step({"a": "FAILURE"}, 200) == []
    worker.restart()
    assert worker.step({"a": "FAILURE"}, 200) == []
    assert worker.step({"a": "SUCCESS"}, 60) == ["a resolved ops", "a resolved pager"]


# Reopened


def test_what_comes_back_soon_is_the_same_alert_and_has_to_be_acknowledged_anew() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    first = worker.alert()
    worker.acknowledge(first.alert_id)
    worker.step({"a": "SUCCESS"}, 60)
    ended_at = worker.now
    assert worker.step({"a": "FAILURE"}, 60) == ["a firing ops", "a firing pager"]
    again = worker.alert()
    assert (again.alert_id, again.occurrence, again.acknowledged) == (first.alert_id, 2, None)
    assert (again.first_starts_at, again.starts_at) == (first.starts_at, worker.now)
    (past,) = again.past
    assert (past.number, past.starts_at, past.ends_at) == (1, T0 + 1, ended_at)
    assert (past.peak.hits, past.attempts, past.hits) == (60, 120, 60)
    assert again.totals == (60, 60), "of this episode"
    assert worker.step(seconds=REPEAT) == ["a reminder ops", "a reminder pager"]
    assert [each.data.sequence for each in worker.told] == [1, 2, 3, 4, 5]
    assert {each.data.alert_id for each in worker.told} == {first.alert_id}
    assert [each.data.episode for each in worker.told] == [1, 1, 1, 2, 2]
    assert " firing again in campaign a" in worker.told[3].data.summary


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(("seconds", "same"), [(WITHIN, True), (WITHIN + 1, False)])
def test_only_within_the_time_that_the_rule_sets(
    seconds: float, same: bool, restarts: bool
) -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.step({"a": "SUCCESS"}, 60)
    if restarts:
        worker.restart()
    worker.step({"a": "FAILURE"}, seconds)
    assert len({each.data.alert_id for each in worker.told}) == (1 if same else 2)
    assert [each.data.episode for each in worker.told] == [1, 1, 2 if same else 1]


def test_one_that_does_not_last_leaves_the_alert_ended() -> None:
    worker = Worker(replace(SETTINGS, rules=(replace(FAILING, for_=120.0),)))
    for _ in range(3):
        worker.step({"a": "FAILURE"}, 60)
    worker.step({"a": "SUCCESS"}, 100)
    ended = worker.alert()
    worker.step({"a": "FAILURE"}, 60)
    assert sorted(each.state for each in worker.partition.alerts.alerts()) == [
        "pending",
        "resolved",
    ]
    worker.step({"a": "SUCCESS"}, 100)
    assert worker.alert() is ended
    assert [kind(each) for each in worker.told] == ["firing", "resolved"]


def test_an_alert_that_comes_back_often_remembers_its_newest_episodes() -> None:
    worker = Worker()
    for _ in range(20):
        worker.step({"a": "FAILURE"}, 60)
        worker.step({"a": "SUCCESS"}, 60)
    worker.restart()
    alert = worker.alert()
    assert alert.occurrence == 20
    assert [each.number for each in alert.past] == list(range(8, 20))
    assert [step.sequence for step in alert.steps] == [1, *range(18, 41)]
    assert worker.partition.alerts.get(alert.alert_id) is alert
    records = worker.partition.alerts._alerts.values()
    assert len(records) == 20
    assert sum(len(each.steps) + len(each.past) for each in records) == 24 + 12, "once"


def test_what_is_forgotten_is_gone_with_all_its_episodes() -> None:
    worker = Worker()
    for _ in range(3):
        worker.step({"a": "FAILURE"}, 60)
        worker.step({"a": "SUCCESS"}, 60)
    alert_id = worker.alert().alert_id
    worker.step({"b": "SUCCESS"}, 3_599)
    assert worker.alert().occurrence == 3
    worker.step({"b": "SUCCESS"}, 1)
    assert worker.partition.alerts.alerts() == []
    assert worker.partition.alerts.get(alert_id) is None
    worker.restart()
    assert worker.partition.alerts.alerts() == []


# The configuration changes


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ((), "rule-removed"),
        ((replace(FAILING, name="renamed"),), "rule-removed"),
        ((replace(FAILING, statuses=frozenset({"FAILURE", "THROTTLED"})),), "rule-changed"),
        ((replace(FAILING, unrecognised=True),), "rule-changed"),
        ((replace(FAILING, scope="treatment"),), "rule-changed"),
        ((replace(FAILING, campaigns=("b*",)),), "rule-changed"),
        ((replace(FAILING, apps=("other",)),), "rule-changed"),
    ],
)
def test_an_alert_whose_rule_is_another_one_ends_at_once(
    rules: tuple[Rule, ...], reason: str
) -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    before = worker.alert()
    worker.settings = replace(SETTINGS, rules=rules)
    worker.restart()
    assert worker.partition.unchanged_until(worker.now) <= worker.now
    # Under the new definition it would have recovered.
    found = worker.step({"a": "SUCCESS"}, 60)
    assert {"a expired ops", "a expired pager"} <= set(found)
    ended = worker.partition.alerts.get(before.alert_id)
    assert ended is not None
    assert causes(ended)[-1] == ("expired", "configuration", reason, None)
    assert [each.data.alert_id for each in worker.told if kind(each) == "expired"] == [
        before.alert_id
    ]


@pytest.mark.parametrize(
    "changed",
    [
        replace(FAILING, detector=Threshold(0.3, 0.95, min_attempts=10, lookback_windows=1)),
        replace(FAILING, severity="info", labels={"team": "x"}, repeat_interval=1e6),
        replace(FAILING, campaigns=("a*",), apps=("app",), receivers=("ops",)),
        replace(FAILING, reopen_within=0.0, no_data_after=1e6),
    ],
)
def test_other_changes_of_a_rule_go_on_with_its_alerts(changed: Rule) -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.settings = replace(SETTINGS, rules=(changed,))
    worker.restart()
    assert worker.step({"a": "FAILURE"}) == []
    assert worker.alert().severity == "critical", "as when it began"
    assert worker.step({"a": "SUCCESS"}, 60) == ["a resolved ops", "a resolved pager"]


def test_an_alert_under_another_definition_is_another_alert() -> None:
    """What the old one was about is no evidence less for it either."""
    worker = Worker()
    worker.step({"a": "FAILURE"})
    wider = replace(FAILING, statuses=frozenset({"FAILURE", "THROTTLED"}))
    worker.settings = replace(SETTINGS, rules=(wider,))
    worker.restart()
    worker.step({"a": "SUCCESS"})
    assert [kind(each) for each in worker.told] == ["firing", "expired", "firing"]
    assert worker.told[0].data.alert_id != worker.told[2].data.alert_id
    seen = worker.told[2].data.evidence
    assert (seen.hits, seen.attempts) == (60, 120), "what the old one has told is enough"


def test_a_rule_that_comes_back_soon_reopens_its_alert() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.settings = replace(SETTINGS, rules=())
    worker.restart()
    worker.step()
    worker.settings = SETTINGS
    worker.restart()
    assert worker.step({"a": "FAILURE"}, 60) == ["a firing ops", "a firing pager"]
    assert worker.alert().occurrence == 2


def test_what_a_fold_knows_to_breach_is_an_alert_of_the_changed_rule() -> None:
    folding = Rule("cusum", frozenset({"FAILURE"}), Cusum(4.0), reopen_within=WITHIN)
    worker = Worker(replace(SETTINGS, rules=(folding,)))
    worker.step({"a": "SUCCESS"}, 60)
    worker.step({"a": "FAILURE"}, 60)
    assert [kind(each) for each in worker.told] == ["firing"]
    wider = replace(folding, statuses=frozenset({"FAILURE", "THROTTLED"}))
    worker.settings = replace(SETTINGS, rules=(wider,))
    worker.restart()
    worker.step({"a": "FAILURE"})
    worker.step({"a": "FAILURE"})
    assert [kind(each) for each in worker.told] == ["firing", "expired", "firing"]
    assert worker.told[0].data.alert_id != worker.told[2].data.alert_id
    worker.restart()
    worker.step({"a": "FAILURE"})
    assert len(worker.told) == 3


@pytest.mark.parametrize("crash", [False, True])
def test_a_rule_that_was_away_for_a_moment_goes_on_with_what_its_fold_knows(crash: bool) -> None:
    folding = Rule("cusum", frozenset({"FAILURE"}), Cusum(4.0), reopen_within=WITHIN)
    worker = Worker(replace(SETTINGS, rules=(folding,)))
    worker.step({"a": "SUCCESS"}, 60)
    worker.step({"a": "FAILURE"}, 60)
    for rules in ((), (folding,)):
        worker.settings = replace(SETTINGS, rules=rules)
        worker.restart()
        worker.step({"a": "FAILURE"}, crash=crash)
    worker.step({"a": "FAILURE"})
    assert [kind(each) for each in worker.told] == ["firing", "expired", "firing"]
    assert worker.alert().occurrence == 2


def test_a_pending_alert_of_a_removed_rule_goes_silently() -> None:
    worker = Worker(replace(SETTINGS, rules=(replace(FAILING, for_=100.0),)))
    worker.step({"a": "FAILURE"})
    worker.settings = replace(SETTINGS, rules=())
    worker.restart()
    assert worker.step() == []
    assert worker.partition.alerts.alerts() == []


def test_a_receiver_that_is_removed_is_named_as_not_told() -> None:
    worker = Worker()
    worker.step({"a": "FAILURE"})
    worker.settings = replace(SETTINGS, receivers=("ops",))
    worker.restart()
    assert worker.step({"a": "SUCCESS"}, 60) == ["a resolved ops"]
    why = Withheld("pager", "no-receiver", "it is not configured any more")
    assert worker.alert().steps[-1].withheld == (why,)


def test_every_reason_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text()
    stages = SILENCED, NOT_NOTIFIED, NO_RECEIVER, NOT_SUPPORTED
    for reason in (*get_args(CauseReason), *stages):
        assert f"| `{reason}` |" in page


# Against a model


@dataclass
class Story:
    """What was committed of one alert."""

    alert_id: str
    live: bool = False
    acknowledged: bool = False
    sequence: int = 0
    ended_at: float = 0.0
    episodes: int = 0
    types: list[str] = field(default_factory=list)


class OperatedLife(RuleBasedStateMachine):
    """Alerts begin, end and come back; people acknowledge; workers crash before they commit.

    Whether a campaign breaches is taken from the worker, as other tests are about that.
    """

    @initialize()
    def begin(self) -> None:
        self.worker = Worker()
        self.stories: dict[str, Story] = {}
        self.newest: dict[str, Story] = {}
        self.asked: set[str] = set()
        self.read = 0

    @rule(
        seconds=st.sampled_from((1.0, 20.0, 60.0, 120.0, 250.0, 600.0)),
        sends=st.dictionaries(
            st.sampled_from(CAMPAIGNS), st.sampled_from(("FAILURE", "FAILURE", "SUCCESS"))
        ),
        crash=st.booleans(),
    )
    def step(self, seconds: float, sends: dict[str, str], crash: bool) -> None:
        overdue = {name for name in CAMPAIGNS if name in self.newest and self.newest[name].live}
        answered = len(self.worker.committed)
        sent = self.worker.step(sends, seconds, crash=crash)
        told, self.read = self.worker.told[self.read :], len(self.worker.told)
        for transition in told:
            self._follow(transition)
        if crash:
            self.asked.clear()
        assert set(self.worker.committed[answered:]) == self.asked
        self.asked.clear()
        assert sent == sorted(self._deliveries(told))
        assert overdue <= self.newest.keys()

    @rule(name=st.sampled_from(CAMPAIGNS))
    def acknowledge(self, name: str) -> None:
        """Whether it fires or not."""
        story = self.newest.get(name)
        if story is not None:
            self.worker.acknowledge(story.alert_id)
            self.asked.add(story.alert_id)

    @rule()
    def restart(self) -> None:
        self.worker.restart()
        self.asked.clear()

    def _follow(self, transition: Transition) -> None:
        data, now, word = transition.data, self.worker.now, kind(transition)
        before = self.newest.get(data.campaign_id)
        story = self.stories.setdefault(data.alert_id, Story(data.alert_id))
        assert data.sequence == story.sequence + 1
        story.sequence, story.types = data.sequence, [*story.types, word]
        if word == "firing":
            soon = before is not None and now - before.ended_at <= WITHIN
            assert before is None or not before.live
            assert soon == (story is before)
            self.newest[data.campaign_id] = story
            story.live, story.episodes = True, story.episodes + 1
        else:
            assert story is before
            assert story.live
        if word == "acknowledged":
            assert story.alert_id in self.asked
            assert not story.acknowledged
            story.acknowledged = True
        elif word == "reminder":
            assert not story.acknowledged
        elif word in {"resolved", "expired"}:
            story.live, story.acknowledged, story.ended_at = False, False, now
        assert data.episode == story.episodes
        assert (data.acknowledged is not None) == story.acknowledged
        assert data.cause is not None

    @staticmethod
    def _deliveries(told: Iterable[Transition]) -> Iterable[str]:
        for each in told:
            yield f"{each.data.campaign_id} {kind(each)} pager"
            if kind(each) != "acknowledged":
                yield f"{each.data.campaign_id} {kind(each)} ops"

    @invariant()
    def the_api_says_what_was_told(self) -> None:
        alerts = self.worker.partition.alerts
        for story in self.stories.values():
            alert = alerts.get(story.alert_id)
            if alert is None:
                assert not story.live
                continue
            assert alert.alert_id == story.alert_id
            assert (alert.state == "firing") == story.live
            assert (alert.acknowledged is not None) == story.acknowledged
            assert alert.steps[-1].sequence == story.sequence
        shown = [each.alert_id for each in alerts.alerts() if each.steps]
        assert len(shown) == len(set(shown))


TestOperatedLife = OperatedLife.TestCase
TestOperatedLife.settings = settings(max_examples=150, stateful_step_count=30)
