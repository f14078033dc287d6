"""Recorded times moved, so that old events look as if they were sent just now."""

from collections.abc import Iterable
from typing import Any

import msgspec

_TIMES = ("event_timestamp", "arrival_timestamp")

# The values stay as they are written, so that a changed event differs in its times alone.
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


# A whole number, however it is written: some writers of JSON make 1795711750000.0 of a long.
_Number = int | float


class _Time(msgspec.Struct, gc=False):
    event_timestamp: _Number


_decode_time = msgspec.json.Decoder(_Time).decode
_decode_number = msgspec.json.Decoder(_Number).decode


def latest_time(events: Iterable[bytes], before: int) -> int | None:
    """Return the largest `event_timestamp` of the events that is less than `before` (both ms).

    One event of a broken clock, in the year 2099, must not take all others with it. None if no
    event has such a time.
    """
    latest: int | None = None
    for event in events:
        try:
            time_ms = _whole(_decode_time(event).event_timestamp)
        except msgspec.DecodeError:
            continue
        if time_ms is not None and time_ms < before and (latest is None or time_ms > latest):
            latest = time_ms
    return latest


def shifted(event: bytes, by_ms: int) -> bytes:
    """Return the event with `event_timestamp` and `arrival_timestamp` moved by `by_ms`.

    All else stays byte for byte, except for white space around the keys of the event itself. A
    time that is missing or no number stays as it is: what to do with such an event is for the
    one who counts it.
    """
    try:
        fields = _decode_shallow(event)
    except msgspec.DecodeError:
        return event
    values: dict[str, Any] = dict(fields)
    for name in _TIMES:
        if name in fields:
            moved = _moved(fields[name], by_ms)
            values[name] = fields[name] if moved is None else moved
    return _encode(values)


def _moved(value: msgspec.Raw, by_ms: int) -> int | None:
    try:
        time_ms = _whole(_decode_number(value))
    except msgspec.DecodeError:
        return None
    return None if time_ms is None else time_ms + by_ms


def _whole(number: float) -> int | None:
    return int(number) if isinstance(number, int) or number.is_integer() else None
