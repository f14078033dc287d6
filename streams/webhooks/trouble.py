"""Tells of receivers that fail, recover or are disabled: by log and metric, at each worker.

That another receiver is told is decided once for all workers (`streams.domain.fleet`).
"""

from typing import Protocol

import structlog

from streams.domain.receiver_events import ReceiverChange
from streams.domain.transitions import rfc3339

log = structlog.get_logger(__name__)


class ReceiverMetrics(Protocol):
    """Counts changes of receivers."""

    def receiver_changed(self, name: str, change: ReceiverChange) -> None:
        """Count that a receiver fails, takes webhooks again, or is disabled."""
        ...


class Trouble:
    """Tells of receivers' trouble.

    Args:
        metrics: counts.
    """

    def __init__(self, metrics: ReceiverMetrics) -> None:
        self._metrics = metrics

    def fails(self, name: str, failing_since: float, reason: str) -> None:
        """A receiver's circuit has opened."""
        log.warning(
            "receiver fails: only probes are sent to it",
            receiver=name,
            failing_since=rfc3339(failing_since),
            reason=reason,
        )
        self._metrics.receiver_changed(name, "failing")

    def recovered(self, name: str, failing_since: float | None) -> None:
        """A receiver's circuit has closed."""
        since = None if failing_since is None else rfc3339(failing_since)
        log.info("receiver takes webhooks again", receiver=name, failing_since=since)
        self._metrics.receiver_changed(name, "recovered")

    def disabled(self, name: str, failing_since: float | None, reason: str) -> None:
        """A receiver is disabled: it answered 410, or has failed for too long."""
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
