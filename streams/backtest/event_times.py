"""How far event time is with each line, and which lines come too late or are too far ahead."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.backtest.line_columns import Integers
from streams.domain.events import EARLIEST_MS
from streams.domain.sources import IngestSettings


class Accepted(NamedTuple):
    """What becomes of lines.

    Attributes:
        are_counted: which of them are.
        are_late: which are rejected as they are older than what is retained.
        are_ahead: which are rejected as their event times are impossible.
        newest: the newest event time (ms) of all lines up to each.
    """

    are_counted: NDArray[np.bool_]
    are_late: NDArray[np.bool_]
    are_ahead: NDArray[np.bool_]
    newest: Integers


class EventTimes:
    """Event time, as lines bring it.

    Args:
        ingest: which times are rejected.
    """

    def __init__(self, ingest: IngestSettings) -> None:
        self._ingest = ingest
        self._newest = 0
        """The newest event time (ms)."""

    def accept(
        self,
        times: Integers,
        commits: Integers,
        are_given: NDArray[np.bool_],
        are_empty: NDArray[np.bool_],
    ) -> Accepted:
        """Let event time go on with lines, in the order of their arrival.

        Args:
            times: their event times (ms), or those of their arrival.
            commits: times (ms) of the commits that have them.
            are_given: which lines had event times: only these may be rejected.
            are_empty: which count nothing: they do not move event time.
        """
        are_ahead = are_given & (times > commits + self._ingest.max_future_skew_ms)
        # What is too old moves event time no more than what is empty.
        own = np.where(are_ahead | are_empty, 0, np.minimum(times, commits))
        newest = np.maximum(np.maximum.accumulate(own), self._newest)
        are_late = are_given & (times < EARLIEST_MS)
        are_late |= self._expired(times, np.concatenate(([self._newest], newest[:-1]))) & are_given
        self._newest = newest.item(-1)
        are_ahead &= ~are_late
        return Accepted(~(are_ahead | are_late | are_empty), are_late, are_ahead, newest)

    def _expired(self, times: Integers, before: Integers) -> NDArray[np.bool_]:
        """Tell which times were not retained any more, with event time as it was before each."""
        windows = self._ingest.windows
        expired = np.zeros(len(times), np.bool_)
        last = windows.oldest_countable(before.item(-1))
        (suspects,) = (times < last).nonzero()
        if len(suspects):
            oldest: dict[int, int] = {}
            for at, event_time in zip(suspects.tolist(), before[suspects].tolist(), strict=True):
                if event_time not in oldest:
                    oldest[event_time] = windows.oldest_countable(event_time)
                expired[at] = times.item(at) < oldest[event_time]
        return expired
