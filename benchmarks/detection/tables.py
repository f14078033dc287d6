"""Scores as tables: by detector, and by what campaigns and incidents are like."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import NamedTuple

from benchmarks.detection.scoring import Interval, Scores, quantile
from benchmarks.detection.traffic import Campaign, Incident, Kind

HEAD = (
    "detector",
    "recall",
    "rise >= .3",
    "precision",
    "false alarms a day",
    "of little spread",
    "found, median / 90 %",
    "step, median / 90 %",
    "end, median / 90 %",
)
"""Times in seconds; "step": step-like incidents with 60 attempts a minute or more."""
GROUP_HEAD = ("", "incidents", "recall", "false alarms a day", "found, median / 90 %", "end")


class Band(NamedTuple):
    """Campaigns of one table's row: from `low` to below `high`."""

    name: str
    low: float
    high: float


RHOS = (
    Band("0", 0.0, 1e-9),
    Band("to .003", 1e-9, 0.003),
    Band(".003 to .01", 0.003, 0.01),
    Band(".01 to .03", 0.01, 0.03),
    Band(".03 to .05", 0.03, 1.0),
)
USUAL = (
    Band(".1 to .5 %", 0.0, 0.005),
    Band(".5 to 2 %", 0.005, 0.02),
    Band("2 to 8 %", 0.02, 0.08),
    Band("8 to 25 %", 0.08, 1.0),
)
VOLUMES = (
    Band("5 to 20 a minute", 0.0, 20.0),
    Band("20 to 60", 20.0, 60.0),
    Band("60 to 300", 60.0, 300.0),
    Band("300 to 1,500", 300.0, 1500.0),
    Band("1,500 to 5,000", 1500.0, 1e9),
)


def row(name: str, scores: Scores) -> Sequence[str]:
    """Return what a detector did, under `HEAD`."""
    return (
        name,
        of_interval(scores.recall),
        of_interval(scores.big.recall),
        of_interval(scores.precision),
        of_interval(scores.false_a_day, 4),
        of_interval(scores.little_spread.false_a_day, 4),
        of_times(scores.detection_times),
        of_times(scores.steps.detection_times),
        of_times(scores.end_times),
    )


def by_band(
    scores: Scores, bands: Iterable[Band], of: Callable[[Campaign], float]
) -> list[list[str]]:
    """Return a row for the campaigns of each band, under `GROUP_HEAD`."""
    parts = [(band.name, scores.where(_inside(band, of))) for band in bands]
    return [_group(name, part, of_interval(part.false_a_day, 4)) for name, part in parts]


def _inside(band: Band, of: Callable[[Campaign], float]) -> Callable[[Campaign], bool]:
    return lambda campaign: band.low <= of(campaign) < band.high


def by_kind(scores: Scores) -> list[list[str]]:
    """Return a row for the incidents of each kind, under `GROUP_HEAD`."""
    return [_group(kind.value, scores.of_incidents(_is_of(kind)), "") for kind in Kind]


def _is_of(kind: Kind) -> Callable[[Incident], bool]:
    return lambda incident: incident.kind is kind


def _group(name: str, part: Scores, false: str) -> list[str]:
    return [
        name,
        str(len(part.outcomes)),
        of_interval(part.recall),
        false,
        of_times(part.detection_times),
        of_times(part.end_times),
    ]


def of_interval(found: Interval, digits: int = 3) -> str:
    """Write an estimate with its interval, or that there is nothing to estimate it from."""
    if isnan(found.value):
        return "-"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def of_times(times: Sequence[int]) -> str:
    """Write the median and the quantile .9, each with its interval, if there are any times."""
    if not times:
        return "-"
    parts = [quantile(times, at) for at in (0.5, 0.9)]
    return " / ".join(f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}]" for each in parts)
