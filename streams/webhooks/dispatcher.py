"""Takes what is due from every partition, has it sent, and records what came of it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import structlog

from streams.domain.deliveries import Delivery, DeliveryQueue
from streams.domain.partition import Holder
from streams.webhooks.client import Receiver
from streams.webhooks.outcomes import Delivered, Disable, GiveUp, Outcome, Retry
from streams.webhooks.outlet import Job, Outlet
from streams.webhooks.schedule import next_attempt_at

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Makes one attempt: a `WebhookClient`."""

    async def send(self, receiver: Receiver, webhook_id: str, body: str, now: float) -> Outcome:
        """Say what came of an attempt at `now` (s)."""
        ...


class DeliveryMetrics(Protocol):
    """Who counts."""

    def attempted(self, kind: str, result: str) -> None:
        """Count an attempt, by the receiver's kind.

        The result is `delivered`, `disabled`, or one of `streams.webhooks.outcomes.Failure`.
        """
        ...

    def delivered(self, seconds: float) -> None:
        """Note the time from the decision to the receiver's answer."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """When to look, and when to try again.

    Args:
        retry_schedule: the waits after each failed attempt, in seconds.
        poll_interval: how often to look without being woken, in seconds.
        clock: wall-clock time, seconds since the epoch.
        random: where the jitter of waits comes from.
    """

    retry_schedule: tuple[float, ...]
    poll_interval: float = 1.0
    clock: Callable[[], float] = time.time
    random: Random = field(default_factory=Random)


class Dispatcher:
    """Sends the deliveries of the partitions that `holder` has ready.

    A result for a partition that went away meanwhile is dropped: its next owner sends again. A
    receiver that answers 410 gets nothing more until a restart; what is owed to it is given up,
    from where it can be sent again.
    """

    def __init__(
        self,
        holder: Holder,
        sender: Sender,
        receivers: Iterable[Receiver],
        timing: Timing,
        metrics: DeliveryMetrics,
    ) -> None:
        self._holder = holder
        self._sender = sender
        self._timing = timing
        self._metrics = metrics
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._outlets = {
            name: Outlet(self._attempt, receiver.max_concurrency)
            for name, receiver in self._receivers.items()
        }
        self._disabled: set[str] = set()
        self._queues: list[DeliveryQueue] = []
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Begin no more attempts, and break off those under way after `grace` seconds.

        What came of the others is in the queues afterwards: flush them once more.
        """
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await asyncio.gather(*(outlet.close(grace) for outlet in self._outlets.values()))

    def wake(self) -> None:
        """Look at once: something was committed or replayed."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                self._look()
            except Exception:  # deliveries go on, whatever was wrong with one
                log.exception("looking for due deliveries failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.poll_interval):
                    await self._woken.wait()

    def _look(self) -> None:
        queues = [partition.deliveries for partition in self._holder.ready().values()]
        if queues != self._queues:
            self._queues = queues
            for outlet in self._outlets.values():
                outlet.keep(lambda job: job.queue in queues)
        for queue in queues:
            for delivery in queue.due(self._timing.clock()):
                self._hand_on(Job(queue, delivery))

    def _hand_on(self, job: Job) -> None:
        name = job.delivery.receiver
        if name not in self._receivers:
            self._give_up(job, f"receiver {name} is not in the configuration any more")
        elif name in self._disabled:
            self._give_up(
                job, f"receiver {name} answered 410 Gone; nothing is sent until a restart"
            )
        else:
            self._outlets[name].put(job)

    async def _attempt(self, job: Job) -> None:
        delivery = job.delivery
        if not self._holds(job.queue):
            job.queue.release(delivery)
        elif delivery.receiver in self._disabled:
            self._hand_on(job)
        else:
            outcome = await self._send(delivery)
            if self._holds(job.queue):
                self._record(job, outcome)
            else:
                _log_of(delivery).info("webhook result dropped: the partition has moved")

    def _holds(self, queue: DeliveryQueue) -> bool:
        return any(p.deliveries is queue for p in self._holder.ready().values())

    async def _send(self, delivery: Delivery) -> Outcome:
        try:
            return await self._sender.send(
                self._receivers[delivery.receiver],
                delivery.webhook_id,
                delivery.body,
                self._timing.clock(),
            )
        except Exception as error:  # a defect of ours must not lose the delivery
            log.exception("webhook attempt broke", delivery_id=delivery.delivery_id)
            return Retry("unexpected", f"unexpected {type(error).__name__}")

    def _record(self, job: Job, outcome: Outcome) -> None:
        kind = self._receivers[job.delivery.receiver].kind
        match outcome:
            case Delivered():
                self._metrics.attempted(kind, "delivered")
                self._delivered(job, outcome)
            case Retry():
                self._metrics.attempted(kind, outcome.failure)
                self._failed(job, outcome.reason, self._retry_at(job.delivery, outcome))
            case GiveUp():
                self._metrics.attempted(kind, outcome.failure)
                self._failed(job, outcome.reason, None)
            case Disable():
                self._metrics.attempted(kind, "disabled")
                self._disable(job.delivery.receiver)
                self._failed(job, outcome.reason, None)
        # The next of the same alert may be due.
        self.wake()

    def _delivered(self, job: Job, outcome: Delivered) -> None:
        delivery = job.delivery
        job.queue.delivered(delivery)
        self._metrics.delivered(self._timing.clock() - delivery.created_at)
        attempt = delivery.attempts + 1
        _log_of(delivery).info("webhook delivered", attempt=attempt, status=outcome.status)

    def _retry_at(self, delivery: Delivery, outcome: Retry) -> float | None:
        return next_attempt_at(
            delivery.attempts + 1,
            self._timing.clock(),
            self._timing.retry_schedule,
            outcome.retry_after,
            self._timing.random,
        )

    def _failed(self, job: Job, reason: str, retry_at: float | None) -> None:
        delivery = job.delivery
        job.queue.failed(delivery, reason, retry_at)
        told = _log_of(delivery).bind(attempt=delivery.attempts, reason=reason)
        if retry_at is None:
            told.error("webhook given up")
        else:
            wait = round(retry_at - self._timing.clock(), 1)
            told.warning("webhook attempt failed", retry_in_seconds=wait)

    def _disable(self, name: str) -> None:
        if name not in self._disabled:
            self._disabled.add(name)
            log.error("receiver disabled until restart: it answered 410 Gone", receiver=name)

    def _give_up(self, job: Job, reason: str) -> None:
        job.queue.give_up(job.delivery, reason)
        _log_of(job.delivery).error("webhook given up", reason=reason)
        self.wake()


def _log_of(delivery: Delivery) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = log.bind(
        delivery_id=delivery.delivery_id,
        alert_id=delivery.alert_id,
        campaign_id=delivery.campaign_id,
        receiver=delivery.receiver,
    )
    return bound
