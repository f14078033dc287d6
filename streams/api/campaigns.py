"""Campaigns: the list of those that were active lately, and one with all that is known of it."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from streams.api.alerts import show
from streams.api.answers import Campaign, CampaignRow, Campaigns
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import cost_of_windows
from streams.api.count_answers import Window
from streams.api.listing import Question
from streams.api.newest import DEFAULT_LIMIT, LIMIT
from streams.api.paging import Pager, Position, Value, read_cursor
from streams.api.parameters import choice, duration, opaque, text, whole
from streams.api.reading import (
    add_totals,
    add_windows,
    empty,
    include,
    totals,
    window,
    written,
)
from streams.api.representations import Rows
from streams.api.retained import complete_from, latest, read_as_one, shown_complete_from
from streams.api.routing import Route
from streams.api.rows import Span, add_rows
from streams.api.time_slices import TimeSlices
from streams.api.windows import CAMPAIGN_ID, sees, unknown_campaign
from streams.domain.counts import Cell, StatusGroups
from streams.domain.partition import CampaignPartition
from streams.domain.transitions import rfc3339

_QUARTER_OF_AN_HOUR = 900.0
_MOST_RECENT = 60
_DEFAULT_SORT = "campaign_id"
_TEXTUAL_SORTS = ("campaign_id", "last_window")

_SORTS = (
    *("campaign_id", "attempts", "failure_rate", "throttled_rate"),
    *("failure_lower_bound", "throttled_lower_bound", "last_window"),
    *("failure_change", "throttled_change"),
)

ACTIVE_WITHIN = duration(
    "active_within",
    "Only campaigns with a window that ended within this time before now, and their totals over "
    "it; 15m without it.",
)
SORT = choice(
    "sort",
    tuple(sign + name for name in _SORTS for sign in ("", "-")),
    "The order, descending with a minus; those without a rate come last. A lower bound is the rate "
    "that is certain: 300 of 1,000 come before 1 of 1; a change is that less the usual rate. "
    f"{_DEFAULT_SORT} without it.",
)
CURSOR = opaque("cursor", "From `next_cursor` of the page before; give the same `sort` with it.")
APP_ID = text("app_id", "Only campaigns of this app.")
SEARCH = text("search", "Only campaigns with this text in their ids or names, in any case.")
RECENT = whole("recent", 1, _MOST_RECENT, "Adds so many of each campaign's newest windows.")


async def campaigns(context: Context, ask: Ask) -> Campaigns:
    """Answer with campaigns that were active lately."""
    sort = ask.get(SORT, _DEFAULT_SORT)
    sort_by = sort.lstrip("-")
    textual = sort_by in _TEXTUAL_SORTS
    cursor = read_cursor(ask.get(CURSOR, None), sort, textual=textual)
    span = Span(ask.get(ACTIVE_WITHIN, _QUARTER_OF_AN_HOUR), cursor.since if cursor else None)
    app_id = ask.get(APP_ID, None)
    search = ask.get(SEARCH, "").lower()
    named = context.names.campaigns.book.with_text(search)
    recent = ask.get(RECENT, 0)
    limit = ask.get(LIMIT, DEFAULT_LIMIT)
    size = context.settings.windows.size

    def position(row: CampaignRow) -> Position:
        return Position(_value(row, sort_by), row.campaign_id)

    question = Question(sort, limit, cursor, app_id, search, named, recent, ask.caller.visible)

    def answer(
        as_of: str, since: float, rows: list[CampaignRow], next_cursor: str | None
    ) -> Campaigns:
        return Campaigns(
            as_of=as_of,
            active_since=rfc3339(since),
            window_seconds=size,
            campaigns=rows,
            next_cursor=next_cursor,
        )

    async def local(partitions: Sequence[CampaignPartition]) -> Campaigns:
        cost = context.rows.cost(partitions, span) + limit * (1 + recent)
        ask.budget.spend(cost, lambda: context.rows.narrow(partitions, span, ask.budget.maximum))
        listing = await context.rows.read(partitions, span)
        since = listing.since if span.since is None else span.since
        return answer(rfc3339(listing.read_at), since, *await listing.page(question, since))

    everywhere = context.cluster.everywhere()
    gathered = await context.cluster.gather(ask, everywhere, Campaigns, local)
    # Each worker may have read its part some seconds ago.
    as_of, since = _oldest(gathered.parts) or (context.now(), context.now() - span.within)
    rows = add_rows((part.campaigns for part in gathered.parts), context.settings.groups)
    more = any(part.next_cursor for part in gathered.parts)
    pager: Pager[CampaignRow] = Pager(sort, sort.startswith("-"), position, limit, cursor, since)
    page, next_cursor = await pager.cut(rows, more=more)
    if context.cluster.is_asked_by_worker(ask):
        page, next_cursor = rows, next_cursor if more else None
    page = [_finished(context, row) for row in page]
    return context.stamp(answer("", since, page, next_cursor), gathered.missing, as_of)


def _finished(context: Context, row: CampaignRow) -> CampaignRow:
    # What was read is used again, so it stays as it is.
    names = context.names
    campaign_name, app_name = names.of_campaign(row.campaign_id), names.of_app(row.app_id)
    return replace(
        row,
        campaign_name=campaign_name,
        app_name=app_name,
    )


def _oldest(parts: Iterable[Campaigns]) -> tuple[float, float] | None:
    """Return of when the oldest part is, and since when it was looked at (s, UTC)."""
    times = [(_seconds(part.as_of), _seconds(part.active_since)) for part in parts]
    return min(times, default=None)


def _seconds(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _value(row: CampaignRow, sort: str) -> Value:
    shares = {"rate": row.rates, "lower_bound": row.lower_bounds, "change": row.changes}
    of, _, share = sort.partition("_")
    value: Value = getattr(shares[share], of) if share in shares else getattr(row, sort)
    return value


async def one_campaign(context: Context, ask: Ask) -> Campaign:
    """Answer with all that is known of one campaign."""
    campaign_id = ask.path["campaign_id"]

    async def local(partitions: Sequence[CampaignPartition]) -> Campaign | None:
        if not sees(ask, partitions, campaign_id):
            return None
        tables = [partition.table for partition in partitions]
        cost = cost_of_windows(tables, campaign_id, 0, math.inf)
        ask.budget.spend(cost, lambda: "ask for its totals, from a time to a time")
        read = partial(_describe, context, partitions, campaign_id)
        described = await read_as_one(partitions, read)
        if described is None or not ask.sees(campaign_id, described.app_id):
            return None
        return described

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Campaign, local, unknown)
    answer = _add_descriptions(gathered.parts, context.settings.groups)
    answer.campaign_name = context.names.of_campaign(campaign_id)
    answer.app_name = context.names.of_app(answer.app_id)
    return context.stamp(answer, gathered.missing)


async def _describe(
    context: Context,
    partitions: Sequence[CampaignPartition],
    campaign_id: str,
    slices: TimeSlices,
) -> Campaign | None:
    """Describe a campaign as far as these partitions know it; null if they do not."""
    history = await context.readers.history.read(partitions, campaign_id, slices)
    if history is None:
        return None
    return Campaign(
        as_of="",
        campaign_id=campaign_id,
        app_id=history.total.app_id,
        window_seconds=context.settings.windows.size,
        first_window=written(history.first),
        last_window=written(history.last),
        totals=totals(history.total, context.settings.groups),
        complete_from=shown_complete_from(complete_from(partitions)),
        current_window=_current_window(partitions, campaign_id),
        alerts=[
            show(partition.alerts, alert, partition.groups.group_of(alert.alert_id))
            for partition in partitions
            for alert in partition.alerts.alerts()
            if alert.scope.campaign_id == campaign_id
        ],
    )


def _current_window(partitions: Sequence[CampaignPartition], campaign_id: str) -> Window | None:
    """Return the newest window that is open, as far as these partitions know it."""
    current: dict[int, Cell] = {}
    for partition in partitions:
        table = partition.table
        for start, cell in table.cells(campaign_id, table.open_starts()):
            include(current.setdefault(start, empty()), cell)
    if not current:
        return None
    newest, settings = max(current), partitions[0].settings
    span = (newest, newest + settings.windows.size)
    return window(span, current[newest], (), settings.groups, is_open=True)


def _add_descriptions(parts: list[Campaign], groups: StatusGroups) -> Campaign:
    """Merge what several workers know of one campaign."""
    parts.sort(key=lambda part: part.last_window, reverse=True)
    newest = parts[0]
    if len(parts) > 1:
        newest.first_window = min(part.first_window for part in parts)
        newest.complete_from = latest([part.complete_from for part in parts])
        newest.totals = add_totals([part.totals for part in parts], groups)
        newest.alerts = [alert for part in parts for alert in part.alerts]
        current = add_windows(([p.current_window] for p in parts if p.current_window), groups)
        newest.current_window = current[-1] if current else None
    return newest


ROUTES = (
    Route(
        "/v1/campaigns",
        campaigns,
        "Campaigns that were active lately",
        Campaigns,
        (ACTIVE_WITHIN, SORT, APP_ID, SEARCH, RECENT, LIMIT, CURSOR),
        rows=Rows("campaigns", CampaignRow),
        for_some=True,
        has_cost=True,
    ),
    Route(
        "/v1/campaigns/{campaign_id}",
        one_campaign,
        "One campaign: its totals, current window and alerts",
        Campaign,
        (CAMPAIGN_ID,),
        for_some=True,
        has_cost=True,
    ),
)
