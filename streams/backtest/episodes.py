"""The alerts that transitions are of: when each began and ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple, TypeAlias

from streams.backtest.task import Decided
from streams.domain.transitions import AlertData

Ending: TypeAlias = Literal["resolved", "expired"]
_FIRING, _REMINDER = "campaign.alert.firing", "campaign.alert.reminder"
_ENDINGS: dict[str, Ending] = {
    "campaign.alert.resolved": "resolved",
    "campaign.alert.expired": "expired",
}


@dataclass(slots=True)
class Episode:
    """One alert, from its firing on. Times are those of commits (ms, UTC).

    Attributes:
        first: the alert as it was when it fired.
        fired_at: when it fired.
        ended_at: when it ended; null if it was firing at the end.
        ending: how it ended; null likewise.
        reminders: how many there were.
    """

    first: AlertData
    fired_at: int
    ended_at: int | None = None
    ending: Ending | None = None
    reminders: int = 0

    @property
    def about(self) -> tuple[str, str, str | None, str | None]:
        """Rule, campaign, treatment and channel: there is one alert of these at a time."""
        data = self.first
        return data.rule, data.campaign_id, data.treatment_id, data.channel_type


class RuleSummary(NamedTuple):
    """What one rule said.

    Attributes:
        rule: its name.
        alerts: how many alerts fired.
        campaigns: in how many campaigns.
        resolved: how many of the alerts ended so.
        expired: likewise.
        firing: how many were firing at the end.
        reminders: how many reminders there were.
        median_s: how long (s) half of the alerts that ended were firing at most; null for none.
    """

    rule: str
    alerts: int
    campaigns: int
    resolved: int
    expired: int
    firing: int
    reminders: int
    median_s: float | None


class Episodes:
    """The alerts of one backtest.

    Attributes:
        all: in the order in which they fired.
    """

    def __init__(self) -> None:
        self.all: list[Episode] = []
        self._firing: dict[str, Episode] = {}

    def add(self, decided: Decided) -> None:
        """Take the next transition."""
        at, transition = decided
        data = transition.data
        if transition.type == _FIRING:
            episode = self._firing[data.alert_id] = Episode(data, at)
            self.all.append(episode)
        elif transition.type in _ENDINGS:
            episode = self._firing.pop(data.alert_id)
            episode.ended_at, episode.ending = at, _ENDINGS[transition.type]
        elif transition.type == _REMINDER:
            self._firing[data.alert_id].reminders += 1

    def by_rule(self, rules: Iterable[str]) -> list[RuleSummary]:
        """Return what each of the rules said."""
        return [_summary(rule, [e for e in self.all if e.first.rule == rule]) for rule in rules]


def _summary(rule: str, episodes: list[Episode]) -> RuleSummary:
    lasted = [each.ended_at - each.fired_at for each in episodes if each.ended_at is not None]
    endings = [each.ending for each in episodes]
    return RuleSummary(
        rule,
        len(episodes),
        len({each.first.campaign_id for each in episodes}),
        endings.count("resolved"),
        endings.count("expired"),
        endings.count(None),
        sum(each.reminders for each in episodes),
        median(lasted) / 1000 if lasted else None,
    )
