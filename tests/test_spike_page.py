"""The decision that docs/spike.md works out by hand, worked out again from the figures alone."""

import re
from datetime import datetime, timedelta
from math import log, log1p
from pathlib import Path
from typing import Any

import orjson
import pytest
from scipy import special, stats

PAGE = Path(__file__).parents[1] / "docs" / "spike.md"


def payload() -> dict[str, Any]:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, Any] = orjson.loads(block)
    return found


def shown() -> dict[str, Any]:
    evidence: dict[str, Any] = payload()["evidence"]
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
    assert total >= needed >= 9.5

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


def test_the_summary_says_since_when_its_figures_are() -> None:
    data, evidence = payload(), shown()
    newest = datetime.fromisoformat(evidence["since"]) + timedelta(
        seconds=evidence["figures"]["seconds"]
    )
    assert newest == datetime.fromisoformat(data["starts_at"])
    rate, usual = evidence["hits"] / evidence["attempts"], data["explanation"]["usual_rate"]
    assert data["summary"].endswith(
        f": {evidence['hits']} of {evidence['attempts']} attempts ({rate:.1%}) since "
        f"{evidence['since']}, usually {usual:.1%}; all parts alike"
    )


def test_the_explanation_follows_from_the_counts_of_whole_windows() -> None:
    data = payload()
    found, evidence = data["explanation"], data["evidence"]
    # Its window begins before the excursion, and holds it.
    assert found["window"]["start"] < evidence["since"] < found["window"]["end"]
    assert found["attempts"] == sum(evidence["counts"].values()) > evidence["attempts"]
    assert found["hits"] == evidence["counts"]["FAILURE"]
    assert found["rate"] == pytest.approx(found["hits"] / found["attempts"], abs=1e-6)
    usual = found["usual"]
    mean = (1 + usual["hits"]) / (20 + usual["attempts"])
    rate = (usual["hits"] + 20 * mean) / (usual["attempts"] + 20)
    assert found["usual_rate"] == pytest.approx(rate, abs=1e-6)
    assert found["expected_hits"] == pytest.approx(found["attempts"] * rate, abs=1e-3)
