"""Campaigns as they differ: volume, channels, treatments, and failure rates of their own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

PUSH_TYPES = frozenset(
    {"ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "GCM", "PUSH"}
)
APNS = "APNS"
APPS = 4
"""Applications (Pinpoint projects) that the campaigns are spread over."""

BUSIEST_TO_QUIETEST = 100.0
NORMAL_RATES = (0.002, 0.25)
"""Smallest and largest failure rate that a campaign may have on a normal day."""


class Channel(NamedTuple):
    """One way to endpoints: what the campaign says, what the endpoint says, share of the events."""

    delivery_type: str | None
    channel_type: str
    share: float


# One entry a campaign, repeated: each delivery type of the vendor's list occurs.
CHANNELS: Sequence[Sequence[Channel]] = (
    (Channel("GCM", "GCM", 0.55), Channel(APNS, APNS, 0.42), Channel("ADM", "ADM", 0.03)),
    (Channel("EMAIL", "EMAIL", 1.0),),
    # As in real events of SMS campaigns: some have no delivery type.
    (Channel("SMS", "SMS", 0.9), Channel(None, "SMS", 0.1)),
    (Channel(APNS, APNS, 0.7), Channel("GCM", "GCM", 0.25), Channel("BAIDU", "BAIDU", 0.05)),
    # Custom deliveries: the endpoints have types of their own.
    (
        Channel("CUSTOM", "EMAIL", 0.5),
        Channel("CUSTOM", "SMS", 0.3),
        Channel("CUSTOM", "CUSTOM", 0.2),
    ),
    (Channel("EMAIL", "EMAIL", 0.98), Channel(None, "EMAIL", 0.02)),
    (Channel("PUSH", "PUSH", 1.0),),
    (Channel("VOICE", "VOICE", 1.0),),
    (Channel("APNS_VOIP", "APNS_VOIP", 0.8), Channel("GCM", "GCM", 0.2)),
    (Channel("SMS", "SMS", 1.0),),
    (Channel("APNS_SANDBOX", "APNS_SANDBOX", 0.5), Channel("APNS_VOIP_SANDBOX", "APNS", 0.5)),
)
_TREATMENTS: Sequence[Mapping[str, float]] = (
    {"0": 1.0},
    {"0": 0.5, "1": 0.5},
    {"0": 1.0},
    {"0": 0.4, "1": 0.4, "2": 0.2},
)
_EVERYDAY_FAILURES = {
    "FAILURE": 0.4,
    "FAILURE_PERMANENT": 0.3,
    "TRANSIENT_FAILURE": 0.2,
    "UNKNOWN": 0.06,
    "UNSUPPORTED_CHANNEL": 0.02,
    "HOOK_FAILURE": 0.01,
    "RECOMMENDATION_FAILURE": 0.01,
}
_EVERYDAY_SUPPRESSIONS = {
    "DAILY_CAP": 0.012,
    "CAMPAIGN_CAP": 0.008,
    "HOLDOUT": 0.01,
    "DUPLICATE_ADDRESS": 0.003,
    "EXPIRED": 0.001,
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign. Shares are of all its sends, failure and throttled rates of its attempts."""

    index: int
    campaign_id: str
    app_id: str
    activity_id: str
    channels: Sequence[Channel]
    treatments: Mapping[str, float]
    sends_per_second: float
    failure_rate: float
    correlation: float
    """Of the outcomes within a minute: how far the rate strays from `failure_rate` (0 to 1)."""
    throttled_rate: float
    failures: Mapping[str, float]
    suppressed: Mapping[str, float]
    quiet_hours: tuple[int, int] | None
    """UTC hours [from, until), over midnight if from > until."""
    quiet_share: float
    engagement: float
    """Share of the successful push messages that are opened or seen to arrive."""

    def share_of(self, delivery_type: str | None) -> float:
        """Return the share of the sends that go by this delivery type; None stands for all."""
        if delivery_type is None:
            return 1.0
        return sum(each.share for each in self.channels if each.delivery_type == delivery_type)

    def is_quiet(self, hour: int) -> bool:
        """Tell whether quiet hours hold in this UTC hour."""
        if self.quiet_hours is None:
            return False
        start, end = self.quiet_hours
        return start <= hour < end if start <= end else hour >= start or hour < end


def make_campaigns(
    random: Random,
    count: int,
    sends_per_second: float,
    normal_rates: tuple[float, float] = NORMAL_RATES,
) -> tuple[Campaign, ...]:
    """Make campaigns that send `sends_per_second` together, the busiest 100 times the quietest."""
    steps = [BUSIEST_TO_QUIETEST ** -(n / max(count - 1, 1)) for n in range(count)]
    random.shuffle(steps)
    apps = [_hex(random) for _ in range(APPS)]
    low, high = (math.log(rate) for rate in normal_rates)
    # Spread evenly over the range, so that few campaigns show all of it too.
    levels = [math.exp(low + (high - low) * (n + 0.5) / count) for n in range(count)]
    random.shuffle(levels)
    return tuple(
        _make_campaign(random, n, apps, sends_per_second * steps[n] / sum(steps), levels[n])
        for n in range(count)
    )


def _make_campaign(
    random: Random, index: int, apps: Sequence[str], sends_per_second: float, failure_rate: float
) -> Campaign:
    channels = CHANNELS[index % len(CHANNELS)]
    failures = dict(_EVERYDAY_FAILURES)
    if any(each.delivery_type == "CUSTOM" for each in channels):
        failures["CUSTOM_DELIVERY_FAILURE"] = 0.5
    pushes = any(each.delivery_type in PUSH_TYPES for each in channels)
    return Campaign(
        index=index,
        campaign_id=_hex(random),
        app_id=apps[index % len(apps)],
        activity_id=_hex(random),
        channels=channels,
        treatments=_TREATMENTS[index % len(_TREATMENTS)],
        sends_per_second=sends_per_second,
        failure_rate=failure_rate,
        correlation=random.uniform(0.001, 0.015),
        throttled_rate=random.uniform(0.0, 0.004),
        failures=failures,
        suppressed={k: v * random.uniform(0.2, 2.0) for k, v in _EVERYDAY_SUPPRESSIONS.items()},
        quiet_hours=(random.randrange(20, 24), random.randrange(5, 9)) if index % 3 == 0 else None,
        quiet_share=random.uniform(0.2, 0.5),
        engagement=random.uniform(0.05, 0.25) if pushes else 0.0,
    )


def _hex(random: Random) -> str:
    return f"{random.getrandbits(128):032x}"
