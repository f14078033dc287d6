"""What scopes of an app have learned together."""

import numpy as np
import pytest

from streams.domain.pools import MEMORY, MOST_APPS, Pooled, Pools


def learn(pools: Pools, number: int, *learned: int) -> None:
    pools.add(np.array([number]), np.array([learned]))


def test_what_was_learned_counts_from_the_next_window_on() -> None:
    pools = Pools(2)
    number = pools.number_of("app")
    learn(pools, number, 10, 1)
    assert pools.of(number) == Pooled((0, 0), (0, 0))
    pools.window_closes()
    assert pools.of(number) == Pooled((10, 1), (10, 1))
    assert pools.of(pools.number_of("other")) == Pooled((0, 0), (10, 1))


def test_a_share_of_it_is_forgotten_with_each_window() -> None:
    pools = Pools(1)
    number = pools.number_of("app")
    learn(pools, number, 10 * MEMORY)
    pools.window_closes()
    pools.window_closes()
    assert pools.of(number).app == (10 * MEMORY - 10,)


def test_apps_past_the_bound_and_scopes_without_one_share_a_pool() -> None:
    pools = Pools(1)
    numbers = {pools.number_of(str(each)) for each in range(MOST_APPS)}
    assert len(numbers) == MOST_APPS
    assert pools.number_of("one more") == pools.number_of(None) == 0
    assert pools.number_of("7") in numbers
    learn(pools, 0, 5)
    pools.window_closes()
    assert pools.of(0) == Pooled((5,), (5,))


def test_they_are_read_back_as_they_were_written() -> None:
    pools = Pools(2)
    learn(pools, pools.number_of("a"), 3, 4)
    pools.window_closes()
    learn(pools, pools.number_of("b"), 1, 1)
    record = pools.record("cusum")
    again = Pools(2)
    again.restore(record)
    for each in (pools, again):
        each.window_closes()
    assert [again.of(again.number_of(app)) for app in "ab"] == [
        pools.of(pools.number_of(app)) for app in "ab"
    ]
    with pytest.raises(ValueError, match="expected 3 sums"):
        Pools(3).restore(record)


def test_a_detector_that_pools_nothing_has_no_apps() -> None:
    pools = Pools(0)
    assert pools.number_of("app") == 0
    pools.window_closes()
    assert not pools.changed
    other = Pools(1)
    learn(other, 0, 1)
    assert other.changed
