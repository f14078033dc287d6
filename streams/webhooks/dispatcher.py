"""Takes due deliveries from the outbox of every partition, has them sent, records the outcomes."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol
from urllib.parse import quote

import structlog

from streams.domain.circuit import NEVER_OPENS, Circuit, CircuitPolicy
from streams.domain.commits import Commit
from streams.domain.deliveries import Delivery, Outbox
from streams.domain.partition_host import PartitionHost
from streams.domain.receivers import (
    ReceiverBook,
    ReceiverRecord,
    answered,
    failing,
    lifted,
    recovered,
    standing,
)
from streams.domain.transitions import rfc3339
from streams.receivers.outcomes import Delivered, Disable, GiveUp, Outcome, Retry
from streams.receivers.receiver import Receiver
from streams.webhooks.attempt_records import record_of
from streams.webhooks.pace import Pace
from streams.webhooks.receiver_queue import Attempt, ReceiverQueue
from streams.webhooks.schedule import next_attempt_at
from streams.webhooks.trouble import ReceiverMetrics, Trouble

PROBE_SOUGHT_EVERY_S = 1.0
"""To seek a delivery for a probe is to look at all that wait."""
SHORTEST_WAIT_S = 0.005
"""Between two polls: many failing receivers must not make the dispatcher poll all the time."""

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Makes one attempt: a `WebhookClient`."""

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        """Say what came of an attempt at `now` (s, UTC)."""
        ...


class DeliveryMetrics(ReceiverMetrics, Protocol):
    """Counts attempts and times deliveries."""

    def attempted(self, receiver: Receiver, result: str) -> None:
        """Count an attempt.

        The result is `delivered`, `disabled`, or one of `streams.receivers.outcomes.Failure`.
        """
        ...

    def delivered(self, seconds: float) -> None:
        """Note the time from the decision to the receiver's answer."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """When to poll the outboxes, when to try again, and how many attempts at a time.

    Args:
        retry_schedule: the waits after each failed attempt, in seconds.
        poll_interval: the longest time between two polls, in seconds, in case the wall clock is
            set: commits and timers wake before that.
        concurrency: how many attempts for one receiver are under way at once, when all is well.
        clock: wall-clock time, seconds since the epoch.
        random: where the jitter of waits comes from.
        circuit: when the circuit of a receiver opens.
        disable_after: seconds of failure after which a receiver is disabled; 0 for never.
    """

    retry_schedule: tuple[float, ...]
    poll_interval: float = 1.0
    concurrency: int = 8
    clock: Callable[[], float] = time.time
    random: Random = field(default_factory=Random)
    circuit: CircuitPolicy = NEVER_OPENS
    disable_after: float = 0.0


class Dispatcher:
    """Sends the deliveries of the partitions that `host` has ready.

    An outcome for a partition that has moved meanwhile is dropped: its next owner sends again. What
    an answer says of the receiver as a whole is kept in every partition that is here. A receiver
    that answered with Retry-After gets nothing before that time. One that fails gets only probes
    (`Circuit`). One that answered 410, or has failed for too long, is disabled and gets nothing
    until somebody enables it, or its URL changes; its deliveries are given up, and can be replayed.

    Args:
        host: holds the partitions.
        sender: makes an attempt.
        receivers: all that are configured.
        timing: when to poll, and to try again.
        metrics: counts.
    """

    def __init__(
        self,
        host: PartitionHost,
        sender: Sender,
        receivers: Iterable[Receiver],
        timing: Timing,
        metrics: DeliveryMetrics,
    ) -> None:
        self._host = host
        self._sender = sender
        self._timing = timing
        self._metrics = metrics
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._receiver_queues = {
            name: ReceiverQueue(
                self._make, Pace(timing.concurrency), Circuit(timing.circuit), timing.clock
            )
            for name in self._receivers
        }
        self._trouble = Trouble(metrics)
        self._outboxes: list[Outbox] = []
        self._books: list[ReceiverBook] = []
        self._disabled: dict[str, ReceiverRecord] = {}
        self._looked_for_probe: dict[str, float] = {}
        """When a delivery was last sought to probe a receiver with (s)."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Begin no more attempts, and break off those under way after `grace` seconds.

        The outcomes of the others are in the outboxes afterwards: commit once more.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        await asyncio.gather(
            *(receiver_queue.close(grace) for receiver_queue in self._receiver_queues.values())
        )

    def wake(self) -> None:
        """Poll the outboxes at once."""
        self._woken.set()

    def accepts(self, name: str) -> bool:
        """Tell whether a receiver may be sent something now: not paused, disabled or failing."""
        queue = self._receiver_queues[name]
        waits = queue.circuit.is_open or self._timing.clock() < queue.pace.resumes_at
        return name not in self._disabled and not waits

    def on_commit(self, commit: Commit) -> None:
        """Poll at once if deliveries, or records of receivers, were committed."""
        if commit.has_deliveries:
            self.wake()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                self._poll()
            except Exception:  # deliveries go on, whatever was wrong with one
                log.exception("polling outboxes failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._woken.wait()

    def _until_next(self) -> float:
        """Return how long (s) to wait for the next timer, at most `poll_interval`."""
        now, longest = self._timing.clock(), self._timing.poll_interval
        times = [queue.resumes_at for queue in self._receiver_queues.values()]
        # A receiver that could go on now waits for the end of an attempt, which wakes.
        timers = [at for at in times if at is not None and at > now]
        timers += [at for outbox in self._outboxes if (at := outbox.next_due_at) is not None]
        return min([longest, *(max(at - now, SHORTEST_WAIT_S) for at in timers)])

    def _poll(self) -> None:
        partitions = list(self._host.ready().values())
        outboxes = [partition.deliveries for partition in partitions]
        if outboxes != self._outboxes:
            self._outboxes = outboxes
            for receiver_queue in self._receiver_queues.values():
                receiver_queue.keep(lambda attempt: attempt.outbox in outboxes)
        self._books = [partition.receivers for partition in partitions]
        for name, receiver_queue in self._receiver_queues.items():
            self._apply_standing(name, receiver_queue)
        for outbox in outboxes:
            for delivery in outbox.due(self._timing.clock()):
                self._dispatch(Attempt(outbox, delivery))
        for name, receiver_queue in self._receiver_queues.items():
            self._probe(name, receiver_queue)

    def _probe(self, name: str, receiver_queue: ReceiverQueue) -> None:
        """Probe a receiver with a delivery that is not due, if none is: that may be in a day."""
        now = self._timing.clock()
        looked_at = self._looked_for_probe.get(name, -math.inf)
        if not receiver_queue.needs_probe(now) or 0 <= now - looked_at < PROBE_SOUGHT_EVERY_S:
            return
        self._looked_for_probe[name] = now
        found = [
            (delivery.next_attempt_at, number)
            for number, outbox in enumerate(self._outboxes)
            if (delivery := outbox.next_to(name)) is not None
        ]
        if found:
            outbox = self._outboxes[min(found)[1]]
            delivery = outbox.next_to(name)
            if delivery is not None:
                outbox.hand_out(delivery)
                receiver_queue.put(Attempt(outbox, delivery, early=True))

    def _apply_standing(self, name: str, receiver_queue: ReceiverQueue) -> None:
        """Apply what is known of a receiver: pause or disable it, or start its waiting attempts."""
        record, target = standing(name, self._books), self._receivers[name].target
        restricted = record is not None and (record.status != "enabled" or record.failing_since)
        if record is not None and restricted and record.target != target:
            log.info("receiver enabled: it has another URL", receiver=name)
            self._note_standing(name, lifted(record, target, self._timing.clock()))
            record = None
        receiver_queue.pace.paused_until = (
            record.paused_until(target) if record is not None else 0.0
        )
        self._disabled.pop(name, None)
        if record is not None and record.is_disabled(target):
            self._disabled[name] = record
            for attempt in receiver_queue.take_waiting():
                self._give_up(attempt, _why_disabled(name, record))
        else:
            self._apply_failing(name, record, receiver_queue.circuit)
            receiver_queue.go_on()

    def _apply_failing(self, name: str, record: ReceiverRecord | None, circuit: Circuit) -> None:
        """Bring a receiver's circuit in line with what the partitions know of it, and back.

        A circuit that was open is open again after a restart, and is closed if somebody enabled the
        receiver. What a partition from elsewhere says is out of date if it worked here since.
        """
        now, target = self._timing.clock(), self._receivers[name].target
        known = 0.0 if record is None else record.failing_since
        if record is not None and known and not circuit.is_open:
            if circuit.succeeded_at >= known:
                self._note_standing(name, recovered(record, now))
            else:
                circuit.resume(known, now)
        elif circuit.failing_since is not None and not known:
            if record is not None and record.lifted_at >= circuit.failing_since:
                circuit.reset()
                self._hasten(name, now)
            elif circuit.is_open:
                reason = f"it failed since {rfc3339(circuit.failing_since)}"
                self._note_standing(
                    name, failing(record, target, circuit.failing_since, reason, now)
                )

    def _hasten(self, name: str, now: float) -> None:
        """Have what waits for another attempt at a receiver attempted soon."""
        for outbox in self._outboxes:
            outbox.hasten(name, now)
        self.wake()

    def _dispatch(self, attempt: Attempt) -> None:
        name = attempt.delivery.receiver
        if name not in self._receivers:
            self._give_up(attempt, f"receiver {name} is not in the configuration any more")
        elif name in self._disabled:
            self._give_up(attempt, _why_disabled(name, self._disabled[name]))
        else:
            self._receiver_queues[name].put(attempt)

    def _note_standing(self, name: str, record: ReceiverRecord) -> None:
        """Keep what is known of a receiver in every partition that is here."""
        for book in self._books:
            book.note(name, record)

    async def _make(self, attempt: Attempt) -> None:
        delivery = attempt.delivery
        if not self._holds(attempt.outbox):
            attempt.outbox.release(delivery)
            return
        began, timer = self._timing.clock(), time.perf_counter()
        outcome = await self._send(delivery)
        duration_ms = round((time.perf_counter() - timer) * 1000)
        self.note_outcome(delivery.receiver, outcome)
        if self._holds(attempt.outbox):
            made = record_of(outcome, delivery.attempted + 1, began, duration_ms)
            attempt.outbox.attempted(delivery, made)
            self._record(attempt, outcome)
        else:
            _log_of(delivery).info("webhook result dropped: the partition has moved")
        # The next of the same alert may be due.
        self.wake()

    def note_outcome(self, name: str, outcome: Outcome) -> None:
        """Apply an outcome to the receiver as a whole: its pace, a pause, 410 Gone."""
        pace, now = self._receiver_queues[name].pace, self._timing.clock()
        match outcome:
            case Delivered():
                pace.succeeded()
                self._succeeded(name, now)
            case Retry(retry_after=asked) if asked:
                pace.failed(now)
                self._pause(name, outcome.reason, now, asked)
                self._failed_again(name, outcome, now)
            case Retry():
                pace.failed(now)
                self._failed_again(name, outcome, now)
            case Disable():
                self._disable(name, outcome.reason, now)

    def _succeeded(self, name: str, now: float) -> None:
        circuit = self._receiver_queues[name].circuit
        failing_since = circuit.failing_since
        if circuit.succeeded(now) and name not in self._disabled:
            before = standing(name, self._books)
            if before is not None:
                self._note_standing(name, recovered(before, now))
            self._trouble.recovered(name, failing_since)
            self._hasten(name, now)

    def _failed_again(self, name: str, outcome: Retry, now: float) -> None:
        """Apply a failure to the receiver's circuit; one that is a defect of ours says nothing."""
        if outcome.failure == "unexpected" or name in self._disabled:
            return
        circuit, target = self._receiver_queues[name].circuit, self._receivers[name].target
        opens, since = circuit.failed(now), circuit.failing_since
        if since is None or not circuit.is_open:
            return
        if opens:
            before = standing(name, self._books)
            self._note_standing(name, failing(before, target, since, outcome.reason, now))
            self._trouble.fails(name, since, outcome.reason)
        if self._timing.disable_after and now - since >= self._timing.disable_after:
            self._disable(name, outcome.reason, now, since)

    def _pause(self, name: str, reason: str, now: float, seconds: float) -> None:
        until = now + seconds
        pace, target = self._receiver_queues[name].pace, self._receivers[name].target
        if name not in self._disabled and until > pace.paused_until:
            if now >= pace.paused_until:
                log.warning(
                    "receiver paused: it answered with Retry-After",
                    receiver=name,
                    reason=reason,
                    seconds=round(seconds, 1),
                )
            pace.paused_until = until
            before = standing(name, self._books)
            self._note_standing(
                name, answered(before, "paused", target, now, until=until, reason=reason)
            )

    def _disable(
        self, name: str, reason: str, now: float, failing_since: float | None = None
    ) -> None:
        if name not in self._disabled:
            self._trouble.disabled(name, failing_since, reason)
            before, target = standing(name, self._books), self._receivers[name].target
            self._note_standing(name, answered(before, "disabled", target, now, reason=reason))
            self._receiver_queues[name].circuit.reset()
            # Now: at the end of this attempt the next one would begin.
            self._apply_standing(name, self._receiver_queues[name])

    def _holds(self, outbox: Outbox) -> bool:
        return any(p.deliveries is outbox for p in self._host.ready().values())

    async def _send(self, delivery: Delivery) -> Outcome:
        try:
            receiver = self._receivers[delivery.receiver]
            return await self._sender.send(receiver, delivery, self._timing.clock())
        except Exception as error:  # a defect of ours must not lose the delivery
            log.exception("webhook attempt broke", delivery_id=delivery.delivery_id)
            return Retry("unexpected", f"unexpected {type(error).__name__}")

    def _record(self, attempt: Attempt, outcome: Outcome) -> None:
        receiver = self._receivers[attempt.delivery.receiver]
        match outcome:
            case Delivered():
                self._metrics.attempted(receiver, "delivered")
                self._delivered(attempt, outcome)
            case Retry():
                self._metrics.attempted(receiver, outcome.failure)
                if attempt.early:
                    attempt.outbox.release(attempt.delivery)
                    _log_of(attempt.delivery).info("probe failed", reason=outcome.reason)
                    return
                self._failed(attempt, outcome.reason, self._retry_at(attempt.delivery, outcome))
            case GiveUp():
                self._metrics.attempted(receiver, outcome.failure)
                self._failed(attempt, outcome.reason, None)
            case Disable():
                self._metrics.attempted(receiver, "disabled")
                self._failed(attempt, outcome.reason, None)

    def _delivered(self, attempt: Attempt, outcome: Delivered) -> None:
        delivery = attempt.delivery
        attempt.outbox.delivered(delivery, outcome.message)
        self._metrics.delivered(self._timing.clock() - delivery.created_at)
        number = delivery.attempts + 1
        _log_of(delivery).info("webhook delivered", attempt=number, status=outcome.status)

    def _retry_at(self, delivery: Delivery, outcome: Retry) -> float | None:
        return next_attempt_at(
            delivery.attempts + 1,
            self._timing.clock(),
            self._timing.retry_schedule,
            outcome.retry_after,
            self._timing.random,
        )

    def _failed(self, attempt: Attempt, reason: str, retry_at: float | None) -> None:
        delivery = attempt.delivery
        attempt.outbox.failed(delivery, reason, retry_at)
        bound = _log_of(delivery).bind(attempt=delivery.attempts, reason=reason)
        if retry_at is None:
            bound.error("webhook given up")
        else:
            wait = round(retry_at - self._timing.clock(), 1)
            bound.warning("webhook attempt failed", retry_in_seconds=wait)

    def _give_up(self, attempt: Attempt, reason: str) -> None:
        attempt.outbox.give_up(attempt.delivery, reason)
        _log_of(attempt.delivery).error("webhook given up", reason=reason)
        self.wake()


def _why_disabled(name: str, record: ReceiverRecord) -> str:
    return (
        f"receiver {name} was disabled at {rfc3339(record.since)} ({record.reason}): "
        f"POST /v1/receivers/{quote(name, safe='')}/enable lifts that"
    )


def _log_of(delivery: Delivery) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = log.bind(
        delivery_id=delivery.delivery_id,
        alert_id=delivery.alert_id,
        campaign_id=delivery.campaign_id,
        receiver=delivery.receiver,
    )
    return bound
