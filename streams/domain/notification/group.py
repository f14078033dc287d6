"""Who is told of an alert in a group: receivers that group by cause or by labels.

The alert waits for a moment in its lane, which decides whether it has a cause or labels in common
with others (`streams.domain.causes`). If not, the lane delivers the transition as it was decided.
If so, a teller tells of it, and of its end, in a group.
"""

from typing import Protocol

from streams.domain.notification.stage import Notification, Stage, Suppressed

GROUPED = "grouped"


class Lane(Protocol):
    """Takes over what is told in groups."""

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        """Return the receivers that are notified of the transition by itself."""
        ...

    def why(self, alert_id: str) -> str:
        """Say why others are not, for people."""
        ...


def group(lane: Lane) -> Stage:
    """Return the stage that keeps from receivers what they are told of in a group."""

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        receivers = lane.take_over(notification, now)
        if not receivers:
            return Suppressed(GROUPED, lane.why(notification.transition.data.alert_id))
        return notification._replace(receivers=receivers)

    return stage
