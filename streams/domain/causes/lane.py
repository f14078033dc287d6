"""A lane's alerts that may have a common cause: from the transition to the teller.

An alert of a receiver that groups by cause waits until it is known whether it may have one:

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
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from streams.domain.alert_records import Alert
from streams.domain.causes import exchange
from streams.domain.causes.evidence import OWN_FAULT, evidence_of
from streams.domain.causes.exchange import LaneReport, ReportKey
from streams.domain.causes.finding import Dimension, Found, find
from streams.domain.causes.handover import GroupedAlert, Handover, LaneParts
from streams.domain.causes.lane_sums import LaneSums
from streams.domain.causes.membership import AlertSends, Attribution, attribute
from streams.domain.causes.summary import LaneSummary, added_up
from streams.domain.notification.group import GROUPED
from streams.domain.rules import Rule

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
ASKS_FOR = 120.0
"""Seconds for which a lane asks for reports after an alert began to wait."""
SUMS_KEPT = 60.0
"""Seconds after the last report for which the sums of windows are kept in memory."""


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


class LaneCauses:
    """The alerts of one lane that may have a common cause.

    Args:
        parts: what they are about.
        handover: keeps them.
        tell_alone: tells of an alert by itself, in the words in which it was decided, at a time.
    """

    def __init__(
        self,
        parts: LaneParts,
        handover: Handover,
        tell_alone: Callable[[GroupedAlert, float], None],
    ) -> None:
        self._parts = parts
        self._handover = handover
        self._tell_alone = tell_alone
        # Of silence there are no sends that could be compared.
        self._rules = {rule.name: rule for rule in parts.rules if not rule.detector.on_closing}
        self._waiting_of: Counter[str] = Counter()
        """How many wait, by rule, at the last step."""
        self._asks_until: dict[str, float] = {}
        """By rule, until when (s) the lane asks for reports."""
        self._sums: dict[str, LaneSums] = {}
        self._reports: dict[str, LaneReport] = {}
        self._found: dict[str, _Shown] = {}
        self._records: dict[bytes, bytes | None] = {}

    def groups(self, rule: str) -> bool:
        """Tell whether alerts of a rule may have a common cause."""
        return rule in self._rules

    def waits(self, known: GroupedAlert) -> None:
        """Ask for reports, as an alert has begun to wait."""
        until = known.since + ASKS_FOR
        self._asks_until[known.rule] = max(until, self._asks_until.get(known.rule, 0.0))

    def step(self, waiting: Iterable[GroupedAlert], now: float) -> None:
        """Report what others ask for at `now` (s, UTC), given the alerts that wait."""
        self._waiting_of = Counter(known.rule for known in waiting)
        for name, rule in self._rules.items():
            self._report_if_due(rule, name, now)

    def take_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Hand out the reports for the groups topic."""
        records, self._records = self._records, {}
        return records.items()

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

    def look(self, known: GroupedAlert, now: float) -> None:
        """Decide at `now` (s, UTC) what becomes of an alert that waits, if that can be decided."""
        alert, sums = self._parts.alerts.get(known.alert_id), self._sums.get(known.rule)
        if alert is None or sums is None:
            self._tell_alone(known, now)
            return
        sends = _sends_of(alert, sums)
        announced = self._parts.view.announced.get(known.rule)
        causes = announced.causes if announced is not None else ()
        found = attribute(sends, causes)
        if found.cause_id is not None:
            self.join(known, found.cause_id)
            return
        if self._has_waited(known, sends, found, now):
            self._tell_alone(known, now)

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

    def join(self, known: GroupedAlert, cause_id: str) -> None:
        """Hand an alert over to the teller of its rule."""
        self._handover.hand_over(known, cause_id)
        why = f"in group {self._parts.view.group_of(known.rule, cause_id)}"
        self._parts.alerts.grouped(known.alert_id, known.receivers, GROUPED, why)


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
