"""The windows that event time was in."""

from streams.domain.event_time_log import EventTimeLog


def test_windows_that_event_time_jumped_over_are_not_there() -> None:
    log = EventTimeLog(60, 600)
    assert [log.add(start, 0) for start in (0, 60, 60, 240)] == [True, True, False, True]
    assert sorted(log.starts) == [0, 60, 240]


def test_a_closed_window_stays_as_it_was() -> None:
    log = EventTimeLog(60, 600)
    assert not log.add(60, oldest_open=120)
    assert log.add(120, oldest_open=120)
    assert sorted(log.starts) == [120]


def test_what_is_out_of_reach_is_forgotten() -> None:
    log = EventTimeLog(60, 120)
    for start in range(0, 6000, 60):
        log.add(start, start)
        log.forget(start)
        assert len(log.starts) <= 3
    assert sorted(log.starts) == [5820, 5880, 5940]


def test_nothing_is_kept_where_no_rule_has_to_know() -> None:
    log = EventTimeLog(60, None)
    assert not log.add(0, 0)
    log.restore([(0, 600)], 60)
    assert (len(log.starts), log.ranges()) == (0, [])


def test_it_is_written_down_and_read_back() -> None:
    log = EventTimeLog(60, 6000)
    for start in (600, 0, 60, 300, 120, 660):
        log.add(start, 0)
    assert log.ranges() == [(0, 120), (300, 300), (600, 660)]
    again = EventTimeLog(60, 6000)
    again.restore(log.ranges(), 60)
    assert again.starts == log.starts
    longer = EventTimeLog(300, 6000)
    longer.restore(log.ranges(), 60)
    assert sorted(longer.starts) == [0, 300, 600]
