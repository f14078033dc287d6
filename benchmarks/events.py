"""The events of the benchmarks: documented Pinpoint sends, and how they must be counted."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from zlib import crc32

WINDOW_S = 60
SUCCEED = 0.97
OTHERS = ("FAILURE", "THROTTLED", "DAILY_CAP")

# The vendor's documented sample, 719 bytes and a few for longer statuses.
EVENT = (
    '{"event_type":"_campaign.send","event_timestamp":%d,"arrival_timestamp":1562109497494,'
    '"event_version":"3.1","application":{"app_id":"a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6","sdk":{}},'
    '"client":{"client_id":"d8dcf7c5-e81a-48ae-8313-f540cexample"},"device":{"platform":{}},'
    '"session":{},"attributes":{"treatment_id":"%d","campaign_activity_id":'
    '"5473285727f04865bc673e527example","delivery_type":"GCM","campaign_id":"%s",'
    '"campaign_send_status":"%s"},"client_context":{"custom":{"endpoint":"{\\"ChannelType\\":'
    '\\"GCM\\",\\"EndpointStatus\\":\\"ACTIVE\\",\\"OptOut\\":\\"NONE\\",\\"RequestId\\":'
    '\\"ec229696-9d1e-11e9-8bf1-85d0aexample\\",\\"EffectiveDate\\":'
    '\\"2019-07-02T23:12:54.836Z\\",\\"User\\":{}}"}},"awsAccountId":"123456789012"}'
)

Truth: TypeAlias = Counter[tuple[str, int, str]]
"""Counts by campaign, start of the window (s since the epoch) and status."""


class Event(NamedTuple):
    """One event; `time` in ms since the epoch."""

    campaign_id: str
    time: int
    status: str
    value: bytes

    @property
    def cell(self) -> tuple[str, int, str]:
        """What it counts as."""
        return self.campaign_id, self.time // 1000 // WINDOW_S * WINDOW_S, self.status


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events up to now, in the order of their times; same arguments, same campaigns and statuses.

    Args:
        count: how many events.
        campaigns: how many campaigns; the first ninth of them gets a third of the events.
        span_s: how much event time they cover, seconds.
        seed: of the random choices.
    """

    count: int
    campaigns: int
    span_s: int = 600
    seed: int = 1

    def __iter__(self) -> Iterator[Event]:
        source = random.Random(self.seed)  # noqa: S311 - no secrets here
        ids = campaign_ids(self.campaigns, source)
        start = int(time.time() * 1000) - self.span_s * 1000
        for n in range(self.count):
            campaign_id = ids[int(self.campaigns * source.random() ** 2)]
            status = "SUCCESS" if source.random() < SUCCEED else source.choice(OTHERS)
            at = start + n * self.span_s * 1000 // self.count
            yield make(campaign_id, at, status, source.getrandbits(1))


@dataclass(frozen=True, slots=True)
class History:
    """The same number of events in every window of every campaign, up to now.

    Args:
        campaigns: how many.
        windows: how many, one after the other; the last one is the present one.
        each: events in a window: a success first, then other statuses in turn.
        seed: of the campaigns' ids.
    """

    campaigns: int
    windows: int
    each: int = 1
    seed: int = 1

    def __iter__(self) -> Iterator[Event]:
        source = random.Random(self.seed)  # noqa: S311 - no secrets here
        ids = campaign_ids(self.campaigns, source)
        present = int(time.time()) // WINDOW_S * WINDOW_S
        statuses = ("SUCCESS", *OTHERS)
        for number in range(self.windows):
            at = (present - (self.windows - 1 - number) * WINDOW_S) * 1000
            for n in range(self.each):
                for campaign_id in ids:
                    yield make(campaign_id, at, statuses[n % len(statuses)])


def campaign_ids(count: int, source: random.Random) -> list[str]:
    """Make ids as the vendor's look: 32 hexadecimal digits."""
    return [f"{source.getrandbits(128):032x}" for _ in range(count)]


def make(campaign_id: str, time_ms: int, status: str, treatment: int = 0) -> Event:
    """Make one event."""
    value = EVENT % (time_ms, treatment, campaign_id, status)
    return Event(campaign_id, time_ms, status, value.encode())


def partition_of(campaign_id: str, partitions: int) -> int:
    """Return the partition of a campaign in a topic that is keyed by campaign."""
    return crc32(campaign_id.encode()) % partitions
