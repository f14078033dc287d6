"""What windows say to a rule, and that each incident is raised once and resolved once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from streams.domain.counts import Cell
from streams.domain.detectors.history import Notified, Observation, ScopeHistory
from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.windowed import Judgement
from streams.domain.evaluation import CampaignWindows, ObservedCampaign
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, Counts, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule, Scope
from streams.domain.transitions import Transition
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.partitions import (
    FAILURE_SPIKE,
    PARTITION_SETTINGS,
    STATUS_GROUPS,
    counts,
    window_counts,
)

SIZE = 60
DETECTOR = Threshold(0.1, 0.95, min_attempts=50)
RULE = replace(FAILURE_SPIKE, detector=DETECTOR)


def cell(failures: int, others: int = 0) -> Cell:
    return Cell("app", counts({"FAILURE": failures, "SUCCESS": others}), {})


def windows_of(open_cells: dict[int, Cell], closed: dict[int, Cell]) -> CampaignWindows:
    def seen(rule: Rule) -> Iterator[tuple[int, dict[Scope, Observation]]]:
        for start, counted in closed.items():
            yield start, rule.observe("c", counted, STATUS_GROUPS)

    return CampaignWindows("c", "app", list(open_cells.items()), seen)


def judged(
    open_cells: dict[int, Cell], closed: dict[int, Cell], rule: Rule = RULE, told: int = -1
) -> list[Judgement]:
    campaign = windows_of(open_cells, closed)
    (windows,) = ObservedCampaign(rule, campaign, STATUS_GROUPS).scopes()
    notified = Notified(0, told, told, {})
    newest = max(open_cells)
    history = ScopeHistory(windows.open, windows.closed, newest, SIZE, None, notified)
    assert isinstance(rule.detector, Threshold)
    return [rule.detector.judge(history, last) for last in open_cells]


def breaches(found: list[Judgement]) -> list[tuple[int, int, int, int] | None]:
    return [
        (s.start, s.last, s.seen.hits, s.seen.attempts) if (s := each.breach) else None
        for each in found
    ]


def test_a_window_that_says_enough_is_by_itself() -> None:
    found = judged({120: cell(20, 30), 60: cell(50)}, {0: cell(50)})

    assert breaches(found) == [(120, 120, 20, 50), (60, 60, 50, 50)]
    assert [each.again_after for each in found] == [None, None]


def test_windows_before_it_are_added_until_they_say_enough() -> None:
    found = judged({240: cell(10), 180: cell(10)}, {120: cell(25), 60: cell(0, 20), 0: cell(9)})

    assert breaches(found) == [(60, 240, 45, 65), (60, 180, 35, 55)]
    assert found[0].breach is not None
    assert found[0].breach.seen.counts == {"FAILURE": 45, "SUCCESS": 20}
    # With five more attempts, 120 to 240 are enough by themselves.
    assert [each.again_after for each in found] == [5, 15]


def test_how_far_back() -> None:
    rule = replace(RULE, detector=replace(DETECTOR, lookback_windows=3))
    closed = {120: cell(20), 60: cell(9), 0: cell(50)}
    found = judged({180: cell(20)}, closed, rule)

    assert breaches(found) == [None]
    assert found[0].again_after == 1
    assert breaches(judged({180: cell(20)}, closed)) == [(0, 180, 99, 99)]
    assert breaches(judged({180: cell(20)}, closed, told=60)) == [None]


def test_without_hits_nobody_waits() -> None:
    assert judged({60: cell(0, 20)}, {0: cell(0, 10)})[0].again_after is None


def test_scopes_of_closed_windows_only_where_they_are_asked_for() -> None:
    rule = replace(RULE, scope="treatment")
    sends = {number: Cell("app", counts({"SUCCESS": 1}, number), {}) for number in "0123"}
    closed = {120: sends["1"], 60: sends["2"], 0: sends["3"]}
    campaign = windows_of({180: sends["0"]}, closed)
    seen = ObservedCampaign(rule, campaign, STATUS_GROUPS)

    assert [each.scope.treatment_id for each in seen.scopes()] == ["0"]
    silent = Scope("c", "silent")
    found = {each.scope.treatment_id: each for each in seen.all_scopes(60, [silent])}
    assert list(found) == ["0", "1", "2", "silent"]
    assert [(not each.open, len(list(each.closed()))) for each in found.values()] == [
        (False, 0),
        (True, 1),
        (True, 1),
        (True, 0),
    ]


class Life:
    """A partition that is given counts at moments, and now and then begins anew."""

    def __init__(self, rule: Rule = RULE) -> None:
        windows = WindowPolicy(SIZE, 30, 86_400)
        self.settings = replace(
            PARTITION_SETTINGS, rules=(rule,), windows=windows, idle_timeout=1e9
        )
        self.partition = CampaignPartition(0, self.settings, [0], 0.0)
        self.topic: dict[bytes, bytes | None] = {}
        self.log: list[PartialCounts] = []
        self.found: list[Transition] = []

    def at(self, now: float, sends: dict[int, Counts], event_time: float | None = None) -> None:
        """Count sends by their window (s); event time is now, as of a topic with one partition."""
        parts = [window_counts(start, {"c": of_it}) for start, of_it in sends.items()]
        reached = int((now if event_time is None else event_time) * 1000)
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: reached}, reached, parts)
        self.partition.apply(added, len(self.log), now)
        self.log.append(added)
        self.found += self.partition.advance(now, len(self.log))
        self.found += self.partition.evaluate(now)
        self.topic.update(self.partition.take_changes(now))

    def restart(self, now: float) -> None:
        self.partition = restored(self.settings, self.topic, self.log, now)

    @property
    def decisions(self) -> list[str]:
        return [each.type.removeprefix("campaign.alert.") for each in self.found]


def seconds(begin: int, end: int) -> Iterator[int]:
    """Moments a second apart, from a window's start to another's."""
    return iter(range(begin * SIZE, end * SIZE))


def window(now: int) -> int:
    return now - now % SIZE


FAILED, SENT = counts({"FAILURE": 5}), counts({"SUCCESS": 5})
RESTARTS = pytest.mark.parametrize("restart_every", [0, 37])


def live(life: Life, now: int, restart_every: int) -> None:
    if restart_every and now % restart_every == 0:
        life.restart(now)


@RESTARTS
def test_failures_behind_a_newer_healthy_window(restart_every: int) -> None:
    """Failures come a minute late, within grace, for five minutes; what is on time is healthy."""
    life = Life()
    for now in seconds(2, 20):
        late = FAILED if now < 7 * SIZE else {}
        if now % SIZE < 29:
            life.at(now, {window(now): SENT, window(now) - SIZE: late})
        live(life, now, restart_every)

    assert life.decisions == ["firing", "resolved"]
    ended = life.found[-1].data
    assert ended.peak.rate >= 0.5
    assert ended.totals.hits == 5 * 5 * 29


@RESTARTS
def test_a_healthy_producer_whose_clock_is_ahead(restart_every: int) -> None:
    life = Life()
    for now in seconds(0, 20):
        in_time = FAILED if now < 6 * SIZE else SENT
        life.at(now, {window(now) + 4 * SIZE: SENT, window(now): in_time})
        live(life, now, restart_every)

    assert life.decisions == ["firing", "resolved"]
    assert life.found[-1].data.totals.hits == 5 * 6 * SIZE


@RESTARTS
def test_few_attempts_a_minute(restart_every: int) -> None:
    """49 of 49 a minute for half an hour."""
    life = Life()
    for now in seconds(0, 60):
        sends = counts({"FAILURE": 1}) if now < 30 * SIZE else counts({"SUCCESS": 1})
        life.at(now, {window(now): sends if now % SIZE < 49 else {}})
        live(life, now, restart_every)

    assert life.decisions == ["firing", "resolved"]
    assert life.found[0].data.evidence.hits == 50
    assert life.found[-1].data.totals.hits == 49 * 30


def test_the_totals_begin_with_the_first_window_that_breached() -> None:
    """All windows of an incident are read at once, as after a pause of the worker."""
    life = Life()
    life.at(0, {at * SIZE: counts({"FAILURE": 20}) for at in range(5)})
    (raised,) = life.found
    assert (raised.data.evidence.hits, raised.data.totals.hits) == (60, 100)


def test_attempts_that_are_too_few_keep_an_alert_from_expiring() -> None:
    life = Life(replace(RULE, no_data_after=300.0, detector=replace(DETECTOR, lookback_windows=1)))
    for now in seconds(0, 1):
        life.at(now, {window(now): FAILED})
    for now in seconds(1, 30):
        life.at(now, {window(now): counts({"FAILURE": 1}) if now % SIZE < 10 else {}})
    assert life.decisions == ["firing"]
    life.at(30 * SIZE + 300, {})
    assert life.decisions == ["firing", "expired"]
    assert life.found[-1].data.totals.hits == 5 * 60 + 10 * 29


@RESTARTS
def test_every_other_minute(restart_every: int) -> None:
    life = Life()
    for now in seconds(0, 70):
        bad = now < 60 * SIZE and now // SIZE % 2 == 0
        life.at(now, {window(now): FAILED if bad else SENT})
        live(life, now, restart_every)

    assert life.decisions == ["firing", "resolved"]
    assert life.found[-1].data.peak.hits == life.found[-1].data.peak.attempts == 300
    assert life.found[-1].data.totals.hits == 30 * 300


def test_a_recovery_level_of_nothing() -> None:
    life = Life(replace(RULE, detector=replace(DETECTOR, recovery_level=0.0)))
    for now in seconds(0, 10):
        life.at(now, {window(now): FAILED if now < SIZE else SENT})

    assert life.decisions == ["firing", "resolved"]


def test_what_was_told_of_a_window_is_not_told_again() -> None:
    """The alert ends while the window it was about is open."""
    life = Life(replace(RULE, keep_firing_for=0.0))
    life.at(50, {0: counts({"FAILURE": 200})})
    life.at(61, {60: counts({"SUCCESS": 180})})
    life.at(62, {60: counts({"SUCCESS": 1})})
    life.restart(62.5)
    life.at(63, {0: counts({"FAILURE": 10})})
    assert life.decisions == ["firing", "resolved"]
    ended = life.found[-1].data
    assert (ended.evidence.hits, ended.evidence.attempts) == (0, 180)
    assert (ended.peak.hits, ended.peak.attempts) == (200, 200)
    assert "0 of 180 attempts (0.0%) since 1970-01-01T00:01:00Z; peak 200 of 200" in ended.summary
    # So many more are another incident.
    life.at(64, {0: counts({"FAILURE": 50})})
    assert life.decisions == ["firing", "resolved", "firing"]


def test_a_status_that_is_in_no_group() -> None:
    rule = replace(RULE, statuses=frozenset(), unrecognised=True)
    life = Life(rule)
    life.at(1, {0: counts({"SUCCESS": 60, "FAILURE": 60})})
    assert life.decisions == []
    life.at(2, {0: counts({"failed": 60})})
    assert life.decisions == ["firing"]
    assert life.found[0].data.evidence.hits == 60


def test_an_alert_of_a_treatment_that_is_null() -> None:
    life = Life(replace(RULE, scope="treatment"))
    life.at(1, {0: {**counts({"FAILURE": 60}, None), **counts({"SUCCESS": 600}, "1")}})
    (raised,) = life.found
    assert (raised.data.treatment_id, raised.data.evidence.attempts) == (None, 60)
    assert Scope("c") in {alert.scope for alert in life.partition.alerts.live()}


def test_late_counts_of_a_closed_window_are_part_of_what_is_looked_back_on() -> None:
    life = Life()
    life.at(1, {0: counts({"FAILURE": 20})})
    life.at(120, {120: counts({"FAILURE": 20})})
    assert life.decisions == []
    # Late: it raises nothing by itself.
    life.at(121, {0: counts({"FAILURE": 9})})
    assert life.decisions == []
    life.restart(121.5)
    life.at(122, {120: counts({"SUCCESS": 1})})
    assert life.decisions == ["firing"]
    assert life.found[0].data.evidence.counts == {"FAILURE": 49, "SUCCESS": 1}
    assert life.found[0].data.window.start == "1970-01-01T00:00:00Z"
