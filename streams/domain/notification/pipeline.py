"""The stages, in their order.

route → silence → notified → acknowledgement → group → limit → enqueue.
"""

from collections.abc import Iterable

from streams.domain.deliveries import Outbox
from streams.domain.notification.acknowledgement import NOT_SUPPORTED, acknowledgement
from streams.domain.notification.enqueue import enqueue
from streams.domain.notification.group import GROUPED, Lane, group
from streams.domain.notification.limit import Overflow, limit
from streams.domain.notification.notified import NOT_NOTIFIED, notified
from streams.domain.notification.rate_limit import RATE_LIMITED
from streams.domain.notification.route import NO_RECEIVER, NOT_MATCHED, route
from streams.domain.notification.silence import SILENCED, silence
from streams.domain.notification.stage import Notification, Stage, Suppressed
from streams.domain.partition_settings import PartitionSettings

SUPPRESSIONS = (
    NO_RECEIVER,
    NOT_MATCHED,
    SILENCED,
    NOT_NOTIFIED,
    NOT_SUPPORTED,
    GROUPED,
    RATE_LIMITED,
)
"""The reasons for which nobody is notified of a transition."""


def stages(
    settings: PartitionSettings, lane: Lane, overflow: Overflow, outbox: Outbox
) -> tuple[Stage, ...]:
    """Return the stages that the transitions of one partition go through.

    Args:
        settings: what is the same in every partition.
        lane: takes over what is told in groups.
        overflow: takes over what is beyond a rate limit.
        outbox: the partition's.
    """
    return (
        route(settings.receivers, settings.matchers),  # who is notified
        silence(settings.silences),  # nobody, if the alert is silenced
        notified(),  # of what comes of it, only those who know that it fires
        acknowledgement(settings.take_acknowledgements),  # only those who know what that is
        group(lane),  # nobody of those who are told in groups
        limit(overflow),  # nobody beyond their rate limits
        enqueue(outbox),  # a delivery for each of them in the outbox
    )


def run(
    through: Iterable[Stage], notification: Notification, now: float
) -> Notification | Suppressed:
    """Decide about a notification at `now` (s, UTC): as it left the last stage, or why it ended."""
    for stage in through:
        decision = stage(notification, now)
        if isinstance(decision, Suppressed):
            return decision
        notification = decision
    return notification
