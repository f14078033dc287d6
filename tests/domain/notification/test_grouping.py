"""When receivers are told of groups of alerts, and of what."""

from collections.abc import Iterable, Mapping
from math import inf

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.notification.grouping import (
    Assignment,
    GroupNotification,
    Groups,
    GroupTimes,
    decode,
    encode,
    next_step_at,
    step,
)

TIMES = GroupTimes()
CAUSE = Assignment("cause", "channel GCM")


def of_cause(count: int, first: int = 0) -> dict[str, Assignment]:
    return {f"alert-{at}": CAUSE for at in range(first, first + count)}


class Receiver:
    """What one receiver is told while time passes."""

    def __init__(self, times: GroupTimes = TIMES) -> None:
        self.groups = Groups()
        self.times = times
        self.firing: Mapping[str, Assignment] = {}
        self.told: list[tuple[float, GroupNotification]] = []

    def at(self, now: float, firing: Mapping[str, Assignment]) -> list[str]:
        """Step whenever something is due until then, and return what was told."""
        told = []
        while (due := next_step_at(self.groups, self.times)) < now:
            told += self._step(due, self.firing)
        self.firing = firing
        return [*told, *self._step(now, firing)]

    def _step(self, now: float, firing: Mapping[str, Assignment]) -> list[str]:
        self.groups, told = step(self.groups, firing, self.times, now)
        self.told += [(now, each) for each in told]
        return [f"{each.group.key} {each.change} {now:g}" for each in told]


def test_a_group_waits_grows_and_ends_once() -> None:
    receiver = Receiver()
    assert receiver.at(100, of_cause(3)) == []
    assert receiver.at(105, of_cause(40)) == []
    assert receiver.at(200, of_cause(500)) == ["cause firing 110", "cause updated 200"]
    assert receiver.at(5_000, of_cause(500)) == []
    assert receiver.at(5_010, of_cause(0)) == ["cause resolved 5010"]
    assert receiver.at(90_000, {}) == []
    assert receiver.groups == Groups()
    assert [each.group.sequence for _, each in receiver.told] == [1, 2, 3]
    (_, first), (_, second), (_, last) = receiver.told
    assert (len(first.new), len(second.new), len(last.ended)) == (40, 460, 500)
    assert (last.group.joined, last.new) == (500, ())


def test_an_update_waits_for_the_interval() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(2))
    assert receiver.at(115, of_cause(4)) == ["cause firing 110"]
    assert receiver.at(300, of_cause(4)) == ["cause updated 170"]


def test_what_is_over_before_it_was_told_is_not_told() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(2))
    receiver.at(105, {})
    assert receiver.groups == Groups()
    assert next_step_at(receiver.groups, TIMES) == inf


def test_an_end_waits_for_the_interval_and_is_off_if_alerts_come_back() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(2))
    receiver.at(120, {})
    assert receiver.at(150, of_cause(1, first=7)) == []
    assert receiver.at(1_000, of_cause(1, first=7)) == ["cause updated 170"]


def test_few_more_alerts_are_told_later() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(10))
    assert receiver.at(120, of_cause(12)) == ["cause firing 110"]
    assert receiver.at(1_000, of_cause(12)) == ["cause updated 710"]
    assert receiver.told[-1][1].new == ("alert-10", "alert-11")


def test_few_more_alerts_are_not_told_while_others_end() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(10))
    assert receiver.at(120, of_cause(8, first=3)) == ["cause firing 110"]
    assert receiver.at(1_500, of_cause(8, first=3)) == []
    assert receiver.at(1_600, {}) == ["cause resolved 1600"]
    assert receiver.told[-1][1].group.joined == 11


def test_that_most_alerts_have_ended_is_told_once() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(20))
    assert receiver.at(500, of_cause(2)) == ["cause firing 110", "cause subsiding 500"]
    assert receiver.told[-1][1].ended == tuple(sorted(of_cause(18, first=2)))
    assert receiver.at(900, of_cause(1)) == []
    assert receiver.at(1_000, {}) == ["cause resolved 1000"]
    assert receiver.told[-1][1].ended == ("alert-0", "alert-1")


def test_another_title_is_an_update() -> None:
    receiver = Receiver()
    receiver.at(100, of_cause(2))
    renamed = {name: Assignment("cause", "everything") for name in of_cause(2)}
    assert receiver.at(200, renamed) == ["cause firing 110", "cause updated 200"]
    assert receiver.told[-1][1].group.title == "everything"


def test_a_reminder_after_the_repeat_interval() -> None:
    receiver = Receiver()
    receiver.at(0, of_cause(2))
    assert receiver.at(30_000, of_cause(2)) == [
        "cause firing 10",
        "cause reminder 14410",
        "cause reminder 28810",
    ]


def test_an_alert_that_was_not_told_moves_to_its_cause() -> None:
    receiver = Receiver()
    alone = {"alert-0": Assignment("alert-0", "alone")}
    receiver.at(100, alone)
    receiver.at(108, of_cause(2))
    assert receiver.groups.groups.keys() == {"cause"}
    assert receiver.at(200, of_cause(2)) == ["cause firing 118"]


def test_an_alert_that_was_told_stays_with_the_group_that_told_it() -> None:
    receiver = Receiver()
    receiver.at(100, {"alert-0": Assignment("alert-0", "alone")})
    assert receiver.at(115, of_cause(2)) == ["alert-0 firing 110"]
    assert receiver.at(300, of_cause(2)) == ["cause firing 125"]
    assert receiver.told[-1][1].new == ("alert-1",)
    assert sorted(receiver.at(1_000, {})) == ["alert-0 resolved 1000", "cause resolved 1000"]


def test_an_alert_that_may_have_a_cause_is_held() -> None:
    receiver = Receiver()
    held = {"alert-0": Assignment("alert-0", "alone", 60.0)}
    receiver.at(100, held)
    assert receiver.at(150, held) == []
    assert receiver.at(200, held) == ["alert-0 firing 170"]

    receiver = Receiver()
    receiver.at(100, held)
    # It turns out that it has none.
    assert receiver.at(120, {"alert-0": Assignment("alert-0", "alone")}) == ["alert-0 firing 120"]


def test_groups_by_label_do_not_disturb_each_other() -> None:
    receiver = Receiver()
    firing = {"1": Assignment("app=a", "a"), "2": Assignment("app=b", "b")}
    receiver.at(100, firing)
    assert receiver.at(200, {"2": firing["2"]}) == [
        "app=a firing 110",
        "app=b firing 110",
        "app=a resolved 200",
    ]


ALERTS = [f"alert-{number}" for number in range(8)]
FIRING = st.dictionaries(
    st.sampled_from(ALERTS),
    st.builds(
        Assignment,
        st.sampled_from(["cause", "other"]),
        st.sampled_from(["x", "y"]),
        st.sampled_from([0.0, 60.0]),
        st.none() | st.sampled_from([0.0, 50.0, 1_000.0]),
    ),
)
COURSE = st.lists(st.tuples(st.integers(1, 90), FIRING), max_size=15)


def course(
    steps: Iterable[tuple[int, dict[str, Assignment]]], *, stops: bool
) -> list[tuple[float, GroupNotification]]:
    """Alerts have one episode each: once they have ended they do not fire again."""
    receiver = Receiver()
    now, gone, before = 0, set[str](), set[str]()
    for wait, drawn in [*steps, (1_000, {})]:
        now += wait
        gone |= before - drawn.keys()
        firing = {name: each for name, each in drawn.items() if name not in gone}
        before = set(firing)
        if stops:
            receiver.groups = decode(encode(receiver.groups))
        receiver.at(now, firing)
    receiver.at(now + 1_000, {})
    assert receiver.groups == Groups()
    return receiver.told


@settings(max_examples=80, deadline=None)
@given(COURSE)
def test_it_goes_on_after_a_restart_as_if_there_was_none(
    steps: list[tuple[int, dict[str, Assignment]]],
) -> None:
    assert course(steps, stops=True) == course(steps, stops=False)


@settings(max_examples=80, deadline=None)
@given(COURSE)
def test_whatever_was_told_to_fire_is_told_to_end_once_and_in_order(
    steps: list[tuple[int, dict[str, Assignment]]],
) -> None:
    known: dict[str, str] = {}
    at: dict[str, float] = {}
    for now, each in course(steps, stops=False):
        key = each.group.key
        assert each.change == "reminder" or each.new or each.ended or each.change == "updated"
        for name in each.new:
            assert name not in known
            known[name] = key
        for name in each.ended:
            assert known.pop(name) == key
            known[name] = "ended"
        if each.group.sequence > 1:
            assert now - at[key] >= TIMES.group_interval
        at[key] = now
    assert set(known.values()) <= {"ended"}


@pytest.mark.parametrize("garbage", [b"", b"[]", b'{"groups":[]}', b'{"groups":{"a":{"key":"a"}}}'])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(garbage)
