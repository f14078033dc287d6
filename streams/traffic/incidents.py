"""What goes wrong with campaigns, and what only looks like it: the labels of made-up traffic."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal, NamedTuple

from streams.traffic.populations import APNS, Campaign

VISIBLE_ATTEMPTS = 100
"""Sends that an incident has to touch: one that nobody could see would be a wrong label."""

REST_MS = 20_000
"""Between two labels of one campaign; longer than any event is late."""


class Kind(NamedTuple):
    """One way in which traffic changes.

    `levels`: smallest and largest share of the touched attempts (of the sends, for suppressing
    decoys) that end in one of `statuses`. `volume`: smallest and largest factor on the sends.
    `only`: the delivery type that is hit; campaigns without it are spared.
    """

    name: str
    statuses: tuple[str, ...] = ()
    levels: tuple[float, float] = (0.0, 0.0)
    volume: tuple[float, float] = (1.0, 1.0)
    only: str | None = None
    seconds: tuple[float, float] | None = None
    suppressing: bool = False


INCIDENTS = (
    Kind("revoked-certificate", ("FAILURE_PERMANENT",), (0.85, 1.0), only=APNS),
    Kind("throttling", ("THROTTLED",), (0.2, 0.7)),
    Kind("failing-hook", ("HOOK_FAILURE",), (0.4, 1.0)),
    Kind("provider-outage", ("FAILURE", "TRANSIENT_FAILURE", "UNKNOWN"), (0.3, 0.9)),
    Kind("broken-custom-delivery", ("CUSTOM_DELIVERY_FAILURE",), (0.5, 1.0), only="CUSTOM"),
    Kind("recommender-down", ("RECOMMENDATION_FAILURE",), (0.3, 0.8)),
)
DECOYS = (
    Kind("blip", ("FAILURE", "TRANSIENT_FAILURE"), (0.2, 0.5), seconds=(1.0, 2.0)),
    Kind("surge", volume=(3.0, 6.0)),
    Kind("quiet-spell", volume=(0.02, 0.1)),
    Kind("caps", ("QUIET_TIME", "DAILY_CAP", "CAMPAIGN_CAP"), (0.5, 0.9), suppressing=True),
)


@dataclass(frozen=True, slots=True)
class Label:
    """One incident or decoy of one campaign, at event times [start_ms, end_ms), UTC."""

    campaign_id: str
    app_id: str
    kind: str
    decoy: bool
    statuses: tuple[str, ...]
    delivery_type: str | None
    shape: Literal["step", "ramp"]
    start_ms: int
    end_ms: int
    level: float
    """Share of the touched attempts at full strength."""
    effect: float
    """The same, as a share of all the campaign's attempts (of its sends, if suppressing)."""
    baseline_rate: float
    """The campaign's failure rate on a normal day."""
    volume_factor: float
    suppressing: bool
    campaign_index: int

    def strength(self, time_ms: float) -> float:
        """Return the share of the touched attempts that it takes at this time."""
        if not self.start_ms <= time_ms < self.end_ms:
            return 0.0
        if self.shape == "step":
            return self.level
        # A ramp is at full strength for its second half.
        return self.level * min(1.0, 2 * (time_ms - self.start_ms) / (self.end_ms - self.start_ms))

    def document(self) -> dict[str, Any]:
        """Return what a file of labels says about it."""
        values = asdict(self)
        del values["campaign_index"]
        return {**values, "start": _rfc3339(self.start_ms), "end": _rfc3339(self.end_ms)}


def make_label(
    random: Random, kind: Kind, campaign: Campaign, start_ms: int, duration_ms: int
) -> Label:
    """Make one label of this kind; kinds with a duration of their own keep to it."""
    if kind.seconds:
        duration_ms = int(random.uniform(*kind.seconds) * 1000)
    level = random.uniform(*kind.levels)
    return Label(
        campaign_id=campaign.campaign_id,
        app_id=campaign.app_id,
        kind=kind.name,
        decoy=kind in DECOYS,
        statuses=kind.statuses,
        delivery_type=kind.only,
        shape="ramp" if kind in INCIDENTS and random.random() < 1 / 3 else "step",
        start_ms=start_ms,
        end_ms=start_ms + duration_ms,
        level=round(level, 4),
        effect=round(level * campaign.share_of(kind.only), 4),
        baseline_rate=round(campaign.failure_rate, 5),
        volume_factor=round(random.uniform(*kind.volume), 3),
        suppressing=kind.suppressing,
        campaign_index=campaign.index,
    )


def schedule(
    random: Random,
    campaigns: Sequence[Campaign],
    start_ms: int,
    end_ms: int,
    incidents: int,
) -> list[Label]:
    """Spread incidents and as many decoys over a stretch of time, in the order of their starts.

    The first seventh is left alone, so that there is something normal to compare with. Where a
    stretch is too short for all of them, there are fewer.
    """
    labels: list[Label] = []
    total = end_ms - start_ms
    for n in range(2 * incidents):
        kinds = DECOYS if n % 2 else INCIDENTS
        kind = kinds[n // 2 % len(kinds)]
        for duration, begin in _places(random, start_ms + total // 7, end_ms, total):
            fitting = [c for c in campaigns if _fits(kind, c, begin, duration, labels)]
            if fitting:
                campaign = random.choice(fitting)
                labels.append(make_label(random, kind, campaign, begin, duration))
                break
    return sorted(labels, key=lambda label: (label.start_ms, label.campaign_index))


def _places(
    random: Random, earliest_ms: int, end_ms: int, total_ms: int
) -> Iterator[tuple[int, int]]:
    for _ in range(20):
        duration = int(min(max(total_ms * random.uniform(0.1, 0.25), 20_000), 1_200_000))
        duration = min(duration, (end_ms - earliest_ms) * 2 // 3)
        yield duration, random.randrange(earliest_ms, end_ms - duration)


def _fits(
    kind: Kind, campaign: Campaign, start_ms: int, duration_ms: int, taken: Sequence[Label]
) -> bool:
    share = campaign.share_of(kind.only)
    if campaign.sends_per_second * share * duration_ms / 1000 < VISIBLE_ATTEMPTS:
        return False
    return all(
        start_ms >= label.end_ms + REST_MS or start_ms + duration_ms + REST_MS <= label.start_ms
        for label in taken
        if label.campaign_index == campaign.index
    )


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
