"""A token bucket, and groups that wait for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.notification.grouping import Assignment, Groups, GroupTimes, step
from streams.domain.notification.rate_limit import Rate, TokenBucket


def test_full_at_first_then_evenly() -> None:
    bucket = TokenBucket(Rate(3, 60.0))
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(119.9)
    assert bucket.take(120.1)
    assert not bucket.take(121.0)
    assert [bucket.take(10_000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_is_set_back_neither_fills_nor_blocks_it() -> None:
    bucket = TokenBucket(Rate(1, 10.0))
    assert bucket.take(1_000.0)
    assert not bucket.take(5.0)
    assert bucket.take(15.0)


@given(
    st.integers(1, 5),
    st.floats(1.0, 60.0),
    st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_in_any_time(most: int, seconds: float, waits: list[float]) -> None:
    bucket, now, taken = TokenBucket(Rate(most, seconds)), 0.0, []
    for wait in waits:
        now += wait
        if bucket.take(now):
            taken.append(now)
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], start=1):
            assert count <= most + (end - begin) * most / seconds + 1e-6


@pytest.mark.parametrize("allowed", [True, False])
def test_a_group_waits_for_the_limit_and_its_end_does_not(*, allowed: bool) -> None:
    times, alerts = GroupTimes(group_wait=5.0, group_interval=10.0), {"a": Assignment("g", "t")}
    groups, _ = step(Groups(), alerts, times, 100.0)
    groups, told = step(groups, alerts, times, 106.0, lambda: allowed)
    assert [each.change for each in told] == (["firing"] if allowed else [])
    groups, told = step(groups, alerts, times, 107.0)
    assert [each.change for each in told] == ([] if allowed else ["firing"])
    _, told = step(groups, {}, times, 120.0, lambda: False)
    assert [each.change for each in told] == ["resolved"]


def test_a_group_waits_from_when_its_first_alert_waited() -> None:
    times = GroupTimes(group_wait=5.0)
    alerts = {"a": Assignment("g", "t", since=97.0), "b": Assignment("g", "t", since=99.0)}
    groups, told = step(Groups(), alerts, times, 100.0)
    assert told == []
    assert groups.groups["g"].began_at == 97.0
    _, told = step(groups, alerts, times, 102.0)
    assert [each.change for each in told] == ["firing"]
