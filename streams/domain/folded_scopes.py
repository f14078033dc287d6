"""The places of the scopes of a rule whose detector folds, and the records of their states.

The changelog topic has scopes in groups, as one record for each would cost more than what is in it.
The group of a scope follows from its place. Groups that follow one another are one record, under
the number of the first; but not those with long names, as a record is to be no greater than a
broker takes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np

from streams.domain.arrays import integers
from streams.domain.detectors.folding import FoldingDetector, Integers
from streams.domain.pools import Pools, PoolsKey, PoolsRecord
from streams.domain.rules import Rule, ScopeKind
from streams.domain.scope_sums import Part, ScopeKey, campaign_of
from streams.errors import FormatError

SCOPES_PER_GROUP = 24
"""As many with names of the greatest length fit into one record."""
GROUPS_PER_RECORD = 4
SCOPES_PER_RECORD = GROUPS_PER_RECORD * SCOPES_PER_GROUP
SHORT = 1_000
"""Characters of the names of a scope: so many scopes fit into one record."""
_GROWTH = 1.125
"""Room is made for so many times as many scopes as there are."""


class FoldGroupKey(msgspec.Struct, frozen=True, array_like=True, tag="fold"):
    """Key of the folds of some scopes of one rule."""

    rule: str
    group: int


class FoldGroup(msgspec.Struct, array_like=True):
    """The folds of some scopes, by a detector of this kind and for a rule with this scope.

    Attributes:
        kind: of the detector.
        scope: of the rule.
        keys: the scope at each place of the group; null at those that are free.
        apps: the number of the pool of each one's app, as known at its first counts.
        learned: start (s) of the newest window that it has learned, or is before its first counts.
        episodes: by position in the group, the number of the breach that goes on.
        states: as the detector wrote them, of the places that are not free.
        balances: attempts in closed windows, less those in all windows up to the last record with
            hits.
    """

    kind: str
    scope: ScopeKind
    keys: list[ScopeKey | None]
    apps: list[int]
    learned: list[int]
    episodes: dict[int, int]
    states: bytes
    balances: list[int] = []


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(FoldGroup).decode


class FoldedScopes:
    """The scopes of one rule.

    Args:
        rule: the rule.
        detector: its detector.

    Attributes:
        states: what the detector knows of them.
        pools: what they have learned together.
        episodes: by place, the number of the breach that goes on.
        parts: by campaign, its parts, if the rule is about parts.
    """

    def __init__(self, rule: Rule, detector: FoldingDetector) -> None:
        self.states = detector.new_states()
        self.pools = Pools(detector.pooled_sums)
        self.episodes: dict[int, int] = {}
        self.parts: dict[str, set[Part]] = {}
        self._rule = rule
        self._kind = detector.kind
        self._lifetime = int(detector.state_lifetime)
        self._places: dict[ScopeKey, int] = {}
        self._keys: list[ScopeKey | None] = []
        self._free: list[int] = []
        self._apps = np.zeros(0, np.int16)
        self._learned = np.zeros(0, np.int64)
        self._balances = np.zeros(0, np.int64)
        self._is_dirty = np.zeros(0, np.bool_)
        """By record, whether anything of it was changed since it was written."""
        self._long: set[int] = set()
        """Records with long names: they are written group by group."""
        self._apart: set[int] = set()
        """Records that are on the topic group by group."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    @property
    def place_of(self) -> Callable[[ScopeKey], int | None]:
        """What returns the place of a scope; null if nothing is known of it."""
        return self._places.get

    def key_at(self, place: int) -> ScopeKey:
        """Return the scope at a place."""
        key = self._keys[place]
        if key is None:
            raise KeyError(f"no scope of rule {self._rule.name} at place {place}")
        return key

    def places_of(self, keys: Sequence[ScopeKey]) -> Integers:
        """Return the place of each scope; -1 for one of which nothing is known."""
        return np.fromiter(map(self._places.get, keys, repeat(-1)), np.int64, len(keys))

    def add(self, keys: Sequence[ScopeKey], apps: Sequence[str | None], learned: int) -> Integers:
        """Give places to scopes of which nothing is known but their apps; return the places.

        Args:
            keys: of the scopes, all different.
            apps: of each; null if it is not known.
            learned: start (s) of a window before their first counts.
        """
        reused = [self._free.pop() for _ in range(min(len(keys), len(self._free)))]
        used = len(self._keys)
        end = used + len(keys) - len(reused)
        places = [*reused, *range(used, end)]
        self._make_room(end)
        self._put(keys, places)
        at = integers(places)
        self._learned[at] = learned
        self._balances[at] = 0
        numbers = {app: self.pools.number_of(app) for app in dict.fromkeys(apps)}
        of_each = integers([numbers[app] for app in apps])
        self._apps[at] = of_each
        for number in dict.fromkeys(numbers.values()):
            self.states.begin(at[of_each == number], self.pools.of(number))
        self.touch(at)
        return at

    def _put(self, keys: Sequence[ScopeKey], places: Sequence[int]) -> None:
        self._places.update(zip(keys, places, strict=True))
        for key, place in zip(keys, places, strict=True):
            self._keys[place] = key
            if _length(key) > SHORT:
                self._long.add(place // SCOPES_PER_RECORD)
        if self._rule.scope != "campaign":
            for key in keys:
                if not isinstance(key, str):
                    self.parts.setdefault(key[0], set()).add(key[1])

    def _make_room(self, places: int) -> None:
        self._keys += [None] * (places - len(self._keys))
        if places > len(self._learned):
            more = max(SCOPES_PER_GROUP, int(places * _GROWTH)) - len(self._learned)
            self._learned = np.concatenate((self._learned, np.zeros(more, np.int64)))
            self._balances = np.concatenate((self._balances, np.zeros(more, np.int64)))
            self._apps = np.concatenate((self._apps, np.zeros(more, np.int16)))
            records = -(-len(self._learned) // SCOPES_PER_RECORD)
            clean = np.zeros(records - len(self._is_dirty), np.bool_)
            self._is_dirty = np.concatenate((self._is_dirty, clean))

    def begin_anew(self, place: int, learned: int) -> None:
        """Make the fold at a place that of a scope of which nothing is known but its app."""
        self._learned[place] = learned
        self.states.begin(np.array([place]), self.pools.of(self._apps.item(place)))
        self.episodes.pop(place, None)
        self.touch([place])

    def old(self, places: Integers, start: int) -> Integers:
        """Return those of the places that have to begin anew in the window from `start` (s) on."""
        return places[start - self._learned[places] > self._lifetime]

    def all_old(self, start: int) -> list[ScopeKey]:
        """Return the scopes that have to begin anew in the window from `start` (s) on."""
        (places,) = np.nonzero(start - self._learned > self._lifetime)
        keys = (self._keys[place] for place in places.tolist() if place < len(self._keys))
        return [key for key in keys if key is not None]

    def is_old(self, place: int, start: int) -> bool:
        """Tell whether the scope at a place has to begin anew in the window from `start` (s) on."""
        return start - self._learned.item(place) > self._lifetime

    def learned(self, place: int) -> int:
        """Return the start (s) of the newest window that was learned."""
        return self._learned.item(place)

    def learn(self, places: Integers, start: int, attempts: Integers) -> Integers:
        """Note that the window that begins at `start` (s) is learned at these places.

        Returns:
            How many attempts at least, in closed windows, were not settled yet.
        """
        self._learned[places] = start
        self._balances[places] += attempts
        self._is_dirty[places // SCOPES_PER_RECORD] = True
        return np.maximum(0, self._balances[places])

    def settle(
        self, places: Sequence[int] | Integers, in_open_windows: Sequence[int] | Integers
    ) -> list[int]:
        """Return how many attempts scopes had since this was last called for them.

        Args:
            places: of the scopes.
            in_open_windows: attempts of each in windows that were not learned yet.
        """
        balances = self._balances
        if len(places) == 1:
            (place,), (attempts,) = places, in_open_windows
            unseen = [balances.item(place) + attempts]
            balances[place] = -attempts
            self._is_dirty[place // SCOPES_PER_RECORD] = True
            return unseen
        at, of_each = np.asarray(places, np.int64), np.asarray(in_open_windows, np.int64)
        now: list[int] = (balances[at] + of_each).tolist()
        balances[at] = -of_each
        self._is_dirty[at // SCOPES_PER_RECORD] = True
        return now

    def unsettled(self, place: int, in_open_windows: int) -> int:
        """Return the same of one place, and leave it as it is; late counts may make it less."""
        return max(0, self._balances.item(place) + in_open_windows)

    def all_unsettled(self, places: Integers, in_open_windows: Integers) -> Integers:
        """Return the same of many places."""
        unsettled: Integers = np.maximum(0, self._balances[places] + in_open_windows)
        return unsettled

    def pool(self, places: Integers, learned: Integers) -> None:
        """Add what was learned to the sums of the apps; most rows are 0 where windows are small."""
        some = np.flatnonzero(learned.any(axis=1))
        self.pools.add(self._apps[places[some]].astype(np.int64), learned[some])

    def touch(self, places: Sequence[int] | Integers) -> None:
        """Note that the states at some places have changed."""
        self._is_dirty[np.asarray(places, np.int64) // SCOPES_PER_RECORD] = True

    def oldest_first(self) -> list[ScopeKey]:
        """Return all scopes, those without attempts for longest first."""
        learned = self._learned.tolist()
        order = sorted(self._places.items(), key=lambda each: (learned[each[1]], repr(each[0])))
        return [key for key, _ in order]

    def remove(self, key: ScopeKey) -> None:
        """Forget a scope."""
        place = self._places.pop(key)
        self._keys[place] = None
        self._free.append(place)
        self.episodes.pop(place, None)
        self.touch([place])
        if not isinstance(key, str):
            parts = self.parts[key[0]]
            parts.discard(key[1])
            if not parts:
                del self.parts[key[0]]

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[PoolsKey | FoldGroupKey, Any]]:
        """Hand out the groups that changed, null for those that are empty; and the pools."""
        dirty = np.flatnonzero(self._is_dirty).tolist()
        self._is_dirty[:] = False
        for record in dirty:
            yield from self._groups(record)
        if self.pools.changed:
            yield PoolsKey(self._rule.name), self.pools.record(self._kind)

    def _groups(self, record: int) -> Iterator[tuple[FoldGroupKey, FoldGroup | None]]:
        """Hand out the groups that can be one record: as that record, or each by itself."""
        first, *others = (
            FoldGroupKey(self._rule.name, record * GROUPS_PER_RECORD + number)
            for number in range(GROUPS_PER_RECORD)
        )
        if record in self._long:
            self._apart.add(record)
            yield from ((key, self._group(key.group, SCOPES_PER_GROUP)) for key in (first, *others))
            return
        if record in self._apart:
            self._apart.remove(record)
            yield from ((key, None) for key in others)
        yield first, self._group(first.group, SCOPES_PER_RECORD)

    def _group(self, group: int, scopes: int) -> FoldGroup | None:
        first = group * SCOPES_PER_GROUP
        keys = self._keys[first : first + scopes]
        end = first + len(keys)
        places: Sequence[int] = range(first, end)
        if None in keys:
            places = [place for place, key in enumerate(keys, first) if key is not None]
        if not places:
            return None
        episodes: dict[int, int] = {}
        if self.episodes:
            episodes = {p - first: self.episodes[p] for p in places if p in self.episodes}
        numbers = (self._apps, self._learned, self._balances)
        apps, learned, balances = (each[first:end].tolist() for each in numbers)
        states = self.states.write(places)
        about = self._kind, self._rule.scope, keys
        return FoldGroup(*about, apps, learned, episodes, states, balances)

    def restore_pools(self, record: PoolsRecord) -> None:
        """Take the pools as they were written down.

        Raises:
            ValueError: if they are not as many sums as the detector pools.
        """
        if record.kind == self._kind:
            self.pools.restore(record)

    def restore(self, key: FoldGroupKey, written: FoldGroup) -> list[int]:
        """Take the folds of a group as they were written down; return their places.

        Raises:
            FormatError: if the detector cannot read the states.
            ValueError: if the scopes are not as many as the group can have.
        """
        first = key.group * SCOPES_PER_GROUP
        record, number = divmod(key.group, GROUPS_PER_RECORD)
        if number:
            self._apart.add(record)
        if (written.kind, written.scope) != (self._kind, self._rule.scope):
            self._make_room(first + 1)
            self._is_dirty[record] = True
            return []
        keys = written.keys
        balances = written.balances or [0] * len(keys)
        lengths = {len(written.apps), len(written.learned), len(balances), len(keys)}
        most = SCOPES_PER_GROUP if number else SCOPES_PER_RECORD
        if len(lengths) > 1 or len(keys) > most:
            raise ValueError(f"no group of up to {most} scopes")
        self._make_room(first + len(keys))
        self._apps[first : first + len(keys)] = written.apps
        self._learned[first : first + len(keys)] = written.learned
        self._balances[first : first + len(keys)] = balances
        there = [(name, place) for place, name in enumerate(keys, first) if name is not None]
        places = [place for _, place in there]
        self._put([name for name, _ in there], places)
        self.episodes.update({first + at: number for at, number in written.episodes.items()})
        try:
            self.states.read(places, written.states)
        except (msgspec.MsgspecError, ValueError) as error:
            names = ", ".join(repr(campaign_of(name)) for name in keys if name is not None)
            raise FormatError(
                f"states of detector {self._kind}, rule {self._rule.name}, campaigns {names} on "
                f"the changelog topic: {error}; start the version that wrote them, or read "
                "docs/operations.md"
            ) from error
        return places

    def finish_restore(self) -> None:
        """Find the places that are free, after all groups were restored."""
        self._free = [place for place, key in enumerate(self._keys) if key is None]


def _length(key: ScopeKey) -> int:
    """Return how many characters the names of a scope have together."""
    if isinstance(key, str):
        return len(key)
    campaign_id, part = key
    return len(campaign_id) + len(part or "")
