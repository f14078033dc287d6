"""The decision that docs/spike.md works out by hand, worked out again from the figures alone."""

import re
from math import log, log1p
from pathlib import Path
from typing import Any

import orjson
import pytest
from scipy import special, stats

PAGE = Path(__file__).parents[1] / "docs" / "spike.md"


def shown() -> dict[str, Any]:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    evidence: dict[str, Any] = orjson.loads(block)["evidence"]
    return evidence


def odds_times(rate: float, factor: float) -> float:
    return factor * rate / (1 + (factor - 1) * rate)


def log_e(n: int, k: int, m0: float, s: float, limit: float) -> float:
    """The formula of the page."""
    a, b = m0 * s, (1 - m0) * s
    risen = special.betaln(k + 1, n - k + 1) + stats.binom.logcdf(k, n + 1, limit) - log1p(-limit)
    usual = special.betaln(a + k, b + n - k) - special.betaln(a, b)
    return float(risen - usual)


def test_the_decision_follows_from_the_payload() -> None:
    evidence = shown()
    figures, m = evidence["figures"], evidence["baseline_rate"]
    m0, limit, s = (figures[name] for name in ("tolerated_rate", "limit_rate", "null_weight"))
    assert m0 == pytest.approx(max(0.02, odds_times(m, 1.3)), abs=1e-6)
    assert limit == pytest.approx(max(0.04, odds_times(m, 2.5)), abs=1e-6)

    attempts, hits = evidence["attempts"], evidence["hits"]
    n, k = int(figures["attempts_weighed"]), int(figures["hits_weighed"])
    before = log_e(attempts - n, hits - k, m0, s, limit)
    needed = figures["evidence_needed"]
    assert figures["evidence_before"] == pytest.approx(min(before, needed), abs=1e-5)
    total = figures["evidence_before"] + log_e(n, k, m0, s, limit)
    assert total == pytest.approx(figures["evidence"], abs=1e-5)
    assert total >= needed >= 10

    bound = stats.binomtest(hits, attempts, alternative="greater").proportion_ci(0.95, "wilson")
    assert evidence["lower_bound"] == pytest.approx(bound.low, abs=1e-6)
    assert bound.low > limit

    lost = (hits / attempts - m) * figures["seconds"] * attempts / (attempts - 1)
    assert lost == pytest.approx(figures["seconds_lost"], abs=1e-4)
    assert lost >= 6

    rest = attempts - int(figures["attempts_clumped"]), hits - int(figures["hits_clumped"])
    assert log_e(*rest, m0, s, limit) >= 3.2


def test_the_page_says_what_one_hit_alone_is() -> None:
    figures = shown()["figures"]
    s, limit = figures["null_weight"], figures["limit_rate"]
    assert log_e(1, 1, 0.02, s, limit) == pytest.approx(log(0.52 / 0.02))
    assert f"{log(0.52 / 0.02):.3f}" in PAGE.read_text()
