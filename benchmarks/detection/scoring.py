"""Alerts compared with the labels of the traffic that they are about."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.traffic import DAY, STEP_LIKE, Campaign, Hit, Incident, Run

GRACE = 60
"""Seconds after the end of an incident: an alert that fires until then is the incident's."""
MUCH = 60.0
"""Attempts a minute during an incident: the figures of step-like ones are about these."""
BIG = 0.3
"""A rise of the rate by as much, as a share, is big."""
LITTLE_SPREAD = 0.01
"""Campaigns with a smaller rho are counted apart."""
_Z = 1.959963984540054
"""Of an interval of 95 %."""
_RESAMPLES = 1_000


class Alert(NamedTuple):
    """From firing to its end, in seconds of the run; no end if it was live at the end."""

    fired: int
    ended: int | None


class Interval(NamedTuple):
    """An estimate, and the ends of its interval of 95 %."""

    value: float
    low: float
    high: float


class Outcome(NamedTuple):
    """What became of an incident.

    Attributes:
        campaign: whose it is.
        incident: the incident.
        detected_after: seconds from its start to the first alert of its own; null for none.
        masked: whether an alert was firing already when it began.
        ended_after: seconds from its end to that of the alert which was live then; null for none.
        alerts: that fired for it.
    """

    campaign: Campaign
    incident: Incident
    detected_after: int | None
    masked: bool
    ended_after: int | None
    alerts: int


class FalseAlert(NamedTuple):
    """An alert that is no incident's, also of one that is not wanted."""

    campaign: Campaign
    hit: Hit
    fired: int


@dataclass
class Scores:
    """What came of many runs.

    Attributes:
        outcomes: of the incidents that are wanted.
        false: alerts of no incident.
        days: campaign-days of each campaign, and false alerts in it: what is resampled.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    false: list[FalseAlert] = field(default_factory=list)
    days: list[tuple[Campaign, float, int]] = field(default_factory=list)

    def add(self, run: Run, alerts: Mapping[Hit, Sequence[Alert]]) -> None:
        """Score a run, with the alerts of each kind of hit in order of time."""
        found = 0
        for hit, fired in alerts.items():
            mine = [each for each in run.incidents if each.hit is hit]
            for incident in mine:
                if incident.wanted:
                    self.outcomes.append(_outcome(run, incident, fired))
            false = [each for each in fired if not any(_is_of(each, one) for one in mine)]
            self.false += [FalseAlert(run.campaign, hit, each.fired) for each in false]
            found += len(false)
        self.days.append((run.campaign, run.seconds / DAY, found))

    def extend(self, more: "Scores") -> None:
        """Add the scores of further runs."""
        self.outcomes += more.outcomes
        self.false += more.false
        self.days += more.days

    def where(self, chosen: Callable[[Campaign], bool]) -> "Scores":
        """Return the scores of some campaigns."""
        return Scores(
            [each for each in self.outcomes if chosen(each.campaign)],
            [each for each in self.false if chosen(each.campaign)],
            [each for each in self.days if chosen(each[0])],
        )

    def of_incidents(self, chosen: Callable[[Incident], bool]) -> "Scores":
        """Return the scores of some incidents, with all false alerts."""
        outcomes = [each for each in self.outcomes if chosen(each.incident)]
        return Scores(outcomes, self.false, self.days)

    @property
    def detected(self) -> list[Outcome]:
        """Incidents with an alert of their own."""
        return [each for each in self.outcomes if each.detected_after is not None]

    @property
    def recall(self) -> Interval:
        """Share of the incidents that were detected."""
        return share(len(self.detected), len(self.outcomes))

    @property
    def precision(self) -> Interval:
        """Share of the alerts that were of an incident which is wanted, without grey ones."""
        right = sum(each.alerts for each in self.outcomes)
        return share(right, right + len(self.false))

    @property
    def false_a_day(self) -> Interval:
        """False alerts per campaign-day, of all rules together.

        False alerts come in groups: the wider of the exact interval of a Poisson rate and that of
        resampled campaigns.
        """
        days = np.array([each[1] for each in self.days])
        false = np.array([each[2] for each in self.days])
        if not len(days):
            return Interval(float("nan"), 0.0, float("inf"))
        exact = poisson_rate(int(false.sum()), float(days.sum()))
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(days), (_RESAMPLES, len(days)))
        rates = false[drawn].sum(axis=1) / days[drawn].sum(axis=1)
        low, high = np.quantile(rates, [0.025, 0.975])
        return Interval(exact.value, min(exact.low, float(low)), max(exact.high, float(high)))

    @property
    def detection_times(self) -> list[int]:
        """Seconds from the start of incidents to their alert, of those that were detected."""
        return [each.detected_after for each in self.outcomes if each.detected_after is not None]

    @property
    def end_times(self) -> list[int]:
        """Seconds from the end of incidents to that of their alert."""
        return [each.ended_after for each in self.outcomes if each.ended_after is not None]

    @property
    def big(self) -> "Scores":
        """Of the incidents by which the rate rises much."""
        return self.of_incidents(lambda each: each.peak - each.usual >= BIG)

    @property
    def steps(self) -> "Scores":
        """Of step-like incidents with many attempts."""
        return self.of_incidents(
            lambda each: (
                each.kind in STEP_LIKE and each.attempts * 60 >= MUCH * (each.end - each.start)
            )
        )

    @property
    def little_spread(self) -> "Scores":
        """Of campaigns whose rates are spread little."""
        return self.where(lambda campaign: campaign.rho < LITTLE_SPREAD)


def _is_of(alert: Alert, incident: Incident) -> bool:
    return incident.start <= alert.fired <= incident.end + GRACE


def _outcome(run: Run, incident: Incident, alerts: Sequence[Alert]) -> Outcome:
    own = [each for each in alerts if _is_of(each, incident)]
    masked = any(
        each.fired < incident.start and (each.ended is None or each.ended > incident.start)
        for each in alerts
    )
    ended_after = None
    if own:
        ended = run.seconds if own[-1].ended is None else own[-1].ended
        if own[-1].fired <= incident.end <= ended:
            ended_after = ended - incident.end
    return Outcome(
        campaign=run.campaign,
        incident=incident,
        detected_after=own[0].fired - incident.start if own else None,
        masked=masked,
        ended_after=ended_after,
        alerts=len(own),
    )


def share(hits: int, attempts: int) -> Interval:
    """Return a proportion with its Wilson score interval."""
    if not attempts:
        return Interval(float("nan"), 0.0, 1.0)
    rate, square = hits / attempts, _Z * _Z / attempts
    middle = (rate + square / 2.0) / (1.0 + square)
    spread = _Z * sqrt(rate * (1.0 - rate) / attempts + square / (4.0 * attempts)) / (1.0 + square)
    return Interval(rate, max(0.0, middle - spread), min(1.0, middle + spread))


def poisson_rate(events: int, time: float) -> Interval:
    """Return events a unit of time with the exact interval.

    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936): the means at
    which as many events or more, or as many or fewer, have a probability of 2.5 %.
    """
    most = 10.0 * events + 20.0
    low = _root(lambda mean: 1.0 - _poisson(events - 1, mean) - 0.025, most) if events else 0.0
    high = _root(lambda mean: 0.025 - _poisson(events, mean), most)
    return Interval(events / time, low / time, high / time)


def _poisson(events: int, mean: float) -> float:
    """Return the probability of at most as many events."""
    if mean <= 0.0:
        return 1.0
    return sum(exp(at * log(mean) - mean - lgamma(at + 1)) for at in range(events + 1))


def _root(rising: Callable[[float], float], most: float) -> float:
    low, high = 0.0, most
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (low, middle) if rising(middle) > 0.0 else (middle, high)
    return (low + high) / 2.0


def quantile(times: Iterable[int], at: float) -> Interval:
    """Return a quantile with the interval of resampled times."""
    values: NDArray[np.float64] = np.array(list(times), dtype=np.float64)
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    drawn = np.quantile(rng.choice(values, (_RESAMPLES, len(values))), at, axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(np.quantile(values, at)), float(low), float(high))
