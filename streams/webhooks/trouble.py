"""Tells of receivers that fail, recover or are disabled: by log, metric and another receiver."""

import math
from collections.abc import Callable
from typing import Protocol

import structlog

from streams.domain.deliveries import Delivery
from streams.domain.receiver_events import ReceiverChange, delivery_of
from streams.domain.transitions import rfc3339

TOLD_AGAIN_AFTER_S = 3600.0
"""Between two events that the same receiver fails: what comes and goes is not told each time."""

log = structlog.get_logger(__name__)


class ReceiverMetrics(Protocol):
    """Counts changes of receivers."""

    def receiver_changed(self, name: str, change: ReceiverChange) -> None:
        """Count that a receiver fails, takes webhooks again, or is disabled."""
        ...


class Trouble:
    """Tells of receivers' trouble.

    A receiver is not told of its own trouble, so no event can be the cause of another one.

    Args:
        metrics: counts.
        to: the name of the receiver that is told; null for nobody.
        enqueue: puts a delivery into an outbox.
    """

    def __init__(
        self, metrics: ReceiverMetrics, to: str | None, enqueue: Callable[[Delivery], None]
    ) -> None:
        self._metrics = metrics
        self._to = to
        self._enqueue = enqueue
        self._told_failing: dict[str, float] = {}
        """When it was last told that a receiver fails (s)."""
        self._newest: dict[str, float] = {}
        """The time of the newest event about a receiver (s)."""
        self._failing: set[str] = set()
        """Of which it was told, here or before, that they fail, and not yet that they recovered."""

    def fails(self, name: str, failing_since: float, reason: str, now: float) -> None:
        """A receiver's circuit has opened at `now` (s)."""
        log.warning(
            "receiver fails: only probes are sent to it",
            receiver=name,
            failing_since=rfc3339(failing_since),
            reason=reason,
        )
        self._metrics.receiver_changed(name, "failing")
        if now - self._told_failing.get(name, -math.inf) >= TOLD_AGAIN_AFTER_S:
            self._told_failing[name] = now
            self._failing.add(name)
            self._tell(name, "failing", failing_since, reason, now)

    def resumed(self, name: str) -> None:
        """A receiver failed before a restart, or at the former owner of a partition."""
        self._failing.add(name)

    def recovered(self, name: str, failing_since: float | None, now: float) -> None:
        """A receiver's circuit has closed at `now` (s)."""
        since = None if failing_since is None else rfc3339(failing_since)
        log.info("receiver takes webhooks again", receiver=name, failing_since=since)
        self._metrics.receiver_changed(name, "recovered")
        if name in self._failing:
            self._failing.discard(name)
            self._tell(name, "recovered", failing_since, None, now)

    def disabled(self, name: str, failing_since: float | None, reason: str, now: float) -> None:
        """A receiver is disabled from `now` (s) on: it answered 410, or has failed for too long."""
        if failing_since is None:
            log.error("receiver disabled: it answered 410 Gone", receiver=name, reason=reason)
        else:
            log.error(
                "receiver disabled: it has failed for too long",
                receiver=name,
                failing_since=rfc3339(failing_since),
                reason=reason,
            )
        self._metrics.receiver_changed(name, "disabled")
        self._failing.discard(name)
        self._tell(name, "disabled", failing_since, reason, now)

    def _tell(
        self,
        name: str,
        change: ReceiverChange,
        failing_since: float | None,
        reason: str | None,
        now: float,
    ) -> None:
        if self._to is None or self._to == name:
            return
        # Events about one receiver are told apart by their times (ms).
        at = max(now, self._newest.get(name, 0.0) + 0.002)
        self._newest[name] = at
        self._enqueue(delivery_of(self._to, change, name, failing_since, reason, at))
