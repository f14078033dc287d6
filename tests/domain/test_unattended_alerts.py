"""Alerts whose fold says when they are over: no counts but those that end them are evaluated."""

import itertools
from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.alert_records import Alert
from streams.domain.detectors.spike import Spike
from streams.domain.operators import Acknowledgement
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule
from streams.domain.transitions import AlertData, Peak, Transition
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

SPIKE = Rule(
    "failing",
    frozenset({"FAILURE"}),
    Spike(patience=0.0),
    no_data_after=300.0,
    repeat_interval=3_600.0,
)
ENGAGEMENT = Dimensions("_email.open", None, None, "EMAIL", engagement=True)


class Sending:
    """A partition that is given counts of one campaign, and evaluated with each."""

    def __init__(self, *rules: Rule) -> None:
        ids = itertools.count(1)
        self.settings = replace(
            PARTITION_SETTINGS,
            windows=WindowPolicy(size=60, grace=30, retention=3_600),
            rules=rules or (SPIKE,),
            new_id=lambda: f"alert-{next(ids)}",
        )
        self.partition = CampaignPartition(0, self.settings, (0,), 0.0)
        self.log: list[PartialCounts] = []
        self.topic: dict[bytes, bytes | None] = {}
        self.decided: list[Transition] = []

    def send(self, at: float, successes: int, failures: int, *, app: str = "app") -> None:
        """Send at a time (s), and commit."""
        outcomes = {"SUCCESS": successes, "FAILURE": failures}
        sends = counts({name: n for name, n in outcomes.items() if n})
        self.apply(at, sends, app)

    def apply(
        self,
        at: float,
        sends: dict[Dimensions, int],
        app: str = "app",
        *,
        campaign_id: str = "spring",
        late_by: int = 0,
    ) -> None:
        start = int(at - late_by) - int(at - late_by) % 60
        self.add(at, window_counts(start, {campaign_id: sends}, app))
        self.tick(at)

    def add(self, at: float, *windows: WindowCounts) -> None:
        """Add a record at a time (s), without a commit."""
        at_ms = int(at * 1_000)
        record = PartialCounts(PARTIAL_COUNTS_VERSION, {0: at_ms}, at_ms, list(windows))
        self.partition.apply(record, len(self.log), at)
        self.log.append(record)

    def tick(self, at: float) -> None:
        partition = self.partition
        self.decided += partition.advance(at, len(self.log))
        if not partition.is_evaluated:
            self.decided += partition.evaluate(at)
        assert partition.take_failures() == []
        self.topic.update(partition.take_changes(at))

    def restart(self, at: float) -> None:
        self.partition = restored(self.settings, self.topic, self.log, at, (0,))

    @property
    def alert(self) -> Alert:
        (alert,) = self.partition.alerts.live()
        return alert

    @property
    def shown(self) -> AlertData:
        return self.partition.alerts.describe(self.alert)

    def only(self, rule: str) -> AlertData:
        (alert,) = [each for each in self.partition.alerts.live() if each.rule == rule]
        return self.partition.alerts.describe(alert)

    @property
    def kinds(self) -> list[str]:
        return [each.type.split(".")[-1] for each in self.decided]

    def recover(self, since: int) -> Peak:
        """Let all sends succeed from a time (s) on; return the peak of the alert that ends."""
        for at in range(since, since + 230):
            self.send(at, 10, 0)
        assert self.kinds == ["firing", "resolved"]
        return self.decided[-1].data.peak


def firing(*rules: Rule) -> Sending:
    """A campaign that was healthy for five minutes, and of which all failed twice since then."""
    sending = Sending(*rules)
    for at in range(300):
        sending.send(at, 10, 0)
    for at in (300, 306):
        sending.send(at, 0, 10)
    assert sending.kinds == ["firing"]
    return sending


def test_counts_that_end_nothing_are_not_evaluated_and_yet_shown() -> None:
    sending = firing()
    sending.send(307, 1, 9)
    sending.add(308, window_counts(300, {"spring": counts({"SUCCESS": 2, "FAILURE": 8})}))
    assert sending.partition.to_evaluate == 0
    shown = sending.shown
    assert (shown.evidence.attempts, shown.evidence.hits) == (40, 37)
    assert shown.evidence.counts == {"FAILURE": 37, "SUCCESS": 3}
    assert (shown.totals.attempts, shown.totals.hits) == (40, 37)


def test_the_totals_have_the_counts_of_windows_that_close_meanwhile() -> None:
    sending = firing()
    for at in range(307, 705):
        sending.send(at, 5, 5)
    shown = sending.shown
    assert (shown.totals.attempts, shown.totals.hits) == (20 + 3_980, 20 + 1_990)


def test_the_peak_is_the_highest_rate_of_any_record_through_a_restart() -> None:
    sending = firing()
    sending.send(307, 5, 5)
    sending.restart(308)
    sending.send(308, 0, 30)
    sending.send(309, 10, 0)
    peak = sending.shown.peak
    # 55 of 60 is no more than the first 20 of 20.
    assert (peak.attempts, peak.hits) == (20, 20)
    sending = firing()
    for at in range(307, 315):
        sending.send(at, 0, 10)
    peak = sending.recover(315)
    assert (peak.attempts, peak.hits) == (100, 100)
    assert peak.window.start < peak.window.end <= "1970-01-01T00:06:00Z"


def test_an_alert_without_attempts_expires_though_the_campaign_has_other_events() -> None:
    sending = firing()
    sending.send(330, 0, 10)
    for at in range(360, 760, 20):
        sending.apply(at, {ENGAGEMENT: 3})
        assert sending.kinds == (["firing"] if at < 630 else ["firing", "expired"]), at
    assert sending.decided[-1].data.evidence.attempts == 30


def test_attempts_alone_keep_an_alert_from_expiring() -> None:
    sending = firing()
    for at in range(310, 1_200, 10):
        sending.send(at, 0, 1)
    assert sending.kinds == ["firing"]


def test_an_alert_is_explained_again_when_it_is_time_with_or_without_counts() -> None:
    sending = firing()
    sending.send(307, 0, 50)
    sending.tick(316.5)
    explanation = sending.alert.explanation
    assert explanation is not None
    assert explanation.attempts == 70
    sending.send(317, 0, 50)
    sending.restart(318)
    assert sending.partition.unchanged_until(318) <= 337
    sending.tick(340)
    explanation = sending.alert.explanation
    assert explanation is not None
    assert explanation.attempts == 120


def test_it_is_explained_when_it_is_time_after_another_transition_explained_it() -> None:
    sending = firing()
    sending.send(307, 0, 50)
    asked = Acknowledgement(sending.alert.alert_id, "ana", "", lambda: None)
    assert sending.partition.operators.add(asked)
    sending.tick(311.5)
    sending.send(312, 0, 50)
    sending.tick(317)
    sending.send(320, 0, 50)
    assert sending.alert.explained_at == 311.5
    sending.tick(328)
    assert sending.alert.explained_at == 328
    explanation = sending.alert.explanation
    assert explanation is not None
    assert explanation.attempts == 170


def test_what_explains_an_alert_and_late_counts_do_not_keep_it_from_expiring() -> None:
    sending = firing(replace(SPIKE, no_data_after=30.0))
    sending.send(307, 0, 10)
    sending.tick(320)
    sending.add(325, window_counts(180, {"spring": counts({"SUCCESS": 5})}))
    sending.tick(325)
    sending.tick(336.9)
    assert sending.kinds == ["firing"]
    sending.tick(337)
    assert sending.kinds == ["firing", "expired"]


def test_a_breach_whose_pending_alert_had_no_data_is_taken_up_beside_another_alert() -> None:
    later = replace(SPIKE, name="later", for_=120.0, no_data_after=20.0)
    sending = firing(SPIKE, later)
    sending.tick(330)
    assert [each.rule for each in sending.partition.alerts.live()] == ["failing"]
    sending.send(331, 0, 10)
    assert sending.only("later").starts_at == "1970-01-01T00:05:31Z"
    for at in range(341, 460, 10):
        sending.send(at, 0, 10)
    assert [(each.type, each.data.rule) for each in sending.decided] == [
        ("campaign.alert.firing", "failing"),
        ("campaign.alert.firing", "later"),
    ]


def test_the_window_of_the_peak_begins_with_the_excursion() -> None:
    sending = Sending()
    for at in range(350):
        sending.send(at, 10, 0)
    for at in (350, 356, 362, 363):
        sending.send(at, 3, 7)
    for at in range(364, 370):
        sending.send(at, 0, 50)
    peak = sending.recover(370)
    assert (peak.attempts, peak.hits) == (340, 328)
    assert peak.window.start == "1970-01-01T00:05:00Z"


def test_whoever_adds_up_alerts_has_their_newest_totals() -> None:
    sending = firing()
    sending.send(307, 1, 9)
    assert sending.partition.alerts.totals(sending.alert) == (30, 29)


def test_an_open_window_without_counts_yet_is_not_taken_for_a_closed_one() -> None:
    sending = Sending()
    for at in range(300):
        sending.send(at, 10, 0)
    sending.send(355, 0, 4)
    sending.apply(361, counts({"SUCCESS": 1}), campaign_id="other")
    for at, successes, failures in ((420, 1, 0), (421, 0, 8), (427, 0, 8)):
        sending.send(at, successes, failures)
    assert sending.kinds == ["firing"]
    assert sending.partition.table.open_starts() == [360, 420]
    sending.apply(428, counts({"FAILURE": 30}), late_by=60)
    assert sending.shown.totals.attempts == 51
    sending.restart(429)
    assert sending.shown.totals.attempts == 51


def test_a_late_window_leaves_no_figures_behind() -> None:
    sending = firing()
    parts = [
        window_counts(300, {"spring": counts({"FAILURE": 10})}),
        window_counts(120, {"other": counts({"SUCCESS": 1})}),
    ]
    for at, windows, expected in ((311, parts, 30), (312, parts[::-1], 40)):
        sending.add(at, *windows)
        shown = sending.shown
        assert shown.evidence.attempts == shown.totals.attempts == expected


def test_a_reminder_has_the_newest_figures() -> None:
    sending = firing(replace(SPIKE, repeat_interval=5.0))
    sending.send(308, 0, 10)
    sending.tick(311.5)
    assert sending.kinds == ["firing", "reminder"]
    assert sending.decided[-1].data.evidence.attempts == 30


def test_an_alert_of_a_campaign_that_is_of_another_app_now_expires() -> None:
    sending = firing(replace(SPIKE, apps=("app",)))
    for at in range(307, 613, 2):
        sending.send(at, 0, 10, app="new")
    assert sending.kinds[:2] == ["firing", "expired"]
    assert sending.decided[1].data.evidence.attempts == 20


def test_a_pending_alert_does_not_fire_as_another_one_is_explained() -> None:
    sending = firing(SPIKE, replace(SPIKE, name="later", for_=8.0))
    sending.send(307, 0, 10)
    sending.tick(320)
    assert sending.kinds == ["firing"]
    sending.send(321, 0, 10)
    assert sending.kinds == ["firing", "firing"]


def test_a_pending_alert_fires_with_the_first_counts_when_it_is_time() -> None:
    sending = Sending(replace(SPIKE, for_=10.0))
    for at in range(300):
        sending.send(at, 10, 0)
    for at in (300, 306, 308, 315):
        sending.send(at, 0, 10)
    assert sending.kinds == []
    sending.send(317, 0, 10)
    assert sending.kinds == ["firing"]


def test_figures_are_written_down_when_the_task_is_handed_over() -> None:
    sending = firing()
    sending.send(307, 0, 10)
    sending.partition.prepare_handover()
    sending.topic.update(sending.partition.take_changes(308))
    assert sending.alert.evidence.attempts == 30


class Sent(NamedTuple):
    """What is sent at a time (s), whether somebody looks then, and whether a task restarts."""

    at: float
    successes: int
    failures: int
    looks: bool
    restarts: bool


@st.composite
def outages(draw: st.DrawFn) -> list[Sent]:
    """An outage that goes on, comes and goes, or is over."""
    at, sends = 306.0, []
    counts_of = st.integers(0, 9)
    for _ in range(draw(st.integers(5, 60))):
        at += draw(st.sampled_from((0.1, 0.7, 2.0, 11.0, 47.0)))
        looks, restarts = draw(st.booleans()), draw(st.integers(0, 9)) == 0
        sends.append(Sent(at, draw(counts_of), draw(counts_of), looks, restarts))
    return sends


@given(outages())
@settings(max_examples=150)
def test_whoever_looks_all_the_time_sees_the_same_transitions(sends: list[Sent]) -> None:
    watched, left_alone = firing(), firing()
    for at, successes, failures, looks, restarts in sends:
        for each in watched, left_alone:
            each.send(at, successes, failures)
        live = watched.partition.alerts.live()
        if live and looks:
            watched.partition.alerts.describe(live[0])
        if restarts:
            left_alone.restart(at)
            # Whoever restarts has attempts until then.
            for alert in live:
                alert.last_evaluated_at = at
    assert watched.decided == left_alone.decided
