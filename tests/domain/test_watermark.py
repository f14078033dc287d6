from collections.abc import Iterable
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.watermark import Watermark

IDLE = 60.0
NEVER = 10**15


def clock_of(inputs: Iterable[int], now: float = 0.0) -> Watermark:
    return Watermark(inputs, IDLE, now)


def test_the_slowest_input_sets_the_time() -> None:
    clock = clock_of([0, 1])
    clock.observe(0, 5_000, 1.0)
    clock.observe(1, 3_000, 1.0)
    assert clock.advance(1.0, NEVER)
    assert clock.event_time == 3_000
    assert not clock.advance(2.0, NEVER)


def test_an_input_without_events_yet_is_waited_for() -> None:
    clock = clock_of([0, 1])
    clock.observe(0, 5_000, 1.0)
    assert not clock.advance(IDLE - 1, NEVER)
    assert clock.event_time == 0


def test_an_idle_input_is_left_out() -> None:
    clock = clock_of([0, 1])
    clock.observe(1, 3_000, 0.0)
    clock.observe(0, 5_000, 50.0)
    clock.advance(IDLE, NEVER)
    assert clock.event_time == 5_000
    clock.observe(1, 3_500, IDLE + 1)
    clock.advance(IDLE + 1, NEVER)
    assert clock.event_time == 5_000, "event time never goes back"


def test_when_all_are_silent_time_goes_on_until_the_last_window_closes() -> None:
    clock = clock_of([0], now=1_000.0)
    clock.observe(0, 1_000_000, 1_000.0)
    clock.advance(1_000.0 + IDLE, 1_030_000)
    assert clock.event_time == 1_030_000
    clock.advance(9_999.0, 1_030_000)
    assert clock.event_time == 1_030_000


def test_when_all_are_silent_time_does_not_pass_the_present() -> None:
    clock = clock_of([0], now=1_000.0)
    clock.observe(0, 1_000_000, 1_000.0)
    clock.advance(1_000.0 + IDLE, 5_000_000)
    assert clock.event_time == 1_060_000


def test_a_restored_clock_goes_on_where_it_stood() -> None:
    clock = clock_of([0, 1], now=50.0)
    clock.restore({0: 4_000, 1: 6_000}, 3_900)
    assert clock.event_time == 3_900
    clock.observe(1, 5_000, 51.0)
    assert clock.times == {0: 4_000, 1: 6_000}
    clock.advance(51.0, NEVER)
    assert clock.event_time == 4_000
    assert clock.newest == 6_000


def test_an_input_that_is_added_later_is_waited_for() -> None:
    clock = clock_of([0])
    clock.observe(0, 5_000, 10.0)
    clock.add_inputs([0, 1], 10.0)
    assert not clock.advance(10.0 + IDLE - 1, NEVER)
    clock.observe(0, 6_000, 10.0 + IDLE)
    assert clock.advance(10.0 + IDLE, NEVER)
    assert clock.event_time == 6_000


observed = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.floats(0, 30)))


@given(observed)
def test_time_never_goes_back_nor_past_the_slowest_active_input(
    observed: list[tuple[int, int, float]],
) -> None:
    clock = clock_of(range(4))
    now, last_time = 0.0, 0
    reached = dict.fromkeys(range(4), 0)
    observed_at = dict.fromkeys(range(4), 0.0)
    for source, time, pause in observed:
        now += pause
        clock.observe(source, time, now)
        reached[source] = max(reached[source], time)
        observed_at[source] = now
        clock.advance(now, NEVER)
        slowest = min(reached[f] for f in range(4) if now - observed_at[f] < IDLE)
        assert clock.event_time == max(last_time, slowest)
        last_time = clock.event_time


def test_the_next_input_to_be_idle_is_the_one_that_was_observed_first() -> None:
    clock = clock_of([0, 1], 5.0)
    assert clock.next_idle_at(5.0) == 5.0 + IDLE
    clock.observe(0, 1_000, 7.0)
    clock.observe(1, 1_000, 9.0)
    assert clock.next_idle_at(10.0) == 7.0 + IDLE
    assert clock.next_idle_at(7.0 + IDLE) == 9.0 + IDLE
    assert clock.next_idle_at(9.0 + IDLE) == inf
