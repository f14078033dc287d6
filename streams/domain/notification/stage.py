"""What a stage takes and what it decides."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from streams.domain.transitions import Transition


class Excluded(msgspec.Struct, frozen=True):
    """Why one receiver is not notified of a transition, while others may be.

    Attributes:
        receiver: its name.
        reason: a fixed word.
        detail: for people: the matcher or label that it is about.
    """

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
        excluded: which receivers are not notified although the alert's rule names them, and why.
    """

    transition: Transition
    receivers: tuple[str, ...]
    notified: tuple[str, ...] | None = None
    excluded: tuple[Excluded, ...] = ()


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
