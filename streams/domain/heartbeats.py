"""Event times for partitions of the repartition topic that get no counts.

A partition learns how far event time is from partial counts. One whose campaigns are all silent
gets none, and could not tell that from a stream that stands still.
"""

from collections.abc import Mapping, MutableMapping

from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts

PER_WINDOW = 4
"""Heartbeats in the length of a window, at most, from each source partition to each partition."""


class Heartbeats:
    """Adds partial counts without counts where event time has gone on for a part of a window.

    Args:
        partitions: of the repartition topic.
        size: of a window (s).
    """

    def __init__(self, partitions: int, size: int) -> None:
        self._partitions = partitions
        self._interval = size * 1000 // PER_WINDOW
        self._sent: dict[tuple[int, int], int] = {}
        """By partition and source partition, in which interval the event time was."""

    def add_to(
        self,
        counts: MutableMapping[int, PartialCounts],
        event_times: Mapping[int, int],
        received_at: int,
    ) -> None:
        """Add heartbeats to the partial counts of one commit, by partition.

        Args:
            counts: the partial counts.
            event_times: by source partition, the largest event time (ms).
            received_at: wall-clock time (ms) at which the oldest of the events was taken in.
        """
        now = {source: time // self._interval for source, time in event_times.items()}
        for partition in range(self._partitions):
            news = [source for source in now if self._sent.get((partition, source)) != now[source]]
            if news or partition in counts:
                self._sent.update({(partition, source): at for source, at in now.items()})
            if news and partition not in counts:
                counts[partition] = PartialCounts(
                    PARTIAL_COUNTS_VERSION, dict(event_times), received_at, []
                )
