from typing import Any

import msgspec

from streams.domain.silences.matchers import parse
from streams.domain.silences.notices import Notice, notices
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import CompiledSilence, Silence

MIDNIGHT = 1_795_737_600.0  # 2026-11-27T00:00:00Z, a Friday
HOUR = 3_600.0
DAY = 24 * HOUR
MADE = Silence(
    "s",
    (parse("rule=failing"),),
    MIDNIGHT,
    MIDNIGHT + 10 * HOUR,
    "ana",
    "why",
    MIDNIGHT,
    notified=("ops",),
    notice=900.0,
)


def due(after: float, until: float, **changes: Any) -> list[Notice]:
    compiled = CompiledSilence(msgspec.structs.replace(MADE, **changes))
    return notices([compiled], MIDNIGHT + after, MIDNIGHT + until)


def test_once_before_the_end() -> None:
    at = 10 * HOUR - 900
    notice = Notice("s.1795773600000", "s", MIDNIGHT + at, MIDNIGHT + 10 * HOUR, ("ops",))
    assert due(-DAY, DAY) == [notice]
    assert due(at - 1, at) == [notice]
    assert due(at, DAY) == []
    assert due(-DAY, at - 1) == []


def test_none_without_receivers_or_once_it_is_ended_or_if_it_is_too_short() -> None:
    assert due(-DAY, DAY, notified=()) == []
    assert due(-DAY, DAY, notice=0.0) == []
    assert due(-DAY, DAY, ended_at=MIDNIGHT + HOUR) == []
    assert due(-DAY, DAY, ends_at=MIDNIGHT + 800) == []
    assert due(-DAY, DAY, created_at=MIDNIGHT + 10 * HOUR - 800) == []


def test_before_each_end_of_what_recurs() -> None:
    nightly = Recurrence("22:00", "02:00", "UTC", ("fri", "sun"))
    found = due(0, 14 * DAY, ends_at=None, recurrence=nightly, created_at=MIDNIGHT)
    ends = [(each.ends_at - MIDNIGHT) / HOUR for each in found]
    assert ends == [26, 74, 194, 242]
    steps = [
        due(at, at + 5 * HOUR, ends_at=None, recurrence=nightly)
        for at in range(0, 1_209_600, 18_000)
    ]
    assert [each for step in steps for each in step] == found, "by whatever steps it is asked"


def test_in_their_order() -> None:
    later = msgspec.structs.replace(MADE, silence_id="t", notice=60.0)
    compiled = [CompiledSilence(later), CompiledSilence(MADE)]
    found = notices(compiled, MIDNIGHT, MIDNIGHT + DAY)
    assert [each.silence_id for each in found] == ["s", "t"]
