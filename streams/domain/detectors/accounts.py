"""What a detector says of a scope, in figures, while it finds no breach, or one.

An account is worked out when somebody asks, never for a decision.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

MOST_HITS_MISSING = 1_000_000
"""Hits in a row, up to which it is worked out how many are missing."""


class Requirement(NamedTuple):
    """One of the things that have to hold for a breach.

    Attributes:
        name: a fixed word.
        text: how things stand and what has to hold, in words.
        value: how things stand; null if there is nothing to go by.
        needed: what the value has to reach, or has to be above.
        is_met: whether it holds.
    """

    name: str
    text: str
    value: float | None
    needed: float
    is_met: bool


class Account(NamedTuple):
    """Why a scope breaches, or why not.

    Attributes:
        attempts: that are judged.
        hits: of these.
        since: event time (ms) from which on they are counted; null if there are none.
        usual_rate: 0 to 1; null for a detector that knows none.
        requirements: what has to hold for a breach: all of them, or `any_is_enough`.
        hits_missing: how many more sends, all of them hits and at the present pace, would be a
            breach; 0 while there is one, null if it is not known, or if no number of them is.
        figures: others that the requirements follow from, by name.
        notes: what else there is to know, in words.
    """

    attempts: int
    hits: int
    since: int | None
    usual_rate: float | None = None
    requirements: tuple[Requirement, ...] = ()
    hits_missing: int | None = None
    figures: Mapping[str, float] = {}
    notes: tuple[str, ...] = ()
    any_is_enough: bool = False

    @property
    def is_breach(self) -> bool:
        """Whether as much holds as has to."""
        are_met = [each.is_met for each in self.requirements]
        return bool(are_met) and (any(are_met) if self.any_is_enough else all(are_met))

    @property
    def unmet(self) -> list[Requirement]:
        """The requirements that are not met."""
        return [each for each in self.requirements if not each.is_met]


class Level(NamedTuple):
    """What a rule compares a window with.

    Attributes:
        start: of the window (s).
        usual_rate: the share of hits that was usual before it; null if none is known.
        usual_attempts: how many independent attempts it was learned from.
        limit_rate: only a share above it is worth an alert; null if that is no matter of a share.
        firing_rate: the least share of hits in this window, spread over all of it, that is a breach
            as things stood before; null if none is. A lower one above the limit may be a breach in
            several windows.
    """

    start: int
    usual_rate: float | None
    usual_attempts: float
    limit_rate: float | None
    firing_rate: float | None


class WindowSeen(NamedTuple):
    """Attempts and hits of a scope in the window that begins at `start` (s).

    `has_fired` says whether an alert of the rule fired in it.
    """

    start: int
    attempts: int
    hits: int
    has_fired: bool = False


def fewest(is_enough: Callable[[int], bool], guess: int, most: int) -> int | None:
    """Return the least number up to `most` that is enough, looked for from a guess on.

    Null if none is. What is enough stays so for any greater number.
    """
    low, high, step = -1, most + 1, 1
    at = min(max(guess, 0), most)
    while low + 1 < high:
        if is_enough(at):
            high = at
            at = max(low + 1, at - step)
        else:
            low = at
            at = min(high - 1, at + step)
        step *= 2
        if low >= 0 and high <= most:
            break
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high if high <= most else None
