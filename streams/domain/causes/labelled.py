"""A lane's alerts that are grouped by labels: those with the same values are told of together.

Nothing has to be worked out: which group an alert is in follows from its labels. All lanes see
which alerts fire. One that is not alone is handed over to the teller at once; one that is still
alone after `group_wait`, or while the topic cannot be read, is told by itself, as if nothing were
grouped. Those that come later, while it fires, are told of in a group, so a trickle of alerts is
not told one by one.
"""

from collections.abc import Callable

from streams.domain.causes import group_names
from streams.domain.causes.handover import GroupedAlert, Handover, LaneParts
from streams.domain.notification.group import GROUPED


class LaneLabels:
    """The alerts of one lane that are grouped by labels.

    Args:
        parts: what they are about.
        handover: keeps them.
        tell_alone: tells of an alert by itself, in the words in which it was decided, at a time.
    """

    def __init__(
        self,
        parts: LaneParts,
        handover: Handover,
        tell_alone: Callable[[GroupedAlert, float], None],
    ) -> None:
        self._parts = parts
        self._handover = handover
        self._tell_alone = tell_alone

    def grouping_of(self, receiver: str, labels: dict[str, str]) -> group_names.Grouping | None:
        """Return what an alert has in common with others for a receiver; null if by no labels."""
        names = self._parts.labels.get(receiver)
        return None if names is None else group_names.by_labels(names, labels, self._parts.lanes)

    def look(self, known: GroupedAlert, now: float) -> None:
        """Decide at `now` (s, UTC) what becomes of an alert that waits, if that can be decided."""
        times = [self._parts.times[name] for name in known.receivers if name in self._parts.times]
        if self._handover.has_others(known) and self._handover.is_seen(known):
            self._handover.hand_over(known)
            why = "in a group by its labels"
            self._parts.alerts.grouped(known.alert_id, known.receivers, GROUPED, why)
        elif now - known.since >= max((each.group_wait for each in times), default=0.0):
            self._tell_alone(known, now)
