"""The last stage: a delivery for each receiver in the outbox."""

import msgspec

from streams.domain import transitions
from streams.domain.deliveries import Delivery, Outbox, decided
from streams.domain.notification.stage import Notification, Stage
from streams.domain.transitions import AlertData


def enqueue(outbox: Outbox) -> Stage:
    """Return the stage that adds to an outbox."""

    def stage(notification: Notification, now: float) -> Notification:
        encoded = msgspec.Raw(transitions.encode(notification.transition))
        for receiver in notification.receivers:
            outbox.add(delivery_of(notification.transition.data, receiver, encoded, now))
        return notification

    return stage


def delivery_of(data: AlertData, receiver: str, transition: msgspec.Raw, now: float) -> Delivery:
    """Return a delivery of a transition, enqueued at `now` (s, UTC)."""
    return decided(data.alert_id, data.sequence, receiver, transition, now, data.campaign_id)
