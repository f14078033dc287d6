"""What `spike` says of itself, now and of windows, is what it decides and learns."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.detectors import baseline, wilson
from streams.domain.detectors.accounts import WindowSeen
from streams.domain.detectors.baseline import Null
from streams.domain.detectors.excursions import CONFIDENCE, Judge
from streams.domain.detectors.folding import ClosedWindow, FoldingDetector, Increment, Pending
from streams.domain.detectors.one_baseline import OneBaseline
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.spike_states import SpikeStates
from tests.domain.detectors.test_spike import NOBODY, SPIKE, START, Scope
from tests.support.detectors import Cusum

HOLD = 30.0


def pending(scope: Scope, interval: int = 1_000) -> Pending:
    _, attempts, hits = scope.window
    return Pending(scope.now * 1_000, scope.unseen, (attempts, hits), interval, HOLD)


def spike_states(scope: Scope) -> SpikeStates:
    states = scope.states
    assert isinstance(states, SpikeStates)
    return states


@pytest.mark.parametrize(("minutes", "before", "pause"), [(0, 0, 1), (5, 3, 1), (40, 0, 7)])
def test_as_many_hits_in_a_row_as_are_missing_fire_and_no_fewer(
    minutes: int, before: int, pause: int
) -> None:
    scope = Scope()
    scope.usual(minutes)
    for _ in range(before):
        assert scope.send(1, 1) is None
    account = SPIKE.account_of(scope.states, 0, pending(scope, 1_000 * pause))
    began = scope.now
    sent, _ = scope.until(1, 200, pause)
    assert sent == account.hits_missing
    assert scope.now - began < 60, "nothing was learned meanwhile"


@pytest.mark.parametrize(
    ("patience", "least", "most"), [(45.0, 600, 620), (75.0, 1_000, 1_020), (900.0, None, None)]
)
def test_where_many_are_sent_hits_are_tried_record_by_record(
    patience: float, least: int | None, most: int | None
) -> None:
    detector = Spike(patience=patience)
    scope = Scope(detector)
    for second in range(10 * 60):
        scope.send(100, 2 if second % 2 else 0)
    missing = detector.account_of(scope.states, 0, pending(scope, interval=10)).hits_missing
    if least is None or most is None:
        assert missing is None, "so many are not tried"
    else:
        # So many seconds of sends have to be lost.
        assert missing is not None
        assert missing % 10 == 0
        assert least <= missing <= most


def test_within_one_window_the_number_is_exact() -> None:
    scope = Scope()
    scope.usual(20)
    for _ in range(2):
        scope.send(1, 1)
    account = SPIKE.account_of(scope.states, 0, pending(scope))
    sent, figures = scope.until(1, 60)
    assert sent == account.hits_missing
    after = SPIKE.account_of(scope.states, 0, pending(scope))
    assert after.hits_missing == 0
    assert after.is_breach
    assert (after.attempts, after.hits) == (figures.attempts, figures.hits)
    assert after.figures["evidence"] == figures.others["evidence"]


def test_to_ask_changes_nothing() -> None:
    scope = Scope()
    scope.usual(20)
    scope.send(1, 1)
    before = scope.states.write([0])
    SPIKE.account_of(scope.states, 0, pending(scope))
    assert scope.states.write([0]) == before


def test_attempts_since_the_last_hit_count_against_the_excursion() -> None:
    scope = Scope()
    scope.usual(20)
    for _ in range(3):
        scope.send(1, 1)
    suspicious = SPIKE.account_of(scope.states, 0, pending(scope))
    for _ in range(10):
        scope.send(1, 0)
    calmer = SPIKE.account_of(scope.states, 0, pending(scope))
    assert calmer.attempts == suspicious.attempts + 10
    assert calmer.figures["evidence"] < suspicious.figures["evidence"]
    for _ in range(600):
        scope.send(1, 0)
    over = SPIKE.account_of(scope.states, 0, pending(scope))
    assert (over.attempts, over.since) == (0, None)
    assert [each.name for each in over.unmet] == ["evidence"]


def test_requirements_are_told_one_by_one() -> None:
    scope = Scope()
    scope.usual(20)
    for _ in range(5):
        scope.send(1, 1)
    account = SPIKE.account_of(scope.states, 0, pending(scope))
    met = {each.name: each.is_met for each in account.requirements}
    assert met == {"evidence": True, "rate": True, "patience": False, "beside-clump": False}
    assert "it has lasted 4 of 45 s, or cost" in account.requirements[2].text
    # As docs/explanations.md works it out by hand.
    values = [each.value for each in account.requirements[1:]]
    assert values == [pytest.approx(0.649, abs=5e-4), pytest.approx(4.95, abs=0.05), 0.0]
    assert account.hits_missing == 2
    assert account.usual_rate == pytest.approx(0.01, abs=0.005)
    assert account.figures["usual_attempts"] > 500


def test_a_newcomer_is_said_to_be_one() -> None:
    scope = Scope()
    scope.send(1, 1)
    account = SPIKE.account_of(scope.states, 0, pending(scope))
    assert account.notes == ("it is not known yet what is usual: a rate up to 30% is no news",)


def test_any_detector_that_folds_has_an_account() -> None:
    detector: FoldingDetector = Cusum()
    states = detector.new_states()
    states.begin(np.array([0]), NOBODY)
    account = detector.account_of(states, 0, Pending(0, 0, (0, 0), 1, 1.0))
    assert account.requirements == ()
    assert account.hits_missing is None


counted = st.lists(
    st.tuples(st.integers(1, 3_000), st.floats(0, 1), st.booleans()), min_size=1, max_size=40
)


@given(counted)
def test_one_scope_learns_what_many_learn(windows: list[tuple[int, float, bool]]) -> None:
    one, many = OneBaseline(), baseline.newcomer()
    for attempts, share, is_one in windows:
        hits = round(attempts * share**3)
        together = 1.0 if is_one else 0.4
        one.learn(attempts, hits, together)
        many = baseline.learn(
            many, np.array([float(attempts)]), np.array([float(hits)]), np.array([together])
        )
    # Rows have 32 bits.
    assert one.hits == pytest.approx(many["hits"].item(), rel=1e-4, abs=1e-5)
    assert one.misses == pytest.approx(many["misses"].item(), rel=1e-4, abs=1e-5)
    assert one.dispersion == pytest.approx(many["dispersion"].item(), rel=1e-3)
    null = Null.of(many)
    assert one.rate == pytest.approx(null.rate.item(), rel=1e-3, abs=1e-6)
    assert one.weight == pytest.approx(null.weight.item(), rel=2e-3)


def traffic(minutes: int, rate: float, seed: int = 1) -> list[WindowSeen]:
    chance = random.Random(seed)  # noqa: S311 - the same traffic each time
    made = []
    for minute in range(minutes):
        attempts = chance.choice([3, 20, 80, 400])
        hits = sum(chance.random() < rate for _ in range(attempts))
        made.append(WindowSeen(START + 60 * minute, attempts, hits))
    return made


def never_asked(_: int) -> tuple[int, int]:
    return 0, 0


def test_levels_are_those_of_a_scope_that_sees_the_windows_go_by() -> None:
    windows = traffic(240, 0.03)
    levels = list(SPIKE.levels(windows, 60, None))
    scope = Scope()
    states = spike_states(scope)
    for window, level in zip(windows, levels, strict=True):
        assert level.start == window.start
        usual, row = states.usual_rate(0), states.table.row(0)
        assert usual is None or level.usual_rate == pytest.approx(usual, rel=0.01)
        assert level.usual_attempts == pytest.approx(row["hits"] + row["misses"], rel=0.01)
        unseen = np.array([window.attempts if not window.hits else 0])
        if window.hits:
            so_far = window.attempts, window.hits
            states.add(0, Increment(window.start * 1_000, *so_far, 0, never_asked), HOLD)
        counts = np.array([window.attempts]), np.array([window.hits]), unseen
        states.learn(ClosedWindow(window.start, np.array([0]), *counts))


def test_the_firing_rate_is_the_least_that_has_the_evidence() -> None:
    detector = Spike()
    windows = traffic(120, 0.02, seed=3)
    for window, level in list(zip(windows, detector.levels(windows, 60, None), strict=True))[60:]:
        assert level.usual_rate is not None
        assert level.limit_rate is not None
        if level.firing_rate is None:
            assert window.attempts < 30
            continue
        hits = round(level.firing_rate * window.attempts)
        assert level.firing_rate * window.attempts == pytest.approx(hits)
        assert wilson.lower_bound(hits, window.attempts, CONFIDENCE) > level.limit_rate
        assert level.firing_rate > level.limit_rate > level.usual_rate
        # The least evidence is that of the weakest null, of as many attempts as there can be.
        sure = Judge(level.usual_rate, 1_000.0, detector.new_states().settings.rise)
        assert sure.above.exceeds(window.attempts, hits, 10.0)


def test_windows_of_an_incident_are_not_learned() -> None:
    quiet = traffic(180, 0.02)
    bad = [
        WindowSeen(quiet[-1].start + 60 * n, 400, 200, has_fired=has_fired)
        for n, has_fired in enumerate([False] * 5 + [True] * 5, 1)
    ]
    levels = list(SPIKE.levels([*quiet, *bad], 60, None))
    assert levels[-1].usual_rate == levels[180].usual_rate
    told = [WindowSeen(w.start, w.attempts, w.hits, has_fired=True) for w in traffic(60, 0.02)]
    assert {each.usual_rate for each in SPIKE.levels(told, 60, None)} == {0.05}


def test_what_is_needed_now_raises_the_levels() -> None:
    windows = traffic(120, 0.02)
    scope = Scope()
    scope.usual(20)
    now = SPIKE.account_of(scope.states, 0, pending(scope))
    more = now._replace(figures={"evidence_needed": 13.0})
    low = [each.firing_rate for each in SPIKE.levels(windows, 60, None)]
    high = [each.firing_rate for each in SPIKE.levels(windows, 60, more)]
    both = [(a, b) for a, b in zip(low, high, strict=True) if a is not None and b is not None]
    assert all(a <= b for a, b in both)
    assert sum(b for _, b in both) > sum(a for a, _ in both)
