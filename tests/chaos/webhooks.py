"""Webhooks: every transition that is told arrives, in order, and nothing that is silenced does."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from tests.chaos.alerts import ACKNOWLEDGED, ENDS, FIRING
from tests.chaos.silences import Silences

Step: TypeAlias = tuple[str, int]
"""Alert and sequence."""
MOST_STEPS = 24
"""So many transitions of an alert the API has: the first one and the newest."""


class Took(Protocol):
    """A receiver: what was sent to it, what it took, in order, and the bodies under each id."""

    @property
    def sent(self) -> list[Any]: ...
    @property
    def accepted(self) -> list[Any]: ...
    @property
    def bodies(self) -> dict[str, set[bytes]]: ...


class Decided(NamedTuple):
    """Who was left out of a transition, as the API says: everybody, if `suppressed` says why."""

    suppressed: Any
    withheld: frozenset[str]


class History:
    """What the API has said of each transition, also of those that it does not show any more."""

    def __init__(self) -> None:
        self.alerts: list[Any] = []
        """All alerts, as they are now."""
        self._decided: dict[Step, Decided] = {}
        self._forgetful: set[str] = set()

    def take(self, alerts: list[Any]) -> None:
        """Read what the API says now."""
        self.alerts = alerts
        for alert in alerts:
            steps = alert["transitions"]
            if len(steps) >= MOST_STEPS:
                self._forgetful.add(alert["alert_id"])
            for step in steps:
                withheld = frozenset(each["receiver"] for each in step.get("withheld", ()))
                decided = Decided(step["suppressed"], withheld)
                self._decided[alert["alert_id"], step["sequence"]] = decided

    def get(self, step: Step) -> Decided | None:
        """Return what was decided about a transition; null if the API never had it."""
        return self._decided.get(step)

    def may_have_forgotten(self, step: Step) -> bool:
        """Tell whether the API may have had a transition meanwhile."""
        return step not in self._decided and step[0] in self._forgetful


class Webhooks:
    """Compares what a receiver was sent with the transitions and with the silences.

    Args:
        receiver: is told of each alert.
        silences: that there were.
    """

    def __init__(self, receiver: Took, silences: Silences) -> None:
        self._receiver = receiver
        self._silences = silences

    def wrong(self, history: History, transitions: dict[Step, Any]) -> Iterator[str]:
        """Yield what is wrong, or has not arrived yet.

        Args:
            history: what the API says.
            transitions: all that are on the alerts topic.
        """
        yield from self._wrong_in_alerts(history, transitions)
        yield from wrong_in_order(self._receiver.accepted)
        yield from wrong_ids(self._receiver)
        for value in self._receiver.sent:
            yield from wrongly_sent(value, history, transitions)
        for alert in history.alerts:
            yield from self._kept(alert)

    def _wrong_in_alerts(self, history: History, transitions: dict[Step, Any]) -> Iterator[str]:
        accepted = {step_of(value) for value in self._receiver.accepted}
        told, fires = set[str](), set[str]()
        for step, value in sorted(transitions.items(), key=lambda each: each[0]):
            decided = history.get(step)
            if decided is None:
                if not history.may_have_forgotten(step):
                    yield f"{named(value)} is not in the API"
            elif decided.suppressed is not None:
                yield from self._wrongly_suppressed(value, decided.suppressed, told)
            else:
                if value["type"] == FIRING and step[0] in fires:
                    yield f"{named(value)} was told to fire before"
                told.add(step[0])
                if value["type"] == FIRING:
                    fires.add(step[0])
                if step not in accepted:
                    yield f"{named(value)} was never told"
                if self._silences.surely_silenced(*_when(value)):
                    yield f"{named(value)} is not suppressed, though it is silenced"
            if value["type"] in ENDS:
                # It may come back.
                told.discard(step[0])
                fires.discard(step[0])

    def _wrongly_suppressed(self, value: Any, why: Any, told: set[str]) -> Iterator[str]:
        if why["reason"] == "silenced":
            if not self._silences.may_be_silenced(*_when(value)):
                yield f"{named(value)} is silenced by nothing: {why}"
        elif why["reason"] == "not-supported" and value["type"] == ACKNOWLEDGED:
            pass
        elif not (
            why["reason"] == "not-notified"
            and value["type"] in {ACKNOWLEDGED, *ENDS}
            and value["data"]["alert_id"] not in told
        ):
            yield f"{named(value)} is suppressed: {why}"

    def _kept(self, alert: Any) -> Iterator[str]:
        """Look for an alert that fires, is silenced by nothing, and was not told for that."""
        if alert["state"] != "firing" or not alert["transitions"]:
            return
        if alert.get("acknowledged") is not None and _is_told(alert["transitions"]):
            return  # there are no reminders of it
        why = alert["transitions"][-1]["suppressed"]
        silenced = self._silences.may_be_silenced(alert["campaign_id"], time.time())
        if why is not None and why["reason"] == "silenced" and not silenced:
            yield f"{alert['alert_id']} of {alert['campaign_id']} is silenced by nothing any more"


def _is_told(steps: list[Any]) -> bool:
    """Tell whether anybody was told that an alert fires, the last time that it began to."""
    told = False
    for step in steps:
        if step["type"] in ENDS:
            told = False
        elif step["type"] == FIRING and step["suppressed"] is None:
            told = True
    return told


def wrongly_sent(value: Any, history: History, transitions: dict[Step, Any]) -> Iterator[str]:
    """Look for what was sent of an alert, and was not to be."""
    step = step_of(value)
    decided = history.get(step)
    if value != transitions.get(step):
        yield f"{named(value)} was sent, and is not what the alerts topic has"
    elif decided is not None and decided.suppressed is not None:
        yield f"{named(value)} was sent, though it is {decided.suppressed}"


def wrong_in_order(accepted: Iterable[Any]) -> Iterator[str]:
    """Look for ends that were told before the alert was."""
    newest: dict[str, int] = {}
    for value in accepted:
        alert_id, sequence = step_of(value)
        before = newest.get(alert_id, 0)
        newest[alert_id] = max(before, sequence)
        if value["type"] in ENDS and not before:
            yield f"{named(value)} was told before its firing"


def wrong_ids(receiver: Took) -> Iterator[str]:
    """Look for an id with several bodies."""
    for webhook_id, bodies in receiver.bodies.items():
        if len(bodies) > 1:
            yield f"webhook {webhook_id} has {len(bodies)} bodies: {sorted(bodies)}"


def step_of(value: Any) -> Step:
    """Return what names a transition of an alert."""
    return value["data"]["alert_id"], value["data"]["sequence"]


def _when(value: Any) -> tuple[str, float]:
    """Return the campaign of a transition, and its time (s)."""
    return value["data"]["campaign_id"], datetime.fromisoformat(value["timestamp"]).timestamp()


def named(value: Any) -> str:
    """Name a transition of an alert for people."""
    data = value["data"]
    return (
        f"{value['type']} {data['sequence']} of {data['alert_id']} "
        f"({data['rule']}, {data['campaign_id']}) at {value['timestamp']}"
    )
