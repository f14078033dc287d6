"""Campaigns and incidents put together into events, in the order of their arrival.

The same plan gives the same bytes: chance comes from `random.Random`, one per campaign, seeded
with the plan's seed and the campaign's number. There is no clock.
"""

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypeVar

from streams.traffic.incidents import Label
from streams.traffic.populations import PUSH_TYPES, Campaign, Channel
from streams.traffic.rendering import engagement_template, foreign_template, send_template

Outcome = TypeVar("Outcome")

STEP_MS = 100
LATEST_MS = 12_000
"""How late an event may arrive: well within the default grace of a window."""

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_LONGEST_GAP_MS = 1000.0
_STRAGGLERS = 0.004
_ENGAGEMENTS = (
    "_campaign.opened_notification",
    "_campaign.received_foreground",
    "_campaign.received_background",
)
_FOREIGN = {"SMS": "_SMS.BUFFERED", "EMAIL": "_email.send", "VOICE": "_VOICE.COMPLETED"}
_FOREIGN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a simulation shows. `end_ms` None: it never ends.

    `labels` gives the labels anew each time, in the order of their starts; no two of one campaign
    are closer than `incidents.REST_MS`.
    """

    seed: int
    start_ms: int
    end_ms: int | None
    campaigns: Sequence[Campaign]
    labels: Callable[[], Iterator[Label]]


class Step(NamedTuple):
    """A tenth of a second: what arrived (time in ms and event, in order), what began and ended."""

    until_ms: int
    events: list[tuple[int, bytes]]
    began: list[Label]
    ended: list[Label]


def events(plan: Plan) -> Iterator[tuple[int, bytes]]:
    """Yield arrival time (ms) and bytes of each event of the plan, in the order of arrival."""
    for step in steps(plan):
        yield from step.events


def steps(plan: Plan) -> Iterator[Step]:
    """Yield the plan's traffic, `STEP_MS` at a time."""
    sources = [_Source(campaign, plan) for campaign in plan.campaigns]
    # Ties are broken by the number, which no two entries share.
    arrivals: list[tuple[float, int, _Source | bytes]] = [
        (source.next_gap(plan.start_ms) + plan.start_ms, n, source)
        for n, source in enumerate(sources)
    ]
    heapify(arrivals)
    number = len(arrivals)
    labels = _Calendar(plan.labels())
    start = plan.start_ms
    while plan.end_ms is None or start < plan.end_ms:
        until = start + STEP_MS if plan.end_ms is None else min(start + STEP_MS, plan.end_ms)
        began, ended = labels.turn(start, until)
        for label in began:
            sources[label.campaign_index].label = label
        found: list[tuple[int, bytes]] = []
        while arrivals and arrivals[0][0] < until:
            time, key, source = arrivals[0]
            if isinstance(source, bytes):
                found.append((int(time), source))
                heappop(arrivals)
                continue
            event, follow_up = source.arrival(time)
            if event:
                found.append((int(time), event))
            heapreplace(arrivals, (time + source.next_gap(time), key, source))
            if follow_up:
                heappush(arrivals, (follow_up[0], number, follow_up[1]))
                number += 1
        yield Step(until, found, began, ended)
        start = until


class _Calendar:
    """Which labels begin and end as time goes on."""

    def __init__(self, labels: Iterator[Label]) -> None:
        self._labels = labels
        self._next = next(labels, None)
        self._active: list[Label] = []

    def turn(self, start_ms: int, until_ms: int) -> tuple[list[Label], list[Label]]:
        ended = [label for label in self._active if label.end_ms <= start_ms]
        began = []
        while self._next and self._next.start_ms < until_ms:
            began.append(self._next)
            self._next = next(self._labels, None)
        self._active = [label for label in self._active if label not in ended] + began
        return began, ended


class _Source:
    """One campaign: when its next send arrives, and what becomes of it."""

    def __init__(self, campaign: Campaign, plan: Plan) -> None:
        self.label: Label | None = None
        self._campaign = campaign
        self._start_ms = plan.start_ms
        self._random = Random(f"{plan.seed}/{campaign.index}")  # noqa: S311 - no secrets here
        self._idle = False
        self._minute = -1
        self._failing = 0.0
        ways = {
            _Way(campaign, treatment, channel): weight * channel.share
            for treatment, weight in campaign.treatments.items()
            for channel in campaign.channels
        }
        self._pick_way = _chooser(ways)
        self._pick_failure = _chooser(_encoded(campaign.failures))
        self._pick_suppression = _chooser(_encoded(campaign.suppressed))
        self._suppressed = sum(campaign.suppressed.values())

    def next_gap(self, now_ms: float) -> float:
        """Return the ms to the next arrival.

        A long gap is cut, and drawn anew from there: the volume may have changed by then.
        """
        rate = self._campaign.sends_per_second
        if self.label and self.label.start_ms <= now_ms < self.label.end_ms:
            rate *= self.label.volume_factor
        gap = self._random.expovariate(rate / 1000)
        self._idle = gap > _LONGEST_GAP_MS
        return min(gap, _LONGEST_GAP_MS)

    def arrival(self, time_ms: float) -> tuple[bytes | None, tuple[float, bytes] | None]:
        """Return the event that arrives now, and what follows from it and when."""
        if self._idle:
            return None, None
        random = self._random
        way = self._pick_way(random.random())
        sent_ms = max(int(time_ms - self._delay()), self._start_ms)
        status = self._status(sent_ms, way.delivery_type)
        client = (random.getrandbits(32), random.getrandbits(48))
        request = (random.getrandbits(32), random.getrandbits(48))
        event = way.send % (sent_ms, int(time_ms), *client, status, *request)
        return event, self._follow_up(way, time_ms, client) if status == b"SUCCESS" else None

    def _delay(self) -> float:
        if self._random.random() < _STRAGGLERS:
            return self._random.uniform(1000, LATEST_MS)
        return min(20 + self._random.expovariate(1 / 80), 640)

    def _status(self, sent_ms: int, delivery_type: str | None) -> bytes:
        campaign, label, random = self._campaign, self.label, self._random
        strength = label.strength(sent_ms) if label else 0.0
        struck = strength > 0 and random.random() < strength
        if struck and label and label.suppressing:
            return random.choice(label.statuses).encode()
        if campaign.is_quiet(sent_ms // _HOUR_MS % 24) and random.random() < campaign.quiet_share:
            return b"QUIET_TIME"
        chance = random.random()
        if chance < self._suppressed:
            return self._pick_suppression(chance / self._suppressed)
        if struck and label and label.delivery_type in {None, delivery_type}:
            return random.choice(label.statuses).encode()
        chance = random.random() - campaign.throttled_rate
        if chance < 0:
            return b"THROTTLED"
        return self._pick_failure(random.random()) if chance < self._rate(sent_ms) else b"SUCCESS"

    def _rate(self, sent_ms: int) -> float:
        """Return this minute's failure rate: a campaign's rates stray more than chance explains."""
        minute = sent_ms // _MINUTE_MS
        if minute > self._minute:
            rate, correlation = self._campaign.failure_rate, self._campaign.correlation
            # A beta distribution with this mean and intra-class correlation.
            size = (1 - correlation) / correlation
            self._minute = minute
            self._failing = self._random.betavariate(rate * size, (1 - rate) * size)
        return self._failing

    def _follow_up(
        self, way: "_Way", time_ms: float, client: tuple[int, int]
    ) -> tuple[float, bytes] | None:
        random = self._random
        if way.engagements and random.random() < self._campaign.engagement:
            seen = time_ms + random.uniform(500, 20_000)
            template = random.choice(way.engagements)
            return seen, template % (int(seen), int(seen) + 60, *client)
        if way.foreign and random.random() < _FOREIGN_SHARE:
            done = time_ms + random.uniform(100, 3_000)
            # As in real events: it arrives before its own time.
            return done, way.foreign % (int(done) + 400, int(done), *client)
        return None


class _Way:
    """One treatment by one channel, with its templates."""

    def __init__(self, campaign: Campaign, treatment: str, channel: Channel) -> None:
        self.delivery_type = channel.delivery_type
        self.send = send_template(campaign, treatment, channel)
        foreign = _FOREIGN.get(channel.delivery_type or "")
        self.foreign = foreign_template(foreign, campaign, treatment) if foreign else None
        self.engagements = (
            [engagement_template(kind, campaign, treatment, channel) for kind in _ENGAGEMENTS]
            if channel.delivery_type in PUSH_TYPES
            else []
        )


def _encoded(weights: Mapping[str, float]) -> dict[bytes, float]:
    return {status.encode(): weight for status, weight in weights.items()}


def _chooser(weights: Mapping[Outcome, float]) -> Callable[[float], Outcome]:
    """Return what turns a number in [0, 1) into an outcome, by weight."""
    outcomes = list(weights)
    total = sum(weights.values())
    bounds = [bound / total for bound in accumulate(weights.values())][:-1]
    return lambda number: outcomes[bisect(bounds, number)]
