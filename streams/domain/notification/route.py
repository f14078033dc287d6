"""Who is notified: the receivers that the alert's rule names."""

from collections.abc import Sequence

from streams.domain.notification.stage import Notification, Stage, Suppressed

EVERY_RECEIVER = "*"
NO_RECEIVER = "no-receiver"


def route(receivers: Sequence[str]) -> Stage:
    """Return the stage that picks from the configured receivers, in their order.

    Args:
        receivers: the names of all that are configured.
    """

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        del now
        named = notification.receivers
        routed = tuple(name for name in receivers if EVERY_RECEIVER in named or name in named)
        if not routed:
            return Suppressed(NO_RECEIVER, _why(notification, receivers))
        return notification._replace(receivers=routed)

    return stage


def _why(notification: Notification, receivers: Sequence[str]) -> str:
    if not receivers:
        return "no receiver is configured"
    if not notification.receivers:
        return f"rule {notification.transition.data.rule} names no receiver"
    return f"not configured any more: {', '.join(notification.receivers)}"
