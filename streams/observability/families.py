"""Families of metrics: named alike, in one registry."""

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

PREFIX = "campaign_streams"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of histograms of durations."""


class Family(NamedTuple):
    """A family of metrics, for its description.

    Attributes:
        name: as it is exposed.
        kind: counter, gauge or histogram.
        labels: their names.
        about: what it says.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


class Families:
    """Makes families of metrics; `PREFIX` begins the name of each.

    From the first one on, no metric of the process has its time of creation beside it (`_created`):
    in Prometheus' text format that is one more series for each, on a page that has hundreds.

    Attributes:
        registry: has all of them.
        made: describes each of them, in the order in which they were made.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
        self.registry = CollectorRegistry()
        self.made: list[Family] = []

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        """Make a counter; `_total` is added to its name."""
        full = self._describe(name, "counter", labels, about)
        return Counter(full, about, labels, registry=self.registry)

    def gauge(self, name: str, about: str, *labels: str) -> Gauge:
        """Make a gauge."""
        full = self._describe(name, "gauge", labels, about)
        return Gauge(full, about, labels, registry=self.registry)

    def histogram(
        self, name: str, about: str, *labels: str, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        """Make a histogram of durations."""
        full = self._describe(name, "histogram", labels, about)
        return Histogram(full, about, labels, registry=self.registry, buckets=tuple(buckets))

    def _describe(self, name: str, kind: str, labels: tuple[str, ...], about: str) -> str:
        full = f"{PREFIX}_{name}"
        exposed = f"{full}_total" if kind == "counter" else full
        self.made.append(Family(exposed, kind, labels, about))
        return full
