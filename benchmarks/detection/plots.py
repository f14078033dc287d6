"""Plots of single incidents: counts, rate and baseline, evidence, and what each detector said when.

python -m benchmarks.detection.plots 8 18 37
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import table
from benchmarks.detection import traffic
from benchmarks.detection.drawing import Chart, Line, Panel
from benchmarks.detection.scoring import Alert
from benchmarks.detection.trace import Trace, trace
from benchmarks.detection.traffic import Incident, Rates, Run, Split
from benchmarks.detection.usual import USUAL, Seconds
from streams.domain.detectors.folding import FoldingDetector
from streams.domain.detectors.spike import Spike

BEFORE, AFTER = 300, 600
"""Seconds that are shown before an incident begins, and after it ends."""
LONGEST = 3_600
"""Seconds of an incident that are shown."""
OURS = "spike"


def main() -> None:
    """Draw the incidents of some campaigns, a file each."""
    parser = argparse.ArgumentParser("python -m benchmarks.detection.plots", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="+", help="numbers of campaigns")
    parser.add_argument("--split", type=Split, default=Split.TEST, help="train or test")
    parser.add_argument("--into", type=Path, default=table.RESULTS, help="directory")
    options = parser.parse_args()
    options.into.mkdir(exist_ok=True)
    for number in options.numbers:
        run = traffic.run(options.split, number)
        for incident, drawn in drawings(run, Spike()):
            path = options.into / f"{options.split}-{number}-{incident.start}.svg"
            path.write_text(drawn)
            sys.stdout.write(f"{path}\n")


def drawings(run: Run, detector: FoldingDetector) -> Iterator[tuple[Incident, str]]:
    """Yield the incidents of a run, each with its plot as SVG."""
    for incident in run.incidents:
        start = max(0, incident.start - BEFORE)
        end = min(run.seconds, min(incident.end, incident.start + LONGEST) + AFTER)
        traced = trace(detector, run, incident.hit, start, end)
        said = {OURS: traced.alerts, **_said(run, incident, end)}
        yield incident, _draw(run, incident, traced, end, said)


def _said(run: Run, incident: Incident, end: int) -> dict[str, list[Alert]]:
    """Return the alerts of the usual detectors, as they are commonly set, up to a second."""
    seconds = Seconds(run.attempts[:end], run.hits(incident.hit)[:end])
    return {f"{each.name} {each.shown:g}": each.alerts(seconds, each.shown) for each in USUAL}


def _draw(
    run: Run, incident: Incident, traced: Trace, end: int, said: dict[str, list[Alert]]
) -> str:
    start, hit = traced.start, incident.hit
    what = run.campaign
    title = (
        f"{incident.kind.value}: {hit.value} to {100 * incident.peak:.0f} % from "
        f"{100 * incident.usual:.2g} %, {what.volume:.0f} attempts a minute, "
        f"dispersion {what.rho:.3f}"
    )
    shaded = [(each.start, each.end) for each in run.incidents if each.hit is hit]
    chart = Chart(title, start, end, incident.start, shaded)
    bin_seconds = max(1, (end - start) // 240)
    at, attempts = _binned(run.attempts[start:end], start, bin_seconds)
    _, hits = _binned(run.hits(hit)[start:end], start, bin_seconds)
    seconds = np.arange(start, start + len(traced.usual), dtype=np.float64)
    chart.add(
        Panel(
            f"attempts and hits in {bin_seconds} s",
            [
                Line("attempts", at, attempts, "#9ca3af", filled=True),
                Line("hits", at, hits, "#dc2626", filled=True),
            ],
        )
    )
    rate = np.where(attempts > 0.0, hits / np.maximum(attempts, 1.0), np.nan)
    chart.add(
        Panel(
            "rate",
            [
                Line("rate", at, rate, "#dc2626"),
                Line("usual rate, learned", seconds, traced.usual, "#2563eb"),
            ],
        )
    )
    chart.add(
        Panel(
            "evidence, nats",
            [
                Line("evidence", seconds, traced.evidence, "#dc2626"),
                Line("needed", seconds, traced.needed, "#2563eb"),
            ],
        )
    )
    chart.add_alerts(said)
    return chart.svg()


def _binned(counts: traffic.Counts, start: int, size: int) -> tuple[Rates, Rates]:
    """Return the middles of spans of some seconds, and the counts in each."""
    whole = len(counts) // size * size
    sums = counts[:whole].reshape(-1, size).sum(axis=1).astype(np.float64)
    middles = start + size * (np.arange(len(sums), dtype=np.float64) + 0.5)
    return middles, sums


if __name__ == "__main__":
    main()
