"""Who is notified later or in a summary, as a receiver's rate limit does not allow more for now."""

from typing import Protocol

from streams.domain.notification.rate_limit import BEYOND, RATE_LIMITED
from streams.domain.notification.stage import Notification, Stage, Suppressed


class Overflow(Protocol):
    """Takes over what is beyond a rate limit."""

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        """Return the receivers that are not notified for now."""
        ...


def limit(overflow: Overflow) -> Stage:
    """Return the stage that keeps from receivers what is beyond their rate limits."""

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        beyond = overflow.take_over(notification, now)
        if beyond and len(beyond) == len(notification.receivers):
            return Suppressed(RATE_LIMITED, BEYOND)
        return notification.without(beyond, RATE_LIMITED, BEYOND)

    return stage
