"""The fold of one rule: what records and closed windows do to its scopes."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache, partial
from itertools import islice
from typing import NamedTuple

from streams.domain.counts import OTHER, StatusGroups
from streams.domain.detectors.folding import Folded, FoldFigures, FoldingDetector, Increment
from streams.domain.folded_scopes import FoldedScope, FoldedScopes, FoldGroup, FoldGroupKey
from streams.domain.partial_counts import WindowCounts
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import (
    Part,
    ScopeKey,
    ScopeSums,
    Sums,
    campaign_of,
    key_of,
    scope_of,
)
from streams.domain.table import WindowTable

MATCHES_KEPT = 65_536
"""Campaigns of which it is remembered whether a rule with patterns matches them."""


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


class RecordContext:
    """Counts of one window in one record, and what is to be known of them.

    Args:
        offset: of the record.
        at: event time (ms): the newest of the log so far.
        start: of the window (s).
        closed_until: end (s) of the newest window that is closed.
        counts: under the campaigns that the window table counts them under.
        table: has these counts.
    """

    __slots__ = ("_apps", "at", "closed_until", "counts", "offset", "start", "table")

    def __init__(  # noqa: PLR0913, PLR0917 - what a record holds
        self,
        offset: int,
        at: int,
        start: int,
        closed_until: int,
        counts: WindowCounts,
        table: WindowTable,
    ) -> None:
        self.offset = offset
        self.at = at
        self.start = start
        self.closed_until = closed_until
        self.counts = counts
        self.table = table
        self._apps: dict[str, str | None] = {}

    def app_of(self, campaign_id: str) -> str | None:
        """Return the app of one of the campaigns; null if the record does not say it."""
        if not self._apps:
            self._apps = dict(_apps(self.counts))
        return self._apps[campaign_id]


class RuleFold:
    """The fold of one rule.

    Args:
        rule: its detector folds.
        groups: which group each status is in.
        most_parts: of one campaign that are kept apart, if the rule is about parts.

    Attributes:
        rule: the rule.
        scopes: what is known of its scopes.
        stirred: campaigns whose evaluation has another result, since these were last taken.
        failures: campaigns with a scope that could not be folded, and what was raised, since these
            were last taken.
    """

    def __init__(self, rule: Rule, groups: StatusGroups, most_parts: int) -> None:
        if not isinstance(rule.detector, FoldingDetector):
            raise TypeError(f"the detector of rule {rule.name} does not fold")
        self.rule = rule
        self.scopes = FoldedScopes(rule, rule.detector)
        self.stirred: set[str] = set()
        self.failures: list[tuple[str, Exception]] = []
        self._detector: FoldingDetector = rule.detector
        self._sums = ScopeSums(rule, groups, self._part)
        self._groups = groups
        self._most_parts = most_parts
        self._matches = _matcher(rule)
        self._live: dict[ScopeKey, None] = {}
        """Scopes to which attempts without hits have to be added."""
        self._breaching: set[ScopeKey] = set()
        self._began: dict[ScopeKey, FoldFigures] = {}
        """The evidence at the beginning of episodes since rules were evaluated."""
        self._ended: dict[ScopeKey, list[Episode]] = {}
        """Episodes that have ended since rules were evaluated."""
        self._learning = -1
        """Start (s) of the window that is being learned."""
        self._attempts: Sums = {}
        """Attempts in that window."""
        self._hits: Sums = {}
        """Hits in that window."""
        self._next: Iterator[tuple[ScopeKey, int]] = iter(())
        """The attempts that have yet to be learned, but for scopes with new counts since."""
        self.to_learn = 0
        """How many these are."""

    # Records

    def add(self, record: RecordContext) -> None:
        """Add the counts of one window that a record has, and the window table too."""
        counts = record.counts
        hits = self._sums.hits(counts)
        keys = {*hits, *self._live_in(counts.campaigns)}
        if not keys:
            return
        # In the order of the record: it decides which parts of a campaign are too many.
        for key, attempts in self._sums.attempts(counts, keys).items():
            if key in keys and self._matches(campaign_of(key)):
                self._add(key, attempts, hits.get(key, 0), record)

    def _live_in(self, campaigns: list[str]) -> Iterable[ScopeKey]:
        if self.rule.scope == "campaign":
            live = self._live.keys()
            return () if live.isdisjoint(campaigns) else live & campaigns
        parts = self.scopes.parts
        keys = [(name, part) for name in campaigns for part in parts.get(name, ())]
        return self._live.keys() & keys

    def _add(self, key: ScopeKey, attempts: int, hits: int, record: RecordContext) -> None:
        if not isinstance(key, str):
            key = self._part(*key)
        if self.to_learn:
            self._learn_of(key)
        scope = self._known(key, record.start, record.closed_until - 1)
        if scope is None:
            app = record.app_of(campaign_of(key))
            scope = self.scopes.new(key, app, record.closed_until - 1)
        so_far = partial(self._so_far, key, record)
        new = Increment(record.at, attempts, hits, record.start, so_far)
        state = self.scopes.state(scope)
        self.scopes.dirty.add(scope.group)
        try:
            turn = self._detector.add(state, new, self.rule.keep_firing_for)
        except Exception as error:  # noqa: BLE001 - one scope must not stop the others
            self._fail(scope, error)
            return
        self._set_live(key, self._detector.is_live(state))
        if turn is not None:
            self._turn(scope, turn.figures, record.offset + 1 if turn.begins else 0)

    def _fail(self, scope: FoldedScope, error: Exception) -> None:
        """Begin anew with a scope that its detector could not fold."""
        self.failures.append((campaign_of(scope.key), error))
        self._drop(scope.key)
        self.scopes.reset(scope, scope.learned)
        self.stirred.add(campaign_of(scope.key))

    def _known(self, key: ScopeKey, start: int, learned: int) -> FoldedScope | None:
        """Return the fold of a scope with attempts in the window that begins at `start` (s).

        It is null for a newcomer. One that is too old begins anew, as after `learned`.
        """
        scope = self.scopes.get(key)
        if scope is not None and self.scopes.is_old(scope, start):
            # As if it had been removed in time.
            self._drop(key)
            self.scopes.reset(scope, learned)
        return scope

    def _part(self, campaign_id: str, part: Part) -> ScopeKey:
        """Return a part of a campaign as a scope: that of all further ones, if it has too many."""
        known = self.scopes.parts.get(campaign_id, ())
        if part not in known and len(known) >= self._most_parts:
            return campaign_id, OTHER
        return campaign_id, part

    def _so_far(self, key: ScopeKey, record: RecordContext) -> tuple[int, int]:
        """Return attempts and hits of a scope in the window of a record."""
        campaign_id = campaign_of(key)
        cell = record.table.cell(campaign_id, record.start)
        seen = self.rule.observe(campaign_id, cell, self._groups) if cell is not None else {}
        of_scope = seen.get(scope_of(self.rule, key))
        return (of_scope.attempts, of_scope.hits) if of_scope is not None else (0, 0)

    def _turn(self, scope: FoldedScope, figures: FoldFigures, number: int) -> None:
        """Begin an episode, or end one if the new number is 0."""
        key = scope.key
        if number:
            self._began[key] = figures
            self._breaching.add(key)
        else:
            ended = Episode(scope.episode, self._began.pop(key, None), figures)
            self._ended.setdefault(key, []).append(ended)
            self._breaching.discard(key)
        scope.episode = number
        self.stirred.add(campaign_of(key))

    def _set_live(self, key: ScopeKey, is_live: bool) -> None:
        if is_live:
            self._live[key] = None
        else:
            self._live.pop(key, None)

    def _drop(self, key: ScopeKey) -> None:
        """Forget what is under way in a scope."""
        self._live.pop(key, None)
        self._breaching.discard(key)
        self._began.pop(key, None)
        self._ended.pop(key, None)

    # Closed windows

    def close(
        self, start: int, counts: Iterable[WindowCounts], attempts: Sums | None = None
    ) -> Sums:
        """Learn the counts of a window that closes; `learn` does so, or the scope's next counts.

        Args:
            start: of the window (s).
            counts: of the window.
            attempts: of all scopes, if these are known; they are not changed.

        Returns:
            The attempts of all scopes.
        """
        self.learn(None)
        self.scopes.pools.window_closes()
        sums: Sums = {}
        hits: Sums = {}
        for part in counts:
            self._sums.add_all(part, sums if attempts is None else None, hits)
        self._learning, self._hits = start, hits
        self._attempts = sums if attempts is None else attempts
        newcomers = self.scopes.unknown(self._attempts)
        if newcomers:
            self._admit(newcomers, counts)
        self._next, self.to_learn = iter(self._attempts.items()), len(self._attempts)
        return self._attempts

    def _admit(self, newcomers: Collection[ScopeKey], counts: Iterable[WindowCounts]) -> None:
        """Begin the folds of scopes that have their first attempts in the window that closes.

        The order decides which parts are too many; it must not depend on that in the window.
        """
        wanted = {campaign_of(key) for key in newcomers}
        apps: dict[str, str | None] = {}
        for part in counts:
            apps.update((name, app) for name, app in _apps(part) if name in wanted)
        by_name = self.rule.scope != "campaign"
        for key in sorted(newcomers, key=repr) if by_name else newcomers:
            campaign_id = campaign_of(key)
            if not self._matches(campaign_id):
                continue
            kept = self._part(*key) if not isinstance(key, str) else key
            if self.scopes.get(kept) is None:
                self.scopes.new(kept, apps[campaign_id], self._learning - 1)
            if kept != key:
                self._attempts[kept] = self._attempts.get(kept, 0) + self._attempts.pop(key)
                self._hits[kept] = self._hits.get(kept, 0) + self._hits.pop(key, 0)

    def learn(self, most: int | None) -> int:
        """Let no more scopes than `most` learn from it; return how many did."""
        count = self.to_learn if most is None else min(most, self.to_learn)
        start, hits, enough = self._learning, self._hits, self._detector.least_learned
        get, is_old, dirty = self.scopes.get, self.scopes.is_old, self.scopes.dirty
        for key, attempts in islice(self._next, count):
            scope = get(key)
            if scope is None or scope.learned >= start:
                continue
            if is_old(scope, start):
                self._known(key, start, start - 1)
            scope.learned = start
            dirty.add(scope.group)
            if not scope.attempts:
                scope.since = start
            scope.attempts += attempts
            if key in hits:
                scope.hits += hits[key]
            if scope.attempts >= enough:
                self._learn(scope)
        self.to_learn -= count
        if not self.to_learn:
            self._attempts, self._hits, self._next = {}, {}, iter(())
        return count

    def _learn_of(self, key: ScopeKey) -> None:
        """Let one scope learn from it, if it did not yet."""
        attempts = self._attempts.get(key)
        if attempts is None:
            return
        scope = self._known(key, self._learning, self._learning - 1)
        if scope is not None and scope.learned < self._learning:
            scope.learned = self._learning
            self.scopes.dirty.add(scope.group)
            if not scope.attempts:
                scope.since = self._learning
            scope.attempts += attempts
            scope.hits += self._hits.get(key, 0)
            if scope.attempts >= self._detector.least_learned:
                self._learn(scope)

    def _learn(self, scope: FoldedScope) -> None:
        """Learn the windows of a scope that are enough together."""
        state = self.scopes.state(scope)
        try:
            learned = self._detector.learn(state, scope.since, scope.attempts, scope.hits)
        except Exception as error:  # noqa: BLE001 - one scope must not stop the others
            self._fail(scope, error)
            return
        if learned is not None:
            self.scopes.pools.add(scope.app, learned)
        scope.attempts = scope.hits = 0
        if scope.episode:
            # The figures of its alert may follow from what was learned.
            self.stirred.add(campaign_of(scope.key))
        is_live = self._detector.is_live(state)
        self._set_live(scope.key, is_live)
        if not is_live:
            self.scopes.pack(scope)

    def forget(self, start: int, most: int) -> None:
        """Remove folds that are too old, and the oldest if there are more than `most`.

        Args:
            start: no window that begins before it (s) is learned from here on.
            most: scopes that are kept; past that, a tenth of them goes.
        """
        for scope in [each for each in self.scopes if self.scopes.is_old(each, start)]:
            self._remove(scope)
        if len(self.scopes) > most:
            oldest = sorted(self.scopes, key=lambda each: (each.learned, repr(each.key)))
            for scope in oldest[: len(oldest) - most * 9 // 10]:
                self._remove(scope)

    def _remove(self, scope: FoldedScope) -> None:
        self._drop(scope.key)
        self.scopes.remove(scope)

    # Evaluations

    def breaching(self) -> set[str]:
        """Return the campaigns with a scope in an episode."""
        return {campaign_of(key) for key in self._breaching}

    def pass_over(self, campaign_id: str) -> None:
        """Drop what was found in a campaign's scopes, as the rule is not about it, as things are.

        Should it be about it later, a breach that goes on is shown as it is then.
        """
        for key in self._of_campaign(self._began, campaign_id):
            del self._began[key]
        for key in self._of_campaign(self._ended, campaign_id):
            del self._ended[key]

    def scopes_to_follow(self, campaign_id: str) -> set[Scope]:
        """Return the scopes of a campaign that are in an episode, or were since evaluated."""
        keys = {
            *self._of_campaign(self._breaching, campaign_id),
            *self._of_campaign(self._ended, campaign_id),
        }
        return {scope_of(self.rule, key) for key in keys}

    @staticmethod
    def _of_campaign(keys: Iterable[ScopeKey], campaign_id: str) -> list[ScopeKey]:
        return [key for key in keys if campaign_of(key) == campaign_id]

    def get(self, scope: Scope) -> Folded | None:
        """Return the fold of a scope as it is now; null if nothing is known."""
        known = self.scopes.get(key_of(self.rule, scope))
        return Folded(self.scopes.state(known), known.episode > 0) if known is not None else None

    def take_episodes(self, scope: Scope) -> list[Episode]:
        """Return the scope's episodes since this was last called, and the one that goes on."""
        key = key_of(self.rule, scope)
        episodes = self._ended.pop(key, [])
        known = self.scopes.get(key)
        if known is not None and known.episode:
            now = self._detector.figures(self.scopes.state(known))
            begin = self._began.pop(key, now)
            episodes.append(Episode(known.episode, begin, None))
        return episodes

    # Read back

    def restore(self, key: FoldGroupKey, written: FoldGroup) -> None:
        """Take the folds of a group as they were written down.

        Raises:
            FormatError: if the detector cannot read a state.
            ValueError: if a scope is of another group than the key says.
        """
        for scope, state in self.scopes.restore(key, written):
            self._set_live(scope.key, self._detector.is_live(state))
            if scope.episode:
                self._breaching.add(scope.key)

    def finish_restore(self) -> None:
        """Forget what was found while records were replayed: it was decided on before."""
        self._began.clear()
        self._ended.clear()
        self.stirred.clear()
        self.failures.clear()


def _apps(counts: WindowCounts) -> Iterator[tuple[str, str | None]]:
    """Yield the campaigns of counts with their apps."""
    for name, at in zip(counts.campaigns, counts.at_app, strict=True):
        yield name, counts.apps[at]


def _matcher(rule: Rule) -> Callable[[str], bool]:
    if "*" in rule.campaigns:
        return lambda campaign_id: campaign_id != OTHER
    match = lru_cache(MATCHES_KEPT)(rule.matches_campaign)
    return lambda campaign_id: campaign_id != OTHER and match(campaign_id)
