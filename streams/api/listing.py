"""One reading of the campaign list: what puts campaigns in order, and the rows of pages.

There may be a hundred thousand campaigns, and a page shows a few of them. So all of them are only
added up as far as the order needs it, in columns of numbers, and rows are made of those that a page
has. Both are read from the same columns, so a row stands where its figures belong.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from streams.api.answers import CampaignRow, LiveAlert, RecentWindow
from streams.api.count_answers import Rates
from streams.api.ordering import LAST, Chosen, Keys, first_by_key, first_names
from streams.api.paging import Cursor, Value
from streams.api.reading import figures, written
from streams.api.time_slices import TimeSlices
from streams.api.visibility import EVERYTHING, Visibility
from streams.api.window_sums import NO_APP, Numbering, Numbers, SumStore, WindowSums
from streams.domain.alert_records import Alert
from streams.domain.counts import OTHER, Cell, StatusGroups, summary_of
from streams.domain.detectors import wilson
from streams.domain.partition import CampaignPartition

_MOST_ANSWERS = 64
"""Answers that are kept."""
_MOST_ASKED = 1_024
_REPEATED = 8
"""Questions that are answered anew before a new reading takes the place of the last."""

CONFIDENCE = 0.975
"""One-sided; the lower end of an interval that has 95 %, which is the usual one."""

_RATES_AT_ONCE = 200
"""Usual rates that are looked up in a fraction of a millisecond."""
NAMES_AT_ONCE = 2_000
"""Names that are looked at in a fraction of a millisecond."""


class Question(NamedTuple):
    """Which page of the list is asked for.

    Args:
        sort: the order: by a name in `SORTS`, descending with a minus.
        limit: how many campaigns a page has at most.
        cursor: where the page before ended.
        app_id: of the campaigns that are wanted; null for all.
        search: is in their ids, in lower case; empty for all.
        named: those that are wanted although `search` is not in their ids.
        recent: how many of each campaign's newest windows are shown.
        visible: which campaigns there are for whoever asks.
    """

    sort: str
    limit: int
    cursor: Cursor | None
    app_id: str | None
    search: str
    named: frozenset[str]
    recent: int
    visible: Visibility = EVERYTHING


class _Page(NamedTuple):
    """The answer to a question: rows without alerts, and where the next page begins.

    Attributes:
        rows: of the page, and of `OTHER`.
        value: of the last row of the page, by which it is in its place.
        last: the campaign of that row; null if there is no further page.
    """

    rows: list[CampaignRow]
    value: Value
    last: str | None


class _Home(NamedTuple):
    """A partition, the windows of it that were read, and which campaigns have counts in these.

    Attributes:
        partition: where it is.
        windows: by their start (s), oldest first.
        has: by the number of a campaign.
    """

    partition: CampaignPartition
    windows: dict[int, WindowSums]
    has: NDArray[np.bool_]


class Tally(NamedTuple):
    """Attempts, and how many of them failed or were throttled."""

    attempts: int
    failed: int
    throttled: int


def lower_bound(hits: int, attempts: int) -> float | None:
    """Return the share of attempts that is certain: the lower end of Wilson's interval."""
    if not attempts:
        return None
    # Of no hits nothing is certain; rounding would put such campaigns in an order of their own.
    return wilson.lower_bound(hits, attempts, CONFIDENCE) if hits else 0.0


def lower_bounds(row: CampaignRow) -> Rates:
    """Return the same of what a row has."""
    failed, throttled = (
        None if rate is None else lower_bound(round(rate * row.attempts), row.attempts)
        for rate in (row.rates.failure, row.rates.throttled)
    )
    return Rates(failed, throttled)


def rise(certain: float | None, usual: float | None) -> float | None:
    """Return by how much a rate has certainly risen, below 0 if it has not; null if not known."""
    return None if certain is None or usual is None else certain - usual


def rises(certain: Rates, usual: Rates) -> Rates:
    """Return the same of both rates."""
    return Rates(rise(certain.failure, usual.failure), rise(certain.throttled, usual.throttled))


class Listing:
    """All campaigns with counts in the windows that were read.

    Args:
        groups: which group each status is in.
        now: wall-clock time (s, UTC).
        since: windows that ended after it are read; wall-clock time (s, UTC).
        first: start (s) of the first of them.

    Attributes:
        read_at: wall-clock time (s, UTC) of the oldest figure.
        cost: CPU time (s) that it would take to read and answer the same once more.
    """

    def __init__(self, groups: StatusGroups, now: float, since: float, first: int) -> None:
        self.read_at = now
        self.since = since
        self.first = first
        self.cost = 0.0
        self._groups = groups
        self._statuses = {name: groups.statuses_of(name) for name in ("failure", "throttled")}
        self._numbering = Numbering(groups)
        self._homes: list[_Home] = []
        self._answers: dict[Question, _Page] = {}
        self._asked = Counter[Question]()
        self._attempts: Numbers = np.zeros(0, np.int64)
        self._failed = self._throttled = self._last = self._attempts
        self._apps: Numbers = np.zeros(0, np.int32)

    # Read

    async def read(
        self,
        store: SumStore,
        partitions: Sequence[CampaignPartition],
        slices: TimeSlices,
        age: float = 0.0,
    ) -> None:
        """Add up each campaign's windows that start at `first` or later.

        Args:
            store: reads windows.
            partitions: whose windows.
            slices: lets others work.
            age: how old (s) figures may be.
        """
        now = self.read_at
        store.forget(partitions)
        read: list[tuple[CampaignPartition, dict[int, WindowSums]]] = []
        for partition in partitions:
            windows = {}
            table = partition.table
            for start in table.starts():
                if start < self.first:
                    continue
                before = slices.spent if table.is_open(start) else None
                sums = await store.read(partition, start, now, slices, age)
                if sums is None:
                    continue
                windows[start] = sums
                if sums.changes != table.changes(start):
                    self.read_at = min(self.read_at, sums.read_at)
                if before is not None:
                    self.cost += slices.spent - before
            read.append((partition, windows))
        self._numbering = store.numbering
        before = slices.spent
        await self._add_up(read, slices)
        self.cost += slices.spent - before

    async def _add_up(
        self,
        read: Iterable[tuple[CampaignPartition, dict[int, WindowSums]]],
        slices: TimeSlices,
    ) -> None:
        size = len(self._numbering.campaigns)
        self._attempts, self._failed, self._throttled = np.zeros((3, size), np.int64)
        self._last = np.full(size, -1, np.int64)
        self._apps = np.full(size, NO_APP, np.int32)
        for partition, windows in read:
            home = _Home(partition, windows, np.zeros(size, np.bool_))
            self._homes.append(home)
            for start, sums in windows.items():
                at = sums.campaigns
                self._attempts[at] += sums.attempts
                self._failed[at] += sums.failed
                self._throttled[at] += sums.throttled
                self._last[at] = np.maximum(self._last[at], start)
                # Windows come oldest first: the newest one that names an app is right.
                self._apps[at] = np.where(sums.apps == NO_APP, self._apps[at], sums.apps)
                home.has[at] = True
                await slices()

    # Asked

    @property
    def questions(self) -> list[Question]:
        """What was asked most often, the most frequent first."""
        return [question for question, _ in self._asked.most_common(_REPEATED)]

    async def page(self, question: Question, since: float) -> tuple[list[CampaignRow], str | None]:
        """Return the rows of a page, and the cursor of the next one if there is one.

        That of `OTHER` comes last, whatever the page: it is everywhere, so where it stands is known
        when the parts of all workers are added up. Alerts are those of now.

        Args:
            question: which page.
            since: goes into the cursor (s).
        """
        page = await self.answer(question)
        self._asked[question] += 1
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        rows = [replace(row, alerts=self._alerts(row.campaign_id)) for row in page.rows]
        if page.last is None:
            return rows, None
        return rows, Cursor(question.sort, since, page.value, page.last).encode()

    async def answer(self, question: Question) -> _Page:
        """Answer a question, and keep the answer."""
        page = self._answers.pop(question, None)
        if page is None:
            slices = TimeSlices(is_measured=True)
            page = await self._answer(question, slices)
            self.cost += slices.spent
        self._answers[question] = page
        if len(self._answers) > _MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return page

    async def _answer(self, question: Question, slices: TimeSlices) -> _Page:
        chosen = await self._chosen(question, slices)
        other = self._numbering.number_of.get(OTHER)
        others = [] if other is None else chosen[chosen == other].tolist()
        if others:
            chosen = chosen[chosen != other]
        numbers = await self._first(question, chosen, slices)
        last: str | None = None
        value: Value = None
        if len(numbers) > question.limit:
            numbers = numbers[: question.limit]
            last = self._numbering.campaigns[numbers[-1]]
            value = self._value(numbers[-1], question.sort.lstrip("-"))
        return _Page(await self._rows(numbers + others, question.recent, slices), value, last)

    async def _chosen(self, question: Question, slices: TimeSlices) -> Chosen:
        """Return the numbers of campaigns in the list that is asked for."""
        wanted = self._last >= 0
        if question.app_id is not None:
            app = self._numbering.known_app(question.app_id)
            if app is None:
                return np.zeros(0, np.int64)
            wanted &= self._apps == app
        chosen = np.flatnonzero(wanted)
        names, visible = self._numbering.campaigns, question.visible
        if question.search:
            text, named = question.search, question.named
            chosen = await self._that(
                chosen, lambda at: text in names[at].lower() or names[at] in named, slices
            )
        if not visible.is_whole:
            chosen = await self._that(
                chosen, lambda at: visible.sees(names[at], self._app_name(at)), slices
            )
        return chosen

    @staticmethod
    async def _that(chosen: Chosen, fits: Callable[[int], bool], slices: TimeSlices) -> Chosen:
        """Return those that fit."""
        found: list[int] = []
        for part in range(0, len(chosen), NAMES_AT_ONCE):
            found += filter(fits, chosen[part : part + NAMES_AT_ONCE].tolist())
            await slices()
        return np.array(found, np.int64)

    def _app_name(self, number: int) -> str | None:
        return self._numbering.app_name(int(self._apps[number]))

    async def _first(self, question: Question, chosen: Chosen, slices: TimeSlices) -> list[int]:
        """Return the numbers of a page and one more, in order, as far as there are so many."""
        descending = question.sort.startswith("-")
        sort, count, cursor = question.sort.lstrip("-"), question.limit + 1, question.cursor
        names = self._numbering.campaigns
        if sort == "campaign_id":
            named: Iterator[str] = (names[at] for at in chosen.tolist())
            if cursor is not None:
                end = cursor.item_id
                named = (n for n in named if (n < end if descending else n > end))
            first = await first_names(named, count, slices, descending=descending)
            return [self._numbering.number_of[name] for name in first]
        keys = self._keys(sort, chosen)
        if sort.endswith("_change"):
            keys -= await self._usual_rates(sort.partition("_")[0], chosen, slices)
        # Of a campaign whose usual rate is not known, the key is not a number.
        keys[np.isnan(keys)] = LAST
        if descending:
            keys[keys != LAST] *= -1.0
        await slices()
        if cursor is not None:
            after = await self._after(cursor, keys, chosen, slices, descending=descending)
            keys, chosen = keys[after], chosen[after]
        return await first_by_key(keys, chosen, names, count, slices)

    async def _after(
        self, cursor: Cursor, keys: Keys, chosen: Chosen, slices: TimeSlices, *, descending: bool
    ) -> NDArray[np.bool_]:
        """Tell which of the chosen come after the cursor."""
        names = self._numbering.campaigns
        if isinstance(cursor.value, str):
            end = _key_of_time(cursor.value, self._last, descending=descending)
        elif cursor.value is None:
            end = LAST
        else:
            # As a float, whatever somebody has made of it.
            end = float(min(max(cursor.value, -_LARGEST), _LARGEST)) * (-1.0 if descending else 1.0)
        after = keys > end
        alike = np.flatnonzero(keys == end)
        for part in range(0, len(alike), NAMES_AT_ONCE):
            some = alike[part : part + NAMES_AT_ONCE]
            after[some] = [names[at] > cursor.item_id for at in chosen[some].tolist()]
            await slices()
        return after

    def _keys(self, sort: str, chosen: Chosen) -> Keys:
        """Return what puts campaigns in ascending order; `LAST` for those without a value."""
        attempts = self._attempts[chosen]
        if sort == "attempts":
            return attempts.astype(np.float64)
        if sort == "last_window":
            return self._last[chosen].astype(np.float64)
        hits = (self._failed if sort.startswith("failure") else self._throttled)[chosen]
        keys = np.full(len(chosen), LAST)
        some = attempts > 0
        if sort.endswith("_rate"):
            keys[some] = hits[some] / attempts[some]
            return keys
        keys[some] = 0.0
        some &= hits > 0
        keys[some] = wilson.lower_bounds(hits[some], attempts[some], CONFIDENCE)
        return keys

    async def _usual_rates(self, group: str, chosen: Chosen, slices: TimeSlices) -> Keys:
        """Return the usual rates of a group of statuses; not a number where it is not known."""
        rates = np.full(len(chosen), np.nan)
        for part in range(0, len(chosen), _RATES_AT_ONCE):
            for at, number in enumerate(chosen[part : part + _RATES_AT_ONCE].tolist(), part):
                rate = self._usual_rate(number, group)
                if rate is not None:
                    rates[at] = rate
            await slices()
        return rates

    def _usual_rate(self, number: int, group: str) -> float | None:
        """Return the usual rate of a group of statuses in a campaign; null if it is not known."""
        name = self._numbering.campaigns[number]
        rates = (
            home.partition.folds.usual_rate(name, self._statuses[group])
            for home in self._homes
            if home.has[number]
        )
        return next((rate for rate in rates if rate is not None), None)

    def _value(self, number: int, sort: str) -> Value:
        """Return what a campaign is in its place by."""
        attempts = int(self._attempts[number])
        hits = int((self._failed if sort.startswith("failure") else self._throttled)[number])
        match sort:
            case "campaign_id":
                return self._numbering.campaigns[number]
            case "last_window":
                return written(int(self._last[number]))
            case "attempts":
                return attempts
            case "failure_rate" | "throttled_rate":
                return hits / attempts if attempts else None
            case "failure_change" | "throttled_change":
                group = sort.partition("_")[0]
                return rise(lower_bound(hits, attempts), self._usual_rate(number, group))
            case _:
                return lower_bound(hits, attempts)

    # Rows

    async def _rows(
        self, numbers: Sequence[int], recent: int, slices: TimeSlices
    ) -> list[CampaignRow]:
        """Return the rows of some campaigns, with so many of their newest windows."""
        sends, engagement, late = await self._counts(numbers, slices)
        newest = await self._newest_windows(numbers, recent, slices) if recent else []
        rows = []
        for slot, number in enumerate(numbers):
            row = CampaignRow(
                campaign_id=self._numbering.campaigns[number],
                app_id=self._app_name(number),
                last_window=written(int(self._last[number])),
                **figures(summary_of(sends[slot], engagement[slot], self._groups)),
                late_events=late[slot],
                usual_rates=Rates(
                    self._usual_rate(number, "failure"), self._usual_rate(number, "throttled")
                ),
                alerts=[],
            )
            row.lower_bounds = lower_bounds(row)
            row.changes = rises(row.lower_bounds, row.usual_rates)
            if recent:
                row.recent = _recent(newest[slot], recent)
            rows.append(row)
            await slices()
        return rows

    def _slots(self, numbers: Sequence[int]) -> Numbers:
        """Return, by number, where a campaign is among some; -1 for others."""
        slots: Numbers = np.full(len(self._attempts), -1, np.int32)
        slots[np.array(numbers, np.int64)] = np.arange(len(numbers))
        return slots

    async def _counts(
        self, numbers: Sequence[int], slices: TimeSlices
    ) -> tuple[list[dict[str, int]], list[dict[str, int]], list[int]]:
        """Return for each of some campaigns its sends, its engagement, and late events."""
        slot_of, outcomes = self._slots(numbers), self._numbering.outcomes
        each = len(outcomes)
        keys, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        late = np.zeros(len(numbers), np.int64)
        for home in self._homes:
            for sums in home.windows.values():
                slots = slot_of[sums.campaigns]
                wanted = np.flatnonzero((slots >= 0)[sums.at])
                if len(wanted):
                    of_them = slots[sums.at[wanted]].astype(np.int64)
                    keys.append(of_them * each + sums.outcomes[wanted])
                    counts.append(sums.counts[wanted])
                for slot, events in zip(
                    slots[sums.late_at].tolist(), sums.late.tolist(), strict=True
                ):
                    if slot >= 0:
                        late[slot] += events
                await slices()
        found, at = np.unique(np.concatenate(keys), return_inverse=True)
        added = np.bincount(at, np.concatenate(counts), minlength=len(found)).astype(np.int64)
        sends: list[dict[str, int]] = [{} for _ in numbers]
        engagement: list[dict[str, int]] = [{} for _ in numbers]
        for key, count in zip(found.tolist(), added.tolist(), strict=True):
            slot, number = divmod(key, each)
            outcome = outcomes[number]
            (engagement if outcome.engagement else sends)[slot][outcome.name] = count
        return sends, engagement, late.tolist()

    def _alerts(self, name: str) -> list[LiveAlert]:
        number = self._numbering.number_of[name]
        return [
            _show_live(alert)
            for home in self._homes
            if home.has[number]
            for alert in home.partition.alerts.live_of(name)
        ]

    async def _newest_windows(
        self, numbers: Sequence[int], limit: int, slices: TimeSlices
    ) -> list[dict[int, Tally]]:
        """Return the newest windows of campaigns, at least `limit` where there are as many."""
        found: list[dict[int, Tally]] = [{} for _ in numbers]
        slot_of, names = self._slots(numbers), self._numbering.campaigns
        for home in self._homes:
            table = home.partition.table
            here = [slot for slot, number in enumerate(numbers) if home.has[number]]
            # Most have been in as many windows as that; it ends the search for those that have not.
            left = {
                slot: min(limit, table.windows_with(names[numbers[slot]]) or limit) for slot in here
            }
            for start in reversed(table.starts()):
                if not left:
                    break
                sums = home.windows.get(start)
                if sums is not None:
                    tallies = _tallies_of(sums, slot_of)
                else:
                    slots = {names[numbers[slot]]: slot for slot in left}
                    tallies = self._read_tallies(home.partition, start, slots)
                for slot, tally in tallies:
                    if slot not in left:
                        continue
                    before = found[slot].get(start, _NONE)
                    found[slot][start] = Tally(*map(sum, zip(before, tally, strict=True)))
                    left[slot] -= 1
                    if not left[slot]:
                        del left[slot]
                await slices()
        return found

    def _read_tallies(
        self, partition: CampaignPartition, start: int, slots: dict[str, int]
    ) -> Iterator[tuple[int, Tally]]:
        """Yield the figures of campaigns in a window that was not read."""
        snapshot = partition.table.snapshot(start)
        for name, cell in snapshot.cells(list(slots)) if snapshot is not None else ():
            yield slots[name], _tally_of(cell, self._groups)


_NONE = Tally(0, 0, 0)
_LARGEST = 1e300


def _tallies_of(sums: WindowSums, slot_of: Numbers) -> Iterator[tuple[int, Tally]]:
    slots = slot_of[sums.campaigns]
    at = np.flatnonzero(slots >= 0)
    figures_of = (sums.attempts[at], sums.failed[at], sums.throttled[at])
    columns = [column.tolist() for column in (slots[at], *figures_of)]
    return ((slot, Tally(*rest)) for slot, *rest in zip(*columns, strict=True))


def _tally_of(cell: Cell, groups: StatusGroups) -> Tally:
    totals = groups.totals(cell.outcomes())
    attempts = sum(totals.values()) - totals.get("suppressed", 0)
    return Tally(attempts, totals.get("failure", 0), totals.get("throttled", 0))


def _recent(tallies: dict[int, Tally], limit: int) -> list[RecentWindow]:
    """Show the newest windows, oldest first."""
    shown = []
    for start in sorted(tallies)[-limit:]:
        attempts, failed, throttled = tallies[start]
        rates = (hits / attempts if attempts else None for hits in (failed, throttled))
        shown.append(RecentWindow(written(start), attempts, Rates(*rates)))
    return shown


def _key_of_time(value: str, last: Numbers, *, descending: bool) -> float:
    """Return the key of a written time: between the keys of windows, if it is that of none."""
    starts = np.unique(last[last >= 0]).tolist()
    earlier = sum(written(start) < value for start in starts)
    exact = earlier < len(starts) and written(starts[earlier]) == value
    if exact:
        key = float(starts[earlier])
    elif earlier:
        key = starts[earlier - 1] + 0.5
    else:
        key = -LAST
    return -key if descending else key


def _show_live(alert: Alert) -> LiveAlert:
    scope = alert.scope
    return LiveAlert(
        alert.alert_id,
        alert.rule,
        alert.severity,
        alert.state,
        scope.treatment_id,
        scope.channel_type,
    )
