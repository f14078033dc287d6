"""Recorded events, with the times at which they arrived.

An event arrived at its `arrival_timestamp` or, without one, at its `event_timestamp`, but not
before the event ahead of it: files are in the order of arrival.
"""

import time
from collections import Counter
from collections.abc import Iterator

import msgspec

from streams.backtest.events import EventArrival, Events
from streams.domain.events import EARLIEST_MS
from streams.traffic.gzipped import Readable
from streams.traffic.recorded import Problem, read_events

AT_ONCE = 2_000
AHEAD_MS = 365 * 86_400_000
"""A time that is so far in the future is a mistake; simulated ones may be ahead."""
DISORDER_MS = 300_000
"""An event that arrived so long before the one ahead of it is in the wrong file."""
SOURCE = 0


class _Times(msgspec.Struct, gc=False):
    arrival_timestamp: int | float | None = None
    event_timestamp: int | float | None = None


_decode_times = msgspec.json.Decoder(_Times).decode


class RecordedEvents:
    """The events of files, one after another.

    Attributes:
        problems: how much is in the files and is no event, by the reason.
        problems_at: by the reason, where the first one is.
        disordered: how many events arrived long before the one ahead of them.
    """

    def __init__(self) -> None:
        self.problems: Counter[str] = Counter()
        self.problems_at: dict[str, str] = {}
        self.disordered = 0
        self._latest = int(time.time() * 1000) + AHEAD_MS
        self._at: int | None = None

    def read(self, name: str, stream: Readable) -> Iterator[Events]:
        """Yield the events of a file, some at a time.

        Args:
            name: of the file, for people.
            stream: the file.
        """
        block: list[EventArrival] = []
        for item in read_events(stream):
            if isinstance(item, Problem):
                place = f"{name}, line {item.line}, byte {item.offset}"
                self.problems[item.reason] += 1
                self.problems_at.setdefault(item.reason, place)
                continue
            at = self._arrival(item.value)
            block.append(EventArrival(at, item.value, SOURCE, f"{name}, byte {item.offset}"))
            if len(block) >= AT_ONCE:
                yield block
                block = []
        if block:
            yield block

    def _arrival(self, value: bytes) -> int:
        try:
            times = _decode_times(value)
        except msgspec.DecodeError:
            times = _Times()
        for stated in (times.arrival_timestamp, times.event_timestamp):
            if stated is not None and EARLIEST_MS <= stated <= self._latest:
                return self._in_order(int(stated))
        return self._at if self._at is not None else EARLIEST_MS

    def _in_order(self, at: int) -> int:
        before = self._at
        if before is not None and at < before:
            self.disordered += before - at > DISORDER_MS
            return before
        self._at = at
        return at
