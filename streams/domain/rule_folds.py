"""The fold of one rule: what records and closed windows do to its scopes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from streams.domain.counts import OTHER, StatusGroups
from streams.domain.detectors.folding import (
    ClosedWindow,
    Folded,
    FoldFigures,
    FoldingDetector,
    Increment,
    Integers,
    Lull,
)
from streams.domain.folded_scopes import FoldedScopes, FoldGroup, FoldGroupKey
from streams.domain.partial_counts import WindowCounts
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import (
    Part,
    RecordCounts,
    ScopeKey,
    ScopeSums,
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


class RecordContext(NamedTuple):
    """Counts of one window in one record, and what is to be known of them.

    Attributes:
        offset: of the record.
        at: event time (ms): the newest of the log so far.
        start: of the window (s).
        counts: under the campaigns that the window table counts them under.
        table: has these counts.
    """

    offset: int
    at: int
    start: int
    counts: RecordCounts
    table: WindowTable


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
        self._states = self.scopes.states
        self._sums = ScopeSums(rule, groups, self._part)
        self._groups = groups
        self._most_parts = most_parts
        self._matches = _matcher(rule)
        self._live: dict[ScopeKey, Lull | None] = {}
        """Scopes to which attempts without hits have to be added; null if at once."""
        self._began: dict[ScopeKey, FoldFigures] = {}
        """The evidence at the beginning of episodes since rules were evaluated."""
        self._ended: dict[ScopeKey, list[Episode]] = {}
        """Episodes that have ended since rules were evaluated."""

    # Records

    def add(self, record: RecordContext) -> None:
        """Add the counts of one window that a record has, and the window table too."""
        so_far, at, live = partial(self._so_far, record), record.at, self._live
        # In the order of the record: it decides which parts of a campaign are too many.
        for key, attempts, hits in self._sums.of_record(record.counts, live.keys()):
            lull = live.get(key)
            if lull is not None and not hits and lull.takes(attempts, at):
                continue
            place = self.scopes.place_of(key)
            if place is None or self.scopes.is_old(place, record.start):
                place = self._newcomer(key, place, record)
                if place is None:
                    continue
            self._add(key, place, Increment(at, attempts, hits, so_far), record.offset)

    def _newcomer(self, key: ScopeKey, place: int | None, record: RecordContext) -> int | None:
        """Return the place of a scope that is new, or so old that it begins anew.

        It is null if the rule is not about the campaign.
        """
        before = record.start - 1
        if place is not None:
            # As if it had been removed in time.
            self._begin_anew(key, place, before)
            return place
        campaign_id = campaign_of(key)
        if not self._matches(campaign_id):
            return None
        (place,) = self.scopes.add([key], [record.counts.apps[campaign_id]], before)
        return place

    def _add(self, key: ScopeKey, place: int, new: Increment, offset: int) -> None:
        self.scopes.touch(place)
        try:
            self._end_lull(key, place)
            turns = self._states.add(place, new, self.rule.keep_firing_for)
        except Exception as error:  # noqa: BLE001 - one scope must not stop the others
            self._fail(key, place, error)
            return
        self._follow(key, place)
        for turn in turns:
            self._turn(key, place, turn.figures, offset + 1 if turn.begins else 0)

    def _follow(self, key: ScopeKey, place: int) -> None:
        """Give a scope further attempts without hits, or no more."""
        if self._states.is_live(place):
            self._live[key] = self._states.lull(place)
        else:
            self._live.pop(key, None)

    def _end_lull(self, key: ScopeKey, place: int) -> None:
        lull = self._live.get(key)
        if lull is not None and lull.attempts:
            self._states.add_attempts(place, lull)
            lull.attempts = 0
            self.scopes.touch(place)

    def end_lulls(self) -> None:
        """Let all states have the attempts that were added up."""
        for key, lull in self._live.items():
            if lull is not None and lull.attempts:
                place = self.scopes.place_of(key)
                if place is not None:
                    self._end_lull(key, place)

    def _begin_anew(self, key: ScopeKey, place: int, learned: int) -> None:
        self._drop(key)
        self.scopes.begin_anew(place, learned)

    def _fail(self, key: ScopeKey, place: int, error: Exception) -> None:
        """Begin anew with a scope that its detector could not fold."""
        self.failures.append((campaign_of(key), error))
        self._begin_anew(key, place, self.scopes.learned(place))
        self.stirred.add(campaign_of(key))

    def _part(self, campaign_id: str, part: Part) -> ScopeKey:
        """Return a part of a campaign as a scope: that of all further ones, if it has too many."""
        known = self.scopes.parts.get(campaign_id, ())
        if part not in known and len(known) >= self._most_parts:
            return campaign_id, OTHER
        return campaign_id, part

    def _so_far(self, record: RecordContext, place: int) -> tuple[int, int]:
        """Return attempts and hits of a scope in the window of a record."""
        key = self.scopes.key_at(place)
        campaign_id = campaign_of(key)
        cell = record.table.cell(campaign_id, record.start)
        seen = self.rule.observe(campaign_id, cell, self._groups) if cell is not None else {}
        of_scope = seen.get(scope_of(self.rule, key))
        return (of_scope.attempts, of_scope.hits) if of_scope is not None else (0, 0)

    def _turn(self, key: ScopeKey, place: int, figures: FoldFigures, number: int) -> None:
        """Begin an episode, or end one if the new number is 0."""
        episodes = self.scopes.episodes
        if number:
            self._began[key] = figures
            episodes[place] = number
        else:
            ended = Episode(episodes.pop(place), self._began.pop(key, None), figures)
            self._ended.setdefault(key, []).append(ended)
        self.stirred.add(campaign_of(key))

    def _drop(self, key: ScopeKey) -> None:
        """Forget what is under way in a scope."""
        self._live.pop(key, None)
        self._began.pop(key, None)
        self._ended.pop(key, None)

    # Closed windows

    def close(self, start: int, counts: Sequence[WindowCounts]) -> None:
        """Learn the counts of a window that closes.

        Args:
            start: of the window (s).
            counts: of the window.
        """
        self.end_lulls()
        self.scopes.pools.window_closes()
        sums = self._sums.of_window(counts)
        places = self.scopes.places_of(sums.keys)
        newcomers = np.flatnonzero(places < 0).tolist()
        if newcomers:
            self._admit(start, newcomers, sums.keys, counts, places)
        attempts, hits = sums.attempts, sums.hits
        if newcomers and (self.rule.scope != "campaign" or (places < 0).any()):
            places, attempts, hits = _added_up(places, attempts, hits)
        if len(places):
            self._close(ClosedWindow(start, places, attempts, hits))

    def _admit(
        self,
        start: int,
        newcomers: Iterable[int],
        keys: Sequence[ScopeKey],
        counts: Iterable[WindowCounts],
        places: Integers,
    ) -> None:
        """Give places to scopes with their first attempts in the window that closes.

        Those that the rule is not about get none.
        """
        wanted = {campaign_of(keys[at]) for at in newcomers}
        matched = {name for name in wanted if self._matches(name)}
        apps = {
            name: part.apps[app]
            for part in counts
            for name, app in zip(part.campaigns, part.at_app, strict=True)
            if name in matched
        }
        if self.rule.scope != "campaign":
            self._admit_parts(start, newcomers, keys, apps, places)
            return
        admitted = [at for at in newcomers if keys[at] in matched]
        names = [campaign_of(keys[at]) for at in admitted]
        if names:
            places[admitted] = self.scopes.add(names, map(apps.__getitem__, names), start - 1)

    def _admit_parts(
        self,
        start: int,
        newcomers: Iterable[int],
        keys: Sequence[ScopeKey],
        apps: Mapping[str, str | None],
        places: Integers,
    ) -> None:
        """Give places to new parts of campaigns, whose apps are known.

        The order decides which parts of a campaign are too many; it must not depend on that in the
        window.
        """
        for at in sorted(newcomers, key=lambda at: repr(keys[at])):
            key = keys[at]
            if isinstance(key, str) or key[0] not in apps:
                continue
            key = self._part(*key)
            place = self.scopes.place_of(key)
            if place is None:
                (place,) = self.scopes.add([key], [apps[key[0]]], start - 1)
            places[at] = place

    def _close(self, window: ClosedWindow) -> None:
        start, places = window.start, window.places
        for place in self.scopes.old(places, start).tolist():
            self._begin_anew(self.scopes.key_at(place), place, start - 1)
        self.scopes.learn(places, start)
        self._learn(window)
        for key in list(self._live):
            place = self.scopes.place_of(key)
            if place is None or not self._states.is_live(place):
                del self._live[key]
        for place in self.scopes.episodes:
            if self.scopes.learned(place) == start:
                # The figures of its alert may follow from what was learned.
                self.stirred.add(campaign_of(self.scopes.key_at(place)))

    def _learn(self, window: ClosedWindow) -> None:
        """Let the scopes learn a window; in halves if they cannot all, down to the one."""
        places = window.places
        try:
            learned = self._states.learn(window)
        except Exception as error:  # noqa: BLE001 - one scope must not stop the others
            if len(places) == 1:
                place = int(places[0])
                self._fail(self.scopes.key_at(place), place, error)
                return
            half = len(places) // 2
            for part in (slice(None, half), slice(half, None)):
                attempts, hits = window.attempts[part], window.hits[part]
                self._learn(ClosedWindow(window.start, places[part], attempts, hits))
        else:
            if learned is not None:
                self.scopes.pool(places, learned)

    def forget(self, start: int, most: int) -> None:
        """Remove folds that are too old, and the oldest if there are more than `most`.

        Args:
            start: no window that begins before it (s) is learned from here on.
            most: scopes that are kept; past that, a tenth of them goes.
        """
        oldest = self.scopes.oldest_first()
        places = map(self.scopes.place_of, oldest)
        gone = sum(place is not None and self.scopes.is_old(place, start) for place in places)
        if len(oldest) - gone > most:
            gone = len(oldest) - most * 9 // 10
        for key in oldest[:gone]:
            self._remove(key)

    def _remove(self, key: ScopeKey) -> None:
        self._drop(key)
        self.scopes.remove(key)

    # Evaluations

    def breaching(self) -> set[str]:
        """Return the campaigns with a scope in an episode."""
        return {campaign_of(key) for key in self._breaching()}

    def _breaching(self) -> list[ScopeKey]:
        return [self.scopes.key_at(place) for place in self.scopes.episodes]

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
            *self._of_campaign(self._breaching(), campaign_id),
            *self._of_campaign(self._ended, campaign_id),
        }
        return {scope_of(self.rule, key) for key in keys}

    @staticmethod
    def _of_campaign(keys: Iterable[ScopeKey], campaign_id: str) -> list[ScopeKey]:
        return [key for key in keys if campaign_of(key) == campaign_id]

    def get(self, scope: Scope) -> Folded | None:
        """Return the fold of a scope as it is now; null if nothing is known."""
        place = self.scopes.place_of(key_of(self.rule, scope))
        if place is None:
            return None
        return Folded(self._states.figures(place), place in self.scopes.episodes)

    def take_episodes(self, scope: Scope) -> list[Episode]:
        """Return the scope's episodes since this was last called, and the one that goes on."""
        key = key_of(self.rule, scope)
        episodes = self._ended.pop(key, [])
        place = self.scopes.place_of(key)
        if place is not None and place in self.scopes.episodes:
            now = self._states.figures(place)
            begin = self._began.pop(key, now)
            episodes.append(Episode(self.scopes.episodes[place], begin, None))
        return episodes

    # Read back

    def restore(self, key: FoldGroupKey, written: FoldGroup) -> None:
        """Take the folds of a group as they were written down.

        Raises:
            FormatError: if the detector cannot read the states.
            ValueError: if the scopes are not as many as the group can have.
        """
        for place in self.scopes.restore(key, written):
            self._follow(self.scopes.key_at(place), place)

    def restored(self) -> None:
        """Go on after all groups were restored."""
        self.scopes.finish_restore()

    def finish_replay(self) -> None:
        """Forget what was found while records were replayed: it was decided on before."""
        self._began.clear()
        self._ended.clear()
        self.stirred.clear()
        self.failures.clear()


def _added_up(places: Integers, attempts: Integers, hits: Integers) -> tuple[Integers, ...]:
    """Return counts with each place once, and without those of scopes that have none."""
    kept, at = np.unique(places, return_inverse=True)
    all_attempts, all_hits = np.zeros(len(kept), np.int64), np.zeros(len(kept), np.int64)
    np.add.at(all_attempts, at, attempts)
    np.add.at(all_hits, at, hits)
    has_place = kept >= 0
    return kept[has_place], all_attempts[has_place], all_hits[has_place]


def _matcher(rule: Rule) -> Callable[[str], bool]:
    if "*" in rule.campaigns:
        return lambda campaign_id: campaign_id != OTHER
    match = lru_cache(MATCHES_KEPT)(rule.matches_campaign)
    return lambda campaign_id: campaign_id != OTHER and match(campaign_id)
