"""What a folding detector knew of one campaign, second by second."""

from typing import NamedTuple

import numpy as np

from benchmarks.detection.scoring import Alert
from benchmarks.detection.traffic import Hit, Rates, Run
from streams.domain.detectors.folding import ClosedWindow, FoldingDetector, Increment
from streams.domain.pools import Pooled

WINDOW = 60
"""Seconds."""


class Trace(NamedTuple):
    """What a detector knew, from `start` on, a value a second.

    Attributes:
        start: second of the run.
        usual: the usual rate, 0 to 1.
        evidence: that the rate has risen (nats), 0 without an excursion.
        needed: evidence that it takes.
        alerts: of the whole run, up to its end.
    """

    start: int
    usual: Rates
    evidence: Rates
    needed: Rates
    alerts: list[Alert]


def trace(detector: FoldingDetector, run: Run, hit: Hit, start: int, end: int) -> Trace:
    """Let a detector fold the counts of a run, a record a second; windows close at once.

    Args:
        detector: of the product.
        run: the campaign is a newcomer of a fleet without any others.
        hit: kind of hits.
        start: second from which on it is noted what the detector knows.
        end: second before which to stop.
    """
    states = detector.new_states()
    states.begin(np.array([0]), Pooled((0,) * detector.pooled_sums, (0,) * detector.pooled_sums))
    hold = detector.keep_firing_for or 0.0
    noted = np.zeros((3, max(0, end - start)))
    alerts: list[Alert] = []
    window_attempts = window_hits = unseen = 0
    is_breaching = False
    attempts, hits = run.attempts[:end].tolist(), run.hits(hit)[:end].tolist()
    for at in range(min(end, run.seconds)):
        if at % WINDOW == 0 and window_attempts:
            counts = (np.array([each]) for each in (window_attempts, window_hits, unseen))
            states.learn(ClosedWindow(at - WINDOW, np.zeros(1, np.int64), *counts))
            window_attempts = window_hits = 0
        window_attempts += attempts[at]
        window_hits += hits[at]
        if hits[at] or (attempts[at] and is_breaching):
            so_far = window_attempts, window_hits
            before = 0 if is_breaching else unseen
            new = Increment(1000 * at, attempts[at], hits[at], before, lambda _, seen=so_far: seen)  # type: ignore[misc]
            unseen = 0
            for turn in states.add(0, new, hold):
                is_breaching = turn.begins
                if turn.begins:
                    alerts.append(Alert(at, None))
                else:
                    alerts[-1] = Alert(alerts[-1].fired, at)
        else:
            unseen += attempts[at]
        if at >= start:
            figures = states.figures(0)
            noted[0, at - start] = figures.baseline_rate or 0.0
            noted[1, at - start] = figures.others.get("evidence", 0.0)
            noted[2, at - start] = figures.others.get("evidence_needed", np.nan)
    return Trace(start, noted[0], noted[1], noted[2], alerts)
