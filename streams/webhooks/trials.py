"""A test alert to one receiver, with all that is sent and answered.

It goes the way of every other delivery: rendered by the receiver's kind, sent by the client, with
the check of addresses in force. No worker and no Kafka is needed, and nothing of it is kept.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from streams.domain.transitions import TransitionType
from streams.receivers.outcomes import Answer, Delivered, Outcome, Retry
from streams.receivers.receiver import Receiver
from streams.receivers.samples import trial_delivery
from streams.receivers.templates import TemplateFailure
from streams.webhooks.client import WebhookClient
from streams.webhooks.hooks import Hooks


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one transition.

    Args:
        transition: was told.
        head: the request's line and headers as they were sent; null if it did not come to that.
        body: of the request.
        answer: of the receiver; null if there was none.
        outcome: what that means.
        seconds: from before the attempt to its outcome.
        failures: the templates that could not be rendered.
    """

    transition: TransitionType
    head: bytes | None
    body: bytes
    answer: Answer | None
    outcome: Outcome
    seconds: float
    failures: tuple[TemplateFailure, ...] = ()

    @property
    def accepted(self) -> bool:
        """Tell whether the receiver took it."""
        return isinstance(self.outcome, Delivered)

    @property
    def may_be_there(self) -> bool:
        """Tell whether the receiver may have taken it: it was sent, and not refused."""
        unanswered = self.head is not None and self.answer is None
        return self.accepted or (unanswered and isinstance(self.outcome, Retry))


@dataclass(slots=True)
class _Seen:
    """What an attempt was made of."""

    head: bytes | None = None
    body: bytes = b""
    answer: Answer | None = None
    failures: list[TemplateFailure] = field(default_factory=list)

    def sent(self, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body

    def answered(self, answer: Answer) -> None:
        self.answer = answer


class Trial:
    """Sends test alerts to a receiver.

    Args:
        client_with: makes a client with hooks.
        clock: wall-clock time (s, UTC).
    """

    def __init__(
        self,
        client_with: Callable[[Hooks], WebhookClient],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client_with = client_with
        self._clock = clock

    async def exchanges(
        self, receiver: Receiver, resolve_after: float = 0.0
    ) -> AsyncIterator[Exchange]:
        """Tell a receiver that a test alert fires and is resolved; yield what came of each.

        An alert that the receiver does not have is not resolved.

        Args:
            receiver: who is told.
            resolve_after: how long (s) the alert fires.
        """
        number, began = str(uuid.uuid4()), self._clock()
        firing = await self._attempt(receiver, number, "campaign.alert.firing", began)
        yield firing
        if firing.may_be_there:
            await asyncio.sleep(resolve_after)
            yield await self._attempt(receiver, number, "campaign.alert.resolved", began)

    async def _attempt(
        self, receiver: Receiver, number: str, kind: TransitionType, began: float
    ) -> Exchange:
        now, start = self._clock(), time.monotonic()
        seen = _Seen()
        hooks = Hooks(
            lambda _, __, failure: seen.failures.append(failure), seen.sent, seen.answered
        )
        delivery = trial_delivery(receiver.name, number, kind, began, now)
        outcome = await self._client_with(hooks).send(receiver, delivery, now)
        return Exchange(
            kind,
            seen.head,
            seen.body,
            seen.answer,
            outcome,
            time.monotonic() - start,
            tuple(seen.failures),
        )
