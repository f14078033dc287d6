from dataclasses import replace

import numpy as np
import pytest

from benchmarks.detection import cases, traffic
from benchmarks.detection.product import Product
from benchmarks.detection.scoring import Alert
from benchmarks.detection.trace import trace
from benchmarks.detection.traffic import Hit, Run
from streams.configuration.models import Configuration
from streams.domain.detectors.spike import Spike

SPIKE = Configuration.model_validate(
    {
        "rules": [
            {"name": "failures", "group": "failure", "detector": {"kind": "spike"}},
            {"name": "throttled", "group": "throttled", "detector": {"kind": "spike"}},
        ]
    }
)


def _run(seconds: int, broken: range, hit: Hit = Hit.FAILURE) -> Run:
    """A campaign of 50 a minute, of which all sends of some seconds are hits."""
    made = traffic.stationary(50.0, 0.01, 0.0, days=1, seed=2)
    attempts = made.attempts[:seconds]
    failures, throttled = made.failures[:seconds].copy(), made.throttled[:seconds].copy()
    if hit is Hit.FAILURE:
        failures[broken.start : broken.stop] = attempts[broken.start : broken.stop]
    else:
        failures[broken.start : broken.stop] = 0
        throttled[broken.start : broken.stop] = attempts[broken.start : broken.stop]
    return replace(made, attempts=attempts, failures=failures, throttled=throttled)


def test_what_breaks_is_found_in_its_second_and_ends() -> None:
    (alerts,) = Product(SPIKE).alerts([_run(2400, range(1500, 1800))])
    (alert,) = alerts[Hit.FAILURE]
    assert 1505 <= alert.fired <= 1520
    assert alert.ended is not None
    assert 1800 <= alert.ended <= 1920
    assert not alerts[Hit.THROTTLED]


def test_kinds_of_hits_are_told_apart() -> None:
    (alerts,) = Product(SPIKE).alerts([_run(1600, range(1500, 1600), Hit.THROTTLED)])
    assert not alerts[Hit.FAILURE]
    ((fired, ended),) = alerts[Hit.THROTTLED]
    assert 1505 <= fired <= 1520
    assert ended is None


def test_campaigns_of_a_batch_are_told_apart() -> None:
    sound, broken = _run(2000, range(0)), _run(1700, range(1500, 1600))
    alerts = Product(SPIKE).alerts([sound, broken, sound])
    assert [len(each[Hit.FAILURE]) for each in alerts] == [0, 1, 0]


def test_alert_of_a_run_that_ends_has_no_end_though_others_go_on() -> None:
    short, other = _run(1600, range(1500, 1600)), _run(4000, range(0))
    (alert,) = Product(SPIKE).alerts([short, other])[0][Hit.FAILURE]
    assert alert.ended is None


@pytest.mark.parametrize("broken", [range(900, 1100), range(1200, 1260), range(0)])
def test_a_detector_traced_alone_says_what_the_product_says(broken: range) -> None:
    run = _run(2400, broken)
    (alerts,) = Product(SPIKE).alerts([run])
    traced = trace(Spike(), run, Hit.FAILURE, 800, run.seconds)
    assert [each.fired for each in traced.alerts] == [each.fired for each in alerts[Hit.FAILURE]]
    assert len(traced.usual) == len(traced.evidence) == 1600


def test_trace_knows_the_usual_rate_and_the_evidence() -> None:
    run = _run(1600, range(1500, 1600))
    traced = trace(Spike(), run, Hit.FAILURE, 1400, 1600)
    (alert,) = traced.alerts
    at = alert.fired - traced.start
    assert traced.usual[0] == pytest.approx(0.01, abs=0.02)
    assert traced.evidence[at] >= traced.needed[at] >= 10.0
    assert traced.evidence[0] < traced.evidence[at]


def test_handfuls_have_as_many_failures_as_they_say() -> None:
    seen: list[Run] = []

    class Silent(Product):
        def alerts(self, runs: list[Run]) -> list[dict[Hit, list[Alert]]]:  # type: ignore[override]
            seen.extend(runs)
            return [{hit: [] for hit in Hit} for _ in runs]

    assert cases.alarms(Silent(SPIKE), cases.Handful(3, 10, 0.0, False), 4, 1).value == 0.0
    assert [(int(each.attempts.sum()), int(each.failures.sum())) for each in seen] == [(10, 3)] * 4
    assert all(int(np.flatnonzero(each.attempts).max()) <= cases.WITHIN for each in seen)
