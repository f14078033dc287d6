"""Alert transitions: each decided once, and none missing."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

from tests.chaos.operators import Answered
from tests.support.topics import Read

Scope: TypeAlias = tuple[str, str, str | None, str | None]
"""Rule, campaign, treatment, channel."""
FIRING, REMINDER = "campaign.alert.firing", "campaign.alert.reminder"
ACKNOWLEDGED = "campaign.alert.acknowledged"
ENDS = {"campaign.alert.resolved", "campaign.alert.expired"}
SOUND_ROUNDS = 2
"""So many rounds after it was last broken, a campaign's alert must be over."""


class AlertLedger:
    """The transitions on the alerts topic, in order, and what is wrong with them.

    Args:
        rules: the names of all rules; each has an alert of what is broken.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = tuple(rules)
        self.transitions = 0
        self.values: dict[tuple[str, int], Any] = {}
        """By alert and sequence, what was written."""
        self._sequences: dict[str, int] = {}
        self._live: dict[Scope, str] = {}
        self._acknowledged: set[str] = set()
        """The alerts that fire and are acknowledged."""
        self._acknowledgements: set[Answered] = set()
        self._problems: list[str] = []

    def take(self, record: Read) -> None:
        """Read one transition; those of one campaign come in order."""
        self.transitions += 1
        value = orjson.loads(record.value or b"")
        data = value["data"]
        alert_id, sequence = data["alert_id"], data["sequence"]
        expected = self._sequences.get(alert_id, 0) + 1
        if sequence != expected:
            self._wrong(value, f"sequence {expected} was to come")
        self._sequences[alert_id] = sequence
        self.values[alert_id, sequence] = value
        scope = data["rule"], data["campaign_id"], data["treatment_id"], data["channel_type"]
        self._follow(value, scope)

    def _follow(self, value: Any, scope: Scope) -> None:
        alert_id, live = value["data"]["alert_id"], self._live.get(scope)
        if value["type"] == FIRING:
            # One that was silenced says so once more when it is told.
            if live not in {None, alert_id}:
                self._wrong(value, f"{live} still fires")
            self._live[scope] = alert_id
            self._acknowledged.discard(alert_id)
        elif live != alert_id:
            self._wrong(value, f"{live} fires, not this one")
        elif value["type"] in ENDS:
            del self._live[scope]
        elif alert_id in self._acknowledged:
            self._wrong(value, "it is acknowledged")
        elif value["type"] == ACKNOWLEDGED:
            self._acknowledged.add(alert_id)
            by = value["data"]["acknowledged"]["by"]
            self._acknowledgements.add(Answered(alert_id, by))
        elif value["type"] != REMINDER:
            self._wrong(value, "no such type")

    def _wrong(self, value: Any, why: str) -> None:
        data = value["data"]
        self._problems.append(
            f"{value['type']} {data['sequence']} of {data['alert_id']} "
            f"({data['rule']}, {data['campaign_id']}) at {value['timestamp']}: {why}"
        )

    @property
    def live(self) -> set[str]:
        """The ids of the alerts that fire."""
        return set(self._live.values())

    def missing(self, answered: set[Answered]) -> list[str]:
        """Return what workers said was acknowledged, and is not."""
        return [
            f"{each.alert_id} is not acknowledged by {each.by}, as was answered"
            for each in sorted(answered - self._acknowledgements)
        ]

    def problems(
        self,
        firing: set[str],
        broken: frozenset[str],
        sound: frozenset[str],
        often: frozenset[str] = frozenset(),
    ) -> list[str]:
        """Return what is wrong, each thing once.

        Args:
            firing: ids of the alerts that fire, as a worker says.
            broken: campaigns that failed all through this round.
            sound: campaigns that have not failed for long.
            often: campaigns that failed all through this round, and in many others: that may be
                usual by now to some rule.
        """
        live = {(scope[0], scope[1]) for scope in self._live}
        alerts = [(rule, each) for rule in self._rules for each in sorted(broken | sound)]
        found, self._problems = self._problems, []
        found += [f"{each} fires on the topic, not in the API" for each in self.live - firing]
        found += [f"{each} fires in the API, not on the topic" for each in firing - self.live]
        for each in sorted(often):
            if not any((rule, each) in live for rule in self._rules):
                found.append(f"no alert of {each}, which is broken")
        for rule, each in alerts:
            is_live = (rule, each) in live
            if each in broken and not is_live:
                found.append(f"no alert {rule} of {each}, which is broken")
            if each in sound and is_live:
                found.append(f"an alert {rule} of {each}, which is sound")
        return found
