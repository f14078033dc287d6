"""Records of a source partition become counts, or rejections."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial

from streams.domain.campaigns import Campaign, Campaigns
from streams.domain.events import (
    EARLIEST_MS,
    LONGEST_NAMES,
    Event,
    ForeignError,
    Reason,
    Rejected,
    RejectedError,
    Unreadable,
)
from streams.domain.formats.event_format import EventFormat
from streams.domain.pre_aggregator import CountKey, PreAggregator, dimensions_by
from streams.domain.sampling import Batch, CountedAs, Offering, Sampler
from streams.domain.windows import WindowPolicy


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How records of the source topic are read, and which are rejected.

    Args:
        format: of the events.
        windows: the windows that events are counted in.
        max_record_bytes: a record with a larger value is rejected.
        max_future_skew_ms: how far an event may be ahead of the broker's time (ms).
        sampled: statuses of sends of which samples are taken.
    """

    format: EventFormat
    windows: WindowPolicy
    max_record_bytes: int = 262_144
    max_future_skew_ms: int = 300_000
    sampled: Container[str] = ()


class SourcePartition:
    """Counts the records of one source partition, in the order of their offsets.

    Args:
        number: the partition.
        settings: how records are read.
        campaigns: the campaigns seen in any source partition; campaigns are added.
        event_time: the largest event time (ms) counted before; 0 for none.

    Attributes:
        event_time: the largest event time (ms) counted, but never ahead of the broker's time.
    """

    def __init__(
        self, number: int, settings: IngestSettings, campaigns: Campaigns, event_time: int = 0
    ) -> None:
        self.number = number
        self.event_time = event_time
        self._settings = settings
        self._format = settings.format
        self._campaigns = campaigns
        self._usual_version = settings.format.version_prefix
        """A version that needs no more looking at: the one of the last known event."""
        self._sampler = Sampler(settings.sampled, settings.format.sample_of)

    def count(  # noqa: C901, PLR0912, PLR0915 - the hot loop: in parts, it would be calls per event
        self, values: Sequence[bytes | None], broker_time: int, pre_aggregator: PreAggregator
    ) -> list[Rejected]:
        """Count a batch of records.

        Event time follows the events, but not past `broker_time`: an event from the future is
        counted, if it is within the allowed skew, and moves nothing.

        Args:
            values: the records' values.
            broker_time: when the broker took in the newest of the records (ms, UTC).
            pre_aggregator: gets the counts.

        Returns:
            The records that were not counted and have to become dead letters.
        """
        rejected: list[Rejected] = []
        # By the start of a window (s) and by count key: the campaign of each event.
        gathered: dict[int, dict[CountKey, list[Campaign]]] = {}
        window = gathered.setdefault(0, {})
        decode, check = self._format.decode, self._format.check
        dimensions_of, app_of = self._format.dimensions_of, self._format.app_of
        send_type, unclear_deliveries = self._format.send_type, self._format.unclear_deliveries
        unchecked_bytes, max_bytes = self._format.unchecked_bytes, self._settings.max_record_bytes
        known, register = self._campaigns.known, self._campaigns.register
        usual_version = self._usual_version
        size_ms = self._settings.windows.size * 1000
        latest = broker_time + self._settings.max_future_skew_ms
        ceiling = max(self.event_time, broker_time)
        newest = self.event_time
        oldest, next_expiry = self._expiry(newest)
        # Events from `first` up to `end` (ms) belong into `window`.
        first = end = 0
        sampler, batch = self._sampler, Batch(values)
        sampler.begin(len(values), broker_time / 1000)

        for index, given in enumerate(batch.records):
            value = given or b""
            size = len(value)
            event: Event | None = None
            if size <= max_bytes:
                try:
                    if size > unchecked_bytes or not value.isascii():
                        check(value)
                    event = decode(value)
                except (ValueError, RecursionError, RejectedError):
                    pass
            if event is None:
                event = self._classify(index, given, rejected, pre_aggregator)
                if event is None:
                    continue
            attributes = event.attributes
            delivery_type = attributes.delivery_type
            key: CountKey = (attributes.outcome, attributes.treatment_id, delivery_type)
            if event.event_type != send_type or delivery_type in unclear_deliveries:
                dimensions = dimensions_of(event, value)
                if dimensions is None:
                    self._skip(index, event.event_type, rejected, pre_aggregator)
                    continue
                key = dimensions
            time = event.time
            campaign_id = attributes.campaign_id
            if not (campaign_id and key[0] and oldest <= time <= latest):
                why = self._rejection(event, key[0], latest, min(newest, ceiling))
                rejected.append(Rejected(index, *why))
                continue
            if size > LONGEST_NAMES and _has_long_names(campaign_id, key):
                detail = f"names of more than {LONGEST_NAMES} characters together"
                rejected.append(Rejected(index, Reason.TOO_LARGE, detail))
                continue
            if not first <= time < end:
                first = time - time % size_ms
                end = first + size_ms
                window = gathered.setdefault(first // 1000, {})
            campaign = known.get(campaign_id) or register(campaign_id, app_of(value))
            alike = window.get(key)
            if alike is None:
                window[key] = [campaign]
                if event.event_type == send_type and sampler.wants(key[0]):
                    offering = window[key] = self._offering(first, key, window, batch)
                    offering.append(campaign)
            else:
                alike.append(campaign)
            if time > newest:
                newest = time
                if time >= next_expiry:
                    oldest, next_expiry = self._expiry(min(time, ceiling))
            if event.version != usual_version:
                usual_version = self._see_version(event.version, pre_aggregator)

        before = pre_aggregator.counted
        for start, counts in gathered.items():
            for each, campaigns in counts.items():
                pre_aggregator.add(start, _without_empty(each), campaigns)
        if pre_aggregator.counted > before:
            self.event_time = min(newest, ceiling)
            pre_aggregator.event_times[self.number] = self.event_time
            pre_aggregator.received_at = pre_aggregator.received_at or broker_time
        for campaign, sample in sampler.take(values):
            pre_aggregator.add_sample(campaign, sample)
        return rejected

    def _offering(
        self, first: int, key: CountKey, window: dict[CountKey, list[Campaign]], batch: Batch
    ) -> Offering:
        """Return the list for campaigns of events that are offered to the sampler.

        Args:
            first: start of the window (ms).
            key: what they are counted by.
            window: has the list by that key; it gets a plain one when no more are wanted.
            batch: of the events.
        """
        counted_as = CountedAs(first // 1000, dimensions_by(_without_empty(key)))
        plain = partial(window.__setitem__, key)
        return Offering(self._sampler, counted_as, batch.position, plain)

    def _classify(
        self,
        index: int,
        value: bytes | None,
        rejected: list[Rejected],
        pre_aggregator: PreAggregator,
    ) -> Event | None:
        """Take the slow path: look closely at a record that the fast path refused.

        Returns:
            The event, if it can be counted after all; otherwise null, and the record is noted as
            rejected or skipped.
        """
        try:
            return self._format.classify(self._checked(value))
        except RejectedError as error:
            rejected.append(Rejected(index, error.reason, error.detail))
        except ForeignError as error:
            pre_aggregator.skipped[self._format.family_of(error.event_type)] += 1
        return None

    def _checked(self, value: bytes | None) -> bytes:
        """Return the bytes of a record, if there are any that can be looked at.

        Raises:
            RejectedError: if not.
        """
        if value is None:
            raise RejectedError(Reason.NOT_JSON, "the record has no value")
        if isinstance(value, Unreadable):
            raise RejectedError(Reason.UNREADABLE, value.why)
        most = self._settings.max_record_bytes
        if len(value) > most:
            raise RejectedError(Reason.TOO_LARGE, f"{len(value)} bytes, more than {most}")
        try:
            self._format.check(value)
        except ValueError as error:
            raise RejectedError(Reason.NOT_JSON, str(error)) from error
        return value

    def _skip(
        self, index: int, event_type: str, rejected: list[Rejected], pre_aggregator: PreAggregator
    ) -> None:
        """Note an event of a type that is not counted; without a type it is rejected."""
        if event_type:
            pre_aggregator.skipped[self._format.family_of(event_type)] += 1
        else:
            field = self._format.spellings.event_type
            rejected.append(Rejected(index, Reason.MISSING_FIELD, field))

    def _rejection(
        self, event: Event, outcome: str, latest: int, event_time: int
    ) -> tuple[Reason, str]:
        """Return why an event cannot be counted although it was decoded.

        Args:
            event: as it was decoded.
            outcome: what it would be counted as.
            latest: the largest time (ms) that is possible.
            event_time: of the partition (ms).

        Returns:
            The reason, and the detail for people.
        """
        names, time = self._format.spellings, event.time
        if abs(time) >= 2**63:
            # It may have thousands of digits.
            time = 2**63 if time > 0 else -(2**63)
        if not event.attributes.campaign_id:
            return Reason.MISSING_FIELD, names.campaign_id
        if not outcome:
            return Reason.MISSING_FIELD, names.outcome
        if time < EARLIEST_MS:
            return Reason.IMPOSSIBLE_TIME, f"{names.time} {time} is before 2010"
        if time > latest:
            detail = f"{names.time} {time} is ahead of the broker's time by more than allowed"
            return Reason.IMPOSSIBLE_TIME, detail
        return Reason.EXPIRED, f"{names.time} {time} is older than what is retained at {event_time}"

    def _see_version(self, version: str | None, pre_aggregator: PreAggregator) -> str | None:
        """Note a version; return the one that needs no more looking at."""
        prefix = self._format.version_prefix
        if prefix is not None and (version is None or not version.startswith(prefix)):
            pre_aggregator.unknown_versions[str(version or None)[:32]] += 1
        else:
            self._usual_version = version
        return self._usual_version

    def _expiry(self, event_time: int) -> tuple[int, int]:
        """Return the oldest time (ms) to be counted, and the event time (ms) when that changes."""
        windows = self._settings.windows
        oldest = windows.oldest_countable(event_time)
        return max(EARLIEST_MS, oldest), windows.uncountable_from(oldest // 1000)


def _has_long_names(campaign_id: str, key: CountKey) -> bool:
    different = {campaign_id, *key}
    return sum(len(name) for name in different if isinstance(name, str)) > LONGEST_NAMES


def _without_empty(key: CountKey) -> CountKey:
    """Return a key without an empty treatment, which is none; `Dimensions` have none already."""
    return (key[0], None, key[2]) if key[1] == "" else key
