"""Evidence for a share above a level: by its definition, at its ends, looked at all the time."""

from collections.abc import Callable
from fractions import Fraction
from math import comb, exp, inf, isfinite, lgamma, log, log1p, sqrt
from statistics import NormalDist

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.domain.detectors.proportions import is_above, log_evidence, lower_bound

levels = st.floats(1e-6, 1 - 1e-6)
needs = st.floats(log(2), 30)
ALWAYS = 400
"""Attempts, after each of which the evidence is looked at."""


@st.composite
def counts(draw: st.DrawFn, most: int = 10**9) -> tuple[int, int]:
    """Hits and attempts: any, few hits, or nearly all of them hits."""
    attempts = draw(st.integers(1, most))
    few = draw(st.integers(0, min(attempts, 50)))
    return draw(st.sampled_from((few, attempts - few, draw(st.integers(0, attempts))))), attempts


def by_definition(hits: int, attempts: int, level: Fraction) -> Fraction:
    """The mean of the likelihood over all shares above the level, by its likelihood at the level.

    The integral of q^k (1-q)^(n-k) is B(k + 1, n - k + 1) times a sum of binomial terms.
    """
    misses = attempts - hits
    beta = Fraction(1, (attempts + 1) * comb(attempts, hits))
    share = sum(
        comb(attempts + 1, n) * level**n * (1 - level) ** (attempts + 1 - n)
        for n in range(hits + 1)
    )
    return beta * share / ((1 - level) ** (misses + 1) * level**hits)


@pytest.mark.parametrize("level", [Fraction(1, 1024), Fraction(1, 8), Fraction(1, 2)])
@pytest.mark.parametrize(
    ("hits", "attempts"),
    [(0, 1), (1, 1), (2, 2), (1, 2), (3, 10), (0, 100), (60, 300), (5, 300), (300, 300)],
)
def test_it_is_the_quotient_that_it_is_said_to_be(
    hits: int, attempts: int, level: Fraction
) -> None:
    exact = by_definition(hits, attempts, level)
    expected = log(exact.numerator) - log(exact.denominator)
    assert log_evidence(hits, attempts, float(level)) == pytest.approx(expected, abs=1e-9)


@given(counts(), levels)
def test_at_the_level_no_attempt_is_expected_to_change_it(
    observed: tuple[int, int], level: float
) -> None:
    """It is a martingale: L * E(n + 1, k + 1) + (1 - L) * E(n + 1, k) = E(n, k)."""
    hits, attempts = observed
    now = log_evidence(hits, attempts, level)
    hit = log(level) + log_evidence(hits + 1, attempts + 1, level)
    miss = log1p(-level) + log_evidence(hits, attempts + 1, level)
    high, low = max(hit, miss), min(hit, miss)
    # Numbers as great as ln(n!) have lost that much.
    precision = 1e-9 + 8 * 2**-52 * lgamma(attempts + 2)
    assert high + log1p(exp(low - high)) == pytest.approx(now, abs=precision)


def chance_to_breach(level: float, is_breach: Callable[[int, int], bool]) -> float:
    """How probable a breach is at any of the first looks, of hits as frequent as the level."""
    breached, going_on = 0.0, {0: 1.0}
    for attempts in range(1, ALWAYS + 1):
        after: dict[int, float] = {}
        for hits, chance in going_on.items():
            for more, of_it in ((0, 1 - level), (1, level)):
                after[hits + more] = after.get(hits + more, 0.0) + chance * of_it
        going_on = {}
        for hits, chance in after.items():
            if is_breach(hits, attempts):
                breached += chance
            else:
                going_on[hits] = chance
    return breached


@pytest.mark.parametrize("level", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_looked_at_after_each_attempt_it_errs_no_more_often_than_it_may(
    level: float, confidence: float
) -> None:
    needed = -log(1 - confidence)
    chance = chance_to_breach(level, lambda hits, number: is_above(hits, number, level, needed))
    assert (1 - confidence) / 10 < chance <= 1 - confidence


def test_a_bound_that_is_made_for_one_look_errs_far_more_often() -> None:
    """Wilson's, of 1927: the score test, which is what was used before."""
    level, z = 0.1, NormalDist().inv_cdf(0.95)

    def is_breach(hits: int, number: int) -> bool:
        excess = hits - number * level
        return number >= 50 and excess > z * sqrt(number * level * (1 - level))

    assert chance_to_breach(level, is_breach) > 0.15


@given(counts(), levels, needs)
def test_the_shortcuts_of_a_decision_change_none(
    observed: tuple[int, int], level: float, needed: float
) -> None:
    evidence = log_evidence(*observed, level)
    if abs(evidence - needed) > 1e-5:
        assert is_above(*observed, level, needed) == (evidence >= needed)


@given(counts(), needs)
@example((26_339_318, 26_339_323), 30.0)
def test_the_bound_is_the_level_that_there_is_just_enough_evidence_against(
    observed: tuple[int, int], needed: float
) -> None:
    hits, attempts = observed
    bound = lower_bound(hits, attempts, needed)
    if not hits:
        assert bound == 0
        return
    assert 0 < bound < hits / attempts
    assert log_evidence(hits, attempts, bound) == pytest.approx(needed, abs=1e-4)


@given(counts(10_000), needs, st.integers(2, 50))
def test_more_of_the_same_makes_surer(observed: tuple[int, int], needed: float, times: int) -> None:
    hits, attempts = observed
    bound = lower_bound(hits, attempts, needed)
    assert lower_bound(hits * times, attempts * times, needed) >= bound * (1 - 1e-6)


@given(counts(), levels)
def test_no_rate_and_no_number_of_attempts_is_too_much(
    observed: tuple[int, int], level: float
) -> None:
    hits, attempts = observed
    evidence = log_evidence(hits, attempts, level)
    assert isfinite(evidence) or evidence == -inf
    if hits <= level * attempts:
        assert evidence <= 1e-5


@pytest.mark.parametrize(
    ("hits", "attempts", "is_enough"),
    [(0, 0, False), (1, 2, False), (3, 10, False), (2, 2, False), (3, 3, True), (10, 40, False)],
)
def test_known_decisions_at_a_tenth(hits: int, attempts: int, *, is_enough: bool) -> None:
    assert is_above(hits, attempts, 0.1, log(100)) == is_enough
