"""Whether an alert belongs to a cause, or is about a fault of its campaign's own.

It belongs to a cause if the causes' slices have most of its excess, what they leave is as usual,
and it began when they did. Of several causes it belongs to the one with most of its excess.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import NamedTuple, Protocol

from streams.domain.causes.evidence import Place, PlaceEvidence
from streams.domain.causes.finding import Values, covers

LEAST_SHARE = 0.5
"""Of an alert's excess that causes have to explain."""
UNDECIDED_SHARE = 0.25
"""Of an alert's excess that causes explain: with so much, it may be one of theirs."""
LEFT_OVER = 6.0
"""Evidence (nats) for a fault of its own in what causes do not explain."""
SURELY_LEFT_OVER = 12.0
"""So much is no chance, whatever else may yet be seen."""
ALIKE = 0.25
"""Of the share of sends that fail beyond the usual in what causes explain: so much has to fail
elsewhere too. Rates differ from minute to minute, and a small rise among many sends is evident."""
SOONER = 180
"""Seconds before a cause that an alert of it may have begun: the rise may be seen in windows that
are before it, as event times are not exact."""


class Reason(StrEnum):
    """Why an alert belongs to a cause, or does not."""

    EXPLAINED = "explained"
    NO_CAUSE = "no-cause"
    BEGAN_BEFORE = "began-before"
    OTHER_SLICE = "other-slice"
    OWN_FAULT = "own-fault"
    OTHER_STATUS = "other-status"


class AlertSends(NamedTuple):
    """What an alert is about.

    Attributes:
        alert_id: names it.
        app_id: of its campaign.
        since: start (s) of the first window that breached.
        parts: what its campaign's sends since then say, by place.
        of_a_treatment: whether one treatment explains it. A common cause is in all of them alike.
    """

    alert_id: str
    app_id: str | None
    since: int
    parts: Mapping[Place, PlaceEvidence]
    of_a_treatment: bool = False


class CommonCause(Protocol):
    """A cause as far as it matters here; `since` is the start (s) of its first window."""

    @property
    def cause_id(self) -> str: ...  # noqa: D102
    @property
    def values(self) -> Values: ...  # noqa: D102
    @property
    def status(self) -> str | None: ...  # noqa: D102
    @property
    def since(self) -> int: ...  # noqa: D102


class Attribution(NamedTuple):
    """The cause that an alert belongs to, null for none, and why.

    `explained` is the share of its excess that causes explain, 0 to 1. `left_over` is the evidence
    (nats) for a fault of its own; infinity where that does not depend on counts.
    """

    cause_id: str | None
    reason: Reason
    explained: float = 0.0
    left_over: float = 0.0

    @property
    def is_undecided(self) -> bool:
        """Tell whether it may yet turn out to belong to a cause, as more is known."""
        return self.cause_id is None and self.explained >= UNDECIDED_SHARE

    @property
    def is_unsure(self) -> bool:
        """Tell whether what seems to be a fault of its own may be chance.

        Of many campaigns that a cause breaks, some have a few hits too many elsewhere at first.
        """
        return self.reason == Reason.OWN_FAULT and self.left_over < SURELY_LEFT_OVER


def attribute(alert: AlertSends, causes: Sequence[CommonCause]) -> Attribution:
    """Return the cause that an alert belongs to.

    Args:
        alert: of one rule.
        causes: of the same rule.
    """
    if not causes:
        return Attribution(None, Reason.NO_CAUSE)
    in_time = [cause for cause in causes if alert.since >= cause.since - SOONER]
    if not in_time:
        return Attribution(None, Reason.BEGAN_BEFORE)
    by_cause = {cause.cause_id: _excess_in(alert, [cause]) for cause in in_time}
    best = min(in_time, key=lambda cause: (-by_cause[cause.cause_id], cause.cause_id))
    explained, whole = _excess_in(alert, in_time), _whole_excess(alert)
    share = explained / whole if whole else 0.0
    left_over = _left_over(alert, in_time)
    reason = _reason(alert, best, share, left_over)
    cause_id = best.cause_id if reason == Reason.EXPLAINED else None
    return Attribution(cause_id, reason, min(1.0, share), left_over)


def _left_over(alert: AlertSends, causes: Sequence[CommonCause]) -> float:
    """Return the evidence (nats) for a fault of its own beside causes; 0 for none."""
    if alert.of_a_treatment:
        return inf
    inside = [part for place, part in alert.parts.items() if _is_in(alert, place, causes)]
    outside = [part for place, part in alert.parts.items() if not _is_in(alert, place, causes)]
    level = ALIKE * _lost(inside)
    # What is usual may be known from few sends, and a few hits too many are then no fault.
    evidence = (min(part.own, part.unlike) for part in outside if _lost([part]) >= level)
    return max(evidence, default=0.0)


def _reason(alert: AlertSends, best: CommonCause, explained: float, left_over: float) -> Reason:
    if explained < LEAST_SHARE:
        return Reason.OTHER_SLICE
    if left_over >= LEFT_OVER:
        return Reason.OWN_FAULT
    if best.status is not None and _of_status(alert, best) < LEAST_SHARE:
        return Reason.OTHER_STATUS
    return Reason.EXPLAINED


def _excess(part: PlaceEvidence) -> float:
    return part.seen.all_hits - part.expected


def _whole_excess(alert: AlertSends) -> float:
    return sum(max(0.0, _excess(part)) for part in alert.parts.values())


def _lost(parts: Sequence[PlaceEvidence]) -> float:
    """Return the share of sends that fail beyond the usual."""
    attempts = sum(part.seen.attempts for part in parts)
    return sum(_excess(part) for part in parts) / attempts if attempts else 0.0


def _is_in(alert: AlertSends, place: Place, causes: Sequence[CommonCause]) -> bool:
    return any(covers(cause.values, (alert.app_id, *place)) for cause in causes)


def _excess_in(alert: AlertSends, causes: Sequence[CommonCause]) -> float:
    inside = [part for place, part in alert.parts.items() if _is_in(alert, place, causes)]
    return sum(max(0.0, _excess(part)) for part in inside)


def _of_status(alert: AlertSends, cause: CommonCause) -> float:
    """Return the share of an alert's excess in a cause's slice that has the cause's status."""
    excess: dict[str, float] = {}
    for place, part in alert.parts.items():
        if _is_in(alert, place, [cause]):
            for name, expected in part.expected_by_status.items():
                hits = part.seen.hits.get(name, 0)
                excess[name] = excess.get(name, 0.0) + hits - expected
    whole = sum(max(0.0, each) for each in excess.values())
    return max(0.0, excess.get(cause.status or "", 0.0)) / whole if whole else 0.0
