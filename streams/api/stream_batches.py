"""What the hub of the live stream has to tell, taken apart once for all readers of it."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from streams.api.stream_events import Event, Wanted
from streams.domain.change_log import Positions

MOST_BATCHES = 5_000
MOST_BYTES = 16 * 1024 * 1024
"""How much is kept for slow readers, all together."""
CHUNK_BYTES = 64 * 1024
"""About so many bytes are written at once; the next ones when the reader has taken them."""


class Batch:
    """What changed in some partitions.

    Args:
        events: that tell of it.
        before: how far the hub had followed each partition.
        after: how far it has with this.
        last_id: the same as a line.
        audience: numbers of the readers that it is for; null for all.
        caught_up: how far these have followed partitions with it.
        more: whether more has changed there already.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a batch is
        self,
        events: Sequence[Event],
        before: Positions,
        after: Positions,
        last_id: bytes,
        audience: frozenset[int] | None = None,
        caught_up: Positions | None = None,
        *,
        more: bool = False,
    ) -> None:
        self.before = before
        self.after = after
        self.last_id = last_id
        self.audience = audience
        self.caught_up = caught_up or {}
        self.more = more
        self.size = sum(len(each.encoded) for each in events)
        self.is_for_everybody = False
        """Whether it has what is about no campaign, but about all data."""
        self._events = events
        self._by_campaign: dict[str | None, list[Event]] = {}
        for each in events:
            self._by_campaign.setdefault(each.campaign_id, []).append(each)
            self.is_for_everybody |= each.kind == "missed"
        self._is_shared = True
        self._wanted: dict[Wanted, Sequence[Event]] = {}
        self._pieces: dict[tuple[Wanted, bytes], bytes] = {}

    @property
    def campaigns(self) -> Collection[str | None]:
        """The campaigns that it is about."""
        return self._by_campaign.keys()

    def wanted(self, wanted: Wanted) -> Sequence[Event]:
        """Return the events that a reader wants."""
        known = self._wanted.get(wanted)
        if known is None:
            candidates = self._events
            if wanted.campaign_id is not None:
                by = self._by_campaign
                candidates = by.get(None, []) + by.get(wanted.campaign_id, [])
            known = [each for each in candidates if wanted.has(each)]
            if self._is_shared:
                self._wanted[wanted] = known
        return known

    def pieces(self, wanted: Wanted, last_id: bytes) -> Iterator[bytes]:
        """Return what a reader is sent, in pieces: the same bytes for all that want the same.

        Args:
            wanted: what it is told.
            last_id: how far it has followed each partition with this, as a line.
        """
        piece = self._pieces.get((wanted, last_id))
        if piece is None:
            events = self.wanted(wanted)
            if sum(len(each.encoded) for each in events) > CHUNK_BYTES:
                # Only what is written at once is put together at once.
                return compose(events, last_id)
            piece = b"".join(compose(events, last_id))
            if self._is_shared:
                self._pieces[wanted, last_id] = piece
        return iter((piece,) if piece else ())

    def forget_shared(self) -> None:
        """Let go of what was kept for several readers, once those that are in time have it.

        For those that are late it is made each time: it would be kept for as long as the batch is.
        """
        self._is_shared = False
        self._wanted.clear()
        self._pieces.clear()


def compose(events: Iterable[Event], last_id: bytes) -> Iterator[bytes]:
    """Yield events in pieces; the last event has the id."""
    piece: list[bytes] = []
    size = 0
    for each in events:
        if size > CHUNK_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(each.encoded)
        size += len(each.encoded)
    if piece:
        piece.insert(-1, last_id)
        yield b"".join(piece)


class Batches:
    """The newest batches, numbered from 0 on; bounded by their bytes."""

    def __init__(self) -> None:
        self.first = 0
        """The number of the oldest batch that is kept."""
        self._kept: deque[Batch] = deque()
        self._size = 0

    @property
    def end(self) -> int:
        """The number of the next batch."""
        return self.first + len(self._kept)

    def __getitem__(self, number: int) -> Batch:
        """Return a batch that is kept."""
        return self._kept[number - self.first]

    def append(self, batch: Batch) -> None:
        """Add a batch; whoever holds more than that, calls `evict` until there is nothing."""
        self._kept.append(batch)
        self._size += batch.size

    def evict(self) -> Batch | None:
        """Return the oldest batch, which is no longer kept, if there are too many; never the last.

        A reader in the middle of it has to be told anew.
        """
        is_much = len(self._kept) > MOST_BATCHES or self._size > MOST_BYTES
        if not is_much or len(self._kept) == 1:
            return None
        return self._drop()

    def clear(self) -> None:
        """Keep none."""
        while self._kept:
            self._drop()

    def _drop(self) -> Batch:
        oldest = self._kept.popleft()
        self._size -= oldest.size
        self.first += 1
        return oldest
