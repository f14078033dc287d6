"""What a stage takes and what it decides."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from streams.domain.transitions import Transition


class Withheld(msgspec.Struct, frozen=True):
    """Why one receiver is not notified of a transition: as `Suppressed`, of that receiver."""

    receiver: str
    reason: str
    detail: str


class Notification(NamedTuple):
    """A transition on its way to receivers.

    Attributes:
        transition: is told.
        receivers: their names; before it is routed, as the alert's rule names them.
        notified: the names of those who were notified before that the alert fires; null if that is
            not known.
        withheld: the receivers that the stages so far have left out, and why.
    """

    transition: Transition
    receivers: tuple[str, ...]
    notified: tuple[str, ...] | None = None
    withheld: tuple[Withheld, ...] = ()

    def without(self, receivers: Iterable[str], reason: str, detail: str) -> "Notification":
        """Return the same to the other receivers, with the reason for these."""
        left_out = tuple(receivers)
        return self._replace(
            receivers=tuple(name for name in self.receivers if name not in left_out),
            withheld=(*self.withheld, *(Withheld(name, reason, detail) for name in left_out)),
        )


class Suppressed(msgspec.Struct, frozen=True):
    """Why nobody is notified of a transition.

    Attributes:
        reason: a fixed word, for metrics and filters; unique among all stages.
        detail: for people: the names, ids or times that it is about.
    """

    reason: str
    detail: str


Stage: TypeAlias = Callable[[Notification, float], Notification | Suppressed]
"""Decides about a notification at a wall-clock time (s, UTC)."""
