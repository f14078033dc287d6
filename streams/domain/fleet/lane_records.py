"""What one lane says of itself on the groups topic."""

from streams.domain.causes import exchange
from streams.domain.causes.exchange import GroupView, LaneKey, SilencedAlerts
from streams.domain.receivers import ReceiverRecord


class LaneRecords:
    """The records of one lane, each as it was last asked for.

    Nothing of it is in the changelog: what has to be on the topic is put again and again, and
    written whenever it is not there.

    Args:
        view: what is on the groups topic; it changes.
    """

    def __init__(self, view: GroupView) -> None:
        self._view = view
        self._generation = view.generation
        self._written: dict[LaneKey, bytes | None] = {}
        """What was written, and not read back yet."""
        self._records: dict[bytes, bytes | None] = {}

    def put(self, key: LaneKey, value: SilencedAlerts | ReceiverRecord | None) -> None:
        """Have a value on the topic; null for none."""
        if self._generation != self._view.generation:
            self._generation = self._view.generation
            self._written.clear()
        encoded_key = exchange.encode(key)
        if self._view.of_lane(key) == value and encoded_key not in self._records:
            self._written.pop(key, None)
            return
        encoded = None if value is None else exchange.encode(value)
        if key not in self._written or self._written[key] != encoded:
            self._written[key] = self._records[encoded_key] = encoded

    def take_records(self) -> list[tuple[bytes, bytes | None]]:
        """Return the records since the last call."""
        records, self._records = self._records, {}
        return list(records.items())
