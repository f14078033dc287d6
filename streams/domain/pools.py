"""What the scopes of each app have learned, together: where newcomers start from.

Sums are whole numbers, so it makes no difference in which order scopes learn a window. What they
have learned from it counts once the next window closes; then what was there before loses a share.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import msgspec

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
        closings: how often windows closed: what newcomers start from is the same in between.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._pools = [AppPool(None, [0] * width, [0] * width)]
        self._numbers: dict[str, int] = {}
        self._fleet: Pool = (0,) * width
        self.changed = False
        self.closings = 0

    def number_of(self, app: str | None) -> int:
        """Return the number of an app's pool; 0 if it has none of its own."""
        if app is None or not self._width:
            return 0
        number = self._numbers.get(app)
        if number is None:
            if len(self._pools) > MOST_APPS:
                return 0
            number = self._numbers[app] = len(self._pools)
            self._pools.append(AppPool(app, [0] * self._width, [0] * self._width))
            self.changed = True
        return number

    def of(self, number: int) -> Pooled:
        """Return what newcomers of an app start from."""
        return Pooled(tuple(self._pools[number].sums), self._fleet)

    def add(self, number: int, learned: Sequence[int]) -> None:
        """Add what a scope of an app has learned from a window."""
        fresh = self._pools[number].fresh
        for at, value in enumerate(learned):
            fresh[at] += value
        self.changed = True

    def window_closes(self) -> None:
        """Let what was learned from the window before count from here on."""
        self.closings += 1
        if not self._width:
            return
        for pool in self._pools:
            if any(pool.fresh) or any(pool.sums):
                pool.sums = [
                    each - each // MEMORY + new
                    for each, new in zip(pool.sums, pool.fresh, strict=True)
                ]
                pool.fresh = [0] * self._width
                self.changed = True
        self._add_up()

    def _add_up(self) -> None:
        self._fleet = tuple(map(sum, zip(*(pool.sums for pool in self._pools), strict=True)))

    def record(self, kind: str) -> PoolsRecord:
        """Return them as they are to be written."""
        self.changed = False
        return PoolsRecord(kind, self._pools)

    def restore(self, record: PoolsRecord) -> None:
        """Take them as they were written down.

        Raises:
            ValueError: if they are not as many sums as the detector pools.
        """
        if not record.pools or any(
            len(pool.sums) != self._width or len(pool.fresh) != self._width for pool in record.pools
        ):
            raise ValueError(f"expected {self._width} sums of each app")
        self._pools = record.pools
        self._numbers = {
            pool.app: number for number, pool in enumerate(record.pools) if pool.app is not None
        }
        self._add_up()
