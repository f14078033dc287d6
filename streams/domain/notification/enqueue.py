"""The last stage: a delivery for each receiver in the outbox."""

import msgspec

from streams.domain import transitions
from streams.domain.deliveries import Delivery, Outbox, delivery_id_of
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
    return Delivery(
        delivery_id=delivery_id_of(data.alert_id, data.sequence, receiver),
        webhook_id=f"{data.alert_id}.{data.sequence}",
        receiver=receiver,
        campaign_id=data.campaign_id,
        alert_id=data.alert_id,
        sequence=data.sequence,
        transition=transition,
        created_at=now,
        next_attempt_at=now,
    )
