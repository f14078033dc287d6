"""Labelled traffic: attempts, failures and throttled sends of campaigns, second by second.

A campaign has a volume, a usual failure rate with its spread, and a usual throttled rate. In blocks
of a minute, which begin with the clock's minutes or do not, the rate is drawn anew from a beta
distribution with the intraclass correlation rho, so counts are beta-binomial. An incident makes
further sends fail (or be throttled), with a probability that depends on the time alone; a decoy
looks like one, and is none.

The same split and number give the same traffic. Numbers of the two splits share nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY = 86_400
"""Seconds."""
BLOCK = 60
"""Seconds for which a rate that was drawn holds."""
CAMPAIGNS_AN_APP = 4
"""So many numbers in a row are campaigns of one app."""
INCIDENTS_A_DAY = 0.8
"""Expected, of a campaign."""
_TRIES = 4
"""To find a time for an incident an hour away from others."""
WANTED_NATS = 30.0
WANTED_HITS = 15.0
"""With less than either, an incident is grey: neither wanted nor punished."""

Counts = NDArray[np.int32]
Rates = NDArray[np.float64]


class Split(StrEnum):
    """Which traffic: a detector is tuned on one, and measured on the other."""

    TRAIN = "train"
    TEST = "test"


class Hit(StrEnum):
    """What counts as a hit: the two rules that are in effect by default."""

    FAILURE = "failure"
    THROTTLED = "throttled"


class Kind(StrEnum):
    """The shape of an incident."""

    STEP = "step"
    TOTAL = "total"
    RAMP = "ramp"
    SLOW_BURN = "slow burn"
    TREATMENT = "one treatment"
    CHANNEL = "one channel"
    SHORT = "short"
    FROM_START = "from the first send"


STEP_LIKE = frozenset({Kind.STEP, Kind.TOTAL, Kind.TREATMENT, Kind.CHANNEL})
"""Kinds whose rate rises at once, and stays for minutes."""


class Decoy(StrEnum):
    """What looks like an incident, and is none."""

    BLIP = "blip"
    SURGE = "surge"
    QUIET = "quiet"
    SHIFT = "shift within the normal"
    STALL = "stall with late data"
    HANDFUL = "handful at night"


class Volume(StrEnum):
    """How attempts are spread over a day."""

    STEADY = "steady"
    BY_DAY = "by day"
    BURSTS = "bursts"
    DRIP = "drip"


class Cell(NamedTuple):
    """One combination of what a send is counted by.

    Attributes:
        treatment: of the campaign.
        delivery_type: of the campaign.
        channel: channel type.
        share: of the attempts.
        rate: its usual rate as a multiple of that of the campaign; the mean over all is 1.
    """

    treatment: str
    delivery_type: str
    channel: str
    share: float
    rate: float


@dataclass(frozen=True)
class Incident:
    """Sends that fail beyond the usual.

    Attributes:
        kind: the shape.
        hit: what the sends end as.
        start: second of the run in which it begins.
        end: second before which it ends.
        usual: the mean usual rate while it lasts, 0 to 1.
        peak: the highest rate of the whole campaign that it leads to, 0 to 1.
        cells: positions in `Run.cells` of those that it is in; empty for the whole campaign.
        hits: hits beyond the usual.
        attempts: while it lasts.
        nats: logarithm of the likelihood ratio, for an oracle that knows both rates at any time.
    """

    kind: Kind
    hit: Hit
    start: int
    end: int
    usual: float
    peak: float
    cells: tuple[int, ...]
    hits: float
    attempts: int
    nats: float

    @property
    def wanted(self) -> bool:
        """Whether a detector has to find it."""
        return self.nats >= WANTED_NATS and self.hits >= WANTED_HITS


class Marked(NamedTuple):
    """A decoy, from `start` to before `end` (seconds of the run)."""

    decoy: Decoy
    start: int
    end: int


@dataclass(frozen=True)
class Campaign:
    """What a campaign is like.

    Attributes:
        number: in its split.
        app: number of its app.
        volume: attempts a minute while it sends.
        shape: how these are spread.
        usual: mean usual failure rate, 0 to 1.
        rho: intraclass correlation of the hits in a block, 0 to 1; 0 for binomial counts.
        offset: seconds by which its blocks begin after the clock's minute.
        drift: standard deviation of the usual rate over a day, as a logarithm of odds.
        throttled: mean usual throttled rate, 0 to 1.
        days: as many days in a row.
    """

    number: int
    app: int
    volume: float
    shape: Volume
    usual: float
    rho: float
    offset: int
    drift: float
    throttled: float
    days: int


@dataclass(frozen=True)
class Run:
    """The traffic of a campaign, from its first send on, by seconds of arrival.

    Attributes:
        campaign: what it is like.
        attempts: a second.
        failures: a second.
        throttled: a second.
        incidents: in order of their start.
        decoys: in no order.
        cells: what its sends are counted by.
        rates: per kind of hit, the probability of a hit without incidents, a second.
        excess: per kind of hit, the probability that an incident makes a hit of a send that was
            none, a second, in the cells of the incident.
        seed: of what is drawn later.
    """

    campaign: Campaign
    attempts: Counts
    failures: Counts
    throttled: Counts
    incidents: tuple[Incident, ...]
    decoys: tuple[Marked, ...]
    cells: tuple[Cell, ...]
    rates: dict[Hit, Rates]
    excess: dict[Hit, Rates]
    seed: tuple[int, ...]

    def hits(self, hit: Hit) -> Counts:
        """Return the hits of a kind, a second."""
        return self.failures if hit is Hit.FAILURE else self.throttled

    @cached_property
    def seconds(self) -> int:
        """How long it is."""
        return len(self.attempts)

    def by_cell(self, incident: Incident, start: int, end: int) -> tuple[Counts, Counts]:
        """Split attempts and hits of the incident's kind among the cells.

        Sends are independent given the rates, so a send that is a hit is of cell c with a
        probability in proportion to the cell's share times its rate, and another one in proportion
        to the share times one less the rate.

        Args:
            incident: whose excess there is from its start to its end.
            start: first second.
            end: the second before which to stop.

        Returns:
            Attempts and hits, each of shape (cells, seconds).
        """
        rng = np.random.default_rng((*self.seed, 1, start, end))
        at = np.arange(start, end)
        inside = (incident.start <= at) & (at < incident.end)
        usual = self.rates[incident.hit][start:end]
        excess = np.where(inside, self.excess[incident.hit][start:end], 0.0)
        touched = [not incident.cells or at in incident.cells for at in range(len(self.cells))]
        rates = np.stack(
            [
                1.0 - (1.0 - np.minimum(usual * cell.rate, 1.0)) * (1.0 - excess * is_touched)
                for cell, is_touched in zip(self.cells, touched, strict=True)
            ],
            axis=1,
        )
        shares = np.array([cell.share for cell in self.cells])
        hits = self.hits(incident.hit)[start:end]
        others = self.attempts[start:end] - hits
        of_hits = _multinomial(rng, hits, shares * rates)
        return (_multinomial(rng, others, shares * (1.0 - rates)) + of_hits).T, of_hits.T


def _multinomial(rng: np.random.Generator, counts: Counts, weights: Rates) -> Counts:
    total = weights.sum(axis=1, keepdims=True)
    shares = np.where(total > 0.0, weights / np.where(total > 0.0, total, 1.0), 1.0)
    shares /= shares.sum(axis=1, keepdims=True)
    return rng.multinomial(counts, shares).astype(np.int32)


@dataclass
class _Draft:
    """A run while it is made.

    Attributes:
        campaign: what it is like.
        rng: what is drawn from.
        pace: expected attempts a second.
        rates: as in `Run`.
        excess: as in `Run`.
        cells: as in `Run`.
        planned: incidents without their figures.
        decoys: as in `Run`.
        handfuls: seconds at which sends that all fail come on top, and their number.
        stalls: seconds from which to before which nothing comes; it all comes after.
    """

    campaign: Campaign
    rng: np.random.Generator
    pace: Rates
    rates: dict[Hit, Rates]
    excess: dict[Hit, Rates]
    cells: tuple[Cell, ...]
    planned: list["_Plan"] = field(default_factory=list)
    decoys: list[Marked] = field(default_factory=list)
    handfuls: list[tuple[int, int]] = field(default_factory=list)
    stalls: list[tuple[int, int]] = field(default_factory=list)

    @property
    def seconds(self) -> int:
        """How long it is."""
        return len(self.pace)

    def busy(self, start: int, end: int) -> bool:
        """Tell whether something is planned from `start` to `end`, or an hour around."""
        return any(plan.start - 3600 < end and start < plan.end + 3600 for plan in self.planned)


class _Plan(NamedTuple):
    kind: Kind
    hit: Hit
    start: int
    end: int
    cells: tuple[int, ...]
    mean: Rates
    """Of the excess, before it is drawn anew for each minute."""


def campaign(split: Split, number: int) -> Campaign:
    """Return what the campaign with this number is like."""
    app = number // CAMPAIGNS_AN_APP
    of_app = np.random.default_rng((_SPLITS[split], 0, app))
    usual = _log_uniform(of_app, 0.001, 0.25)
    rho = float(of_app.choice(_RHOS))
    rho *= _log_uniform(of_app, 0.5, 1.0)
    throttled = float(of_app.choice(_THROTTLED)) * _log_uniform(of_app, 0.5, 1.0)
    rng = np.random.default_rng((_SPLITS[split], 1, number))
    shape = rng.choice(np.array(list(Volume)), p=[0.4, 0.3, 0.15, 0.15])
    lowest, highest = (5.0, 30.0) if shape == Volume.DRIP else (5.0, 5000.0)
    return Campaign(
        number=number,
        app=app,
        volume=_log_uniform(rng, lowest, highest),
        shape=Volume(shape),
        usual=float(np.clip(usual * np.exp(rng.normal(0.0, 0.3)), 0.001, 0.25)),
        rho=float(np.clip(rho * np.exp(rng.normal(0.0, 0.2)), 0.0, 0.05)),
        offset=0 if rng.random() < 0.5 else int(rng.integers(1, BLOCK)),  # noqa: PLR2004 - half
        drift=float(rng.choice([0.0, 0.1, 0.2])),
        throttled=float(np.clip(throttled * np.exp(rng.normal(0.0, 0.3)), 0.0, 0.05)),
        days=_DAYS.get(number % 20, 1),
    )


def run(split: Split, number: int) -> Run:
    """Return the traffic of the campaign with this number."""
    seed = (_SPLITS[split], 2, number)
    return make(campaign(split, number), np.random.default_rng(seed), seed=seed)


def make(
    what: Campaign,
    rng: np.random.Generator,
    *,
    seed: tuple[int, ...],
    incidents_a_day: float = INCIDENTS_A_DAY,
    decoys_a_day: float = 1.0,
) -> Run:
    """Make traffic.

    Args:
        what: the campaign.
        rng: what is drawn from.
        seed: of what is drawn later, when it is asked for.
        incidents_a_day: expected.
        decoys_a_day: expected.
    """
    seconds = what.days * DAY
    pace = _SHAPES[what.shape](rng, seconds) * what.volume / 60.0
    rates = {
        Hit.FAILURE: _rates(rng, what, what.usual, seconds),
        Hit.THROTTLED: _rates(rng, what, what.throttled, seconds),
    }
    excess = {hit: np.zeros(seconds) for hit in Hit}
    draft = _Draft(what, rng, pace, rates, excess, _cells(rng))
    for _ in range(rng.poisson(incidents_a_day * what.days)):
        any(_plan(draft) for _ in range(_TRIES))
    for _ in range(rng.poisson(decoys_a_day * what.days)):
        _decoy(draft)
    return _draw(draft, seed)


def stationary(volume: float, usual: float, rho: float, *, days: int, seed: int) -> Run:
    """Make steady traffic without incidents or decoys, in which any alert is false.

    Args:
        volume: attempts a minute.
        usual: failure rate, 0 to 1.
        rho: as in `Campaign`. Blocks begin with the clock's minutes if the seed is even.
        days: as many in a row.
        seed: same seed, same traffic.
    """
    what = Campaign(
        number=seed,
        app=0,
        volume=volume,
        shape=Volume.STEADY,
        usual=usual,
        rho=rho,
        offset=seed * 7 % BLOCK if seed % 2 else 0,
        drift=0.0,
        throttled=0.0,
        days=days,
    )
    rng = np.random.default_rng((2, seed))
    return make(what, rng, seed=(2, seed), incidents_a_day=0.0, decoys_a_day=0.0)


_SPLITS = {Split.TRAIN: 0, Split.TEST: 1}
_RHOS = np.array([0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
"""Of apps, each as likely as another, and down to half of it."""
_THROTTLED = np.array([0.0, 0.0, 0.002, 0.01, 0.05])
"""The same of usual throttled rates."""
_DAYS = {0: 7, 5: 3, 10: 3, 15: 3}
"""Days of a run, by the number modulo 20; 1 for others: a cold start every day."""


def _log_uniform(rng: np.random.Generator, lowest: float, highest: float) -> float:
    return float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))


# Volumes: factors a second.


def _steady(rng: np.random.Generator, seconds: int) -> Rates:
    """Every minute its own, a little."""
    return np.repeat(rng.gamma(50.0, 1.0 / 50.0, -(-seconds // BLOCK)), BLOCK)[:seconds]


def _by_day(rng: np.random.Generator, seconds: int) -> Rates:
    """Most by day, a fiftieth at night."""
    phase = rng.uniform(0.0, DAY)
    wave = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(seconds) + phase) / DAY)
    return (0.02 + 0.98 * wave**2) * _steady(rng, seconds)


def _bursts(rng: np.random.Generator, seconds: int) -> Rates:
    """Two hours each, with a steep start and a slow end; little in between."""
    pace = np.full(seconds, 0.01)
    for _ in range(max(1, rng.poisson(2.0 * seconds / DAY))):
        start = int(rng.integers(0, max(1, seconds - 7200)))
        length = min(7200, seconds - start)
        pace[start : start + length] += np.exp(-np.arange(length) / 3600.0)
    return pace * _steady(rng, seconds)


def _drip(rng: np.random.Generator, seconds: int) -> Rates:
    """A few, in clumps of minutes."""
    minutes = -(-seconds // BLOCK)
    return np.repeat(rng.gamma(0.7, 1.0 / 0.7, minutes), BLOCK)[:seconds]


_SHAPES: dict[Volume, Callable[[np.random.Generator, int], Rates]] = {
    Volume.STEADY: _steady,
    Volume.BY_DAY: _by_day,
    Volume.BURSTS: _bursts,
    Volume.DRIP: _drip,
}


def _rates(rng: np.random.Generator, what: Campaign, usual: float, seconds: int) -> Rates:
    """Return the probability of a hit a second, drawn anew for each block."""
    blocks = seconds // BLOCK + 2
    means = np.full(blocks, usual)
    if usual == 0.0:
        return np.zeros(seconds)
    if what.drift:
        hours = np.arange(blocks) * BLOCK / DAY
        wave = np.sin(2.0 * np.pi * (hours / rng.uniform(0.5, 2.0) + rng.random()))
        odds = usual / (1.0 - usual) * np.exp(what.drift * np.sqrt(2.0) * wave)
        means = odds / (1.0 + odds)
    if what.rho:
        weight = 1.0 / what.rho - 1.0
        means = rng.beta(means * weight, (1.0 - means) * weight)
    return np.repeat(means, BLOCK)[what.offset : what.offset + seconds]


def _cells(rng: np.random.Generator) -> tuple[Cell, ...]:
    """Return two or three treatments, one or two delivery types, two to four channels."""
    treatments = ("0", "1", "2")[: int(rng.integers(2, 4))]
    types = ("TREATMENT", "CONTROL")[: int(rng.integers(1, 3))]
    channels = ("GCM", "APNS", "EMAIL", "SMS")[: int(rng.integers(2, 5))]
    by_channel = rng.dirichlet(np.full(len(channels), 4.0))
    by_type = rng.dirichlet(np.full(len(types), 8.0))
    names = [(a, b, c) for a in treatments for b in types for c in channels]
    shares = np.array(
        [
            by_type[types.index(b)] * by_channel[channels.index(c)] / len(treatments)
            for _, b, c in names
        ]
    )
    factors = np.exp(rng.normal(0.0, 0.3, len(channels)))
    rates = np.array([factors[channels.index(c)] for _, _, c in names])
    rates /= (shares * rates).sum()
    return tuple(
        Cell(*name, float(share), float(rate))
        for name, share, rate in zip(names, shares, rates, strict=True)
    )


_WHOLE = (
    Kind.STEP,
    Kind.TOTAL,
    Kind.RAMP,
    Kind.SLOW_BURN,
    Kind.TREATMENT,
    Kind.CHANNEL,
    Kind.SHORT,
    Kind.FROM_START,
)
_SHARES = (0.25, 0.15, 0.1, 0.08, 0.12, 0.12, 0.1, 0.08)


def _plan(draft: _Draft) -> bool:
    """Add an incident, where none is; tell whether there was room."""
    rng = draft.rng
    kind = Kind(rng.choice(np.array(_WHOLE), p=_SHARES))
    hit = Hit.THROTTLED if rng.random() < 0.2 else Hit.FAILURE  # noqa: PLR2004 - a fifth
    length = _length(rng, kind)
    start = 0 if kind is Kind.FROM_START else _start(draft, length)
    end = min(start + length, draft.seconds)
    usual = draft.campaign.usual if hit is Hit.FAILURE else draft.campaign.throttled
    cells = _touched(rng, draft.cells, kind)
    share = sum(draft.cells[at].share for at in cells) if cells else 1.0
    height = _height(rng, kind, usual, share)
    if draft.busy(start, end) or height > 1.0:
        return False
    mean = height * _profile(rng, kind, end - start)
    draft.excess[hit][start:end] = _spread(rng, mean, draft.campaign.rho)
    draft.planned.append(_Plan(kind, hit, start, end, cells, mean))
    return True


def _spread(rng: np.random.Generator, excess: Rates, rho: float) -> Rates:
    """Draw what an incident makes of sends anew for each minute of it, around its mean."""
    if not rho:
        return excess
    first = np.clip(excess[::BLOCK], 1e-6, 1.0 - 1e-6)
    weight = 1.0 / rho - 1.0
    factors = rng.beta(first * weight, (1.0 - first) * weight) / first
    return np.minimum(1.0, excess * np.repeat(factors, BLOCK)[: len(excess)])


def _length(rng: np.random.Generator, kind: Kind) -> int:
    """Return how long an incident lasts, s."""
    if kind is Kind.SHORT:
        return int(rng.integers(50, 141))
    if kind is Kind.SLOW_BURN:
        return int(rng.integers(7200, 6 * 3600))
    return int(_log_uniform(rng, 300.0, 7200.0))


def _start(draft: _Draft, length: int) -> int:
    """Return when an incident begins: more often while much is sent, but at any time."""
    room = max(1, draft.seconds - length)
    if draft.rng.random() < 0.3:  # noqa: PLR2004 - about a third, whatever is sent
        return int(draft.rng.integers(0, room))
    sent = np.cumsum(draft.pace[:room])
    return int(np.searchsorted(sent, draft.rng.random() * sent[-1]))


def _touched(rng: np.random.Generator, cells: tuple[Cell, ...], kind: Kind) -> tuple[int, ...]:
    """Return the positions of the cells that an incident is in; none for all."""
    if kind is Kind.TREATMENT:
        treatment = rng.choice(sorted({cell.treatment for cell in cells}))
        return tuple(at for at, cell in enumerate(cells) if cell.treatment == treatment)
    if kind is Kind.CHANNEL:
        channel = rng.choice(sorted({cell.channel for cell in cells}))
        return tuple(at for at, cell in enumerate(cells) if cell.channel == channel)
    return ()


def _height(rng: np.random.Generator, kind: Kind, usual: float, share: float) -> float:
    """Return the probability that an incident makes a hit of a send, at its height.

    The rate of the whole campaign rises by ten points and to four times the odds at least, or that
    of a part by enough for three times the odds of the whole: above 1 if that cannot be.
    """
    if kind is Kind.TOTAL:
        return float(rng.uniform(0.95, 1.0))
    factor = 3.0 if share < 1.0 else 4.0
    odds = factor * usual / (1.0 - usual)
    least = (max(odds / (1.0 + odds), usual + 0.1) - usual) / (1.0 - usual) / share
    if kind in {Kind.TREATMENT, Kind.CHANNEL, Kind.FROM_START}:
        least = max(least, 0.5)
    highest = least + 0.2 if kind is Kind.SLOW_BURN else 1.0
    return float(rng.uniform(least, max(least, min(highest, 1.0))))


def _profile(rng: np.random.Generator, kind: Kind, length: int) -> Rates:
    """Return an incident's height over its time, as a share of the greatest."""
    if kind is Kind.RAMP:
        rise = int(rng.integers(min(300, length), min(1200, length) + 1))
    elif kind is Kind.SLOW_BURN:
        rise = length // 2
    else:
        return np.ones(length)
    return np.minimum(1.0, (np.arange(length) + 1.0) / rise)


def _decoy(draft: _Draft) -> None:
    """Add a decoy, where no incident is."""
    rng = draft.rng
    decoy = Decoy(rng.choice(np.array(list(Decoy))))
    lowest, highest = _DECOY_SECONDS[decoy]
    length = int(rng.integers(lowest, highest + 1))
    start = int(rng.integers(0, draft.seconds - length))
    end = start + length
    if draft.busy(start, end):
        return
    failing = draft.rates[Hit.FAILURE]
    if decoy is Decoy.BLIP:
        failing[start:end] = 1.0 - (1.0 - failing[start:end]) * (1.0 - rng.uniform(0.3, 1.0))
    elif decoy is Decoy.SURGE:
        draft.pace[start:end] *= rng.uniform(3.0, 10.0)
    elif decoy is Decoy.QUIET:
        draft.pace[start:end] = 0.0
    elif decoy is Decoy.SHIFT:
        odds = failing[start:end] / (1.0 - failing[start:end]) * rng.uniform(1.1, 1.3)
        failing[start:end] = odds / (1.0 + odds)
    elif decoy is Decoy.STALL:
        draft.stalls.append((start, end))
    else:
        draft.pace[start - 300 if start > 300 else 0 : end + 300] *= 0.05  # noqa: PLR2004
        draft.handfuls.append((start, int(rng.integers(2, 6))))
    draft.decoys.append(Marked(decoy, start, end))


_DECOY_SECONDS = {
    Decoy.BLIP: (1, 4),
    Decoy.SURGE: (300, 3600),
    Decoy.QUIET: (600, 4 * 3600),
    Decoy.SHIFT: (600, 4 * 3600),
    Decoy.STALL: (60, 600),
    Decoy.HANDFUL: (5, 5),
}
"""How long decoys last, s."""


def _draw(draft: _Draft, seed: tuple[int, ...]) -> Run:
    """Draw the counts of a draft."""
    rng = draft.rng
    attempts = rng.poisson(draft.pace).astype(np.int32)
    with_excess = {hit: _with_excess(draft, hit) for hit in Hit}
    failures = _binomial(rng, attempts, with_excess[Hit.FAILURE])
    left = np.minimum(1.0, with_excess[Hit.THROTTLED])
    throttled = _binomial(rng, attempts - failures, left)
    for start, number in draft.handfuls:
        at = start + rng.integers(0, 5, number)
        np.add.at(attempts, at, 1)
        np.add.at(failures, at, 1)
    incidents = sorted(
        (_incident(draft, plan, attempts, with_excess[plan.hit]) for plan in draft.planned),
        key=lambda each: each.start,
    )
    for start, end in draft.stalls:
        # What would have come meanwhile comes within the ten seconds after.
        back = end + np.arange(end - start) * 10 // (end - start)
        back = np.minimum(back, draft.seconds - 1)
        for counts in (attempts, failures, throttled):
            held = counts[start:end].copy()
            counts[start:end] = 0
            np.add.at(counts, back, held)
    return Run(
        campaign=draft.campaign,
        attempts=attempts,
        failures=failures,
        throttled=throttled,
        incidents=tuple(incidents),
        decoys=tuple(draft.decoys),
        cells=draft.cells,
        rates=draft.rates,
        excess=draft.excess,
        seed=seed,
    )


def _binomial(rng: np.random.Generator, attempts: Counts, rates: Rates) -> Counts:
    hits = np.zeros_like(attempts)
    (some,) = np.nonzero(attempts)
    hits[some] = rng.binomial(attempts[some], rates[some])
    return hits


def _with_excess(draft: _Draft, hit: Hit) -> Rates:
    """Return the probability of a hit a second, over all cells."""
    rates = draft.rates[hit].copy()
    for plan in draft.planned:
        if plan.hit is hit:
            inside = slice(plan.start, plan.end)
            excess = draft.excess[hit][inside]
            rates[inside] = _mixed(draft, plan, draft.rates[hit][inside], excess)
    return rates


def _mixed(draft: _Draft, plan: _Plan, usual: Rates, excess: Rates) -> Rates:
    """Return the rates while an incident lasts, over all cells, given the usual ones."""
    mixed = np.zeros(len(excess))
    for at, cell in enumerate(draft.cells):
        alone = 1.0 - np.minimum(usual * cell.rate, 1.0)
        touched = not plan.cells or at in plan.cells
        mixed += cell.share * (1.0 - alone * (1.0 - excess if touched else 1.0))
    return np.clip(mixed, 0.0, 1.0)


def _incident(draft: _Draft, plan: _Plan, attempts: Counts, rates: Rates) -> Incident:
    """Return an incident with its figures."""
    inside = slice(plan.start, plan.end)
    sent = attempts[inside].astype(np.float64)
    mean = draft.campaign.usual if plan.hit is Hit.FAILURE else draft.campaign.throttled
    usual = np.full(len(sent), max(mean, 1e-4))
    risen = np.clip(_mixed(draft, plan, usual, plan.mean), 1e-4, 1.0 - 1e-6)
    usual = np.minimum(usual, risen)
    gain = risen * np.log(risen / usual) + (1.0 - risen) * np.log((1.0 - risen) / (1.0 - usual))
    return Incident(
        kind=plan.kind,
        hit=plan.hit,
        start=plan.start,
        end=plan.end,
        usual=mean,
        peak=float(risen.max(initial=0.0)),
        cells=plan.cells,
        hits=float((sent * (np.clip(rates[inside], 0.0, 1.0) - usual)).sum()),
        attempts=int(sent.sum()),
        nats=float((sent * gain).sum()),
    )
