"""How much is sent to one receiver at a time."""

from streams.webhooks.pace import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pace

NOW = 1000.0


def test_all_at_once_while_all_is_well() -> None:
    pace = Pace(8)
    assert pace.room(7, NOW)
    assert not pace.room(8, NOW)


def test_each_failure_halves_what_may_be_under_way_down_to_one() -> None:
    pace = Pace(8)
    allowed = []
    for _ in range(5):
        pace.failed(NOW)
        allowed.append(max(n + 1 for n in range(8) if pace.room(n, NOW + LONGEST_PAUSE_S)))
    assert allowed == [4, 2, 1, 1, 1]


def test_each_success_adds_one_up_to_the_limit() -> None:
    pace = Pace(3)
    for _ in range(5):
        pace.failed(NOW)
    assert not pace.room(1, NOW + LONGEST_PAUSE_S)
    for allowed in (2, 3, 3):
        pace.succeeded()
        assert pace.room(allowed - 1, NOW)
        assert not pace.room(allowed, NOW)


def test_pauses_double_up_to_the_longest_and_begin_anew_with_a_success() -> None:
    pace = Pace(8)
    pauses = []
    for _ in range(10):
        pace.failed(NOW)
        pauses.append(round(pace.resumes_at - NOW, 3))
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]
    assert not pace.room(0, NOW + LONGEST_PAUSE_S - 0.001)
    assert pace.room(0, NOW + LONGEST_PAUSE_S)
    pace.succeeded()
    pace.failed(NOW)
    assert round(pace.resumes_at - NOW, 3) == FIRST_PAUSE_S


def test_after_any_number_of_failures_the_pause_is_the_longest() -> None:
    pace = Pace(8)
    for _ in range(5000):
        pace.failed(NOW)
    assert pace.resumes_at == NOW + LONGEST_PAUSE_S


def test_a_pause_that_was_asked_for_is_ended_by_no_success() -> None:
    pace = Pace(8)
    pace.paused_until = NOW + 30
    pace.succeeded()
    assert not pace.room(0, NOW + 29.9)
    assert pace.room(0, NOW + 30)
