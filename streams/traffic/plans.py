"""Ready-made plans: traffic of a given length with incidents, and the endless demonstration."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from random import Random

from streams.traffic.incidents import DECOYS, INCIDENTS, Kind, Label, make_label, schedule
from streams.traffic.populations import Campaign, make_campaigns
from streams.traffic.simulation import Plan

DEMO_CAMPAIGNS = 12
DEMO_RATE = 300.0
# So far below the default rules' level that only incidents are told.
DEMO_NORMAL_RATES = (0.002, 0.02)
DEMO_FIRST_AFTER_MS = 20_000
DEMO_INCIDENT_MS = 40_000

_BY_NAME = {kind.name: kind for kind in (*INCIDENTS, *DECOYS)}
_DEMO_KINDS = (
    "provider-outage",
    "throttling",
    "surge",
    "revoked-certificate",
    "failing-hook",
    "caps",
)


def make_plan(  # noqa: PLR0913 - the options of `simulate`
    *,
    seed: int,
    start_ms: int,
    duration_ms: int,
    campaigns: int = 20,
    rate: float = 400.0,
    incidents: int = 3,
) -> Plan:
    """Plan traffic of `rate` sends per second, with incidents and as many decoys.

    Incidents may be fewer than asked for where the time is short or the campaigns are few.
    """
    random = Random(f"{seed}/plan")  # noqa: S311 - no secrets here
    population = make_campaigns(random, campaigns, rate)
    end_ms = start_ms + duration_ms
    labels = schedule(random, population, start_ms, end_ms, incidents)
    return Plan(seed, start_ms, end_ms, population, lambda: iter(labels))


def demo_plan(seed: int, start_ms: int, *, rate: float = DEMO_RATE) -> Plan:
    """Plan endless traffic: the first incident starts after 20 s, and others follow for ever.

    Every incident lasts 40 s, hits one of the busiest campaigns hard, and is followed by 30 to
    60 s of calm; between them are things that only look like one.
    """
    random = Random(f"{seed}/demo")  # noqa: S311 - no secrets here
    population = make_campaigns(random, DEMO_CAMPAIGNS, rate, DEMO_NORMAL_RATES)
    labels = functools.partial(_demo_labels, seed, start_ms, population)
    return Plan(seed, start_ms, None, population, labels)


def _demo_labels(seed: int, start_ms: int, campaigns: Sequence[Campaign]) -> Iterator[Label]:
    random = Random(f"{seed}/labels")  # noqa: S311 - no secrets here
    at = start_ms + DEMO_FIRST_AFTER_MS
    last = -1
    while True:
        for name in _DEMO_KINDS:
            kind = _BY_NAME[name]
            campaign = _well_visible(kind, campaigns, last)
            last = campaign.index
            # Hard enough to be seen in the first seconds.
            low, high = kind.levels
            hard = kind._replace(levels=(max(low, 0.8 * high), high))
            label = make_label(random, hard, campaign, at, DEMO_INCIDENT_MS)
            yield dataclasses.replace(label, shape="step")
            at = label.end_ms + random.randrange(30_000, 60_000)


def _well_visible(kind: Kind, campaigns: Sequence[Campaign], last: int) -> Campaign:
    """Return the campaign with the most events that this would touch, but not the last one."""
    others = [campaign for campaign in campaigns if campaign.index != last]
    return max(others, key=lambda each: each.sends_per_second * each.share_of(kind.only))
