"""Who is notified: the receivers that the alert's rule names.

Of what comes of an alert, those are notified too who were notified that it fires, whatever the rule
says by then.
"""

from collections.abc import Sequence

from streams.domain.notification.stage import Notification, Stage, Suppressed
from streams.domain.transitions import FOLLOW_UPS

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
        if notification.transition.type in FOLLOW_UPS:
            named += notification.notified or ()
        routed = tuple(name for name in receivers if EVERY_RECEIVER in named or name in named)
        if not routed:
            return Suppressed(NO_RECEIVER, _why(notification, receivers))
        gone = [each for each in dict.fromkeys(named) if each not in {EVERY_RECEIVER, *routed}]
        routed_to = notification._replace(receivers=routed)
        return routed_to.without(gone, NO_RECEIVER, "it is not configured any more")

    return stage


def _why(notification: Notification, receivers: Sequence[str]) -> str:
    if not receivers:
        return "no receiver is configured"
    if not notification.receivers:
        return f"rule {notification.transition.data.rule} names no receiver"
    return f"not configured any more: {', '.join(notification.receivers)}"
