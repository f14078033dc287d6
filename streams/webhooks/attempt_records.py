"""From an outcome to what is kept of the attempt."""

from streams.domain.delivery_attempts import AttemptRecord
from streams.receivers.outcomes import Delivered, Disable, GiveUp, Outcome, Retry


def result_of(outcome: Outcome) -> str:
    """Return the outcome in a word: `delivered`, `disabled`, or the kind of failure."""
    match outcome:
        case Delivered():
            return "delivered"
        case Disable():
            return "disabled"
        case Retry() | GiveUp():
            return outcome.failure


def record_of(outcome: Outcome, number: int, began: float, duration_ms: int) -> AttemptRecord:
    """Return the record of an attempt.

    Args:
        outcome: what came of it.
        number: of the attempt among those at its delivery, from 1.
        began: when it began (s, UTC).
        duration_ms: how long it took.
    """
    answered = outcome.answered
    if answered is None:
        error = None if isinstance(outcome, Delivered) else outcome.reason
        status, text = None, ""
    else:
        error, status, text = None, answered.status, answered.text
    return AttemptRecord(
        number, began, duration_ms, result_of(outcome), status, text, error, outcome.warnings
    )
