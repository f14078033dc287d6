"""The first of many campaigns, by a number and then by name, without putting all in order."""

import heapq
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.api.time_slices import TimeSlices

Keys: TypeAlias = NDArray[np.float64]
Chosen: TypeAlias = NDArray[np.int64]

LAST = float("inf")
"""The key of what has no value: it comes after all that have one."""
_NAMES_AT_ONCE = 2_000


async def first_names(
    names: Iterable[str], count: int, slices: TimeSlices, *, descending: bool = False
) -> list[str]:
    """Return the `count` first of some names, in order."""
    pick = heapq.nlargest if descending else heapq.nsmallest
    first: list[str] = []
    rest = iter(names)
    while some := list(islice(rest, _NAMES_AT_ONCE)):
        first = pick(count, chain(first, some))
        await slices()
    return first


async def first_by_key(
    keys: Keys, chosen: Chosen, names: Sequence[str], count: int, slices: TimeSlices
) -> list[int]:
    """Return the `count` first of the chosen, in order of their keys and, among like ones, names.

    Args:
        keys: of the chosen; the smallest is first.
        chosen: positions in `names`, each once.
        names: all of them different.
        count: how many, at least 1.
        slices: lets others work.
    """
    if len(chosen) > count:
        bound = np.partition(keys, count - 1)[count - 1]
        surely, alike = chosen[keys < bound].tolist(), chosen[keys == bound].tolist()
        await slices()
        position_of = {names[at]: at for at in alike}
        await slices()
        first = await first_names(position_of, count - len(surely), slices)
        kept = np.isin(chosen, np.array(surely + [position_of[name] for name in first]))
        keys, chosen = keys[kept], chosen[kept]
    pairs = sorted(
        (key, names[at], at) for key, at in zip(keys.tolist(), chosen.tolist(), strict=True)
    )
    return [at for _, _, at in pairs]
