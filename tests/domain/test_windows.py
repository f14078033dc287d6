from hypothesis import given
from hypothesis import strategies as st

from streams.domain.windows import WindowPolicy

sizes = st.integers(1, 100_000)
waits = st.integers(0, 200_000)
policies = st.builds(WindowPolicy, sizes, waits, waits)
times = st.integers(0, 5_000_000_000_000)


@given(policies, times)
def test_every_time_is_in_one_window(policy: WindowPolicy, time: int) -> None:
    start = policy.start_of(time)
    assert start % policy.size == 0
    assert start * 1000 <= time < (start + policy.size) * 1000


@given(policies, st.integers(0, 50_000))
def test_windows_are_half_open(policy: WindowPolicy, number: int) -> None:
    start = number * policy.size
    assert policy.start_of(start * 1000) == start
    assert policy.start_of((start + policy.size) * 1000 - 1) == start
    assert policy.start_of((start + policy.size) * 1000) == start + policy.size


def test_a_window_closes_when_its_grace_is_over_and_expires_after_its_retention() -> None:
    policy = WindowPolicy(size=60, grace=30, retention=600)
    assert [policy.is_closed(120, ms) for ms in (209_999, 210_000)] == [False, True]
    assert [policy.is_expired(120, ms) for ms in (809_999, 810_000)] == [False, True]


@given(policies, times)
def test_the_oldest_countable_time_is_where_windows_begin_that_are_kept(
    policy: WindowPolicy, event_time: int
) -> None:
    oldest = policy.oldest_countable(event_time)
    start = policy.start_of(oldest)
    assert oldest == start * 1000
    assert not policy.is_expired(start, event_time)
    assert policy.is_expired(start - policy.size, event_time)
