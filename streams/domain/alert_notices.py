"""What an alert's record says of who was notified of its transitions, and who was not, and why."""

from collections.abc import Collection, Iterable

from streams.domain.alert_records import Alert, Step
from streams.domain.notification.rate_limit import BEYOND, RATE_LIMITED
from streams.domain.notification.stage import Suppressed, Withheld

MOST_WITHHELD = 5
"""How many receivers a transition remembers that were not notified of it."""


def withhold(step: Step, withheld: tuple[Withheld, ...]) -> bool:
    """Note who was not notified of a transition, if anybody was not; tell whether that is so."""
    if withheld:
        step.withheld = withheld[:MOST_WITHHELD]
    return bool(withheld)


def add_notified(alert: Alert, receivers: Iterable[str]) -> bool:
    """Add receivers to those who were notified that an alert fires; tell whether any is new.

    Where it is not known who was, it stays unknown.
    """
    known = alert.notified
    if known is None:
        return False
    new = [name for name in receivers if name not in known]
    alert.notified = (*known, *new)
    return bool(new)


def told(alert: Alert, receivers: Collection[str], sequence: int) -> None:
    """Note that receivers are notified after all of a transition, by its number."""
    for step in alert.steps:
        if step.sequence == sequence:
            step.suppressed = None
            step.withheld = tuple(w for w in step.withheld if w.receiver not in receivers)
    add_notified(alert, receivers)


def rate_limited(alert: Alert, receivers: Collection[str], sequence: int) -> None:
    """Note that receivers are not notified yet of a transition, by its number."""
    for step in alert.steps:
        if step.sequence == sequence:
            if step.suppressed is not None:
                step.suppressed = Suppressed(RATE_LIMITED, BEYOND)
            withheld = [*step.withheld, *(Withheld(w, RATE_LIMITED, BEYOND) for w in receivers)]
            step.withheld = tuple(withheld[-MOST_WITHHELD:])


def grouped(alert: Alert, receivers: Collection[str], reason: str, why: str) -> None:
    """Note that receivers are told of an alert in a group from here on.

    Args:
        alert: the alert.
        receivers: their names.
        reason: the word under which it was noted that they were not notified.
        why: what is said of that from here on.
    """
    for step in alert.steps:
        if step.suppressed is not None and step.suppressed.reason == reason:
            step.suppressed = Suppressed(reason, why)
        step.withheld = tuple(
            Withheld(w.receiver, w.reason, why)
            if w.reason == reason and w.receiver in receivers
            else w
            for w in step.withheld
        )
    add_notified(alert, receivers)
