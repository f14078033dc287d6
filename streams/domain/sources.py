"""Records of the source topic become counts, or dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass

from streams.domain.campaigns import Campaign, Campaigns
from streams.domain.events import (
    CAMPAIGN_PREFIX,
    EARLIEST_MS,
    ENGAGEMENT,
    KNOWN_VERSION_PREFIX,
    LONGEST_NAMES,
    OWN_CHANNEL,
    SEND,
    SURELY_FLAT,
    Event,
    ForeignError,
    Reason,
    Rejected,
    RejectedError,
    careful,
    check_readable,
    decode,
    endpoint_channel,
    family,
)
from streams.domain.partial_counts import Dimensions
from streams.domain.pre_aggregator import Names, PreAggregator
from streams.domain.windows import WindowPolicy


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """What is taken in.

    Args:
        windows: the windows that events are counted in.
        max_record_bytes: a larger record is put aside.
        max_future_skew_ms: how far an event may be ahead of the broker's time.
    """

    windows: WindowPolicy
    max_record_bytes: int = 262_144
    max_future_skew_ms: int = 300_000


class SourcePartition:
    """Counts the records of one source partition, in the order of their offsets.

    Args:
        number: the partition.
        ingest_limits: what is taken in.
        campaigns: that were seen, in any partition; is added to.
        event_time: the largest event time (ms) counted before; 0 for none.
    """

    def __init__(
        self, number: int, ingest_limits: IngestLimits, campaigns: Campaigns, event_time: int = 0
    ) -> None:
        self.number = number
        self.event_time = event_time
        self._intake = ingest_limits
        self._campaigns = campaigns
        self._usual_version = KNOWN_VERSION_PREFIX

    def count(  # noqa: C901, PLR0912, PLR0915 - one loop: a call per event is what it would cost
        self, values: Sequence[bytes | None], broker_time: int, pre_aggregator: PreAggregator
    ) -> list[Rejected]:
        """Add a batch of records to a pre_aggregator.

        Event time follows the events, but not past `broker_time`: an event from the future is
        counted, if it is within the allowed skew, and moves nothing.

        Args:
            values: the records' values.
            broker_time: when the broker took in the newest of them (ms, UTC).
            pre_aggregator: is added to.

        Returns:
            The records that were not counted and have to be put aside.
        """
        rejected: list[Rejected] = []
        pending: dict[int, dict[Names, list[Campaign]]] = {}
        gathered = pending.setdefault(0, {})
        known, usual_version = self._campaigns.known, self._usual_version
        size_ms = self._intake.windows.size * 1000
        latest = broker_time + self._intake.max_future_skew_ms
        ceiling = max(self.event_time, broker_time)
        newest = self.event_time
        oldest, next_expiry = self._expiry(newest)
        # Events from `first` up to `end` (ms) are counted in the window at hand.
        first = end = 0

        for index, given in enumerate(values):
            value = given or b""
            large = len(value) > SURELY_FLAT
            event: Event | None = None
            try:
                if large:
                    check_readable(value, self._intake.max_record_bytes)
                if not value.isascii():
                    # The decoder does not look into the strings that it skips.
                    value.decode()
                event = decode(value)
            except (ValueError, RecursionError, RejectedError):
                pass
            if event is None:
                event = self._examine(index, given, rejected, pre_aggregator)
                if event is None:
                    continue
            attributes = event.attributes
            names: Names = (
                attributes.outcome,
                attributes.treatment_id,
                attributes.delivery_type,
            )
            if event.event_type != SEND or attributes.delivery_type in OWN_CHANNEL:
                if event.event_type != SEND and event.event_type not in ENGAGEMENT:
                    self._skip(index, event, rejected, pre_aggregator)
                    continue
                names = _full(event, value)
            time = event.event_timestamp
            campaign_id = attributes.campaign_id
            if not (campaign_id and names[0] and oldest <= time <= latest):
                rejected.append(_why_not(index, event, latest, min(newest, ceiling)))
                continue
            if large and _too_long(value, campaign_id, names):
                detail = f"names of more than {LONGEST_NAMES} characters together"
                rejected.append(Rejected(index, Reason.TOO_LARGE, detail))
                continue
            if not first <= time < end:
                first = time - time % size_ms
                end = first + size_ms
                gathered = pending.setdefault(first // 1000, {})
            campaign = known.get(campaign_id) or self._campaigns.meet(campaign_id, value)
            alike = gathered.get(names)
            if alike is None:
                gathered[names] = [campaign]
            else:
                alike.append(campaign)
            if time > newest:
                newest = time
                if time >= next_expiry:
                    oldest, next_expiry = self._expiry(min(time, ceiling))
            if event.event_version != usual_version:
                usual_version = self._see_version(event.event_version, pre_aggregator)

        before = pre_aggregator.counted
        for start, each in pending.items():
            for names, campaigns in each.items():
                if names[1] == "":
                    # An empty treatment is none.
                    names = (names[0], None, names[2])  # noqa: PLW2901 - as good as another name
                pre_aggregator.add(start, names, campaigns)
        if pre_aggregator.counted > before:
            self.event_time = min(newest, ceiling)
            pre_aggregator.event_times[self.number] = self.event_time
            pre_aggregator.received_at = pre_aggregator.received_at or broker_time
        return rejected

    def _examine(
        self,
        index: int,
        value: bytes | None,
        rejected: list[Rejected],
        pre_aggregator: PreAggregator,
    ) -> Event | None:
        """Look closely at a record that the short way refused.

        Returns the event if it can be counted after all; otherwise takes note of it as rejected
        or skipped.
        """
        try:
            return careful(value, self._intake.max_record_bytes)
        except RejectedError as error:
            rejected.append(Rejected(index, error.reason, error.detail))
        except ForeignError as error:
            pre_aggregator.skipped[family(error.event_type)] += 1
        return None

    @staticmethod
    def _skip(
        index: int, event: Event, rejected: list[Rejected], pre_aggregator: PreAggregator
    ) -> None:
        if event.event_type:
            pre_aggregator.skipped[family(event.event_type)] += 1
        else:
            rejected.append(Rejected(index, Reason.MISSING_FIELD, "event_type"))

    def _see_version(self, version: str | None, pre_aggregator: PreAggregator) -> str:
        """Take note of a version; return the one that needs no more looking at."""
        if version is None or not version.startswith(KNOWN_VERSION_PREFIX):
            pre_aggregator.unknown_versions[str(version or None)[:32]] += 1
        else:
            self._usual_version = version
        return self._usual_version

    def _expiry(self, event_time: int) -> tuple[int, int]:
        """Return the oldest time (ms) to be counted, and the event time (ms) when that changes."""
        windows = self._intake.windows
        oldest = windows.oldest_countable(event_time)
        return max(EARLIEST_MS, oldest), windows.expires_at(oldest // 1000)


def _full(event: Event, value: bytes) -> Dimensions:
    attributes = event.attributes
    # An empty name is none.
    delivery = channel = attributes.delivery_type or None
    if delivery in OWN_CHANNEL:
        channel = endpoint_channel(value)
    engagement = event.event_type != SEND
    outcome = event.event_type[len(CAMPAIGN_PREFIX) :] if engagement else attributes.outcome
    return Dimensions(outcome, attributes.treatment_id or None, delivery, channel, engagement)


def _too_long(value: bytes, campaign_id: str, names: Names) -> bool:
    if len(value) <= LONGEST_NAMES:
        return False
    different = {campaign_id, *names}
    return sum(len(name) for name in different if isinstance(name, str)) > LONGEST_NAMES


def _why_not(index: int, event: Event, latest: int, event_time: int) -> Rejected:
    time = event.event_timestamp
    if abs(time) >= 2**63:
        # It may have thousands of digits.
        time = 2**63 if time > 0 else -(2**63)
    if not event.attributes.campaign_id:
        return Rejected(index, Reason.MISSING_FIELD, "attributes.campaign_id")
    if event.event_type == SEND and not event.attributes.outcome:
        return Rejected(index, Reason.MISSING_FIELD, "attributes.campaign_send_status")
    if time < EARLIEST_MS:
        return Rejected(index, Reason.IMPOSSIBLE_TIME, f"event_timestamp {time} is before 2010")
    if time > latest:
        detail = f"event_timestamp {time} is ahead of the broker's time by more than allowed"
        return Rejected(index, Reason.IMPOSSIBLE_TIME, detail)
    detail = f"event_timestamp {time} is older than what is retained at {event_time}"
    return Rejected(index, Reason.EXPIRED, detail)
