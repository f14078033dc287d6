"""Rows of structured arrays, copied as they are.

NumPy copies such rows field by field where they are chosen by position, which takes twenty times as
long.
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.void]
Positions: TypeAlias = NDArray[np.int64] | NDArray[np.bool_] | slice


def take(rows: Rows, at: Positions) -> Rows:
    """Return a copy of the rows at some positions."""
    chosen = _whole(rows)[at]
    return (chosen.copy() if isinstance(at, slice) else chosen).view(rows.dtype)


def at_places(rows: Rows, places: Sequence[int]) -> Rows:
    """Return the rows at some places; a view of them where these follow one another."""
    if isinstance(places, range) and places.step == 1:
        return rows[places.start : places.stop]
    return take(rows, np.array(places, np.int64))


def put(rows: Rows, at: Positions, values: Rows) -> None:
    """Write rows of the same type to as many positions, or one row to all of them."""
    _whole(rows)[at] = _whole(values)


def extended(rows: Rows, more: int) -> Rows:
    """Return a copy of all rows, with so many more behind them that are all 0."""
    made = np.zeros(len(rows) + more, rows.dtype)
    put(made, slice(len(rows)), rows)
    return made


def _whole(rows: Rows) -> Rows:
    return rows.view(_opaque(rows.dtype.itemsize))


@cache
def _opaque(size: int) -> np.dtype[np.void]:
    return np.dtype((np.void, size))
