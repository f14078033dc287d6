"""Lists of what the partitions hold, newest first, in pages."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.api.answers import Answer
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.paging import Order, Pager, Position, read_cursor
from streams.api.parameters import opaque, whole
from streams.api.reading import Breath
from streams.domain.partition import CampaignPartition

A = TypeVar("A", bound=Answer)
T = TypeVar("T")
S = TypeVar("S")

_NAMES_AN_ITEM = 100
"""To show an item takes as long as to read a cell with so many names."""

DEFAULT_LIMIT = 100
LIMIT = whole("limit", 1, 1000, f"How many at most; {DEFAULT_LIMIT} without it.")
CURSOR = opaque("cursor", "From `next_cursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Newest(Generic[T, S, A]):
    """A list of one kind of items. What puts an item in its place never changes.

    Args:
        name: of the list; a cursor holds for that alone.
        place: position of an item, by its time.
        position: the same of an item as it is shown.
        answer: what the list is answered with.
        write: makes that of a page and the cursor of the next one.
        read: takes it apart again.
    """

    name: str
    place: Callable[[T], Position]
    position: Callable[[S], Position]
    answer: type[A]
    write: Callable[[list[S], str | None], A]
    read: Callable[[A], tuple[list[S], str | None]]

    async def page(
        self,
        context: Context,
        ask: Ask,
        items: Callable[[CampaignPartition], Iterable[T]],
        wanted: Callable[[T], bool],
        show: Callable[[CampaignPartition, T], S],
    ) -> A:
        """Answer with the page that is asked for.

        Args:
            context: knows the partitions.
            ask: the request, with `LIMIT` and `CURSOR`.
            items: of a partition that is here.
            wanted: tells whether an item is asked for.
            show: makes of an item what is answered; called for those of the page.
        """
        limit, cursor = ask.get(LIMIT, DEFAULT_LIMIT), read_cursor(ask.get(CURSOR, None), self.name)
        order = Order(descending=True)
        pager = Pager(self.name, order, self.position, limit, cursor)

        def place(each: tuple[CampaignPartition, T]) -> Position:
            return self.place(each[1])

        async def local(partitions: Sequence[CampaignPartition]) -> A:
            here = [(partition, item) for partition in partitions for item in items(partition)]
            page, next_cursor = await Pager(self.name, order, place, limit, cursor).cut_gradually(
                here, lambda each: wanted(each[1])
            )
            shown, breath = [], Breath()
            for partition, item in page:
                shown.append(show(partition, item))
                await breath(_NAMES_AN_ITEM)
            return self.write(shown, next_cursor)

        everywhere = context.cluster.everywhere()
        gathered = await context.cluster.gather(ask, everywhere, self.answer, local)
        parts = [self.read(part) for part in gathered.parts]
        page = pager.cut(
            (item for found, _ in parts for item in found),
            more=any(next_cursor for _, next_cursor in parts),
        )
        return context.stamp(self.write(*page), gathered.missing)
