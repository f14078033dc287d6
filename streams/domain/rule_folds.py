"""The fold of one rule: what records and closed windows do to its scopes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from streams.domain.counts import OTHER, StatusGroups
from streams.domain.detectors.accounts import Account
from streams.domain.detectors.folding import (
    ClosedWindow,
    Folded,
    FoldFigures,
    FoldingDetector,
    Increment,
    Integers,
    Pending,
    Series,
)
from streams.domain.fold_records import (
    CampaignHits,
    HitSeries,
    OpenWindows,
    RecordContext,
    SeenWith,
)
from streams.domain.folded_scopes import FoldedScopes, FoldGroup, FoldGroupKey
from streams.domain.partial_counts import Dimensions
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import (
    Added,
    ClosingCounts,
    Part,
    ScopeKey,
    ScopeSums,
    campaign_of,
    key_of,
    scope_of,
)

MANY = 20
"""Scopes of which so many at once are cheaper than as many by themselves."""
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


class PreparedHits(NamedTuple):
    """What a series of hits would do to the scopes of a rule.

    Attributes:
        apply: does it; nothing else may have been done meanwhile.
        gone_on: campaigns with a breach that goes on, and the event time (ms) and wall-clock time
            (ms, UTC) of the newest attempts of each.
    """

    apply: Callable[[], None]
    gone_on: list[tuple[str, int, int]]


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
        gone_on: by scope with a breach that goes on, the event time (ms) of the newest attempts
            since these were last taken.
    """

    def __init__(self, rule: Rule, groups: StatusGroups, most_parts: int) -> None:
        if not isinstance(rule.detector, FoldingDetector):
            raise TypeError(f"the detector of rule {rule.name} does not fold")
        self.rule = rule
        self._detector = rule.detector
        self.scopes = FoldedScopes(rule, rule.detector)
        self.stirred: set[str] = set()
        self.failures: list[tuple[str, Exception]] = []
        self.gone_on: dict[ScopeKey, int] = {}
        self._states = self.scopes.states
        self._sums = ScopeSums(rule, groups, self._part)
        self._most_parts = most_parts
        self._matches = _matcher(rule)
        self._live: set[ScopeKey] = set()
        """Scopes with a breach that goes on."""
        self._began: dict[ScopeKey, FoldFigures] = {}
        """The evidence at the beginning of episodes since rules were evaluated."""
        self._ended: dict[ScopeKey, list[Episode]] = {}
        """Episodes that have ended since rules were evaluated."""

    # Records

    def add(self, record: RecordContext) -> None:
        """Add the counts of a record, which the window table has too."""
        added = list(self._sums.of_record(record.windows, self._live))
        if not added:
            return
        placed = self._placed(added, record.windows[0].start - 1)
        self._add_placed(placed, partial(self._in_open_windows, record), record)

    def add_hits(self, hits: Sequence[CampaignHits], record: RecordContext) -> None:
        """Add counts of campaigns with hits or a breach, and their attempts in all open windows.

        Args:
            hits: the counts; the rule is about campaigns as a whole.
            record: whose windows are not given, as the table does not have them yet.
        """
        placed = self._placed([each.added for each in hits], min(e.added.start for e in hits) - 1)
        known = {each.added.key: each.in_open_windows for each in hits}
        self._add_placed(placed, lambda keys: [known[key] for key in keys], record)

    def prepare(self, hits: HitSeries, seen: SeenWith) -> PreparedHits | None:
        """Work out what a series of hits would do; nothing changes but that all have places.

        Args:
            hits: the rule is about campaigns as a whole.
            seen: returns the open windows, which have these counts of a campaign as well.

        Returns:
            Null if it is more than adding counts to scopes: then `add_hits` is called for each
            record.
        """
        places = self._places_in(hits)
        if (places < 0).any():
            hits, places = hits.of(places >= 0), places[places >= 0]
        newest_start = int(hits.starts.max(initial=0))
        if len(self.scopes.old(places, newest_start)):
            return None
        is_live = np.array([name in self._live for name in hits.campaigns], np.bool_)
        unseen_before = np.where(
            np.repeat(is_live, hits.lengths), 0, self._unseen_before(hits, places)
        )
        series = Series(
            hits.first_rows,
            np.repeat(places, hits.lengths),
            hits.times,
            hits.attempts,
            hits.hits,
            unseen_before,
            partial(self._so_far_in, hits, seen),
        )
        prepared = self._states.prepare(series, self.rule.keep_firing_for)
        if prepared.others:
            return None
        last = hits.first_rows + hits.lengths - 1
        live, quiet = np.flatnonzero(is_live), np.flatnonzero(~is_live)

        def apply() -> None:
            prepared.apply()
            self.scopes.touch(places[live])
            self.scopes.settle(places[quiet], hits.in_open_windows[last[quiet]])

        newest = zip(hits.times[last].tolist(), hits.arrivals[last].tolist(), strict=True)
        gone_on = [(name, *times) for name, times in zip(hits.campaigns, newest, strict=True)]
        return PreparedHits(apply, [gone_on[at] for at in live.tolist()])

    def _places_in(self, hits: HitSeries) -> Integers:
        """Return the places of campaigns; new ones get one, and those of no concern have -1."""
        places = self.scopes.places_of(hits.campaigns)
        is_new = places < 0
        admitted = [at for at in is_new.nonzero()[0].tolist() if self._matches(hits.campaigns[at])]
        # In the order of records: it decides which apps are too many.
        admitted.sort(key=lambda at: hits.arrivals.item(hits.first_rows[at]))
        if admitted:
            before = int(hits.starts[hits.first_rows[admitted]].min()) - 1
            names = [hits.campaigns[at] for at in admitted]
            apps = [hits.apps[at] for at in admitted]
            places[admitted] = self.scopes.add(names, apps, before)
        return places

    def _unseen_before(self, hits: HitSeries, places: Integers) -> Integers:
        """Return for each row the attempts without hits before it, as `Increment` has them."""
        unseen, first = hits.in_open_windows.copy(), hits.first_rows
        unseen[1:] -= hits.in_open_windows[:-1]
        unseen[first] = self.scopes.all_unsettled(places, hits.in_open_windows[first])
        before: Integers = np.maximum(0, unseen - hits.attempts)
        return before

    def _so_far_in(self, hits: HitSeries, seen: SeenWith, row: int) -> tuple[int, int]:
        """Return attempts and hits of a row's campaign in the newest window of the row."""
        name = hits.campaigns[int(hits.first_rows.searchsorted(row, "right")) - 1]
        cell = seen(hits.kept(row)).cells(name).get(hits.starts.item(row))
        return self._sums.of_cell(name, cell) if cell is not None else (0, 0)

    def is_hit(self, key: Dimensions) -> bool:
        """Tell whether events of a count key are hits."""
        return self._sums.is_hit(key)

    def _placed(self, added: Sequence[Added], before: int) -> list[tuple[Added, int]]:
        """Return the places of scopes, but of those that the rule is not about.

        Those that are new get one; those that are so old that they were to be removed begin anew.

        Args:
            added: what a record adds to scopes.
            before: start (s) of a window before that.
        """
        place_of = self.scopes.place_of
        places = [place_of(each.key) for each in added]
        if None in places:
            # In the order of the record: it decides which parts of a campaign are too many.
            self._admit_new([each for each in added if place_of(each.key) is None], before)
            places = [place_of(each.key) for each in added]
        placed: list[tuple[Added, int]] = []
        for each, place in zip(added, places, strict=True):
            if place is not None:
                placed.append((each, place))
                if self.scopes.is_old(place, each.start):
                    self._begin_anew(each.key, place, before)
        return placed

    def _admit_new(self, newcomers: Iterable[Added], before: int) -> None:
        """Give places to scopes with their first hits in a record, if the rule is about them.

        Args:
            newcomers: of which nothing is known.
            before: start (s) of a window before their first counts.
        """
        admitted = [each for each in newcomers if self._matches(campaign_of(each.key))]
        if admitted:
            keys, apps = [each.key for each in admitted], [each.app for each in admitted]
            self.scopes.add(keys, apps, before)

    def _add_placed(
        self,
        placed: Sequence[tuple[Added, int]],
        in_open_windows: Callable[[Sequence[ScopeKey]], list[int]],
        record: RecordContext,
    ) -> None:
        """Add counts of scopes that have places.

        Args:
            placed: the counts, and the places.
            in_open_windows: returns the attempts of scopes in all open windows.
            record: which they are from.
        """
        quiet = placed
        if self._live:
            live = [(each, place) for each, place in placed if each.key in self._live]
            quiet = [(each, place) for each, place in placed if each.key not in self._live]
            self.scopes.touch([place for _, place in live])
            for each, place in live:
                self._add(each, place, 0, record)
                if each.key in self._live:
                    self.gone_on[each.key] = record.at
                else:
                    self.scopes.settle([place], in_open_windows([each.key]))
        if quiet:
            attempts = in_open_windows([each.key for each, _ in quiet])
            self._add_quiet(quiet, attempts, record)

    def _add_quiet(
        self,
        quiet: Sequence[tuple[Added, int]],
        in_open_windows: Sequence[int],
        record: RecordContext,
    ) -> None:
        """Add counts with hits of scopes in which no breach goes on."""
        places = [place for _, place in quiet]
        unseen = self.scopes.settle(places, in_open_windows)
        before = [
            max(0, attempts - each.attempts)
            for (each, _), attempts in zip(quiet, unseen, strict=True)
        ]
        for at in self._others(quiet, before, record):
            each, place = quiet[at]
            self._add(each, place, before[at], record)

    def _others(
        self, quiet: Sequence[tuple[Added, int]], before: Sequence[int], record: RecordContext
    ) -> Sequence[int]:
        """Add counts as far as that can be done for many scopes together.

        Returns:
            The positions of the others.
        """
        if len(quiet) < MANY:
            return range(len(quiet))
        numbers = [
            (place, record.at, each.attempts, each.hits, unseen)
            for (each, place), unseen in zip(quiet, before, strict=True)
        ]

        def so_far(row: int) -> tuple[int, int]:
            each, place = quiet[row]
            return self._so_far(record, each.start, place)

        places, times, attempts, hits, unseen = np.array(numbers, np.int64).T
        series = Series(np.arange(len(quiet)), places, times, attempts, hits, unseen, so_far)
        prepared = self._states.prepare(series, self.rule.keep_firing_for)
        prepared.apply()
        return prepared.others

    def _add(self, added: Added, place: int, before: int, record: RecordContext) -> None:
        key, attempts, hits, start, _ = added
        so_far = partial(self._so_far, record, start)
        new = Increment(record.at, attempts, hits, before, so_far)
        try:
            turns = self._states.add(place, new, self.rule.keep_firing_for)
        except Exception as error:  # noqa: BLE001 - one scope must not stop the others
            self._fail(key, place, error)
            return
        for turn in turns:
            self._turn(key, place, turn.figures, record.offset + 1 if turn.begins else 0)

    def _in_open_windows(self, record: RecordContext, keys: Sequence[ScopeKey]) -> list[int]:
        """Return how many attempts each scope has in windows that were not learned yet."""
        seen = record.open_windows
        if self.rule.scope == "campaign":
            return seen.attempts([key for key in keys if isinstance(key, str)])
        cells = (seen.cells(campaign_of(key)).values() for key in keys)
        return [
            sum([self._sums.of_cell(key, cell)[0] for cell in of_it])
            for key, of_it in zip(keys, cells, strict=True)
        ]

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

    def _so_far(self, record: RecordContext, start: int, place: int) -> tuple[int, int]:
        """Return attempts and hits of a scope in the window that begins at `start` (s)."""
        key = self.scopes.key_at(place)
        cell = record.open_windows.cells(campaign_of(key)).get(start)
        return self._sums.of_cell(key, cell) if cell is not None else (0, 0)

    def _turn(self, key: ScopeKey, place: int, figures: FoldFigures, number: int) -> None:
        """Begin an episode, or end one if the new number is 0."""
        episodes = self.scopes.episodes
        if number:
            self._began[key] = figures
            episodes[place] = number
            self._live.add(key)
        else:
            self._live.discard(key)
            ended = Episode(episodes.pop(place), self._began.pop(key, None), figures)
            self._ended.setdefault(key, []).append(ended)
        self.stirred.add(campaign_of(key))

    def _drop(self, key: ScopeKey) -> None:
        """Forget what is under way in a scope."""
        self._live.discard(key)
        self._began.pop(key, None)
        self._ended.pop(key, None)

    # Closed windows

    def close(self, counts: ClosingCounts) -> None:
        """Learn the counts of a window that closes."""
        start = counts.start
        self.scopes.pools.window_closes()
        sums = self._sums.of_window(counts)
        places = self.scopes.places_of(sums.keys)
        newcomers = np.flatnonzero(places < 0).tolist()
        if newcomers:
            self._admit(start, newcomers, sums.keys, counts.apps, places)
        attempts, hits = sums.attempts, sums.hits
        if newcomers and (self.rule.scope != "campaign" or (places < 0).any()):
            places, attempts, hits = _added_up(places, attempts, hits)
        if len(places):
            self._close(start, places, attempts, hits)

    def _admit(
        self,
        start: int,
        newcomers: Iterable[int],
        keys: Sequence[ScopeKey],
        apps: Mapping[str, str | None],
        places: Integers,
    ) -> None:
        """Give places to scopes with their first attempts in the window that closes.

        Those that the rule is not about get none.
        """
        if self.rule.scope != "campaign":
            self._admit_parts(start, newcomers, keys, apps, places)
            return
        matches = self._matches
        admitted = {
            key: at for at in newcomers if isinstance(key := keys[at], str) and matches(key)
        }
        if admitted:
            names, of_names = list(admitted), [apps[name] for name in admitted]
            places[list(admitted.values())] = self.scopes.add(names, of_names, start - 1)

    def _admit_parts(
        self,
        start: int,
        newcomers: Iterable[int],
        keys: Sequence[ScopeKey],
        apps: Mapping[str, str | None],
        places: Integers,
    ) -> None:
        """Give places to new parts of those campaigns that the rule is about.

        The order decides which parts of a campaign are too many; it must not depend on that in the
        window.
        """
        for at in sorted(newcomers, key=lambda at: repr(keys[at])):
            key = keys[at]
            if isinstance(key, str) or not self._matches(key[0]):
                continue
            key = self._part(*key)
            place = self.scopes.place_of(key)
            if place is None:
                place = self.scopes.add([key], [apps[key[0]]], start - 1).item()
            places[at] = place

    def _close(self, start: int, places: Integers, attempts: Integers, hits: Integers) -> None:
        for place in self.scopes.old(places, start).tolist():
            self._begin_anew(self.scopes.key_at(place), place, start - 1)
        unseen = self.scopes.learn(places, start, attempts)
        self._learn(ClosedWindow(start, places, attempts, hits, unseen))
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
                self._learn(window.at(part))
        else:
            if learned is not None:
                self.scopes.pool(places, learned)

    def forget(self, start: int, most: int) -> None:
        """Remove folds that are too old, and the oldest if there are more than `most`.

        Args:
            start: no window that begins before it (s) is learned from here on.
            most: scopes that are kept; past that, a tenth of them goes.
        """
        for key in self.scopes.all_old(start):
            self._remove(key)
        if len(self.scopes) > most:
            for key in self.scopes.oldest_first()[: -(most * 9 // 10) or None]:
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

    def usual_rate(self, campaign_id: str) -> float | None:
        """Return the usual rate of a campaign; null if it is not known."""
        place = self.scopes.place_of(campaign_id)
        return self._states.usual_rate(place) if place is not None else None

    def scopes_of(self, campaign_id: str) -> list[Scope]:
        """Return the scopes of a campaign of which anything is known."""
        keys: list[ScopeKey] = [campaign_id]
        if self.rule.scope != "campaign":
            keys = [(campaign_id, part) for part in self.scopes.parts.get(campaign_id, ())]
        known = [key for key in keys if self.scopes.place_of(key) is not None]
        return [scope_of(self.rule, key) for key in known]

    def account(self, scope: Scope, seen: OpenWindows, at: int, size: int) -> Account | None:
        """Say in figures why a scope breaches, or why not; null if nothing is known of it.

        Args:
            scope: of the rule.
            seen: the windows that were not learned yet.
            at: event time (ms): the newest of the log.
            size: of a window (s).
        """
        key = key_of(self.rule, scope)
        place = self.scopes.place_of(key)
        if place is None:
            return None
        cells = seen.cells(campaign_of(key))
        counts = {start: self._sums.of_cell(key, cell) for start, cell in cells.items()}
        attempts = sum(attempts for attempts, _ in counts.values())
        elapsed = at - 1_000 * min(counts) if counts else 0
        pending = Pending(
            at,
            self.scopes.unsettled(place, attempts),
            counts[max(counts)] if counts else (0, 0),
            max(1, min(elapsed // attempts, 1_000 * size)) if attempts and elapsed > 0 else 1_000,
            self.rule.keep_firing_for,
        )
        return self._detector.account_of(self._states, place, pending)

    def take_episodes(self, scope: Scope, now: Folded | None) -> list[Episode]:
        """Return the scope's episodes since this was last called, and the one that goes on.

        Args:
            scope: of the rule.
            now: what `get` returns for it.
        """
        key = key_of(self.rule, scope)
        episodes = self._ended.pop(key, [])
        place = self.scopes.place_of(key)
        if now is not None and place is not None and place in self.scopes.episodes:
            begin = self._began.pop(key, now.figures)
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
            if place in self.scopes.episodes:
                self._live.add(self.scopes.key_at(place))

    def restored(self) -> None:
        """Go on after all groups were restored."""
        self.scopes.finish_restore()

    def finish_replay(self) -> None:
        """Forget what was found while records were replayed: it was decided on before."""
        self._began.clear()
        self._ended.clear()
        self.stirred.clear()
        self.failures.clear()
        self.gone_on.clear()


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
        # Without a call of our own for each campaign.
        return OTHER.__ne__
    match = lru_cache(MATCHES_KEPT)(rule.matches_campaign)
    return lambda campaign_id: campaign_id != OTHER and match(campaign_id)
