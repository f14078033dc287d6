"""The campaign list: what puts campaigns in order, and the rows of those that are shown.

There may be a hundred thousand campaigns, and a page shows a few of them. So all of them are only
added up as far as the order needs it, and rows are made of those that a page has. Both are read
from the same snapshots of the windows, so a row stands where its figures belong.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from streams.api.answers import CampaignRow, LiveAlert, Rates, RecentWindow
from streams.api.paging import Cursor, Pager, Position, Value
from streams.api.reading import CooperativeYield, add_totals, empty, figures, include
from streams.api.visibility import EVERYTHING, Visibility
from streams.domain.alert_records import Alert
from streams.domain.buckets import Snapshot
from streams.domain.counts import OTHER, Cell, StatusGroups, summarise
from streams.domain.detectors import wilson
from streams.domain.partial_counts import WindowCounts
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339
from streams.domain.windows import WindowPolicy

# A reading that took this long (s of CPU) is used again for a few times as long, so that any
# number of onlookers costs a worker with thousands of campaigns a tenth of its time at most. For
# some seconds after that it is used while the next reading is under way, so that nobody waits.
_CHEAP = 0.02
_REST = 9.0
_WHILE_RENEWED = 5.0

_REPEATED = 8
"""Answers that are kept; they are made anew before a new reading takes the place of the last."""

_AT_A_TIME = 2_000
"""Counts that are added up within some 1 ms."""

CONFIDENCE = 0.975
"""One-sided; the lower end of an interval that has 95 %, which is the usual one."""

T = TypeVar("T")


class Span(NamedTuple):
    """Which windows are read: those that end within some time before now, or since some moment.

    Args:
        within: seconds.
        since: wall-clock time (s, UTC); null for `within` before now.
    """

    within: float
    since: float | None = None


_Key: TypeAlias = tuple[Span, tuple[int, ...]]


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
    """The answer to a question: rows without alerts, and the cursor of the next page if any."""

    rows: list[CampaignRow]
    next_cursor: str | None


class _Home(NamedTuple):
    """A partition, and the windows of it that were read, by their start (s), newest first."""

    partition: CampaignPartition
    windows: dict[int, Snapshot]


class Brief(msgspec.Struct, gc=False):
    """What puts a campaign in its place: counts in all windows that were read.

    `last` is the start (s) of the newest of them.
    """

    app_id: str | None
    last: int
    homes: tuple[_Home, ...]
    attempts: int = 0
    failed: int = 0
    throttled: int = 0

    def add(self, other: "Brief") -> None:
        """Add what another home has."""
        self.app_id = other.app_id if other.app_id is not None else self.app_id
        self.last = max(self.last, other.last)
        self.homes += other.homes
        self.attempts += other.attempts
        self.failed += other.failed
        self.throttled += other.throttled

    def value(self, sort: str) -> Value:
        """Return what the order `sort` goes by; but for `campaign_id`."""
        match sort:
            case "failure_rate":
                return self.failed / self.attempts if self.attempts else None
            case "throttled_rate":
                return self.throttled / self.attempts if self.attempts else None
            case "failure_lower_bound":
                return lower_bound(self.failed, self.attempts)
            case "throttled_lower_bound":
                return lower_bound(self.throttled, self.attempts)
            case "attempts":
                return self.attempts
            case _:
                return _written(self.last)


def lower_bound(hits: int, attempts: int) -> float | None:
    """Return the share of attempts that is certain: the lower end of Wilson's interval."""
    if not attempts:
        return None
    # Of no hits nothing is certain; rounding would put such campaigns in an order of their own.
    return wilson.lower_bound(hits, attempts, CONFIDENCE) if hits else 0.0


def rise(certain: float | None, usual: float | None) -> float | None:
    """Return by how much a rate has certainly risen, below 0 if it has not; null if not known."""
    return None if certain is None or usual is None else certain - usual


def rises(row: CampaignRow) -> Rates:
    """Return the same of what a row has."""
    certain, usual = lower_bounds(row), row.usual_rates
    return Rates(rise(certain.failure, usual.failure), rise(certain.throttled, usual.throttled))


def lower_bounds(row: CampaignRow) -> Rates:
    """Return the same of what a row has."""
    failed, throttled = (
        None if rate is None else lower_bound(round(rate * row.attempts), row.attempts)
        for rate in (row.rates.failure, row.rates.throttled)
    )
    return Rates(failed, throttled)


class Listing:
    """All campaigns with counts in the windows that were read.

    Args:
        groups: which group each status is in.
        read_at: wall-clock time (s, UTC) at which reading began.
        since: windows that ended after it were read; wall-clock time (s, UTC).

    Attributes:
        briefs: by campaign.
    """

    def __init__(self, groups: StatusGroups, read_at: float, since: float) -> None:
        self.briefs: dict[str, Brief] = {}
        self.read_at = read_at
        self.since = since
        self._groups = groups
        self._statuses = {name: groups.statuses_of(name) for name in ("failure", "throttled")}
        self._answers: dict[Question, _Page] = {}

    @property
    def questions(self) -> list[Question]:
        """What was asked, the newest last."""
        return list(self._answers)

    async def page(self, question: Question) -> tuple[list[CampaignRow], str | None]:
        """Return the rows of a page, and the cursor of the next one if there is one.

        That of `OTHER` comes last, whatever the page: it is everywhere, so where it stands is known
        when the parts of all workers are added up. Alerts are those of now.
        """
        page = await self.answer(question)
        rows = [replace(row, alerts=self._alerts(row.campaign_id)) for row in page.rows]
        return rows, page.next_cursor

    async def answer(self, question: Question) -> _Page:
        """Answer a question, and keep the answer."""
        page = self._answers.pop(question, None)
        if page is None:
            names, next_cursor = await self._pager(question).cut(
                self.briefs, lambda name: name != OTHER and self._has(name, question)
            )
            names += [name for name in (OTHER,) if self._has(name, question)]
            page = _Page(await self._rows(names, question.recent), next_cursor)
        self._answers[question] = page
        if len(self._answers) > _REPEATED:
            del self._answers[self.questions[0]]
        return page

    def _pager(self, question: Question) -> Pager[str]:
        sort_by = question.sort.lstrip("-")

        def place(name: str) -> Position:
            return Position(self._value(name, sort_by), name)

        descending = question.sort.startswith("-")
        return Pager(question.sort, descending, place, question.limit, question.cursor, self.since)

    def _value(self, name: str, sort: str) -> Value:
        if sort == "campaign_id":
            return name
        group, _, kind = sort.partition("_")
        if kind != "change":
            return self.briefs[name].value(sort)
        certain = self.briefs[name].value(f"{group}_lower_bound")
        return rise(certain, self._usual_rate(name, group)) if isinstance(certain, float) else None

    def _usual_rate(self, name: str, group: str) -> float | None:
        """Return the usual rate of a group of statuses in a campaign; null if it is not known."""
        rates = (
            home.partition.folds.usual_rate(name, self._statuses[group])
            for home in self.briefs[name].homes
        )
        return next((rate for rate in rates if rate is not None), None)

    def _has(self, name: str, question: Question) -> bool:
        """Tell whether a campaign is in the list that is asked for."""
        brief = self.briefs.get(name)
        return (
            brief is not None
            and question.visible.sees(name, brief.app_id)
            and question.app_id in {None, brief.app_id}
            and (question.search in name.lower() or name in question.named)
        )

    async def read(self, partitions: Iterable[CampaignPartition], first: int) -> None:
        """Add up each campaign's windows that start at `first` (s) or later."""
        yield_now = CooperativeYield()
        for partition in partitions:
            home = _Home(partition, {})
            here: dict[str, Brief] = {}
            for start in reversed(partition.table.starts()):
                snapshot = partition.table.snapshot(start) if start >= first else None
                if snapshot is not None:
                    home.windows[start] = snapshot
                    for counts in snapshot.counts():
                        await self._add(here, counts, Brief(None, start, (home,)), yield_now)
            await self._include(here, yield_now)

    async def _add(
        self, here: dict[str, Brief], counts: WindowCounts, new: Brief, yield_now: CooperativeYield
    ) -> None:
        """Add counts of a window to campaigns; windows come newest first.

        Args:
            here: campaigns with counts in newer windows of the same home.
            counts: to be added.
            new: what a campaign has at first that is not among them.
            yield_now: lets others work.
        """
        found: list[Brief] = []
        for names, apps in zip(_parts(counts.campaigns), _parts(counts.at_app), strict=True):
            for name, app in zip(names, apps, strict=True):
                brief = here.get(name)
                if brief is None:
                    brief = here[name] = Brief(counts.apps[app], new.last, new.homes)
                elif brief.app_id is None:
                    brief.app_id = counts.apps[app]
                found.append(brief)
            await yield_now(len(names))
        for column in counts.columns:
            if column.dimensions.engagement:
                continue
            group = self._groups.group_of.get(column.dimensions.outcome)
            for at, of_them in zip(_parts(column.at), _parts(column.counts), strict=True):
                _count(found, at, of_them, group)
                await yield_now(len(at))

    async def _include(self, here: dict[str, Brief], yield_now: CooperativeYield) -> None:
        """Add the campaigns of one home to those of the others, among which few of them are."""
        for names in _parts(list(here)):
            for name in names:
                brief = here[name]
                before = self.briefs.setdefault(name, brief)
                if before is not brief:
                    before.add(brief)
            await yield_now(len(names))

    async def _rows(self, names: Sequence[str], recent: int) -> list[CampaignRow]:
        """Return the rows of some campaigns, with so many of their newest windows."""
        yield_now = CooperativeYield()
        totals = {name: empty() for name in names}
        by_home = self._by_home(names)
        for home, of_it in by_home:
            for snapshot in home.windows.values():
                for name, cell in snapshot.cells(of_it):
                    include(totals[name], cell)
                    await yield_now(len(cell.sends))
        newest = await self._newest_windows(by_home, recent, yield_now) if recent else {}
        rows = []
        for name in names:
            row = self._row(name, totals[name])
            if recent:
                row.recent = self._recent(newest.get(name, {}), recent)
            rows.append(row)
            await yield_now(len(totals[name].sends))
        return rows

    def _by_home(self, names: Iterable[str]) -> list[tuple[_Home, list[str]]]:
        found: dict[int, tuple[_Home, list[str]]] = {}
        for name in names:
            for home in self.briefs[name].homes:
                found.setdefault(home.partition.number, (home, []))[1].append(name)
        return [found[number] for number in sorted(found)]

    def _row(self, name: str, total: Cell) -> CampaignRow:
        brief = self.briefs[name]
        return CampaignRow(
            campaign_id=name,
            app_id=brief.app_id,
            last_window=_written(brief.last),
            **figures(summarise([total], self._groups)),
            late_events=total.late_events,
            usual_rates=Rates(
                self._usual_rate(name, "failure"), self._usual_rate(name, "throttled")
            ),
            alerts=[],
        )

    def _alerts(self, name: str) -> list[LiveAlert]:
        return [
            _show_live(alert)
            for home in self.briefs[name].homes
            for alert in home.partition.alerts.live_of(name)
        ]

    @staticmethod
    async def _newest_windows(
        by_home: Iterable[tuple[_Home, list[str]]], limit: int, yield_now: CooperativeYield
    ) -> dict[str, dict[int, Cell]]:
        """Return the newest windows of campaigns, at least `limit` where there are as many."""
        found: dict[str, dict[int, Cell]] = {}
        for home, names in by_home:
            table = home.partition.table
            # Most have been in as many windows as that; it ends the search for those that have not.
            left = {name: min(limit, table.windows_with(name) or limit) for name in names}
            for start in reversed(table.starts()):
                if not left:
                    break
                snapshot = home.windows.get(start) or table.snapshot(start)
                for name, cell in snapshot.cells(list(left)) if snapshot is not None else ():
                    include(found.setdefault(name, {}).setdefault(start, empty()), cell)
                    left[name] -= 1
                    if not left[name]:
                        del left[name]
                    await yield_now(len(cell.sends))
                await yield_now(len(left))
        return found

    def _recent(self, cells: dict[int, Cell], limit: int) -> list[RecentWindow]:
        """Show the newest windows, oldest first."""
        shown = []
        for start in sorted(cells)[-limit:]:
            of_it = figures(summarise([cells[start]], self._groups))
            shown.append(RecentWindow(_written(start), of_it["attempts"], of_it["rates"]))
        return shown


class _Kept(NamedTuple):
    """A reading that is used again, and until when (s, loop time) without reading anew."""

    listing: Listing
    new_until: float


class RowReader:
    """Reads campaign lists, one at a time.

    Args:
        groups: which group each status is in.
        windows: the windows that are counted in.
        now: the wall clock (s, UTC).
    """

    def __init__(
        self, groups: StatusGroups, windows: WindowPolicy, now: Callable[[], float]
    ) -> None:
        self._groups = groups
        self._windows = windows
        self._now = now
        self._lock = asyncio.Lock()
        self._kept: dict[_Key, _Kept] = {}
        self._renewing: dict[_Key, asyncio.Task[Listing]] = {}

    async def read(self, partitions: Sequence[CampaignPartition], span: Span) -> Listing:
        """Return the campaigns with counts in the windows of a span.

        They may have been read some seconds ago, if reading them takes long.
        """
        key = (span, tuple(id(partition) for partition in partitions))
        kept = self._kept.get(key)
        if kept is None:
            async with self._lock:
                kept = self._kept.get(key)
                return kept.listing if kept else await self._read(key, partitions, ())
        if asyncio.get_running_loop().time() > kept.new_until and key not in self._renewing:
            task = asyncio.create_task(self._renew(key, partitions, kept.listing.questions))
            self._renewing[key] = task
            task.add_done_callback(lambda _: self._renewing.pop(key))
        return kept.listing

    async def _renew(
        self, key: _Key, partitions: Sequence[CampaignPartition], questions: Sequence[Question]
    ) -> Listing:
        async with self._lock:
            return await self._read(key, partitions, questions)

    async def _read(
        self, key: _Key, partitions: Sequence[CampaignPartition], questions: Iterable[Question]
    ) -> Listing:
        begun = time.thread_time()
        now, (within, since) = self._now(), key[0]
        listing = Listing(self._groups, now, now - within if since is None else since)
        # A window that ends after `since` starts at the window of `since` or later.
        await listing.read(partitions, self._windows.start_of(int(listing.since * 1000)))
        for question in questions:
            await listing.answer(question)
        cost = time.thread_time() - begun
        self._kept.pop(key, None)
        if cost > _CHEAP:
            loop = asyncio.get_running_loop()
            self._kept[key] = _Kept(listing, loop.time() + _REST * cost)
            loop.call_later(_REST * cost + _WHILE_RENEWED, self._forget, key, listing)
        return listing

    def _forget(self, key: _Key, listing: Listing) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept.listing is listing:
            del self._kept[key]


def _parts(of: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a sequence in pieces, after each of which others are let work."""
    return (of[at : at + _AT_A_TIME] for at in range(0, len(of), _AT_A_TIME))


def _count(
    briefs: list[Brief], at: Sequence[int], counts: Sequence[int], group: str | None
) -> None:
    """Add counts of one status, which is in this group, to the campaigns at these positions."""
    if group == "suppressed":
        return
    for position, count in zip(at, counts, strict=True):
        briefs[position].attempts += count
    if group == "failure":
        for position, count in zip(at, counts, strict=True):
            briefs[position].failed += count
    elif group == "throttled":
        for position, count in zip(at, counts, strict=True):
            briefs[position].throttled += count


@lru_cache(maxsize=4_096)
def _written(start: int) -> str:
    return rfc3339(start)


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


def add_rows(parts: Iterable[list[CampaignRow]], groups: StatusGroups) -> list[CampaignRow]:
    """Merge the rows of several workers; a campaign may be at more than one of them."""
    same: dict[str, list[CampaignRow]] = {}
    for rows in parts:
        for row in rows:
            same.setdefault(row.campaign_id, []).append(row)
    return [rows[0] if len(rows) == 1 else _add_same(rows, groups) for rows in same.values()]


def _add_same(rows: list[CampaignRow], groups: StatusGroups) -> CampaignRow:
    rows.sort(key=lambda row: row.last_window, reverse=True)
    # What was read here is used again, so it stays as it is.
    newest = replace(rows[0])
    newest.alerts = [alert for row in rows for alert in row.alerts]
    return add_totals([newest, *rows[1:]], groups)
