"""That a receiver fails, takes webhooks again, or is disabled: told once, for all workers.

Each worker goes by its own attempts, and keeps in its partitions what it knows of a receiver
(`streams.domain.receivers`). Each lane says that on the groups topic. The teller of the receiver
goes by what holds of all that (`standing`: what was noted last), and remembers what it has told.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from streams.domain.causes.exchange import LaneReceiverKey, teller_of
from streams.domain.deliveries import Outbox
from streams.domain.fleet.lane_records import LaneRecords
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receiver_events import ReceiverChange, delivery_of
from streams.domain.receivers import ReceiverBook, standing_of

TOLD_AGAIN_AFTER_S = 3600.0
"""Between two events that the same receiver fails: what comes and goes is not told each time."""
STEP_EVERY = 0.5
"""Seconds between two steps."""

Told: TypeAlias = Literal["well", "failing", "disabled"]


class TroubleKey(msgspec.Struct, frozen=True, array_like=True, tag="trouble"):
    """Key of a `TroubleRecord`: the receiver's name."""

    name: str


class TroubleRecord(msgspec.Struct, frozen=True):
    """What was told of a receiver. Times are seconds since the epoch, UTC.

    Attributes:
        told: what was told last, or `well` if that holds no more.
        at: when the newest event was.
        failing_since: since when it failed, as was told; null if it answered 410.
        failing_at: when it was last told that it fails; 0 for never.
    """

    told: Told = "well"
    at: float = 0.0
    failing_since: float | None = None
    failing_at: float = 0.0


_WELL = TroubleRecord()


class ReceiverTrouble:
    """What one lane has to do with the trouble of receivers.

    A receiver is not told of its own trouble, so no event can be the cause of another one.

    Args:
        number: of the lane.
        settings: what all lanes have in common.
        book: what the lane's worker knows of receivers.
        outbox: the lane's deliveries.
        records: what the lane says of itself.
    """

    def __init__(
        self,
        number: int,
        settings: PartitionSettings,
        book: ReceiverBook,
        outbox: Outbox,
        records: LaneRecords,
    ) -> None:
        self._number = number
        self._settings = settings
        self._book = book
        self._outbox = outbox
        self._lane_records = records
        self._next_at = 0.0
        self._told: dict[str, TroubleRecord] = {}
        self._changed: set[str] = set()

    def step(self, now: float) -> None:
        """Say what the lane's worker knows, and tell what is due at `now` (s, UTC)."""
        if now < self._next_at <= now + STEP_EVERY:
            return
        self._next_at = now + STEP_EVERY
        to, lanes = self._settings.tell, self._settings.lanes
        known = self._settings.group_view.receivers
        for name in {*self._book.names(), *known}:
            # Nobody asks: what is on the topic goes, so that it is not taken for news later.
            record = self._book.get(name) if to is not None and to != name else None
            self._lane_records.put(LaneReceiverKey(name, self._number), record)
        if to is None:
            return
        for name in self._settings.receivers:
            is_known = name in known or name in self._told
            if is_known and name != to and teller_of(name, lanes) == self._number:
                self._follow(name, to, now)

    def _follow(self, name: str, to: str, now: float) -> None:
        """Tell `to` what has changed with a receiver."""
        record = standing_of((self._settings.group_view.receivers.get(name) or {}).values())
        told = self._told.get(name, _WELL)
        if record is not None and record.status == "disabled":
            if told.told != "disabled":
                since = record.failing_since or None
                self._tell(to, name, "disabled", since, record.reason, now)
        elif record is not None and record.failing_since:
            is_due = now - told.failing_at >= TOLD_AGAIN_AFTER_S
            if told.told != "failing" and is_due:
                self._tell(to, name, "failing", record.failing_since, record.reason, now)
        elif told.told == "failing":
            self._tell(to, name, "recovered", told.failing_since, None, now)
        elif told.told == "disabled":
            # Whoever enabled it knows.
            self._keep(name, msgspec.structs.replace(told, told="well"))

    def _tell(  # noqa: PLR0913, PLR0917 - what an event says
        self,
        to: str,
        name: str,
        change: ReceiverChange,
        since: float | None,
        reason: str | None,
        now: float,
    ) -> None:
        before = self._told.get(name, _WELL)
        # Events about one receiver are told apart by their times (ms).
        at = max(now, before.at + 0.002)
        self._outbox.add(delivery_of(to, change, name, since, reason, at))
        told: Told = "well" if change == "recovered" else change
        failing_at = at if change == "failing" else before.failing_at
        self._keep(name, TroubleRecord(told, at, since, failing_at))

    def _keep(self, name: str, record: TroubleRecord) -> None:
        self._told[name] = record
        self._changed.add(name)

    # Written down and read back

    def take_changes(self) -> Iterator[tuple[TroubleKey, TroubleRecord]]:
        """Hand out what changed since the last call."""
        changed, self._changed = self._changed, set()
        for name in sorted(changed):
            yield TroubleKey(name), self._told[name]

    def restore(self, key: TroubleKey, record: TroubleRecord) -> None:
        """Take a record as it was written down."""
        self._told[key.name] = record
