"""A lane's alerts that are beyond the rate limit of a receiver.

- One that begins to fire waits. If it is the only one, it is told by itself as soon as the limit
  allows. Otherwise, or after `group_wait`, it is handed over: the receiver is told of all of them
  in a group, the summary, and of their end. One that has ended by then is in the summary, too.
- A reminder waits until the limit allows it. It is dropped once it is out of date: the alert has
  ended, or something else was told of it.
- Ends and acknowledgements are never kept back.
"""

from collections.abc import Callable, Iterable

import msgspec

from streams.domain import transitions
from streams.domain.causes import group_names
from streams.domain.causes.handover import FIRING, GroupedAlert, Handover, LaneParts
from streams.domain.notification.rate_limit import RATE_LIMITED, is_within
from streams.domain.notification.stage import Notification
from streams.domain.transitions import AlertData

REMINDER = "campaign.alert.reminder"


class Overflow:
    """The alerts of one lane that are beyond the rate limit of a receiver.

    Args:
        parts: what they are about.
        handover: keeps them.
        tell: tells receivers of a transition that waited, at a time, whatever limit they have.
    """

    def __init__(
        self, parts: LaneParts, handover: Handover, tell: Callable[[GroupedAlert, float], None]
    ) -> None:
        self._parts = parts
        self._handover = handover
        self._tell = tell

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        """Return the receivers that are not notified at `now` (s, UTC): what they get waits."""
        transition, receivers = notification.transition, notification.receivers
        if not self._parts.limits:
            return ()
        self.drop_reminders(transition.data.alert_id, receivers)
        if transition.type not in {FIRING, REMINDER}:
            return ()
        beyond = self.beyond(transition.data.alert_id, receivers, now)
        if beyond:
            encoded = msgspec.Raw(transitions.encode(transition))
            is_news = transition.type == FIRING
            self.hold(transition.data, encoded, beyond, now, is_news=is_news)
        return beyond

    def beyond(self, alert_id: str, receivers: Iterable[str], now: float) -> tuple[str, ...]:
        """Return who of the receivers may not get one more notification at `now` (s, UTC)."""
        return tuple(
            name
            for name in receivers
            if not is_within(self._parts.limits, name, now) and self._can_wait(alert_id, name)
        )

    def _can_wait(self, alert_id: str, receiver: str) -> bool:
        """Tell whether an alert can wait; not if its teller may not know yet that it had ended."""
        return self._handover.get(alert_id, group_names.by_limit(receiver).name) is None

    def hold(
        self,
        data: AlertData,
        transition: msgspec.Raw,
        receivers: Iterable[str],
        now: float,
        *,
        is_news: bool = True,
    ) -> None:
        """Let what receivers are told of an alert wait, from `now` (s, UTC) on."""
        for receiver in receivers:
            grouping = group_names.by_limit(receiver)
            known = GroupedAlert(
                data.alert_id,
                data.campaign_id,
                data.rule,
                (receiver,),
                now,
                transition,
                grouping=grouping.name,
                is_news=is_news,
            )
            if is_news:
                self._handover.offer(known, grouping)
            else:
                self._handover.wait(known)

    def drop_reminders(self, alert_id: str, receivers: Iterable[str]) -> None:
        """Forget reminders that wait: they are out of date."""
        for receiver in receivers:
            known = self._handover.get(alert_id, group_names.by_limit(receiver).name)
            if known is not None and not known.is_news:
                self._handover.drop(known)

    def look(self, known: GroupedAlert, now: float) -> None:
        """Decide at `now` (s, UTC) what becomes of what waits, if that can be decided."""
        limit = self._parts.limits.get(known.receivers[0])
        if not known.is_news and not self._is_wanted(known):
            self._handover.drop(known)
            return
        can_be_handed_over = known.is_news and self._handover.is_seen(known)
        if limit is None:
            self._tell(known, now)
        elif can_be_handed_over and self._handover.has_others(known):
            self.hand_over(known)
        elif limit.bucket.take(now):
            self._tell(known, now)
        elif can_be_handed_over and now - known.since >= limit.times.group_wait:
            self.hand_over(known)

    def _is_wanted(self, reminder: GroupedAlert) -> bool:
        alert = self._parts.alerts.get(reminder.alert_id)
        return alert is not None and alert.state == "firing" and alert.acknowledged is None

    def hand_over(self, known: GroupedAlert) -> None:
        """Have the receiver told of an alert in the summary."""
        self._handover.hand_over(known)
        why = "beyond the rate limit: in a summary"
        self._parts.alerts.grouped(known.alert_id, known.receivers, RATE_LIMITED, why)
