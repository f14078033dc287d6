"""Folding detectors: what they come to follows from the log alone, within bounds."""

import itertools
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain import changelog, table
from streams.domain.counts import OTHER
from streams.domain.detectors import excursion_table
from streams.domain.detectors.folding import (
    ClosedWindow,
    FoldingDetector,
    Increment,
    Integers,
    Turn,
)
from streams.domain.detectors.spike import Spike
from streams.domain.events import LONGEST_NAMES
from streams.domain.folded_scopes import SCOPES_PER_RECORD, FoldGroup, FoldGroupKey
from streams.domain.folds import FORGET_EVERY, FoldsKey
from streams.domain.limits import Limits
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, RECORD_BYTES, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.rule_folds import RuleFold
from streams.domain.rules import Rule, Scope
from streams.domain.scope_sums import key_of
from streams.domain.transitions import Transition
from streams.domain.windows import WindowPolicy
from streams.errors import FormatError
from tests.support.changelogs import restored
from tests.support.detectors import Cusum, Doubled, Sum, Sums
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

RULE = Rule("cusum", frozenset({"FAILURE"}), Cusum(), keep_firing_for=20.0, no_data_after=1e9)
BY_TREATMENT = replace(RULE, name="parts", scope="treatment")
Sends = dict[str, dict[str, int]]
FOLDS = next(key for key, _ in changelog.encode([(FoldsKey(), None)]))


def settings_of(*rules: Rule, **changes: Any) -> PartitionSettings:
    ids = itertools.count(1)
    return replace(
        PARTITION_SETTINGS,
        windows=WindowPolicy(60, 30, 3_600),
        rules=rules or (RULE,),
        new_id=lambda: f"alert-{next(ids)}",
        **changes,
    )


def record(
    at: float,
    sends: Sends,
    treatment: str | None = None,
    app: str = "app",
    behind: Iterable[int] = (0,),
) -> PartialCounts:
    """Sends at a time (s) that is also that of their arrival, in the windows so far (s) behind."""
    starts = {int(at - each) - int(at - each) % 60 for each in behind}
    campaigns = {name: counts(of, treatment) for name, of in sends.items()}
    windows = [window_counts(start, campaigns, app) for start in sorted(starts)]
    return PartialCounts(PARTIAL_COUNTS_VERSION, {0: int(at * 1000)}, int(at * 1000), windows)


def fold_of(partition: CampaignPartition, rule: Rule = RULE) -> RuleFold:
    fold = partition.folds.of(rule)
    assert fold is not None
    return fold


def state_of(partition: CampaignPartition, scope: Scope, rule: Rule = RULE) -> Sum | None:
    scopes = fold_of(partition, rule).scopes
    place = scopes.place_of(key_of(rule, scope))
    states = scopes.states
    assert isinstance(states, Sums)
    return states[place] if place is not None else None


class Life:
    """A partition that is given records, and is written down and evaluated when it is told to."""

    def __init__(self, what: PartitionSettings) -> None:
        self.settings = what
        self.partition = CampaignPartition(0, what, [0], 0.0)
        self.log: list[PartialCounts] = []
        self.topic: dict[bytes, bytes | None] = {}
        self.now = 0.0

    def add(self, at: float, sends: Sends, treatment: str | None = None, app: str = "app") -> None:
        self.append(record(at, sends, treatment, app), at)

    def append(self, added: PartialCounts, at: float) -> None:
        self.now = at
        self.log.append(added)
        self.partition.apply(added, len(self.log) - 1, at)

    def commit(self) -> list[Transition]:
        decided = self.partition.advance(self.now, len(self.log))
        decided += self.partition.evaluate(self.now)
        self.topic.update(self.partition.take_changes(self.now))
        return decided

    def restart(self, what: PartitionSettings | None = None) -> None:
        self.partition = restored(what or self.settings, self.topic, self.log, self.now)

    def groups(self) -> dict[FoldGroupKey, FoldGroup]:
        """What the changelog topic has of folds."""
        known = {}
        for key, value in self.topic.items():
            if value is not None and key.startswith(b'["fold"'):
                decoded, group = changelog.decode(key, value)
                assert isinstance(decoded, FoldGroupKey)
                known[decoded] = group
        return known


# The same log, the same decisions

sends_of = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(
        st.fixed_dictionaries({"SUCCESS": st.integers(1, 40)}),
        st.fixed_dictionaries({"SUCCESS": st.integers(0, 9), "FAILURE": st.integers(1, 12)}),
    ),
    min_size=1,
)
logs = st.lists(
    st.tuples(st.sampled_from((0.1, 0.1, 2.0, 9.0, 31.0, 95.0)), sends_of), min_size=1, max_size=60
)


def decided_on(
    log: Iterable[tuple[float, Sends]], commits: Sequence[bool], restarts: Sequence[bool]
) -> list[object]:
    """The transitions of a log, with commits and restarts after some of its records."""
    life = Life(settings_of(RULE, BY_TREATMENT))
    decided: list[Transition] = []
    at = 600.0
    for (pause, sends), commit, restart in zip(log, commits, restarts, strict=True):
        at += pause
        life.add(at, sends)
        if commit or restart:
            decided += life.commit()
        if restart:
            life.restart()
    decided += life.commit()
    return sorted(shown(decided), key=repr)


def shown(decided: Iterable[Transition]) -> Iterable[object]:
    """Transitions in their order by rule and scope, without times, ids and statuses."""
    order: dict[tuple[str, str, str | None], int] = {}
    for each in decided:
        scope = each.data.rule, each.data.campaign_id, each.data.treatment_id
        order[scope] = order.get(scope, 0) + 1
        evidence = msgspec.structs.replace(each.data.evidence, counts={})
        yield scope, order[scope], each.type, evidence, each.data.window


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_same_log_leads_to_the_same_transitions_whenever_it_is_looked_at(
    data: st.DataObject,
) -> None:
    log = data.draw(logs)
    often = st.lists(st.booleans(), min_size=len(log), max_size=len(log))
    always, never = [True] * len(log), [False] * len(log)
    expected = decided_on(log, always, never)
    assert decided_on(log, never, never) == expected
    assert decided_on(log, data.draw(often), data.draw(often)) == expected


def test_a_breach_that_began_and_ended_between_two_evaluations_is_told() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"FAILURE": 20}})
    life.add(601, {"a": {"SUCCESS": 400}})
    life.add(622, {"a": {"SUCCESS": 1}})
    life.add(630, {"a": {"FAILURE": 20}})
    told = [each.type.split(".")[-1] for each in life.commit()]
    assert told == ["firing", "resolved", "firing"]
    assert len(life.partition.alerts.live()) == 1


def test_a_breach_is_told_once_though_its_alert_expired() -> None:
    life = Life(settings_of(replace(RULE, no_data_after=30.0)))
    life.add(600, {"a": {"FAILURE": 20}})
    assert [each.type for each in life.commit()] == ["campaign.alert.firing"]
    life.now = 640.0
    assert [each.type for each in life.commit()] == ["campaign.alert.expired"]
    life.add(641, {"a": {"FAILURE": 5}})
    assert life.commit() == []
    life.restart()
    life.add(642, {"a": {"FAILURE": 5}})
    assert life.commit() == []


def test_a_breach_in_a_campaign_whose_app_becomes_known_later_is_told_then() -> None:
    life = Life(settings_of(replace(RULE, apps=("app",))))
    nameless = record(600, {"a": {"FAILURE": 20}})
    nameless.windows[0].apps[0] = None
    life.partition.apply(nameless, 0, 600.0)
    life.log.append(nameless)
    assert life.commit() == []
    life.restart()
    life.add(601, {"a": {"SUCCESS": 1}})
    assert [each.type for each in life.commit()] == ["campaign.alert.firing"]


# Learning


def test_a_window_is_learned_when_the_event_time_of_the_log_closes_it() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"SUCCESS": 90, "FAILURE": 1}, "b": {"SUCCESS": 5}})
    life.add(640, {"a": {"SUCCESS": 9}})
    life.add(689.9, {"c": {"SUCCESS": 1}})
    assert usual_of(life, "a") == (0, 0)
    life.add(690, {"c": {"SUCCESS": 1}})
    assert usual_of(life, "a") == (100, 1)
    life.commit()
    for name, attempts, hits in (("a", 100, 1), ("b", 5, 0)):
        state = state_of(life.partition, Scope(name))
        assert state is not None
        assert (state.usual_attempts, state.usual_hits) == (attempts, hits)
    assert state_of(life.partition, Scope("c")) is None


def test_a_campaign_that_a_record_names_twice_has_the_counts_of_both() -> None:
    life = Life(settings_of(RULE, BY_TREATMENT))
    first, second = (record(600, {"a": sends}) for sends in ({"SUCCESS": 3}, {"FAILURE": 2}))
    both = first.windows[0], second.windows[0]
    twice = msgspec.structs.replace(
        both[0],
        campaigns=["a", "a"],
        at_app=[0, 0],
        columns=[
            *both[0].columns,
            *(msgspec.structs.replace(each, at=[1]) for each in both[1].columns),
        ],
    )
    life.partition.apply(msgspec.structs.replace(first, windows=[twice]), 0, 600.0)
    for rule in (RULE, BY_TREATMENT):
        state = state_of(life.partition, Scope("a"), rule)
        assert state is not None
        assert (state.attempts, state.hits) == (5, 2)


def test_late_counts_are_neither_added_nor_learned() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"SUCCESS": 50}})
    life.add(700, {"b": {"SUCCESS": 1}})
    late = msgspec.structs.replace(record(600, {"a": {"FAILURE": 90}}), event_times={0: 700_000})
    life.partition.apply(late, 2, 700.0)
    life.log.append(late)
    life.now = 701.0
    assert life.commit() == []
    state = state_of(life.partition, Scope("a"))
    assert state is not None
    assert (state.usual_attempts, state.hits) == (50, 0)


def test_a_newcomer_starts_from_what_its_app_has_learned_or_else_all_apps() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"SUCCESS": 5, "FAILURE": 5}})
    life.add(601, {"b": {"FAILURE": 4}}, app="other")
    life.add(700, {"c": {"FAILURE": 1}})
    life.add(700, {"d": {"FAILURE": 1}}, app="other")
    assert [usual_of(life, name) for name in "cd"] == [(0, 0), (0, 0)]
    life.add(755, {"x": {"SUCCESS": 1}})
    life.add(760, {"e": {"FAILURE": 1}})
    life.add(760, {"f": {"FAILURE": 1}}, app="other")
    life.add(760, {"g": {"FAILURE": 1}}, app="new")
    expected = [(10, 5), (4, 4), (10, 10 * 9 / 14)]
    assert [usual_of(life, name) for name in "efg"] == expected
    life.commit()
    life.restart()
    assert [usual_of(life, name) for name in "efg"] == expected
    life.add(761, {"h": {"FAILURE": 1}})
    assert usual_of(life, "h") == (10, 5)


def usual_of(life: Life, name: str) -> tuple[float, float] | None:
    state = state_of(life.partition, Scope(name))
    return (state.usual_attempts, state.usual_hits) if state is not None else None


class PoisonedSums(Sums):
    """One number of hits, or of attempts in a window, is too much."""

    def add(self, place: int, new: Increment, hold: float) -> tuple[Turn, ...]:
        if new.hits == 13:
            raise OverflowError("13 hits")
        return super().add(place, new, hold)

    def learn(self, window: ClosedWindow) -> Integers:
        if 77 in window.attempts:
            raise OverflowError("77 attempts")
        return super().learn(window)


class Poisoned(Cusum):
    """A detector whose states fail."""

    def new_states(self) -> PoisonedSums:
        return PoisonedSums(self.limit)


def test_a_scope_that_cannot_be_folded_begins_anew_and_stops_no_other_one() -> None:
    life = Life(settings_of(replace(RULE, detector=Poisoned())))
    life.add(600, {"a": {"FAILURE": 20}, "b": {"FAILURE": 20}, "c": {"FAILURE": 1}})
    assert sorted(each.data.campaign_id for each in life.commit()) == ["a", "b"]
    life.add(601, {"a": {"FAILURE": 13}, "b": {"FAILURE": 1}, "c": {"FAILURE": 76}})
    told = sorted((each.data.campaign_id, each.type.split(".")[-1]) for each in life.commit())
    assert told == [("a", "resolved"), ("c", "firing")]
    assert [(name, str(error)) for name, error in life.partition.take_failures()] == [
        ("a", "13 hits")
    ]
    life.add(700, {"d": {"SUCCESS": 1}})
    assert [each.data.campaign_id for each in life.commit()] == ["c"]
    assert [str(error) for _, error in life.partition.take_failures()] == ["77 attempts"]
    before = [state_of(life.partition, Scope(name)) for name in "abc"]
    life.restart()
    assert [state_of(life.partition, Scope(name)) for name in "abc"] == before
    assert life.partition.take_failures() == []


# Bounds

MANY = 5_000


@pytest.mark.parametrize("detector", [Cusum(), Spike()])
def test_a_scope_takes_so_many_bytes(
    detector: FoldingDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is kept worked out is bounded whatever the number of scopes.
    monkeypatch.setattr(excursion_table, "MOST_JUDGES", 16)
    rule = replace(RULE, detector=detector)
    life = Life(settings_of(rule))
    names = {f"{number:032x}": {"SUCCESS": 40, "FAILURE": 1} for number in range(MANY)}
    life.add(0, {name: {"SUCCESS": 1} for name in names})
    life.commit()
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        for window in range(1, 8):
            life.add(60 * window, names)
            life.commit()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    files = "*fold*", "scope_sums", "pools", "detectors/spike_*", "detectors/excursion*"
    folds = [tracemalloc.Filter(True, f"*/streams/domain/{name}.py") for name in files]
    grown = after.filter_traces(folds).compare_to(before.filter_traces(folds), "filename")
    assert len(fold_of(life.partition, rule).scopes) == MANY
    assert sum(each.size_diff for each in grown) / MANY < 300
    written = sum(len(value or b"") for key, value in life.topic.items() if b'"fold"' in key)
    assert written / MANY < 200


def test_scopes_are_written_in_groups_and_records_are_not_too_long() -> None:
    life = Life(settings_of())
    longest_name = "\N{GRINNING FACE}" * (LONGEST_NAMES - 2)
    long = {longest_name + f"{number:02}": {"FAILURE": 1} for number in range(40)}
    life.add(600, {f"c{number}": {"FAILURE": 1} for number in range(100)})
    life.add(601, long)
    life.add(750, {"c1": {"SUCCESS": 1}})
    life.commit()
    life.now = 760.0
    life.commit()
    sizes = [len(group.keys) for group in life.groups().values()]
    assert sum(sizes) == 140
    assert max(sizes) == SCOPES_PER_RECORD
    longest = max(len(value or b"") for value in life.topic.values())
    assert longest < RECORD_BYTES


def test_a_scope_without_attempts_for_too_long_is_forgotten() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"FAILURE": 5, "SUCCESS": 50}})
    for at in range(700, 700 + 2 * FORGET_EVERY, 1_000):
        life.add(at, {"b": {"SUCCESS": 1}})
        life.commit()
    assert state_of(life.partition, Scope("a")) is None
    assert state_of(life.partition, Scope("b")) is not None
    life.restart()
    assert len(fold_of(life.partition).scopes) == 1


def test_past_the_bound_the_scopes_without_attempts_for_longest_are_forgotten() -> None:
    what = settings_of(limits=Limits(campaigns=10))
    life = Life(replace(what, windows=WindowPolicy(60, 30, 60)))
    for number in range(60):
        life.add(600 + 100 * number, {f"c{number}": {"SUCCESS": 1}})
        life.commit()
    fold = fold_of(life.partition)
    assert 18 <= len(fold.scopes) <= 21
    assert fold.get(Scope("c58")) is not None
    assert fold.get(Scope("c30")) is None


def test_parts_past_the_bound_are_one() -> None:
    life = Life(settings_of(BY_TREATMENT, limits=Limits(values=2)))
    for number in range(10):
        life.add(600 + number, {"a": {"FAILURE": 1}}, treatment=str(number))
    fold = fold_of(life.partition, BY_TREATMENT)
    assert len(fold.scopes) == 3
    rest = state_of(life.partition, Scope("a", OTHER), BY_TREATMENT)
    assert rest is not None
    assert rest.hits == 8


# Written down


class Step(NamedTuple):
    """A record, its commits, and maybe a restart.

    Attributes:
        pause: seconds since the one before.
        behind: how far (s) the windows of its counts are behind its event time.
        sends: in each of these windows.
        waits: seconds until it is committed, if it is.
        restarts: whether the partition is restored then.
    """

    pause: float
    behind: tuple[int, ...]
    sends: Sends
    waits: float | None
    restarts: bool


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from((0.1, 1.0, 9.0, 31.0, 95.0)),
        st.sampled_from(((0,), (0, 60), (60,), (150,), (0, 400), (60, 200))),
        sends_of,
        st.sampled_from((None, 0.0, 2.5, 200.0)),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def folded_by(log: Sequence[Step], *, restarts: bool) -> tuple[dict[FoldGroupKey, FoldGroup], int]:
    """The states at the end of a log, and how often states were written before."""
    short = WindowPolicy(60, 30, 180)
    life = Life(replace(settings_of(RULE, BY_TREATMENT), windows=short))
    at, written = 600.0, 0
    for step in log:
        at += step.pause
        life.append(record(at, step.sends, behind=step.behind), at)
        if step.waits is not None:
            at += step.waits
            life.now = at
            before = life.topic.get(FOLDS)
            life.commit()
            written += life.topic.get(FOLDS) != before
            if restarts and step.restarts:
                life.restart()
    life.partition.prepare_handover()
    life.commit()
    return life.groups(), written


@settings(max_examples=150, deadline=None)
@given(steps)
def test_states_are_the_same_after_restarts_though_events_come_late(log: list[Step]) -> None:
    assert folded_by(log, restarts=True)[0] == folded_by(log, restarts=False)[0]


def test_an_open_window_that_was_written_is_learned_though_it_closes_without_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The checkpoint names windows with counts that are still to be written: this one has none."""
    monkeypatch.setattr(table, "MOST_REPLAYED", 4)

    def states(*, restarts: bool) -> dict[FoldGroupKey, FoldGroup]:
        life = Life(settings_of())
        for at in range(600, 612):
            life.add(at, {"a": {"SUCCESS": 9, "FAILURE": 1}})
        for life.now in (611.0, 900.0, 1000.0, 1003.0):
            life.commit()
        assert life.partition.table.open_starts() == []
        if restarts:
            life.restart()
        life.add(1200, {"b": {"SUCCESS": 5}})
        life.commit()
        life.partition.prepare_handover()
        life.commit()
        return life.groups()

    assert states(restarts=True) == states(restarts=False)


def test_a_window_that_closes_without_a_record_is_learned_once() -> None:
    """As nothing comes, event time goes on by itself; then a record comes, and a crash."""

    def states(*, restarts: bool) -> dict[FoldGroupKey, FoldGroup]:
        life = Life(settings_of())
        life.add(600, {"a": {"SUCCESS": 90, "FAILURE": 1}})
        life.add(700, {"a": {"SUCCESS": 50, "FAILURE": 1}})
        for life.now in (700.0, 703.0, 900.0, 1000.0, 1100.0, 1103.0):
            life.commit()
        life.add(1200, {"b": {"SUCCESS": 5}})
        life.commit()
        if restarts:
            life.restart()
        life.add(1300, {"b": {"SUCCESS": 5}})
        life.commit()
        life.partition.prepare_handover()
        life.commit()
        return life.groups()

    assert states(restarts=True) == states(restarts=False)


def test_late_counts_of_windows_that_were_learned_let_no_states_be_written() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"FAILURE": 3}})
    life.add(700, {"b": {"FAILURE": 1}})
    life.commit()
    life.now = 703.0
    life.commit()
    states, through = life.groups(), life.topic[FOLDS]
    for at in (705.0, 715.0):
        life.append(record(at, {"b": {"FAILURE": 1}}, behind=(60,)), at)
        life.now = at + 3.0
        life.commit()
    assert life.groups() == states
    assert life.topic[FOLDS] != through  # It says that there is more to replay.
    life.append(record(765.0, {"b": {"FAILURE": 1}}, behind=(120,)), 765.0)
    life.now = 768.0
    life.commit()
    assert life.groups() != states  # They are a minute old.


def test_nothing_is_written_for_rules_that_do_not_fold() -> None:
    life = Life(settings_of(*PARTITION_SETTINGS.rules))
    life.add(600, {"a": {"FAILURE": 20}})
    life.commit()
    assert not [key for key in life.topic if key.startswith(b'["fold')]


def test_states_are_written_when_windows_are() -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"FAILURE": 3}})
    life.commit()
    life.add(601, {"a": {"FAILURE": 3}})
    life.commit()
    assert life.groups() == {}
    life.add(700, {"b": {"SUCCESS": 1}})
    life.commit()
    life.now = 703.0
    life.commit()
    (group,) = life.groups().values()
    assert group.keys == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        replace(RULE, detector=Doubled()),
        replace(RULE, name="other"),
        replace(RULE, scope="treatment"),
    ],
)
def test_states_of_no_rule_or_of_another_kind_or_scope_are_removed(other: Rule) -> None:
    life = Life(settings_of())
    life.add(600, {"a": {"FAILURE": 3}})
    life.add(700, {"b": {"SUCCESS": 1}})
    life.partition.prepare_handover()
    life.commit()
    assert len(life.groups()) == 1
    life.restart(settings_of(other))
    life.partition.prepare_handover()
    life.commit()
    assert FoldGroupKey("cusum", 0) not in life.groups()
    still_folds = isinstance(other.detector, Cusum)
    assert (life.topic[changelog.key_of(FoldsKey())] is not None) == still_folds


def test_a_state_that_cannot_be_read_says_whose_it_is() -> None:
    fold = RuleFold(RULE, PARTITION_SETTINGS.groups, 10)
    value = msgspec.msgpack.encode(["cusum", "campaign", ["c"], [0], [60], {}, b"\x93"])
    key, group = changelog.decode(changelog.key_of(FoldGroupKey("cusum", 0)), value)
    assert isinstance(key, FoldGroupKey)
    with pytest.raises(FormatError, match=r"rule cusum, campaigns 'c' .*start the version that"):
        fold.restore(key, group)
