"""That a silence ends that keeps alerts from a receiver: told once, for all lanes.

Which notices are due follows from the silences, which every lane knows. While one is, each lane
looks for alerts that fire, that the silence is about, and that nothing silences any more when it
ends, and says how many it keeps from whom. The teller of the silence tells each receiver as soon as
any lane has something for it, and remembers that until the silence is over: a receiver is told once
of an end, also one that gets to be concerned later.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from streams.domain import alert_labels, silence_events
from streams.domain.alert_records import Alert
from streams.domain.alerts import AlertBook
from streams.domain.causes.exchange import SilencedAlerts, SilencedKey, teller_of
from streams.domain.deliveries import Outbox
from streams.domain.fleet.lane_records import LaneRecords
from streams.domain.notification.route import Routes
from streams.domain.partition_settings import PartitionSettings
from streams.domain.silences.notices import PLANNED_FOR, Notice, planned

LOOK_EVERY = 1.0
"""Seconds between two looks at all alerts of a lane, while a notice is due."""
MOST_LOOKS = 200
"""Alerts that are looked at in one step; the others in the next one."""
SETTLE = 3.0
"""Seconds for which the lanes are waited for before anybody is told: each counts."""


class NoticeKey(msgspec.Struct, frozen=True, array_like=True, tag="notice"):
    """Key of a `NoticeRecord`: the notice's id."""

    notice_id: str


class NoticeRecord(msgspec.Struct):
    """Who was told that a silence ends.

    Attributes:
        ends_at: when it does (s, UTC); the record is kept until then.
        told: names of receivers.
    """

    ends_at: float
    told: tuple[str, ...]


class SilenceNotices:
    """What one lane has to do with notices.

    Args:
        number: of the lane.
        settings: what all lanes have in common.
        alerts: the lane's.
        outbox: the lane's deliveries.
        records: what the lane says of itself.
    """

    def __init__(
        self,
        number: int,
        settings: PartitionSettings,
        alerts: AlertBook,
        outbox: Outbox,
        records: LaneRecords,
    ) -> None:
        self._number = number
        self._settings = settings
        self._alerts = alerts
        self._outbox = outbox
        self._lane_records = records
        self._routes = Routes(settings.receivers, settings.matchers)
        self._plan: list[Notice] = []
        self._plan_of = -1
        self._planned_at = 0.0
        self._to_look_at: list[Alert] = []
        self._found: dict[str, Counter[str]] = {}
        self._looked_at = 0.0
        self._told: dict[str, NoticeRecord] = {}
        self._changed: set[str] = set()

    def step(self, now: float) -> None:
        """Look for what silences that end keep from whom, and tell of it (s, UTC)."""
        running = {each.silence_id: each for each in self._running(now)}
        if running or self._to_look_at:
            self._look(running, now)
        self._withdraw({each.notice_id for each in running.values()})
        for notice in running.values():
            if teller_of(notice.silence_id, self._settings.lanes) == self._number:
                self._tell(notice, now)
        self._forget(now)

    def _running(self, now: float) -> Iterator[Notice]:
        book = self._settings.silences
        if book.version != self._plan_of or not 0 <= now - self._planned_at < PLANNED_FOR:
            self._plan_of, self._planned_at = book.version, now
            self._plan = planned(book.silences(), now, self._settings.notice_before)
        return (each for each in self._plan if each.is_running(now))

    # The lane

    def _look(self, running: dict[str, Notice], now: float) -> None:
        """Look at some alerts; once all were looked at, say what was found."""
        if not self._to_look_at:
            if 0 <= now - self._looked_at < LOOK_EVERY:
                return
            self._looked_at = now
            self._found = {}
            self._to_look_at = self._alerts.live()
        for _ in range(min(MOST_LOOKS, len(self._to_look_at))):
            self._look_at(self._to_look_at.pop(), running)
        if not self._to_look_at:
            self._report(running.values())

    def _look_at(self, alert: Alert, running: dict[str, Notice]) -> None:
        knows = alert.notified is None or bool(alert.notified)
        if alert.state != "firing" or (alert.acknowledged is not None and knows):
            # There is nothing to be told when the silence ends.
            return
        labels, book = alert_labels.of_alert(alert), self._settings.silences
        for silence in book.matching(labels):
            notice = running.get(silence.silence_id)
            if notice is not None and book.silenced(labels, notice.ends_at) is None:
                found = self._found.setdefault(notice.notice_id, Counter())
                found.update(self._kept_from(alert, labels))

    def _kept_from(self, alert: Alert, labels: dict[str, str]) -> Iterator[str]:
        """Yield the receivers that are told of an alert once it is not silenced any more."""
        named = self._alerts.receivers(alert.alert_id)
        for name in self._settings.receivers:
            takes = name in self._settings.take_notices
            if takes and self._routes.why_not(name, named, labels) is None:
                yield name

    def _report(self, running: Iterable[Notice]) -> None:
        view = self._settings.group_view
        for notice in running:
            found = self._found.get(notice.notice_id, Counter[str]())
            key = SilencedKey(notice.notice_id, self._number)
            known = view.silenced.get(notice.notice_id, {}).get(self._number)
            if known is not None and known.receivers.keys() == found.keys():
                # How many alerts there are may change all the time.
                self._lane_records.put(key, known)
            else:
                self._lane_records.put(key, SilencedAlerts(dict(found)) if found else None)

    def _withdraw(self, running: set[str]) -> None:
        """Remove what the lane has said of notices that are not due any more."""
        for notice_id, lanes in list(self._settings.group_view.silenced.items()):
            if self._number in lanes and notice_id not in running:
                self._lane_records.put(SilencedKey(notice_id, self._number), None)

    # The teller

    def _tell(self, notice: Notice, now: float) -> None:
        lanes = self._settings.group_view.silenced.get(notice.notice_id)
        settle = min(SETTLE, (notice.ends_at - notice.at) / 2)
        compiled = self._settings.silences.get(notice.silence_id)
        if not lanes or now < notice.at + settle or compiled is None:
            return
        alerts: Counter[str] = Counter()
        for each in lanes.values():
            alerts.update(each.receivers)
        known = self._told.get(notice.notice_id, NoticeRecord(notice.ends_at, ()))
        for name in sorted(alerts.keys() & self._settings.take_notices - set(known.told)):
            told = (compiled.silence, notice.ends_at, alerts[name], self._settings.base_url)
            self._outbox.add(silence_events.delivery_of(name, *told, now))
            known.told = (*known.told, name)
            self._told[notice.notice_id] = known
            self._changed.add(notice.notice_id)

    def _forget(self, now: float) -> None:
        for notice_id in [name for name, each in self._told.items() if each.ends_at <= now]:
            del self._told[notice_id]
            self._changed.add(notice_id)

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[NoticeKey, NoticeRecord | None]]:
        """Hand out what changed since the last call; null for notices that are over."""
        changed, self._changed = self._changed, set()
        for notice_id in sorted(changed):
            yield NoticeKey(notice_id), self._told.get(notice_id)

    def restore(self, key: NoticeKey, record: NoticeRecord) -> None:
        """Take a record as it was written down."""
        self._told[key.notice_id] = record
