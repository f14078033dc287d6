"""Lists of what the partitions hold, newest first, in pages."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.api.answers import Answer
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.paging import Order, Pager, Position, read_cursor
from streams.api.parameters import opaque, whole
from streams.domain.partition import CampaignPartition

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

DEFAULT_LIMIT = 100
LIMIT = whole("limit", 1, 1000, f"How many at most; {DEFAULT_LIMIT} without it.")
CURSOR = opaque("cursor", "From `next_cursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Newest(Generic[T, A]):
    """A list of one kind of items.

    Args:
        name: of the list; a cursor holds for that alone.
        position: of an item, by its time.
        answer: what the list is answered with.
        write: makes that of a page and the cursor of the next one.
        read: takes it apart again.
    """

    name: str
    position: Callable[[T], Position]
    answer: type[A]
    write: Callable[[list[T], str | None], A]
    read: Callable[[A], tuple[list[T], str | None]]

    async def page(
        self, context: Context, ask: Ask, items: Callable[[CampaignPartition], Iterable[T]]
    ) -> A:
        """Answer with the page that is asked for.

        Args:
            context: knows the partitions.
            ask: the request, with `LIMIT` and `CURSOR`.
            items: of a partition that is here, those that are wanted.
        """
        limit, cursor = ask.get(LIMIT, DEFAULT_LIMIT), read_cursor(ask.get(CURSOR, None), self.name)
        pager = Pager(self.name, Order(descending=True), self.position, limit, cursor)

        async def local(partitions: Sequence[CampaignPartition]) -> A:
            return self.write(*pager.cut(item for each in partitions for item in items(each)))

        everywhere = context.cluster.everywhere()
        gathered = await context.cluster.gather(ask, everywhere, self.answer, local)
        parts = [self.read(part) for part in gathered.parts]
        page = pager.cut(
            (item for found, _ in parts for item in found),
            more=any(next_cursor for _, next_cursor in parts),
        )
        return context.stamp(self.write(*page), gathered.missing)
