"""Every closed window and every correction has one result, through any number of lives."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from streams.domain import buckets, emission
from streams.domain import table as under_test
from streams.domain.counts import OTHER
from streams.domain.emission import Emission, WindowResult
from streams.domain.limits import DEFAULT_LIMITS, Limits
from streams.domain.partial_counts import (
    PARTIAL_COUNTS_VERSION,
    Dimensions,
    PartialCounts,
    WindowCounts,
)
from streams.domain.partition import CampaignPartition
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, window_counts

POLICY = WindowPolicy(size=10, grace=5, retention=60)
SUCCESS, FAILURE = (Dimensions(outcome, "0", "SMS", "SMS") for outcome in ("SUCCESS", "FAILURE"))
OPENED = Dimensions("opened_notification", None, None, None, engagement=True)


def counts(start: int, sends: int, *campaigns: str) -> WindowCounts:
    return window_counts(start, {name: {SUCCESS: sends} for name in campaigns})


class Owners:
    """A partition that owners read back from its changelog and its log, one after the other."""

    def __init__(
        self, policy: WindowPolicy = POLICY, limits: Limits = DEFAULT_LIMITS, *, emits: bool = True
    ) -> None:
        self.settings = replace(
            PARTITION_SETTINGS, windows=policy, limits=limits, rules=(), emits_windows=emits
        )
        self.changelog: dict[bytes, bytes] = {}
        self.log: list[PartialCounts] = []
        self.committed = 0
        self.results: list[WindowResult] = []
        """What is in the topic."""
        self.now = 0.0
        self.read = 0
        self.time = 0
        self.partition = self._open()

    def _open(self) -> CampaignPartition:
        return restored(self.settings, self.changelog, self.log[: self.committed], self.now)

    def add(self, *windows: WindowCounts, time: int = 0) -> None:
        """Count, and let event time be `time` (ms)."""
        self.time = max(self.time, time)
        self.log.append(PartialCounts(PARTIAL_COUNTS_VERSION, {0: self.time}, 0, list(windows)))
        self._read()

    def _read(self) -> None:
        while self.read < len(self.log):
            self.partition.apply(self.log[self.read], self.read, self.now)
            self.read += 1

    def commit(self, *, after: float = 0.0) -> list[WindowResult]:
        """Commit; return what was emitted."""
        self.now += after
        self.partition.advance(self.now, self.read)
        for key, value in self.partition.take_changes(self.now):
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value
        emitted = self.partition.take_results()
        self.results += emitted
        self.committed = self.read
        return emitted

    def lose(self, **settings: object) -> None:
        """Lose what is not committed; the next owner reads on from there."""
        self.settings = replace(self.settings, **settings)  # type: ignore[arg-type]
        self.read = self.committed
        self.partition = self._open()
        self._read()

    def finish(self) -> None:
        """Commit until nothing is left to emit."""
        for _ in range(100):
            if (
                not self.commit(after=under_test.UNQUIET_S + 1)
                and not self.partition.table._to_emit
            ):
                return
        raise AssertionError("it does not end")


def shown(results: list[WindowResult]) -> list[tuple[int, str, int, int]]:
    return sorted(
        (each.start, each.campaign_id, each.revision, sum(each.cell.sends.values()))
        for each in results
    )


def test_an_open_window_has_no_result() -> None:
    owners = Owners()
    owners.add(counts(0, 2, "a"), time=14_999)
    assert owners.commit(after=50.0) == []


def test_a_window_that_closes_has_one_result_a_campaign() -> None:
    owners = Owners()
    owners.add(counts(0, 2, "a", "b"), counts(10, 9, "a"), time=14_999)
    owners.commit(after=5.0)
    owners.add(time=15_000)
    assert shown(owners.commit()) == [(0, "a", 1, 2), (0, "b", 1, 2)]
    assert owners.commit(after=50.0) == []


def test_a_result_has_all_counts() -> None:
    owners = Owners()
    cell = {SUCCESS: 3, FAILURE: 1, OPENED: 2}
    owners.add(window_counts(0, {"a": cell}, "my-app"), time=15_000)
    (result,) = owners.commit(after=5.0)
    assert result.cell.app_id == "my-app"
    assert (result.cell.sends, result.cell.engagement) == ({SUCCESS: 3, FAILURE: 1}, {OPENED: 2})
    assert result.cell.late_events == 0


def test_late_events_are_one_correction_once_they_are_quiet() -> None:
    owners = Owners()
    owners.add(counts(0, 2, "a", "b"), time=15_000)
    owners.commit(after=5.0)
    owners.add(counts(0, 1, "a"))
    assert owners.commit(after=1.0) == []
    owners.add(counts(0, 1, "a", "new"))
    assert owners.commit(after=1.0) == []
    emitted = owners.commit(after=under_test.QUIET_S)
    assert shown(emitted) == [(0, "a", 2, 4), (0, "new", 1, 1)]
    assert {each.campaign_id: each.cell.late_events for each in emitted} == {"a": 2, "new": 1}
    owners.add(counts(0, 1, "new"))
    assert shown(owners.commit(after=5.0)) == [(0, "new", 2, 2)]


def test_late_events_that_never_pause_do_not_delay_results_for_good() -> None:
    owners = Owners()
    owners.add(counts(0, 1, "a"), time=15_000)
    waited, emitted = 0.0, list[WindowResult]()
    while not emitted:
        owners.add(counts(0, 1, "a"))
        emitted = owners.commit(after=0.5)
        waited += 0.5
        assert waited <= under_test.UNQUIET_S + 1
    assert waited >= under_test.QUIET_S


@pytest.mark.parametrize("committed", [False, True])
def test_the_next_owner_emits_what_the_one_before_did_not(committed: bool) -> None:
    owners = Owners()
    owners.add(counts(0, 2, "a", "b"), time=14_000)
    owners.commit()
    owners.add(time=15_000)
    if committed:
        owners.commit(after=1.0)
        assert owners.results == [], "it is not quiet"
    owners.lose()
    assert shown(owners.commit(after=5.0)) == [(0, "a", 1, 2), (0, "b", 1, 2)]
    owners.lose()
    assert owners.commit(after=5.0) == []
    owners.add(counts(0, 1, "b"))
    owners.commit()
    owners.lose()
    assert shown(owners.commit(after=5.0)) == [(0, "b", 2, 3)]


@contextmanager
def few_at_once(monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(under_test, "Emission", lambda: Emission(most))
        yield


@pytest.mark.parametrize("lives", [False, True])
def test_very_many_campaigns_are_emitted_by_several_commits(
    monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    names = [f"c{n}" for n in range(500)]
    owners = Owners()
    owners.add(counts(0, 1, *names), time=15_000)
    commits = 0
    with few_at_once(monkeypatch, 200):
        while len(owners.results) < 500:
            assert 0 < len(owners.commit(after=5.0)) <= 200
            commits += 1
            if commits == 2:
                late = [each.campaign_id for each in owners.results][:3]
                left = sorted(set(names) - {each.campaign_id for each in owners.results})[:3]
                owners.add(counts(0, 1, *late, *left))
            if lives:
                owners.lose()
        owners.finish()
    assert commits >= 4
    revisions = Counter(each.campaign_id for each in owners.results)
    assert revisions == Counter(names) + Counter(late)
    last = {each.campaign_id: each for each in owners.results}
    assert {n for n in names if last[n].cell.late_events} == {*late, *left}


def test_counts_that_are_written_while_their_window_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "MOST_REPLAYED", 0)
    owners = Owners()
    owners.add(counts(0, 2, "a", "b"))
    owners.commit()
    owners.add(counts(0, 1, "b", "c"))
    owners.commit()
    assert owners.results == []
    owners.lose()
    owners.add(counts(0, 1, "c"), time=15_000)
    owners.commit()
    owners.lose()
    owners.finish()
    assert shown(owners.results) == [(0, "a", 1, 2), (0, "b", 1, 3), (0, "c", 1, 2)]


def test_a_window_does_not_expire_before_its_results_are_emitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"c{n}" for n in range(300)]
    owners = Owners()
    owners.add(counts(0, 2, *names))
    owners.commit()
    with few_at_once(monkeypatch, 200):
        owners.add(time=10_000_000)
        owners.commit()
        assert 0 < len(owners.results) < 300
        owners.lose()
        owners.finish()
    owners.commit()
    owners.commit()
    assert shown(owners.results) == sorted((0, name, 1, 2) for name in names)
    assert owners.partition.table.starts() == []
    assert [key for key in owners.changelog if b"bucket" in key] == []


def test_campaigns_that_are_too_many_have_a_result_together() -> None:
    limits = Limits(campaigns=2)
    owners = Owners(limits=limits)
    for name in "abcde":
        owners.add(window_counts(0, {name: {SUCCESS: 1}}, f"app-{name}"))
    owners.add(time=15_000)
    owners.finish()
    sums = Counter({each.campaign_id: sum(each.cell.sends.values()) for each in owners.results})
    assert sums[OTHER] == 3
    assert sums.total() == 5


def test_windows_of_another_size_are_emitted_again_in_that_size() -> None:
    owners = Owners()
    owners.add(counts(0, 1, "a"), counts(10, 2, "a"), time=25_000)
    owners.finish()
    owners.results.clear()
    owners.lose(windows=replace(POLICY, size=20))
    owners.finish()
    assert shown(owners.results) == [(0, "a", 1, 3)]


def test_a_window_that_opens_again_is_emitted_again_when_it_closes() -> None:
    owners = Owners()
    owners.add(counts(0, 1, "a", "b"), time=15_000)
    owners.finish()
    owners.lose(windows=replace(POLICY, grace=20))
    owners.add(counts(0, 1, "a"))
    owners.commit(after=20.0)
    assert len(owners.results) == 2
    owners.lose()
    owners.add(time=30_000)
    owners.finish()
    assert shown(owners.results)[1::2] == [(0, "a", 2, 2), (0, "b", 2, 1)]


def test_nothing_is_emitted_unless_it_is_wanted() -> None:
    owners = Owners(emits=False)
    owners.add(counts(0, 1, "a"), time=15_000)
    owners.commit(after=5.0)
    owners.lose(emits_windows=True)
    owners.commit(after=5.0)
    assert owners.results == [], "it closed before"
    owners.add(counts(10, 1, "a"), time=25_000)
    owners.finish()
    assert shown(owners.results) == [(10, "a", 1, 1)]


@pytest.mark.parametrize("bucket_bytes", [emission.EMITTED_AT_ONCE, 200])
@pytest.mark.parametrize("seed", range(12))
def test_every_window_and_correction_once(
    monkeypatch: pytest.MonkeyPatch, seed: int, bucket_bytes: int
) -> None:
    """Against plain counting: revisions without a gap or a repetition, the last one with all."""
    chance = random.Random(f"{seed}/{bucket_bytes}")  # noqa: S311 - repeatable
    monkeypatch.setattr(under_test, "MOST_REPLAYED", chance.choice((5, 10**6)))
    if bucket_bytes == 200:
        monkeypatch.setattr(buckets, "BUCKET_RECORD_BYTES", 200)
    owners = Owners()
    truth: Counter[tuple[int, str]] = Counter()
    names = [f"c{n}" for n in range(chance.choice((3, 150)))]
    with few_at_once(monkeypatch, chance.choice((40, 10**6))):
        for _ in range(120):
            match chance.randrange(6):
                case 0 | 1:
                    start = max(0, POLICY.start_of(owners.time) - 10 * chance.randrange(4))
                    some = chance.sample(names, min(len(names), chance.choice((2, 70))))
                    # What is counted before event time moves is countable.
                    if not POLICY.is_expired(start, owners.time):
                        owners.add(counts(start, 1, *some))
                        truth.update((start, name) for name in some)
                case 2:
                    owners.add(time=owners.time + chance.randrange(12_000))
                case 3 | 4:
                    owners.commit(after=chance.choice((0.1, 3.0)))
                case 5:
                    owners.lose()
        owners.finish()
        owners.add(time=owners.time + 1_000_000)
        owners.finish()
    revisions: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    last: dict[tuple[int, str], int] = {}
    for each in owners.results:
        revisions[each.start, each.campaign_id].append(each.revision)
        last[each.start, each.campaign_id] = sum(each.cell.sends.values())
    assert last == truth
    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())
