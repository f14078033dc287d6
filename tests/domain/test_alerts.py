"""The life of an alert: examples, golden payloads, and a state machine against a plain model."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.domain import transitions
from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.detectors.history import Observation
from streams.domain.detectors.threshold import Threshold
from streams.domain.evaluation import ScopeWindows
from streams.domain.operators import Acknowledgement
from streams.domain.rules import Rule, Scope
from streams.domain.transitions import Transition, rfc3339
from tests.support.changelogs import restore_into, written

GOLDEN = Path(__file__).parent / "golden"
T0 = 1_795_428_042.0  # 2026-11-23T10:00:42Z
WINDOW = 1_795_428_000
SIZE = 60
HISTORY = 86_400.0
SCOPE = Scope("4f8d/ü")
RULE = Rule(
    name="failure-spike",
    statuses=frozenset({"FAILURE"}),
    # Each window is by itself.
    detector=Threshold(0.10, 0.95, recovery_level=0.05, lookback_windows=1),
    keep_firing_for=30.0,
    no_data_after=900.0,
    repeat_interval=3600.0,
    labels={"team": "crm"},
)
REOPENING = replace(RULE, reopen_within=100.0)


def asked(alert_id: str, comment: str = "") -> Acknowledgement:
    return Acknowledgement(alert_id, "ana", comment, lambda: None)


def seen(hits: int, attempts: int = 812) -> Observation:
    return Observation(attempts, hits, {"FAILURE": hits, "SUCCESS": attempts - hits})


HIGH, BETWEEN, LOW = seen(164), seen(60), seen(8)  # 20 %, 7 %, 1 %


def book(*rules: Rule) -> AlertBook:
    numbers = count(1)
    return AlertBook(
        rules or (RULE,),
        SIZE,
        HISTORY,
        lambda: f"alert-{next(numbers)}",
        "http://127.0.0.1:8080",
    )


def show(
    alerts: AlertBook,
    what: Observation,
    now: float,
    rule: Rule = RULE,
    scope: Scope = SCOPE,
) -> str | None:
    """Show the book a new window; return the kind of transition that it leads to."""
    transition = evaluate(alerts, {next(_windows): what}, now, rule, scope)
    return kind(transition) if transition else None


_windows = count(WINDOW, SIZE)


def evaluate(  # noqa: PLR0913 - all that a decision depends on
    alerts: AlertBook,
    open_windows: Mapping[int, Observation],
    now: float,
    rule: Rule = RULE,
    scope: Scope = SCOPE,
    *,
    newest: int | None = None,
) -> Transition | None:
    """Show the book the open windows of a scope, by start, newest first."""
    windows = ScopeWindows(scope, "app-1", open_windows, lambda: iter(()))
    newest = max(open_windows) if newest is None else newest
    return alerts.evaluate(rule, windows, now, newest).transition


def kind(transition: Transition) -> str:
    return transition.type.removeprefix("campaign.alert.")


def rfc3339_of(text: str) -> float:
    """Return the time (s) that a text says."""
    return datetime.fromisoformat(text).timestamp()


def types_of(found: list[Transition]) -> list[str]:
    return [kind(transition) for transition in found]


def restarted(alerts: AlertBook, *rules: Rule) -> AlertBook:
    return read_back(written(alerts.take_changes()), *rules)


def read_back(records: dict[bytes, bytes | None], *rules: Rule) -> AlertBook:
    again = book(*rules)
    restore_into(again.restore, records)
    return again


# From breach to recovery


def test_a_breach_fires_at_once_without_for() -> None:
    alerts = book()

    assert show(alerts, HIGH, T0) == "firing"
    assert SCOPE.campaign_id in alerts.campaigns_with_live_alerts


def test_it_fires_once_for_one_episode() -> None:
    alerts = book()
    show(alerts, HIGH, T0)

    assert [show(alerts, HIGH, T0 + second) for second in range(1, 600)] == [None] * 599


@pytest.mark.parametrize("what", [BETWEEN, LOW])
def test_no_breach_no_alert(what: Observation) -> None:
    alerts = book()

    assert show(alerts, what, T0) is None
    assert alerts.alerts() == []
    assert list(alerts.take_changes()) == []


def test_few_attempts_do_not_fire_though_the_rate_is_high() -> None:
    assert show(book(), seen(2, 10), T0) is None


def test_for_makes_it_wait() -> None:
    waiting = replace(RULE, for_=10.0)
    alerts = book(waiting)

    assert show(alerts, HIGH, T0, waiting) is None
    assert [alert.state for alert in alerts.alerts()] == ["pending"]
    assert show(alerts, HIGH, T0 + 9.9, waiting) is None
    assert show(alerts, HIGH, T0 + 10, waiting) == "firing"
    (alert,) = alerts.alerts()
    assert alert.starts_at == T0


def test_a_breach_that_ends_before_for_leaves_no_trace() -> None:
    waiting = replace(RULE, for_=10.0)
    alerts = book(waiting)
    show(alerts, HIGH, T0, waiting)

    assert show(alerts, BETWEEN, T0 + 5, waiting) is None
    assert alerts.alerts() == []
    assert SCOPE.campaign_id not in alerts.campaigns_with_live_alerts
    # The next breach waits its whole time again.
    assert show(alerts, HIGH, T0 + 10, waiting) is None


def test_it_resolves_when_the_rate_stays_low_for_long_enough() -> None:
    alerts = book()
    show(alerts, HIGH, T0)

    assert show(alerts, LOW, T0 + 60) is None
    assert show(alerts, LOW, T0 + 89.9) is None
    assert show(alerts, LOW, T0 + 90) == "resolved"
    (alert,) = alerts.alerts()
    assert (alert.state, alert.ends_at, alert.sequence) == ("resolved", T0 + 90, 2)
    assert SCOPE.campaign_id not in alerts.campaigns_with_live_alerts


@pytest.mark.parametrize("what", [BETWEEN, HIGH])
def test_a_rate_above_the_recovery_level_starts_the_recovery_anew(what: Observation) -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    show(alerts, LOW, T0 + 10)
    show(alerts, what, T0 + 39)

    assert show(alerts, LOW, T0 + 40) is None
    assert show(alerts, LOW, T0 + 69) is None
    assert show(alerts, LOW, T0 + 70) == "resolved"


@pytest.mark.parametrize(("level", "what"), [(0.05, seen(5, 100)), (0.0, seen(0, 100))])
def test_a_rate_at_the_recovery_level_recovers(level: float, what: Observation) -> None:
    at_level = replace(RULE, detector=Threshold(0.10, recovery_level=level))
    alerts = book(at_level)
    show(alerts, HIGH, T0, at_level)

    assert show(alerts, seen(what.hits + 1, what.attempts), T0 + 1, at_level) is None
    assert show(alerts, what, T0 + 31, at_level) is None
    assert show(alerts, what, T0 + 61, at_level) == "resolved"


def test_without_keep_firing_for_it_resolves_at_once() -> None:
    hasty = replace(RULE, keep_firing_for=0.0)
    alerts = book(hasty)
    show(alerts, HIGH, T0, hasty)

    assert show(alerts, LOW, T0 + 1, hasty) == "resolved"


def test_the_next_breach_is_another_episode() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    show(alerts, LOW, T0 + 10)
    show(alerts, LOW, T0 + 40)

    assert show(alerts, HIGH, T0 + 50) == "firing"
    assert [(a.alert_id, a.state) for a in alerts.alerts()] == [
        ("alert-1", "resolved"),
        ("alert-2", "firing"),
    ]


def test_scopes_and_rules_have_alerts_of_their_own() -> None:
    other = replace(RULE, name="other")
    alerts = book(RULE, other)

    assert show(alerts, HIGH, T0) == "firing"
    assert show(alerts, HIGH, T0, other) == "firing"
    assert show(alerts, HIGH, T0, scope=Scope(SCOPE.campaign_id, treatment_id="1")) == "firing"
    for scope_of in (RULE, other):
        show(alerts, LOW, T0 + 1, scope_of)
        show(alerts, LOW, T0 + 31, scope_of)
    assert SCOPE.campaign_id in alerts.campaigns_with_live_alerts
    assert sum(alert.is_live for alert in alerts.alerts()) == 1


# What time does


def test_reminders() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    found = []
    for minute in range(1, 181):
        show(alerts, HIGH, T0 + 60 * minute)
        found += [(minute, *types_of([told])) for told in alerts.tick(T0 + 60 * minute)]

    assert found == [(60, "reminder"), (120, "reminder"), (180, "reminder")]


def test_no_data_does_not_resolve_but_expires() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    show(alerts, LOW, T0 + 10)

    assert alerts.tick(T0 + 909.9) == []
    assert types_of(alerts.tick(T0 + 910)) == ["expired"]
    (alert,) = alerts.alerts()
    assert (alert.state, alert.ends_at) == ("expired", T0 + 910)
    assert alerts.tick(T0 + 911) == []


def test_a_pending_alert_without_data_goes_silently() -> None:
    waiting = replace(RULE, for_=1000.0)
    alerts = book(waiting)
    show(alerts, HIGH, T0, waiting)

    assert alerts.tick(T0 + 900) == []
    assert alerts.alerts() == []


def test_an_alert_whose_rule_is_gone_expires() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    again = restarted(alerts, replace(RULE, name="another"))
    again.resume(T0 + 1)

    assert types_of(again.tick(T0 + 1)) == ["expired"]


def test_time_is_let_pass_only_for_alerts_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = book()
    campaigns = [Scope(f"c{n}") for n in range(50)]
    looked_at: list[str] = []
    let_time_pass = AlertBook._let_time_pass

    def noted(self: AlertBook, alert: Alert, now: float) -> Iterator[Transition]:
        looked_at.append(alert.scope.campaign_id)
        return let_time_pass(self, alert, now)

    monkeypatch.setattr(AlertBook, "_let_time_pass", noted)
    for at, scope in enumerate(campaigns):
        evaluate(alerts, {60: HIGH}, T0 + at, scope=scope)
    # Attempts come for one of them alone.
    for second in range(60, 900, 10):
        evaluate(alerts, {60 + second: HIGH}, T0 + second, scope=campaigns[0])
        assert (alerts.tick(T0 + second), looked_at) == ([], [])

    assert [told.data.campaign_id for told in alerts.tick(T0 + 901)] == ["c1"]
    assert looked_at == ["c0", "c1"]
    alerts.tick(T0 + 960)
    assert looked_at == [f"c{n}" for n in range(50)]
    assert [alert.scope.campaign_id for alert in alerts.live()] == ["c0"]


def test_a_reminder_may_be_due_before_the_alert_would_expire() -> None:
    often = replace(RULE, for_=10.0, repeat_interval=20.0)
    alerts = book(often)
    assert show(alerts, HIGH, T0, often) is None
    assert show(alerts, HIGH, T0 + 10, often) == "firing"

    found = [(s, *types_of([told])) for s in range(120) for told in alerts.tick(T0 + s)]
    assert found == [(s, "reminder") for s in range(30, 120, 20)]


def test_an_ended_alert_is_remembered_for_a_while() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    alerts.tick(T0 + 900)
    list(alerts.take_changes())

    alerts.forget(T0 + 900 + HISTORY - 1)
    assert alerts.get("alert-1") is not None
    alerts.forget(T0 + 900 + HISTORY)
    assert alerts.get("alert-1") is None
    assert [value for _, value in alerts.take_changes()] == [None]


# Written down and read back


def test_a_restart_fires_nothing_twice() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    again = restarted(alerts)
    again.resume(T0 + 60)

    assert SCOPE.campaign_id in again.campaigns_with_live_alerts
    assert show(again, HIGH, T0 + 60) is None
    assert again.tick(T0 + 60) == []


def test_a_restart_keeps_for_and_recovery_going() -> None:
    waiting = replace(RULE, for_=10.0)
    alerts = book(waiting)
    show(alerts, HIGH, T0, waiting)
    records = written(alerts.take_changes())
    alerts = read_back(records, waiting)
    assert show(alerts, HIGH, T0 + 10, waiting) == "firing"
    show(alerts, LOW, T0 + 20, waiting)
    records |= written(alerts.take_changes())
    alerts = read_back(records, waiting)

    assert show(alerts, LOW, T0 + 50, waiting) == "resolved"


def test_a_pause_of_the_worker_is_not_silence_of_the_campaign() -> None:
    alerts = book()
    show(alerts, HIGH, T0)
    again = restarted(alerts)
    again.resume(T0 + 10_000)

    assert types_of(again.tick(T0 + 10_000)) == ["reminder"]
    assert again.tick(T0 + 10_899) == []
    assert types_of(again.tick(T0 + 10_900)) == ["expired"]


def test_keys_say_whose_alert_it_is() -> None:
    alerts = book()
    show(alerts, HIGH, T0)

    ((key, value),) = written(alerts.take_changes()).items()

    assert key == '["alert","4f8d/ü","alert-1"]'.encode()
    assert value is not None
    assert list(alerts.take_changes()) == []


def test_a_live_alert_that_was_removed_is_not_restored() -> None:
    before = book()
    show(before, HIGH, T0)
    removed = dict.fromkeys(written(before.take_changes()))

    alerts = read_back(removed)

    assert alerts.alerts() == []
    assert SCOPE.campaign_id not in alerts.campaigns_with_live_alerts
    assert show(alerts, HIGH, T0 + 1) == "firing"


def test_episodes_that_ended_at_the_same_time_keep_their_order_over_a_restart() -> None:
    quick = replace(REOPENING, keep_firing_for=0.0)
    ids = iter("cba")
    alerts = AlertBook((quick,), SIZE, HISTORY, lambda: next(ids), "http://127.0.0.1:8080")
    for _ in range(3):
        assert show(alerts, HIGH, T0, quick) == "firing"
        assert show(alerts, LOW, T0, quick) == "resolved"
    again = restarted(alerts, quick)
    again.resume(T0)

    fired = evaluate(again, {WINDOW + 36_000: HIGH}, T0 + 1, quick)

    assert fired is not None
    assert (fired.data.alert_id, fired.data.sequence, fired.data.episode) == ("c", 7, 4)


# What is told


def told() -> Iterator[tuple[str, Transition | None]]:
    """One episode of each end, and what is told of it."""
    alerts = book()

    def say(what: Observation, window: int, now: float) -> Transition | None:
        return evaluate(alerts, {window: what}, now)

    yield "firing", say(HIGH, WINDOW, T0)
    say(HIGH, WINDOW + 3600, T0 + 3600.5)
    yield "reminder", alerts.tick(T0 + 3600.5)[0]
    say(seen(8, 800), WINDOW + 3660, T0 + 3660)
    yield "resolved", say(LOW, WINDOW + 3660, T0 + 3690)
    scoped = replace(RULE, name="by-treatment", scope="treatment", labels={})
    alerts = book(scoped)
    treated = Scope("100%", treatment_id="1")
    evaluate(alerts, {WINDOW: HIGH}, T0, scoped, treated)
    yield "expired", alerts.tick(T0 + 900)[0]
    alerts = book(REOPENING)
    evaluate(alerts, {WINDOW: HIGH}, T0, REOPENING)
    yield "acknowledged", next(alerts.acknowledge(asked("alert-1", "on it"), T0 + 25.5))
    evaluate(alerts, {WINDOW + 60: seen(8, 800)}, T0 + 60, REOPENING)
    evaluate(alerts, {WINDOW + 60: LOW}, T0 + 90, REOPENING)
    yield "reopened", evaluate(alerts, {WINDOW + 180: HIGH}, T0 + 180, REOPENING)


@pytest.mark.parametrize(
    "name", ["firing", "reminder", "acknowledged", "resolved", "reopened", "expired"]
)
def test_golden(name: str) -> None:
    """The files are the contract with receivers: change one only with the documentation."""
    (transition,) = [t for kind_, t in told() if kind_ == name and t is not None]

    body = transitions.encode(transition)

    written = (GOLDEN / f"{name}.json").read_text()
    assert orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode() + "\n" == written
    assert transitions.decode(body) == transition
    jsonschema.Draft202012Validator(transitions.json_schema()).validate(orjson.loads(body))


PROMISED = """
    alert_id sequence rule severity campaign_id treatment_id delivery_type channel_type app_id
    starts_at ends_at window evidence peak totals summary labels links explanation
    cause acknowledged episode first_starts_at
"""


def test_the_fields_and_their_order_are_those_that_were_promised() -> None:
    body = orjson.loads((GOLDEN / "firing.json").read_text())

    assert list(body) == ["type", "timestamp", "data"]
    assert list(body["data"]) == PROMISED.split()
    assert list(body["data"]["window"]) == ["start", "end"]
    assert list(body["data"]["evidence"]) == [
        "attempts",
        "hits",
        "rate",
        "lower_bound",
        "baseline_rate",
        "counts",
        "since",
    ]
    pages = ["alert_page", "campaign_page"]
    assert list(body["data"]["links"]) == ["windows", "alert", *pages]


def test_the_schema_refuses_what_is_no_transition() -> None:
    validator = jsonschema.Draft202012Validator(transitions.json_schema())
    body = orjson.loads((GOLDEN / "firing.json").read_text())
    validator.validate(body)

    for wrong in ({**body, "type": "campaign.alert.other"}, {**body, "data": {}}, {}):
        assert not validator.is_valid(wrong)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (T0, "2026-11-23T10:00:42Z"),
        (T0 + 0.25, "2026-11-23T10:00:42.250Z"),
        (T0 + 0.9999, "2026-11-23T10:00:43Z"),
    ],
)
def test_times_are_rfc_3339(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_are_kept(milliseconds: int) -> None:
    text = rfc3339(milliseconds / 1000)

    assert text.endswith(f".{milliseconds % 1000:03d}Z" if milliseconds % 1000 else "Z")


# A state machine


class Book(RuleBasedStateMachine):
    """Whatever is seen, however time passes and workers come and go, alerts keep their promises.

    The model follows one campaign by the words of the rule: when it became bad, when good again,
    when it was last heard.
    """

    rule_ = replace(RULE, for_=10.0)

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(1)
        self.alerts = self.empty()
        self.topic: dict[bytes, bytes | None] = {}
        self.now = T0
        self.told: dict[str, list[Transition]] = {}
        self.bad_since: float | None = None
        self.good_since: float | None = None
        self.firing = False
        self.last_evaluated_at = T0
        self.notified_at = T0
        self.acknowledged = False
        self.newest_id = ""
        self.ended_at = -1e9

    def empty(self) -> AlertBook:
        return AlertBook((self.rule_,), SIZE, HISTORY, lambda: f"alert-{next(self.ids)}")

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 400.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(what=st.sampled_from([HIGH, BETWEEN, LOW]))
    def see(self, what: Observation) -> None:
        found = evaluate(self.alerts, {next(_windows): what}, self.now, self.rule_)
        self.note([found] if found else [])

        assert (kind(found) if found else None) == self.expected(what)

    def expected(self, what: Observation) -> str | None:
        self.last_evaluated_at = self.now
        if self.firing:
            if what is not LOW:
                self.good_since = None
            elif self.good_since is None:
                self.good_since = self.now
            if self.good_since is not None and self.now - self.good_since >= 30:
                self.end()
                return "resolved"
        elif what is not HIGH:
            self.bad_since = None
        elif self.bad_since is None:
            self.bad_since = self.now
        elif self.now - self.bad_since >= 10:
            self.firing, self.notified_at = True, self.now
            return "firing"
        return None

    def end(self) -> None:
        if self.firing:
            self.ended_at = self.now
        self.firing, self.bad_since, self.good_since = False, None, None
        self.acknowledged = False

    @rule(alert_id=st.sampled_from(["alert-1", "alert-2", ""]))
    def acknowledge(self, alert_id: str) -> None:
        """The newest alert, or any other one."""
        alert_id = alert_id or self.newest_id
        found = list(self.alerts.acknowledge(asked(alert_id), self.now))
        self.note(found)

        is_news = self.firing and not self.acknowledged and alert_id == self.newest_id
        assert types_of(found) == (["acknowledged"] if is_news else [])
        self.acknowledged |= is_news

    @rule()
    def tick(self) -> None:
        self.alerts.forget(self.now)
        found = self.alerts.tick(self.now)
        self.note(found)

        expected: list[str] = []
        if self.now - self.last_evaluated_at >= 900:
            expected = ["expired"] if self.firing else []
            self.end()
        elif self.firing and not self.acknowledged and self.now - self.notified_at >= 3600:
            expected = ["reminder"]
            self.notified_at = self.now
        assert types_of(found) == expected

    @rule()
    def move(self) -> None:
        """Another worker goes on from what was written down."""
        self.topic |= written(self.alerts.take_changes())
        self.alerts = self.empty()
        restore_into(self.alerts.restore, self.topic)
        self.alerts.resume(self.now)
        self.last_evaluated_at = self.now

    def note(self, found: list[Transition]) -> None:
        for transition in found:
            alert_id = transition.data.alert_id
            if kind(transition) == "firing":
                began = rfc3339_of(transition.data.starts_at)
                is_soon = bool(self.newest_id) and began - self.ended_at <= self.rule_.reopen_within
                is_same = is_soon and self.rule_.reopen_within > 0
                assert (alert_id == self.newest_id) == is_same
                self.newest_id = alert_id
            assert alert_id == self.newest_id
            self.told.setdefault(alert_id, []).append(transition)

    @invariant()
    def each_alert_is_told_from_beginning_to_end(self) -> None:
        for alert_id, story in self.told.items():
            words = types_of(story)
            assert [t.data.sequence for t in story] == list(range(1, len(story) + 1))
            episodes = " ".join(words).replace("resolved", "ended").replace("expired", "ended")
            assert EPISODES.fullmatch(episodes), episodes
            assert self.rule_.reopen_within or words.count("firing") == 1
            alert = self.alerts.get(alert_id)
            if alert is not None:
                assert alert.state == (words[-1] if words[-1] in ENDS else "firing")
                assert alert.occurrence == words.count("firing") == len(alert.past) + 1
                assert self.acknowledged == (alert.acknowledged is not None) or alert.ends_at

    @invariant()
    def one_episode_at_a_time(self) -> None:
        live = [alert for alert in self.alerts.alerts() if alert.is_live]
        assert len(live) == (self.firing or self.bad_since is not None)
        assert (SCOPE.campaign_id in self.alerts.campaigns_with_live_alerts) == bool(live)


class ReopeningBook(Book):
    """The same, and what comes back soon is the same alert."""

    rule_ = replace(Book.rule_, reopen_within=500.0)


ENDS = {"resolved", "expired"}
EPISODE = "firing( reminder)*( acknowledged)?"
EPISODES = re.compile(f"({EPISODE} ended )*{EPISODE}( ended)?")
TestBook, TestReopeningBook = Book.TestCase, ReopeningBook.TestCase
TestBook.settings = settings(max_examples=150, stateful_step_count=40)
TestReopeningBook.settings = settings(max_examples=150, stateful_step_count=40)
