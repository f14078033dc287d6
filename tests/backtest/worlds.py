"""Small worlds for property tests: rules, windows, and lines of counts."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted_lines import CountedLine
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
