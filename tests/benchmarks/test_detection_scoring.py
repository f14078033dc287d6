from dataclasses import replace

import pytest

from benchmarks.detection import traffic
from benchmarks.detection.scoring import Alert, Scores, poisson_rate, quantile, share
from benchmarks.detection.traffic import Hit, Incident, Kind, Run

RUN = replace(
    traffic.stationary(60.0, 0.01, 0.0, days=1, seed=1),
    incidents=(
        Incident(Kind.STEP, Hit.FAILURE, 1000, 2000, 0.01, 0.5, (), 500.0, 1000, 900.0),
        Incident(Kind.STEP, Hit.FAILURE, 9000, 9500, 0.01, 0.05, (), 5.0, 100, 9.0),
    ),
)


def _scores(*alerts: Alert, run: Run = RUN) -> Scores:
    scores = Scores()
    scores.add(run, {Hit.FAILURE: alerts, Hit.THROTTLED: ()})
    return scores


def test_incident_that_is_found() -> None:
    scores = _scores(Alert(1010, 2100))
    (outcome,) = scores.outcomes
    assert (outcome.detected_after, outcome.ended_after, outcome.masked) == (10, 100, False)
    assert scores.recall.value == scores.precision.value == 1.0
    assert scores.false_a_day.value == 0.0


def test_alert_of_a_grey_incident_is_neither_right_nor_false() -> None:
    scores = _scores(Alert(9010, 9600))
    assert not scores.false
    assert scores.recall.value == 0.0


def test_alert_of_no_incident_is_false_also_of_the_other_kind_of_hit() -> None:
    scores = Scores()
    scores.add(RUN, {Hit.FAILURE: [Alert(5000, 5100)], Hit.THROTTLED: [Alert(1100, 1200)]})
    assert [(each.hit, each.fired) for each in scores.false] == [
        (Hit.FAILURE, 5000),
        (Hit.THROTTLED, 1100),
    ]
    assert scores.false_a_day.value == 2.0


def test_incident_that_begins_while_an_alert_fires_is_missed() -> None:
    scores = _scores(Alert(900, 2500))
    (outcome,) = scores.outcomes
    assert outcome.masked
    assert outcome.detected_after is outcome.ended_after is None
    assert len(scores.false) == 1


def test_end_is_that_of_the_alert_that_was_live_last() -> None:
    (outcome,) = _scores(Alert(1010, 1100), Alert(1200, 2030)).outcomes
    assert (outcome.detected_after, outcome.ended_after, outcome.alerts) == (10, 30, 2)
    (outcome,) = _scores(Alert(1010, 1900)).outcomes
    assert outcome.ended_after is None
    (outcome,) = _scores(Alert(1010, None)).outcomes
    assert outcome.ended_after == RUN.seconds - 2000


def test_groups() -> None:
    scores = _scores(Alert(1010, 2100), Alert(5000, 5100))
    assert len(scores.big.outcomes) == len(scores.steps.outcomes) == 1
    assert len(scores.little_spread.false) == 1
    assert not scores.where(lambda campaign: campaign.rho > 0.0).days
    assert scores.detection_times == [10]
    assert scores.end_times == [100]


def test_intervals() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table 1, method 3.
    assert share(81, 263) == pytest.approx((0.30798, 0.2553, 0.3662), abs=5e-5)
    assert share(0, 20).low == 0.0
    # The 2.5 % and 97.5 % quantiles of chi-squared with 20 and 22 degrees of freedom, halved.
    assert poisson_rate(10, 2.0) == pytest.approx((5.0, 9.5908 / 4.0, 36.7807 / 4.0), abs=1e-4)
    assert poisson_rate(0, 1.0) == pytest.approx((0.0, 0.0, 3.6889), abs=1e-4)


def test_quantile_of_times() -> None:
    middle = quantile(range(1001), 0.5)
    assert middle.value == 500.0
    assert 430.0 < middle.low < 500.0 < middle.high < 570.0
