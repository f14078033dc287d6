"""Which alerts a receiver is to be told again that they fire, though nothing happened to them.

Some receivers take an alert to have ended if they hear nothing of it for a while. What they get
again is no transition: it has no sequence of its own, is not in the alert's history, and no record
says that it was sent. It follows from the alert's record and the outbox, so it goes on after a
restart and wherever the partition moves.
"""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.deliveries import Delivery, Outbox, delivery_id_of
from streams.domain.transitions import Transition, TransitionType, rfc3339

REMINDER: TransitionType = "campaign.alert.reminder"
FIRING: TransitionType = "campaign.alert.firing"
UNDELIVERED = frozenset({"pending", "given-up"})

Resent: TypeAlias = Transition
"""A reminder with the sequence of the alert's newest transition: what the alert is like now."""


class _Type(msgspec.Struct):
    type: TransitionType


_type_of = msgspec.json.Decoder(_Type).decode


def firing_at(receiver: str, alerts: AlertBook, deliveries: Outbox, now: float) -> Iterator[Resent]:
    """Return the alerts that fire, and that a receiver knows to fire, as they are at `now` (s).

    It knows that if it has a notification of the alert that is not older than the newest firing,
    and waits for none but reminders. A silenced alert that it was told of before is one of them: it
    fires on. Each alert is looked at when it is asked for, so one that has ended meanwhile is left
    out.

    Args:
        receiver: its name.
        alerts: of one partition.
        deliveries: of the same partition.
        now: wall-clock time (s, UTC).
    """
    for alert in alerts.live():
        if _is_known(alert, receiver, deliveries):
            yield Transition(REMINDER, rfc3339(now), alerts.describe(alert))


def _is_known(alert: Alert, receiver: str, deliveries: Outbox) -> bool:
    return (
        alert.state == "firing"
        and receiver in (alert.notified or ())
        and all(map(_is_reminder, deliveries.waiting(alert.alert_id, receiver)))
        and _was_delivered(alert, receiver, deliveries)
    )


def _is_reminder(delivery: Delivery) -> bool:
    return _type_of(delivery.transition).type == REMINDER


def _was_delivered(alert: Alert, receiver: str, deliveries: Outbox) -> bool:
    """Tell whether a receiver has a notification of an alert since the alert last began to fire.

    What is neither pending nor given up is delivered, in the outbox or not any more.
    """
    for step in reversed(alert.steps):
        found = deliveries.get(delivery_id_of(alert.alert_id, step.sequence, receiver))
        if step.suppressed is None and (found is None or found.state not in UNDELIVERED):
            return True
        if step.type == FIRING:
            return False
    return False
