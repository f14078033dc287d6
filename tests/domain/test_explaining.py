"""What explains an alert, from counts to the webhook's payload."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from streams.domain import partial_counts, transitions
from streams.domain.counts import OTHER
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.explaining import FEW_WINDOWS, READS_AT_ONCE, STATUSES, USUAL_ATTEMPTS
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, Counts, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule
from streams.domain.transitions import Explanation, Transition
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

RULE = Rule(
    "failing",
    frozenset({"FAILURE", "UNKNOWN", *(f"S{n}" for n in range(9))}),
    Threshold(0.1, lookback_windows=1),
    keep_firing_for=0.0,
    repeat_interval=100.0,
)
HOUR = 3_600


class Life:
    """A partition that is fed windows, and written down."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.settings = replace(PARTITION_SETTINGS, rules=(rule,))
        self.partition = CampaignPartition(0, self.settings, [0], 0.0)
        self.log: list[PartialCounts] = []
        self.records: dict[bytes, bytes | None] = {}
        self.told: list[Transition] = []

    def add(self, start: int, sends: Counts, now: float | None = None, name: str = "c") -> None:
        now = start + 30.0 if now is None else now
        event_time = int(now * 1000)
        windows = [window_counts(start, {name: sends})]
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, windows)
        self.partition.apply(added, len(self.log), now)
        self.log += map(partial_counts.decode, partial_counts.encode_records(added))
        self.told += self.partition.advance(now, len(self.log))
        self.records.update(self.partition.take_changes(now))
        assert self.partition.take_failures() == []

    def usual(self, *, until: int = HOUR) -> None:
        """An hour of 1 % failures in two channels, as often in each of two treatments."""
        for start in range(until - HOUR, until, 60):
            self.add(start, sends({}))

    def restart(self, now: float) -> None:
        self.partition = restored(self.settings, self.records, self.log, now)

    @property
    def explanation(self) -> Explanation:
        told = transitions.decode(transitions.encode(self.told[-1])).data.explanation
        assert told is not None
        return told


def sends(broken: Mapping[tuple[str, str], int], status: str = "FAILURE") -> Counts:
    """100 sends in each of four cells; one fails, and in the broken ones so many with a status."""
    made: Counts = {}
    for treatment in ("0", "1"):
        for channel in ("GCM", "EMAIL"):
            failed = broken.get((channel, treatment), 0)
            made |= counts({"SUCCESS": 99 - failed, "FAILURE": 1}, treatment, channel, channel)
            if failed:
                for key, count in counts({status: failed}, treatment, channel, channel).items():
                    made[key] = made.get(key, 0) + count
    return made


GCM = {("GCM", "0"): 87, ("GCM", "1"): 87}


def test_the_webhook_names_the_slice_and_the_figures() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM))
    (told,) = life.told
    assert told.type == "campaign.alert.firing"
    found = life.explanation
    assert (found.attempts, found.hits) == (400, 178)
    assert found.usual_rate == pytest.approx(0.01, abs=0.0003)
    assert found.usual is not None
    assert found.usual.attempts == USUAL_ATTEMPTS + 200  # the least number of whole windows
    assert found.slice is not None
    assert found.slice.dimensions == {"channel_type": "GCM"}
    assert (found.slice.attempts, found.slice.hits, found.slice.rate) == (200, 176, 0.88)
    assert found.slice.expected_hits == pytest.approx(2.0, abs=0.1)
    assert found.slice.share == pytest.approx(1.0, abs=0.001)
    assert told.data.summary.endswith(
        ": 178 of 400 attempts (44.5%) since 1970-01-01T01:00:00Z, usually 1.0%; 100% of the "
        "excess is channel GCM: 88.0% in the windows since 1970-01-01T01:00:00Z, usually 1.0%"
    )


def test_the_whole_campaign_is_left_whole() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends({(c, t): 40 for c in ("GCM", "EMAIL") for t in "01"}))
    assert life.explanation.slice is None
    assert life.told[0].data.summary.endswith(
        ": 164 of 400 attempts (41.0%) since 1970-01-01T01:00:00Z, usually 1.0%; all parts alike"
    )


@pytest.mark.parametrize("broken", [("GCM",), ("GCM", "EMAIL")])
def test_rates_of_whole_windows_are_told_from_that_since_the_breach_began(
    broken: tuple[str, ...],
) -> None:
    """A minute is sound for 40 s, and then all sends fail: of some channels, or of all."""
    life = Life(replace(RULE, detector=Spike()))
    life.usual()
    for second in range(40):
        life.add(HOUR, sends({}), now=HOUR + float(second))
    failing = sends({(channel, treatment): 97 for channel in broken for treatment in "01"})
    second = 40
    while not life.told:
        life.add(HOUR, failing, now=HOUR + float(second))
        second += 1
    data = transitions.decode(transitions.encode(life.told[0])).data
    assert data.evidence.since == "1970-01-01T01:00:40Z"
    found = life.explanation
    assert (found.window.start, found.window.end) == (data.totals.since, data.window.end)
    assert found.window.start == "1970-01-01T01:00:00Z"
    seconds = second - 40
    assert data.evidence.attempts == 400 * seconds
    assert found.attempts == 400 * (40 + seconds)
    assert data.evidence.rate > 3 * found.rate
    counted = f"{data.evidence.hits:,} of {data.evidence.attempts:,} attempts"
    evidence = f": {counted} ({data.evidence.rate:.1%}) since 1970-01-01T01:00:40Z, usually 1.0%; "
    assert evidence in data.summary
    if found.slice is None:
        assert broken == ("GCM", "EMAIL")
        assert data.summary.endswith("; all parts alike")
    else:
        assert data.summary.endswith(
            f"; 100% of the excess is channel GCM: {found.slice.rate:.1%} in the windows since "
            "1970-01-01T01:00:00Z, usually 1.0%"
        )


def test_the_status_that_has_grown_is_named() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM, "UNKNOWN"))
    first, *others = life.explanation.statuses
    assert (first.status, first.hits) == ("UNKNOWN", 174)
    assert first.share > 0.99
    assert all(other.status == "FAILURE" for other in others)


def test_the_end_is_explained_by_the_windows_of_the_episode() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM))
    life.add(HOUR + 60, sends({}), now=HOUR + 200.0)
    life.add(HOUR + 180, sends({}), now=HOUR + 210.0)
    assert life.told[-1].type == "campaign.alert.resolved"
    found = life.explanation
    assert found.window.end == "1970-01-01T01:01:00Z"
    assert found.slice is not None
    assert found.slice.dimensions == {"channel_type": "GCM"}
    assert "100% of the excess is channel GCM" in life.told[-1].data.summary


def test_a_reminder_is_explained_by_all_that_is_known_then() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM))
    life.add(HOUR + 60, sends(GCM))
    life.add(HOUR + 120, sends(GCM))
    assert life.told[-1].type == "campaign.alert.reminder"
    assert life.explanation.attempts == 1_200


def test_what_an_alert_before_was_about_is_not_usual() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM))
    life.add(HOUR + 60, sends({}), now=HOUR + 200.0)
    life.add(HOUR + 180, sends({}), now=HOUR + 210.0)
    life.add(HOUR + 240, sends({("EMAIL", "1"): 90}))
    assert [each.type for each in life.told][-1] == "campaign.alert.firing"
    found = life.explanation
    assert found.usual is not None
    assert found.usual.hits / found.usual.attempts == pytest.approx(0.01, abs=0.001)
    assert found.slice is not None
    assert found.slice.dimensions == {"channel_type": "EMAIL", "treatment_id": "1"}


def test_a_firing_alert_is_explained_again_when_more_is_known() -> None:
    life = Life()
    life.usual()
    life.add(HOUR, sends(GCM), now=HOUR + 10.0)
    for second in range(11, 59):
        life.add(HOUR, sends(GCM), now=HOUR + float(second))
    (alert,) = life.partition.alerts.live()
    assert alert.explanation is not None
    # After 10 s, and then after 30 s.
    assert alert.explained_at == HOUR + 40.0
    assert alert.explanation.attempts == 400 * 31


def test_a_restart_keeps_what_was_said_and_says_the_same() -> None:
    life, other = Life(), Life()
    for each in (life, other):
        each.usual()
        each.add(HOUR, sends(GCM))
    life.restart(HOUR + 40.0)
    (alert,) = life.partition.alerts.live()
    (same,) = other.partition.alerts.live()
    assert alert.explanation == same.explanation
    for each in (life, other):
        each.add(HOUR + 60, sends(GCM))
        each.add(HOUR + 120, sends(GCM))
    assert life.explanation == other.explanation


def test_a_newcomer_is_explained_without_what_is_usual() -> None:
    life = Life()
    life.add(HOUR, sends(GCM))
    assert life.explanation.usual is None
    assert life.explanation.slice is not None
    assert "usually" not in life.told[0].data.summary


def test_a_rule_about_treatments_is_explained_within_its_treatment() -> None:
    life = Life(replace(RULE, scope="treatment"))
    life.usual()
    life.add(HOUR, sends({("GCM", "1"): 80}))
    (told,) = life.told
    assert told.data.treatment_id == "1"
    found = life.explanation
    assert found.attempts == 200
    assert found.slice is not None
    assert found.slice.dimensions == {"channel_type": "GCM"}


def test_names_are_bounded_in_what_is_told() -> None:
    life = Life()
    life.usual()
    channel = "€" * 2_000
    broken = counts({f"S{n}": 20 + n for n in range(9)}, "0", channel, channel)
    life.add(HOUR, sends({}) | broken)
    found = life.explanation
    assert found.slice is not None
    assert found.slice.dimensions == {"channel_type": channel}
    assert len(life.told[0].data.summary) < 500
    assert len(found.statuses) == STATUSES + 1
    (others,) = [each for each in found.statuses if each.status == OTHER]
    # FAILURE 4, and S0 to S3.
    assert others.hits == 4 + 20 + 21 + 22 + 23
    assert sum(each.share for each in found.statuses) == pytest.approx(1.0, abs=0.01)


def test_many_alerts_at_once_read_few_windows_each() -> None:
    """Past a number of windows, an alert is explained by the newest few."""
    life = Life()
    names = [f"c{n}" for n in range(2 * READS_AT_ONCE // 60)]
    for start in range(0, HOUR, 60):
        windows = [window_counts(start, dict.fromkeys(names, counts({"SUCCESS": 9})))]
        at = (start + 30) * 1000
        life.partition.apply(PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, windows), 0, start)
        life.partition.advance(start + 30.0, 0)
    failing = counts({"FAILURE": 50})
    windows = [window_counts(HOUR, dict.fromkeys(names, failing))]
    at = (HOUR + 30) * 1000
    life.partition.apply(PartialCounts(PARTIAL_COUNTS_VERSION, {0: at}, at, windows), 0, HOUR)
    told = life.partition.advance(HOUR + 30.0, 0)
    assert len(told) == len(names)
    read = [each.data.explanation.usual for each in told if each.data.explanation is not None]
    attempts = sorted(each.attempts for each in read if each is not None)
    assert attempts[0] == 9 * FEW_WINDOWS
    assert attempts[-1] == 9 * 60


def test_an_explanation_that_fails_costs_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("streams.domain.explaining.explain", broken)
    life.partition.apply(
        PartialCounts(
            PARTIAL_COUNTS_VERSION, {0: 1}, 1, [window_counts(0, {"c": counts({"FAILURE": 99})})]
        ),
        0,
        1.0,
    )
    (told,) = life.partition.advance(1.0, 1)
    assert told.data.explanation is None
    (failure,) = life.partition.take_failures()
    assert isinstance(failure.error, ZeroDivisionError)
