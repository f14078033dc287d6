"""Whether this worker is certainly a member of its group, and its partitions nobody else's.

A worker that was frozen, or is cut off from the brokers alone, learns late that the group has gone
on without it. The group waits for a member for a session after its last heartbeat. So for that long
after the last heartbeat that was answered, counted from when it was sent, nobody else has its
partitions.
"""

import math
import time
from collections.abc import Callable
from typing import Any


class Membership:
    """When the group's coordinator last took this worker for a member.

    Args:
        clock: seconds, monotonic; it goes on while the process is frozen.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._confirmed_at = -math.inf

    def follow(self, coordinator: Any) -> None:
        """Note the heartbeats of a `GroupCoordinator` of aiokafka."""
        heartbeat = coordinator._do_heartbeat  # noqa: SLF001 - no other seam

        async def noted() -> bool:
            began = self._clock()
            confirmed: bool = await heartbeat()
            if confirmed:
                self._confirmed_at = began
            return confirmed

        coordinator._do_heartbeat = noted  # noqa: SLF001

    def is_confirmed(self, within: float) -> bool:
        """Tell whether a heartbeat was answered that is not older than so many seconds."""
        return self._clock() - self._confirmed_at <= within
