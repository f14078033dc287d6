"""`spike` by the door: what it is given, what it says, and what of it can be worked out again."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from streams.domain.detectors.baseline import times_odds
from streams.domain.detectors.evidence import AboveLimit
from streams.domain.detectors.folding import ClosedWindow, FoldFigures, Increment, Turn
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.spike_table import POOLED_UNIT
from streams.domain.pools import Pooled

NOBODY = Pooled((0, 0), (0, 0))
START = 1_790_000_040
SPIKE = Spike()


class Scope:
    """A scope that is sent to, second by second."""

    def __init__(self, detector: Spike = SPIKE, pooled: Pooled = NOBODY) -> None:
        self.states = detector.new_states()
        self.states.begin(np.array([0]), pooled)
        self.now = START
        self.window = START, 0, 0
        self.unseen = 0

    def send(self, attempts: int, hits: int, seconds: int = 1) -> Turn | None:
        """Count sends after a pause; learn the windows that have ended."""
        self.now += seconds
        start = self.now - self.now % 60
        known, had, failed = self.window
        if start > known:
            if had:
                self.learn(known, had, failed)
            had = failed = 0
        so_far = had + attempts, failed + hits
        self.window = start, *so_far
        is_firing = self.states.fires(0)
        if not hits and not is_firing:
            self.unseen += attempts
            return None
        before, self.unseen = 0 if is_firing else self.unseen, 0
        turns = self.states.add(
            0, Increment(self.now * 1000, attempts, hits, before, lambda _: so_far), 30.0
        )
        return turns[-1] if turns else None

    def learn(self, start: int, attempts: int, hits: int) -> tuple[int, int]:
        """Learn a window; return the hits and misses that others learn."""
        counts = np.array([attempts]), np.array([hits]), np.array([self.unseen])
        learned = self.states.learn(ClosedWindow(start, np.array([0]), *counts))
        found_hits, found_misses = learned[0].tolist()
        return found_hits, found_misses

    def usual(self, minutes: int) -> None:
        """Send 60 a minute, of which one in a hundred fails."""
        for second in range(60 * minutes):
            assert self.send(1, second % 100 == 0) is None

    def until(self, hits: int, most: int, pause: int = 1) -> tuple[int, FoldFigures]:
        """Send one after each pause; return after how many a breach turns, and why."""
        for sent in range(1, most + 1):
            turn = self.send(1, hits, pause)
            if turn is not None:
                return sent, turn.figures
        raise AssertionError(f"nothing in {most} attempts")


def test_a_breach_begins_within_seconds_of_a_total_failure_and_says_why() -> None:
    scope = Scope()
    scope.usual(20)
    seconds, figures = scope.until(1, 60)
    assert seconds <= 12
    assert figures.attempts >= figures.hits >= seconds
    assert figures.since == (scope.now - figures.attempts + 1) * 1000
    assert figures.last == scope.now * 1000
    assert 0.005 < (figures.baseline_rate or 0) < 0.02


def test_the_decision_can_be_worked_out_again_from_its_figures() -> None:
    scope = Scope(replace(SPIKE, min_rise=3.0, usual_up_to=0.03))
    scope.usual(20)
    _, figures = scope.until(1, 60)
    others, usual = figures.others, figures.baseline_rate
    assert usual is not None
    assert others["tolerated_rate"] == pytest.approx(max(0.03, times_odds(usual, 1.3)), abs=1e-6)
    assert others["limit_rate"] == pytest.approx(max(0.06, times_odds(usual, 3.0)), abs=1e-6)
    weight, mean = others["null_weight"], others["tolerated_rate"]
    null = AboveLimit(mean * weight, (1 - mean) * weight, others["limit_rate"])
    weighed = int(others["attempts_weighed"]), int(others["hits_weighed"])
    evidence = others["evidence_before"] + null.log_ratio(*weighed)
    assert evidence == pytest.approx(others["evidence"], abs=1e-4)
    assert 10 <= others["evidence_needed"] <= 13
    assert evidence >= others["evidence_needed"]
    # One-sided, 95 %.
    interval = stats.binomtest(figures.hits, figures.attempts).proportion_ci(0.9, "wilson")
    assert figures.lower_bound == pytest.approx(interval.low)
    assert interval.low > others["limit_rate"]
    spans = figures.attempts / (figures.attempts - 1)
    lost = (figures.hits / figures.attempts - usual) * others["seconds"] * spans
    assert lost == pytest.approx(others["seconds_lost"], abs=1e-4)
    assert lost >= 6 or others["seconds"] >= 45


@pytest.mark.parametrize(("attempts", "hits"), [(2, 1), (10, 3), (3, 3), (5, 5)])
@pytest.mark.parametrize("minutes", [0, 30])
def test_a_handful_of_failures_once_is_silence(attempts: int, hits: int, minutes: int) -> None:
    scope = Scope()
    scope.usual(minutes)
    assert scope.send(attempts, hits) is None
    scope.usual(2)


def test_less_evidence_is_needed_with_more_sensitivity() -> None:
    seconds = []
    for sensitivity in (0.0, 1.0):
        scope = Scope(Spike(sensitivity=sensitivity, patience=0.0))
        scope.usual(20)
        seconds.append(scope.until(1, 60, pause=6)[0])
    assert seconds[0] > seconds[1]


def test_a_patient_one_waits_for_what_is_lost() -> None:
    seconds = []
    for patience in (0.0, 90.0):
        scope = Scope(Spike(patience=patience))
        scope.usual(20)
        seconds.append(scope.until(1, 120)[0])
    assert seconds[0] <= 10
    assert 12 <= seconds[1] <= 15


def pooled(rate: float) -> Pooled:
    """An app, the only one, with a usual rate."""
    learned = round(2_000 * rate * POOLED_UNIT), round(2_000 * (1 - rate) * POOLED_UNIT)
    return Pooled(learned, learned)


def test_a_newcomer_is_judged_by_what_is_usual_in_its_app() -> None:
    seconds = [Scope(pooled=each).until(1, 60)[0] for each in (pooled(0.01), NOBODY, pooled(0.5))]
    assert seconds == sorted(set(seconds))
    scope = Scope(pooled=pooled(0.5))
    assert [scope.send(1, second % 2) for second in range(300)] == [None] * 300
    half = Scope(pooled=pooled(0.01))
    assert any(half.send(1, second % 2) for second in range(90))


def test_windows_of_an_incident_teach_the_app_nothing() -> None:
    scope = Scope()
    scope.usual(20)
    hits, misses = scope.learn(scope.now, 60, 1)
    assert misses > hits > 0
    assert hits + misses <= 30 * POOLED_UNIT + 1
    scope.until(1, 60)
    assert scope.learn(scope.now, 60, 60) == (0, 0)


def test_a_broken_burst_is_told_at_once() -> None:
    scope = Scope()
    for _ in range(20):
        assert scope.send(100, 1, pause(scope)) is None
    turn = scope.send(100, 80, pause(scope))
    assert turn is not None
    assert turn.begins
    assert (turn.figures.attempts, turn.figures.hits) == (100, 80)


@pytest.mark.parametrize(("attempts", "hits"), [(29, 29), (100, 49)])
def test_a_burst_with_few_hits_or_less_than_half_is_not_told_at_once(
    attempts: int, hits: int
) -> None:
    scope = Scope()
    for _ in range(20):
        assert scope.send(attempts, 0, pause(scope)) is None
    assert scope.send(attempts, hits, pause(scope)) is None


def test_a_steady_stream_that_falters_for_a_moment_is_no_burst() -> None:
    scope = Scope()
    for second in range(1_200):
        assert scope.send(30, second % 4 == 0) is None
    assert scope.send(40, 40) is None
    for second in range(300):
        assert scope.send(30, second % 4 == 0) is None


def pause(scope: Scope) -> int:
    """Seconds until the next window has begun for a second."""
    return 61 - scope.now % 60


def test_needed_evidence_follows_from_the_sensitivity() -> None:
    for sensitivity, least in ((0.0, 13.5), (0.5, 9.5), (1.0, 5.5)):
        scope = Scope(Spike(sensitivity=sensitivity))
        scope.usual(20)
        _, figures = scope.until(1, 120)
        assert least <= figures.others["evidence_needed"] <= least + 3


def test_a_breach_ends_when_the_rate_is_usual_again_for_a_while() -> None:
    scope = Scope()
    scope.usual(20)
    scope.until(1, 60)
    sent, figures = scope.until(0, 600)
    assert 30 <= sent <= 120
    assert figures.attempts >= sent
    assert figures.hits < figures.attempts


def test_rules_hold_a_breach_for_a_minute_unless_they_say_otherwise() -> None:
    assert Spike.keep_firing_for == 60.0
