"""A lane's alerts that receivers are told of in groups: from the transition to the teller.

An alert of a receiver that groups waits until it is known whether it may have a common cause:

- The first one has all lanes asked for the sums of their campaigns. Once all have answered, or
  after `SETTLE` seconds, it is told by itself, in the words in which it was decided, if the sums
  show nothing that could explain it and no other one waits.
- Otherwise it waits for the teller of its rule to name a cause, `group_wait` seconds at most, or
  `SURE_WAIT` if the sums leave little doubt that it has one. If a cause explains it, it becomes a
  member of its group: from then on the teller tells of it, and of its end. If none does, it is told
  by itself.

So an alert is never kept for long because somebody else does not answer. Each step is in the
transaction of the lane, so an alert has one way to each receiver, whatever is restarted or moved.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from streams.domain import transitions
from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.causes import exchange
from streams.domain.causes.evidence import OWN_FAULT, evidence_of
from streams.domain.causes.exchange import (
    GroupView,
    LaneReport,
    Member,
    MemberKey,
    ReportKey,
)
from streams.domain.causes.finding import Dimension, Found, find
from streams.domain.causes.lane_sums import LaneSums
from streams.domain.causes.membership import AlertSends, Attribution, attribute
from streams.domain.causes.summary import LaneSummary, added_up
from streams.domain.counts import StatusGroups
from streams.domain.deliveries import Outbox
from streams.domain.notification.enqueue import delivery_of
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.stage import Notification
from streams.domain.rules import Rule
from streams.domain.table import WindowTable
from streams.domain.transitions import ENDS

SETTLE = 1.0
"""Seconds for which the other lanes are waited for."""
SURE_WAIT = 15.0
"""Seconds that an alert waits that a cause explains of which the teller has not told yet, or that
seems to have a fault of its own beside a cause, which may be chance."""
HINT = OWN_FAULT + 1.0
"""Evidence (nats) of a slice that hints at a common cause: one campaign alone never has it."""
REPORT_EVERY = 1.0
"""Seconds between two reports of a lane, at least."""
ROWS_A_SECOND = 10_000
"""Rows of sums that are worked out a second, in some 100 ms: a large lane reports less often."""
SELDOMEST = 5.0
"""Seconds between two reports of a lane, at most."""
LOOK_EVERY = 0.5
"""Seconds between two looks at an alert that waits."""
ASKS_FOR = 120.0
"""Seconds for which a lane asks for reports after an alert began to wait."""
MOST_LOOKS = 200
"""Alerts that are looked at in one step, within some 100 ms; the others in the next one."""
SUMS_KEPT = 60.0
"""Seconds after the last report for which the sums of windows are kept in memory."""


FIRING = "campaign.alert.firing"
NO_TRANSITION = msgspec.Raw(b"null")


class GroupedAlert(msgspec.Struct):
    """An alert that waits, or is told of in a group.

    Attributes:
        receivers: who are told.
        since: since when (s, UTC) it waits.
        transition: while it waits, JSON of the transition that is told if it is told by itself.
        member: as it was last written to the groups topic; null while it waits.
        acknowledged: whether its teller knows that it has ended.
        is_back: whether it came back before its teller knew that; then it is told by itself.
    """

    alert_id: str
    campaign_id: str
    rule: str
    receivers: tuple[str, ...]
    since: float
    transition: msgspec.Raw
    member: Member | None = None
    acknowledged: bool = False
    is_back: bool = False

    @property
    def is_over(self) -> bool:
        """Whether what is told of it in a group has ended."""
        return self.member is not None and self.member.ended_at is not None


class GroupedAlertKey(msgspec.Struct, frozen=True, array_like=True, tag="grouped"):
    """Key of a `GroupedAlert` on the changelog topic."""

    campaign_id: str
    alert_id: str


class LaneVersionKey(msgspec.Struct, frozen=True, array_like=True, tag="group-lane"):
    """Key of the version of the newest member that the lane has written: there is one."""


class _CandidateCause(NamedTuple):
    """A cause that the sums show to the lane, as `attribute` takes it."""

    cause_id: str
    values: Mapping[Dimension, str | None]
    status: str | None
    since: int


class _Shown(NamedTuple):
    """What the sums of all lanes show.

    Attributes:
        state: of which reports they are.
        hints: slices that hint at a cause.
        causes: those of which the teller will make causes.
    """

    state: object
    hints: list[Found]
    causes: list[Found]


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane's groups are about.

    Args:
        number: of the lane.
        lanes: how many there are.
        rules: that alerts are of.
        groups: which group each status is in.
        times: by receiver that groups by cause, when it is told.
        view: what is on the groups topic; it changes.
        table: the lane's windows.
        alerts: the lane's alerts.
        outbox: the lane's deliveries.
    """

    number: int
    lanes: int
    rules: tuple[Rule, ...]
    groups: StatusGroups
    times: Mapping[str, GroupTimes]
    view: GroupView
    table: WindowTable
    alerts: AlertBook
    outbox: Outbox


class LaneGroups:
    """The alerts of one lane that are told of in groups.

    Args:
        parts: what they are about.
    """

    def __init__(self, parts: LaneParts) -> None:
        self._parts = parts
        # Of silence there are no sends that could be compared.
        self._rules = {rule.name: rule for rule in parts.rules if not rule.detector.on_closing}
        self._known: dict[str, GroupedAlert] = {}
        self._waiting: dict[str, float] = {}
        """By alert that waits, when (s) to look at it next."""
        self._waiting_of: Counter[str] = Counter()
        """How many wait, by rule, at the last step."""
        self._asks_until: dict[str, float] = {}
        """By rule, until when (s) the lane asks for reports."""
        self._unacknowledged: set[str] = set()
        """Members that have ended, and whose teller may not know it."""
        self._sums: dict[str, LaneSums] = {}
        self._reports: dict[str, LaneReport] = {}
        self._version = 0
        self._generation = -1
        self._seen_view = -1
        self._pruned_at = 0.0
        self._found: dict[str, _Shown] = {}
        self._changed: dict[str, str] = {}
        self._version_changed = False
        self._records: dict[bytes, bytes | None] = {}

    # The notification stage

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        """Return the receivers that are notified of a transition by itself; wait for the others."""
        data, receivers = notification.transition.data, notification.receivers
        known = self._known.get(data.alert_id)
        if known is not None and known.is_over and notification.transition.type == FIRING:
            known = self._come_back(known)
        if known is not None:
            if known.is_back:
                return receivers
            return tuple(name for name in receivers if name not in known.receivers)
        if notification.transition.type in ENDS or data.rule not in self._rules:
            return receivers
        told = notification.notified
        grouped = tuple(
            name
            for name in receivers
            if name in self._parts.times and told is not None and name not in told
        )
        if grouped:
            transition = msgspec.Raw(transitions.encode(notification.transition))
            self._known[data.alert_id] = GroupedAlert(
                data.alert_id, data.campaign_id, data.rule, grouped, now, transition
            )
            self._wait(self._known[data.alert_id])
            self._mark(data.alert_id)
        return tuple(name for name in receivers if name not in grouped)

    def _come_back(self, known: GroupedAlert) -> GroupedAlert | None:
        """Begin anew with an alert that was told of in a group, and fires again.

        As long as its teller may not know that it had ended, it is told by itself.
        """
        if known.acknowledged:
            del self._known[known.alert_id]
            return None
        known.is_back = True
        self._mark(known.alert_id)
        return known

    def why(self, alert_id: str) -> str:
        """Say what becomes of an alert that is not told by itself."""
        known = self._known.get(alert_id)
        if known is None or known.member is None:
            return "it may have a cause in common with others"
        return f"in group {self.group_of(alert_id)}"

    def ending(self, alert_id: str, now: float) -> None:
        """Take note that an alert has ended, before its end goes through the stages.

        One that waits is told by itself, firing and end.
        """
        known = self._known.get(alert_id)
        if known is None or known.is_back:
            return
        if known.member is None:
            self._release(known, now)
        else:
            attempts, hits = self._totals(alert_id)
            self._write_member(
                known,
                msgspec.structs.replace(known.member, ended_at=now, attempts=attempts, hits=hits),
            )
            self._unacknowledged.add(alert_id)

    # Time goes on

    def step(self, now: float) -> None:
        """Report what others ask for, and decide what becomes of the alerts that wait (s, UTC)."""
        self._follow_view()
        self._waiting_of = Counter(self._known[alert_id].rule for alert_id in self._waiting)
        for name, rule in self._rules.items():
            self._report_if_due(rule, name, now)
        due = [alert_id for alert_id, at in self._waiting.items() if at <= now]
        for alert_id in due[:MOST_LOOKS]:
            self._look(self._known[alert_id], now)
        self._prune(now)

    def release_all(self, now: float) -> None:
        """Tell of all alerts that wait by themselves: it cannot be found out what they have."""
        for alert_id in list(self._waiting):
            self._release(self._known[alert_id], now)

    def _wait(self, known: GroupedAlert) -> None:
        self._waiting[known.alert_id] = known.since
        until = known.since + ASKS_FOR
        self._asks_until[known.rule] = max(until, self._asks_until.get(known.rule, 0.0))

    def _follow_view(self) -> None:
        view = self._parts.view
        if view.version == self._seen_view:
            return
        self._seen_view = view.version
        if view.generation != self._generation:
            self._generation = view.generation
            # Without transactions, versions may have been written that are not in the changelog.
            self._version = max(self._version, view.highest_version(self._parts.number))
            self._write_again()
        for alert_id in list(self._unacknowledged):
            self._acknowledge(self._known[alert_id])

    def _write_again(self) -> None:
        """Write to the topic what is not there: it was made anew, or never was written."""
        for known in self._known.values():
            if known.member is not None and not known.acknowledged:
                self._write_member(known, known.member)

    def _acknowledge(self, known: GroupedAlert) -> None:
        """Remove a member that has ended, once its teller knows it."""
        member = known.member
        announced = self._parts.view.announced.get(known.rule)
        if member is None or announced is None:
            return
        if announced.seen.get(self._parts.number, 0) >= member.version:
            known.acknowledged = True
            self._unacknowledged.discard(known.alert_id)
            self._mark(known.alert_id)
            self._records[self._member_key(known)] = None

    def _report_if_due(self, rule: Rule, name: str, now: float) -> None:
        newest = self._reports.get(name)
        sums = self._sums.get(name)
        seldom = min(SELDOMEST, sums.rows / ROWS_A_SECOND) if sums is not None else 0.0
        if newest is not None and 0 <= now - newest.at < max(REPORT_EVERY, seldom):
            return
        asks = self._waiting_of[name] > 0 or now < self._asks_until.get(name, 0.0)
        others = self._parts.view.fresh_reports(name, now)
        if not (asks or any(report.asks for report in others.values())):
            if newest is not None and now - newest.at > SUMS_KEPT:
                self._sums.pop(name, None)
            return
        self._report(rule, asks=asks, now=now)

    def _report(self, rule: Rule, *, asks: bool, now: float) -> None:
        sums = self._sums.get(rule.name)
        if sums is None:
            sums = self._sums[rule.name] = LaneSums(self._parts.table, self._parts.groups, rule)
        sums.refresh()
        broken = self._broken(rule.name)
        frames = sums.frames(broken, self._recovered(rule.name, broken))
        # A lane makes one report at a time, so its time in ms is a version.
        summary = LaneSummary(self._parts.number, rule.name, int(now * 1000), frames)
        report = LaneReport(summary, now, asks, self._waiting_of[rule.name])
        self._reports[rule.name] = report
        key = exchange.encode(ReportKey(rule.name, self._parts.number))
        self._records[key] = exchange.encode(report)

    def _broken(self, rule: str) -> dict[str, int]:
        broken: dict[str, int] = {}
        for alert in self._parts.alerts.live():
            if alert.rule == rule:
                campaign_id = alert.scope.campaign_id
                broken[campaign_id] = min(alert.since, broken.get(campaign_id, alert.since))
        return broken

    def _recovered(self, rule: str, broken: Mapping[str, int]) -> dict[str, float]:
        """Return when (s) the newest alert of a campaign ended, if it has none now."""
        recovered: dict[str, float] = {}
        for alert in self._parts.alerts.alerts():
            campaign_id = alert.scope.campaign_id
            if alert.rule == rule and alert.ends_at is not None and campaign_id not in broken:
                recovered[campaign_id] = max(alert.ends_at, recovered.get(campaign_id, 0.0))
        return recovered

    # An alert that waits

    def _look(self, known: GroupedAlert, now: float) -> None:
        self._waiting[known.alert_id] = now + LOOK_EVERY
        alert, sums = self._parts.alerts.get(known.alert_id), self._sums.get(known.rule)
        if alert is None or sums is None:
            self._release(known, now)
            return
        sends = _sends_of(alert, sums)
        announced = self._parts.view.announced.get(known.rule)
        causes = announced.causes if announced is not None else ()
        found = attribute(sends, causes)
        if found.cause_id is not None:
            self._join(known, alert, found.cause_id)
            return
        if self._has_waited(known, sends, found, now):
            self._release(known, now)

    def _has_waited(
        self, known: GroupedAlert, sends: AlertSends, found: Attribution, now: float
    ) -> bool:
        """Tell whether an alert that no cause explains yet is to be told by itself."""
        waited, longest = now - known.since, self._longest_wait(known)
        if waited >= max(longest, SURE_WAIT):
            return True
        if waited >= longest:
            shown = _attributed(sends, self._shown(known.rule, now).causes)
            return shown.cause_id is None and not (shown.is_unsure or found.is_unsure)
        return self._is_settled(known, now) and not self._has_hint(known, sends, found, now)

    def _longest_wait(self, known: GroupedAlert) -> float:
        times = [self._parts.times[name] for name in known.receivers if name in self._parts.times]
        return max((each.group_wait for each in times), default=0.0)

    def _is_settled(self, known: GroupedAlert, now: float) -> bool:
        """Tell whether all lanes have reported since an alert began to wait, or have had time."""
        if now - known.since >= SETTLE:
            return True
        reports = self._all_reports(known.rule, now)
        return sum(each.at >= known.since for each in reports.values()) >= self._parts.lanes

    def _has_hint(
        self, known: GroupedAlert, sends: AlertSends, found: Attribution, now: float
    ) -> bool:
        """Tell whether an alert may have a common cause, as far as is known."""
        reports = self._all_reports(known.rule, now)
        others = [report.waiting for lane, report in reports.items() if lane != self._parts.number]
        if self._waiting_of[known.rule] + sum(others) > 1:
            return True
        hint = _attributed(sends, self._shown(known.rule, now).hints)
        return found.is_undecided or hint.cause_id is not None or hint.is_undecided

    def _shown(self, rule: str, now: float) -> "_Shown":
        """Return what the sums of all lanes show; worked out once for the same reports."""
        reports = self._all_reports(rule, now)
        state = tuple((lane, report.summary.version) for lane, report in reports.items())
        known = self._found.get(rule)
        if known is None or known.state != state:
            frames = added_up(report.summary for report in reports.values())
            known = self._found[rule] = _Shown(state, find(frames, HINT), find(frames))
        return known

    def _all_reports(self, rule: str, now: float) -> dict[int, LaneReport]:
        """Return the reports of all lanes that count; the lane's own as it was last made."""
        reports = dict(self._parts.view.fresh_reports(rule, now))
        own = self._reports.get(rule)
        if own is not None:
            reports[self._parts.number] = own
        return dict(sorted(reports.items()))

    def _join(self, known: GroupedAlert, alert: Alert, cause_id: str) -> None:
        """Hand an alert over to the teller of its rule."""
        attempts, hits = self._totals(alert.alert_id)
        member = Member(
            alert_id=alert.alert_id,
            rule=alert.rule,
            lane=self._parts.number,
            version=0,
            campaign_id=alert.scope.campaign_id,
            app_id=alert.app_id,
            severity=alert.severity,
            receivers=known.receivers,
            cause_id=cause_id,
            starts_at=alert.starts_at or alert.pending_since,
            attempts=attempts,
            hits=hits,
            episode=alert.occurrence,
        )
        del self._waiting[known.alert_id]
        known.transition = NO_TRANSITION
        self._write_member(known, member)
        self._parts.alerts.grouped(known.alert_id, known.receivers, self.why(known.alert_id))

    def _release(self, known: GroupedAlert, now: float) -> None:
        """Tell of an alert by itself, in the words in which it was decided."""
        data = transitions.decode(known.transition).data
        for receiver in known.receivers:
            self._parts.outbox.add(delivery_of(data, receiver, known.transition, now))
        self._parts.alerts.told(known.alert_id, known.receivers, data.sequence)
        del self._known[known.alert_id]
        del self._waiting[known.alert_id]
        self._mark(known.alert_id, known.campaign_id)

    def _totals(self, alert_id: str) -> tuple[int, int]:
        alert = self._parts.alerts.get(alert_id)
        return alert.totals if alert is not None else (0, 0)

    def _write_member(self, known: GroupedAlert, member: Member) -> None:
        self._version += 1
        self._version_changed = True
        known.member = msgspec.structs.replace(member, version=self._version)
        key = self._member_key(known)
        # In the order of their versions.
        self._records.pop(key, None)
        self._records[key] = exchange.encode(known.member)
        self._mark(known.alert_id)

    def _member_key(self, known: GroupedAlert) -> bytes:
        return exchange.encode(MemberKey(known.rule, self._parts.number, known.alert_id))

    def _prune(self, now: float) -> None:
        """Forget alerts that are not remembered any more; seldom."""
        if 0 <= now - self._pruned_at < SUMS_KEPT:
            return
        self._pruned_at = now
        for known in list(self._known.values()):
            if known.acknowledged and self._parts.alerts.get(known.alert_id) is None:
                del self._known[known.alert_id]
                self._mark(known.alert_id, known.campaign_id)

    # Asked

    def group_of(self, alert_id: str) -> str | None:
        """Return the id of the group that tells of an alert; null if it is told by itself."""
        known = self._known.get(alert_id)
        if known is None or known.member is None or known.is_back:
            return None
        return self._parts.view.group_of(known.rule, known.member.cause_id)

    def groups_of(self, alert_id: str) -> set[str]:
        """Return the ids of all groups that may tell of an alert, by which it is found.

        Its cause may have been merged into another one before or after it was told of, or may have
        been over by then: a group for it alone has its id behind the cause's.
        """
        known = self._known.get(alert_id)
        if known is None or known.member is None:
            return set()
        member_id, cause_id = known.member.member_id, known.member.cause_id
        merged = self._parts.view.group_of(known.rule, cause_id)
        return {cause_id, merged, f"{cause_id}-{member_id}", f"{merged}-{member_id}"}

    # Written down and read back

    def take_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Hand out the records for the groups topic, in their order."""
        records, self._records = self._records, {}
        return records.items()

    def _mark(self, alert_id: str, campaign_id: str | None = None) -> None:
        known = self._known.get(alert_id)
        self._changed[alert_id] = known.campaign_id if known is not None else campaign_id or ""

    def take_changes(self) -> Iterator[tuple[GroupedAlertKey | LaneVersionKey, object]]:
        """Hand out what changed since the last call; null for what is not grouped any more."""
        changed, self._changed = self._changed, {}
        for alert_id, campaign_id in changed.items():
            yield GroupedAlertKey(campaign_id, alert_id), self._known.get(alert_id)
        if self._version_changed:
            self._version_changed = False
            yield LaneVersionKey(), self._version

    def restore(self, key: GroupedAlertKey | LaneVersionKey, value: GroupedAlert | int) -> None:
        """Take a value as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if isinstance(value, int):
            self._version = value
            return
        if not isinstance(key, GroupedAlertKey) or key.alert_id != value.alert_id:
            raise ValueError(f"its value is alert {value.alert_id} of {value.campaign_id}")
        self._known[value.alert_id] = value
        if value.member is None:
            self._wait(value)
        elif value.member.ended_at is not None and not value.acknowledged:
            self._unacknowledged.add(value.alert_id)


def _attributed(sends: AlertSends, found: Iterable[Found]) -> Attribution:
    """Return which of the slices explains an alert, by its number."""
    return attribute(
        sends,
        [
            _CandidateCause(str(number), each.values, each.status, each.since)
            for number, each in enumerate(found)
        ],
    )


def _sends_of(alert: Alert, sums: LaneSums) -> AlertSends:
    """Return what an alert is about."""
    explained = alert.explanation.slice if alert.explanation is not None else None
    return AlertSends(
        alert.alert_id,
        alert.app_id,
        alert.since,
        evidence_of(sums.sends_of(alert.scope.campaign_id, alert.since)),
        alert.scope.treatment_id is not None
        or (explained is not None and "treatment_id" in explained.dimensions),
    )
