"""What the API answers about counts, as JSON. Times are RFC 3339 in UTC."""

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from streams.api.answer import Answer
from streams.domain.counts import Dimension as CountedBy
from streams.domain.group_comparison import Verdict

ComparedStatus: TypeAlias = Literal["failure", "throttled"]
WindowState: TypeAlias = Literal["open", "closed"]


class Rates(Struct, gc=False):
    """Shares of attempts, 0 to 1; null without attempts."""

    failure: float | None
    throttled: float | None


class Totals(Struct, kw_only=True, gc=False):
    """Counts by send status, engagement by event type, and what they add up to.

    `unrecognised` attempts have a status that is in no group; it is left out where there are none.
    """

    counts: dict[str, int]
    attempts: int
    unrecognised: int | UnsetType = UNSET
    rates: Rates
    engagement: dict[str, int]


class CorrectedTotals(Totals, kw_only=True):
    """Totals; `late_events` of them came after their window was closed."""

    late_events: int


class Group(Totals, kw_only=True):
    """The part of a window with these values of the dimensions that were asked for."""

    treatment_id: str | UnsetType | None = UNSET
    delivery_type: str | UnsetType | None = UNSET
    channel_type: str | UnsetType | None = UNSET


class Window(CorrectedTotals, kw_only=True):
    """One window, or several merged: open as long as any of them is."""

    start: str
    end: str
    state: WindowState
    groups: list[Group] | UnsetType = UNSET


class CampaignWindow(Window, kw_only=True):
    """One window of a campaign; its app is null where no event has named one."""

    campaign_id: str
    app_id: str | None


class Windows(Answer, kw_only=True):
    """Windows of a campaign, oldest first.

    Windows that begin before `complete_from` are not in the answer, or lack counts: these have
    expired, or are retained in longer windows than were asked for. Left out if none are missing.
    """

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    window_seconds: int
    complete_from: str | UnsetType = UNSET
    windows: list[Window]


class PeriodTotals(CorrectedTotals, kw_only=True):
    """Totals of an hour or a day; `period` is its name in the time zone, by ISO 8601.

    It is not `complete` if some of its counts may have expired.
    """

    period: str
    start: str
    end: str
    complete: bool


class Periods(Answer, kw_only=True):
    """A campaign's totals by periods with windows in them, oldest first.

    Periods that begin before `complete_from` are not in the answer, or not complete: counts have
    expired, or are retained in windows that such periods would part. Left out if none are missing.
    """

    campaign_id: str
    per: Literal["hour", "day"]
    time_zone: str
    complete_from: str | UnsetType = UNSET
    periods: list[PeriodTotals]


class OneWindow(Answer, kw_only=True):
    """One window of a campaign."""

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    window_seconds: int
    window: Window


class WindowPart(Totals, kw_only=True):
    """A window, or a group of one, as a row of CSV."""

    start: str
    end: str
    state: WindowState
    treatment_id: str | UnsetType | None = UNSET
    delivery_type: str | UnsetType | None = UNSET
    channel_type: str | UnsetType | None = UNSET
    late_events: int | UnsetType = UNSET


class ComparedDifference(Struct, kw_only=True):
    """How much higher the rate of a group is than the reference's, and whether that is certain.

    `difference` is of the windows (or steps) in which both have attempts; `low` to `high` is its
    interval. `verdict` is `worse` if all of that is above 0, `better` if all of it is below.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    windows: int


class ComparedGroup(Struct, kw_only=True):
    """A group of a campaign's sends: those with one value of the dimension, null for none.

    `rate` is `hits` as a share of `attempts`, `rate_low` to `rate_high` its interval, and `windows`
    in how many windows (or steps) there are attempts. `difference` is null for the reference, and
    for a group that has no window together with it.
    """

    value: str | None
    is_reference: bool
    attempts: int
    hits: int
    rate: float
    rate_low: float
    rate_high: float
    windows: int
    difference: ComparedDifference | None


class Comparison(Answer, kw_only=True):
    """Groups of a campaign's sends, compared with one of them; the largest first.

    Intervals are for `confidence`: that of each rate, and those of all differences together. They
    hold however often one looks. Windows are merged to `step_seconds`; those that begin before
    `complete_from` are not compared, as in `Windows`. `left_out` is how many groups with fewer
    attempts there are besides.
    """

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    by: CountedBy
    status: ComparedStatus
    step_seconds: int
    complete_from: str | UnsetType = UNSET
    confidence: float
    groups: list[ComparedGroup]
    left_out: int
