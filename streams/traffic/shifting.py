"""Recorded times moved, so that old events look as if they were sent just now."""

from collections.abc import Iterable
from typing import Any

import msgspec

_TIMES = ("event_timestamp", "arrival_timestamp")

# The values stay as they are written, so that a changed event differs in its times alone.
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class _Time(msgspec.Struct, gc=False):
    event_timestamp: int


_decode_time = msgspec.json.Decoder(_Time).decode


def latest_time(events: Iterable[bytes]) -> int | None:
    """Return the largest `event_timestamp` (ms) of the events; None if none has one."""
    latest: int | None = None
    for event in events:
        try:
            time_ms = _decode_time(event).event_timestamp
        except msgspec.DecodeError:
            continue
        if latest is None or time_ms > latest:
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
        return msgspec.json.decode(value, type=int) + by_ms
    except msgspec.DecodeError:
        return None
