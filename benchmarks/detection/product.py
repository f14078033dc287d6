"""Labelled traffic through the product's own code, as a backtest runs it.

Campaigns of one batch begin at the same time, in one task. What a second has arrives at its
beginning.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from benchmarks.detection.scoring import Alert
from benchmarks.detection.traffic import Counts, Hit, Run
from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted import transitions_of
from streams.backtest.counted_lines import Counted, CountedLine
from streams.backtest.episodes import Episode, Episodes
from streams.configuration.models import Configuration

START = 1_767_225_600_000
"""When traffic begins (ms, UTC): with a window."""
STATUSES = {Hit.FAILURE: "FAILURE", Hit.THROTTLED: "THROTTLED"}
_SUCCESS = "SUCCESS"
_AT_ONCE = 600
"""Seconds whose lines are made at once."""


class Product:
    """The product with one configuration.

    Args:
        configuration: of the rules, and how often they are evaluated; the default is as shipped.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._settings = BacktestSettings.of(configuration or Configuration())

    @cached_property
    def hits_of(self) -> dict[str, Hit]:
        """What each rule calls a hit, by the rule's name.

        Raises:
            ValueError: a rule is not about one kind of hit.
        """
        found = {}
        for rule in self._settings.partition.rules:
            (found[rule.name],) = [hit for hit, name in STATUSES.items() if name in rule.statuses]
        return found

    def alerts(self, runs: Sequence[Run]) -> list[dict[Hit, list[Alert]]]:
        """Return the alerts of each run, by kind of hit, in the order in which they fired."""
        until = START + 1000 * max(run.seconds for run in runs)
        episodes = Episodes()
        for decided in transitions_of(_lines(runs), self._settings, until=until):
            episodes.add(decided)
        found: list[dict[Hit, list[Alert]]] = [{hit: [] for hit in Hit} for _ in runs]
        for episode in episodes.all:
            run = int(episode.first.campaign_id)
            alert = _alert(episode, runs[run].seconds)
            if alert is not None:
                found[run][self.hits_of[episode.first.rule]].append(alert)
        return found


def _alert(episode: Episode, seconds: int) -> Alert | None:
    """Return an alert in seconds of its run; one that fires after the run is none of it."""
    fired = (episode.fired_at - START) // 1000
    if fired >= seconds:
        return None
    if episode.ended_at is None or episode.ended_at >= START + 1000 * seconds:
        return Alert(fired, None)
    return Alert(fired, (episode.ended_at - START) // 1000)


def _lines(runs: Sequence[Run]) -> Iterator[CountedLine]:
    """Yield what arrives, in the order of time: the campaign's id is the position of its run."""
    names = [str(position) for position in range(len(runs))]
    apps = [str(run.campaign.app) for run in runs]
    known: dict[tuple[int, ...], list[Counted]] = {}
    for start in range(0, max(run.seconds for run in runs), _AT_ONCE):
        attempts = _columns([run.attempts[start : start + _AT_ONCE] for run in runs])
        hits = [
            (STATUSES[hit], _columns([run.hits(hit)[start : start + _AT_ONCE] for run in runs]))
            for hit in Hit
        ]
        seconds, positions = np.nonzero(attempts)
        sent = attempts[seconds, positions]
        found = [columns[seconds, positions] for _, columns in hits]
        of_each = zip(
            (START + 1000 * (start + seconds)).tolist(),
            positions.tolist(),
            zip((sent - sum(found)).tolist(), *[each.tolist() for each in found], strict=True),
            strict=True,
        )
        for second, at, numbers in of_each:
            counts = known.get(numbers)
            if counts is None:
                counts = known[numbers] = _counts(numbers)
            yield CountedLine(second, names[at], counts, apps[at])


def _counts(numbers: tuple[int, ...]) -> list[Counted]:
    """Return numbers of sends that are no hits and, in the order of `Hit`, of hits, as counts."""
    statuses = _SUCCESS, *[STATUSES[hit] for hit in Hit]
    return [
        (status, None, None, None, number)
        for status, number in zip(statuses, numbers, strict=True)
        if number
    ]


def _columns(parts: Sequence[Counts]) -> Counts:
    """Return counts as an array of a row for each second and a column for each run."""
    columns = np.zeros((max(map(len, parts)), len(parts)), np.int32)
    for at, part in enumerate(parts):
        columns[: len(part), at] = part
    return columns
