"""A reader of the live stream, and which readers a batch has something for."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from streams.api.changes import encode_positions
from streams.api.stream_batches import Batch
from streams.api.stream_events import Event, Wanted
from streams.api.stream_outlets import Outlet
from streams.domain.change_log import LogPosition, Positions

SAME_AGE = 10.0
"""Seconds of commits within which readers that come back are told of the same changes."""


class _Told(NamedTuple):
    """How far a reader was before the batch that it is in."""

    behind: set[int]
    positions: Positions


class Reader:
    """Goes through the hub's batches at its own pace.

    A reader that is in time in a partition is where the hub is. Of those in which it is behind, it
    has a position of its own, from which it has yet to be told what has changed; and in partitions
    that it joins, what counts is what the hub asks for from now on.

    Args:
        number: tells it from others.
        wanted: what it is told.
        since: how far it has followed partitions.
        joining: the partitions that it joins.
        away: the position of whoever has not joined a partition yet.
    """

    def __init__(
        self,
        number: int,
        wanted: Wanted,
        since: Positions,
        joining: Iterable[int],
        away: LogPosition,
    ) -> None:
        self.number = number
        self.wanted = wanted
        self.behind = set(since)
        self.joining = set(joining)
        self.outlet: Outlet | None = None
        self.cursor: int | None = None
        """The number of the batch that it is in; null if it has all."""
        self.pieces: Iterator[bytes] | None = None
        """What is left of that batch."""
        self.health: Event | None = None
        self.is_alone = False
        """Whether it is told of what has changed without others, as it may not know of all."""
        self.wrote_at = 0.0
        self.full_since: float | None = None
        self._everywhere = {*since, *self.joining}
        self._own = dict(since)
        self._away = away
        self._told: _Told | None = None

    @property
    def can_catch_up(self) -> bool:
        """Whether it is to be told what has changed since its own positions."""
        outlet = self.outlet
        return (
            bool(self.behind) and self.cursor is None and outlet is not None and not outlet.is_full
        )

    def position(self, partition: int) -> LogPosition:
        """Return its own position in a partition in which it is behind."""
        return self._own[partition]

    def group(self, numbers: Iterable[int]) -> tuple[object, ...]:
        """Return what readers have in common that are told of the same changes in partitions."""
        positions = [(n, self._own[n]) for n in sorted(self.behind.intersection(numbers))]
        oldest = min(position.at for _, position in positions)
        alone = self.number if self.is_alone else None
        return (alone, oldest // SAME_AGE, *((n, position.log) for n, position in positions))

    def joined(self, numbers: Iterable[int]) -> None:
        """Take note that from now on the hub has what changes in partitions."""
        self.joining.difference_update(numbers)

    def give_up_joining(self, numbers: Iterable[int]) -> None:
        """Be told of what changes from now on in partitions that are away, once they are back."""
        away = self.joining.intersection(numbers)
        self._own |= dict.fromkeys(away, self._away)
        self.behind |= away
        self.joining -= away

    def begin(self, batch: Batch) -> None:
        """Begin to be told of the batch at its cursor."""
        self._told = _Told(set(self.behind), dict(self._own))
        if batch.audience is not None:
            if self.number not in batch.audience:
                self.pieces = iter(())
                return
            self._catch_up(batch)
        is_in_time = not self.behind and not self.joining
        last_id = batch.last_id if is_in_time else self.last_id(batch.after)
        self.pieces = batch.pieces(self.wanted, last_id)

    def _catch_up(self, batch: Batch) -> None:
        if batch.more:
            self._own |= batch.caught_up
            return
        self.is_alone = False
        self.behind.difference_update(batch.caught_up)
        for n in batch.caught_up:
            self._own.pop(n, None)

    def fall_behind(self, batch: Batch) -> None:
        """Take note that the batch at its cursor is not kept any more."""
        told = self._told if self.pieces is not None else None
        behind, own = told or _Told(self.behind, self._own)
        followed = self._everywhere - self.joining
        self._own = {n: batch.before.get(n, self._away) for n in followed}
        self._own |= {n: own[n] for n in behind}
        self.behind = set(self._own)
        self.cursor = self.pieces = None

    def last_id(self, followed: Mapping[int, LogPosition]) -> bytes:
        """Return how far it has followed each partition, as a line."""
        joining = dict.fromkeys(self.joining, self._away)
        return id_line({**followed, **joining, **{n: self._own[n] for n in self.behind}})


def id_line(positions: Mapping[int, LogPosition]) -> bytes:
    """Return positions as the line of an event."""
    return b"id: %b\n" % encode_positions(dict(positions)).encode()


class Readers:
    """All readers, and the index by which those are found that want a batch."""

    def __init__(self) -> None:
        self._all: dict[int, Reader] = {}
        self._by_campaign: dict[str, dict[int, Reader]] = {}
        self._others: dict[int, Reader] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    def __iter__(self) -> Iterator[Reader]:
        """Iterate over those that are there now."""
        return iter(list(self._all.values()))

    def add(self, reader: Reader) -> None:
        """Add a reader."""
        self._all[reader.number] = reader
        self._index(reader)[reader.number] = reader

    def _index(self, reader: Reader) -> dict[int, Reader]:
        name = reader.wanted.campaign_id
        return self._others if name is None else self._by_campaign.setdefault(name, {})

    def remove(self, reader: Reader) -> None:
        """Remove a reader, if it is there."""
        if self._all.pop(reader.number, None) is None:
            return
        del self._index(reader)[reader.number]
        name = reader.wanted.campaign_id
        if name is not None and not self._by_campaign[name]:
            del self._by_campaign[name]

    def of(self, batch: Batch) -> list[Reader]:
        """Return the readers that a batch may have something for."""
        if batch.audience is not None:
            return [self._all[n] for n in batch.audience if n in self._all]
        if batch.is_for_everybody:
            return list(self._all.values())
        found = list(self._others.values())
        for name in batch.campaigns:
            if name is not None and name in self._by_campaign:
                found += self._by_campaign[name].values()
        return found
