"""What is kept of the attempts at a delivery: the first ones and the newest ones, and their number.

With the default retry schedule a delivery is attempted twelve times at most, so nothing is dropped
before it is replayed. Of more attempts those between the first and the newest ones are dropped.
"""

from collections.abc import Sequence
from sys import intern

import msgspec

FIRST_KEPT = 2
NEWEST_KEPT = 10
"""How many attempts are kept at most: the first ones, and the newest ones."""


class AttemptRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt at a delivery.

    Attributes:
        number: counts the attempts at the delivery from 1; a replay goes on counting.
        at: when it began (s since the epoch, UTC).
        duration_ms: how long it took, from rendering to the end of the answer.
        result: `delivered`, `disabled` or the kind of failure, as in the metric of attempts.
        status: of HTTP; null if there was no answer.
        answer: the beginning of the answer's body, on one line, printable, secrets hidden.
        error: why there was no answer; null if there was one.
        warnings: what went wrong and could be made up for: a template that could not be rendered.
    """

    number: int
    at: float
    duration_ms: int
    result: str
    status: int | None = None
    answer: str = ""
    error: str | None = None
    warnings: tuple[str, ...] = ()


def kept(history: Sequence[AttemptRecord], attempt: AttemptRecord) -> tuple[AttemptRecord, ...]:
    """Return the attempts that are kept once one more was made, oldest first."""
    attempts = [*history, attempt]
    if len(attempts) > FIRST_KEPT + NEWEST_KEPT:
        del attempts[FIRST_KEPT:-NEWEST_KEPT]
    return compact(attempts)


def compact(history: Sequence[AttemptRecord]) -> tuple[AttemptRecord, ...]:
    """Return the same attempts in less memory: the same texts, of which there are few, once."""
    texts: dict[str, str] = {}

    def shared(text: str | None) -> str | None:
        return None if text is None else texts.setdefault(text, text)

    return tuple(
        AttemptRecord(
            each.number,
            each.at,
            each.duration_ms,
            intern(each.result),
            each.status,
            shared(each.answer) or "",
            shared(each.error),
            tuple(shared(warning) or "" for warning in each.warnings),
        )
        for each in history
    )
