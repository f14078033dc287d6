"""What is learned of scopes' usual rates and their spread."""

import itertools
from collections.abc import Sequence
from math import isfinite
from operator import mul

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from streams.domain.detectors.baseline import (
    BASELINE,
    DISPERSIONS,
    LEAST_DISPERSION,
    MOST_DISPERSION,
    PRIOR_CHANCES,
    Hypotheses,
    Null,
    Rise,
    independent_share,
    learn,
    log_risings,
    newcomer,
    times_odds,
)
from streams.domain.detectors.evidence import MOST_WEIGHT, AboveLimit, Shifted

RISE = Rise()
PRIOR = [mp.log(each) - mp.log(max(PRIOR_CHANCES)) for each in PRIOR_CHANCES]
SEED = 20
MOST = 10**9
Counts = tuple[int, int] | tuple[int, int, float]
"""Attempts, at least 1, and hits of a window; for some windows together, which share of pairs of
attempts are of one window."""
Baselines = NDArray[np.void]


@st.composite
def windows(draw: st.DrawFn) -> list[Counts]:
    made: list[Counts] = []
    for _ in range(draw(st.integers(0, 12))):
        attempts = draw(st.integers(1, draw(st.sampled_from([1, 2, 60, 5_000, MOST]))))
        hits = draw(st.sampled_from([0, attempts, attempts // 100]))
        # Windows of many attempts are not learned together.
        few = [0.0, 0.11, 1.0] if attempts <= 60 else [1.0]
        made.append((attempts, hits, draw(st.sampled_from(few))))
    return made


def learn_window(baselines: Baselines, counts: Sequence[Counts]) -> Baselines:
    """Learn a window of each scope; what is no number, or too large a one, is an error."""
    attempts, hits, together = np.array([(*each, 1.0)[:3] for each in counts], np.float64).T
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        return learn(baselines, attempts, hits, together)


def learned(seen: Sequence[Counts], times: int = 1, first: Baselines | None = None) -> Baselines:
    """What one scope has learned from windows."""
    baseline = newcomer() if first is None else first
    for counts in [*seen] * times:
        baseline = learn_window(baseline, [counts])
    return baseline


def known(hits: float, misses: float, dispersion: float) -> Baselines:
    baseline = newcomer(hits, misses)
    baseline["dispersion"] = dispersion
    return baseline


def value(baseline: Baselines, name: str) -> float:
    return float(baseline[name].item(0))


def rate_of(baseline: Baselines) -> float:
    return Null.of(baseline).rate.item(0)


def drawn(rate: float, dispersion: float, attempts: int, number: int) -> list[Counts]:
    weight = 1 / dispersion - 1
    rng = np.random.default_rng(SEED)
    hits = stats.betabinom.rvs(
        attempts, rate * weight, (1 - rate) * weight, size=number, random_state=rng
    )
    return [(attempts, int(each)) for each in hits]


def test_a_newcomer_is_taken_for_one_who_fails_a_twentieth_of_the_time() -> None:
    assert rate_of(newcomer()) == 0.05
    chances = np.exp(newcomer()["log_chances"][0].astype(float))
    assert chances / chances.sum() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.12, 0.06, 0.02])
    assert value(newcomer(), "dispersion") == pytest.approx(0.0328964)


def test_a_newcomer_begins_with_what_its_likes_have() -> None:
    assert rate_of(newcomer(9.0, 11.0)) == pytest.approx(10 / 40)


@pytest.mark.parametrize("attempts", [8, 60, 600, 5_000])
@pytest.mark.parametrize(("rate", "dispersion"), [(0.01, 0.005), (0.05, 0.02), (0.25, 0.05)])
def test_the_rate_is_found(rate: float, dispersion: float, attempts: int) -> None:
    baseline = learned(drawn(rate, dispersion, attempts, 2_000))
    independent = attempts / (1 + (attempts - 1) * value(baseline, "dispersion"))
    # It averages over some 170 windows, or fewer of few attempts.
    error = (rate * (1 - rate) / (100 * independent)) ** 0.5
    weight = value(baseline, "hits") + value(baseline, "misses")
    assert rate_of(baseline) == pytest.approx(rate, abs=4 * error + 20 / weight * 0.05)


@pytest.mark.parametrize("attempts", [60, 600, 5_000])
@pytest.mark.parametrize("dispersion", [0.002, 0.015, 0.06])
def test_the_spread_is_found(dispersion: float, attempts: int) -> None:
    found = value(learned(drawn(0.08, dispersion, attempts, 600)), "dispersion")
    # Few attempts tell little of a small dispersion.
    assert 0.8 * dispersion < found < 2.2 * dispersion + 0.5 / attempts


@pytest.mark.parametrize("dispersion", [0.015, 0.06])
def test_the_spread_is_found_in_windows_that_are_learned_together(dispersion: float) -> None:
    seen = drawn(0.08, dispersion, 24, 4 * 1_000)
    four = np.array(seen).reshape(-1, 4, 2).sum(axis=1).tolist()
    together = 24 * 23 * 4 / (96 * 95)
    found = value(learned([(n, k, together) for n, k in four]), "dispersion")
    assert 0.7 * dispersion < found < 2.5 * dispersion
    # Taken for one window, they seem to vary much less.
    assert value(learned([(n, k) for n, k in four]), "dispersion") < 0.6 * found


def test_windows_together_vary_as_the_share_of_pairs_says() -> None:
    before, rate, sizes = known(10.0, 990.0, 0.05), 0.08, [3, 11, 1, 14]
    weight = 1 / value(before, "dispersion") - 1
    a, b = rate * weight, (1 - rate) * weight
    variance = sum(stats.betabinom.var(n, a, b) for n in sizes)
    n = sum(sizes)
    together = sum(each * (each - 1) for each in sizes) / (n * (n - 1))
    share = independent_share(before, np.array([float(n)]), np.array([together])).item(0)
    assert n * rate * (1 - rate) / share == pytest.approx(variance)


@settings(deadline=None)
@given(windows(), st.integers(1, 40))
@example([(MOST, MOST)], 400)
@example([(MOST, 0)], 400)
@example([(MOST, MOST), (MOST, 0)], 20)
@example([(1, 1)], 40)
@example([(1, 0)], 2_000)
def test_the_null_is_one_that_evidence_can_be_held_against(seen: list[Counts], times: int) -> None:
    baseline = learned(seen, times)
    assert LEAST_DISPERSION <= np.float32(value(baseline, "dispersion")) <= MOST_DISPERSION + 1e-8
    null = Null.of(baseline)
    found = Hypotheses.of(null.rate.item(0), null.weight.item(0), RISE)
    assert 0 < found.rate < 1
    assert found.rate < found.tolerated < found.limit < 1
    assert 0 < found.a < found.a + found.b <= MOST_WEIGHT
    assert found.b > 0
    above = AboveLimit(found.a, found.b, found.limit)
    shifted = Shifted(found.a, found.b, times_odds(found.limit, 1.5))
    counts = [each[:2] for each in seen]
    for attempts, hits in [*counts, (MOST, MOST), (MOST, 0), (1, 1), (1, 0)]:
        assert isfinite(above.log_ratio(attempts, hits))
        assert isfinite(shifted.log_ratio(attempts, hits))


@settings(deadline=None)
@given(windows())
@example([(60, 1)] * 30)
def test_a_window_is_learned_as_the_formulas_say(seen: list[Counts]) -> None:
    """The same in 40 digits, as written on paper; each window rounds to what is kept."""
    baseline = learned(seen)
    with mp.workdps(40):
        a = b = mp.mpf(0)
        rho, chances = mp.mpf(value(newcomer(), "dispersion")), PRIOR
        for n, k, f in ((*each, 1.0)[:3] for each in seen):
            m, w = (mp.mpf("0.02") + a) / (mp.mpf("0.4") + a + b), 1 / (1 + (n - 1) * f * rho)
            if n > 1 and a + b >= 50:
                chances = chances_after((n, k, f), m, a + b, chances)
                rho = dispersion_of(chances)
            d = mp.mpf("0.5") ** (n * w / (n * w + 5) / 120)
            a, b = d * a + w * k, d * b + w * (n - k)
        assert value(baseline, "dispersion") == pytest.approx(float(rho), rel=0.001)
        assert value(baseline, "hits") == pytest.approx(float(a), rel=0.001, abs=1e-5)
        assert value(baseline, "misses") == pytest.approx(float(b), rel=0.001, abs=1e-5)


def log_beta(a: mp.mpf, b: mp.mpf) -> mp.mpf:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def chances_after(
    window: tuple[int, int, float], m: mp.mpf, weight: mp.mpf, chances: list[mp.mpf]
) -> list[mp.mpf]:
    n, k, f = window
    likely, made = [], []
    for rho in DISPERSIONS:
        s = 1 / min(mp.mpf("0.3"), mp.mpf(f) * rho + 1 / (weight + 11)) - 1
        likely.append(log_beta(m * s + k, (1 - m) * s + n - k) - log_beta(m * s, (1 - m) * s))
    for said, before, at_first in zip(likely, chances, PRIOR, strict=True):
        new = max(said - max(likely), mp.mpf("-2.5"))
        made.append(mp.mpf("0.998") * before + mp.mpf("0.002") * at_first + new)
    return [max(each - max(made), -1_000) for each in made]


def dispersion_of(chances: list[mp.mpf]) -> mp.mpf:
    weights = [mp.exp(each) for each in chances]
    mean = sum(map(mul, weights, DISPERSIONS)) / sum(weights)
    square = sum(map(mul, weights, (each**2 for each in DISPERSIONS))) / sum(weights)
    found = mp.mpf("1.4") * mean + mp.mpf("0.6") * mp.sqrt(max(0, square - mean**2))
    return min(max(found, 0.001), 0.2)


@pytest.mark.parametrize(
    ("hits", "misses", "n", "k"),
    [
        *itertools.product([0.0, 40.0, 150_000.0], [60.0, 5_000.0], [2, 60, 10**6], [0, 1, 2]),
        (100.0, 0.0, 10**6, 10**6),
        (0.0, 170_000.0, MOST, 0),
        (170_000.0, 0.0, MOST, MOST),
        (170_000.0, 170_000.0, MOST, MOST // 2),
    ],
)
@pytest.mark.parametrize("f", [0.0, 0.11, 1.0])
def test_one_window_changes_a_baseline_as_the_formulas_say(
    hits: float, misses: float, n: int, k: int, f: float
) -> None:
    before = known(hits, misses, 0.03)
    after = learn_window(before, [(n, k, f)])
    with mp.workdps(40):
        rho, a, b = mp.mpf(value(before, "dispersion")), mp.mpf(hits), mp.mpf(misses)
        m, w = (mp.mpf("0.02") + a) / (mp.mpf("0.4") + a + b), 1 / (1 + (n - 1) * f * rho)
        chances = chances_after((n, k, f), m, a + b, PRIOR)
        d = mp.mpf("0.5") ** (n * w / (n * w + 5) / 120)
        expected = [dispersion_of(chances), d * a + w * k, d * b + w * (n - k)]
    # Log-gammas of 10^9 are 2 * 10^10, and lose 11 digits of 16.
    assert after["log_chances"][0] == pytest.approx(
        [float(each) for each in chances], rel=1e-6, abs=1e-4 if n == MOST else 1e-7
    )
    found = [value(after, name) for name in ("dispersion", "hits", "misses")]
    assert found == pytest.approx(
        [float(each) for each in expected], rel=2e-5 if n == MOST else 1e-6
    )


@settings(deadline=None)
@given(st.lists(windows(), min_size=2, max_size=20))
def test_scopes_learn_together_what_each_learns_alone(seen: list[list[Counts]]) -> None:
    """To the last bit: a partition that is restored may learn them in other company."""
    long = max(map(len, seen))
    together = np.concatenate([newcomer()] * len(seen))
    for number in range(long):
        at = [place for place, each in enumerate(seen) if number < len(each)]
        together[at] = learn_window(together[at], [seen[place][number] for place in at])
    alone = np.concatenate([learned(each) for each in seen])
    assert together.tobytes() == alone.tobytes()
    for of_all, of_each in zip(
        Null.of(together), zip(*map(Null.of, np.split(alone, len(seen))), strict=True), strict=True
    ):
        assert of_all.tobytes() == np.concatenate(of_each).tobytes()


def test_thousands_learn_what_each_learns_alone() -> None:
    rng = np.random.default_rng(SEED)
    attempts = rng.integers(1, 5_000, size=(4, 2_999))
    hits = rng.binomial(attempts, rng.choice([0.0, 0.01, 0.3, 1.0], size=attempts.shape))
    together = np.concatenate([newcomer()] * attempts.shape[1])
    for counts in np.stack((attempts, hits), axis=2).tolist():
        together = learn_window(together, counts)
    for at in range(0, attempts.shape[1], 97):
        seen = list(zip(attempts[:, at].tolist(), hits[:, at].tolist(), strict=True))
        assert learned(seen).tobytes() == together[at].tobytes()


def test_what_is_learned_leaves_what_was_known_alone() -> None:
    before = known(40.0, 60.0, 0.03)
    kept = before.tobytes()
    assert learn_window(before, [(60, 3)]).tobytes() != kept
    assert before.tobytes() == kept


def test_other_columns_stay_as_they_are() -> None:
    more = np.zeros(
        2, np.dtype([("other", "<u2"), *((n, BASELINE[n]) for n in BASELINE.names or ())])
    )
    for name in BASELINE.names or ():
        more[name] = newcomer(40.0, 60.0)[name]
    more["other"] = 7, 9
    after = learn_window(more, [(60, 3), (5, 5)])
    assert after["other"].tolist() == [7, 9]
    assert after["hits"][0] == learn_window(newcomer(40.0, 60.0), [(60, 3)])["hits"][0]


def test_a_scope_without_hits_is_not_taken_for_one_that_varies() -> None:
    found = value(learned([(60, 0)], 500), "dispersion")
    assert found <= 1.1 * value(newcomer(), "dispersion")


def test_a_null_is_wide_while_little_is_known() -> None:
    def weight(*baseline: float) -> float:
        return Null.of(known(*baseline)).weight.item(0)

    # rho + 1 / (A + B + 11), and rho no less than 0.022 * 2500 / (A + B + 1)
    assert weight(10.0, 990.0, 0.001) == pytest.approx(1 / (0.022 + 1 / 1_011) - 1)
    late = 1 / (0.022 * 2_500 / 10_001 + 1 / 10_011) - 1
    assert weight(100.0, 9_900.0, 0.001) == pytest.approx(late)
    assert weight(10.0, 990.0, 0.05) == pytest.approx(1 / (0.05 + 1 / 1_011) - 1)
    # A rate below 0.001, here (1 + A) / (20 + A + B), says as much less of rho as it is below.
    seldom = 0.12 * 1_000 / 20_020
    assert weight(0.0, 20_000.0, 0.12) == pytest.approx(1 / (seldom + 1 / 20_011) - 1)
    assert weight(0.0, 20_000.0, 0.02) == pytest.approx(1 / (0.022 / 8.0004 + 1 / 20_011) - 1)
    assert weight(0.0, 0.0, 0.2) == pytest.approx(1 / (0.2 + 1 / 11) - 1)
    assert weight(0.0, 0.0, 0.25) == pytest.approx(1 / 0.3 - 1)


def test_one_attempt_says_nothing_of_dispersion() -> None:
    baseline = learned([(1, 1), (1, 0)], 60)
    assert value(baseline, "hits") + value(baseline, "misses") > 50
    for name in ("log_chances", "dispersion"):
        assert baseline[name].tobytes() == newcomer()[name].tobytes()


def test_half_of_it_is_forgotten_in_120_windows_of_many_attempts() -> None:
    baseline = known(1e5, 1e5, 0.001)
    for _ in range(120):
        baseline["dispersion"] = 0.001
        baseline = learn_window(baseline, [(10**6, 0)])
    # A million are worth 1,000, of which 5 are too few.
    assert value(baseline, "hits") == pytest.approx(1e5 * 0.5 ** (1_000 / 1_005), rel=1e-3)


@given(st.floats(0, 1), st.floats(0.1, 10))
def test_odds(rate: float, factor: float) -> None:
    raised = times_odds(rate, factor)
    assert raised * (1 - rate) == pytest.approx(factor * rate * (1 - raised), abs=1e-12)


# Log-gammas

positive = st.floats(-9, 3.3).map(lambda power: 10.0**power)


@settings(max_examples=400, deadline=None)
@given(positive, st.one_of(st.integers(0, 200), st.integers(0, 10**6)))
@example(1e-9, 0)
@example(1e-9, 1)
@example(2_000.0, 10**6)
@example(1e-9, 10**6)
def test_rising_factorials(x: float, n: int) -> None:
    with mp.workdps(40):
        expected = float(mp.loggamma(mp.mpf(x) + n) - mp.loggamma(x))
    found = log_risings((np.array([x]), np.array([float(n)])))[0].item(0)
    assert found == pytest.approx(expected, abs=1e-8, rel=1e-12)


@pytest.mark.parametrize("x", [1e-300, 1e-9, 0.3, 1.0, 1_998.5, 1e6])
@pytest.mark.parametrize("n", [10**6 + 1, 10**8, MOST])
def test_rising_factorials_of_many(x: float, n: int) -> None:
    with mp.workdps(40):
        expected = float(mp.loggamma(mp.mpf(x) + n) - mp.loggamma(x))
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = log_risings((np.array([x]), np.array([float(n)])))[0].item(0)
    assert found == pytest.approx(expected, rel=2e-15)
