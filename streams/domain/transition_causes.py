"""Who brought a transition of an alert about, and why.

The reasons are fixed words, for filters and programs; `Cause.detail` is for people.
"""

from typing import Literal, TypeAlias

import msgspec

Actor: TypeAlias = Literal["rule", "operator", "configuration", "silence"]
"""The alert's rule and its detector, a person, a change of the configuration, or the end of what
silenced the alert."""

AcknowledgedReason: TypeAlias = Literal["acknowledged", "pagerduty"]
"""Acknowledged here, or there."""

CauseReason: TypeAlias = Literal[
    "breach",
    "still-firing",
    "silence-ended",
    "acknowledged",
    "pagerduty",
    "recovered",
    "state-lost",
    "no-data",
    "rule-removed",
    "rule-changed",
]


class Cause(msgspec.Struct, frozen=True):
    """What brought a transition about.

    Attributes:
        actor: who did; the rule is the alert's own.
        reason: why, in a fixed word.
        name: of the operator, as given; null for any other actor.
        detail: why, for people: the comment of an operator, or what has changed; may be empty.
        token: name of the token with which the operator has asked; left out where there was none.
    """

    actor: Actor
    reason: CauseReason
    name: str | None = None
    detail: str = ""
    token: str | msgspec.UnsetType = msgspec.UNSET


class Acknowledged(msgspec.Struct, frozen=True):
    """That somebody has taken an alert on, in the words of whoever did, and when (RFC 3339)."""

    by: str
    comment: str
    at: str


BREACH = Cause("rule", "breach")
"""The counts breach the rule, for as long as its `for` asks."""
STILL_FIRING = Cause("rule", "still-firing")
"""The alert's `repeat_interval` is over."""
SILENCE_ENDED = Cause("silence", "silence-ended")
"""Nothing silences the alert any more, and it still fires."""
RECOVERED = Cause("rule", "recovered")
"""The breach is over, for as long as the rule's `keep_firing_for` asks."""
STATE_LOST = Cause("rule", "state-lost")
"""The detector knows nothing any more of the breach, as its state was forgotten or could not be
read."""


def no_data(seconds: float) -> Cause:
    """There were no attempts for the rule's `no_data_after` (s)."""
    return Cause("rule", "no-data", detail=f"no attempts for {seconds:g} s")


def acknowledged(
    by: str, comment: str, token: str | None = None, reason: AcknowledgedReason = "acknowledged"
) -> Cause:
    """An operator has taken the alert on."""
    return Cause("operator", reason, by, comment, msgspec.UNSET if token is None else token)


def rule_removed(rule: str) -> Cause:
    """The configuration has no rule of that name any more."""
    return Cause("configuration", "rule-removed", detail=f"there is no rule {rule} any more")


def rule_changed(detail: str) -> Cause:
    """The rule is about something else now."""
    return Cause("configuration", "rule-changed", detail=detail)
