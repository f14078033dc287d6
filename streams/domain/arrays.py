"""Numbers from lists into arrays, sums of them, and their order."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def integers(numbers: Sequence[int]) -> NDArray[np.int64]:
    """Return numbers from 0 to 2^63 - 1 as an array: NumPy takes three times as long by itself."""
    return np.frombuffer(array("Q", numbers), np.int64)


def sums_at(size: int, at: Sequence[int], numbers: Sequence[int]) -> NDArray[np.int64]:
    """Return `size` sums: `numbers[n]` is added to the one at `at[n]`, each 0 or more."""
    sums = np.zeros(size, np.int64)
    np.add.at(sums, integers(at), integers(numbers))
    return sums


def are_new(*columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which positions differ from the one before in any column; the first one does."""
    are_new = np.zeros(len(columns[0]), np.bool_)
    are_new[:1] = True
    for column in columns:
        are_new[1:] |= column[1:] != column[:-1]
    return are_new


def stable_order(numbers: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the positions of numbers in their order; equal ones stay in theirs.

    NumPy sorts 16 bits in a tenth of the time: they are enough if the numbers are near one another.
    """
    if not len(numbers):
        return np.zeros(0, np.int64)
    least = numbers.min()
    if numbers.max() - least < 2**16:
        return np.argsort((numbers - least).astype(np.uint16), kind="stable")
    return np.argsort(numbers, kind="stable")
