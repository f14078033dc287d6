"""Long lists in pages that stay in step while what they list changes.

A cursor is a position in the order, not a number of items: the next page begins after it, whatever
was added or has gone before it.
"""

import asyncio
import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import chain, islice
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

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


def _compare_descending(one: str, other: str) -> int:
    return (one < other) - (one > other)


_descending = cmp_to_key(_compare_descending)

Key: TypeAlias = tuple[bool, Any, str]
_Keyed: TypeAlias = tuple[Key, int, T]
"""An item with its key, and with its number, as items themselves may have no order."""


class Cursor(msgspec.Struct, array_like=True, frozen=True):
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
class Pager(Generic[T]):
    """Cuts one page of a list that is ordered by value, nulls last, then by id, ascending.

    Args:
        name: of the order; a cursor holds for that alone.
        descending: whether the greatest value is first.
        position: of an item.
        limit: how many items a page has at most.
        cursor: where the page before ended.
        since: kept from page to page, in the cursor (s).
    """

    name: str
    descending: bool
    position: Callable[[T], Position]
    limit: int
    cursor: Cursor | None
    since: float = 0

    async def cut(
        self,
        items: Iterable[T],
        wanted: Callable[[T], bool] = lambda _: True,
        *,
        more: bool = False,
    ) -> tuple[list[T], str | None]:
        """Return the page and the cursor of the next one, null if there is none.

        Other coroutines run after each `_AT_A_TIME` items.

        Args:
            items: any number; must not change meanwhile.
            wanted: whether an item is in the list.
            more: whether there are items after these for certain.
        """
        first: list[_Keyed[T]] = []
        rest = enumerate(items)
        while some := list(islice(rest, _AT_A_TIME)):
            keyed = self._keyed((at, item) for at, item in some if wanted(item))
            first = heapq.nsmallest(self.limit + 1, chain(first, keyed))
            await asyncio.sleep(0)
        page = [item for _, _, item in first[: self.limit]]
        if not page or not (more or len(first) > self.limit):
            return page, None
        value, item_id = self.position(page[-1])
        return page, Cursor(self.name, self.since, value, item_id).encode()

    def _keyed(self, items: Iterable[tuple[int, T]]) -> Iterator["_Keyed[T]"]:
        """Yield the items after the cursor with what puts them in order."""
        key, position = self._key, self.position
        after = key(self.cursor.position) if self.cursor else None
        for at, item in items:
            of_it = key(position(item))
            if after is None or of_it > after:
                yield of_it, at, item

    def _key(self, position: Position) -> Key:
        """Return what is smaller the earlier a position comes."""
        value, item_id = position
        if value is None:
            return True, 0, item_id
        if not self.descending:
            return False, value, item_id
        return False, _descending(value) if isinstance(value, str) else -value, item_id
