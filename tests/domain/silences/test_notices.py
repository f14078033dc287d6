from typing import Any

import msgspec
import pytest

from streams.domain.silences.matchers import parse
from streams.domain.silences.notices import PLANNED_FOR, Notice, planned
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import CompiledSilence, Silence

MIDNIGHT = 1_795_737_600.0  # 2026-11-27T00:00:00Z, a Friday
HOUR = 3_600.0
DAY = 24 * HOUR
END = MIDNIGHT + 10 * HOUR
MADE = Silence("s", (parse("rule=failing"),), MIDNIGHT, END, "ana", "why", MIDNIGHT)
NIGHTLY = Recurrence("22:00", "02:00", "UTC", ("fri", "sun"))


def plan(at: float = MIDNIGHT, before: float = 600.0, **changes: Any) -> list[Notice]:
    return planned([CompiledSilence(msgspec.structs.replace(MADE, **changes))], at, before)


def test_once_before_the_end() -> None:
    notice = Notice("s.1795773600000", "s", END - 600, END)
    assert plan() == plan(END - 1) == [notice]
    assert plan(END) == []
    times = (END - 601, END - 600, END - 1, END)
    assert [notice.is_running(at) for at in times] == [False, True, True, False]


def test_a_short_silence_has_it_in_its_last_quarter() -> None:
    assert [each.at for each in plan(ends_at=MIDNIGHT + 1200)] == [MIDNIGHT + 900]
    (made_late,) = plan(created_at=END - 400, at=END - 400)
    assert made_late.at == END - 100
    assert plan(ends_at=MIDNIGHT + 59) == []
    assert plan(created_at=END - 59) == []


def test_none_if_nobody_wants_any_or_somebody_has_ended_it() -> None:
    assert plan(before=0.0) == []
    assert plan(ended_at=MIDNIGHT + HOUR) == []


def test_a_silence_of_later_is_left_for_later() -> None:
    assert plan(END - 20 * DAY) == []
    assert plan(END - 600 - PLANNED_FOR) != []


@pytest.mark.parametrize(
    ("ends", "last"),
    [
        (3 * DAY, 2 * DAY + 2 * HOUR + DAY),  # between two times: Monday, 02:00
        (2 * DAY + 23 * HOUR, 2 * DAY + 23 * HOUR),  # in the middle of one: Sunday, 23:00
        (9 * DAY, 7 * DAY + 26 * HOUR),
    ],
)
def test_what_recurs_has_one_before_the_last_of_its_times(ends: float, last: float) -> None:
    found = plan(MIDNIGHT + DAY, ends_at=MIDNIGHT + ends, recurrence=NIGHTLY)
    assert [(each.ends_at - MIDNIGHT) / HOUR for each in found] == [min(ends, last) / HOUR]


def test_what_recurs_and_never_ends_or_never_is_active_has_none() -> None:
    assert plan(ends_at=None, recurrence=NIGHTLY) == []
    assert plan(ends_at=MIDNIGHT + HOUR, recurrence=NIGHTLY) == []


def test_hours_that_are_all_hours_end_with_the_silence() -> None:
    always = Recurrence("00:00", "24:00", "UTC")
    assert [each.ends_at for each in plan(recurrence=always)] == [END]


def test_in_their_order() -> None:
    later = msgspec.structs.replace(MADE, silence_id="t", ends_at=END + HOUR)
    compiled = [CompiledSilence(later), CompiledSilence(MADE)]
    assert [each.silence_id for each in planned(compiled, MIDNIGHT, 60.0)] == ["s", "t"]
