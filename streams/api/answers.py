"""What the API answers, as JSON. Times are RFC 3339 in UTC.

Answers from several workers are merged, so each says what it could not get: `partial` with the
numbers of the `missing_partitions`.
"""

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from streams.api.answer import Answer
from streams.api.count_answers import (
    CampaignWindow,
    CorrectedTotals,
    Rates,
    Window,
)
from streams.api.detectors import AnyDetector
from streams.domain.alert_records import State
from streams.domain.causes.exchange import GroupReason
from streams.domain.causes.finding import Dimension
from streams.domain.deliveries import DeliveryState
from streams.domain.rules import ScopeKind
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import SilenceState
from streams.domain.transition_causes import Cause
from streams.domain.transitions import AlertData, Peak, TransitionType

GroupStateName: TypeAlias = Literal["firing", "ended"]
ReceiverState: TypeAlias = Literal["enabled", "failing", "paused", "disabled"]


class LiveAlert(Struct):
    """A pending or firing alert, in short."""

    alert_id: str
    rule: str
    severity: str
    state: State
    treatment_id: str | None
    channel_type: str | None


class RecentWindow(Struct):
    """One of a campaign's newest windows, in short."""

    start: str
    attempts: int
    rates: Rates


class CampaignRow(CorrectedTotals, kw_only=True):
    """A campaign with its totals over the time that was asked for.

    `last_window` is the start of its newest window; `recent` is there if it was asked for, and the
    names if it and its app have some. `lower_bounds` are the rates that are certain: the lower ends
    of Wilson's 95 % intervals, so that 1 of 1 says less than 300 of 1,000; null without attempts.
    `usual_rates` were learned by the first rule that compares all failures, or all that is
    throttled, with what is usual in the campaign; null without such a rule, and of a campaign that
    is new. `changes` are the lower bounds less these: above 0, the rate has certainly risen.
    """

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    app_id: str | None
    app_name: str | UnsetType = UNSET
    last_window: str
    lower_bounds: Rates | UnsetType = UNSET
    usual_rates: Rates
    changes: Rates | UnsetType = UNSET
    alerts: list[LiveAlert]
    recent: list[RecentWindow] | UnsetType = UNSET


class Campaigns(Answer, kw_only=True):
    """Campaigns with a window that ended after `active_since`.

    `next_cursor` asks for those that follow; null if there are none.
    """

    active_since: str
    window_seconds: int
    campaigns: list[CampaignRow]
    next_cursor: str | None


class Suppressed(Struct):
    """Why nobody was notified of a transition: a fixed word, and what it is about."""

    reason: str
    detail: str


class Withheld(Suppressed):
    """Why one receiver was not notified of a transition of which others were."""

    receiver: str


class AlertTransition(Struct):
    """When an alert began to fire, was repeated or acknowledged, or ended.

    `suppressed` says why nobody was notified of it; null if somebody was. `withheld` says the same
    of single receivers, of up to five. `cause` is null if it was made by a version that did not
    keep causes.
    """

    type: TransitionType
    timestamp: str
    sequence: int
    suppressed: Suppressed | None
    withheld: list[Withheld]
    cause: Cause | None


class PastEpisode(Struct):
    """An episode of an alert that came back; `episode` counts them from 1."""

    episode: int
    starts_at: str
    ends_at: str
    peak: Peak
    attempts: int
    hits: int


class Alert(AlertData, kw_only=True):
    """An alert as it is now.

    `notified_at` is the time of its newest transition, also of one that was suppressed; null while
    the alert is pending. `transitions` are its first and its newest ones, oldest first.
    `past_episodes` are those before the one that the other fields are about, oldest first.
    `group_id` is that of the group that tells receivers of it; null if none does.
    """

    state: State
    pending_since: str
    notified_at: str | None
    transitions: list[AlertTransition]
    past_episodes: list[PastEpisode]
    group_id: str | None = None


class Campaign(Answer, kw_only=True):
    """One campaign: totals over all that is retained, its newest open window, its alerts.

    What windows were rolled up to is in the totals, and `first_window` is the start of the oldest
    one, rolled up or not. Counts of before `complete_from` may have expired; it is left out if none
    have.
    """

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    app_id: str | None
    app_name: str | UnsetType = UNSET
    window_seconds: int
    first_window: str
    last_window: str
    complete_from: str | UnsetType = UNSET
    totals: CorrectedTotals
    current_window: Window | None
    alerts: list[Alert]


class Alerts(Answer, kw_only=True):
    """Alerts, newest first. `next_cursor` asks for those that follow; null if there are none."""

    alerts: list[Alert]
    next_cursor: str | None


class OneAlert(Answer, kw_only=True):
    """One alert."""

    alert: Alert


class GroupCause(Struct):
    """The slice of all sends that explains the alerts of a group, and their common status."""

    dimensions: dict[Dimension, str | None]
    status: str | None


class GroupReceiver(Struct):
    """Who is told of a group: in how many notifications so far, and when last; null for not yet."""

    receiver: str
    notifications: int
    told_at: str | None


class GroupLinks(Struct):
    """All alerts of a group, by the API and on the dashboard; paths where the worker has no URL."""

    alerts: str
    page: str


class AlertGroup(Struct, kw_only=True):
    """Alerts that receivers are told of together.

    `reason` says what they have in common: a `cause`; `labels`; or, of the last one, that they were
    beyond the rate limit of a receiver. `rule` is null if they are of several. `joined` is how many
    there have been, of which `firing` fire. A group has ended once all its receivers know that; it
    is listed for ten minutes more.
    """

    group_id: str
    state: GroupStateName
    reason: GroupReason
    title: str
    rule: str | None
    severity: str
    labels: dict[str, str]
    cause: GroupCause | None
    starts_at: str
    ends_at: str | None
    firing: int
    joined: int
    receivers: list[GroupReceiver]
    links: GroupLinks


class AlertGroups(Answer, kw_only=True):
    """Groups, newest first. `next_cursor` asks for those that follow; null if there are none."""

    groups: list[AlertGroup]
    next_cursor: str | None


class OneAlertGroup(Answer, kw_only=True):
    """One group of alerts."""

    group: AlertGroup


class Match(Struct):
    """Shell-style patterns of what a rule is about."""

    campaigns: list[str]
    apps: list[str]


class Rule(Struct, rename={"for_": "for"}, kw_only=True):
    """One rule, as it is in force. Durations are seconds.

    With `unrecognised` every status that is in no group is a hit, besides `statuses`.
    """

    name: str
    statuses: list[str]
    unrecognised: bool
    scope: ScopeKind
    match: Match
    detector: AnyDetector
    for_: float
    keep_firing_for: float
    no_data_after: float
    repeat_interval: float
    reopen_within: float
    severity: str
    labels: dict[str, str]
    receivers: list[str]


class Rules(Struct):
    """All rules."""

    rules: list[Rule]


class DeliveryAttempt(Struct, kw_only=True):
    """One attempt at a delivery; `number` counts them from 1.

    `result` is `delivered`, `disabled`, or the kind of failure. `answer` is the beginning of what
    the receiver answered, with its secrets hidden. Without an answer `status` is null, and `error`
    says why there was none. `warnings` are what went wrong and could be made up for: a template
    that could not be rendered, so that the built-in title or text was sent.
    """

    number: int
    at: str
    duration_ms: int
    result: str
    status: int | None
    answer: str
    error: str | None
    warnings: list[str] = []


class Delivery(Struct, kw_only=True):
    """One transition of an alert, or of a group, for one receiver.

    `attempts` of it failed since it was decided or last replayed; `attempted` is how many were made
    in all. Of a group, `alert_id` is the group's id, and `campaign_id` is empty. `app_id` is the
    campaign's app, null if it has none or there are several.
    `next_attempt_at` is null for one that has ended: delivered or given up at `ended_at`.
    `replayed_by` is whoever had it made again last: the name of their token, or `api`.
    """

    delivery_id: str
    webhook_id: str
    receiver: str
    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    app_id: str | None = None
    alert_id: str
    rule: str | None
    type: str | None
    sequence: int
    state: DeliveryState
    attempts: int
    attempted: int
    created_at: str
    ended_at: str | None
    next_attempt_at: str | None
    last_error: str | None
    replayed_by: str | None
    last_attempt: DeliveryAttempt | None


class WholeDelivery(Delivery, kw_only=True):
    """A delivery with the attempts at it, oldest first: the first ones and the newest ones.

    `dropped_attempts` between them are not kept.
    """

    history: list[DeliveryAttempt]
    dropped_attempts: int


class Deliveries(Answer, kw_only=True):
    """Deliveries to receivers, newest first.

    `next_cursor` asks for those that follow; null if there are none.
    """

    deliveries: list[Delivery]
    next_cursor: str | None


class OneDelivery(Answer, kw_only=True):
    """One delivery."""

    delivery: WholeDelivery


class Replayed(Answer, kw_only=True):
    """How many deliveries match, and how many of these are made again: none in a dry run."""

    receiver: str
    dry_run: bool
    matched: int
    replayed: int


class DeadLetter(Struct, kw_only=True):
    """A record that could not be counted, without what it may hold of a person.

    `place` is where it is in the dead-letter topic, as `campaign-streams dead-letter replay --at`
    takes it. `beginning` is how its value begins: letters are `x` there and digits `9`, except in
    names of known fields and in what says which campaign it is about; null for none. `truncated`
    is one that was cut off, so that it cannot be replayed; `replayed` one that was sent again.
    """

    place: str
    failed_at: str
    reason: str
    detail: str
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    size: int
    truncated: bool
    replayed: bool
    beginning: str | None


class DeadLetters(Struct, kw_only=True):
    """The newest dead letters, newest first: of the last 200 records of each partition.

    They may be some seconds old. `complete` is false if there was no time to read all of these.
    """

    as_of: str
    complete: bool
    dead_letters: list[DeadLetter]


class Receiver(Struct, kw_only=True):
    """A receiver of alerts.

    A `disabled` one answered 410 Gone or has failed for too long, and gets nothing; a `paused` one
    asked for nothing before `until`; a `failing` one is sent only probes. `since` says from when on
    its state holds, null if it was always so; `reason` is what it answered. `failing_since` is the
    first of its failures in a row, null if its circuit is closed.
    """

    name: str
    state: ReceiverState
    failing_since: str | None
    since: str | None
    until: str | None
    reason: str | None


class Receivers(Answer, kw_only=True):
    """All receivers of the configuration, in its order."""

    receivers: list[Receiver]


class OneReceiver(Answer, kw_only=True):
    """One receiver."""

    receiver: Receiver


class Silence(Struct, kw_only=True):
    """A silence: alerts of which nobody is notified for a while.

    `matchers` are written as Prometheus writes them; an alert has to match all. `state` is `active`
    if alerts are silenced now, `pending` if they will be, `expired` if it is over. `ends_at` is
    null for one that recurs without an end; `ended_at` and `ended_by` say who ended it early.
    `created_token` and `ended_token` are the names of the tokens with which that was asked for.
    """

    silence_id: str
    state: SilenceState
    matchers: list[str]
    starts_at: str
    ends_at: str | None
    recurrence: Recurrence | None
    created_by: str
    comment: str
    created_at: str
    ended_at: str | None
    ended_by: str | None
    created_token: str | None
    ended_token: str | None


class Silences(Answer, kw_only=True):
    """Silences, newest first. `next_cursor` asks for those that follow; null if there are none."""

    silences: list[Silence]
    next_cursor: str | None


class OneSilence(Answer, kw_only=True):
    """One silence."""

    silence: Silence


class Name(Struct):
    """What people call a campaign or an app."""

    id: str
    name: str


class PagerDutyTaken(Struct):
    """What became of a webhook of PagerDuty.

    `detail` says why it was ignored. `by` is whoever has acknowledged the alert, also before.
    """

    result: Literal["acknowledged", "ignored"]
    detail: str = ""
    alert_id: str | None = None
    by: str | None = None


class HealthStatus(Struct, omit_defaults=True):
    """Whether the worker is alive, or ready; `warnings` are what is wrong nevertheless."""

    status: str
    warnings: list[str] = []


class Changes(Answer, kw_only=True):
    """Windows, alerts and deliveries that have changed, as they are now.

    `next` asks for what changes from here on; there is `more` already if the answer would have been
    too long. In `incomplete_partitions` more has changed than is known: read what matters anew.
    """

    windows: list[CampaignWindow]
    alerts: list[Alert]
    deliveries: list[Delivery]
    incomplete_partitions: list[int]
    more: bool
    next: str


class StreamHealth(Struct):
    """Whether the worker that streams is ready, if not why, and which partitions are away."""

    ready: bool
    reasons: list[str]
    partitions: int
    missing_partitions: list[int]


class Missed(Struct):
    """Partitions in which more has changed than was streamed: read what matters anew."""

    partitions: list[int]
