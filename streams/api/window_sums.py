"""Windows in columns of numbers: what the campaign list adds up, and reads its rows from.

A window of twenty thousand campaigns takes some ten milliseconds to read, and a fraction of one to
add up once it is in columns. Most windows of a list are closed and do not change, so their columns
are kept; an open one is read anew if it has changed.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from streams.api.time_slices import TimeSlices
from streams.domain.counts import StatusGroups
from streams.domain.partial_counts import Dimensions, WindowCounts
from streams.domain.partition import CampaignPartition

T = TypeVar("T")

Numbers: TypeAlias = NDArray[np.signedinteger[Any]]
"""Of up to 64 bits: as many as they need."""

MOST_KEPT = 64 * 1024 * 1024
"""Bytes of columns that are kept: of an hour of 20,000 campaigns; with more, the oldest windows are
read anew each time."""
NO_APP = -1
_AT_ONCE = 2_000
"""Numbers that are looked up, or made an array of, in a fraction of a millisecond."""
_SPARE_NUMBERS = 10_000
_IN_NO_GROUP, _FAILED, _THROTTLED, _NO_ATTEMPT = range(4)


class Outcome(NamedTuple):
    """What events are counted by in a row: a status or, for engagement, its kind."""

    name: str
    engagement: bool


class Numbering:
    """Numbers for campaigns, apps and outcomes, from 0 on, in the order in which they came.

    Attributes:
        campaigns: by number.
        number_of: the numbers of campaigns.
        apps: by number; they are never null.
        outcomes: by number.
    """

    def __init__(self, groups: StatusGroups) -> None:
        self.campaigns: list[str] = []
        self.number_of: dict[str, int] = {}
        self.apps: list[str] = []
        self.outcomes: list[Outcome] = []
        self._groups = groups
        self._app_numbers: dict[str | None, int] = {None: NO_APP}
        self._outcome_numbers: dict[Outcome, int] = {}
        self._kinds: list[int] = []
        """By outcome, what it adds to."""

    def of_campaigns(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of campaigns."""
        numbers = self.number_of
        for name in names:
            if name not in numbers:
                numbers[name] = len(numbers)
                self.campaigns.append(name)
        return [numbers[name] for name in names]

    def of_app(self, name: str | None) -> int:
        """Return the number of an app; `NO_APP` for null."""
        number = self._app_numbers.get(name)
        if number is None:
            number = self._app_numbers[name] = len(self.apps)
            self.apps.append(name or "")
        return number

    def known_app(self, name: str) -> int | None:
        """Return the number of an app; null if none of that name came."""
        return self._app_numbers.get(name)

    def app_name(self, number: int) -> str | None:
        """Return the app of a number."""
        return None if number == NO_APP else self.apps[number]

    def of_outcome(self, dimensions: Dimensions) -> int:
        """Return the number of what a count key is a count of."""
        outcome = Outcome(dimensions.outcome, dimensions.engagement)
        number = self._outcome_numbers.get(outcome)
        if number is None:
            number = self._outcome_numbers[outcome] = len(self.outcomes)
            self.outcomes.append(outcome)
            self._kinds.append(self._kind_of(outcome))
        return number

    def _kind_of(self, outcome: Outcome) -> int:
        group = self._groups.group_of.get(outcome.name)
        if outcome.engagement or group == "suppressed":
            return _NO_ATTEMPT
        return {"failure": _FAILED, "throttled": _THROTTLED}.get(group or "", _IN_NO_GROUP)

    def kinds(self, outcomes: Numbers) -> Numbers:
        """Return what each of some outcomes adds to."""
        kinds: Numbers = np.array(self._kinds, np.int32)[outcomes]
        return kinds

    @property
    def size(self) -> int:
        """How many names it has."""
        return len(self.campaigns) + len(self.apps) + len(self.outcomes)


class WindowSums(NamedTuple):
    """The counts of one window in a partition, in columns.

    Attributes:
        start: of the window (s).
        changes: how often it had changed when it was read.
        read_at: wall-clock time (s, UTC) of that.
        campaigns: numbers of the campaigns that have counts, each once.
        apps: the numbers of their apps.
        attempts: of each campaign.
        failed: of these.
        throttled: of these.
        at: for each count, whose it is: a position in `campaigns`.
        outcomes: for each count, the number of its outcome.
        counts: the counts; a campaign may have several of an outcome.
        late_at: positions in `campaigns` of those with late events, each once.
        late: how many events of each of these came late.
    """

    start: int
    changes: int
    read_at: float
    campaigns: Numbers
    apps: Numbers
    attempts: Numbers
    failed: Numbers
    throttled: Numbers
    at: Numbers
    outcomes: Numbers
    counts: Numbers
    late_at: Numbers
    late: Numbers

    @property
    def weight(self) -> int:
        """How many bytes the columns have."""
        return sum(column.nbytes for column in self if isinstance(column, np.ndarray))


class _Column:
    """Numbers that are added bit by bit, which would take long to make an array of at once."""

    def __init__(self, dtype: type[np.signedinteger[Any]]) -> None:
        self._dtype = dtype
        self._parts: list[NDArray[Any]] = []
        self._rest: list[int] = []

    def add(self, numbers: list[int]) -> None:
        """Add numbers at the end."""
        self._rest += numbers
        if len(self._rest) >= _AT_ONCE:
            self._parts.append(np.array(self._rest, self._dtype))
            self._rest = []

    def array(self) -> NDArray[Any]:
        """Return all of them."""
        return np.concatenate([*self._parts, np.array(self._rest, self._dtype)])


class _Columns:
    """A window's columns while they are filled, bucket by bucket."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._size = 0
        self._campaigns = _Column(np.int32)
        self._apps = _Column(np.int32)
        self._at = _Column(np.int32)
        self._outcomes = _Column(np.int32)
        self._counts = _Column(np.int64)
        self._late: dict[int, int] = {}

    async def add(self, counts: WindowCounts, slices: TimeSlices) -> None:
        """Add counts of campaigns that are not there yet, each named once."""
        numbering, before = self._numbering, self._size
        self._size += len(counts.campaigns)
        apps = [numbering.of_app(app) for app in counts.apps]
        for names, at_app in zip(_parts(counts.campaigns), _parts(counts.at_app), strict=True):
            self._campaigns.add(numbering.of_campaigns(names))
            self._apps.add([apps[at] for at in at_app])
            await slices()
        for column in counts.columns:
            outcome = numbering.of_outcome(column.dimensions)
            for at, of_them in zip(_parts(column.at), _parts(column.counts), strict=True):
                self._at.add([before + each for each in at])
                self._counts.add(of_them)
                self._outcomes.add([outcome] * len(at))
                await slices()
        self._late.update({before + at: late for at, late in counts.late.items()})

    def sums(self, start: int, changes: int, read_at: float) -> WindowSums:
        """Return them."""
        at, outcomes, counts = self._at.array(), self._outcomes.array(), self._counts.array()
        kinds = self._numbering.kinds(outcomes)
        size = self._size

        def added(of_them: NDArray[np.bool_]) -> Numbers:
            weights = counts[of_them].astype(np.float64)
            return _small(np.bincount(at[of_them], weights, minlength=size).astype(np.int64))

        return WindowSums(
            start,
            changes,
            read_at,
            self._campaigns.array(),
            _small(self._apps.array()),
            added(kinds != _NO_ATTEMPT),
            added(kinds == _FAILED),
            added(kinds == _THROTTLED),
            _small(at),
            _small(outcomes),
            _small(counts),
            np.array(list(self._late), np.int32),
            np.array(list(self._late.values()), np.int64),
        )


def _parts(of: list[T]) -> Iterator[list[T]]:
    return (of[at : at + _AT_ONCE] for at in range(0, len(of), _AT_ONCE))


def _small(column: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers, none of them below -1, in as few bytes as they need."""
    largest = column.max(initial=0)
    dtypes = (np.int16, np.int32, np.int64)
    return column.astype(next(each for each in dtypes if largest <= np.iinfo(each).max))


class SumStore:
    """Keeps windows in columns.

    Args:
        groups: which group each status is in.

    Attributes:
        numbering: of all columns that are kept.
    """

    def __init__(self, groups: StatusGroups) -> None:
        self.numbering = Numbering(groups)
        self._groups = groups
        self._kept: WeakKeyDictionary[CampaignPartition, dict[int, WindowSums]] = (
            WeakKeyDictionary()
        )
        self._weight = 0

    def forget(self, partitions: Sequence[CampaignPartition]) -> None:
        """Forget windows that have expired, and names once most of them are in no window."""
        live = sum(partition.table.campaigns for partition in partitions)
        if self.numbering.size > 2 * live + _SPARE_NUMBERS:
            self.numbering = Numbering(self._groups)
            self._kept.clear()
        for partition, kept in self._kept.items():
            for start in kept.keys() - partition.table.starts():
                del kept[start]
        # Of partitions that are gone nothing is kept any more.
        self._weight = sum(each.weight for kept in self._kept.values() for each in kept.values())

    async def read(
        self, partition: CampaignPartition, start: int, now: float, slices: TimeSlices, age: float
    ) -> WindowSums | None:
        """Return a window's columns; null if it is not retained.

        Args:
            partition: whose window.
            start: of the window (s).
            now: wall-clock time (s, UTC).
            slices: lets others work.
            age: how old (s) columns may be of a window that has changed since.
        """
        table = partition.table
        kept = self._kept.setdefault(partition, {})
        before, changes = kept.get(start), table.changes(start)
        if before is not None and (before.changes == changes or 0 <= now - before.read_at < age):
            return before
        snapshot = table.snapshot(start)
        if snapshot is None or changes is None:
            return None
        columns = _Columns(self.numbering)
        for counts in snapshot.counts():
            await columns.add(counts, slices)
        sums = columns.sums(start, changes, now)
        self._keep(kept, sums)
        return sums

    def kept(self, partition: CampaignPartition, start: int) -> WindowSums | None:
        """Return a window's columns if they are kept, and have not changed since."""
        found = self._kept.get(partition, {}).get(start)
        return found if found and found.changes == partition.table.changes(start) else None

    def _keep(self, kept: dict[int, WindowSums], sums: WindowSums) -> None:
        """Keep a window; forget the oldest ones of its partition if there is too much in all."""
        before = kept.pop(sums.start, None)
        self._weight += sums.weight - (before.weight if before is not None else 0)
        kept[sums.start] = sums
        while self._weight > MOST_KEPT and kept:
            self._weight -= kept.pop(min(kept)).weight
