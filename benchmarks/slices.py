"""Whether the slice that an incident is in is named: labelled partial incidents.

    python -m benchmarks.slices --episodes 3000 --seed 1

Each episode is an hour of a campaign, and then an incident in one treatment, one channel, one
delivery type, one channel of one treatment, or all of it. Volumes are 60 to 5,000 attempts a
minute, usual rates 0.1 to 10 %, by cell too; rates vary from minute to minute more than a binomial
does; an incident lets 20 to 100 % of the sends fail. The alert fires when the evidence for a rise
(the logarithm of the likelihood ratio of the counts since the incident began) has reached 13 and
eight seconds' worth of sends are lost, or 45 s are over: about when the detector `spike` does. What
is explained are the windows from the one that the incident began in.

Named right is a slice that has the cells of the incident and no others. Intervals are Wilson's, 95 %.
"""  # noqa: E501 - a line of prose

import argparse
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import table
from benchmarks.detection.scoring import share
from streams.domain.slices import DIMENSIONS, CellKey, Slice, Tally, explain

KINDS = ("treatment", "channel", "delivery type", "channel of a treatment", "whole")
CHANNELS = ("GCM", "APNS", "EMAIL", "SMS")
LOOKS = (0, 30)
"""When, after the alert has fired, the explanation is looked at; s."""
MOST_SECONDS = 1_800
EVIDENCE = 13.0
SECONDS_LOST = 8.0
SURE_AFTER = 45
USUAL_ATTEMPTS = 3_000
"""As streams.domain.explaining has it: no older windows are read."""
LARGEST_SHARE = 0.95
"""An incident in more of the attempts than this is one in the whole campaign."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Campaign(NamedTuple):
    """A campaign, and where its incident is.

    Attributes:
        kind: of the incident.
        cells: the keys of its cells.
        shares: of the attempts, by cell.
        a_minute: attempts.
        usual: rates by cell.
        spread: of the rates from minute to minute, as the square of the variation coefficient.
        together: whether the rates of all cells vary together.
        broken: which cells the incident is in.
        lost: share of their sends that fail in the incident.
    """

    kind: str
    cells: list[CellKey]
    shares: Floats
    a_minute: float
    usual: Floats
    spread: float
    together: bool
    broken: NDArray[np.bool_]
    lost: float

    def rates(self, random: np.random.Generator) -> Floats:
        """Draw the rates of a minute."""
        if not self.spread:
            return self.usual
        size = 1 if self.together else len(self.cells)
        factors = random.gamma(1 / self.spread, self.spread, size)
        return np.clip(self.usual * factors, 0, 0.9)

    def attempts(self, random: np.random.Generator, seconds: float) -> Ints:
        """Draw attempts by cell."""
        return random.multinomial(random.poisson(self.a_minute * seconds / 60), self.shares)


def made(random: np.random.Generator, kind: str) -> Campaign:
    """Make a campaign with an incident of a kind."""
    of_treatment = kind in {"treatment", "channel of a treatment"}
    of_channel = kind in {"channel", "delivery type", "channel of a treatment"}
    treatments = _shares(random, int(random.integers(2 if of_treatment else 1, 5)))
    channels = _shares(random, int(random.integers(2 if of_channel else 1, 4)))
    custom = kind == "delivery type" or random.random() < 0.3  # noqa: PLR2004
    cells: dict[CellKey, float] = {}
    for (at, treatment), (name, channel) in itertools.product(
        enumerate(treatments), zip(CHANNELS, channels, strict=False)
    ):
        # Half of it goes out by a function of the customer's own.
        for delivery in (name, "CUSTOM") if custom else (name,):
            cells[name, str(at), delivery] = treatment * channel / (2 if custom else 1)
    wanted = {
        "treatment": {"treatment_id": str(random.integers(len(treatments)))},
        "channel": {"channel_type": CHANNELS[random.integers(len(channels))]},
        "delivery type": {"delivery_type": "CUSTOM"},
        "channel of a treatment": {
            "treatment_id": str(random.integers(len(treatments))),
            "channel_type": CHANNELS[random.integers(len(channels))],
        },
        "whole": {},
    }[kind]
    rate = math.exp(random.uniform(math.log(0.001), math.log(0.1)))
    usual = np.clip(rate * np.exp(random.normal(0, random.choice([0.3, 1.0]), len(cells))), 0, 0.5)
    overdispersion = random.choice([0, 0.002, 0.01, 0.03])
    shares = np.array(list(cells.values()))
    return Campaign(
        kind,
        list(cells),
        shares / shares.sum(),
        math.exp(random.uniform(math.log(60), math.log(5000))),
        usual,
        min(4.0, overdispersion * (1 - rate) / rate),
        bool(random.random() < 0.5),  # noqa: PLR2004
        np.array([_matches(key, wanted) for key in cells]),
        random.uniform(0.2, 1.0),
    )


def _matches(key: CellKey, wanted: dict[str, str]) -> bool:
    values = dict(zip(map(str, DIMENSIONS), key, strict=True))
    return all(values[name] == value for name, value in wanted.items())


def _shares(random: np.random.Generator, count: int) -> Floats:
    drawn = np.maximum(random.dirichlet(np.full(count, random.choice([2.0, 8.0]))), 0.04)
    return np.asarray(drawn / drawn.sum())


class Look(NamedTuple):
    """What an explanation is asked of: counts since the window that the incident began in."""

    after: int
    seen: dict[CellKey, Tally]
    usual: dict[CellKey, Tally]


def looks(random: np.random.Generator, campaign: Campaign) -> Iterator[Look]:
    """Yield what is known when the alert fires, and after that; nothing if it never fires."""
    usual = _Counts(campaign)
    while usual.attempts.sum() < USUAL_ATTEMPTS and usual.minutes < 60:  # noqa: PLR2004
        usual.add(random, campaign.rates(random), 60)
    begins = int(random.integers(60))
    rates = campaign.rates(random)
    seen, since = _Counts(campaign), _Counts(campaign)
    seen.add(random, rates, begins)
    level = (1 + usual.hits.sum()) / (20 + usual.attempts.sum())
    fired: int | None = None
    for second in range(MOST_SECONDS):
        if (begins + second) % 60 == 0:
            rates = campaign.rates(random)
        broken = np.where(campaign.broken, rates + (1 - rates) * campaign.lost, rates)
        attempts, hits = seen.add(random, broken, 1)
        since.attempts, since.hits = since.attempts + attempts, since.hits + hits
        if fired is None and _fires(second, since, level):
            fired = second
        if fired is not None and second - fired in LOOKS:
            yield Look(second - fired, seen.by_cell(), usual.by_cell())
        if fired is not None and second - fired >= LOOKS[-1]:
            return


class _Counts:
    """Attempts and hits of a campaign, by cell."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self.attempts = np.zeros(len(campaign.cells), np.int64)
        self.hits = np.zeros(len(campaign.cells), np.int64)
        self.minutes = 0

    def add(self, random: np.random.Generator, rates: Floats, seconds: int) -> tuple[Ints, Ints]:
        attempts = self._campaign.attempts(random, seconds)
        hits = random.binomial(attempts, rates)
        self.attempts, self.hits = self.attempts + attempts, self.hits + hits
        self.minutes += 1
        return attempts, hits

    def by_cell(self) -> dict[CellKey, Tally]:
        return {
            key: Tally(int(n), int(k))
            for key, n, k in zip(self._campaign.cells, self.attempts, self.hits, strict=True)
            if n
        }


def _fires(second: int, since: _Counts, level: float) -> bool:
    attempts, hits = int(since.attempts.sum()), int(since.hits.sum())
    limit = max(0.04, 2.5 * level / (1 + 1.5 * level))
    if not attempts or hits <= limit * attempts:
        return False
    expected = max(level, 0.02) * attempts
    evidence = hits * math.log(hits / expected)
    if hits < attempts:
        evidence += (attempts - hits) * math.log((attempts - hits) / (attempts - expected))
    lost = (hits / attempts - level) * second
    return evidence >= EVIDENCE and (second >= SURE_AFTER or lost >= SECONDS_LOST)


def is_right(campaign: Campaign, seen: dict[CellKey, Tally], found: Slice | None) -> bool:
    """Tell whether the cells of the incident were named, and no others."""
    broken = {key for key, is_in in zip(campaign.cells, campaign.broken, strict=True) if is_in}
    values = {} if found is None else found.values
    wanted = {str(name): value for name, value in values.items() if value is not None}
    named = {key for key in seen if _matches(key, wanted)}
    return named == broken & seen.keys()


def measure(episodes: int, seed: int) -> dict[tuple[str, int], list[bool]]:
    """Return whether the right slice was named, by kind of incident and look."""
    found: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for number in range(episodes):
        random = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        campaign = made(random, kind)
        if kind != "whole" and campaign.shares[campaign.broken].sum() > LARGEST_SHARE:
            continue
        for look in looks(random, campaign):
            named = explain(look.seen, look.usual).slice
            found[kind, look.after].append(is_right(campaign, look.seen, named))
    return found


def main() -> None:
    """Measure, and print a row for each kind of incident."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slices", description="Slices.")
    parser.add_argument("--episodes", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = measure(options.episodes, options.seed)
    for after in LOOKS:
        found["any part", after] = [
            right for kind in KINDS if kind != "whole" for right in found[kind, after]
        ]
    rows = []
    for kind in (*KINDS, "any part"):
        cells = []
        for after in LOOKS:
            right, of = sum(found[kind, after]), len(found[kind, after])
            _, low, high = share(right, of)
            cells += [f"{right / of:.3f}" if of else "", f"{low:.3f}-{high:.3f}"]
        rows.append([kind, f"{len(found[kind, 0]):,}", *cells])
    title = "Right part named: share of incidents, and its 95 % interval"
    head = ("incident in", "fired", "at firing", "interval", "30 s later", "interval then")
    table.publish("slices", table.Results(title, head, rows), **vars(options))


if __name__ == "__main__":
    main()
