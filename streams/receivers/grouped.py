"""A receiver that can be told of alerts with a common cause in one notification."""

from typing import Literal

from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import is_of_group
from streams.domain.notification.grouping import GroupTimes
from streams.receivers.receiver import HttpReceiver
from streams.settings import PositiveDuration

GroupBy = Literal["cause", "none"]


class GroupedReceiver(HttpReceiver):
    """Somebody who may be told of groups, if `group_by` says so; durations in seconds.

    Attributes:
        group_by: `cause`: alerts with a common cause are one notification; `none`: each alert is.
        group_wait: for how long an alert waits that may have a common cause, and a group before it
            is told of first.
        group_interval: between two notifications about a group, at least.
    """

    group_by: GroupBy = "cause"
    group_wait: PositiveDuration = 5.0
    group_interval: PositiveDuration = 60.0

    @property
    def group_times(self) -> GroupTimes | None:
        """When the receiver is told of groups; null if it is told of each alert."""
        if self.group_by == "none":
            return None
        return GroupTimes(group_wait=self.group_wait, group_interval=self.group_interval)


def is_about_group(delivery: Delivery) -> bool:
    """Tell whether a delivery is about a group, and not about one alert."""
    return is_of_group(delivery.transition)
