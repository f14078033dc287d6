"""What people ask to be done with alerts, from the moment they ask until it is committed.

Who asks is answered once the transaction is committed that holds what it led to. A request that is
lost with its task has led to nothing, and can be made again: an alert is acknowledged once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from streams.domain.transition_causes import AcknowledgedReason

LONGEST_NAME = 100
LONGEST_COMMENT = 500
"""Characters of an operator's name and comment: both are in the alert's record and its history."""
MOST_WAITING = 1_000
"""Requests that wait for a commit, in one partition."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """That somebody asks to acknowledge an alert.

    Args:
        alert_id: the alert's.
        by: the operator's name.
        comment: theirs; may be empty.
        on_commit: is called once what came of it is committed.
        token: the name of the token with which they ask; null for none.
        reason: `pagerduty` if it was acknowledged there.
    """

    alert_id: str
    by: str
    comment: str
    on_commit: Callable[[], None]
    token: str | None = None
    reason: AcknowledgedReason = "acknowledged"


class OperatorRequests:
    """The requests about the alerts of one partition, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: list[Acknowledgement] = []
        self._done: list[Acknowledgement] = []
        self._in_commit: list[Acknowledgement] = []

    def add(self, request: Acknowledgement) -> bool:
        """Have something done when the rules are evaluated next.

        Returns:
            Whether it will be; it will not if there are too many.
        """
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(request)
        return True

    def __len__(self) -> int:
        """Return how many are waiting."""
        return len(self._waiting)

    def is_settled(self, alert_id: str) -> bool:
        """Tell whether all that was done about an alert is committed."""
        return all(each.alert_id != alert_id for each in (*self._done, *self._in_commit))

    def take(self) -> list[Acknowledgement]:
        """Hand out those that are waiting; whoever takes them does what they ask."""
        taken, self._waiting = self._waiting, []
        self._done += taken
        return taken

    def begin_commit(self) -> None:
        """Take note that what was done is being written."""
        self._in_commit += self._done
        self._done = []

    def mark_committed(self) -> None:
        """Take note that it is committed."""
        committed, self._in_commit = self._in_commit, []
        for request in committed:
            request.on_commit()
