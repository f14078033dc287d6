"""What the scopes of each app have learned, together: where newcomers start from.

Sums are whole numbers, so it makes no difference in which order scopes learn a window. What they
have learned from it counts once the next window closes; then what was there before loses a share.
"""

from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_APPS = 1_000
"""Apps of a rule that have sums of their own; scopes of others count for the fleet alone."""
MEMORY = 1_024
"""Closed windows: one in so many of a sum is forgotten when a window closes."""

Pool: TypeAlias = tuple[int, ...]


class Pooled(NamedTuple):
    """What scopes have learned together: those of one app, and all."""

    app: Pool
    fleet: Pool


class PoolsKey(msgspec.Struct, frozen=True, array_like=True, tag="pools"):
    """Key of the pools of a rule."""

    rule: str


class AppPool(msgspec.Struct, array_like=True):
    """The sums of one app.

    Attributes:
        app: its id; null for the scopes of no app that has sums of its own.
        sums: of windows before the newest that closed.
        fresh: of that one, so far.
    """

    app: str | None
    sums: list[int]
    fresh: list[int]


class PoolsRecord(msgspec.Struct, array_like=True):
    """The pools of a rule, of a detector of this kind."""

    kind: str
    pools: list[AppPool]


class Pools:
    """The pools of one rule.

    Args:
        width: how many sums the detector pools.

    Attributes:
        changed: whether anything changed since they were written.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._apps: list[str | None] = [None]
        self._numbers: dict[str, int] = {}
        self._sums = np.zeros((1, width), np.int64)
        """A row for each app."""
        self._fresh = np.zeros((1, width), np.int64)
        self._fleet: Pool = ()
        self._pooled: dict[int, Pooled] = {}
        """By number, what newcomers start from, until the next window closes."""
        self.changed = False

    def number_of(self, app: str | None) -> int:
        """Return the number of an app's pool; 0 if it has none of its own."""
        if app is None or not self._width:
            return 0
        number = self._numbers.get(app)
        if number is None:
            if len(self._apps) > MOST_APPS:
                return 0
            number = self._numbers[app] = len(self._apps)
            self._apps.append(app)
            row = np.zeros((1, self._width), np.int64)
            self._sums = np.concatenate((self._sums, row))
            self._fresh = np.concatenate((self._fresh, row))
            self.changed = True
        return number

    def of(self, number: int) -> Pooled:
        """Return what newcomers of an app start from."""
        pooled = self._pooled.get(number)
        if pooled is None:
            if not self._pooled:
                self._fleet = tuple(self._sums.sum(axis=0).tolist())
            pooled = Pooled(tuple(self._sums[number].tolist()), self._fleet)
            self._pooled[number] = pooled
        return pooled

    def add(self, numbers: NDArray[np.int64], learned: NDArray[np.int64]) -> None:
        """Add what scopes have learned from a window, a row for each, by the numbers of apps."""
        np.add.at(self._fresh, numbers, learned)
        self.changed = True

    def window_closes(self) -> None:
        """Let what was learned from the window before count from here on."""
        if self._sums.any() or self._fresh.any():
            self._sums += self._fresh - self._sums // MEMORY
            self._fresh[:] = 0
            self._pooled.clear()
            self.changed = True

    def record(self, kind: str) -> PoolsRecord:
        """Return them as they are to be written."""
        self.changed = False
        rows = zip(self._apps, self._sums.tolist(), self._fresh.tolist(), strict=True)
        return PoolsRecord(kind, [AppPool(*row) for row in rows])

    def restore(self, record: PoolsRecord) -> None:
        """Take them as they were written down.

        Raises:
            ValueError: if they are not as many sums as the detector pools.
        """
        pools = record.pools
        if not pools or any({len(each.sums), len(each.fresh)} != {self._width} for each in pools):
            raise ValueError(f"expected {self._width} sums of each app")
        self._apps = [each.app for each in pools]
        self._numbers = {app: number for number, app in enumerate(self._apps) if app is not None}
        self._sums = np.array([each.sums for each in pools], np.int64)
        self._fresh = np.array([each.fresh for each in pools], np.int64)
        self._pooled.clear()
