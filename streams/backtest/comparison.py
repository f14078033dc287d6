"""The difference between what two configurations say of the same arrivals.

Two alerts are the same if they are of the same rule (by its name), campaign, treatment and channel,
and were firing at the same time at any moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from streams.backtest.episodes import Episode


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changes from one configuration to another.

    Attributes:
        gone: alerts that the other configuration alone has.
        new: alerts that this one alone has.
        kept: alerts that both have: the other one's and this one's. One may be several of the
            other's.
    """

    gone: list[Episode]
    new: list[Episode]
    kept: list[tuple[Episode, Episode]]


def compare(before: Iterable[Episode], after: Iterable[Episode]) -> Comparison:
    """Compare the alerts of another configuration (`before`) with those of this one (`after`)."""
    by_scope: dict[object, list[Episode]] = {}
    for episode in before:
        by_scope.setdefault(episode.about, []).append(episode)
    met: set[int] = set()
    new, kept = [], []
    for episode in after:
        same = [each for each in by_scope.get(episode.about, ()) if _overlap(each, episode)]
        met.update(id(each) for each in same)
        if same:
            kept.append((same[0], episode))
        else:
            new.append(episode)
    gone = [each for alike in by_scope.values() for each in alike if id(each) not in met]
    return Comparison(sorted(gone, key=lambda each: each.fired_at), new, kept)


def _overlap(one: Episode, other: Episode) -> bool:
    return one.fired_at < _end(other) and other.fired_at < _end(one)


def _end(episode: Episode) -> float:
    return inf if episode.ended_at is None else episode.ended_at
