"""What a stage takes and what it decides."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from streams.domain.transitions import Transition


class Notification(NamedTuple):
    """A transition on its way to receivers.

    Attributes:
        transition: is told.
        receivers: their names; before it is routed, as the alert's rule names them.
        notified: the names of those who were notified before that the alert fires; null if that is
            not known.
    """

    transition: Transition
    receivers: tuple[str, ...]
    notified: tuple[str, ...] | None = None


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
