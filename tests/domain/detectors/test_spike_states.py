"""How counts change what `spike` remembers, against a fold that looks at every record."""

import tracemalloc
from collections.abc import Iterable, Iterator
from math import log, log1p
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from streams.domain.detectors.spike_state import (
    MOST_SKIPPED,
    Excursion,
    Fold,
    Live,
    Settings,
    SpikeState,
    WindowCounts,
    pack,
    unpack,
)

from streams.domain.detectors.baseline import Baseline

SIZE = 60
START = 1_790_000_040.0
FOLD = Fold(Settings())


class Record(NamedTuple):
    """Counts of a scope at a time (s after `START`)."""

    at: float
    attempts: int
    hits: int


def known(attempts: float = 5_000.0, rate: float = 0.01) -> SpikeState:
    return SpikeState(Baseline(rate * attempts, (1 - rate) * attempts, 0.01))


def run(state: SpikeState, records: Iterable[Record], fold: Fold = FOLD) -> Iterator[SpikeState]:
    """Add records, closing each window when one of a later window comes; yield after each."""
    start, attempts, hits = START, 0, 0
    for record in records:
        at = START + record.at
        while at >= start + SIZE:
            fold.close(state, WindowCounts(start, attempts, hits))
            start, attempts, hits = start + SIZE, 0, 0
        attempts, hits = attempts + record.attempts, hits + record.hits
        window = WindowCounts(start, attempts, hits)
        fold.add(state, record.attempts, record.hits, round(at * 1_000), window)
        yield state


def fired_at(state: SpikeState, records: Iterable[Record]) -> float | None:
    """Return when (s after `START`) a state fires first."""
    for each in run(state, records):
        if each.live is not None:
            return live_since(each) / 1_000 - START
    return None


def live_since(state: SpikeState) -> int:
    """Return when a state began to fire (ms)."""
    assert state.excursion is not None
    assert state.live is not None
    return state.excursion.since + state.live.at


def poisson_sends(per_minute: float, rate: float, seconds: float, seed: int) -> list[Record]:
    """Return a record for each send."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(60 / per_minute, size=round(seconds * per_minute / 60))
    hits = rng.random(len(gaps)) < rate
    times = np.cumsum(gaps).round(3).tolist()
    return [Record(at, 1, hit) for at, hit in zip(times, hits.astype(int).tolist(), strict=True)]


# The same as on paper: no shortcuts, other libraries, every record looked at.


class OnPaper:
    """The state as plain numbers; times in s."""

    def __init__(self, state: SpikeState) -> None:
        self.baseline = msgspec.structs.replace(state.baseline)
        self.alive = False
        self.live: int | None = None
        self.live_until = self.last = self.last_hit = 0.0
        self.slow, self.slow_windows = 0.0, 0
        self.skipped, self.starts, self.started = 0, 0.1, 0
        self.since = self.sigma = self.run = 0.0
        self.all_n = self.all_k = self.run_n = self.run_k = 0
        self.clumps: list[tuple[float, int, int]] = []
        self.worst = 0, 0
        self.begin_stretch(0.0)

    def null(self) -> tuple[float, float, float]:
        base = self.baseline
        weight = base.hits + base.misses
        m = round((1 + base.hits) / (20 + weight), 6)
        rho = max(base.dispersion, 0.022 * min(1, 2_500 / (weight + 1)))
        s = round(1 / min(0.3, rho + 1 / (weight + 11)) - 1, 6)
        return m, s, max(0.04, 2.5 * m / (1 + 1.5 * m))

    def begin_stretch(self, at: float) -> None:
        self.stretch, self.n, self.k = at, 0, 0
        self.m, self.s, self.limit = self.null()
        self.m0 = max(0.02, 1.3 * self.m / (1 + 0.3 * self.m))

    def log_e(self, n: int, k: int) -> float:
        return log_ratio(n, k, self.m0, self.s, self.limit)

    def log_e_now(self, n: int, k: int) -> float:
        m, s, limit = self.null()
        return log_ratio(n, k, max(0.02, 1.3 * m / (1 + 0.3 * m)), s, limit)

    def log_m(self) -> float:
        return self.sigma + self.log_e(self.n, self.k)

    def log_slow(self, n: int, k: int) -> float:
        m, s, limit = self.null()
        m0, mean = max(0.02, 1.3 * m / (1 + 0.3 * m)), 1.5 * limit / (1 + 0.5 * limit)
        ours = special.betaln(mean * s + k, (1 - mean) * s + n - k)
        ours -= special.betaln(mean * s, (1 - mean) * s)
        theirs = special.betaln(m0 * s + k, (1 - m0) * s + n - k)
        theirs -= special.betaln(m0 * s, (1 - m0) * s)
        return float(ours - theirs)

    def add(self, n: int, k: int, at: float, window: WindowCounts) -> None:
        if self.alive and round(at - self.last, 3) > 900:
            self.end()
        if self.live is not None:
            self.last = at
            self.follow(n, k, at)
            return
        if self.alive and (round(at - self.last_hit, 3) > 900 or self.log_m() <= 0):
            self.alive = False
        if k and not self.alive:
            self.begin(at)
        elif k and (
            self.log_m() >= self.later() or (round(at - self.stretch, 3) >= 60 and self.n >= 10)
        ):
            self.sigma = round(min(self.later(), self.log_m()), 6)
            self.begin_stretch(at)
        if self.alive:
            self.last = at
            self.n, self.k = self.n + n, self.k + k
            self.all_n, self.all_k = self.all_n + n, self.all_k + k
        if k:
            self.last_hit = at
            if round(at - self.clumps[-1][0], 3) > 5:
                self.clumps.append((at, 0, 0))
            began, clump_n, clump_k = self.clumps[-1]
            self.clumps[-1] = began, clump_n + n, clump_k + k
            # A clump may have had more weight for its hits before than when it was complete.
            self.worst = max(self.worst, (clump_k + k, -clump_n - n))
            sure = lower_bound(self.all_k, self.all_n, 0.95) > self.limit
            if sure and (self.is_fast(at) or self.is_slow(at, window)):
                self.live = round(at * 1_000)
                self.run, self.run_n, self.run_k = at, 0, 0

    def begin(self, at: float) -> None:
        self.alive, self.since, self.all_n, self.all_k, self.sigma = True, at, 0, 0, 0.0
        self.started += 1
        self.clumps, self.worst = [(at, 0, 0)], (0, 0)
        self.begin_stretch(at)

    def end(self) -> None:
        if self.live is not None:
            self.slow, self.slow_windows = 0.0, 0
        self.alive, self.live = False, None

    def first(self) -> float:
        return min(max(log(1_440 * max(self.starts, 1e-6) / 0.005), 10), 13)

    def later(self) -> float:
        return max(11.0, self.first())

    def is_fast(self, at: float) -> bool:
        age, n = round(at - self.since, 3), self.all_n
        covered = age * n / (n - 1) if n > 1 else age
        waited = age >= 45 or (self.all_k / n - self.m) * covered >= 6
        beside_k, beside_n = self.all_k - self.worst[0], n + self.worst[1]
        beside = beside_k > 0 and self.log_e(beside_n, beside_k) >= 3.5
        return self.log_m() >= (self.later() if self.sigma else self.first()) and waited and beside

    def is_slow(self, at: float, window: WindowCounts) -> bool:
        more = self.log_slow(window.attempts, window.hits)
        late = round(at - self.since, 3) >= 45
        return late and self.slow_windows >= 3 and more > 0 and self.slow + more >= 12

    def follow(self, n: int, k: int, at: float) -> None:
        self.live_until = at
        self.run_n, self.run_k = self.run_n + n, self.run_k + k
        most = max(0.35, 1.5 * self.limit / (1 + 0.5 * self.limit))
        rate = min(max((self.all_k + 0.5) / (self.all_n + 1), self.limit), most)
        usual = stats.binom.logpmf(self.run_k, self.run_n, self.m0)
        nats = usual - stats.binom.logpmf(self.run_k, self.run_n, rate)
        if k and nats <= 0:
            self.all_n, self.all_k = self.all_n + self.run_n, self.all_k + self.run_k
            self.run_n, self.run_k, self.run = 0, 0, at
        elif nats >= 4 and round(at - self.run, 3) >= 25:
            self.end()

    def close(self, window: WindowCounts) -> None:
        start, n, k = window
        if not n:
            return
        evidence = self.log_m() if self.alive else 0.0
        known = self.baseline.hits + self.baseline.misses >= 200
        limit = self.null()[2] if known else 0.3
        sure = lower_bound(k, n, 0.99) > limit and (not known or self.log_e_now(n, k) >= 4)
        doubtful = (
            self.live is not None
            or self.live_until >= start
            or evidence >= 7
            or (evidence > 5 and 2 * k > n)
            or sure
        )
        self.slow = round(min(12.0, max(0.0, self.slow + self.log_slow(n, k))), 6)
        self.slow_windows = min(3, self.slow_windows + 1) if self.slow else 0
        self.starts = round(self.starts + (self.started - self.starts) / 60, 6)
        self.started = 0
        if not doubtful:
            self.skipped = 0
        elif self.skipped < 300:
            self.skipped += 1
            return
        self.baseline.learn(n, k)


def log_ratio(n: int, k: int, m0: float, s: float, limit: float) -> float:
    a, b = m0 * s, (1 - m0) * s
    ours = special.betaln(k + 1, n - k + 1) + stats.binom.logcdf(k, n + 1, limit) - log1p(-limit)
    return float(ours - special.betaln(a + k, b + n - k) + special.betaln(a, b))


def lower_bound(k: int, n: int, confidence: float) -> float:
    """Wilson's lower bound as a root: the p for which (k/n - p)^2 = z^2 p (1-p) / n."""
    z = float(stats.norm.ppf(confidence))
    a, b, c = 1 + z * z / n, 2 * k / n + z * z / n, (k / n) ** 2
    return float((b - max(0.0, b * b - 4 * a * c) ** 0.5) / (2 * a))


@st.composite
def traffic(draw: st.DrawFn) -> list[Record]:
    """Phases of their own volume, rate and grain, and sometimes a pause at the end."""
    rng, at, made = np.random.default_rng(draw(st.integers(0, 2**32))), 0.0, []
    for _ in range(draw(st.integers(1, 4))):
        most = draw(st.sampled_from([1, 3, 40, 2_000]))
        rate = draw(st.sampled_from([0.0, 0.01, 0.06, 0.3, 0.97, 1.0]))
        gap = draw(st.sampled_from([0.1, 1.0, 7.0, 400.0]))
        for _ in range(draw(st.integers(1, 60))):
            at += rng.exponential(gap)
            attempts = int(rng.integers(1, most, endpoint=True))
            made.append(Record(round(at, 3), attempts, int(rng.binomial(attempts, rate))))
    if draw(st.booleans()):
        made.append(Record(round(at + 901, 3), 1, 1))
    return made


baselines = st.sampled_from([(0.0, 0.5), (40.0, 0.1), (5_000.0, 0.001), (5_000.0, 0.2)])


@settings(max_examples=120, deadline=None)
@given(traffic(), baselines)
def test_lazy_looks_decide_as_looks_at_every_record(
    records: list[Record], usual: tuple[float, float]
) -> None:
    state = known(*usual)
    paper = OnPaper(state)
    start, attempts, hits = START, 0, 0
    for record in records:
        at = START + record.at
        while at >= start + SIZE:
            closed = WindowCounts(start, attempts, hits)
            FOLD.close(state, closed)
            paper.close(closed)
            start, attempts, hits = start + SIZE, 0, 0
        attempts, hits = attempts + record.attempts, hits + record.hits
        window = WindowCounts(start, attempts, hits)
        FOLD.add(state, record.attempts, record.hits, round(at * 1_000), window)
        paper.add(record.attempts, record.hits, at, window)
        excursion, live = state.excursion, state.live
        assert (live is not None) == (paper.live is not None)
        assert live is None or live_since(state) == paper.live
        assert (state.starts, state.started) == (paper.starts, paper.started)
        assert (state.skipped, state.slow_windows) == (paper.skipped, paper.slow_windows)
        assert state.slow == pytest.approx(paper.slow, abs=1e-5)
        assert state.baseline == paper.baseline
        if paper.alive:
            assert excursion is not None
            # Far below 0, SciPy's tail is 0.
            expected, evidence = paper.log_m(), FOLD.evidence_of(excursion)
            assert max(evidence, -500) == pytest.approx(max(expected, -500), abs=1e-5, rel=1e-6)
            assert (excursion.attempts, excursion.hits) == (paper.all_n, paper.all_k)
            assert excursion.since == round(paper.since * 1_000)
            assert excursion.since + excursion.last == round(paper.last * 1_000)
        elif excursion is not None:
            assert FOLD.evidence_of(excursion) <= 1e-9


@settings(max_examples=60, deadline=None)
@given(traffic(), baselines, st.integers(1, 20))
def test_a_restart_anywhere_changes_nothing(
    records: list[Record], usual: tuple[float, float], every: int
) -> None:
    whole, parts = known(*usual), known(*usual)
    states = run(whole, records)
    again = Fold(Settings())
    start, attempts, hits = START, 0, 0
    for number, record in enumerate(records):
        at = START + record.at
        if number % every == 0:
            parts, again = unpack(pack(parts)), Fold(Settings())
        while at >= start + SIZE:
            again.close(parts, WindowCounts(start, attempts, hits))
            start, attempts, hits = start + SIZE, 0, 0
        attempts, hits = attempts + record.attempts, hits + record.hits
        window = WindowCounts(start, attempts, hits)
        again.add(parts, record.attempts, record.hits, round(at * 1_000), window)
        assert parts == next(states)


def largest() -> SpikeState:
    """A state with the longest numbers that there are."""
    return SpikeState(
        Baseline(
            123_456.123456,
            234_567.654321,
            0.123456,
            (0, -9_999_999, -9_999_999, -9_999_999, -9_999_999, -9_999_999, -10_000_000),
        ),
        MOST_SKIPPED,
        *(11.123456, 3),
        *(12.345678, 1_000),
        Excursion(
            1_795_000_000_123,
            *(0.123456, 1_998.123456),
            *(100_864_123, 100_864_123),
            *(10**9, 999_999_999),
            9.123456,
            60_198_123,
            *(999_999_998, 999_999_997),
            *(100_864_123, 10**8, 10**8, 10**8, 10**8),
        ),
        None,
        1_795_000_000,
    )


def firing() -> SpikeState:
    """The same while it fires, and what it does not need is 0."""
    state = largest()
    assert state.excursion is not None
    state.excursion.last_hit = state.excursion.clump_since = 0
    state.excursion.clump_attempts = state.excursion.clump_hits = 0
    state.live, state.fired_until = Live(50_000_123, False, 100_000_123, 10**9, 10**8), 0
    return state


def test_what_is_written_is_small() -> None:
    assert len(pack(largest())) <= 200
    assert len(pack(firing())) <= 200
    usual = learned()
    assert usual.excursion is not None
    assert len(pack(usual)) <= 150
    assert len(msgspec.json.encode(usual)) <= 200
    usual.excursion = None
    assert len(msgspec.json.encode(usual)) <= 120


def test_what_firing_does_not_need_is_not_written() -> None:
    state = known()
    assert fired_at(state, poisson_sends(60, 0.9, 60, 1)) is not None
    excursion = state.excursion
    assert excursion is not None
    clump = excursion.clump_since, excursion.clump_attempts, excursion.clump_hits
    assert (excursion.last_hit, *clump, state.fired_until) == (0, 0, 0, 0, 0)


def learned() -> SpikeState:
    state = SpikeState(Baseline())
    for _ in run(state, poisson_sends(600, 0.02, 1_800, 9)):
        pass
    return state


def test_what_is_kept_is_small() -> None:
    kept = [b""] * 2_000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(len(kept)):
        kept[number] = pack(largest())
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(kept) <= 300


@pytest.mark.parametrize(
    ("attempts", "hits", "usual"),
    [(2, 1, 0.0), (10, 3, 5_000.0), (3, 3, 5_000.0), (5, 5, 5_000.0), (5, 5, 0.0)],
)
def test_a_handful_once_is_silence(attempts: int, hits: int, usual: float) -> None:
    records = [Record(number * 0.4, 1, int(number < hits)) for number in range(attempts)]
    records += [Record(30 + 5.0 * number, 1, 0) for number in range(40)]
    assert fired_at(known(usual), records) is None


@pytest.mark.parametrize(("per_minute", "p90"), [(50, 15), (8, 60), (5_000, 10)])
def test_everything_fails(per_minute: float, p90: float) -> None:
    times = []
    for seed in range(30):
        records = poisson_sends(per_minute, 1.0, 300, seed)
        at = fired_at(known(), records)
        assert at is not None
        times.append(at - records[0].at)
    assert sorted(times)[26] <= p90


def test_a_rate_that_rose_a_little_is_told_in_the_end() -> None:
    state = known(rate=0.02)
    at = fired_at(state, poisson_sends(60, 0.075, 3_600, 5))
    assert at is not None
    assert at > 3 * SIZE


@pytest.mark.parametrize("per_minute", [8, 60, 600])
def test_the_usual_is_silence(per_minute: float) -> None:
    for seed in range(6):
        assert fired_at(known(), poisson_sends(per_minute, 0.01, 1_800, seed)) is None


@pytest.mark.parametrize(("rate", "dispersion"), [(0.01, 0.01), (0.08, 0.01), (0.25, 0.03)])
def test_rates_that_vary_from_minute_to_minute_are_silence(rate: float, dispersion: float) -> None:
    """A day of 120 a minute, a record a second, of a scope that nothing was known of."""
    rng, weight = np.random.default_rng(7), 1 / dispersion - 1
    rates = np.repeat(rng.beta(rate * weight, (1 - rate) * weight, size=1_440), SIZE)
    attempts = rng.poisson(2.0, size=len(rates))
    hits = rng.binomial(attempts, rates)
    pairs = zip(attempts.tolist(), hits.tolist(), strict=True)
    records = [Record(at, *pair) for at, pair in enumerate(pairs)]
    assert fired_at(SpikeState(Baseline()), records) is None


def test_it_is_over_when_the_rate_is_usual_again() -> None:
    bad, good = poisson_sends(120, 0.9, 60, 1), poisson_sends(120, 0.01, 600, 2)
    records = [*bad, *(Record(each.at + 60, each.attempts, each.hits) for each in good)]
    states = [each.live is not None for each in run(known(), records)]
    over = next(n for n in range(len(states)) if states[n - 1] and not states[n])
    assert any(states[: len(bad)])
    assert 60 + 25 <= records[over].at <= 180
    assert not any(states[over:])


def test_what_fires_is_not_learned_but_for_too_long() -> None:
    state = known()
    before = msgspec.structs.replace(state.baseline)
    always = (Record(2.0 * number, 2, 2) for number in range((MOST_SKIPPED + 20) * 30))
    for number, each in enumerate(run(state, always)):
        if number < MOST_SKIPPED * 30:
            assert each.baseline == before
    assert state.skipped == MOST_SKIPPED
    assert state.baseline.rate > 3 * before.rate


def test_a_pause_ends_an_excursion() -> None:
    state = known()
    list(run(state, [Record(0, 1, 1), Record(901, 1, 0)]))
    assert state.excursion is None
    list(run(state, [Record(0, 1, 1), Record(899, 1, 0)]))
    assert state.excursion is not None


def test_the_evidence_can_be_worked_out_from_the_figures_alone() -> None:
    state, records = known(), poisson_sends(50, 0.7, 20, 4)
    for each in run(state, records):
        if each.excursion is None:
            continue
        at = each.excursion.since + each.excursion.last
        figures = FOLD.figures(each, each.excursion, at)
        a = figures.tolerated_rate * figures.null_weight
        null = stats.betabinom(figures.stretch_attempts, a, figures.null_weight - a)
        share_above = stats.beta.sf(
            figures.limit,
            figures.stretch_hits + 1,
            figures.stretch_attempts - figures.stretch_hits + 1,
        )
        # Each number of hits is as likely as another, if each rate is.
        alternative = share_above / (figures.stretch_attempts + 1) / (1 - figures.limit)
        evidence = np.log(alternative / null.pmf(figures.stretch_hits))
        assert figures.evidence == pytest.approx(figures.evidence_before + evidence, abs=1e-6)
        if figures.attempts > 1:
            excess = figures.hits - figures.attempts * figures.usual_rate
            pace = (at - figures.since) / 1_000 / (figures.attempts - 1)
            assert figures.lost_seconds == pytest.approx(excess * pace)
    assert state.live is not None
