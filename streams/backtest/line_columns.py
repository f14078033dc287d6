"""Lines of counts as arrays: what they name and what they count, by number.

A line has its counts in common with many others: what there is to know of them is worked out once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.backtest.counted_lines import Counted, CountedLine
from streams.domain.partial_counts import Dimensions

Integers: TypeAlias = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)
IsCounted: TypeAlias = Callable[[Dimensions], bool]

_MOST_KEY_SETS = 2**31
"""More sets of count keys than there can be."""
NO_APP = 0
"""The number of no app."""


@dataclass(slots=True)
class LineColumns:
    """Lines in the order of their arrival, a position of each array for a line.

    Attributes:
        commits: time (ms, UTC) of the commit that has it.
        times: event time (ms, UTC).
        newest: the newest event time (ms, UTC) of all lines up to it.
        campaigns: by number.
        apps: by number.
        counts: by number.
    """

    commits: Integers
    times: Integers
    newest: Integers
    campaigns: Integers
    apps: Integers
    counts: Integers

    def at(self, which: slice | Integers | NDArray[np.bool_]) -> "LineColumns":
        """Return some of the lines."""
        return LineColumns(
            self.commits[which],
            self.times[which],
            self.newest[which],
            self.campaigns[which],
            self.apps[which],
            self.counts[which],
        )

    @classmethod
    def joined(cls, parts: Sequence["LineColumns"]) -> "LineColumns":
        """Return the lines of all parts, of which there is at least one, one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.commits for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.newest for part in parts]),
            np.concatenate([part.campaigns for part in parts]),
            np.concatenate([part.apps for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def numbered_commits(self) -> tuple[Integers, list[int]]:
        """Number the commits of these lines from 0 on.

        Returns:
            The number of the commit of each line, and the position after the last line of each.
        """
        changes = (self.commits[1:] != self.commits[:-1]).nonzero()[0] + 1
        numbers = np.zeros(len(self), np.int64)
        numbers[changes] = 1
        return numbers.cumsum(), [*changes.tolist(), len(self)]

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self.commits)


class _Numbers(dict[Any, int]):
    """The positions of names in a list; a new name is put at its end."""

    def __init__(self, names: list[Any]) -> None:
        super().__init__(zip(names, range(len(names)), strict=True))
        self._names = names

    def __missing__(self, name: Any) -> int:
        number = self[name] = len(self._names)
        self._names.append(name)
        return number


class _Growing:
    """Integers that become more."""

    def __init__(self) -> None:
        self._room = np.zeros(64, np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def extend(self, numbers: Sequence[int] | Integers) -> None:
        end = self._size + len(numbers)
        if end > len(self._room):
            room = np.zeros(max(end, 2 * len(self._room)), np.int64)
            room[: self._size] = self.all
            self._room = room
        self._room[self._size : end] = numbers
        self._size = end

    @property
    def all(self) -> Integers:
        return self._room[: self._size]


def with_room(numbers: NDArray[Number], size: int, fill: int) -> NDArray[Number]:
    """Return numbers with places for `size` and, if these have to be made, for some more."""
    missing = size - len(numbers)
    if missing <= 0:
        return numbers
    room = np.full(missing + len(numbers) // 8, fill, numbers.dtype)
    return np.concatenate((numbers, room))


class Entries(NamedTuple):
    """What lines count: the position of the line, the number of the count key, how many."""

    at: Integers
    keys: Integers
    numbers: Integers


class Vocabulary:
    """What lines name and count, by number.

    Args:
        is_attempt: tells whether events of a count key are attempts.
        hits: for each rule, tells whether they are hits.

    Attributes:
        campaign_names: by number.
        app_names: by number.
        dimensions: count keys by number.
        most_keys: how many of these the campaign has that has most.
    """

    def __init__(self, is_attempt: IsCounted, hits: Sequence[IsCounted]) -> None:
        self._is_attempt = is_attempt
        self._is_hit = hits
        self.campaign_names: list[str] = []
        self.app_names: list[str | None] = [None]
        self.dimensions: list[Dimensions] = []
        self._campaigns = _Numbers(self.campaign_names)
        self._apps = _Numbers(self.app_names)
        self._keys = _Numbers(self.dimensions)
        self._keys_of: dict[int, frozenset[int]] = {}
        """By campaign, its count keys."""
        self.most_keys = 0
        self.forget_counts()

    def forget_counts(self) -> None:
        """Forget all counts, but no names; there must be no lines with numbers of counts."""
        self._known: dict[int, int] = {}
        """By the identity of counts, their number."""
        self._held: list[Sequence[Counted]] = []
        """The counts: as long as they are held, no others have their identity."""
        self._key_sets: list[frozenset[int]] = []
        self._key_set_numbers = _Numbers(self._key_sets)
        self._key_set_of = _Growing()
        """By the number of counts, that of their count keys."""
        self._seen: set[int] = set()
        """Which campaigns have had which sets of count keys, both in one number."""
        self._attempts = _Growing()
        self._hits = [_Growing() for _ in self._is_hit]
        self._first, self._length = _Growing(), _Growing()
        self._key_of, self._count_of = _Growing(), _Growing()
        """Of the entries of all counts, one after another."""

    @property
    def rules(self) -> int:
        """How many rules there are."""
        return len(self._hits)

    @property
    def campaigns(self) -> int:
        """How many campaigns there are."""
        return len(self.campaign_names)

    @property
    def counts(self) -> int:
        """How many different counts there are, or more."""
        return len(self._first)

    @property
    def count_keys(self) -> int:
        """How many count keys there are."""
        return len(self.dimensions)

    def number_of(self, campaign_id: str) -> int | None:
        """Return the number of a campaign; null if no line has named it."""
        return self._campaigns.get(campaign_id)

    # Lines

    def columns(
        self, lines: Sequence[CountedLine], commits: Integers, times: Integers
    ) -> LineColumns:
        """Return lines, given their commits (ms) and event times (ms).

        The newest event time is taken to be that of each line.
        """
        size = len(lines)
        campaigns = map(self._campaigns.__getitem__, [line.campaign_id for line in lines])
        apps = map(self._apps.__getitem__, [line.app_id for line in lines])
        columns = LineColumns(
            commits,
            times,
            times,
            np.fromiter(campaigns, np.int64, size),
            np.fromiter(apps, np.int64, size),
            self._counts_of(lines),
        )
        self._note_keys(columns)
        return columns

    def _note_keys(self, lines: LineColumns) -> None:
        """Note which count keys each campaign has."""
        pairs = lines.campaigns * _MOST_KEY_SETS + self._key_set_of.all[lines.counts]
        new = set(np.unique(pairs).tolist()) - self._seen
        self._seen |= new
        for campaign, key_set in (divmod(pair, _MOST_KEY_SETS) for pair in new):
            keys = self._keys_of.get(campaign, frozenset()) | self._key_sets[key_set]
            self._keys_of[campaign] = keys
            self.most_keys = max(self.most_keys, len(keys))

    def _counts_of(self, lines: Sequence[CountedLine]) -> Integers:
        written = [line.counts for line in lines]
        found = list(map(self._known.get, map(id, written)))
        if None in found:
            self._learn([counts for counts, at in zip(written, found, strict=True) if at is None])
            found = list(map(self._known.get, map(id, written)))
        return np.array(found, np.int64)

    def _learn(self, new: Sequence[Sequence[Counted]]) -> None:
        known = self._known
        entries = list[dict[Dimensions, int]]()
        for counts in new:
            if id(counts) not in known:
                known[id(counts)] = len(self._held)
                self._held.append(counts)
                entries.append(_added_up(counts))
        keys = self._keys
        lengths = list(map(len, entries))
        before = len(self._key_of)
        self._first.extend(before + np.cumsum([0, *lengths[:-1]]))
        self._length.extend(lengths)
        numbers = [[keys[key] for key in each] for each in entries]
        self._key_of.extend(list(chain.from_iterable(numbers)))
        self._key_set_of.extend([self._key_set_numbers[frozenset(each)] for each in numbers])
        self._count_of.extend(list(chain.from_iterable(each.values() for each in entries)))
        self._attempts.extend([_total(each, self._is_attempt) for each in entries])
        for hits, is_hit in zip(self._hits, self._is_hit, strict=True):
            hits.extend([_total(each, is_hit) for each in entries])

    # What they count

    def are_empty(self, lines: LineColumns) -> NDArray[np.bool_]:
        """Tell which lines count nothing."""
        are_empty: NDArray[np.bool_] = self._length.all[lines.counts] == 0
        return are_empty

    def attempts(self, lines: LineColumns) -> Integers:
        """Return the attempts of each line."""
        return self._attempts.all[lines.counts]

    def hits(self, lines: LineColumns) -> list[Integers]:
        """Return, for each rule, the hits of each line."""
        return [hits.all[lines.counts] for hits in self._hits]

    def entries(self, lines: LineColumns) -> Entries:
        """Return all that lines count."""
        lengths = self._length.all[lines.counts]
        ends = np.cumsum(lengths)
        at = np.repeat(np.arange(len(lines)), lengths)
        which = np.arange(len(at)) + (self._first.all[lines.counts] - (ends - lengths))[at]
        return Entries(at, self._key_of.all[which], self._count_of.all[which])


def _added_up(counts: Sequence[Counted]) -> dict[Dimensions, int]:
    sums: dict[Dimensions, int] = {}
    for status, treatment, delivery, channel, count in counts:
        if count:
            # An empty name stands for none, as in an event.
            key = Dimensions(status, treatment or None, delivery or None, channel or None)
            sums[key] = sums.get(key, 0) + count
    return sums


def _total(sums: dict[Dimensions, int], is_counted: IsCounted) -> int:
    return sum([count for key, count in sums.items() if is_counted(key)])
