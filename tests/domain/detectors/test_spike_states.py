"""How counts change what `spike` knows, against states on paper that look at every record."""

import itertools
import math
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from streams.domain.detectors import excursion_table, wilson
from streams.domain.detectors.baseline import BASELINE, DISPERSIONS, PRIOR_CHANCES, Rise
from streams.domain.detectors.excursions import LARGEST, Excursion, Live
from streams.domain.detectors.folding import ClosedWindow, Increment, Series, Turn
from streams.domain.detectors.spike_learning import LEAST_LEARNED, MOST_SKIPPED, MOST_WAITING
from streams.domain.detectors.spike_states import SpikeStates
from streams.domain.detectors.spike_table import POOLED_UNIT, Settings
from streams.domain.folded_scopes import SCOPES_PER_GROUP, FoldGroup
from streams.domain.folded_scopes import encode as encode_group
from streams.domain.pools import Pooled
from streams.domain.scope_sums import ScopeKey

SIZE = 60
START = 1_790_000_040
NOBODY = Pooled((0, 0), (0, 0))
HOLD = 60.0
USUAL = Settings()
MOST = 10**9


class Record(NamedTuple):
    """Counts of the scope at a place, at a time (s after `START`)."""

    at: float
    attempts: int
    hits: int
    place: int = 0


class Step(NamedTuple):
    """A record, its time (ms, UTC), and the counts of its window, those of the record included.

    Before it are attempts of its scope since the last record with hits.
    """

    record: Record
    at: int
    so_far: tuple[int, int]
    before: int = 0


def log_of(records: Iterable[Record]) -> Iterator[Step | ClosedWindow]:
    """Yield records as states are given them, and windows that close before the next one."""
    start, counts = START, dict[int, tuple[int, int]]()
    unseen: Counter[int] = Counter()
    for record in records:
        place = record.place
        while START + record.at >= start + SIZE:
            if counts:
                yield window_of(start, counts, unseen)
            start, counts = start + SIZE, {}
        attempts, hits = counts.get(place, (0, 0))
        counts[place] = attempts + record.attempts, hits + record.hits
        yield Step(record, round((START + record.at) * 1_000), counts[place], unseen[place])
        unseen[place] = 0 if record.hits else unseen[place] + record.attempts


def window_of(
    start: int, counts: dict[int, tuple[int, int]], unseen: Mapping[int, int] = MappingProxyType({})
) -> ClosedWindow:
    attempts, hits = np.array(list(counts.values()), np.int64).T
    since = np.array([unseen.get(place, 0) for place in counts], np.int64)
    return ClosedWindow(start, np.array(list(counts), np.int64), attempts, hits, since)


def add(states: SpikeStates, step: Step) -> tuple[Turn, ...]:
    """Add a record if it is one of those that states are given."""
    (_, attempts, hits, place), at = step.record, step.at
    if states.fires(place):
        return states.add(place, Increment(at, attempts, hits, 0, lambda _: step.so_far), HOLD)
    if not hits:
        return ()
    new = Increment(at, attempts, hits, step.before, lambda _: step.so_far)
    return states.add(place, new, HOLD)


def run(states: SpikeStates, records: Iterable[Record]) -> Iterator[tuple[Record, Turn | None]]:
    """Add records and learn windows; yield each record with what turned, for each turn if any."""
    for each in log_of(records):
        if isinstance(each, ClosedWindow):
            states.learn(each)
        else:
            for turn in add(states, each) or (None,):
                yield each.record, turn


def fired_at(states: SpikeStates, records: Iterable[Record]) -> float | None:
    """Return when (s after `START`) the first breach begins."""
    for record, turn in run(states, records):
        if turn is not None:
            assert turn.begins
            return record.at
    return None


def new_states(places: Sequence[int] = (0,), settings: Settings = USUAL) -> SpikeStates:
    states = SpikeStates(settings)
    states.begin(np.array(places), NOBODY)
    return states


@cache
def knowledge(windows: int, attempts: int, rate: float) -> bytes:
    """What a scope has learned from windows whose rates vary, with a dispersion of 0.01."""
    states = new_states()
    rng = np.random.default_rng(13)
    rates = rng.beta(99 * rate, 99 * (1 - rate), size=windows)
    for number, hits in enumerate(rng.binomial(attempts, rates).tolist()):
        states.learn(window_of(START + (number - windows) * SIZE, {0: (attempts, hits)}))
    return states.write([0])


def known(
    windows: int = 200,
    attempts: int = 200,
    rate: float = 0.01,
    places: Sequence[int] = (0,),
    settings: Settings = USUAL,
) -> SpikeStates:
    """States of scopes that all have learned the same."""
    states = new_states(places, settings)
    if windows:
        for place in places:
            states.read([place], knowledge(windows, attempts, rate))
    return states


def baseline_of(states: SpikeStates, place: int = 0) -> dict[str, Any]:
    row = states.table.row(place)
    return {name: row[name] for name in BASELINE.names or ()}


def rate_of(states: SpikeStates, place: int = 0) -> float:
    rate = states.figures(place).baseline_rate
    assert rate is not None
    return rate


def is_firing(states: SpikeStates, place: int = 0) -> bool:
    return states.fires(place)


def poisson_sends(
    per_minute: float, rate: float, seconds: float, seed: int, begin: float = 0.0
) -> list[Record]:
    """Return a record for each send."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(60 / per_minute, size=round(seconds * per_minute / 60))
    hits = rng.random(len(gaps)) < rate
    times = (begin + np.cumsum(gaps)).round(3).tolist()
    return [Record(at, 1, hit) for at, hit in zip(times, hits.astype(int).tolist(), strict=True)]


# The same as on paper: no shortcuts, other libraries, one scope at a time, every record looked at.


def log_ratio(n: int, k: int, m0: float, s: float, limit: float) -> float:
    a, b = m0 * s, (1 - m0) * s
    ours = special.betaln(k + 1, n - k + 1) + stats.binom.logcdf(k, n + 1, limit)
    ours -= math.log1p(-limit)
    return float(ours - special.betaln(a + k, b + n - k) + special.betaln(a, b))


def log_beta_binomial(n: int, k: int, m: float, s: float) -> float:
    a, b = m * s, (1 - m) * s
    return float(special.betaln(a + k, b + n - k) - special.betaln(a, b))


def lower_bound(k: int, n: int, confidence: float) -> float:
    """Wilson's lower bound as a root: the p for which (k/n - p)^2 = z^2 p (1-p) / n."""
    z = float(stats.norm.ppf(confidence))
    a, b, c = 1 + z * z / n, 2 * k / n + z * z / n, (k / n) ** 2
    return float((b - max(0.0, b * b - 4 * a * c) ** 0.5) / (2 * a))


def odds_times(rate: float, factor: float) -> float:
    return factor * rate / (1 + (factor - 1) * rate)


class OnPaper:
    """What is known of one scope, as plain numbers; times in s.

    It works out each window from what the scope knew before, and goes on with the numbers of the
    scope, which are rounded to what is kept.
    """

    def __init__(self, settings: Settings, row: dict[str, Any]) -> None:
        self.settings = settings
        self.row = row
        self.alive = self.live = self.live_in_windows = False
        self.live_until = 0.0
        self.last = self.last_hit = 0.0
        self.started, self.skipped, self.slow_windows = 0, row["skipped"], row["slow_windows"]
        self.waiting: list[tuple[int, int]] = []
        self.since = self.sigma = self.run = 0.0
        self.all_n = self.all_k = self.run_n = self.run_k = 0
        self.clumps: list[tuple[float, int, int]] = []
        self.worst = 0, 0
        self.begin_stretch(0.0)

    def null(self) -> tuple[float, float, float, float]:
        """m, s, m0 and L."""
        a, b, rise = self.row["hits"], self.row["misses"], self.settings.rise
        m = round((1 + a) / (20 + a + b), 6)
        m0 = max(rise.usual_up_to, odds_times(m, 1.3))
        return m, round(self.weight(1.0), 6), m0, max(rise.least, odds_times(m, rise.factor))

    def weight(self, together: float) -> float:
        known: float = self.row["hits"] + self.row["misses"]
        telling = min(1, (1 + self.row["hits"]) / (20 + known) / 0.001)
        rho = max(self.row["dispersion"] * telling, 0.022 * min(1, 2_500 / (known + 1)))
        return float(1 / min(0.3, together * rho + 1 / (known + 11)) - 1)

    def begin_stretch(self, at: float) -> None:
        self.stretch, self.n, self.k = at, 0, 0
        self.m, self.s, self.m0, self.usual_limit = self.null()

    @property
    def limit(self) -> float:
        return self.limit_of(self.usual_limit)

    def limit_of(self, usual_limit: float) -> float:
        return max(usual_limit, 0.3) if self.is_newcomer else usual_limit

    @property
    def is_newcomer(self) -> bool:
        known: float = self.row["hits"] + self.row["misses"]
        return known < 15

    def log_e(self, n: int, k: int) -> float:
        return log_ratio(n, k, self.m0, self.s, self.limit)

    def log_m(self) -> float:
        return self.sigma + self.log_e(self.n, self.k)

    def log_slow(self, n: int, k: int, together: float = 1.0) -> float:
        _, s, m0, limit = self.null()
        s = s if together == 1.0 else self.weight(together)
        mean = odds_times(limit, 1.5)
        return log_beta_binomial(n, k, mean, s) - log_beta_binomial(n, k, m0, s)

    def add(self, n: int, k: int, at: float, so_far: tuple[int, int]) -> list[bool]:
        """Return for each breach that turns, in order, whether it begins."""
        turns: list[bool] = []
        if self.live and round(at - self.last, 3) > 900:
            turns = self.end()
        if self.live:
            self.last = self.live_until = at
            return self.follow(n, k, at)
        if self.alive and ((k and round(at - self.last_hit, 3) > 900) or self.log_m() <= 0):
            self.alive = False
        if k and not self.alive:
            self.begin(at)
        if self.alive:
            self.last = at
            self.n, self.k = self.n + n, self.k + k
            self.all_n, self.all_k = self.all_n + n, self.all_k + k
            if k and round(at - self.clumps[-1][0], 3) > 5:
                self.clumps.append((at, 0, 0))
            began, clump_n, clump_k = self.clumps[-1]
            self.clumps[-1] = began, clump_n + n, clump_k + k
        if k:
            self.last_hit = at
            # A clump may have had more weight for its hits before than when it was complete.
            self.worst = max(self.worst, (clump_k + k, -clump_n - n))
            self.leave_out_what_was_before(*self.clumps[-1])
            sure = lower_bound(self.all_k, self.all_n, 0.95) > self.limit
            if sure and (self.is_fast(at, so_far) or self.is_slow(at, so_far)):
                self.live, self.live_until = True, at
                self.run, self.run_n, self.run_k = at, 0, 0
                turns.append(True)
            else:
                self.end_stretch(at)
        return turns

    def leave_out_what_was_before(self, clump: float, n: int, k: int) -> None:
        evidence = self.log_m()
        if k < 3 or 2 * k < n or n == self.all_n or evidence > self.needed():
            return
        _, s, m0, usual_limit = self.null()
        by_itself = log_ratio(n, k, m0, s, self.limit_of(usual_limit))
        if by_itself > max(evidence, 0) + 3.2:
            self.begin(clump)
            self.clumps, self.worst = [(clump, n, k)], (k, -n)
            self.all_n, self.all_k, self.n, self.k = n, k, n, k

    def end_stretch(self, at: float) -> None:
        evidence = min(self.needed(), self.log_m())
        is_long = round(at - self.stretch, 3) >= 60 and self.n >= 10
        if evidence > 0 and (is_long or evidence == self.needed()):
            self.sigma = round(evidence, 6)
            self.begin_stretch(at)

    def begin(self, at: float) -> None:
        self.alive, self.since, self.all_n, self.all_k, self.sigma = True, at, 0, 0, 0.0
        self.started += 1
        self.clumps, self.worst = [(at, 0, 0)], (0, 0)
        self.begin_stretch(at)

    def end(self) -> list[bool]:
        was_live = self.live
        if was_live:
            self.row["slow"], self.slow_windows = 0.0, 0
        self.alive = self.live = False
        return [False] if was_live else []

    def needed(self) -> float:
        least = self.settings.sensitivity
        starts = max(self.row["starts"], 1e-6)
        return round(min(max(math.log(1_440 * starts / 0.01), least), least + 3), 6)

    def is_fast(self, at: float, so_far: tuple[int, int]) -> bool:
        age, n = round(at - self.since, 3), self.all_n
        covered = age * n / (n - 1) if n > 1 else age
        lost = (self.all_k / n - self.m) * covered
        waited = age >= self.settings.patience or lost >= self.settings.lost
        beside_k, beside_n = self.all_k - self.worst[0], n + self.worst[1]
        beside = beside_k > 0 and self.log_e(beside_n, beside_k) >= 3.2
        is_sure = self.row["hits"] + self.row["misses"] >= 200
        if beside_k > 0 and self.sigma > 0 and is_sure:
            beside |= self.log_m() - self.log_e(-self.worst[1], self.worst[0]) >= 3.2
        return self.log_m() >= self.needed() and ((waited and beside) or self.is_burst(so_far))

    def is_burst(self, so_far: tuple[int, int]) -> bool:
        _, n, k = self.clumps[-1]
        return k >= 30 and 2 * k >= n and 3 * n >= so_far[0] + self.row["last_attempts"]

    def is_slow(self, at: float, so_far: tuple[int, int]) -> bool:
        more, need = self.log_slow(*so_far), self.settings.sensitivity + 2.5
        late = round(at - self.since, 3) >= self.settings.patience
        return late and self.slow_windows >= 3 and more > 0 and self.row["slow"] + more >= need

    def follow(self, n: int, k: int, at: float) -> list[bool]:
        self.run_n, self.run_k = self.run_n + n, self.run_k + k
        most = max(0.5, odds_times(self.limit, 1.5))
        rate = min(max((self.all_k + 0.5) / (self.all_n + 1), self.limit), most)
        usual = stats.binom.logpmf(self.run_k, self.run_n, self.m0)
        nats = usual - stats.binom.logpmf(self.run_k, self.run_n, rate)
        if k and nats <= 0:
            self.all_n, self.all_k = self.all_n + self.run_n, self.all_k + self.run_k
            self.run_n, self.run_k, self.run = 0, 0, at
        elif nats >= 7 and round(at - self.run, 3) >= HOLD:
            return self.end()
        return []

    def close(self, start: int, n: int, k: int) -> tuple[dict[str, Any], tuple[int, int]]:
        """Return the row that follows, and the hits and misses that others learn."""
        if self.alive and not self.live and round(start - self.last_hit, 3) > 900:
            self.alive = False
        self.row["last_attempts"] = n
        self.waiting.append((n, k))
        self.live_in_windows |= self.live or self.live_until >= start
        sum_n, sum_k = (sum(each) for each in zip(*self.waiting, strict=True))
        if sum_n < 30 and len(self.waiting) < 10:
            return self.kept(), (0, 0)
        pairs = sum(each * (each - 1) for each, _ in self.waiting)
        together = pairs / (sum_n * (sum_n - 1)) if sum_n > 1 else 1.0
        row, pooled = self.after(sum_n, sum_k, together)
        if self.is_newcomer is not (row["hits"] + row["misses"] < 15):
            # The limit changes: an excursion of which nothing was left by the last one is over.
            self.alive = self.alive and (self.live or self.log_m() > 0)
        self.waiting, self.started, self.live_in_windows = [], 0, False
        self.skipped, self.slow_windows = row["skipped"], row["slow_windows"]
        return row | self.kept(row), pooled

    def kept(self, row: dict[str, Any] | None = None) -> dict[str, Any]:
        """The present row."""
        return (row or self.row) | {
            "started": self.started,
            "skipped": self.skipped,
            "slow_windows": self.slow_windows,
            "waiting_attempts": sum(n for n, _ in self.waiting),
            "waiting_hits": sum(k for _, k in self.waiting),
            "waiting_pairs": sum(n * (n - 1) for n, _ in self.waiting),
            "waiting_windows": len(self.waiting),
            "is_doubtful": int(self.live_in_windows),
        }

    def is_doubtful(self, n: int, k: int) -> bool:
        evidence, least = self.log_m() if self.alive else 0.0, self.settings.sensitivity
        _, s, m0, limit = self.null()
        if self.row["hits"] + self.row["misses"] >= 200:
            sure = lower_bound(k, n, 0.99) > limit and log_ratio(n, k, m0, s, limit) >= 4
        else:
            sure = lower_bound(k, n, 0.99) > 0.3
        may_be_usual = self.is_newcomer and k <= 0.3 * n
        likely = evidence >= 0.7 * least or (evidence > 0.5 * least and 2 * k > n)
        likely &= not may_be_usual
        return self.live_in_windows or likely or sure

    def after(self, n: int, k: int, together: float) -> tuple[dict[str, Any], tuple[int, int]]:
        before, row = self.row, dict(self.row)
        slow = max(0.0, before["slow"] + self.log_slow(n, k, together))
        row["slow"] = min(self.settings.sensitivity + 2.5, slow)
        row["slow_windows"] = min(3, self.slow_windows + 1) if slow else 0
        row["starts"] += (self.started - len(self.waiting) * before["starts"]) / 60
        row["skipped"] = self.skipped + 1
        if self.is_doubtful(n, k) and self.skipped < 300:
            return row, (0, 0)
        row["skipped"] = 0
        a, b, rho = before["hits"], before["misses"], before["dispersion"]
        share = 1 / (1 + (n - 1) * together * rho)
        if n > 1 and a + b >= 50:
            mean = (0.02 + a) / (0.4 + a + b)
            prior = np.log(PRIOR_CHANCES) - math.log(max(PRIOR_CHANCES))
            chances = 0.998 * np.array(before["log_chances"]) + 0.002 * prior
            weights = [1 / min(0.3, together * x + 1 / (a + b + 11)) - 1 for x in DISPERSIONS]
            likely = np.array([log_beta_binomial(n, k, mean, s) for s in weights])
            chances += np.maximum(likely - likely.max(), -2.5)
            row["log_chances"] = np.maximum(chances - chances.max(), -1_000).tolist()
            q = np.exp(row["log_chances"]) / np.exp(row["log_chances"]).sum()
            average = float(q @ DISPERSIONS)
            deviation = max(0.0, float(q @ np.square(DISPERSIONS)) - average**2) ** 0.5
            row["dispersion"] = min(max(1.4 * average + 0.6 * deviation, 0.001), 0.2)
        keep = 0.5 ** (n * share / (n * share + 5) / 120)
        row["hits"], row["misses"] = keep * a + share * k, keep * b + share * (n - k)
        unit = 1_000 * min(share, 30 / n)
        return row, (round(unit * k), round(unit * (n - k)))


@st.composite
def traffic(draw: st.DrawFn, place: int = 0) -> list[Record]:
    """Phases of their own volume, rate and grain, and sometimes a pause at the end."""
    rng, at, made = np.random.default_rng(draw(st.integers(0, 2**32))), 0.0, []
    for _ in range(draw(st.integers(1, 4))):
        most = draw(st.sampled_from([1, 3, 40, 2_000]))
        rate = draw(st.sampled_from([0.0, 0.01, 0.06, 0.3, 0.97, 1.0]))
        gap = draw(st.sampled_from([0.1, 1.0, 7.0, 400.0]))
        for _ in range(draw(st.integers(1, 60))):
            at += rng.exponential(gap)
            attempts = int(rng.integers(1, most, endpoint=True))
            made.append(Record(round(at, 3), attempts, int(rng.binomial(attempts, rate)), place))
    if draw(st.booleans()):
        made.append(Record(round(at + 901, 3), 1, 1, place))
    return made


PLACES = (3, 0, 17)


@st.composite
def traffic_of_several(draw: st.DrawFn) -> list[Record]:
    number = draw(st.integers(1, len(PLACES)))
    of_each = [draw(traffic(place)) for place in PLACES[:number]]
    return sorted(itertools.chain(*of_each), key=lambda record: record.at)


baselines = st.sampled_from(
    [
        (0, 0, 0.0),
        (16, 4, 0.5),
        (200, 8, 0.01),
        (200, 200, 0.001),
        (200, 200, 0.2),
        (200, 2_000, 0.0002),
    ]
)
all_settings = st.sampled_from(
    [Settings(), Settings(6.0, Rise(0.05, 1.5, 0.1), 0.0, 0.0), Settings(13.2, Rise(), 90.0, 12.0)]
)


@settings(max_examples=100, deadline=None)
@given(traffic_of_several(), baselines, all_settings)
def test_lazy_looks_decide_as_looks_at_every_record(
    records: list[Record], usual: tuple[int, int, float], chosen: Settings
) -> None:
    states = known(*usual, PLACES, chosen)
    papers = {place: OnPaper(chosen, states.table.row(place)) for place in PLACES}
    for each in log_of(records):
        if isinstance(each, ClosedWindow):
            learned = states.learn(each)
            counts = each.places.tolist(), each.attempts.tolist(), each.hits.tolist()
            for (place, n, k), pooled in zip(
                zip(*counts, strict=True), learned.tolist(), strict=True
            ):
                row, expected = papers[place].close(each.start, n, k)
                assert states.table.row(place) == approximately(row)
                assert pooled == pytest.approx(expected, abs=1)
                papers[place].row = states.table.row(place)
            continue
        record, paper = each.record, papers[each.record.place]
        turns = add(states, each)
        expected_turns = paper.add(record.attempts, record.hits, START + record.at, each.so_far)
        assert [turn.begins for turn in turns] == expected_turns
        unseen = 0 if record.hits else each.before + record.attempts
        check_excursion(states, record.place, paper, unseen)


def approximately(row: dict[str, Any]) -> Any:
    """A row but for the last bit of what is kept with 24 bits; decisions have to be the same."""
    return {
        name: pytest.approx(value, rel=2e-6, abs=2e-5) if name in FLOATS else value
        for name, value in row.items()
    }


FLOATS = {*(BASELINE.names or ()), "starts", "slow"}


def evidence_of(states: SpikeStates, place: int, excursion: Excursion) -> float:
    return states.excursions.judge(place, excursion).evidence_of(excursion)


def check_excursion(states: SpikeStates, place: int, paper: OnPaper, unseen: int) -> None:
    """Compare an excursion with that on paper, which has seen attempts without hits too."""
    excursion = states.excursion(place)
    assert is_firing(states, place) == paper.live
    assert states.table.row(place)["started"] == paper.started
    if excursion is not None and excursion.live is None:
        excursion.add_attempts(unseen)
    if not paper.alive:
        # It is known to be over with the next hit at the latest.
        assert (
            excursion is None
            or states.excursions.judge(place, excursion).evidence_of(excursion) <= 1e-9
        )
        return
    assert excursion is not None
    assert (excursion.attempts, excursion.hits) == (paper.all_n, paper.all_k)
    assert (excursion.stretch_attempts, excursion.stretch_hits) == (paper.n, paper.k)
    assert (excursion.most_attempts, excursion.most_hits) == (-paper.worst[1], paper.worst[0])
    assert (excursion.rate, excursion.weight) == pytest.approx((paper.m, paper.s), abs=1e-12)
    assert excursion.since == round(paper.since * 1_000)
    last = paper.last if excursion.live is not None else paper.last_hit
    assert excursion.since + excursion.last == round(last * 1_000)
    # Far below 0, SciPy's tail is 0.
    expected, evidence = (
        paper.log_m(),
        states.excursions.judge(place, excursion).evidence_of(excursion),
    )
    assert max(evidence, -500) == pytest.approx(max(expected, -500), abs=1e-5, rel=1e-6)


def expected_evidence(states: SpikeStates, at: float, unseen: int, attempts: int) -> float:
    """Return what e to the power of the evidence is on average, some attempts later.

    Each is a hit with the probability that the null gives it after what its stretch has had. What
    is over stays as it was when it ended.
    """
    excursion = states.excursion(0)
    assert excursion is not None
    excursion.add_attempts(unseen)
    evidence = evidence_of(states, 0, excursion)
    if not attempts or evidence <= 0:
        return math.exp(evidence)
    found = states.excursions.judge(0, excursion).found
    stretch = found.a + excursion.stretch_hits, found.a + found.b + excursion.stretch_attempts
    chance = stretch[0] / stretch[1]
    hit = SpikeStates(states.settings)
    hit.read([0], states.write([0]))
    new = Increment(round((START + at) * 1_000), 1, 1, unseen, lambda _: (0, 0))
    assert hit.add(0, new, HOLD) == ()
    after_hit = expected_evidence(hit, at + 6.0, 0, attempts - 1)
    after_miss = expected_evidence(states, at + 6.0, unseen + 1, attempts - 1)
    return chance * after_hit + (1 - chance) * after_miss


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.1])
def test_evidence_is_a_martingale_wherever_a_stretch_ends(rate: float) -> None:
    # So much is needed that none is left out for being more.
    states = known(rate=rate, settings=Settings(200.0))
    hits = (1, 1, 0, 1, 0, 0, 1, 0, 1)
    assert fired_at(states, [Record(6.0 * at, 1, hit) for at, hit in enumerate(hits)]) is None
    excursion = states.excursion(0)
    assert excursion is not None
    assert (excursion.attempts, excursion.evidence) == (9, 0.0), "the first stretch goes on"
    before = math.exp(evidence_of(states, 0, excursion))
    assert before > 1
    after = expected_evidence(states, 6.0 * len(hits), 0, 9)
    assert after == pytest.approx(before, rel=1e-5)


def clump(at: float, hits: Sequence[int]) -> list[Record]:
    """An attempt each second."""
    return [Record(at + second, 1, hit) for second, hit in enumerate(hits)]


WELL_AGAIN = clump(0.0, [1, 1, 1, *([0] * 12)])
"""Some evidence is left of it."""


def test_an_excursion_begins_anew_with_what_breaks() -> None:
    states = known(rate=0.03)
    assert fired_at(states, [*WELL_AGAIN, *clump(20.0, [1] * 8)]) == 27
    fired = states.excursion(0)
    assert fired is not None
    assert fired.since == (START + 20) * 1_000
    assert states.table.row(0)["started"] == 2, "which counts as another one"


@pytest.mark.parametrize(
    "newest",
    [
        pytest.param(clump(20.0, [1, 1]), id="fewer than three hits"),
        pytest.param([Record(20.0, 13, 6)], id="less than half of it hits"),
    ],
)
def test_an_excursion_goes_on_where_the_newest_clump_says_little(newest: list[Record]) -> None:
    # Next to nothing is left of it: less than what the clump says beyond what is asked.
    states = known()
    nearly_over = [*clump(0.0, [1, 1, 1]), Record(3.5, 26, 0)]
    assert fired_at(states, [*nearly_over, *newest]) is None
    excursion = states.excursion(0)
    assert excursion is not None
    assert excursion.since == START * 1_000


def test_a_burst_that_did_not_fire_does_not_with_a_stray_hit_of_later() -> None:
    # The clump of 60 attempts was one among many when it came; it is most of what was sent since.
    states = known(attempts=500)
    minute = [Record(0.5 * number, 4, 0) for number in range(100)]
    records = [*minute, Record(51.0, 60, 40), Record(70.0, 1, 0), Record(126.0, 1, 1)]
    assert fired_at(states, records) is None


def test_an_excursion_that_is_enough_does_not_begin_anew() -> None:
    records = [Record(0.0, 100, 60), Record(6.0, 100, 60), Record(6.5, 100, 90)]
    assert fired_at(known(attempts=2_000), records[:1]) is None
    states = known(attempts=2_000)
    fired_at(states, records)
    excursion = states.excursion(0)
    assert excursion is not None
    assert excursion.since == START * 1_000


def test_one_that_has_to_wait_does_not_begin_anew_though_no_more_counts_than_is_needed() -> None:
    states = known(settings=Settings(patience=900.0, lost=900.0))
    newest = [Record(7.0 + 0.5 * number, 1, 1) for number in range(10)]
    assert fired_at(states, [*clump(0.0, [1] * 6), *newest]) is None
    excursion = states.excursion(0)
    assert excursion is not None
    assert excursion.since == START * 1_000


@settings(max_examples=60, deadline=None)
@given(traffic_of_several(), baselines, st.integers(1, 20))
def test_a_restart_anywhere_changes_nothing(
    records: list[Record], usual: tuple[int, int, float], every: int
) -> None:
    whole, parts = (known(*usual, PLACES) for _ in range(2))
    for number, each in enumerate(log_of(records)):
        if number % every == 0:
            again = SpikeStates(Settings())
            again.read(PLACES[:1], parts.write(PLACES[:1]))
            again.read(PLACES[1:], parts.write(PLACES[1:]))
            parts = again
        if isinstance(each, ClosedWindow):
            assert parts.learn(each).tolist() == whole.learn(each).tolist()
        else:
            assert add(parts, each) == add(whole, each)
        assert parts.write(PLACES) == whole.write(PLACES)
        assert [parts.figures(p) for p in PLACES] == [whole.figures(p) for p in PLACES]


@settings(max_examples=50, deadline=None)
@given(traffic_of_several(), baselines)
def test_scopes_in_company_do_what_each_does_alone(
    records: list[Record], usual: tuple[int, int, float]
) -> None:
    """To the last bit of what is written down."""
    together = known(*usual, PLACES)
    alone = {place: known(*usual) for place in PLACES}
    for each in log_of(records):
        if isinstance(each, ClosedWindow):
            learned = together.learn(each)
            for position, place in enumerate(each.places.tolist()):
                counts = each.attempts.item(position), each.hits.item(position)
                unseen = {0: each.unseen.item(position)}
                found = alone[place].learn(window_of(each.start, {0: counts}, unseen))
                assert found.tolist() == [learned[position].tolist()]
        else:
            place = each.record.place
            own = each._replace(record=each.record._replace(place=0))
            assert add(together, each) == add(alone[place], own)
        for place in PLACES:
            assert together.write([place]) == alone[place].write([0])


def test_thousands_of_scopes_learn_what_each_learns_alone() -> None:
    number, rng = 2_000, np.random.default_rng(3)
    together = new_states(range(number))
    volumes = rng.choice([2, 9, 60, 2_000], size=number)
    rates = rng.choice([0.0, 0.01, 0.2, 1.0], size=number)
    alone = {place: new_states() for place in range(0, number, 41)}
    for minute in range(40):
        attempts = rng.poisson(volumes)
        hits = rng.binomial(attempts, rates * rng.choice([0.5, 1.0], size=number))
        places = rng.permutation(np.flatnonzero(attempts))
        start = START + minute * SIZE
        unseen = np.zeros(len(places), np.int64)
        together.learn(ClosedWindow(start, places, attempts[places], hits[places], unseen))
        for place in filter(attempts.__getitem__, alone):
            counts = attempts.item(place), hits.item(place)
            alone[place].learn(window_of(start, {0: counts}))
    for place, states in alone.items():
        assert states.write([0]) == together.write([place])
        assert states.figures(0) == together.figures(place)


# Windows that are learned together


def learn_all(states: SpikeStates, windows: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Learn windows of the scope at place 0, a minute each; return what others learn of each."""
    return [
        states.learn(window_of(START + number * SIZE, {0: counts}))[0].tolist()
        for number, counts in enumerate(windows)
    ]


def test_windows_of_few_attempts_wait_until_there_are_enough() -> None:
    states = known()
    before = states.table.row(0)
    few = [(11, 1), (1, 0), (17, 2)]
    assert learn_all(states, few) == [[0, 0]] * 3
    waiting = before | {
        "waiting_attempts": 29,
        "waiting_hits": 3,
        "waiting_pairs": 11 * 10 + 17 * 16,
        "waiting_windows": 3,
        "last_attempts": 17,
    }
    assert states.table.row(0) == waiting
    (pooled,) = learn_all(states, [(1, 0)])
    assert min(pooled) > 0
    assert sum(pooled) <= LEAST_LEARNED * POOLED_UNIT + 1
    after = states.table.row(0)
    assert after["hits"] > before["hits"]
    assert [after[name] for name in after if name.startswith("waiting")] == [0, 0, 0, 0]


def test_windows_of_few_attempts_do_not_wait_for_ever() -> None:
    states = new_states()
    learned = learn_all(states, [(1, 0)] * MOST_WAITING)
    assert learned[:-1] == [[0, 0]] * (MOST_WAITING - 1)
    assert sum(learned[-1]) > 0
    assert states.table.row(0)["misses"] == pytest.approx(MOST_WAITING, rel=0.01)


def test_a_window_of_enough_attempts_does_not_wait() -> None:
    states, at_once = known(), known()
    learn_all(states, [(LEAST_LEARNED, 1)])
    learn_all(at_once, [(LEAST_LEARNED - 1, 1), (1, 0)])
    hits = [each.table.row(0)["hits"] for each in (states, at_once)]
    # Attempts of two windows are a little more independent.
    assert hits[0] < hits[1] < hits[0] + 0.1


def test_windows_that_wait_are_not_learned_if_it_fired_in_one_of_them() -> None:
    states = known(200, 8, 0.01)
    before = baseline_of(states)
    bad = [Record(at, 1, 1) for at in range(2, 50, 4)]
    good = [Record(62 + at / 10, 1, 0) for at in range(400)]
    turns = [turn.begins for _, turn in run(states, [*bad, *good[:1]]) if turn is not None]
    assert turns == [True]
    assert baseline_of(states) == before
    assert states.table.row(0)["is_doubtful"] == 1
    assert states.table.row(0)["waiting_windows"] == 1
    states.learn(window_of(START + SIZE, {0: (100, 0)}))
    assert baseline_of(states) == before
    assert states.table.row(0)["skipped"] == 1


# What is written down


def largest() -> Excursion:
    """An excursion with the longest numbers that there are."""
    return Excursion(
        1_795_000_000_123,
        *(0.123456, 1_998.123456),
        100_864_123,
        *(MOST, 999_999_999),
        9.123456,
        60_198_123,
        *(999_999_998, 999_999_997),
        *(100_864_123, 10**8, 10**8, 10**8, 10**8),
    )


def group_of(states: SpikeStates, places: Sequence[int], balance: int = 200) -> bytes:
    """The record of the changelog topic with some scopes; those that fire have an episode."""
    keys: list[ScopeKey | None] = [f"00000000-0000-4000-8000-{place:012}" for place in places]
    episodes = {place: 100_000 for place in places if is_firing(states, place)}
    learned, balances = [START] * len(keys), [balance] * len(keys)
    apps, written = [999] * len(keys), states.write(places)
    return encode_group(
        FoldGroup("spike", "campaign", keys, apps, learned, episodes, written, balances)
    )


def group_after(records: Sequence[Record], number: int) -> float:
    """The bytes of a scope in the record of as many scopes after their records."""
    states = known(places=range(number))
    for _ in run(states, records):
        pass
    return len(group_of(states, range(number))) / number


def test_what_is_written_of_a_scope_is_small_whatever_its_numbers() -> None:
    places, excursion = range(SCOPES_PER_GROUP), largest()
    states = known(places=places)
    for place in places:
        states.excursions.keep(place, excursion)
    assert len(group_of(states, places, -MOST)) / SCOPES_PER_GROUP <= 225
    excursion.fire(100_864_123, is_slow=False)
    excursion.live = Live(100_000_123, False, 100_000_123, MOST, 10**8, MOST, 10**8)
    for place in places:
        states.excursions.keep(place, excursion)
    assert len(group_of(states, places, -MOST)) / SCOPES_PER_GROUP <= 235


@pytest.mark.parametrize(
    ("per_minute", "rate", "most"), [(60, 0.0, 115), (600, 0.01, 170), (600, 0.5, 200)]
)
def test_what_is_written_of_most_scopes_is_smaller(
    per_minute: float, rate: float, most: float
) -> None:
    records = [
        record._replace(place=place)
        for place in range(SCOPES_PER_GROUP)
        for record in poisson_sends(per_minute, rate, 200, place)
    ]
    records.sort(key=lambda each: each.at)
    assert group_after(records, SCOPES_PER_GROUP) <= most


def bytes_of(written: bytes, number: int) -> float:
    """The memory that each of so many scopes takes that are read."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    again = SpikeStates(USUAL)
    again.read(range(number), written)
    for place in range(number):
        excursion = again.excursion(place)
        if excursion is not None:
            again.excursions.judge(place, excursion)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / number


def test_what_is_kept_is_small() -> None:
    number = 1_000
    states = known(places=range(number))
    assert bytes_of(states.write(range(number)), number) <= 200
    for place in range(number):
        states.excursions.keep(place, largest())
    assert bytes_of(states.write(range(number)), number) <= 1_400


def test_what_firing_does_not_need_is_not_written() -> None:
    states = known()
    assert fired_at(states, poisson_sends(60, 0.9, 60, 1)) is not None
    excursion = states.excursion(0)
    assert excursion is not None
    clump = excursion.clump_since, excursion.clump_attempts, excursion.clump_hits
    assert clump == (0, 0, 0)


GARBAGE = {
    "nothing": b"",
    "no array": msgspec.msgpack.encode("states"),
    "too few rows": msgspec.msgpack.encode([b"\0" * 7, {}, {}]),
    "no excursion": msgspec.msgpack.encode([b"", {0: [1]}, {}]),
    "other types": msgspec.msgpack.encode([b"", {"a": 1}, {}]),
}


@pytest.mark.parametrize("written", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_states(written: bytes) -> None:
    states = known()
    before = states.write([0])
    with pytest.raises(ValueError, match="not states of"):
        states.read([0], written)
    assert states.write([0]) == before


def test_what_fired_when_no_peak_was_kept_yet_goes_on() -> None:
    states = known()
    assert fired_at(states, [Record(0.5 * number, 1, 1) for number in range(40)]) is not None
    parts = msgspec.msgpack.decode(states.write([0]), strict=False)
    *others, live = parts[1][0]
    parts[1][0] = [*others, live[:5]]
    states.read([0], msgspec.msgpack.encode(parts))
    assert is_firing(states, 0)
    assert states.figures(0).highest is None
    at = states.figures(0).last + 500
    assert states.add(0, Increment(at, 10, 10, 0, lambda _: (0, 0)), HOLD) == ()
    assert states.figures(0).highest is not None


@pytest.mark.parametrize(
    "change", [{"attempts": -1}, {"attempts": 2**32}, {"clump_since": 2**63}, {"since": -5}]
)
def test_an_excursion_with_impossible_numbers_is_garbage(change: dict[str, int]) -> None:
    parts = msgspec.msgpack.decode(known().write([0]))
    parts[1] = {0: msgspec.structs.replace(largest(), **change)}
    states = known()
    before = states.write([0])
    with pytest.raises(ValueError, match="not states of"):
        states.read([0], msgspec.msgpack.encode(parts))
    assert states.write([0]) == before


@pytest.mark.parametrize("position", [-1, 1, 2**40])
@pytest.mark.parametrize("which", [1, 2])
def test_states_of_scopes_that_are_not_there_are_garbage(position: int, which: int) -> None:
    parts = msgspec.msgpack.decode(known().write([0]))
    parts[which] = {position: msgspec.to_builtins(largest()) if which == 1 else START}
    states = known()
    before = states.write([0])
    with pytest.raises(ValueError, match="not states of"):
        states.read([0], msgspec.msgpack.encode(parts))
    assert states.write([0]) == before


def test_a_place_that_is_read_anew_has_nothing_of_what_it_had() -> None:
    states, quiet = known(), known()
    fired_at(states, poisson_sends(60, 0.9, 60, 1))
    assert is_firing(states)
    states.read([0], quiet.write([0]))
    assert states.write([0]) == quiet.write([0])
    assert states.figures(0) == quiet.figures(0)


def test_a_newcomer_at_a_place_has_nothing_of_who_was_there() -> None:
    states = known(places=[0, 1])
    fired_at(states, poisson_sends(60, 0.9, 60, 1))
    states.begin(np.array([0]), NOBODY)
    assert states.write([0]) == new_states().write([0])
    assert states.excursion(0) is None
    assert states.write([1]) == known().write([0])


# Silence and speed


def sends_at(*phases: tuple[int, int, int]) -> list[Record]:
    """Return eight sends a minute: in phases of some sends, k of n in a row fail."""
    of_each = [number % n < k for sends, k, n in phases for number in range(sends)]
    return [Record(7.5 * number, 1, int(hit)) for number, hit in enumerate(of_each)]


def test_what_is_usual_of_a_newcomer_is_learned_though_it_began_worse() -> None:
    states = new_states()
    assert fired_at(states, sends_at((32, 3, 7), (450, 2, 7))) is None
    assert rate_of(states) == pytest.approx(2 / 7, abs=0.02)


@pytest.mark.parametrize(("hits", "of", "seconds"), [(6, 10, 240), (9, 10, 120)])
def test_a_newcomer_of_which_most_fails_is_told(hits: int, of: int, seconds: int) -> None:
    at = fired_at(new_states(), sends_at((450, hits, of)))
    assert at is not None
    assert at <= seconds


def test_a_rate_that_may_be_usual_of_a_newcomer_is_news_once_it_was_learned() -> None:
    assert fired_at(new_states(), sends_at((450, 2, 8))) is None
    assert fired_at(known(rate=0.01), sends_at((450, 2, 8))) is not None


@pytest.mark.parametrize(
    ("attempts", "hits", "windows"),
    [(2, 1, 0), (10, 3, 200), (3, 3, 200), (5, 5, 200), (5, 5, 0)],
)
def test_a_handful_once_is_silence(attempts: int, hits: int, windows: int) -> None:
    records = [Record(number * 0.4, 1, int(number < hits)) for number in range(attempts)]
    records += [Record(30 + 5.0 * number, 1, 0) for number in range(40)]
    assert fired_at(known(windows), records) is None


@pytest.mark.parametrize(
    ("per_minute", "seconds", "p90"), [(50, 120, 13), (8, 300, 60), (5_000, 20, 10)]
)
def test_everything_fails(per_minute: int, seconds: float, p90: float) -> None:
    times = []
    for seed in range(30):
        records = poisson_sends(per_minute, 1.0, seconds, seed)
        at = fired_at(known(200, per_minute), records)
        assert at is not None
        times.append(at - records[0].at)
    assert sorted(times)[26] <= p90


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_that_rose_a_little_is_told_by_the_evidence_of_windows(seed: int) -> None:
    states = known(200, 60, 0.02)
    assert fired_at(states, poisson_sends(60, 0.02, 1_800, seed)) is None
    records = poisson_sends(60, 0.08, 3_600, seed, begin=1_800)
    turn = next(turn for _, turn in run(states, records) if turn is not None)
    assert 1_800 + 3 * SIZE < turn.figures.last / 1_000 - START < 1_800 + 1_500
    excursion = states.excursion(0)
    assert excursion is not None
    assert excursion.live is not None
    assert excursion.live.is_slow
    others = turn.figures.others
    assert others["slow_windows"] == 3
    assert 0 < others["slow_evidence"] <= 12
    assert others["evidence"] < 13


@pytest.mark.parametrize("per_minute", [8, 60, 600])
def test_the_usual_is_silence(per_minute: int) -> None:
    for seed in range(6):
        states = known(200, per_minute)
        assert fired_at(states, poisson_sends(per_minute, 0.01, 1_800, seed)) is None


@pytest.mark.parametrize(("rate", "dispersion"), [(0.01, 0.01), (0.08, 0.01), (0.25, 0.03)])
@pytest.mark.parametrize("per_minute", [6, 120])
def test_rates_that_vary_from_minute_to_minute_are_silence(
    rate: float, dispersion: float, per_minute: int
) -> None:
    """A day, a record a second, of a scope that nothing was known of."""
    rng, weight = np.random.default_rng(7), 1 / dispersion - 1
    rates = np.repeat(rng.beta(rate * weight, (1 - rate) * weight, size=1_440), SIZE)
    attempts = rng.poisson(per_minute / SIZE, size=len(rates))
    hits = rng.binomial(attempts, rates)
    pairs = zip(attempts.tolist(), hits.tolist(), strict=True)
    records = [Record(at, *pair) for at, pair in enumerate(pairs) if pair[0]]
    states = new_states()
    assert fired_at(states, records) is None
    assert rate_of(states) == pytest.approx(rate, rel=0.5)


def test_it_is_over_when_the_rate_is_usual_again() -> None:
    records = [*poisson_sends(120, 0.9, 60, 1), *poisson_sends(120, 0.01, 600, 2, begin=60)]
    states = known(200, 120)
    turns = [(at, turn.begins) for (at, *_), turn in run(states, records) if turn is not None]
    assert [begins for _, begins in turns] == [True, False]
    assert turns[0][0] <= 15
    assert 60 + HOLD <= turns[1][0] <= 180


@pytest.mark.parametrize(("pause", "turns"), [(900, []), (901, [False])])
def test_a_breach_is_over_with_the_first_attempts_after_a_long_pause(
    pause: int, turns: list[bool]
) -> None:
    states = known()
    assert fired_at(states, poisson_sends(60, 0.9, 60, 1)) is not None
    last = states.figures(0).last / 1_000 - START
    found = list(run(states, [Record(last + pause, 1, 1)]))
    assert [turn.begins for _, turn in found if turn is not None] == turns
    assert is_firing(states) == (not turns)
    assert states.excursion(0) is not None


def test_what_fires_is_not_learned_but_for_too_long() -> None:
    states = known()
    before, usual = baseline_of(states), rate_of(states)
    always = (Record(1.5 * number, 1, 1) for number in range((MOST_SKIPPED + 2) * 40))
    for number, _ in enumerate(run(states, always)):
        if number < MOST_SKIPPED * 40:
            assert baseline_of(states) == before
    after = baseline_of(states)
    assert after["hits"] > before["hits"] + 10
    # The excursion that fires is judged by what was usual when it began.
    assert rate_of(states) == usual
    states.add(0, Increment(10**13, 1, 0, 0, lambda _: (1, 0)), HOLD)
    assert rate_of(states) > 1.2 * usual


def test_a_window_of_an_incident_that_has_ended_is_not_learned() -> None:
    states = known(200, 120)
    before = baseline_of(states)
    records = [*poisson_sends(600, 0.9, 20, 1), *poisson_sends(600, 0.0, 110, 2, begin=20)]
    turns = [(at, turn.begins) for (at, *_), turn in run(states, records) if turn is not None]
    assert [begins for _, begins in turns] == [True, False]
    assert SIZE < turns[1][0] < 2 * SIZE
    assert baseline_of(states) == before
    states.learn(window_of(START + SIZE, {0: (600, 0)}))
    assert baseline_of(states) == before
    states.learn(window_of(START + 2 * SIZE, {0: (600, 0)}))
    assert baseline_of(states) != before


def test_a_pause_ends_an_excursion() -> None:
    states = known()
    list(run(states, [Record(0, 1, 1), Record(1_000, 1, 0), Record(1_100, 1, 0)]))
    assert states.excursion(0) is None
    states = known()
    list(run(states, [Record(0, 1, 1), Record(850, 1, 0), Record(910, 1, 0)]))
    assert states.excursion(0) is not None
    for pause, since in ((900, 0), (901, 901)):
        states = known()
        list(run(states, [Record(0, 1, 1), Record(pause, 1, 1)]))
        excursion = states.excursion(0)
        assert excursion is not None
        assert excursion.since == (START + since) * 1_000


def test_an_excursion_of_which_nothing_is_left_ends_with_the_window() -> None:
    states = known()
    add(states, Step(Record(1, 1, 1), (START + 1) * 1_000, (1, 1)))
    assert states.excursion(0) is not None
    states.learn(window_of(START, {0: (401, 1)}, {0: 400}))
    assert states.excursion(0) is None


# The range of numbers


@pytest.mark.parametrize("rise", [Rise(), Rise(0.49, 1.31, 0.98), Rise(1e-6, 1_000.0, 2e-6)])
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("attempts", [1, 29, 30, 10**6, MOST])
def test_no_counts_are_too_many_or_too_few(attempts: int, share: float, rise: Rise) -> None:
    states = new_states(range(3), Settings(rise=rise))
    counts = [(attempts, round(share * attempts)), (1, 1), (attempts, attempts)]
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for minute in range(MOST_SKIPPED + 30):
            # In most hours, in all of them but one, or in turn with windows without hits.
            now = {
                place: (n, k if place < 2 or minute % 2 else 0)
                for place, (n, k) in enumerate(counts)
            }
            for place, (n, k) in now.items():
                at = START + minute * SIZE + 59
                add(states, Step(Record(minute * SIZE + 59, n, k, place), at * 1_000, (n, k)))
            pooled = states.learn(window_of(START + minute * SIZE, now))
            assert (pooled >= 0).all()
            assert (pooled.sum(axis=1) <= 30 * POOLED_UNIT + 1).all()
    for place in range(3):
        figures = states.figures(place)
        assert figures.baseline_rate is not None
        assert 0 < figures.baseline_rate < 1
        assert all(map(math.isfinite, figures.others.values()))
        row = states.table.row(place)
        numbers = [*row["log_chances"], *(row[name] for name in FLOATS - {"log_chances"})]
        assert all(map(math.isfinite, numbers))
        assert 0.0009999 < row["dispersion"] < 0.2000001
        assert 0 <= row["slow"] <= 12
    again = SpikeStates(Settings(rise=rise))
    again.read(range(3), states.write(range(3)))
    assert [again.figures(place) for place in range(3)] == [states.figures(p) for p in range(3)]


@given(
    st.lists(st.integers(1, MOST).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))),
    st.floats(0.6, 0.999),
)
def test_lower_bounds_of_many_are_those_of_each(
    counts: list[tuple[int, int]], confidence: float
) -> None:
    hits, attempts = np.array(counts, np.int64).reshape(-1, 2).T
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = wilson.lower_bounds(hits, attempts, confidence)
    assert found.tolist() == [wilson.lower_bound(*each, confidence) for each in counts]
    on_paper = [lower_bound(*each, confidence) for each in counts]
    assert found.tolist() == pytest.approx(on_paper, abs=1e-7)


# Figures


def test_the_evidence_can_be_worked_out_from_the_figures_alone() -> None:
    states, fired = known(), False
    for record, turn in run(states, poisson_sends(50, 0.7, 20, 4)):
        fired = fired or turn is not None
        if not record.hits:
            continue
        figures = states.figures(0)
        others, usual = figures.others, figures.baseline_rate
        assert usual is not None
        n, k = int(others["attempts_weighed"]), int(others["hits_weighed"])
        a = others["tolerated_rate"] * others["null_weight"]
        null = stats.betabinom(n, a, others["null_weight"] - a)
        share_above = stats.beta.sf(others["limit_rate"], k + 1, n - k + 1)
        # Each number of hits is as likely as another, if each rate is.
        alternative = share_above / (n + 1) / (1 - others["limit_rate"])
        evidence = others["evidence_before"] + math.log(alternative / null.pmf(k))
        assert others["evidence"] == pytest.approx(evidence, abs=1e-5)
        assert figures.last == round((START + record.at) * 1_000)
        if figures.attempts > 1:
            excess = figures.hits - figures.attempts * usual
            pace = (figures.last - figures.since) / 1_000 / (figures.attempts - 1)
            assert others["seconds_lost"] == pytest.approx(excess * pace, abs=1e-5)
    assert fired


def test_figures_of_what_fires_have_the_run_that_may_end_it() -> None:
    states = known()
    fired_at(states, poisson_sends(60, 0.9, 60, 1))
    before = states.figures(0)
    at = before.last + 1_000
    states.add(0, Increment(at, 3, 0, 0, lambda _: (60, 50)), HOLD)
    after = states.figures(0)
    assert (after.attempts, after.hits) == (before.attempts + 3, before.hits)
    assert (after.since, after.last) == (before.since, at)
    assert after.lower_bound == pytest.approx(lower_bound(after.hits, after.attempts, 0.95))


def test_figures_of_an_end_are_those_of_the_run_that_ended_it() -> None:
    records = [*poisson_sends(120, 0.9, 60, 1), *poisson_sends(120, 0.01, 600, 2, begin=60)]
    records.sort()
    states = known(200, 120)
    end = next(turn for _, turn in run(states, records) if turn is not None and not turn.begins)
    figures = end.figures
    span = [r for r in records if figures.since < (START + r.at) * 1_000 <= figures.last]
    assert figures.attempts == sum(record.attempts for record in span)
    assert figures.hits == sum(record.hits for record in span) <= 0.03 * figures.attempts
    assert figures.last - figures.since >= HOLD * 1_000
    assert figures.lower_bound == pytest.approx(lower_bound(figures.hits, figures.attempts, 0.95))


def test_without_an_excursion_there_is_no_evidence() -> None:
    figures = known().figures(0)
    assert (figures.attempts, figures.hits, figures.lower_bound) == (0, 0, None)
    assert figures.baseline_rate == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("patience", [0.0, USUAL.patience])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("many", [1, excursion_table.MANY])
@pytest.mark.parametrize("in_a_row", [1, 2, 9, 30])
def test_counts_of_many_scopes_and_records_may_be_given_at_once(
    in_a_row: int, many: int, seed: int, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some have a usual rate of 1 %, others of 20 %, and some break; there is a pause.

    All is there that makes an excursion one of several records, or more than that: records of hits
    alone, many successes between two, clumps, and steps of 30 s.
    """
    monkeypatch.setattr(excursion_table, "MANY", many)
    chance = np.random.default_rng(seed)
    one_by_one = SpikeStates(USUAL._replace(patience=patience))
    at_once = SpikeStates(one_by_one.settings)
    places = np.arange(24)
    for states in (one_by_one, at_once):
        states.begin(places[:12], NOBODY)
        states.begin(places[12:], Pooled((40 * POOLED_UNIT, 960 * POOLED_UNIT), (0, 0)))
    usual = np.where(places % 5 == 1, 0.2, 0.01)
    taken = turned = 0
    at = START * 1_000
    for number in range(300 // in_a_row):
        shape = 24, in_a_row
        rates = np.where(places % 5 == 0, 0.01 + 0.5 * (0.5 < number * in_a_row / 300 < 0.7), usual)
        attempts = chance.choice([1, 1, 2, 4, 6, 30, 300], shape)
        hits = chance.binomial(attempts, rates[:, np.newaxis])
        hits = np.where(chance.random(shape) < 0.1, attempts, hits)
        before = chance.choice([0, 0, 10, 40, 60, 100, 300], shape)
        if number == 100 // in_a_row:
            # A window that leaves hardly any excursion, and counts that are too many for one.
            attempts[3:9] = hits[3:9] = 60
            attempts[9], hits[9] = LARGEST + 1, 1
        steps = chance.choice([250, 2_000, 8_000, 30_000], in_a_row)
        at += 1_000_000 * (number == 200 // in_a_row)
        times = at + steps.cumsum()
        at = times.item(-1)
        given = {}
        for place in places.tolist():
            fires = one_by_one.fires(place)
            rows = np.arange(in_a_row) if fires else np.flatnonzero(hits[place])
            given[place] = [
                Increment(*row, partial(_given, row[1:3]))
                for row in zip(
                    times[rows].tolist(),
                    attempts[place][rows].tolist(),
                    hits[place][rows].tolist(),
                    (before[place][rows] * (not fires)).tolist(),
                    strict=True,
                )
            ]
        others = _others(at_once, given)
        taken += sum(map(bool, given.values())) - len(others)
        for place, increments in given.items():
            turns = [one_by_one.add(place, new, HOLD) for new in increments]
            if place in others:
                assert [at_once.add(place, new, HOLD) for new in increments] == turns
            else:
                assert not any(turns)
            turned += any(turns)
        if number % 5 == 4:
            unseen = np.full(24, 300 if number < 150 // in_a_row else 3)
            window = ClosedWindow(at // 1_000, places, attempts[:, -1], hits[:, -1], unseen)
            assert (at_once.learn(window) == one_by_one.learn(window)).all()
        assert at_once.write(range(24)) == one_by_one.write(range(24))
    assert turned > 10
    assert taken > 50


def _others(states: SpikeStates, given: Mapping[int, Sequence[Increment]]) -> set[int]:
    """Give counts at once; return the places of those that have to be added one by one."""
    rows = [(place, new) for place, increments in given.items() for new in increments]
    of_rows = [place for place, _ in rows]
    first = [row for row, place in enumerate(of_rows) if place not in of_rows[:row]]
    numbers = np.array([new[:4] for _, new in rows], np.int64).reshape(len(rows), 4)
    times, attempts, hits, before = numbers.T
    so_far = [new.so_far for _, new in rows]
    series = Series(
        np.array(first, np.int64),
        np.array(of_rows, np.int64),
        times,
        attempts,
        hits,
        before,
        lambda row: so_far[row](of_rows[row]),
    )
    written = states.write(range(24))
    prepared = states.prepare(series, HOLD)
    assert states.write(range(24)) == written
    prepared.apply()
    return {of_rows[row] for row in prepared.others}


def _given(so_far: tuple[int, int], _place: int) -> tuple[int, int]:
    return so_far


def test_a_window_of_billions_of_attempts_is_learned() -> None:
    states = SpikeStates(USUAL)
    places = np.arange(2)
    states.begin(places, NOBODY)
    for number in range(30):
        attempts, hits = np.array([9_011_000_020, 60]), np.array([90_110_000, 1])
        window = ClosedWindow(START + 60 * number, places, attempts, hits, attempts)
        with np.errstate(all="raise"):
            states.learn(window)
    rate, weight = states.table.null(0)
    assert rate == pytest.approx(0.01, rel=0.05)
    assert weight > 0.0
