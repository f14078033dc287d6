"""Which faults come in which round."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Together: TypeAlias = tuple[str, ...]
"""The faults of one round."""


def plan(kinds: Sequence[str], rounds: int, seed: int) -> list[Together]:
    """Plan rounds: first each fault alone, then pairs of them; the same for the same seed.

    In fewer rounds than there are faults, each comes once, some together.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable
    shuffled = chance.sample(kinds, len(kinds))
    if rounds < len(kinds):
        return [tuple(shuffled[number::rounds]) for number in range(rounds)]
    alone = [(kind,) for kind in shuffled]
    return [*alone, *itertools.islice(_pairs(kinds, chance), rounds - len(alone))]


def _pairs(kinds: Sequence[str], chance: random.Random) -> Iterator[Together]:
    """Yield all pairs in any order, without end; two of a kind are a pair too."""
    pairs = list(itertools.combinations_with_replacement(kinds, 2))
    while True:
        yield from chance.sample(pairs, len(pairs))
