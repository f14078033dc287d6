"""Who is notified of an end: the receivers that were notified that the alert fires."""

from streams.domain.notification.stage import Excluded, Notification, Stage, Suppressed
from streams.domain.transitions import ENDS

NOT_NOTIFIED = "not-notified"


def notified() -> Stage:
    """Return the stage that keeps the end of an alert from those who do not know of the alert."""

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        del now
        known, kind = notification.notified, notification.transition.type
        if known is None or kind not in ENDS:
            return notification
        receivers = tuple(name for name in notification.receivers if name in known)
        if not receivers:
            return Suppressed(NOT_NOTIFIED, "no receiver was notified that it fires")
        excluded = tuple(
            Excluded(name, NOT_NOTIFIED, "it was not notified that the alert fires")
            for name in notification.receivers
            if name not in known
        )
        return notification._replace(
            receivers=receivers, excluded=(*notification.excluded, *excluded)
        )

    return stage
