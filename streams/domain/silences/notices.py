"""What receivers are told before a silence ends, so that nobody is surprised by its alerts.

A notice is about one end: of a silence, or of one of its times if it recurs. It is due `notice`
seconds before. There is none of a time that is no longer than that, of a silence that was made
later than that, and once somebody has ended it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.domain.silences.silence import CompiledSilence
from streams.domain.transitions import in_ms


class Notice(NamedTuple):
    """That a silence ends.

    Attributes:
        notice_id: the same whoever works it out, and whenever.
        silence_id: of the silence.
        at: when (s, UTC) it is due.
        ends_at: when the silence ends.
        receivers: the names of those who are told.
    """

    notice_id: str
    silence_id: str
    at: float
    ends_at: float
    receivers: tuple[str, ...]


def notices(silences: Iterable[CompiledSilence], after: float, until: float) -> list[Notice]:
    """Return the notices that are due after `after` and up to `until` (s, UTC), in their order.

    Whoever keeps up to when notices were sent, and asks from there on, sends each at least once.
    """
    found = [notice for each in silences for notice in _of(each, after, until)]
    return sorted(found, key=lambda each: (each.at, each.notice_id))


def _of(compiled: CompiledSilence, after: float, until: float) -> Iterator[Notice]:
    silence = compiled.silence
    if not (silence.notified and silence.notice) or silence.ended_at is not None:
        return
    end = compiled.next_change(after + silence.notice)
    while end is not None and end - silence.notice <= until:
        at = end - silence.notice
        if at >= silence.created_at and compiled.next_change(at) == end and compiled.is_active(at):
            notice_id = f"{silence.silence_id}.{in_ms(end)}"
            yield Notice(notice_id, silence.silence_id, at, end, silence.notified)
        end = compiled.next_change(end)
