"""What is known of the scopes of a rule whose detector folds, and its records.

The changelog topic has scopes in groups of some dozen, as one record for each would cost more than
what is in it. A scope stays in its group.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from streams.domain.detectors.folding import FoldingDetector
from streams.domain.pools import Pools, PoolsKey, PoolsRecord
from streams.domain.rules import Rule, ScopeKind
from streams.domain.scope_sums import Part, ScopeKey, Sums, campaign_of
from streams.errors import FormatError

SCOPES_PER_GROUP = 32
GROUP_NAME_BYTES = 64 * 1024
"""A group of scopes whose names are longer than this, together, gets no more of them."""


class FoldGroupKey(msgspec.Struct, frozen=True, array_like=True, tag="fold"):
    """Key of the folds of some scopes of one rule."""

    rule: str
    group: int


class FoldedScope(msgspec.Struct, array_like=True, gc=False):
    """The fold of one scope.

    It is in no cycle of references, as the garbage collector does not see it.

    Attributes:
        key: the scope.
        group: the number of its group.
        app: the number of its app's pool, as known at its first counts.
        learned: start (s) of the newest window that was learned, or is before its first counts.
        episode: number of the breach that goes on; 0 without one.
        since: start (s) of the oldest closed window with too few attempts to be learned yet.
        attempts: in these windows.
        hits: of these.
        state: of the detector's `state_type`, or the bytes (MessagePack) of one: these take a third
            of the memory.
    """

    key: ScopeKey
    group: int
    app: int
    learned: int
    episode: int
    since: int
    attempts: int
    hits: int
    state: Any


class FoldGroup(msgspec.Struct, array_like=True):
    """The folds of some scopes, by a detector of this kind and for a rule with this scope."""

    kind: str
    scope: ScopeKind
    scopes: list[FoldedScope]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(FoldGroup).decode


class FoldedScopes:
    """The folds of one rule's scopes.

    Args:
        rule: the rule.
        detector: its detector.

    Attributes:
        pools: what they have learned together.
    """

    def __init__(self, rule: Rule, detector: FoldingDetector) -> None:
        self.pools = Pools(detector.pooled_sums)
        self._rule = rule
        self._detector = detector
        self._lifetime = detector.state_lifetime
        self._decode = msgspec.msgpack.Decoder(detector.state_type).decode
        self._begun_at = -1
        self._begun: dict[int, bytes] = {}
        """By number of the app, the states of newcomers since the window that closed last."""
        self._known: dict[ScopeKey, FoldedScope] = {}
        self._groups: list[list[FoldedScope]] = []
        self._name_bytes: list[int] = []
        """By group, how long the names in it are together."""
        self._with_room: list[int] = []
        """Groups that may get another scope."""
        self.dirty: set[int] = set()
        """Groups of which anything was changed since they were written."""
        self.parts: dict[str, set[Part]] = {}
        """By campaign, its parts, if the rule is about parts."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def __iter__(self) -> Iterator[FoldedScope]:
        """Yield all of them."""
        return iter(self._known.values())

    @property
    def get(self) -> Callable[[ScopeKey], FoldedScope | None]:
        """What returns the fold of a scope; null if nothing is known of it."""
        return self._known.get

    def unknown(self, sums: Sums) -> Collection[ScopeKey]:
        """Return those of the scopes of which nothing is known."""
        return sums.keys() - self._known.keys()

    def new(self, key: ScopeKey, app: str | None, learned: int) -> FoldedScope:
        """Return the fold of a scope of which nothing is known but its app."""
        number = self.pools.number_of(app)
        state = self._begin(number)
        group = self._group_with_room(key)
        return self._put(FoldedScope(key, group, number, learned, 0, 0, 0, 0, state))

    def _begin(self, number: int) -> bytes:
        """Return the state of a newcomer of an app."""
        if self._begun_at != self.pools.closings:
            self._begun_at, self._begun = self.pools.closings, {}
        state = self._begun.get(number)
        if state is None:
            begun = self._detector.begin(self.pools.of(number))
            state = self._begun[number] = encode(begun)
        return state

    def is_old(self, scope: FoldedScope, start: int) -> bool:
        """Tell whether a fold has to be forgotten before the window that begins at `start` (s)."""
        return start - scope.learned > self._lifetime

    def reset(self, scope: FoldedScope, learned: int) -> None:
        """Make a fold that of a scope of which nothing is known but its app."""
        scope.learned = learned
        scope.episode = scope.since = scope.attempts = scope.hits = 0
        scope.state = self._begin(scope.app)

    def state(self, scope: FoldedScope) -> Any:
        """Return the state of a fold; it may be changed until the next `take_changes`."""
        state = scope.state
        if type(state) is bytes:
            state = scope.state = self._decode(state)
        return state

    def pack(self, scope: FoldedScope) -> None:
        """Keep the state as bytes, as nothing will touch it soon."""
        if type(scope.state) is not bytes:
            scope.state = encode(scope.state)

    def remove(self, scope: FoldedScope) -> None:
        """Forget a scope."""
        key, group = scope.key, scope.group
        del self._known[key]
        self._groups[group].remove(scope)
        self._name_bytes[group] -= _length(key)
        self._with_room.append(group)
        self.dirty.add(group)
        if not isinstance(key, str):
            parts = self.parts[key[0]]
            parts.discard(key[1])
            if not parts:
                del self.parts[key[0]]

    def _put(self, scope: FoldedScope) -> FoldedScope:
        key, group = scope.key, scope.group
        self._known[key] = scope
        self._groups[group].append(scope)
        self._name_bytes[group] += _length(key)
        if not isinstance(key, str):
            self.parts.setdefault(key[0], set()).add(key[1])
        return scope

    def _group_with_room(self, key: ScopeKey) -> int:
        while self._with_room:
            group = self._with_room[-1]
            fits = self._name_bytes[group] + _length(key) <= GROUP_NAME_BYTES
            if not self._groups[group] or (fits and len(self._groups[group]) < SCOPES_PER_GROUP):
                return group
            self._with_room.pop()
        self._make_groups(len(self._groups))
        return len(self._groups) - 1

    def _make_groups(self, last: int) -> None:
        while len(self._groups) <= last:
            self._with_room.append(len(self._groups))
            self._groups.append([])
            self._name_bytes.append(0)

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[PoolsKey | FoldGroupKey, Any]]:
        """Hand out the groups that changed, null for those that are empty; and the pools."""
        dirty, self.dirty = self.dirty, set()
        name, kind, scope = self._rule.name, self._detector.kind, self._rule.scope
        for group in sorted(dirty):
            scopes = self._groups[group]
            for each in scopes:
                self.pack(each)
            yield FoldGroupKey(name, group), FoldGroup(kind, scope, scopes) if scopes else None
        if self.pools.changed:
            yield PoolsKey(name), self.pools.record(kind)

    def restore_pools(self, record: PoolsRecord) -> None:
        """Take the pools as they were written down.

        Raises:
            ValueError: if they are not as many sums as the detector pools.
        """
        if record.kind == self._detector.kind:
            self.pools.restore(record)

    def restore(self, key: FoldGroupKey, written: FoldGroup) -> Iterator[tuple[FoldedScope, Any]]:
        """Take the folds of a group as they were written down; yield them with their states.

        Raises:
            FormatError: if the detector cannot read a state.
            ValueError: if a scope is of another group than the key says.
        """
        self._make_groups(key.group)
        if (written.kind, written.scope) != (self._detector.kind, self._rule.scope):
            self.dirty.add(key.group)
            return
        for scope in written.scopes:
            if scope.group != key.group:
                raise ValueError(f"it has a scope of group {scope.group}")
            yield self._put(scope), self._read(scope)

    def _read(self, scope: FoldedScope) -> Any:
        try:
            return self._decode(scope.state)
        except (msgspec.MsgspecError, TypeError) as error:
            raise FormatError(
                f"state of detector {self._detector.kind}, rule {self._rule.name}, campaign "
                f"{campaign_of(scope.key)} on the changelog topic: {error}; start the version "
                "that wrote it, or read docs/operations.md"
            ) from error


def _length(key: ScopeKey) -> int:
    """Return about how many bytes a name takes, and no fewer."""
    if isinstance(key, str):
        return len(key) if key.isascii() else 4 * len(key)
    return _length(key[0]) + _length(key[1] or "")
