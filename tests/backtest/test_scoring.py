import pytest

from streams.backtest.episodes import Episode
from streams.backtest.labels import Label
from streams.backtest.scoring import Score, Scorer
from streams.domain.detectors.threshold import Threshold
from streams.domain.rules import Rule
from tests.backtest.test_episodes import episode
from tests.support.partitions import STATUS_GROUPS

RULES = (
    Rule("failing", frozenset({"FAILURE", "HOOK_FAILURE"}), Threshold(0.1)),
    Rule("odd", frozenset(), Threshold(0.1), unrecognised=True),
)


def label(
    start: int, end: int, *, decoy: bool = False, statuses: tuple[str, ...] = ("FAILURE",)
) -> Label:
    return Label("c", start, end, statuses, decoy, "step")


def score(labels: list[Label], episodes: list[Episode], days: float = 2.0) -> Score:
    return Scorer(RULES, STATUS_GROUPS, 60).score(labels, episodes, (0, 10_000), days)


def test_an_alert_in_an_incident_finds_it() -> None:
    found = score([label(1_000, 2_000)], [episode(1_400, 3_000)])
    assert [(each.after_ms, each.masked) for each in found.outcomes] == [(400, False)]
    assert found.recall == found.precision == 1.0
    assert found.false_alarms_a_day == 0


@pytest.mark.parametrize(
    ("fired_at", "counts"), [(999, False), (1_000, True), (2_060, True), (2_061, False)]
)
def test_it_may_fire_a_window_after_the_end(fired_at: int, counts: bool) -> None:
    found = score([label(1_000, 2_000)], [episode(fired_at, fired_at)])
    assert found.found == counts
    assert len(found.false_alarms) == 1 - counts


def test_an_alert_that_fired_before_masks_it() -> None:
    found = score([label(1_000, 2_000), label(4_000, 5_000)], [episode(900, None)])
    assert [(each.after_ms, each.masked) for each in found.outcomes] == [(None, True)] * 2
    assert len(found.false_alarms) == 1
    assert found.recall == 0


def test_one_that_ended_before_does_not() -> None:
    found = score([label(1_000, 2_000)], [episode(500, 1_000)])
    assert found.masked == 0


def test_alerts_of_other_campaigns_or_statuses_find_nothing() -> None:
    others = [episode(1_400, None, campaign_id="d"), episode(1_400, None, rule="odd")]
    found = score([label(1_000, 2_000)], others)
    assert found.found == found.masked == 0
    assert found.false_alarms == others
    assert found.false_alarms_a_day == 1.0
    odd = label(1_000, 2_000, statuses=("SOMETHING",))
    assert score([odd], others).found == 1


def test_decoys_are_false_alarms_and_further_alerts_of_an_incident_are_not() -> None:
    episodes = [episode(1_400, 1_500), episode(1_600, 1_700), episode(5_500, 5_600)]
    found = score([label(1_000, 2_000), label(5_000, 6_000, decoy=True)], episodes)
    assert found.false_alarms == [episodes[2]]
    assert len(found.outcomes) == 1
    assert found.precision == pytest.approx(2 / 3)


def test_labels_of_other_times_are_left_out() -> None:
    found = score([label(20_000, 30_000), label(1_000, 2_000)], [])
    assert found.left_out == 1
    assert len(found.outcomes) == 1
    assert found.precision is None


def test_delays_are_median_and_ninetieth_percentile() -> None:
    labels = [label(n * 1_000, n * 1_000 + 900) for n in range(10)]
    episodes = [episode(n * 1_000 + 100 * n, n * 1_000 + 100 * n + 1) for n in range(9)]
    found = score(labels, episodes)
    assert found.delays_s == (0.4, 0.8)
    assert score(labels, []).delays_s is None
    assert score([], []).recall is None
    assert score([], [], days=0).false_alarms_a_day is None
