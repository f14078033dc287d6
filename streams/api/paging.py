"""Long lists in pages that stay in step while what they list changes.

A cursor is a position in the order, not a number of items: the next page begins after it, whatever
was added or has gone before it.
"""

import asyncio
import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from streams.api.parameters import LAST_MS
from streams.api.problems import refuse

T = TypeVar("T")

_NO_CURSOR = "cursor: not one that this list gave: leave it out to begin anew"

_AT_A_TIME = 2_000
"""Items that are put in order within some 10 ms."""

Value: TypeAlias = int | float | str | None


class Position(NamedTuple):
    """Where an item stands: by its value, and by its id among those of the same value."""

    value: Value
    item_id: str


class Cursor(msgspec.Struct, array_like=True):
    """Where a page ends, in which order, and since when (s) items were looked at."""

    order: str
    since: float
    value: int | float | str | None
    item_id: str

    @property
    def position(self) -> Position:
        """The last position of the page."""
        return Position(self.value, self.item_id)

    def encode(self) -> str:
        """Return the cursor as opaque text."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def read_cursor(text: str | None, order: str, *, textual: bool = False) -> Cursor | None:
    """Read a cursor that a list in this order gave; null if there is none.

    Args:
        text: as it came; a client may have changed it.
        order: of the list.
        textual: whether the list is ordered by a text, otherwise it is by a number.

    Raises:
        ProblemError: 400, if it is none, or of another order.
    """
    if text is None:
        return None
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
    except (ValueError, msgspec.MsgspecError):
        refuse(_NO_CURSOR)
    if cursor.order != order:
        refuse(f"cursor: it is of the order {cursor.order[:200]}, not {order}: leave it out")
    # Compared with values of the list's items, and written as a time.
    comparable = cursor.value is None or isinstance(cursor.value, str) is textual
    if not comparable or not 0 <= cursor.since * 1000 <= LAST_MS:
        refuse(_NO_CURSOR)
    return cursor


@dataclass(frozen=True, slots=True)
class Order:
    """An order of positions: by value, nulls last, then by id, ascending."""

    descending: bool = False

    def after(self, one: Position, other: Position) -> bool:
        """Tell whether `one` comes after `other`."""
        if one.value == other.value:
            return one.item_id > other.item_id
        if one.value is None or other.value is None:
            return one.value is None
        higher: bool = one.value > other.value  # type: ignore[operator]  # one list, one type
        return higher is not self.descending

    def _compare(self, one: Position, other: Position) -> int:
        return self.after(one, other) - self.after(other, one)

    def first(
        self,
        items: Iterable[T],
        limit: int,
        position: Callable[[T], Position],
        after: Position | None = None,
    ) -> list[T]:
        """Return the first items in this order, those after a position if one is given."""
        key = cmp_to_key(self._compare)
        if after is not None:
            items = (item for item in items if self.after(position(item), after))
        return heapq.nsmallest(limit, items, key=lambda item: key(position(item)))


@dataclass(frozen=True, slots=True)
class Pager(Generic[T]):
    """Cuts one page.

    Args:
        name: of the order; a cursor holds for that alone.
        order: of the items.
        position: of an item.
        limit: how many items a page has at most.
        cursor: where the page before ended.
        since: kept from page to page, in the cursor (s).
    """

    name: str
    order: Order
    position: Callable[[T], Position]
    limit: int
    cursor: Cursor | None
    since: float = 0

    async def cut_gradually(self, items: Sequence[T]) -> tuple[list[T], str | None]:
        """Return the page of any number of items, letting others work now and then."""
        after = self.cursor.position if self.cursor else None
        first: list[T] = []
        for at in range(0, len(items), _AT_A_TIME):
            some = [*first, *items[at : at + _AT_A_TIME]]
            first = self.order.first(some, self.limit + 1, self.position, after)
            await asyncio.sleep(0)
        return self.cut(first)

    def cut(self, items: Iterable[T], *, more: bool = False) -> tuple[list[T], str | None]:
        """Return the page, and the cursor of the next one if there are (or are said to be) more."""
        after = self.cursor.position if self.cursor else None
        first = self.order.first(items, self.limit + 1, self.position, after)
        page = first[: self.limit]
        if not page or not (more or len(first) > self.limit):
            return page, None
        value, item_id = self.position(page[-1])
        return page, Cursor(self.name, self.since, value, item_id).encode()
