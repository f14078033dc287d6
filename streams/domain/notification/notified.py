"""Who is notified of what comes of an alert: the receivers that were notified that it fires."""

from streams.domain.notification.stage import Notification, Stage, Suppressed
from streams.domain.transitions import FOLLOW_UPS

NOT_NOTIFIED = "not-notified"


def notified() -> Stage:
    """Return the stage that keeps ends and the like from those who do not know of the alert."""

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        del now
        known, kind = notification.notified, notification.transition.type
        if known is None or kind not in FOLLOW_UPS:
            return notification
        unaware = [name for name in notification.receivers if name not in known]
        if len(unaware) == len(notification.receivers):
            return Suppressed(NOT_NOTIFIED, "no receiver was notified that it fires")
        return notification.without(unaware, NOT_NOTIFIED, "it was not notified that it fires")

    return stage
