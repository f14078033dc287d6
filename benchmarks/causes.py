"""Whether many alerts of one cause are told as one: simulated fleets of campaigns that break.

    python -m benchmarks.causes --split test --rounds 50

A fleet has campaigns of several apps, in 12 lanes on 3 workers. Volumes are 5 to 5,000 attempts a
minute, usual rates 0.1 to 10 %, different ones by channel, and they vary from minute to minute more
than a binomial does. Causes break a slice of all campaigns at once, from a second on, and end 8
minutes later. Faults of their own begin within two minutes of each other, in a whole campaign, in
one channel or in one treatment.

An alert fires when the evidence for a rise since the fault began (the logarithm of the likelihood
ratio of the counts) has reached 13 and eight seconds' worth of sends are lost, or 45 s are over:
about when the detector `spike` does. In the rows with delays it fires 5 to 120 s after the fault
began, if that is later. It ends some time after its fault: the median is 215 s and the 90th
percentile 1,006 s, as measured for `spike`.

Every 5 s at first, later every 10, 30 and 60 s, causes are found from the sums of all campaigns, as
usual rates are known from an hour of traffic, or 3,000 attempts. Once in every fifth round the sums
go the whole way: each lane sums up its campaigns, the summaries are encoded, arrive in an order by
chance, each worker merges them, and all workers have to say the same.

Columns, with Wilson's 95 % intervals:

- named: causes whose slice has exactly the cells of the fault, when the first notification is sent
  that has an alert of this fault and no other, and when the faults end; of all faults in common that
  had such an alert.
- attributed: of the alerts whose campaign causes broke and nothing else, those in a cause.
- own kept: of the alerts of campaigns that have only a fault of their own, those in no cause.
- mixed kept: of those of campaigns that have one of their own, and are broken by a cause too, in less
  than 90 % of their sends. One that fires before the fault of its own begins is in the cause.
- invented: rounds with a cause that got an alert, but has no cell, or less than half of its alerts,
  from any fault in common.
- break, end: notifications to a receiver about alerts of causes: those before the fault ends, and
  those after it; median and maximum of the rounds. Of several causes, for each of them on average.
"""  # noqa: E501 - lines of prose

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import table
from benchmarks.detection import scoring
from benchmarks.slices import EVIDENCE, SECONDS_LOST, SURE_AFTER
from streams.domain.causes import book as books
from streams.domain.causes import summary as summaries
from streams.domain.causes.book import Book, Cause
from streams.domain.causes.evidence import (
    BANDS,
    MILLI,
    MOST_ATTEMPTS,
    OWN_FAULT,
    SHARES_LOST,
    CampaignSends,
    Place,
    Sends,
    evidence_of,
)
from streams.domain.causes.finding import Values, covers, find
from streams.domain.causes.membership import AlertSends, attribute
from streams.domain.causes.summary import CellKey, Cells, CellSum, LaneSummary
from streams.domain.notification import grouping
from streams.domain.notification.grouping import Assignment, GroupNotification, Groups, GroupTimes

RULE = "failure-spike"
CHANNELS = ("GCM", "APNS", "EMAIL", "SMS")
LANES, WORKERS = 12, 3
WINDOW = 60
STEP = 5
"""Seconds of traffic that are made at once; faults begin and alerts fire with them."""
BEGINS = 200
"""Seconds of usual traffic before the first fault."""
LASTS = 480
RECOVERED = 120
"""Seconds of traffic after faults have ended."""
USUAL_ATTEMPTS = 3_000
LOOKS = ((15, 5), (70, 10), (190, 30), (math.inf, 60))
"""Up to which age of the first alert (s), and how often (s), causes are looked for."""
TOLD_TREATMENT = 0.97
"""How often an alert's own explanation names the treatment that is broken, as measured for it."""
HOLD = 60.0
"""How long (s) an alert waits that a cause explains in part."""
HANDED_OVER = 5
"""Which look of each fifth round goes the whole way: summaries of lanes, encoded, merged by each
worker. At the others the same sums are added up for all campaigns at once. Where statuses matter,
all looks go the whole way."""
LARGEST_SHARE = 0.9
"""A whole campaign that sends more than this by a broken channel cannot show a fault of its own."""
SEEDS = {"train": 1, "test": 2}

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Scenario(NamedTuple):
    """What breaks.

    Attributes:
        name: of the row.
        campaigns: in the fleet.
        apps: of these.
        causes: kinds of causes: channel, app, channel of app, everything, major.
        own: campaigns with a fault of their own.
        lost: share of sends that a cause lets fail: the least and the most.
        delayed: whether alerts fire at 5 to 120 s at the earliest.
        one_channel: share of the sends of an app that go by one channel; null for any.
        status: whether the fault has a status of its own.
    """

    name: str
    campaigns: int = 500
    apps: int = 8
    causes: tuple[str, ...] = ()
    own: int = 0
    lost: tuple[float, float] = (0.5, 1.0)
    delayed: bool = False
    one_channel: tuple[float, float] | None = None
    status: bool = False


ONE = ("channel",)
THREE = ("channel", "app", "channel of app")
NARROW = (0.9, 0.98)
SCENARIOS = (
    Scenario("one channel", causes=ONE),
    Scenario("one channel, alerts delayed", causes=ONE, delayed=True),
    Scenario("one app", causes=("app",)),
    Scenario("one channel of an app", causes=("channel of app",)),
    Scenario("everything", causes=("everything",)),
    Scenario("everything, a status of its own", 40, causes=("everything",), status=True),
    Scenario("one channel, 30 % of its sends", causes=ONE, lost=(0.3, 0.3)),
    Scenario("one channel, 10 % of its sends", causes=ONE, lost=(0.1, 0.1)),
    Scenario("three causes, 20 of their own", causes=THREE, own=20),
    Scenario("three causes, 20, alerts delayed", causes=THREE, own=20, delayed=True),
    Scenario("none, 20 of their own", own=20),
    Scenario("none, 50 of their own", own=50),
    Scenario("none, 20 of their own in 250 apps", apps=250, own=20),
    Scenario("app, 90 to 98 % by one channel", causes=("major app",), one_channel=NARROW),
    Scenario("that channel of the app", causes=("major channel",), one_channel=NARROW),
    Scenario("that app, 10 campaigns", 10, 3, ("major app",), one_channel=NARROW),
    Scenario("that channel, 10 campaigns", 10, 3, ("major channel",), one_channel=NARROW),
    *(
        scenario
        for campaigns in (2, 3, 5)
        for scenario in (
            Scenario(f"{campaigns} campaigns, everything", campaigns, 1, ("everything",)),
            Scenario(f"{campaigns} campaigns, one channel", campaigns, 1, ONE),
            Scenario(f"{campaigns} campaigns, 1 of its own", campaigns, 1, own=1),
            Scenario(f"{campaigns} campaigns, 2 of their own", campaigns, 1, own=2),
        )
    ),
)


class Fault(NamedTuple):
    """Cells that break.

    Attributes:
        values: of the slice of all campaigns; null for a fault of one campaign.
        cells: which of all cells.
        lost: share of their sends that fail.
        start: second.
        end: second.
        of_a_treatment: whether it is in one treatment of a campaign.
    """

    values: Values | None
    cells: Flags
    lost: float
    start: int
    end: int
    of_a_treatment: bool = False


@dataclass
class Fleet:
    """Campaigns and their cells, one behind the other.

    Attributes:
        apps: by campaign.
        campaign: by cell.
        keys: by cell.
        a_minute: attempts by cell.
        usual: rates by cell.
        spread: of rates from minute to minute, by campaign: the square of the variation coefficient.
        before: attempts and hits by cell, in the hour before.
    """  # noqa: E501 - as long as that

    apps: list[str]
    campaign: Ints
    keys: list[CellKey]
    a_minute: Floats
    usual: Floats
    spread: Floats
    before: tuple[Ints, Ints] = field(default_factory=lambda: (np.array([]), np.array([])))

    def in_slice(self, values: Values) -> Flags:
        """Tell which cells are in a slice."""
        return np.array([covers(values, key) for key in self.keys])


def fleet(random: np.random.Generator, scenario: Scenario) -> Fleet:
    """Make the campaigns of a scenario."""
    weights = random.dirichlet(np.full(scenario.apps, 2.0))
    mixes = [_mix(random, scenario, app) for app in range(scenario.apps)]
    made = Fleet([], np.array([], int), [], np.array([]), np.array([]), np.array([]))
    campaigns, volumes, rates = list[int](), list[float](), list[float]()
    for number in range(scenario.campaigns):
        # Each app has two campaigns, if there are as many.
        is_first = number < 2 * scenario.apps
        app = number % scenario.apps if is_first else int(random.choice(scenario.apps, p=weights))
        made.apps.append(f"app-{app}")
        volume = math.exp(random.uniform(math.log(5), math.log(5000)))
        rate = math.exp(random.uniform(math.log(0.001), math.log(0.1)))
        custom = random.random() < 0.2  # noqa: PLR2004
        for channel, share in _used(random, mixes[app]).items():
            for delivery in (channel, "CUSTOM") if custom else (channel,):
                campaigns.append(number)
                made.keys.append((f"app-{app}", channel, delivery))
                volumes.append(volume * share / (2 if custom else 1))
                rates.append(min(0.3, rate * math.exp(random.normal(0, 0.5))))
    made.campaign, made.a_minute, made.usual = (
        np.array(campaigns),
        np.array(volumes),
        np.array(rates),
    )
    of_campaign = np.array([made.usual[made.campaign == n].mean() for n in range(len(made.apps))])
    overdispersion = random.choice([0, 0.002, 0.01, 0.03], len(made.apps))
    made.spread = np.minimum(4.0, overdispersion * (1 - of_campaign) / of_campaign)
    of_all = np.bincount(made.campaign, made.a_minute)[made.campaign]
    minutes = np.minimum(60, np.ceil(USUAL_ATTEMPTS / of_all)).astype(int)
    made.before = _hour(random, made, minutes)
    return made


def _mix(random: np.random.Generator, scenario: Scenario, app: int) -> dict[str, float]:
    """Return the channels of an app with their shares."""
    if scenario.one_channel is not None:
        most = random.uniform(*scenario.one_channel) if app == 0 else random.uniform(0.4, 0.7)
        return {"GCM": most, "EMAIL": 1 - most}
    shares = np.maximum(random.dirichlet(np.full(len(CHANNELS), 1.5)), 0.03)
    return dict(zip(CHANNELS, shares / shares.sum(), strict=True))


def _used(random: np.random.Generator, mix: Mapping[str, float]) -> dict[str, float]:
    """Return the channels that a campaign uses: all of a mix of two, else one to three."""
    if len(mix) == 2:  # noqa: PLR2004
        return dict(mix)
    count = int(random.integers(1, 4))
    names = random.choice(list(mix), count, replace=False, p=list(mix.values()))
    whole = sum(mix[str(name)] for name in names)
    return {str(name): mix[str(name)] / whole for name in names}


def _hour(random: np.random.Generator, of: Fleet, minutes: Ints) -> tuple[Ints, Ints]:
    attempts = np.zeros(len(of.keys), np.int64)
    hits = np.zeros(len(of.keys), np.int64)
    for minute in range(60):
        sent = np.where(minutes > minute, random.poisson(of.a_minute), 0)
        attempts += sent
        hits += random.binomial(sent, _rates(random, of))
    return attempts, hits


def _rates(random: np.random.Generator, of: Fleet) -> Floats:
    """Draw the rates of a minute, by cell."""
    spread = np.maximum(of.spread, 1e-9)
    factors = np.where(of.spread > 0, random.gamma(1 / spread, spread), 1.0)
    return np.clip(of.usual * factors[of.campaign], 0, 0.9)


def faults(random: np.random.Generator, of: Fleet, scenario: Scenario) -> list[Fault] | None:
    """Make the faults of a scenario, those in common first; null if the fleet has no such slice."""
    made: list[Fault] = []
    start = BEGINS + STEP * int(random.integers(WINDOW // STEP))
    taken: list[Values] = []
    for kind in scenario.causes:
        values = _drawn(random, of, kind, taken)
        if values is None:
            return None
        taken.append(values)
        lost = random.uniform(*scenario.lost)
        began = start + STEP * int(random.integers(5)) * (len(made) > 0)
        made.append(Fault(values, of.in_slice(values), lost, began, start + LASTS))
    common = np.zeros(len(of.keys), bool)
    for fault in made:
        common |= fault.cells
    inside = np.bincount(of.campaign, of.a_minute * common) / np.bincount(of.campaign, of.a_minute)
    free = np.flatnonzero(inside < LARGEST_SHARE)
    for campaign in random.choice(free, min(scenario.own, len(free)), replace=False):
        cells = of.campaign == campaign
        kind = random.choice(["whole", "channel", "treatment"])
        lost = random.uniform(0.3, 1.0)
        if kind == "channel":
            # Not one that is broken anyway.
            names = sorted({of.keys[at][1] or "" for at in np.flatnonzero(cells & ~common)})
            cells &= of.in_slice({"channel_type": names[random.integers(len(names))]})
        if kind == "treatment":
            lost *= random.uniform(0.2, 0.5)
        began = start + STEP * int(random.integers(-12, 12))
        made.append(Fault(None, cells, lost, began, start + LASTS, kind == "treatment"))
    return made


def _drawn(
    random: np.random.Generator, of: Fleet, kind: str, taken: Sequence[Values]
) -> Values | None:
    """Draw a slice of a kind, of at least 2 campaigns, apart from those taken; null for none."""
    apps = sorted(set(of.apps))
    for _ in range(100):
        app = apps[random.integers(len(apps))]
        channels = sorted({key[1] or "" for key in of.keys})
        channel = channels[random.integers(len(channels))]
        values: Values = {
            "channel": values_of(None, channel),
            "app": values_of(app, None),
            "channel of app": values_of(app, channel),
            "everything": {},
            "major app": values_of("app-0", None),
            "major channel": values_of("app-0", "GCM"),
        }[kind]
        cells = of.in_slice(values)
        apart = all(
            values.get("app_id", 0) != other.get("app_id", 1)
            and values.get("channel_type", 0) != other.get("channel_type", 1)
            for other in taken
        )
        if len(set(of.campaign[cells])) >= 2 and apart:  # noqa: PLR2004
            return values
    return None


def values_of(app: str | None, channel: str | None) -> Values:
    """Return the values of a slice."""
    values: dict[str, str] = {}
    if app is not None:
        values["app_id"] = app
    if channel is not None:
        values["channel_type"] = channel
    return values  # type: ignore[return-value]


class Alerting(NamedTuple):
    """An alert as it will be: of a campaign, its first second, and the one it ends in."""

    campaign: int
    since: int
    fires: int
    ends: float
    own: bool
    common: bool
    of_a_treatment: bool


class Traffic:
    """Traffic of a fleet with faults.

    Attributes:
        fleet: the campaigns.
        faults: of them.
        attempts: cumulated, by step and cell.
        hits: of these.
        seconds: that there is traffic for.
    """

    def __init__(self, random: np.random.Generator, of: Fleet, broken: list[Fault]) -> None:
        self.fleet, self.faults = of, broken
        self.seconds = BEGINS + WINDOW + LASTS + RECOVERED
        steps, size = self.seconds // STEP, len(of.keys)
        attempts = random.poisson(of.a_minute * STEP / 60, (steps, size))
        rates = np.empty((steps, size))
        a_minute = 60 // STEP
        offset = int(random.integers(a_minute))
        minute = _rates(random, of)
        for step in range(steps):
            if (step + offset) % a_minute == 0:
                minute = _rates(random, of)
            rates[step] = minute
        for fault in broken:
            steps_of_it = slice(fault.start // STEP, fault.end // STEP)
            before = rates[steps_of_it, fault.cells]
            rates[steps_of_it, fault.cells] = before + (1 - before) * fault.lost
        hits = random.binomial(attempts, rates)
        none = np.zeros((1, size), np.int64)
        self.attempts = np.concatenate([none, attempts.cumsum(0)])
        self.hits = np.concatenate([none, hits.cumsum(0)])

    def between(self, first: int, end: int) -> tuple[Ints, Ints]:
        """Return attempts and hits by cell from a second up to another one."""
        one, two = first // STEP, min(end, self.seconds) // STEP
        return self.attempts[two] - self.attempts[one], self.hits[two] - self.hits[one]

    def sends(self, cell: int, first: int, end: int, *, status: bool) -> Sends:
        """Return what a cell has from a second up to another one."""
        one, two = first // STEP, min(end, self.seconds) // STEP
        if one >= two:
            return Sends(0, {})
        attempts = int(self.attempts[two, cell] - self.attempts[one, cell])
        hits = int(self.hits[two, cell] - self.hits[one, cell])
        return Sends(attempts, self._statuses(cell, hits, attempts, new=status))

    def usual(self, cell: int) -> Sends:
        """Return what a cell had in the hour before."""
        attempts, hits = (int(each[cell]) for each in self.fleet.before)
        return Sends(attempts, self._statuses(cell, hits, attempts, new=False))

    def _statuses(self, cell: int, hits: int, attempts: int, *, new: bool) -> dict[str, int]:
        if not hits:
            return {}
        usual = min(hits, round(attempts * self.fleet.usual[cell])) if new else hits
        most = (2 * usual) // 3
        counts = {"FAILURE": most, "UNSUBSCRIBED": usual - most, "TIMEOUT": hits - usual}
        return {name: count for name, count in counts.items() if count}

    def alerts(self, random: np.random.Generator, scenario: Scenario) -> Iterator[Alerting]:
        """Yield the alerts that fire, one of a campaign."""
        common = np.zeros(len(self.fleet.keys), bool)
        for fault in self.faults:
            common |= fault.cells & (fault.values is not None)
        for campaign in range(len(self.fleet.apps)):
            cells = np.flatnonzero(self.fleet.campaign == campaign)
            of_it = [fault for fault in self.faults if fault.cells[cells].any()]
            if not of_it:
                continue
            since = min(fault.start for fault in of_it)
            end = max(fault.end for fault in of_it)
            fires = self._fires(cells, since, end)
            if fires is None:
                continue
            if scenario.delayed:
                fires = max(fires, since + STEP * int(random.integers(1, 25)))
            lasting = math.exp(random.normal(math.log(215), math.log(1006 / 215) / 1.2816))
            yield Alerting(
                campaign,
                since,
                fires,
                end + lasting,
                any(fault.values is None for fault in of_it),
                any(fault.values is not None for fault in of_it),
                any(fault.of_a_treatment for fault in of_it) and random.random() < TOLD_TREATMENT,
            )

    def _fires(self, cells: Ints, since: int, end: int) -> int | None:
        first, last = since // STEP, end // STEP + 1
        attempts = (self.attempts[first + 1 : last, cells] - self.attempts[first, cells]).sum(1)
        hits = (self.hits[first + 1 : last, cells] - self.hits[first, cells]).sum(1)
        usual = [each[cells].sum() for each in self.fleet.before]
        level = (1 + usual[1]) / (20 + usual[0])
        limit = max(0.04, 2.5 * level / (1 + 1.5 * level))
        n = np.maximum(attempts, 1)
        expected = max(level, 0.02) * n
        evidence = hits * np.log(np.maximum(hits, 1) / expected)
        others = np.maximum(n - hits, 0)
        evidence += others * np.log(np.maximum(others, 1e-9) / (n - expected))
        age = STEP * np.arange(1, len(n) + 1)
        lost = (hits / n - level) * age
        sure = (age >= SURE_AFTER) | (lost >= SECONDS_LOST)
        fired = np.flatnonzero((hits > limit * n) & (evidence >= EVIDENCE) & sure)
        return since + STEP * (1 + int(fired[0])) if len(fired) else None


class Sums:
    """What `streams.domain.causes.summary` adds up, for all cells at once.

    Args:
        traffic: of the fleet.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        of = traffic.fleet
        self._keys = sorted(set(of.keys), key=summaries.in_order)
        at = {key: number for number, key in enumerate(self._keys)}
        self._at = np.array([at[key] for key in of.keys])
        attempts, hits = of.before
        campaign = of.campaign
        whole = (1 + np.bincount(campaign, hits)) / (20 + np.bincount(campaign, attempts))
        self._usual = (hits + 20 * whole[campaign]) / (attempts + 20)
        odds = (1 - self._usual) / self._usual
        self._gain = np.log1p(np.outer(odds, SHARES_LOST))
        self._loss = np.log1p(-np.array(SHARES_LOST))

    def frame(self, since: int, now: int) -> Cells:
        """Return the sums of all campaigns."""
        n, k = self._traffic.between(since, now)
        weights = np.minimum(n, MOST_ATTEMPTS)
        scale = weights / np.maximum(n, 1)
        gains = (scale * k)[:, None] * self._gain + np.outer(scale * (n - k), self._loss)
        own = np.maximum(gains.max(1), 0)
        taken_off = np.logaddexp(0, own - OWN_FAULT)
        campaign = self._traffic.fleet.campaign
        broken = np.minimum(own, OWN_FAULT)
        of_campaign = np.maximum(np.bincount(campaign, broken)[campaign], OWN_FAULT)
        most = broken * OWN_FAULT / of_campaign
        sums = [
            np.bincount(
                self._at,
                np.rint(MILLI * np.clip(gains[:, one:end].max(1) - taken_off, -OWN_FAULT, most))
                * (n > 0),
            )
            for one, end in BANDS
        ]
        seen = np.bincount(self._at, n > 0)
        attempts, hits = np.bincount(self._at, n), np.bincount(self._at, k)
        expected = np.bincount(self._at, np.rint(MILLI * n * self._usual))
        return {
            key: CellSum(
                int(seen[at]),
                int(attempts[at]),
                int(hits[at]),
                int(expected[at]),
                (int(sums[0][at]), int(sums[1][at]), int(sums[2][at]), int(sums[3][at])),
            )
            for at, key in enumerate(self._keys)
            if seen[at]
        }


@dataclass
class Score:
    """What came of the rounds of one scenario: how many were right, of how many."""

    causes: int = 0
    named_first: int = 0
    named_last: int = 0
    of_cause: int = 0
    attributed: int = 0
    own: int = 0
    own_kept: int = 0
    mixed: int = 0
    mixed_kept: int = 0
    rounds: int = 0
    invented: int = 0
    breaks: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    largest: int = 0
    agreed: bool = True


def _starts(now: int) -> list[int]:
    """Return the starts of the frames at a second."""
    newest = now - now % WINDOW
    starts = [newest - WINDOW * back for back in range(summaries.FRAMES)]
    return [since for since in starts if 0 <= since < now]


def _drawn_until_broken(
    random: np.random.Generator, scenario: Scenario
) -> tuple[Fleet, list[Fault]]:
    """Draw a fleet and its faults; another fleet if it has no slice of the kind that breaks."""
    while True:
        of = fleet(random, scenario)
        broken = faults(random, of, scenario)
        if broken is not None:
            return of, broken


class Round:
    """One fleet with its faults, from the first alert to the end of the last one."""

    def __init__(self, scenario: Scenario, seed: tuple[int, ...]) -> None:
        self._random = np.random.default_rng(seed)
        self._scenario, self._number = scenario, seed[-1]
        self._fleet, broken = _drawn_until_broken(self._random, scenario)
        self._traffic = Traffic(self._random, self._fleet, broken)
        self._alerts = {
            f"alert-{each.campaign}": each for each in self._traffic.alerts(self._random, scenario)
        }
        self._cells_of = [
            [int(cell) for cell in np.flatnonzero(self._fleet.campaign == campaign)]
            for campaign in range(len(self._fleet.apps))
        ]
        self._usual = [
            {self._place(cell): self._traffic.usual(cell) for cell in cells}
            for cells in self._cells_of
        ]
        self._sums = Sums(self._traffic)
        self._book = self._before = Book(RULE)
        self._looked = 0
        self._handed_over = False
        self._holds: dict[str, float] = {}
        self._sent: list[bytes] = []
        self._sent_at = -1
        self._live_at_end: tuple[Cause, ...] = ()
        self._groups = Groups()
        self._cause_of: dict[str, str] = {}
        self._notified: list[tuple[float, GroupNotification]] = []
        self._named: dict[int, Values | None] = {}
        """By cause, the slice that was named when the first of its alerts was told."""
        self.score = Score(rounds=1)

    def _place(self, cell: int) -> Place:
        return self._fleet.keys[cell][1:]

    def run(self) -> Score:
        """Let time pass, and score what was told."""
        end = max((fault.end for fault in self._traffic.faults), default=0)
        for now in self._looks():
            if now > end and not self._live_at_end:
                self._live_at_end = self._book.live
            self._look(now)
        self._judge(end)
        return self.score

    def _looks(self) -> Iterator[int]:
        """Yield when causes are looked for: often at first."""
        if not self._alerts:
            return
        first = min(each.fires for each in self._alerts.values())
        last = max(each.ends for each in self._alerts.values()) + 2 * WINDOW
        now = first
        while now < last:
            yield now
            age = now - first
            now += next(every for until, every in LOOKS if age < until)

    def _look(self, now: int) -> None:
        firing = {name for name, each in self._alerts.items() if each.fires <= now < each.ends}
        frames = self._frames(now)
        self._book = books.decode(books.encode(self._step(self._book, frames, firing, now)))
        if self._handed_over:
            # The other workers, that had the same summaries in another order.
            for _ in range(WORKERS - 1):
                there = self._step(self._before, self._merged(now), firing, now)
                self.score.agreed &= there == self._book
        self._tell(self._book, firing, now)

    def _frames(self, now: int) -> dict[int, Cells]:
        """Return the sums of all campaigns; at times as the lanes hand them over."""
        self._before = self._book
        self._handed_over = False
        if now > self._traffic.seconds:
            return {}
        self._looked += 1
        if self._scenario.status or (self._looked == HANDED_OVER and not self._number % 5):
            self._handed_over = True
            return self._merged(now)
        return {since: self._sums.frame(since, now) for since in _starts(now)}

    def _step(self, book: Book, frames: dict[int, Cells], firing: set[str], now: int) -> Book:
        book = books.observe(book, find(frames), frames, now)
        causes = books.open_to_alerts(book, now)
        owned = {alert_id for cause in book.live for alert_id in cause.firing}
        joining: dict[str, str] = {}
        for alert_id in sorted(firing - owned) if causes else ():
            attributed = attribute(self._alert_sends(alert_id, now), causes)
            self._holds[alert_id] = HOLD if attributed.is_undecided else 0.0
            if attributed.cause_id is not None:
                joining[alert_id] = attributed.cause_id
        return books.settle(book, firing, joining, now)

    def _alert_sends(self, alert_id: str, now: int) -> AlertSends:
        alert = self._alerts[alert_id]
        since = alert.since - alert.since % WINDOW
        parts = evidence_of(self._sends(alert.campaign, since, now))
        app = self._fleet.apps[alert.campaign]
        return AlertSends(alert_id, app, since, parts, alert.of_a_treatment)

    def _sends(self, campaign: int, since: int, now: int) -> CampaignSends:
        cells = self._cells_of[campaign]
        status = self._scenario.status
        seen = {
            self._place(cell): self._traffic.sends(cell, since, now, status=status)
            for cell in cells
        }
        app = self._fleet.apps[campaign]
        return CampaignSends(str(campaign), app, seen, self._usual[campaign])

    def _merged(self, now: int) -> dict[int, Cells]:
        """Return the sums of all lanes, which came in an order by chance."""
        sent = self._summaries(now)
        merged: summaries.Merged = {}
        for at in self._random.permutation(len(sent)):
            one = summaries.decode(sent[at])
            merged = summaries.merge(merged, {(one.rule, one.lane): one})
        return summaries.total(merged, RULE)

    def _summaries(self, now: int) -> list[bytes]:
        if self._sent_at == now:
            return self._sent
        starts = _starts(now)
        self._sent_at, self._sent = now, list[bytes]()
        for lane in range(LANES):
            campaigns = range(lane, len(self._fleet.apps), LANES)
            frames = tuple(
                summaries.frame_of(since, (self._sends(each, since, now) for each in campaigns))
                for since in starts
            )
            self._sent.append(summaries.encode(LaneSummary(lane, RULE, now, frames)))
        self.score.largest = max(self.score.largest, *map(len, self._sent))
        return self._sent

    def _tell(self, book: Book, firing: set[str], now: int) -> None:
        cause_of = {alert_id: cause for cause in book.live for alert_id in cause.firing}
        assigned = {}
        for alert_id in sorted(firing):
            cause = cause_of.get(alert_id)
            if cause is not None:
                self._cause_of[alert_id] = cause.cause_id
            assigned[alert_id] = (
                Assignment(alert_id, alert_id, self._holds.get(alert_id, 0.0))
                if cause is None
                else Assignment(cause.cause_id, str(sorted(cause.values.items())))
            )
        self._groups, told = grouping.step(
            self._groups, assigned, GroupTimes(repeat_interval=math.inf), now
        )
        for each in told:
            self._notified.append((now, each))
            for number, fault in enumerate(self._traffic.faults):
                if fault.values is None or number in self._named:
                    continue
                of_fault = [a for a in each.new if self._only_of(a, fault)]
                if of_fault:
                    cause = cause_of.get(of_fault[0])
                    self._named[number] = None if cause is None else dict(cause.values)

    def _only_of(self, alert_id: str, fault: Fault) -> bool:
        alert = self._alerts[alert_id]
        cells = self._cells_of[alert.campaign]
        others = [other for other in self._traffic.faults if other is not fault]
        return bool(fault.cells[cells].any()) and not any(
            other.cells[cells].any() for other in others
        )

    def _judge(self, end: int) -> None:
        score, common = self.score, [f for f in self._traffic.faults if f.values is not None]
        every = {cause.cause_id: cause for cause in (*self._ever(), *self._live_at_end)}
        for number, fault in enumerate(common):
            if number not in self._named:
                continue
            score.causes += 1
            first = self._named[number]
            score.named_first += first is not None and self._same(first, fault)
            score.named_last += any(
                self._same(cause.values, fault) for cause in self._live_at_end if cause.joined
            )
        members: dict[str, list[Alerting]] = defaultdict(list)
        for alert_id, cause_id in self._cause_of.items():
            members[cause_id].append(self._alerts[alert_id])
        for cause_id, alerts in members.items():
            by_chance = sum(not each.common for each in alerts) > len(alerts) / 2
            cells = self._fleet.in_slice(every[cause_id].values) if cause_id in every else None
            apart = cells is not None and not any((fault.cells & cells).any() for fault in common)
            score.invented = max(score.invented, int(by_chance or apart))
        for alert_id, alert in self._alerts.items():
            is_in = alert_id in self._cause_of
            if alert.own and alert.common:
                score.mixed += 1
                score.mixed_kept += not is_in
            elif alert.own:
                score.own += 1
                score.own_kept += not is_in
            else:
                score.of_cause += 1
                score.attributed += is_in
        if common:
            self._count(end, len(common))

    def _ever(self) -> tuple[Cause, ...]:
        return (*self._book.live, *self._book.ended)

    def _same(self, values: Values, fault: Fault) -> bool:
        return bool((self._fleet.in_slice(values) == fault.cells).all())

    def _count(self, end: int, causes: int) -> None:
        """Count notifications about alerts of causes."""
        own = {alert_id for alert_id, each in self._alerts.items() if each.own}
        of_causes = [(at, each.change) for at, each in self._notified if each.group.key not in own]
        self.score.breaks.append(sum(at <= end for at, _ in of_causes) / causes)
        self.score.ends.append(sum(at > end for at, _ in of_causes) / causes)


ADDED_UP = (
    *("rounds", "causes", "named_first", "named_last", "of_cause", "attributed"),
    *("own", "own_kept", "mixed", "mixed_kept", "invented"),
)


def measure(scenario: Scenario, rounds: int, seed: int) -> Score:
    """Run the rounds of a scenario."""
    total = Score()
    for number in range(rounds):
        one = Round(scenario, (seed, SCENARIOS.index(scenario), number)).run()
        for name in ADDED_UP:
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.breaks += one.breaks
        total.ends += one.ends
        total.largest = max(total.largest, one.largest)
        total.agreed &= one.agreed
    return total


HEAD = (
    "faults", "rounds", "named first", "", "named at the end", "", "attributed", "",
    "own kept", "", "mixed kept", "", "invented", "break", "end", "largest summary, KB",
)  # fmt: skip


def row(scenario: Scenario, score: Score) -> list[str]:
    """Return the row of a scenario."""
    if not score.agreed:
        raise AssertionError("workers that know the same do not say the same")
    return [
        scenario.name,
        str(score.rounds),
        *_share(score.named_first, score.causes),
        *_share(score.named_last, score.causes),
        *_share(score.attributed, score.of_cause),
        *_share(score.own_kept, score.own),
        *_share(score.mixed_kept, score.mixed),
        f"{score.invented} of {score.rounds}",
        _most(score.breaks),
        _most(score.ends),
        f"{score.largest / 1000:.1f}",
    ]


def _share(right: int, of: int) -> tuple[str, str]:
    if not of:
        return "", ""
    found = scoring.share(right, of)
    return f"{found.value:.3f} of {of:,}", f"{found.low:.3f} to {found.high:.3f}"


def _most(values: list[float]) -> str:
    return f"{np.median(values):.1f}, {max(values):.1f}" if values else ""


def main() -> None:
    """Measure, and print a row for each scenario."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causes", description="Causes.")
    parser.add_argument("--split", choices=sorted(SEEDS), default="train")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--small-rounds", type=int, default=200, help="of up to 10 campaigns")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="rows")
    options = parser.parse_args()
    rows = []
    for scenario in SCENARIOS:
        if scenario.name in options.only:
            small = scenario.campaigns <= 10  # noqa: PLR2004
            rounds = options.small_rounds if small else options.rounds
            score = measure(scenario, rounds, SEEDS[options.split])
            rows.append(row(scenario, score))
            sys.stdout.write(" | ".join(rows[-1]) + "\n")
            sys.stdout.flush()
    title = "Many alerts of one cause, told as one"
    table.publish("causes", table.Results(title, HEAD, rows), **vars(options))


if __name__ == "__main__":
    main()
