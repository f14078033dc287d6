"""Small worlds for property tests: rules, windows, and lines of counts."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted_lines import Counted, CountedLine
from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.formats import pinpoint
from streams.domain.rules import Rule, ScopeKind
from streams.domain.sources import IngestSettings
from streams.domain.windows import WindowPolicy
from tests.support.partitions import PARTITION_SETTINGS

START = 1_767_225_600_000

DETECTORS: st.SearchStrategy[Detector] = st.one_of(
    st.builds(
        Threshold,
        level=st.sampled_from([0.1, 0.4]),
        min_attempts=st.integers(1, 12),
        lookback_windows=st.integers(1, 4),
    ),
    st.builds(Count, more_than=st.integers(0, 12)),
    st.builds(Spike, sensitivity=st.just(1.0), patience=st.sampled_from([0.0, 5.0])),
)
SECONDS = st.sampled_from([0.0, 0.3, 1.0, 4.0, 30.0])


def rules_of(
    detectors: st.SearchStrategy[Detector], scopes: Sequence[ScopeKind], *, least: int
) -> st.SearchStrategy[list[Rule]]:
    """Up to three rules, `least` at least."""
    rule = st.builds(
        Rule,
        name=st.sampled_from(["one", "two", "three"]),
        statuses=st.sampled_from([frozenset({"FAILURE"}), frozenset({"THROTTLED", "FAILURE"})]),
        detector=detectors,
        unrecognised=st.booleans(),
        scope=st.sampled_from(scopes),
        campaigns=st.sampled_from([("*",), ("a*",)]),
        apps=st.sampled_from([("*",), ("app",)]),
        for_=SECONDS,
        keep_firing_for=SECONDS,
        no_data_after=st.sampled_from([0.5, 3.0, 40.0]),
        repeat_interval=st.sampled_from([0.7, 5.0, 100.0]),
        reopen_within=st.sampled_from([0.0, 2.0, 50.0]),
    )
    return st.lists(rule, min_size=least, max_size=3, unique_by=lambda rule: rule.name)


RULES = rules_of(DETECTORS, ["campaign", "treatment", "channel"], least=1)
RULES_THAT_FOLD_HITS = rules_of(
    st.builds(
        Spike,
        sensitivity=st.sampled_from([0.4, 1.0]),
        patience=st.sampled_from([0.0, 1.0, 5.0]),
    ),
    ["campaign"],
    least=0,
)
"""Of campaigns as a whole: their hits may be folded before windows have the counts."""
WINDOWS = st.builds(
    WindowPolicy,
    size=st.integers(1, 7),
    grace=st.integers(0, 5),
    retention=st.sampled_from([12, 15, 60]),
)


@st.composite
def settings(draw: st.DrawFn, *, rules: st.SearchStrategy[list[Rule]] = RULES) -> BacktestSettings:
    windows = draw(WINDOWS)
    partition = replace(
        PARTITION_SETTINGS,
        windows=windows,
        rules=tuple(draw(rules)),
        idle_timeout=draw(st.sampled_from([0.4, 2.0, 20.0])),
    )
    skew = draw(st.sampled_from([0, 3_000]))
    ingest = IngestSettings(pinpoint.FORMAT, windows, max_future_skew_ms=skew)
    return BacktestSettings(partition, ingest, draw(st.sampled_from([0.1, 0.25, 1.0])))


def busy(seed: int) -> tuple[BacktestSettings, list[CountedLine]]:
    """A world with many lines a window: rules about some campaigns, several apps, incidents."""
    chance = random.Random(seed)  # noqa: S311 - the same world in each run
    choice = chance.choice
    rules = tuple(
        Rule(
            name,
            choice([frozenset({"FAILURE"}), frozenset({"FAILURE", "THROTTLED"})]),
            Spike(sensitivity=choice([0.4, 1.0]), patience=choice([0.0, 1.0, 5.0])),
            unrecognised=choice([True, False]),
            campaigns=choice([("*",), ("b*",), ("c1", "c3", "b2")]),
            apps=choice([("*",), ("*",), ("app",)]),
            for_=choice([0.0, 0.0, 1.0]),
            keep_firing_for=choice([0.0, 1.0, 4.0, 30.0]),
            no_data_after=choice([0.5, 2.0, 5.0, 40.0]),
            repeat_interval=choice([0.7, 5.0, 100.0]),
            reopen_within=choice([0.0, 2.0, 50.0]),
        )
        for name in ("one", "two", "three")[: choice([1, 1, 2, 3])]
    )
    windows = WindowPolicy(choice([2, 5, 10]), choice([0, 0, 3, 5]), choice([60, 600]))
    limits = replace(PARTITION_SETTINGS.limits, campaigns=choice([1_000, 1_000, 24]), names=100)
    partition = replace(
        PARTITION_SETTINGS,
        windows=windows,
        rules=rules,
        idle_timeout=choice([0.4, 2.0, 20.0]),
        limits=limits,
    )
    ingest = IngestSettings(pinpoint.FORMAT, windows, max_future_skew_ms=choice([0, 3_000]))
    settings = BacktestSettings(partition, ingest, choice([0.1, 0.25, 1.0]))
    return settings, list(_busy_lines(chance))


def _busy_lines(chance: random.Random) -> Iterator[CountedLine]:
    choice, at = chance.choice, START
    campaigns = ["c1", "c2", "c3", "b1", "b2", "a"]
    chance.shuffle(campaigns)
    rates = dict.fromkeys(campaigns, 0.02)
    for _ in range(choice([200, 500])):
        pause = chance.random() < 0.015
        at += choice([2_500, 9_000, 41_000] if pause else [0, 0, 0, 10, 40, 100, 100, 150, 400])
        if chance.random() < 0.02:
            rates[choice(campaigns)] = choice([0.02, 0.02, 0.6, 0.0])
        campaign, thousands = choice(campaigns), chance.random() < 0.01
        sent, factor = choice([1, 2, 5, 10, 20, 30]), choice([10**5, 2**28]) if thousands else 1
        failed = sum(chance.random() < rates[campaign] for _ in range(sent))
        status = choice(["FAILURE", "FAILURE", "FAILURE", "THROTTLED", "ODD"])
        counts: list[Counted] = [
            ("SUCCESS", None, None, None, factor * (sent - failed)),
            (status, choice([None, "t"]), None, "GCM", factor * failed),
        ]
        behind = choice([None, None, None, None, None, None, 20, 700, 900, 4_000])
        if chance.random() < 0.03:
            behind = choice([9_000, 50_000, -500, -2_500])
        event_time = None if behind is None else at - behind
        app = choice([None, "app", "app", "other"])
        yield CountedLine(at, campaign, counts, app, event_time)


STATUSES = st.sampled_from(["SUCCESS"] * 6 + ["FAILURE", "THROTTLED", "DAILY_CAP", "ODD"])
COUNTS = st.lists(
    st.tuples(
        STATUSES,
        st.sampled_from([None, "", "t"]),
        st.sampled_from([None, "EMAIL"]),
        st.sampled_from([None, "GCM"]),
        st.sampled_from([0, 1, 1, 2, 5, 30]),
    ),
    max_size=3,
)
WAITS = st.sampled_from([0, 0, 1, 10, 40, 100, 100, 150, 400, 1_000, 2_500, 9_000, 41_000])
BEHIND = st.one_of(
    st.none(), st.none(), st.sampled_from([0, 20, 700, 4_000, 9_000, 50_000, -500, -2_500, -9_000])
)


@st.composite
def lines(draw: st.DrawFn, *, most: int = 60) -> list[CountedLine]:
    at = START
    found = []
    for _ in range(draw(st.integers(1, most))):
        at += draw(WAITS)
        behind = draw(BEHIND)
        found.append(
            CountedLine(
                at,
                draw(st.sampled_from(["a1", "a2", "b"])),
                draw(COUNTS),
                draw(st.sampled_from([None, "app", "app", "other"])),
                None if behind is None else at - behind,
            )
        )
    return found
