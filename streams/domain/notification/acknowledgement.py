"""Who is notified that an alert was acknowledged: the receivers that know what that is."""

from collections.abc import Collection

from streams.domain.notification.stage import Notification, Stage, Suppressed

NOT_SUPPORTED = "not-supported"


def acknowledgement(receivers: Collection[str]) -> Stage:
    """Return the stage that keeps acknowledgements from receivers that have no notion of them.

    Args:
        receivers: the names of those that have.
    """

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        del now
        if notification.transition.type != "campaign.alert.acknowledged":
            return notification
        others = [name for name in notification.receivers if name not in receivers]
        if len(others) == len(notification.receivers):
            return Suppressed(NOT_SUPPORTED, "no receiver has a notion of acknowledgements")
        return notification.without(others, NOT_SUPPORTED, "it has no notion of acknowledgements")

    return stage
