"""What one partition has to do with what is told once for all workers."""

from collections.abc import Callable

from streams.domain.alerts import AlertBook
from streams.domain.deliveries import Outbox
from streams.domain.fleet.lane_records import LaneRecords
from streams.domain.fleet.receiver_trouble import ReceiverTrouble
from streams.domain.fleet.silence_notices import SilenceNotices
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receivers import ReceiverBook


class FleetEvents:
    """The part of one lane.

    Args:
        number: of the lane.
        settings: what all lanes have in common.
        alerts: the lane's.
        receivers: what the lane's worker knows of receivers.
        outbox: the lane's deliveries.

    Attributes:
        notices: that silences end.
        trouble: of receivers.
    """

    def __init__(
        self,
        number: int,
        settings: PartitionSettings,
        alerts: AlertBook,
        receivers: ReceiverBook,
        outbox: Outbox,
    ) -> None:
        self._records = LaneRecords(settings.group_view)
        self.notices = SilenceNotices(number, settings, alerts, outbox, self._records)
        self.trouble = ReceiverTrouble(number, settings, receivers, outbox, self._records)

    def step(self, now: float) -> list[Exception]:
        """Let time (s, UTC) do its part; return what was raised, as other things must go on."""
        steps: tuple[Callable[[float], None], ...] = (self.notices.step, self.trouble.step)
        failures: list[Exception] = []
        for step in steps:
            try:
                step(now)
            except Exception as error:  # noqa: BLE001 - counting and alerts must go on
                failures.append(error)
        return failures

    def take_records(self) -> list[tuple[bytes, bytes | None]]:
        """Return the records for the groups topic since the last call."""
        return self._records.take_records()
