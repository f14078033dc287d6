import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from streams.backtest import counted, line_commits
from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted import CountedArrivals, transitions_of
from streams.backtest.counted_lines import Counted, CountedLine, Lines
from streams.backtest.task import Decided
from streams.configuration.models import Configuration
from streams.domain.detectors import excursion_table
from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.formats import pinpoint
from streams.domain.partial_counts import PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule
from streams.domain.sources import IngestSettings
from streams.domain.windows import WindowPolicy
from streams.errors import UserError
from tests.backtest import worlds
from tests.backtest.naive import Naive, told
from tests.backtest.worlds import START
from tests.support.partitions import PARTITION_SETTINGS
from tests.support.workers import RULES

DEFAULTS = BacktestSettings.of(Configuration.model_validate({"rules": RULES}))


def decide(
    settings: BacktestSettings, lines: Sequence[CountedLine], until: int = 0, at_once: int = 7
) -> tuple[CountedArrivals, list[Decided]]:
    arrivals = CountedArrivals(settings)
    decided: list[Decided] = []
    for first in range(0, len(lines), at_once):
        decided += arrivals.add(Lines("file", first + 1, list(lines[first : first + at_once])))
    decided += arrivals.finish(until)
    return arrivals, decided


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds.settings(), worlds.lines(), st.sampled_from([0, 1_000, 70_000]))
def test_decides_what_a_worker_decides_that_commits_every_time(
    settings: BacktestSettings, lines: list[CountedLine], longer: int
) -> None:
    until = lines[-1].at + longer
    naive = Naive(settings)
    expected = naive.run(lines, until)
    arrivals, decided = decide(settings, lines, until)

    assert told(decided) == told(expected)
    assert arrivals.seen.rejected.total() == naive.rejected


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    worlds.settings(rules=worlds.RULES_THAT_FOLD_HITS),
    worlds.lines(most=120),
    st.sampled_from([0, 1_000, 70_000]),
    st.sampled_from([1, 7, 1_000]),
)
def test_hits_that_are_folded_before_windows_have_them_decide_the_same(
    settings: BacktestSettings, lines: list[CountedLine], longer: int, at_once: int
) -> None:
    until = lines[-1].at + longer
    naive = Naive(settings)
    expected = naive.run(lines, until)
    arrivals, decided = decide(settings, lines, until, at_once)

    assert told(decided) == told(expected)
    assert arrivals.seen.rejected.total() == naive.rejected


def line(at: int, failed: int, sent: int = 10, campaign: str = "c") -> CountedLine:
    counts: list[Counted] = [
        ("SUCCESS", None, None, "GCM", sent - failed),
        ("FAILURE", None, None, "GCM", failed),
    ]
    return CountedLine(START + at, campaign, counts, "app")


def incident(campaign: str = "c") -> list[CountedLine]:
    return [
        line(second * 1000, 5 if 120 <= second < 180 else 0, campaign=campaign)
        for second in range(600)
    ]


@pytest.mark.parametrize("many", [1, 16])
@pytest.mark.parametrize("seed", range(24))
def test_many_lines_a_window_decide_what_a_worker_decides(
    seed: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excursion_table, "MANY", many)
    settings, lines = worlds.busy(seed)
    until = lines[-1].at + 30_000
    expected = told(Naive(settings).run(lines, until))
    for at_once in (7, 1_000):
        assert told(decide(settings, lines, until, at_once)[1]) == expected


def test_campaigns_of_no_rule_do_not_move_the_end_of_others() -> None:
    """The alert expires as long after the last line of its campaign as it is to."""
    settings = _about_z(no_data_after=5.0)
    lines = [
        line(at, failed, sent, campaign=campaign)
        for at in range(0, 190_000, 200)
        for campaign, failed, sent, is_sent in (
            ("a", 1, 20, at % 1_000 == 0),
            ("z", 6 * (at >= 130_000), 10, at <= 167_800),
        )
        if is_sent
    ]
    expected = told(Naive(settings).run(lines, lines[-1].at))
    assert told(decide(settings, lines, at_once=1_000)[1]) == expected
    assert len(expected) == 2


def test_a_burst_is_measured_against_its_own_campaign() -> None:
    """Not against one that no rule is about, of which much more was sent since."""
    settings = _about_z()
    usual = [line(60_000 * minute + 20_000, 0, campaign="z") for minute in range(12)]
    lines = [
        line(0, 0, campaign="a"),
        *usual,
        line(720_500, 0, campaign="k"),
        line(722_000, 5, 50_000, campaign="a"),
        line(730_000, 40, 40, campaign="z"),
        line(735_000, 0, campaign="a"),
    ]
    expected = told(Naive(settings).run(lines, lines[-1].at))
    assert told(decide(settings, lines, at_once=1_000)[1]) == expected
    assert len(expected) == 1


def _about_z(**about: Any) -> BacktestSettings:
    rule = Rule("spike", frozenset({"FAILURE"}), Spike(), campaigns=("z",), **about)
    settings = BacktestSettings.of(Configuration())
    return replace(settings, partition=replace(settings.partition, rules=(rule,)), interval=0.25)


def test_what_is_late_is_so_by_lines_that_were_kept_as_well() -> None:
    """Without the third line, the fourth would not be late, and another baseline were learned."""
    windows = WindowPolicy(size=4, grace=5, retention=12)
    detector = Spike(sensitivity=1.0, patience=0.0)
    rule = Rule("spike", frozenset({"FAILURE"}), detector, scope="treatment")
    partition = replace(DEFAULTS.partition, windows=windows, rules=(rule,))
    ingest = replace(DEFAULTS.ingest, windows=windows)
    partition = replace(partition, idle_timeout=0.4)
    settings = replace(DEFAULTS, partition=partition, ingest=ingest, interval=0.1)
    late = replaced(line(45_200, 0, 1), event_time=START + 36_200)
    broken = CountedLine(START + 45_200, "c", [("FAILURE", "t", None, None, 30)], "app")
    lines = [line(3_100, 0, 30), line(44_100, 0, 5), line(45_100, 0, 1), late, broken]
    _, decided = decide(settings, lines, lines[-1].at)
    assert told(decided) == told(Naive(settings).run(lines, lines[-1].at))
    assert len(decided) == 1


def test_an_incident_fires_and_resolves_at_the_time_of_its_arrivals() -> None:
    _, decided = decide(DEFAULTS, incident())
    assert [(each.at - START, each.transition.type) for each in decided] == [
        (121_000, "campaign.alert.firing"),
        (361_000, "campaign.alert.resolved"),
    ]
    assert decided[0].transition.data.evidence.hits == 10


def test_ids_are_the_same_in_each_run_and_of_each_alert_its_own() -> None:
    lines = [each for pair in zip(incident("c"), incident("d"), strict=True) for each in pair]
    first, second = (decide(DEFAULTS, lines)[1] for _ in range(2))
    ids = [each.transition.data.alert_id for each in first]
    assert ids == [each.transition.data.alert_id for each in second]
    assert len(set(ids)) == 2
    assert ids[:2] == ids[2:]


def test_leaves_out_commits_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = [line(100 * n, 0) for n in range(3_000)]
    arrivals = CountedArrivals(DEFAULTS)
    list(arrivals.add(Lines("file", 1, healthy[:1])))
    task = arrivals.task
    commits: list[int] = []
    commit = task.commit

    def noted(at: int, counts: PartialCounts | None = None) -> Iterator[Decided]:
        commits.append(at)
        return commit(at, counts)

    monkeypatch.setattr(task, "commit", noted)
    decided = list(arrivals.add(Lines("file", 2, healthy[1:])))
    assert decided == []
    assert 5 <= len(commits) < 100


def test_with_spike_hits_are_folded_and_their_counts_kept() -> None:
    """Of three campaigns, all have hits now and then, and one has an incident."""
    rng = random.Random(5)  # noqa: S311 - the same lines in each run
    settings = replace(BacktestSettings.of(Configuration()), interval=0.5)
    lines = [
        line(
            at,
            rng.choices([0, 1, 2, 9], [5, 2, 1, 9] if fails else [95, 4, 1, 0])[0],
            campaign=campaign,
        )
        for at in range(0, 900_000, 400)
        for campaign in rng.sample(["a", "b", "c"], rng.randrange(3))
        for fails in [campaign == "a" and 500_000 <= at < 620_000]
    ]
    applied = Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("add_series", "add_hits", "apply", "apply_kept", "advance"):
            patch.setattr(CampaignPartition, name, _counting(name, applied))
        _, decided = decide(settings, lines, at_once=100)
    assert told(decided) == told(Naive(settings).run(lines, lines[-1].at))
    assert {each.transition.data.campaign_id for each in decided} == {"a"}
    assert applied["add_series"] > 20
    assert 0 < applied["add_hits"] < 100
    assert applied["apply_kept"] < 50
    assert applied["advance"] < 200 > applied["apply"]


def _counting(name: str, calls: Counter[str]) -> Callable[..., Any]:
    of_partition = getattr(CampaignPartition, name)

    def noted(partition: CampaignPartition, *args: Any) -> Any:
        calls[name] += 1
        return of_partition(partition, *args)

    return noted


class _AnyCounts(Count):
    """As a detector that is given all counts, record by record."""

    hits_only = False


def test_counts_of_each_commit_are_one_record_for_detectors_that_go_by_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = Rule("any", frozenset({"FAILURE"}), _AnyCounts(5))
    settings = replace(DEFAULTS, partition=replace(DEFAULTS.partition, rules=(rule,)))
    lines = [line(40 * n, n % 3 == 0, campaign=f"c{n % 4}") for n in range(500)]
    applied: list[tuple[int, int]] = []
    apply = CampaignPartition.apply

    def noted(partition: CampaignPartition, counts: PartialCounts, offset: int, now: float) -> None:
        applied.append((round(now * 1000), sum(each.events for each in counts.windows)))
        assert counts.received_at == round(now * 1000)
        apply(partition, counts, offset, now)

    monkeypatch.setattr(CampaignPartition, "apply", noted)
    list(transitions_of(lines, settings))
    step = round(settings.interval * 1000)
    expected = Counter[int]()
    for each in lines:
        expected[-(-each.at // step) * step] += 10
    assert applied == list(expected.items())


def test_lines_of_a_program_are_decided_as_those_of_a_file() -> None:
    lines = [each for pair in zip(incident("c"), incident("d"), strict=True) for each in pair]
    assert list(transitions_of(iter(lines), DEFAULTS)) == decide(DEFAULTS, lines)[1]
    disordered = [*lines, line(0, 0)]
    with pytest.raises(UserError, match=rf"^counts, line {len(disordered)}: at is {START}: "):
        list(transitions_of(disordered, DEFAULTS))


def test_a_day_of_silence_takes_few_commits() -> None:
    arrivals = CountedArrivals(DEFAULTS)
    decided = [
        *arrivals.add(Lines("file", 1, incident()[:150])),
        *arrivals.finish(START + 86_400_000),
    ]
    assert [each.transition.type for each in decided] == [
        "campaign.alert.firing",
        "campaign.alert.expired",
    ]
    # Nothing arrived after 149 s.
    assert decided[1].at - START == pytest.approx(149_000 + 900_000, abs=200)


def test_what_is_decided_before_a_line_out_of_order_is_told() -> None:
    arrivals, decided = CountedArrivals(DEFAULTS), list[Decided]()
    lines = [*incident()[:150], line(3_600_000, 0), line(0, 0)]
    with pytest.raises(UserError):
        decided.extend(arrivals.add(Lines("file", 1, lines)))
    kinds = [each.transition.type for each in decided]
    assert kinds == ["campaign.alert.firing", "campaign.alert.expired"]


def test_lines_out_of_order_are_refused_by_name() -> None:
    with pytest.raises(UserError) as caught:
        decide(DEFAULTS, [line(5, 0), line(4, 0)])
    assert str(caught.value) == (
        f"file, line 2: at is {START + 4}: expected lines in the order of at, and the one before "
        f"has {START + 5}"
    )


def test_what_a_worker_does_not_count_is_told() -> None:
    early, ahead = line(0, 0), line(1, 0)
    early.event_time = START - 500 * 86_400_000
    ahead.event_time = START + 400_000
    arrivals, _ = decide(DEFAULTS, [line(0, 0), early, ahead])
    assert arrivals.seen.rejected == {"expired": 10, "impossible-time": 10}
    assert arrivals.seen.rejected_at == {
        "expired": "file, line 2",
        "impossible-time": "file, line 3",
    }


def test_campaign_days_are_days_of_windows_with_counts() -> None:
    lines = [line(second * 1000, 0, campaign=name) for second in range(600) for name in "cde"]
    arrivals, _ = decide(DEFAULTS, lines)
    assert arrivals.campaign_days == pytest.approx(3 * 600 / 86_400)


def test_statuses_in_no_group_are_named() -> None:
    odd = CountedLine(START, "c", [("FAILUR", None, None, None, 3)])
    arrivals, _ = decide(DEFAULTS, [odd])
    assert arrivals.seen.unrecognised == {"FAILUR": 3}


def test_counts_of_nothing_do_not_exist() -> None:
    nothing = CountedLine(START + 5_000, "c", [("FAILURE", None, None, None, 0)])
    arrivals, decided = decide(DEFAULTS, [nothing], START + 10_000)
    assert decided == []
    assert arrivals.campaign_days == 0


def failures(at: int, count: int, *, of: int, event_time: int | None = None) -> CountedLine:
    found = line(at, count, of)
    found.event_time = None if event_time is None else START + event_time
    return found


@pytest.mark.parametrize(
    ("detector", "lines", "kinds"),
    [
        pytest.param(
            Count(4),
            [
                failures(0, 0, of=1),
                failures(11_000, 0, of=1),
                failures(14_000, 0, of=1),
                # Event time closes the first window, before its failures come.
                failures(15_500, 0, of=1),
                failures(15_600, 9, of=9, event_time=5_000),
            ],
            [],
            id="a window closes",
        ),
        pytest.param(
            Threshold(0.1, min_attempts=12),
            [
                failures(0, 0, of=1),
                failures(1_000, 7, of=7),
                # Now there are enough attempts, and none of them is a failure.
                failures(2_000, 0, of=6),
                failures(3_000, 0, of=1),
                failures(9_000, 1, of=1),
            ],
            [(2_000, "campaign.alert.firing")],
            id="a campaign waits for attempts",
        ),
        pytest.param(
            Threshold(0.1, min_attempts=5),
            [
                failures(0, 9, of=9),
                # That the rate is low again is told by sends that succeed.
                failures(11_000, 5, of=9),
                failures(12_000, 0, of=200),
                failures(13_000, 0, of=9),
                failures(16_000, 0, of=9),
            ],
            [(0, "campaign.alert.firing"), (16_000, "campaign.alert.resolved")],
            id="an alert is live",
        ),
        pytest.param(
            Threshold(0.1, min_attempts=12, lookback_windows=3),
            [
                line(11_000, 0, 1, campaign="a"),
                failures(12_000, 8, of=9, event_time=5_000),
                # A clock that is ahead: no window of it looks back on the failures.
                failures(16_000, 0, of=1, event_time=100_000),
                failures(17_000, 0, of=1, event_time=101_000),
                # This one does.
                failures(18_000, 0, of=3),
                line(19_000, 0, 1, campaign="a"),
            ],
            [(18_000, "campaign.alert.firing")],
            id="an older window looks back further",
        ),
    ],
)
def test_counts_without_hits_are_not_put_off_where_they_matter(
    detector: Detector, lines: list[CountedLine], kinds: list[tuple[int, str]]
) -> None:
    rule = Rule("failing", frozenset({"FAILURE"}), detector, keep_firing_for=3.9)
    windows = WindowPolicy(10, 5, 600)
    partition = replace(PARTITION_SETTINGS, windows=windows, rules=(rule,))
    settings = BacktestSettings(partition, IngestSettings(pinpoint.FORMAT, windows), 0.1)
    _, decided = decide(settings, lines)
    assert [(each.at - START, each.transition.type) for each in decided] == kinds
    assert told(decided) == told(Naive(settings).run(lines))


def test_lines_without_counts_do_not_show_that_a_source_is_there() -> None:
    """Event time goes on from when the last counts came, and closes the window at 3 s."""
    rules = (
        Rule("spike", frozenset({"FAILURE"}), Spike(sensitivity=1.0), repeat_interval=0.7),
        Rule("count", frozenset({"FAILURE"}), Count(0), no_data_after=0.5),
    )
    windows = WindowPolicy(3, 0, 12)
    partition = replace(PARTITION_SETTINGS, windows=windows, rules=rules, idle_timeout=0.4)
    settings = BacktestSettings(partition, IngestSettings(pinpoint.FORMAT, windows), 0.25)
    rejected = line(2_600, 0, campaign="a")
    rejected.event_time = START - 500 * 86_400_000
    for nothing in (CountedLine(START + 2_550, "a", []), rejected):
        lines = [
            line(400, 0, 1, campaign="a"),
            line(1_400, 0, 1, campaign="a"),
            line(2_400, 30, 30, campaign="b"),
            nothing,
            line(4_550, 0, 1, campaign="a"),
        ]
        _, decided = decide(settings, lines)
        reminded = [each for each in decided if each.transition.type == "campaign.alert.reminder"]
        assert {each.transition.data.rule for each in reminded} == {"spike"}
        assert reminded[0].transition.data.evidence.figures["slow_windows"] == 1
        assert told(decided) == told(Naive(settings).run(lines))


SPIKE = Rule("spike", frozenset({"FAILURE"}), Spike(sensitivity=0.4, patience=0.0))
SMALL = WindowPolicy(10, 5, 600)


def settings_of(
    *rules: Rule, interval: float = 0.25, campaigns: int = 1_000, names: int = 100
) -> BacktestSettings:
    limits = replace(PARTITION_SETTINGS.limits, campaigns=campaigns, names=names)
    partition = replace(PARTITION_SETTINGS, windows=SMALL, rules=rules, limits=limits)
    return BacktestSettings(partition, IngestSettings(pinpoint.FORMAT, SMALL), interval)


def traffic(seed: int, *, failing: str = "a", seconds: int = 90) -> list[CountedLine]:
    """Five campaigns, a line each a second, mostly in the same commits; one of them fails."""
    rng = random.Random(seed)  # noqa: S311 - the same lines in each run
    lines = []
    for second in range(seconds):
        for name in rng.sample("abcde", 5):
            at = 1_000 * second + rng.choice([0, 0, 100, 240, 300])
            fails = name == failing and 30 <= second < 70
            hits = rng.choices([0, 1, 9], [0, 1, 9] if fails else [90, 9, 1])[0]
            found = line(at, hits, rng.randrange(9, 20), campaign=name)
            found.event_time = found.at - rng.choice([0, 0, 0, 70, 900])
            lines.append(found)
    return sorted(lines, key=lambda each: each.at)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(settings_of(SPIKE), id="hits are folded"),
        pytest.param(
            settings_of(SPIKE, replace(SPIKE, name="slow", detector=Spike(), no_data_after=2.0)),
            id="by two rules",
        ),
        pytest.param(
            settings_of(SPIKE, Rule("count", frozenset({"FAILURE"}), Count(12), no_data_after=0.5)),
            id="another rule goes by windows",
        ),
        pytest.param(
            settings_of(SPIKE, replace(SPIKE, name="parts", scope="channel")),
            id="a rule is about parts of campaigns",
        ),
        pytest.param(settings_of(SPIKE, campaigns=9), id="there are few places for campaigns"),
        pytest.param(settings_of(SPIKE, campaigns=4), id="there are too few of them"),
        pytest.param(settings_of(SPIKE, names=1), id="there are few places for count keys"),
        pytest.param(settings_of(SPIKE, interval=5.0), id="a commit has many lines"),
        pytest.param(
            settings_of(replace(SPIKE, campaigns=("a", "b"))), id="a rule is about some campaigns"
        ),
    ],
)
def test_lines_in_stretches_of_any_length_decide_as_each_by_itself(
    settings: BacktestSettings, seed: int
) -> None:
    lines = traffic(seed)
    expected = told(Naive(settings).run(lines, lines[-1].at))
    assert expected or settings.partition.limits.campaigns == 4
    for at_once in (3, 64, 10_000):
        assert told(decide(settings, lines, lines[-1].at, at_once)[1]) == expected


@pytest.mark.parametrize(
    ("limit", "forgets"), [("MOST_COUNTS", "forget_counts"), ("MOST_NAMES", "forget_names")]
)
def test_what_is_learned_anew_changes_nothing(
    limit: str, forgets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, limit, 3)
    lines = traffic(3)
    settings = settings_of(SPIKE)
    forgotten: list[None] = []
    forget = getattr(line_commits.LineCommits, forgets)

    def noted(commits: line_commits.LineCommits) -> None:
        forgotten.append(None)
        forget(commits)

    monkeypatch.setattr(line_commits.LineCommits, forgets, noted)
    decided = decide(settings, lines, lines[-1].at, 40)[1]
    assert len(forgotten) > 5
    assert told(decided) == told(Naive(settings).run(lines, lines[-1].at))


def test_names_that_were_forgotten_still_have_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that comes when all places are taken is counted under no name of its own."""
    monkeypatch.setattr(counted, "MOST_NAMES", 8)
    settings = settings_of(SPIKE, campaigns=10)
    lines = [line(1_000 * n, 0, campaign=f"c{n % 12}") for n in range(24)]
    lines += [line(24_000 + 500 * n, 9, campaign="fresh") for n in range(60)]
    for at_once in (5, 13, 24, 25, 84):
        decided = decide(settings, lines, lines[-1].at, at_once)[1]
        assert told(decided) == told(Naive(settings).run(lines, lines[-1].at)) == []


def test_a_campaign_with_an_alert_is_known_as_such_when_its_name_was_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [f"c{n}" for n in range(20)]
    fails = [line(1_000 * n, 9 * (n > 20), 10 + n % 7, campaign="a") for n in range(40)]
    silent = [line(40_000 + 10 * n, 0, campaign=name) for n, name in enumerate(others)]
    ends = [line(40_500 + 500 * n, 0, campaign="a") for n in range(700)]
    lines, arrivals = [*fails, *silent, *ends], CountedArrivals(settings_of(SPIKE))
    decided: list[Decided] = []
    first = 1
    # The names are forgotten before the silent lines.
    blocks = ([*fails, silent[0]], [*silent[1:], ends[0]], ends[1:])
    for block, most in zip(blocks, (1_000, 0, 1_000), strict=True):
        monkeypatch.setattr(counted, "MOST_NAMES", most)
        decided += arrivals.add(Lines("file", first, block))
        first += len(block)
    decided += arrivals.finish(lines[-1].at)
    assert told(decided) == told(Naive(settings_of(SPIKE)).run(lines, lines[-1].at))
    assert [each.transition.type for each in decided] == [
        "campaign.alert.firing",
        "campaign.alert.resolved",
    ]


def test_more_lines_than_are_kept_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_commits, "MOST_KEPT", 7)
    lines = traffic(4)
    settings = settings_of(SPIKE)
    decided = decide(settings, lines, lines[-1].at, 40)[1]
    assert told(decided) == told(Naive(settings).run(lines, lines[-1].at))


def test_hits_are_folded_at_the_event_time_of_their_whole_commit() -> None:
    """Counts of a campaign with an alert come after hits of another one, and are newer."""
    settings = settings_of(replace(SPIKE, detector=Spike(sensitivity=0.4, patience=6.5)))
    lines = [line(second * 1_000, 0, campaign=name) for second in range(40) for name in "ab"]
    for second in range(40, 70):
        lines.append(line(second * 1_000, 9 if second > 50 else 0, campaign="b"))
        lines[-1].event_time = lines[-1].at - 900
        lines.append(line(second * 1_000, 9, campaign="a"))
    decided = decide(settings, lines, lines[-1].at, 1_000)[1]
    assert {each.transition.data.campaign_id for each in decided} == {"a", "b"}
    assert told(decided) == told(Naive(settings).run(lines, lines[-1].at))
