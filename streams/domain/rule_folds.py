"""The fold of one rule: states of its scopes, and what records and closed windows do to them."""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import msgspec

from streams.domain.counts import OTHER, StatusGroups
from streams.domain.detectors.folding import Folded, FoldFigures, FoldingDetector, Increment
from streams.domain.partial_counts import Column, WindowCounts
from streams.domain.rules import Hits, Rule, Scope, ScopeKind
from streams.domain.table import WindowTable
from streams.errors import FormatError

SCOPES_PER_GROUP = 32
"""Scopes whose states are one record of the changelog topic."""
GROUP_NAME_BYTES = 64 * 1024
"""A group of scopes whose names are longer than this, together, gets no more of them."""
MATCHES_KEPT = 65_536
"""Campaigns of which it is remembered whether a rule with patterns matches them."""

Key: TypeAlias = str | tuple[str, str | None]
"""A scope: the campaign or, for a rule about parts of it, the campaign and the part."""


class FoldGroupKey(msgspec.Struct, frozen=True, array_like=True, tag="fold"):
    """Key of the states of some scopes of one rule."""

    rule: str
    group: int


class FoldedScope(NamedTuple):
    """The fold of one scope, as it is written down.

    Attributes:
        key: the scope.
        learned: start (s) of the newest window that it has learned.
        episode: number of the breach that goes on; 0 without one.
        state: of the detector's `state_type`, encoded.
    """

    key: Key
    learned: int
    episode: int
    state: msgspec.Raw


class FoldGroup(msgspec.Struct, frozen=True, array_like=True):
    """The folds of some scopes, by a detector of this kind and for a rule with this scope."""

    kind: str
    scope: ScopeKind
    scopes: list[FoldedScope]


_encode_state = encode_group = msgspec.msgpack.Encoder().encode
decode_group = msgspec.msgpack.Decoder(FoldGroup).decode


class Episode(NamedTuple):
    """A breach of one scope, from its beginning to its end.

    Attributes:
        number: greater than that of all episodes of the scope before it.
        begin: the evidence at its beginning or, if rules were evaluated since, as it is now; null
            if there is none any more.
        end: the evidence at its end; null while it goes on.
    """

    number: int
    begin: FoldFigures | None
    end: FoldFigures | None


class RecordContext(NamedTuple):
    """What is to be known of counts of one window in one record.

    Attributes:
        offset: of the record.
        at: event time (ms): the newest of the log so far.
        start: of the window (s).
        table: has these counts.
    """

    offset: int
    at: int
    start: int
    table: WindowTable


class _Entry(msgspec.Struct, gc=False):
    """The fold of one scope.

    The state is kept as bytes (MessagePack) while nothing touches it: so it takes a third. An entry
    is in no cycle of references, as the collector does not see it.
    """

    key: Key
    group: int
    learned: int
    episode: int
    state: Any


class RuleFold:
    """The fold of one rule.

    Args:
        rule: its detector folds.
        groups: which group each status is in.
        most_parts: of one campaign that are kept apart, if the rule is about parts.
    """

    def __init__(self, rule: Rule, groups: StatusGroups, most_parts: int) -> None:
        if not isinstance(rule.detector, FoldingDetector):
            raise TypeError(f"the detector of rule {rule.name} does not fold")
        self.rule = rule
        self._detector = rule.detector
        self._hold = rule.keep_firing_for
        self._lifetime = rule.detector.state_lifetime
        self._decode = msgspec.msgpack.Decoder(rule.detector.state_type).decode
        self._hits = Hits(rule, groups)
        self._status_groups = groups
        self._is_attempt = groups.is_attempt
        self._most_parts = most_parts
        self._entries: dict[Key, _Entry] = {}
        self._groups: list[list[_Entry]] = []
        self._name_bytes: list[int] = []
        """By group, how long the names in it are together."""
        self._with_room: list[int] = []
        """Groups that may get another scope."""
        self._dirty: set[int] = set()
        """Groups whose states were changed since they were written."""
        self._parts: dict[str, set[str | None]] = {}
        """By campaign, its parts that have a state, if the rule is about parts."""
        self._live: dict[str, set[Key]] = {}
        """By campaign, the scopes to which attempts without hits have to be added."""
        self._began: dict[Key, FoldFigures] = {}
        """The evidence at the beginning of episodes since rules were evaluated."""
        self._ended: dict[Key, list[Episode]] = {}
        """Episodes that have ended since rules were evaluated."""
        self._breaching: dict[str, set[Key]] = {}
        """By campaign, the scopes in an episode."""
        self.stirred: set[str] = set()
        """Campaigns whose evaluation has another result, since these were last taken."""
        self._learning = -1
        """Start (s) of the window that is being learned."""
        self._attempts: dict[Key, int] = {}
        """Attempts of that window that have yet to be learned, by scope."""
        self._hits_of: dict[Key, int] = {}
        self._matches = self._matcher()

    def _matcher(self) -> Callable[[str], bool]:
        if "*" in self.rule.campaigns:
            return lambda campaign_id: campaign_id != OTHER
        match = lru_cache(MATCHES_KEPT)(self.rule.matches_campaign)
        return lambda campaign_id: campaign_id != OTHER and match(campaign_id)

    def __len__(self) -> int:
        """Return how many scopes have a state."""
        return len(self._entries)

    # Records

    def add(self, counts: WindowCounts, record: RecordContext) -> None:
        """Add the counts of one window that a record has, and the window table too.

        Args:
            counts: under the campaigns that the window table counts them under.
            record: what else is to be known of them.
        """
        hits = self._sum_hits(counts)
        live = self._live
        keys: set[Key] = set(hits)
        if not live.keys().isdisjoint(counts.campaigns):
            keys.update(*[live[name] for name in live.keys() & counts.campaigns])
        if not keys:
            return
        # In the order of the record: it decides which parts of a campaign are too many.
        for key, attempts in self._sum_attempts(counts, keys).items():
            if key in keys:
                self._add(key, attempts, hits.get(key, 0), record)

    def _add(self, key: Key, attempts: int, hits: int, record: RecordContext) -> None:
        if not isinstance(key, str):
            key = self._part(*key)
        if self._attempts:
            self._learn_of(key)
        entry = self._entry(key, record.start)
        so_far = partial(self._so_far, key, record)
        new = Increment(record.at, attempts, hits, record.start, so_far)
        state = self._state(entry)
        turn = self._detector.add(state, new, self._hold)
        self._dirty.add(entry.group)
        self._set_live(key, self._detector.is_live(state))
        if turn is not None:
            self._turn(entry, turn.figures, record.offset + 1 if turn.begins else 0)

    def _so_far(self, key: Key, record: RecordContext) -> tuple[int, int]:
        """Return attempts and hits of a scope in the window of a record."""
        campaign_id = _campaign_of(key)
        cell = record.table.cell(campaign_id, record.start)
        seen = self.rule.observe(campaign_id, cell, self._status_groups) if cell is not None else {}
        of_scope = seen.get(self._scope(key))
        return (of_scope.attempts, of_scope.hits) if of_scope is not None else (0, 0)

    def _turn(self, entry: _Entry, figures: FoldFigures, number: int) -> None:
        """Begin an episode, or end one if the new number is 0."""
        key = entry.key
        campaign_id = _campaign_of(key)
        if number:
            self._began[key] = figures
            self._breaching.setdefault(campaign_id, set()).add(key)
        else:
            ended = Episode(entry.episode, self._began.pop(key, None), figures)
            self._ended.setdefault(key, []).append(ended)
            _discard(self._breaching, campaign_id, key)
        entry.episode = number
        self.stirred.add(campaign_id)

    def _sum_hits(self, counts: WindowCounts) -> dict[Key, int]:
        sums: dict[Key, int] = {}
        for column in counts.columns:
            if self._has_attempts(column) and column.dimensions.outcome in self._hits:
                self._sum(column, counts.campaigns, range(len(counts.campaigns)), sums)
        if not sums:
            return sums
        return {key: count for key, count in sums.items() if self._matches(_campaign_of(key))}

    def _sum_attempts(self, counts: WindowCounts, keys: set[Key]) -> dict[Key, int]:
        sums: dict[Key, int] = {}
        wanted = {_campaign_of(key) for key in keys}
        positions = {at for at, name in enumerate(counts.campaigns) if name in wanted}
        for column in counts.columns:
            if self._has_attempts(column):
                self._sum(column, counts.campaigns, positions, sums)
        return sums

    def _has_attempts(self, column: Column) -> bool:
        dimensions = column.dimensions
        return not dimensions.engagement and self._is_attempt(dimensions.outcome)

    def _sum(
        self, column: Column, campaigns: list[str], positions: Container[int], sums: dict[Key, int]
    ) -> None:
        """Add what a column has of campaigns at these positions to sums by scope."""
        if self.rule.scope == "campaign":
            for at, count in zip(column.at, column.counts, strict=True):
                if at in positions:
                    name = campaigns[at]
                    sums[name] = sums.get(name, 0) + count
            return
        dimensions = column.dimensions
        is_treatment = self.rule.scope == "treatment"
        part = dimensions.treatment_id if is_treatment else dimensions.channel_type
        for at, count in zip(column.at, column.counts, strict=True):
            if at in positions:
                key = self._part(campaigns[at], part)
                sums[key] = sums.get(key, 0) + count

    def _part(self, campaign_id: str, part: str | None) -> Key:
        """Return a part of a campaign as a scope: that of all further ones, if it has too many."""
        known = self._parts.get(campaign_id, ())
        if part not in known and len(known) >= self._most_parts:
            return campaign_id, OTHER
        return campaign_id, part

    # States

    def _state(self, entry: _Entry) -> Any:
        state = entry.state
        if type(state) is bytes:
            state = entry.state = self._decode(state)
        return state

    def _entry(self, key: Key, start: int) -> _Entry:
        """Return the fold of a scope with attempts in the window that begins at `start` (s)."""
        entry = self._entries.get(key)
        if entry is None:
            return self._put(key, self._group_with_room(key), start, 0, self._detector.begin())
        if start - entry.learned > self._lifetime:
            # As if it had been removed in time.
            self._set_live(key, is_live=False)
            _discard(self._breaching, _campaign_of(key), key)
            self._began.pop(key, None)
            entry.learned, entry.episode, entry.state = start, 0, self._detector.begin()
        return entry

    def _put(self, key: Key, group: int, learned: int, episode: int, state: Any) -> _Entry:
        entry = self._entries[key] = _Entry(key, group, learned, episode, state)
        self._groups[group].append(entry)
        self._name_bytes[group] += _length(key)
        if not isinstance(key, str):
            self._parts.setdefault(key[0], set()).add(key[1])
        return entry

    def _group_with_room(self, key: Key) -> int:
        while self._with_room:
            group = self._with_room[-1]
            fits = self._name_bytes[group] + _length(key) <= GROUP_NAME_BYTES
            if not self._groups[group] or (fits and len(self._groups[group]) < SCOPES_PER_GROUP):
                return group
            self._with_room.pop()
        self._groups.append([])
        self._name_bytes.append(0)
        self._with_room.append(len(self._groups) - 1)
        return len(self._groups) - 1

    def _remove(self, entry: _Entry) -> None:
        key, group = entry.key, entry.group
        del self._entries[key]
        self._groups[group].remove(entry)
        self._name_bytes[group] -= _length(key)
        self._with_room.append(group)
        self._dirty.add(group)
        campaign_id = _campaign_of(key)
        if not isinstance(key, str):
            _discard(self._parts, campaign_id, key[1])
        self._set_live(key, is_live=False)
        _discard(self._breaching, campaign_id, key)
        self._began.pop(key, None)
        self._ended.pop(key, None)

    def _set_live(self, key: Key, is_live: bool) -> None:
        campaign_id = _campaign_of(key)
        if not is_live:
            _discard(self._live, campaign_id, key)
        elif campaign_id not in self._live:
            self._live[campaign_id] = {key}
        else:
            self._live[campaign_id].add(key)

    def forget(self, start: int, most: int) -> None:
        """Remove states that are too old, and the oldest if there are more than `most`.

        Args:
            start: no window that begins before it (s) is learned from here on.
            most: scopes whose states are kept; past that, a tenth of them goes.
        """
        for entry in list(self._entries.values()):
            if start - entry.learned > self._lifetime:
                self._remove(entry)
        if len(self._entries) > most:
            oldest = sorted(self._entries.values(), key=lambda each: (each.learned, str(each.key)))
            for entry in oldest[: len(oldest) - most * 9 // 10]:
                self._remove(entry)

    # Closed windows

    def close(self, start: int, counts: Iterable[WindowCounts]) -> None:
        """Learn the counts of a window that closes; `learn` does so, or the scope's next counts."""
        self.learn(None)
        self._learning = start
        attempts: dict[Key, int] = {}
        hits: dict[Key, int] = {}
        for part in counts:
            everywhere = range(len(part.campaigns))
            for column in part.columns:
                if self._has_attempts(column):
                    self._sum(column, part.campaigns, everywhere, attempts)
                    if column.dimensions.outcome in self._hits:
                        self._sum(column, part.campaigns, everywhere, hits)
        self._attempts, self._hits_of = attempts, hits
        if self.rule.scope != "campaign":
            self._admit_parts()

    def _admit_parts(self) -> None:
        """Decide which new parts are too many, in an order that does not depend on the window's."""
        for key in sorted(self._attempts.keys() - self._entries.keys(), key=repr):
            kept = self._part(*key)
            if kept == key:
                if self._matches(_campaign_of(key)):
                    self._entry(key, self._learning)
                continue
            self._attempts[kept] = self._attempts.get(kept, 0) + self._attempts.pop(key)
            self._hits_of[kept] = self._hits_of.get(kept, 0) + self._hits_of.pop(key, 0)

    @property
    def to_learn(self) -> int:
        """How many scopes have yet to learn from the window that closed last."""
        return len(self._attempts)

    def learn(self, most: int | None) -> int:
        """Let no more scopes than `most` learn from it; return how many did."""
        count = len(self._attempts)
        if most is not None and most < count:
            count = most
        for _ in range(count):
            key, attempts = self._attempts.popitem()
            self._learn(key, attempts)
        if not self._attempts:
            self._hits_of.clear()
        return count

    def _learn_of(self, key: Key) -> None:
        attempts = self._attempts.pop(key, None)
        if attempts is not None:
            self._learn(key, attempts)

    def _learn(self, key: Key, attempts: int) -> None:
        if not self._matches(_campaign_of(key)):
            return
        start = self._learning
        entry = self._entry(key, start)
        state = self._state(entry)
        self._detector.learn(state, start, attempts, self._hits_of.get(key, 0))
        entry.learned = start
        self._dirty.add(entry.group)
        if entry.episode:
            # The figures of its alert may follow from what was learned.
            self.stirred.add(_campaign_of(key))
        is_live = self._detector.is_live(state)
        if not is_live:
            entry.state = _encode_state(state)
        self._set_live(key, is_live)

    # Evaluations

    def breaching(self) -> Iterable[str]:
        """Return the campaigns with a scope in an episode."""
        return self._breaching.keys()

    def pass_over(self, campaign_id: str) -> None:
        """Drop what was found in a campaign's scopes, as the rule is not about it, as things are.

        Should it be about it later, a breach that goes on is shown as it is then.
        """
        for key in self._breaching.get(campaign_id, ()):
            self._began.pop(key, None)
        for key in [key for key in self._ended if _campaign_of(key) == campaign_id]:
            del self._ended[key]

    def scopes_to_follow(self, campaign_id: str) -> set[Scope]:
        """Return the scopes of a campaign that are in an episode, or were since evaluated."""
        keys = set(self._breaching.get(campaign_id, ()))
        if self._ended:
            keys.update(key for key in self._ended if _campaign_of(key) == campaign_id)
        return {self._scope(key) for key in keys}

    def get(self, scope: Scope) -> Folded | None:
        """Return the fold of a scope as it is now; null if nothing is known."""
        entry = self._entries.get(self._key(scope))
        return Folded(self._state(entry), entry.episode > 0) if entry is not None else None

    def take_episodes(self, scope: Scope) -> list[Episode]:
        """Return the scope's episodes since this was last called, and the one that goes on."""
        key = self._key(scope)
        episodes = self._ended.pop(key, [])
        entry = self._entries.get(key)
        if entry is not None and entry.episode:
            begin = self._began.pop(key, None) or self._detector.figures(self._state(entry))
            episodes.append(Episode(entry.episode, begin, None))
        return episodes

    def _scope(self, key: Key) -> Scope:
        if isinstance(key, str):
            return Scope(key)
        if self.rule.scope == "treatment":
            return Scope(key[0], treatment_id=key[1])
        return Scope(key[0], channel_type=key[1])

    def _key(self, scope: Scope) -> Key:
        if self.rule.scope == "campaign":
            return scope.campaign_id
        is_treatment = self.rule.scope == "treatment"
        return scope.campaign_id, scope.treatment_id if is_treatment else scope.channel_type

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[FoldGroupKey, FoldGroup | None]]:
        """Hand out the groups of scopes that changed; null for those that are empty."""
        dirty, self._dirty = self._dirty, set()
        name, kind, scope = self.rule.name, self._detector.kind, self.rule.scope
        for group in sorted(dirty):
            scopes = []
            for each in self._groups[group]:
                if type(each.state) is not bytes:
                    each.state = _encode_state(each.state)
                state = msgspec.Raw(each.state)
                scopes.append(FoldedScope(each.key, each.learned, each.episode, state))
            yield FoldGroupKey(name, group), FoldGroup(kind, scope, scopes) if scopes else None

    def restore(self, key: FoldGroupKey, written: FoldGroup) -> None:
        """Take the states of a group as they were written down.

        Raises:
            FormatError: if the detector cannot read a state.
        """
        self._make_groups(key.group)
        if (written.kind, written.scope) != (self._detector.kind, self.rule.scope):
            self._dirty.add(key.group)
            return
        for scope, learned, episode, raw in written.scopes:
            try:
                state = self._decode(raw)
            except msgspec.ValidationError as error:
                raise FormatError(
                    f"state of detector {written.kind}, rule {key.rule}, campaign "
                    f"{_campaign_of(scope)} on the changelog topic: {error}; start the version "
                    "that wrote it, or read docs/operations.md"
                ) from error
            entry = self._put(scope, key.group, learned, episode, bytes(raw))
            self._set_live(scope, self._detector.is_live(state))
            if entry.episode:
                self._breaching.setdefault(_campaign_of(scope), set()).add(scope)

    def _make_groups(self, last: int) -> None:
        while len(self._groups) <= last:
            self._with_room.append(len(self._groups))
            self._groups.append([])
            self._name_bytes.append(0)

    def finish_restore(self) -> None:
        """Forget what was found while records were replayed: it was decided on before."""
        self._began.clear()
        self._ended.clear()
        self.stirred.clear()


def _campaign_of(key: Key) -> str:
    return key if isinstance(key, str) else key[0]


def _length(key: Key) -> int:
    return sum(len((part or "").encode()) for part in ((key,) if isinstance(key, str) else key))


def _discard(index: dict[str, set[Any]], campaign_id: str, value: Any) -> None:
    """Remove a value from the set of a campaign, and the set with its last one."""
    values = index.get(campaign_id)
    if values is not None:
        values.discard(value)
        if not values:
            del index[campaign_id]
