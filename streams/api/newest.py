"""Lists of what the partitions hold, newest first, in pages."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from streams.api.answer import Answer
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.paging import Cursor, Pager, Position, read_cursor
from streams.api.parameters import opaque, read_moment, whole
from streams.api.time_slices import TimeSlices
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import in_ms

A = TypeVar("A", bound=Answer)
T = TypeVar("T")
S = TypeVar("S")


DEFAULT_LIMIT = 100
LIMIT = whole("limit", 1, 1000, f"How many at most; {DEFAULT_LIMIT} without it.")
CURSOR = opaque("cursor", "From `next_cursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Newest(Generic[T, A]):
    """A list of items of one kind, as the partitions hold them (`T`) and as they are shown.

    Args:
        answer: the page; its fields are those of `Answer`, `name` and `next_cursor`.
        name: field of the page that holds the items; a cursor holds for this list alone.
        time: field of an item, held (s) and shown (RFC 3339), that never changes.
        item_id: field of an item, held and shown.
    """

    answer: type[A]
    name: str
    time: str
    item_id: str

    async def page(
        self,
        context: Context,
        ask: Ask,
        items: Callable[[CampaignPartition], Iterable[T]],
        wanted: Callable[[T], bool],
        show: Callable[[CampaignPartition, T], Any],
    ) -> A:
        """Answer with the page that is asked for.

        Args:
            context: knows the partitions.
            ask: the request, with `LIMIT` and `CURSOR`.
            items: of a partition that is here.
            wanted: tells whether an item is asked for.
            show: makes of an item what is answered; called for items of the page alone.
        """
        limit, cursor = ask.get(LIMIT, DEFAULT_LIMIT), read_cursor(ask.get(CURSOR, None), self.name)

        async def local(partitions: Sequence[CampaignPartition]) -> A:
            here = [(partition, item) for partition in partitions for item in items(partition)]
            pager = self._pager(self._held_at, limit, cursor)
            page, next_cursor = await pager.cut(here, lambda each: wanted(each[1]))
            shown, slices = [], TimeSlices()
            for partition, item in page:
                shown.append(show(partition, item))
                await slices()
            return self._answer(shown, next_cursor)

        everywhere = context.cluster.everywhere()
        gathered = await context.cluster.gather(ask, everywhere, self.answer, local)
        parts: list[Any] = list(gathered.parts)
        page, next_cursor = await self._pager(self._shown_at, limit, cursor).cut(
            (item for part in parts for item in getattr(part, self.name)),
            more=any(part.next_cursor for part in parts),
        )
        return context.stamp(self._answer(page, next_cursor), gathered.missing)

    def _pager(
        self, position: Callable[[S], Position], limit: int, cursor: Cursor | None
    ) -> Pager[S]:
        return Pager(self.name, descending=True, position=position, limit=limit, cursor=cursor)

    def _answer(self, page: list[Any], next_cursor: str | None) -> A:
        fields: dict[str, Any] = {self.name: page, "next_cursor": next_cursor}
        return self.answer(as_of="", **fields)

    def _held_at(self, held: tuple[CampaignPartition, T]) -> Position:
        _, item = held
        return Position(in_ms(getattr(item, self.time)), getattr(item, self.item_id))

    def _shown_at(self, item: object) -> Position:
        return Position(read_moment(getattr(item, self.time)), getattr(item, self.item_id))
