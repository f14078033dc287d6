"""When receivers are told that a silence ends, so that nobody is surprised by its alerts.

A notice is about the end for good of a silence: of one that recurs, about the last of its times, as
hours that come back every night surprise nobody. It is due some time before, for a short silence
not earlier than in its last quarter. There is none for a silence that is shorter than `SHORTEST`,
that never ends, or that somebody has ended.
"""

from collections.abc import Iterable
from typing import NamedTuple

from streams.domain.silences.silence import CompiledSilence
from streams.domain.transitions import in_ms

DEFAULT_NOTICE_BEFORE = 600.0
"""How long (s) before the end of a silence, unless the configuration says otherwise."""
SHARE = 0.25
"""Of the length of a silence: a notice is due no longer before its end."""
SHORTEST = 60.0
"""How long (s) a silence lasts at least that a notice is given of."""
PLANNED_FOR = 3_600.0
"""How long (s) a plan holds, if the silences stay as they are."""
_RECURS_WITHIN = 8 * 86_400.0
"""How long (s) after one time of what recurs the next one has begun: a week, and a day for changes
of clocks."""


class Notice(NamedTuple):
    """That a silence ends.

    Attributes:
        notice_id: of the silence and its end: the same whoever works it out, and whenever.
        silence_id: of the silence.
        at: when (s, UTC) it is due.
        ends_at: when the silence ends.
    """

    notice_id: str
    silence_id: str
    at: float
    ends_at: float

    def is_running(self, now: float) -> bool:
        """Tell whether it is due at `now` (s, UTC), and the silence not over yet."""
        return self.at <= now < self.ends_at


def planned(silences: Iterable[CompiledSilence], now: float, notice_before: float) -> list[Notice]:
    """Return the notices that are due at `now` (s, UTC), or will be within `PLANNED_FOR`.

    Args:
        silences: any.
        now: wall-clock time.
        notice_before: how long (s) before an end, at most; 0 for no notices.
    """
    if not notice_before:
        return []
    # Where hours that recur end last takes some time to find out.
    horizon = now + notice_before + _RECURS_WITHIN + PLANNED_FOR
    live = (each for each in silences if now < each.silence.over_at <= horizon)
    found = [notice for each in live if (notice := _of(each, notice_before)) is not None]
    return sorted(found, key=lambda each: (each.at, each.notice_id))


def _of(compiled: CompiledSilence, notice_before: float) -> Notice | None:
    silence = compiled.silence
    if silence.ends_at is None or silence.ended_at is not None:
        return None
    last = _last_time(compiled, silence.ends_at)
    if last is None:
        return None
    begin, end = last
    lasts = end - max(begin, silence.created_at)
    if lasts < SHORTEST:
        return None
    at = end - min(notice_before, SHARE * lasts)
    return Notice(f"{silence.silence_id}.{in_ms(end)}", silence.silence_id, at, end)


def _last_time(compiled: CompiledSilence, ends_at: float) -> tuple[float, float] | None:
    """Return from when to when (s, UTC) a silence is active last; null if it never is."""
    silence = compiled.silence
    if silence.recurrence is None:
        return silence.starts_at, ends_at
    at = max(silence.starts_at, ends_at - _RECURS_WITHIN)
    begin = at if compiled.is_active(at) else None
    last = None
    while (change := compiled.next_change(at)) is not None:
        if compiled.is_active(change):
            begin = change if begin is None else begin
        elif begin is not None:
            last, begin = (begin, change), None
        at = change
    return last
