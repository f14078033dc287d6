"""The circuit of a receiver: examples, and properties over any run of results and times."""

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.circuit import Circuit, CircuitPolicy

POLICY = CircuitPolicy(failures=3, wait=10.0, longest_wait=35.0)
NOW = 1_790_000_000.0


def opened(at: float = NOW) -> Circuit:
    circuit = Circuit(POLICY)
    assert [circuit.failed(at - 2), circuit.failed(at - 1), circuit.failed(at)] == [
        False,
        False,
        True,
    ]
    return circuit


def test_failures_in_a_row_open_it_and_a_success_between_begins_anew() -> None:
    circuit = Circuit(POLICY)
    circuit.failed(NOW)
    circuit.failed(NOW)
    assert not circuit.succeeded(NOW)
    assert not circuit.failed(NOW + 1)
    assert not circuit.failed(NOW + 2)
    assert circuit.permits(5, NOW + 2)
    assert circuit.failed(NOW + 3)
    assert circuit.failing_since == NOW + 1
    assert not circuit.permits(0, NOW + 3)


def test_after_the_wait_there_is_one_probe_and_a_success_closes() -> None:
    circuit = opened()
    assert not circuit.permits(0, NOW + 9.9)
    assert circuit.permits(0, NOW + 10)
    assert not circuit.permits(1, NOW + 10)
    assert circuit.succeeded(NOW + 11)
    assert circuit.permits(5, NOW + 11)
    assert circuit.failing_since is None


def test_waits_double_up_to_a_bound_and_begin_anew_once_it_was_closed() -> None:
    circuit, at = opened(), NOW
    for wait in (10, 20, 35, 35):
        assert circuit.resumes_at == at + wait
        at += wait
        circuit.failed(at)
    circuit.succeeded(at)
    for _ in range(3):
        circuit.failed(at)
    assert circuit.resumes_at == at + 10


def test_failures_of_attempts_that_were_under_way_do_not_put_the_probe_off() -> None:
    circuit = opened()
    for _ in range(7):
        assert not circuit.failed(NOW + 1)
    assert circuit.resumes_at == NOW + 10


def test_a_clock_that_is_set_back_does_not_keep_the_probe_away() -> None:
    assert opened().permits(0, NOW - 86_400)


def test_zero_failures_never_open_it() -> None:
    circuit = Circuit(CircuitPolicy())
    assert not any(circuit.failed(NOW + n) for n in range(1000))
    circuit.resume(NOW, NOW)
    assert circuit.permits(8, NOW)


def test_after_a_restart_it_is_open_and_probed_at_once() -> None:
    circuit = Circuit(POLICY)
    circuit.resume(NOW - 86_400, NOW)
    assert (circuit.is_open, circuit.failing_since) == (True, NOW - 86_400)
    assert circuit.permits(0, NOW)
    assert not circuit.permits(1, NOW)
    circuit.failed(NOW)
    assert not circuit.permits(0, NOW + 19)


policies = st.builds(
    CircuitPolicy,
    failures=st.integers(1, 6),
    wait=st.floats(0.1, 60),
    longest_wait=st.floats(0.1, 600),
)
steps = st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60)


@given(policies, steps)
def test_whatever_comes_it_opens_after_so_many_probes_alone_and_never_stops_for_good(
    policy: CircuitPolicy, steps: list[tuple[bool, float]]
) -> None:
    """A receiver queue with room for four attempts, that begins whatever it may."""
    circuit, now, under_way, in_a_row = Circuit(policy), NOW, 0, 0
    longest = max(policy.wait, policy.longest_wait)
    for fails, seconds in steps:
        now += seconds
        began = 0
        while under_way < 4 and circuit.permits(under_way, now):
            under_way += 1
            began += 1
        if circuit.is_open:
            assert began <= 1
            assert under_way == 1 or not began
            assert circuit.permits(0, now + longest)
            assert circuit.resumes_at <= now + longest
        if not under_way:
            continue
        under_way -= 1
        if fails:
            in_a_row += 1
            opens = circuit.failed(now)
            assert opens == (in_a_row == policy.failures)
        else:
            assert circuit.succeeded(now) == (in_a_row >= policy.failures)
            in_a_row = 0
        assert circuit.is_open == (in_a_row >= policy.failures)
        assert (circuit.failing_since is None) == (in_a_row == 0)
