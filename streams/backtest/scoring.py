"""How well rules find labelled incidents.

An alert finds an incident if it is of the incident's campaign, its rule has one of the incident's
statuses among its hits, and it fires in the incident or at most `window` after its end. An incident
is masked if none finds it, and one of such a rule was firing already when it began. An alert that
finds no incident is a false alarm; further alerts of one incident are not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from streams.backtest.episodes import Episode
from streams.backtest.labels import Label
from streams.domain.counts import StatusGroups
from streams.domain.rules import Rule


class Outcome(NamedTuple):
    """What became of one incident.

    Attributes:
        label: the incident.
        after_ms: when it was found, from its start on; null if it was not.
        masked: whether an alert that was firing already hid it.
    """

    label: Label
    after_ms: int | None
    masked: bool


@dataclass(frozen=True, slots=True)
class Score:
    """How well rules did.

    Attributes:
        outcomes: of each incident.
        false_alarms: the alerts that found none.
        alerts: how many there were in all.
        campaign_days: days of windows in which campaigns had counts.
        left_out: how many labels are of other times than the arrivals.
    """

    outcomes: list[Outcome]
    false_alarms: list[Episode]
    alerts: int
    campaign_days: float
    left_out: int

    @property
    def found(self) -> int:
        """How many incidents were found."""
        return sum(each.after_ms is not None for each in self.outcomes)

    @property
    def masked(self) -> int:
        """How many were not, as an alert was firing already."""
        return sum(each.masked for each in self.outcomes)

    @property
    def recall(self) -> float | None:
        """The share of incidents that were found; null without any."""
        return self.found / len(self.outcomes) if self.outcomes else None

    @property
    def precision(self) -> float | None:
        """The share of alerts that are no false alarms; null without any."""
        return 1 - len(self.false_alarms) / self.alerts if self.alerts else None

    @property
    def false_alarms_a_day(self) -> float | None:
        """False alarms per campaign and day; null where no campaign had counts."""
        return len(self.false_alarms) / self.campaign_days if self.campaign_days else None

    @property
    def delays_s(self) -> tuple[float, float] | None:
        """Median and 90th percentile (s) of the time to detect; null if nothing was found."""
        delays = sorted(each.after_ms / 1000 for each in self.outcomes if each.after_ms is not None)
        if not delays:
            return None
        # The nearest rank.
        rank = max(0, -(-len(delays) * 9 // 10) - 1)
        return median(delays), delays[rank]


class Scorer:
    """Scores the alerts of one configuration.

    Args:
        rules: the rules.
        groups: which group each status is in.
        window_ms: how long (ms) after an incident an alert may fire that finds it.
    """

    def __init__(self, rules: Iterable[Rule], groups: StatusGroups, window_ms: int) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._groups = groups
        self._window_ms = window_ms

    def score(
        self,
        labels: Sequence[Label],
        episodes: Sequence[Episode],
        span: tuple[int, int],
        campaign_days: float,
    ) -> Score:
        """Score alerts.

        Args:
            labels: incidents and decoys.
            episodes: the alerts.
            span: times (ms, UTC) of the first and of the last arrival.
            campaign_days: days of windows in which campaigns had counts.
        """
        first, last = span
        within = [each for each in labels if each.start_ms <= last and each.end_ms > first]
        incidents = [each for each in within if not each.decoy]
        by_campaign: dict[str, list[Episode]] = {}
        for episode in episodes:
            by_campaign.setdefault(episode.first.campaign_id, []).append(episode)
        of_incidents: set[int] = set()
        outcomes = []
        for label in incidents:
            alike = [
                each for each in by_campaign.get(label.campaign_id, ()) if self._sees(each, label)
            ]
            found = [each for each in alike if self._finds(each, label)]
            of_incidents.update(id(each) for each in found)
            outcomes.append(_outcome(label, alike, found))
        false_alarms = [each for each in episodes if id(each) not in of_incidents]
        left_out = len(labels) - len(within)
        return Score(outcomes, false_alarms, len(episodes), campaign_days, left_out)

    def _sees(self, episode: Episode, label: Label) -> bool:
        rule = self._rules[episode.first.rule]
        return any(rule.is_hit(status, self._groups) for status in label.statuses)

    def _finds(self, episode: Episode, label: Label) -> bool:
        return label.start_ms <= episode.fired_at <= label.end_ms + self._window_ms


def _outcome(label: Label, alike: Iterable[Episode], found: Sequence[Episode]) -> Outcome:
    if found:
        return Outcome(label, min(each.fired_at for each in found) - label.start_ms, False)
    masked = any(
        each.fired_at < label.start_ms and (each.ended_at is None or each.ended_at > label.start_ms)
        for each in alike
    )
    return Outcome(label, None, masked)
