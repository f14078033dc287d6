"""Tells a receiver again and again which alerts fire, as it takes no news for an end.

Everything is told once in `resend_interval`, and at once what is in a partition that has come here.
While a request is under way, nothing else is sent of its alerts to that receiver: an end that was
decided meanwhile goes out after it, never before. A worker that may have lost its partitions tells
nothing: their next owner may have told of the end. What is told is true for a limited time, so the
request of a worker that is frozen in the middle of it does no lasting harm.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import structlog

from streams.domain.deliveries import Outbox
from streams.domain.partition import CampaignPartition
from streams.domain.partition_host import PartitionHost
from streams.domain.resending import firing_at
from streams.domain.transitions import Transition
from streams.receivers.outcomes import Delivered, Disable, GiveUp, Outcome, Retry
from streams.receivers.receiver import Receiver, ResentReceiver

MOST_AT_ONCE = 64
"""Alerts of one request: as many as Prometheus sends
(https://github.com/prometheus/prometheus/blob/main/notifier/manager.go)."""
LOOK_EVERY_S = 0.5
"""How soon it is noticed that a partition has come here."""
FIRST_WAIT_S = 5.0
"""After a failure; doubled with each further one, up to `resend_interval`."""

log = structlog.get_logger(__name__)


class FiringSender(Protocol):
    """Makes one attempt: a `WebhookClient`."""

    async def resend(
        self, receiver: ResentReceiver, firing: Sequence[Transition], now: float
    ) -> Outcome:
        """Say what came of telling at `now` (s, UTC) that some alerts go on firing."""
        ...


class Standing(Protocol):
    """Knows how receivers are doing: a `Dispatcher`."""

    def accepts(self, name: str) -> bool:
        """Tell whether a receiver may be sent something now."""
        ...

    def note_outcome(self, name: str, outcome: Outcome) -> None:
        """Apply an outcome to the receiver as a whole."""
        ...

    def wake(self) -> None:
        """Look at the outboxes at once."""
        ...


class ResendMetrics(Protocol):
    """Counts what is told again."""

    def resent(self, kind: str, result: str, alerts: int) -> None:
        """Count alerts by the receiver's kind.

        The result is as that of a delivery's attempt.
        """
        ...


class _Held(NamedTuple):
    """An alert of which nothing else is sent meanwhile."""

    deliveries: Outbox
    transition: Transition


class Resender:
    """Tells those of some receivers that have to be told again.

    Args:
        host: has the partitions.
        sender: makes attempts.
        receivers: of any kinds.
        standing: says who gets something, and is told of outcomes.
        metrics: counts.
        owns: tells whether the partitions that are here are certainly nobody else's.
        clock: wall-clock time, seconds since the epoch.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it stands between
        self,
        host: PartitionHost,
        sender: FiringSender,
        receivers: Iterable[Receiver],
        standing: Standing,
        metrics: ResendMetrics,
        owns: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rounds = [
            _Rounds(host, sender, receiver, standing, metrics, owns, clock)
            for receiver in receivers
            if isinstance(receiver, ResentReceiver)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [asyncio.create_task(rounds.run()) for rounds in self._rounds]

    async def stop(self, grace: float) -> None:
        """Begin no more requests, and break off those under way after `grace` seconds."""
        for rounds in self._rounds:
            rounds.stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._tasks = []


class _Rounds:
    """What one receiver is told again. Arguments as those of `Resender`."""

    def __init__(  # noqa: PLR0913, PLR0917 - as those of `Resender`
        self,
        host: PartitionHost,
        sender: FiringSender,
        receiver: ResentReceiver,
        standing: Standing,
        metrics: ResendMetrics,
        owns: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.stopping = asyncio.Event()
        self._host = host
        self._sender = sender
        self._receiver = receiver
        self._standing = standing
        self._metrics = metrics
        self._owns = owns
        self._clock = clock
        self._next_at = 0.0
        self._failures = 0
        self._told: list[CampaignPartition] = []
        """The partitions that were here at the last round, or have been told since."""

    async def run(self) -> None:
        """Tell, until it is stopping."""
        while not self.stopping.is_set():
            try:
                await self._look()
            except Exception:  # the next round may do better
                log.exception("resending broke", receiver=self._receiver.name)
                self._next_at = self._clock() + self._receiver.resend_interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self.stopping.wait()

    async def _look(self) -> None:
        """Tell what is due: everything once in an interval, and what has come here."""
        here, now = list(self._host.ready().values()), self._clock()
        # A clock that was set back must not silence it.
        all_due = not now < self._next_at <= now + self._receiver.resend_interval
        due = here if all_due else [each for each in here if each not in self._told]
        if not (self._owns() and self._standing.accepts(self._receiver.name)):
            return
        self._told = here
        if all_due:
            self._next_at = now + self._receiver.resend_interval
        firing = self._firing(due)
        while not self.stopping.is_set() and (held := list(itertools.islice(firing, MOST_AT_ONCE))):
            if not await self._tell(held):
                self._failures += 1
                wait = FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 32)
                self._next_at = self._clock() + min(wait, self._receiver.resend_interval)
                return
            self._failures = 0
            if not self._owns():
                self._next_at = 0.0
                return

    def _firing(self, partitions: Iterable[CampaignPartition]) -> Iterator[_Held]:
        """Hold and return the alerts to tell of, as each is when it is asked for."""
        name = self._receiver.name
        for partition in partitions:
            deliveries = partition.deliveries
            for transition in firing_at(name, partition.alerts, deliveries, self._clock()):
                if self._host.ready().get(partition.number) is not partition:
                    break
                if deliveries.hold(transition.data.alert_id, name):
                    yield _Held(deliveries, transition)

    async def _tell(self, held: Sequence[_Held]) -> bool:
        """Tell of some alerts; return whether there is any point in going on."""
        receiver = self._receiver
        try:
            outcome = await self._sender.resend(
                receiver, [each.transition for each in held], self._clock()
            )
        finally:
            for each in held:
                each.deliveries.let_go(each.transition.data.alert_id, receiver.name)
            self._standing.wake()
        self._standing.note_outcome(receiver.name, outcome)
        self._metrics.resent(receiver.kind, _result_of(outcome), len(held))
        if not isinstance(outcome, Delivered):
            log.warning(
                "resending failed",
                receiver=receiver.name,
                alerts=len(held),
                reason=outcome.reason,
            )
        return not isinstance(outcome, Retry | Disable)


def _result_of(outcome: Outcome) -> str:
    match outcome:
        case Delivered():
            return "delivered"
        case Disable():
            return "disabled"
        case Retry() | GiveUp():
            return outcome.failure
